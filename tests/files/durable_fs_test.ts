import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  createFile,
  createFileFrom,
  makeDir,
  openRegular,
  piecesOf,
  readAllSync,
  readManySmall,
  readRegular,
  readWithDigest,
  regularSize,
  removeFileSync,
  renameFile,
  replaceFile,
  SMALL,
  syncDir,
  syncFile,
  syncFiles,
  tryReadSync,
} from "../../src/files/durable_fs.ts";
import { sha256Hex } from "../../mod.ts";
import {
  assertBytes,
  bytes,
  denoScript,
  IS_WINDOWS,
  makeFifo,
  namesIn,
  outputOf,
  randomBytes,
  refusingDisk,
  tempDir,
  test,
  text,
  within,
} from "../helpers.ts";

/** Sizes around the borders between one way of doing it and another. */
const SIZES = [0, 1, SMALL, SMALL + 1, 256 * 1024, 256 * 1024 + 1, 1_000_000];

for (const sync of [false, true]) {
  const how = sync ? "with sync" : "without sync";

  test(`createFile() writes exactly the bytes, ${how}`, async () => {
    await using dir = await tempDir();
    for (const size of SIZES) {
      const path = dir.join(`${size}`);
      const content = randomBytes(size, size);
      await createFile(path, content, sync);
      assertBytes(await Deno.readFile(path), content);
      assertBytes(await readRegular(path), content);
      assertEquals(regularSize(path), size);
    }
  });

  test(`createFile() leaves alone what has the name, ${how}`, async () => {
    await using dir = await tempDir();
    await Deno.writeTextFile(dir.join("a"), "old");
    await Deno.mkdir(dir.join("d"));
    for (const name of ["a", "d"]) {
      await assertRejects(
        () => createFile(dir.join(name), bytes("new"), sync),
        Deno.errors.AlreadyExists,
      );
    }
    assertEquals(await Deno.readTextFile(dir.join("a")), "old");
    assertEquals(namesIn(dir.path), ["a", "d"]);
  });

  test(
    `createFile() does not write through a symbolic link, ${how}`,
    async () => {
      await using dir = await tempDir();
      await Deno.symlink(dir.join("target"), dir.join("a"));
      await assertRejects(
        () => createFile(dir.join("a"), bytes("new"), sync),
        Deno.errors.AlreadyExists,
      );
      assertEquals(namesIn(dir.path), ["a"]);
    },
    { ignore: IS_WINDOWS },
  );

  test(`createFileFrom() tells digest and size, ${how}`, async () => {
    await using dir = await tempDir();
    const content = randomBytes(600_000);
    const chunks = [
      content.subarray(0, 1),
      new Uint8Array(),
      content.subarray(1, 500_000),
      content.subarray(500_000),
    ];
    const written = await createFileFrom(dir.join("a"), chunks, sync);
    assertEquals(written, {
      digest: await sha256Hex(content),
      size: content.length,
    });
    assertBytes(await Deno.readFile(dir.join("a")), content);
  });

  test(`createFileFrom() leaves nothing when its source fails, ${how}`, async () => {
    await using dir = await tempDir();
    async function* broken() {
      yield bytes("half");
      await Promise.reject(new RangeError("broken"));
    }
    await assertRejects(
      () => createFileFrom(dir.join("a"), broken(), sync),
      RangeError,
    );
    assertEquals(namesIn(dir.path), []);
  });
}

test("makeDir() makes parents and is harmless when repeated", async () => {
  await using dir = await tempDir();
  for (const sync of [false, true, true]) {
    await makeDir(dir.join("a", "b", "c"), sync);
    assert((await Deno.stat(dir.join("a", "b", "c"))).isDirectory);
  }
});

test("makeDir() fails where a file is in the way", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(dir.join("a"), "");
  await assertRejects(() => makeDir(dir.join("a"), true));
  await assertRejects(() => makeDir(dir.join("a", "b"), true));
  assertEquals(await Deno.readTextFile(dir.join("a")), "");
});

test("renameFile() replaces what has the name", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(dir.join("old"), "old");
  await Deno.writeTextFile(dir.join("new"), "new");
  await renameFile(dir.join("new"), dir.join("old"), false);
  assertEquals(namesIn(dir.path), ["old"]);
  assertEquals(await Deno.readTextFile(dir.join("old")), "new");
});

// NTFS does, Wine does not.
test("renameFile() replaces a file that is being read", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(dir.join("old"), "old");
  await Deno.writeTextFile(dir.join("new"), "new");
  using reader = await Deno.open(dir.join("old"));
  await renameFile(dir.join("new"), dir.join("old"), false);
  assertEquals(readAllSync(reader, 3), bytes("old"));
  assertEquals(await Deno.readTextFile(dir.join("old")), "new");
}, { ignore: IS_WINDOWS });

test("renameFile() fails on a file that is gone, and on a directory", async () => {
  await using dir = await tempDir();
  await assertRejects(
    () => renameFile(dir.join("gone"), dir.join("a"), false),
    Deno.errors.NotFound,
  );
  await Deno.writeTextFile(dir.join("file"), "");
  await Deno.mkdir(dir.join("d"));
  await assertRejects(() => renameFile(dir.join("file"), dir.join("d"), false));
  assertEquals(namesIn(dir.path), ["d", "file"]);
});

test("removeFileSync() tells whether there was a file", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(dir.join("a"), "");
  assertEquals(removeFileSync(dir.join("a")), true);
  assertEquals(removeFileSync(dir.join("a")), false);
});

test("removeFileSync() does not remove a directory, empty or not", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(dir.join("d", "e"), { recursive: true });
  assertEquals(removeFileSync(dir.join("d")), false);
  assertEquals(removeFileSync(dir.join("d", "e")), false);
  assertEquals(namesIn(dir.join("d")), ["e"]);
});

test("openRegular(), readRegular() and regularSize() are null for nothing", async () => {
  await using dir = await tempDir();
  const path = dir.join("none");
  assertEquals(openRegular(path), null);
  assertEquals(await readRegular(path), null);
  assertEquals(regularSize(path), null);
});

test("a directory is no regular file", async () => {
  await using dir = await tempDir();
  assertThrows(() => openRegular(dir.path), Deno.errors.InvalidData);
  assertThrows(() => regularSize(dir.path), Deno.errors.InvalidData);
  await assertRejects(
    () => readRegular(dir.path),
    Deno.errors.InvalidData,
    "a directory",
  );
});

test("a symbolic link is no regular file, wherever it leads", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(dir.join("target"), "secret");
  for (const target of ["target", "nowhere", "."]) {
    await Deno.symlink(target, dir.join("link"));
    const path = dir.join("link");
    assertThrows(() => openRegular(path), Deno.errors.InvalidData);
    assertThrows(() => regularSize(path), Deno.errors.InvalidData);
    await assertRejects(
      () => readRegular(path),
      Deno.errors.InvalidData,
      "a symbolic link",
    );
    await Deno.remove(path);
  }
}, { ignore: IS_WINDOWS });

test("readAllSync() ends where the file ends", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(dir.join("a"), "abc");
  using file = await Deno.open(dir.join("a"));
  assertEquals(readAllSync(file, 10), bytes("abc"));
});

test("piecesOf() gives all bytes and closes the file", async () => {
  await using dir = await tempDir();
  for (const size of SIZES) {
    const content = randomBytes(size, size);
    await Deno.writeFile(dir.join("a"), content);
    const { file } = openRegular(dir.join("a"))!;
    const blob = new Blob(await Array.fromAsync(piecesOf(file)));
    assertBytes(await blob.bytes(), content);
    assertThrows(() => file.statSync(), Deno.errors.BadResource);
  }
});

test("piecesOf() closes the file when its reader stops early", async () => {
  await using dir = await tempDir();
  await Deno.writeFile(dir.join("a"), randomBytes(600_000));
  const { file } = openRegular(dir.join("a"))!;
  for await (const _ of piecesOf(file)) break;
  assertThrows(() => file.statSync(), Deno.errors.BadResource);
});

test("piecesOf() ends where its buffers end", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(dir.join("a"), "abcdef");
  const { file } = openRegular(dir.join("a"))!;
  const buffer = new Uint8Array(5);
  for await (const _ of piecesOf(file, (at) => buffer.subarray(at, at + 2)));
  assertEquals(buffer, bytes("abcde"));
  assertThrows(() => file.statSync(), Deno.errors.BadResource);
});

test("readWithDigest() gives all bytes and their digest", async () => {
  await using dir = await tempDir();
  for (const size of SIZES) {
    const content = randomBytes(size, size);
    await Deno.writeFile(dir.join("a"), content);
    const found = await readWithDigest(dir.join("a"));
    assertBytes(found!.bytes, content);
    assertEquals(found!.digest, await sha256Hex(content));
  }
  assertEquals(await readWithDigest(dir.join("none")), null);
});

test("tryReadSync() gives a file of the size it was told, and no other", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(dir.join("a"), "abc");
  assertEquals(tryReadSync(dir.join("a"), 3), bytes("abc"));
  for (const size of [-1, 0, 2, 4]) {
    assertEquals(tryReadSync(dir.join("a"), size), null);
  }
});

test("tryReadSync() reads files and nothing else, whatever the permissions", async () => {
  await using dir = await tempDir();
  const names = ["a", "none", "shorter", "longer", "d", "link", "fifo"];
  const paths = names.map((name) => dir.join(name));
  await Deno.writeTextFile(dir.join("a"), "abc");
  await Deno.writeTextFile(dir.join("shorter"), "ab");
  await Deno.writeTextFile(dir.join("longer"), "abcd");
  await Deno.mkdir(dir.join("d"));
  if (!IS_WINDOWS) { // a link needs a right there
    await Deno.symlink(dir.join("a"), dir.join("link"));
    await makeFifo(dir.join("fifo"));
  }
  const all = ["-A"], read = ["--allow-read"];
  const below = [`--allow-read=${dir.path}`];
  for (const permissions of [all, read, below]) {
    const script = denoScript("try_read.ts", ["3", ...paths], {
      permissions,
      stdout: "piped",
      stderr: "piped",
    });
    const { stdout, stderr } = await outputOf(script);
    assertEquals(stderr, "");
    const texts = ["abc", null, null, null, null, null, null];
    assertEquals(JSON.parse(stdout), [
      { texts, refusesLinks: permissions === all && !IS_WINDOWS },
      { texts, refusesLinks: false },
    ]);
  }
});

test("readManySmall() gives each file that has the size it was told", async () => {
  await using dir = await tempDir();
  const files = [];
  for (let n = 0; n < 1_000; n++) {
    await Deno.writeTextFile(dir.join(`${n}`), `bytes of ${n}`);
    files.push({ path: dir.join(`${n}`), size: `bytes of ${n}`.length });
  }
  const wrong = [
    { path: dir.join("1"), size: 3 },
    { path: dir.join("1"), size: -1 },
    { path: dir.join("1"), size: 1e9 },
    { path: dir.join("none"), size: 3 },
    { path: dir.path, size: (await Deno.lstat(dir.path)).size },
  ];
  const read = new Map<string, string>();
  await readManySmall([...wrong, ...files], ({ path }, bytes) => {
    assert(!read.has(path));
    read.set(path, text(bytes));
  });
  assertEquals(read.size, 1_000);
  for (let n = 0; n < 1_000; n++) {
    assertEquals(read.get(dir.join(`${n}`)), `bytes of ${n}`);
  }
});

test("syncFile() and syncDir() leave things as they are", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(dir.join("a"), "abc");
  await syncFile(dir.join("a"));
  await syncDir(dir.path);
  assertEquals(await Deno.readTextFile(dir.join("a")), "abc");
});

test("syncFiles() throws what the disk refused, by name", async () => {
  await using dir = await tempDir();
  const paths = ["a", "b", "c"].map((name) => dir.join(name));
  for (const path of paths) await Deno.writeTextFile(path, "a");
  {
    using _ = refusingDisk((sync) => sync > 0);
    const error = await assertRejects(
      () => syncFiles(paths),
      AggregateError,
      "and 1 more: Input/output error",
    );
    assertEquals(error.errors.length, 2);
  }
  await syncFiles(paths);
});

test("syncFiles() hands over what the disk refused to those who ask for it", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(dir.join("a"), "a");
  using _ = refusingDisk(() => true);
  const refused: string[] = [];
  await syncFiles([dir.join("a")], (path, error) => {
    refused.push(`${path}: ${error.message}`);
  });
  assertEquals(refused, [
    `${dir.join("a")}: Input/output error (os error 5)`,
  ]);
});

test("syncFile() opens no FIFO that never ends", async () => {
  await using dir = await tempDir();
  await makeFifo(dir.join("a"));
  await assertRejects(() => within(5_000, syncFile(dir.join("a"))), Error);
}, { ignore: IS_WINDOWS });

test(
  "renameFile() and replaceFile() sync names where they are told to",
  async () => {
    await using dir = await tempDir();
    const [tmp, path] = [dir.join("tmp"), dir.join("a")];
    await replaceFile(path, bytes("one"), tmp, true);
    {
      using _ = refusingDisk(() => true);
      await replaceFile(path, bytes("two"), tmp, false);
      await renameFile(path, dir.join("b"), false);
      await assertRejects(() => renameFile(dir.join("b"), path, true));
    }
    {
      using _ = refusingDisk((sync) => sync === 1); // its directory
      await assertRejects(() => replaceFile(path, bytes("three"), tmp, true));
    }
    assertEquals(namesIn(dir.path), ["a"]);
  },
  { ignore: IS_WINDOWS },
); // which syncs no names

test("syncFile() does not mind a file that is gone", async () => {
  await using dir = await tempDir();
  await syncFile(dir.join("gone"));
  assertEquals(namesIn(dir.path), []);
});
