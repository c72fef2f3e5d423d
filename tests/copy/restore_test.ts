import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import {
  BackupDamagedError,
  BackupPathError,
  backupStore,
  PohStorageError,
  type RestoreOptions,
  restoreStore,
  sha256Hex,
  StorageManager,
  StoreMismatchError,
  verifyStore,
} from "../../mod.ts";
import { openSqlite } from "../../src/sqlite/driver.ts";
import { TarWriter } from "../../src/copy/tar.ts";
import { placeOf } from "../../src/payloads/payload_layout.ts";
import {
  bytes,
  filesBelow,
  flipBit,
  namesIn,
  outline,
  randomBytes,
  refusingDisk,
  sampleTx,
  seededRandom,
  tempDir,
  tempStore,
  test,
  testDrivers,
} from "../helpers.ts";
import { openDatabase } from "../../src/sqlite/open_database.ts";
import { logState, readSetting } from "../../src/sqlite/log_state.ts";

/** Ids that are not their own file names, and payloads of several sizes. */
const TXS = [
  sampleTx({ txId: "a" }),
  sampleTx({ txId: "../b", holderId: "bob", timestamp: -1.5 }),
  sampleTx({ txId: "Ç", payload: bytes("") }),
  sampleTx({ txId: "x".repeat(240) }),
  sampleTx({ txId: "large", payload: randomBytes(200_000) }),
];

/** A backup of the above, as a folder and as an archive. */
async function backups(txs = TXS) {
  const dir = await tempDir();
  await using temp = await tempStore();
  for (const tx of txs) await temp.store.saveTx(tx);
  await temp.close();
  const [folder, tar] = [dir.join("folder"), dir.join("backup.tar")];
  await backupStore(temp.base, temp.db, folder, { copy: true });
  const file = await Deno.open(tar, { write: true, create: true });
  await backupStore(temp.base, temp.db, file.writable);
  return { dir, folder, tar, [Symbol.asyncDispose]: dir[Symbol.asyncDispose] };
}

async function assertRestored(base: string, db: string): Promise<void> {
  assertEquals(outline(await verifyStore(base, db)), []);
  await using store = await StorageManager.create(base, db);
  assertEquals(
    (await store.listTxs()).sort(),
    TXS.map(({ txId }) => txId).sort(),
  );
  for (const { txId, holderId, timestamp, payload } of TXS) {
    assertEquals(await store.infoTx(txId), {
      txId,
      holderId,
      timestamp,
      storageHash: await sha256Hex(payload),
      size: payload.length,
    });
  }
  assertEquals(namesIn(base, ".poh", "tmp"), []);
  assertEquals(namesIn(base, ".poh", "staged"), []);
}

testDrivers("a folder and an archive are restored, whole", async (driver) => {
  await using of = await backups();
  for (const source of ["folder", "tar", "stream"]) {
    const base = of.dir.join("new", source), db = join(base, "poh.db");
    const from = source === "folder"
      ? of.folder
      : source === "tar"
      ? of.tar
      : (await Deno.open(of.tar)).readable;
    const report = await restoreStore(from, base, db, { driver });
    assertEquals(report, {
      txs: TXS.length,
      bytes: TXS.reduce((sum, { payload }) => sum + payload.length, 0),
      interrupted: false,
    });
    await assertRestored(base, db);
  }
  assertEquals(namesIn(of.dir.join("new")), ["folder", "stream", "tar"]);
});

testDrivers(
  "the database may be elsewhere, and the base there, empty",
  async (driver) => {
    await using of = await backups();
    const base = of.dir.join("base"), db = of.dir.join("db", "meta.db");
    await Deno.mkdir(base);
    await restoreStore(of.folder, base, db, { driver });
    await assertRestored(base, db);
    assertEquals(namesIn(of.dir.join("db")), ["meta.db"]);
    const below = of.dir.join("other", "sub", "meta.db");
    await restoreStore(of.tar, of.dir.join("other"), below, { driver });
    await assertRestored(of.dir.join("other"), below);
  },
);

test("a restored store has an id of its own", async () => {
  await using of = await backups();
  const [one, two] = [of.dir.join("one"), of.dir.join("two")];
  await restoreStore(of.folder, one, join(one, "poh.db"));
  await restoreStore(of.folder, two, join(two, "poh.db"));
  for (const other of [two, of.folder]) {
    await assertRejects(
      () => StorageManager.create(one, join(other, "poh.db")),
      StoreMismatchError,
    );
  }
});

/** Asserts that a restoration fails and changes nothing. */
async function assertRefused(
  dir: string,
  source: string | ReadableStream<Uint8Array>,
  // deno-lint-ignore no-explicit-any -- as assertRejects takes it
  type: new (...args: any[]) => Error,
  message: string,
  options: RestoreOptions = {},
): Promise<void> {
  const before = await filesBelow(dir);
  const base = join(dir, "base");
  await assertRejects(
    () => restoreStore(source, base, join(base, "poh.db"), options),
    type,
    message,
  );
  assertEquals(await filesBelow(dir), before);
  assertEquals(namesIn(dir).filter((name) => name.includes("restoring")), []);
}

test("nothing that is there is overwritten", async () => {
  await using of = await backups();
  const dir = of.dir.path;
  await Deno.mkdir(join(dir, "base"));
  await Deno.writeTextFile(join(dir, "base", "notes"), "mine");
  await assertRefused(dir, of.folder, BackupPathError, "not an empty folder");
  await Deno.remove(join(dir, "base"), { recursive: true });
  await Deno.writeTextFile(join(dir, "base"), "mine");
  await assertRefused(dir, of.folder, BackupPathError, "not an empty folder");
  await Deno.remove(join(dir, "base"));
  for (const suffix of ["", "-wal", "-journal"]) {
    const db = of.dir.join("other.db");
    await Deno.writeTextFile(db + suffix, "mine");
    await assertRejects(
      () => restoreStore(of.tar, of.dir.join("base"), db),
      BackupPathError,
      "is there already",
    );
    assertEquals(namesIn(dir).includes("base"), false);
    assertEquals(await Deno.readTextFile(db + suffix), "mine");
    await Deno.remove(db + suffix);
  }
});

test("a database that was made meanwhile is not overwritten", async () => {
  await using of = await backups();
  const db = of.dir.join("other.db"), base = of.dir.join("base");
  const make = () => Deno.writeTextFileSync(db, "mine");
  await assertRejects(
    () => restoreStore(of.tar, base, db, { onProgress: make }),
    BackupPathError,
    "is there already",
  );
  assertEquals(await Deno.readTextFile(db), "mine");
  assertEquals(namesIn(of.dir.path).includes("base"), false);
});

test("what another restoration left is not touched", async () => {
  await using of = await backups();
  const base = of.dir.join("base");
  await Deno.mkdir(`${base}.restoring`);
  await Deno.writeTextFile(join(`${base}.restoring`, "poh.db"), "at work");
  await assertRejects(
    () => restoreStore(of.folder, base, join(base, "poh.db")),
    BackupPathError,
    "another restoration",
  );
  assertEquals(namesIn(`${base}.restoring`), ["poh.db"]);
});

test("what is no backup is refused", async () => {
  await using of = await backups();
  await using empty = await tempDir();
  const dir = of.dir.path;
  await assertRefused(
    dir,
    of.dir.join("none"),
    BackupPathError,
    "no backup at",
  );
  await assertRefused(dir, empty.path, BackupPathError, "no poh.db");
  await Deno.writeTextFile(of.dir.join("text"), "no archive\n".repeat(200));
  await assertRefused(
    dir,
    of.dir.join("text"),
    BackupDamagedError,
    "Invalid tar header",
  );
  const nothing = new Blob([]).stream();
  await assertRefused(dir, nothing, BackupDamagedError, "has no poh.db");
});

testDrivers(
  "a damaged folder is refused, and every damage told",
  async (driver) => {
    await using of = await backups();
    const { dir, folder } = of;
    await flipBit(join(folder, placeOf("a")));
    await Deno.remove(join(folder, placeOf("large")));
    const told: string[] = [];
    await assertRefused(
      dir.path,
      folder,
      BackupDamagedError,
      "2 transactions",
      {
        driver,
        onFinding: ({ kind, txId }) => told.push(`${kind} ${txId}`),
      },
    );
    assertEquals(told.sort(), ["payload-corrupt a", "payload-missing large"]);
    await Deno.writeTextFile(join(folder, "poh.db"), "no database");
    await assertRefused(dir.path, folder, BackupDamagedError, "is damaged", {
      driver,
    });
  },
);

test("an interrupted restoration leaves nothing behind", async () => {
  await using of = await backups();
  const before = await filesBelow(of.dir.path);
  for (const [source, step] of [[of.folder, "restore"], [of.tar, "unpack"]]) {
    const stop = new AbortController();
    const base = of.dir.join("base");
    const report = await restoreStore(source!, base, join(base, "poh.db"), {
      signal: stop.signal,
      onProgress: (progress) => progress.step === step && stop.abort(),
    });
    assertEquals(report, { txs: 0, bytes: 0, interrupted: true });
    assertEquals(await filesBelow(of.dir.path), before);
  }
});

// --- hostile archives -------------------------------------------------------

type Entry = [name: string, content: Uint8Array];

/** An archive of these, and of the database of a backup of "a" as its last. */
async function archiveOf(
  entries: Entry[],
  db?: Uint8Array | null,
): Promise<Uint8Array> {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const all = new Response(readable).arrayBuffer();
  const tar = await TarWriter.create(writable);
  for (const [name, content] of entries) {
    await tar.add(name, content.length, [content]);
  }
  if (db !== null) {
    const rows = db ?? await databaseOf();
    await tar.add("poh.db", rows.length, [rows]);
  }
  await tar.finish();
  return new Uint8Array(await all);
}

/** The database of a backup of the transaction "a". */
async function databaseOf(change: (path: string) => unknown = () => {}) {
  await using of = await backups([sampleTx()]);
  const path = join(of.folder, "poh.db");
  await change(path);
  return await Deno.readFile(path);
}

const A: Entry = ["a.bin", sampleTx().payload];

function streamOf(archive: Uint8Array): ReadableStream<Uint8Array> {
  return new Blob([archive as BlobPart]).stream();
}

test("an archive's names are no paths", async () => {
  await using dir = await tempDir();
  const good = await archiveOf([A]);
  await restoreStore(streamOf(good), dir.join("x"), dir.join("x", "poh.db"));
  assertEquals(namesIn(dir.join("x")), [".poh", "a.bin", "poh.db"]);
  for (
    const name of [
      "../escaped.bin",
      "/escaped.bin",
      "sub/escaped.bin",
      "..\\escaped.bin",
      "C:escaped.bin",
      "..bin",
      ".bin",
      ".hidden.bin",
      "con.bin",
      "a%2fb.bin",
      "%00.bin",
      ".poh/id",
      "poh.db-wal",
      "./a.bin",
      "stream:x.bin",
      "n".repeat(300) + ".bin",
    ]
  ) {
    const archive = await archiveOf([[name, bytes("evil")], A]);
    await assertRefused(
      dir.path,
      streamOf(archive),
      BackupDamagedError,
      "no name of a payload",
    );
  }
});

test("an archive holds each payload once, its rows last, and no more", async () => {
  await using dir = await tempDir();
  const db = await databaseOf();
  for (
    const [archive, message] of [
      [await archiveOf([A, A]), "twice"],
      [await archiveOf([A], null), "no poh.db"],
      [await archiveOf([A, ["poh.db", db], A], null), "not its last"],
      [await archiveOf([A, ["poh.db", db], ["poh.db", db]], null), "its last"],
      [await archiveOf([A, ["b.bin", bytes("b")]]), "of no transaction"],
      [await archiveOf([]), "1 transaction is damaged"],
      [await archiveOf([["a.bin", bytes("b")]]), "1 transaction is damaged"],
      [await archiveOf([A], bytes("no database")), "damaged"],
    ] as const
  ) {
    await assertRefused(
      dir.path,
      streamOf(archive),
      BackupDamagedError,
      message,
    );
  }
});

test("an archive's database brings nothing but rows", async () => {
  await using dir = await tempDir();
  for (
    const [sql, message] of [
      [
        "CREATE TRIGGER evil AFTER INSERT ON txs BEGIN DELETE FROM txs; END",
        "what no store has",
      ],
      [
        "ALTER TABLE txs RENAME TO t; CREATE VIEW txs AS WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x FROM r) SELECT x AS tx_id, x AS storage_hash, x AS timestamp, x AS holder_id, x AS size FROM r",
        "its schema is",
      ],
    ] as const
  ) {
    const db = await databaseOf(async (path) => {
      const rows = await openSqlite(path, "builtin", false);
      rows.exec(sql);
      rows.close();
    });
    await assertRefused(
      dir.path,
      streamOf(await archiveOf([A], db)),
      BackupDamagedError,
      message,
    );
  }
  const db = await databaseOf(async (path) => {
    const rows = await openSqlite(path, "builtin", false);
    rows.exec("INSERT INTO settings VALUES ('foreign', 'x')");
    rows.exec("REPLACE INTO settings VALUES ('applied', '1e15')");
    rows.close();
  });
  const base = dir.join("x"), path = join(base, "poh.db");
  await restoreStore(streamOf(await archiveOf([A], db)), base, path);
  await using rows = await openDatabase(path, { readOnly: true });
  assertEquals(readSetting(rows, "foreign"), null);
  assertEquals(logState(rows).applied, 0);
});

/** One header of an archive, with whatever is to be wrong in it. */
function header(
  name: string,
  size: number | string,
  type = "0",
  link = "",
): Uint8Array {
  const block = new Uint8Array(512);
  const put = (at: number, text: string) => block.set(bytes(text), at);
  put(0, name);
  put(100, "0000644\0");
  put(
    124,
    typeof size === "string" ? size : size.toString(8).padStart(11, "0"),
  );
  put(148, " ".repeat(8));
  put(156, type);
  put(157, link);
  put(257, "ustar\x0000");
  const sum = block.reduce((sum, byte) => sum + byte, 0);
  put(148, `${sum.toString(8).padStart(6, "0")}\0 `);
  return block;
}

test("links, folders, and sizes without end are refused", async () => {
  await using dir = await tempDir();
  const refuse = (message: string, ...parts: Uint8Array[]) =>
    assertRefused(
      dir.path,
      new Blob(parts as BlobPart[]).stream(),
      BackupDamagedError,
      message,
    );
  await refuse("symlink", header("a.bin", 0, "2", "/etc/passwd"));
  await refuse("link", header("a.bin", 0, "1", "../precious"));
  await refuse("directory", header("a.bin", 0, "5"));
  await refuse("device", header("a.bin", 0, "3"));
  await refuse("Unexpected end", header("a.bin", 0o77777777777), bytes("x"));
  const pax = (text: string) => [
    header("PaxHeader", text.length, "x"),
    bytes(text.padEnd(512, "\0")),
    header("a.bin", 5),
    bytes("x".padEnd(512, "\0")),
  ];
  await refuse("impossible size", ...pax("13 size=-5xx\n"));
  await refuse("impossible size", ...pax("12 size=abc\n"));
  await refuse("no name", ...pax("22 path=../escaped.bin\n"));
  // Announced headers would be kept whole: there are bounds to that.
  let sent = 0;
  const endless = new ReadableStream<Uint8Array>({
    pull(controller) {
      controller.enqueue(
        sent++ === 0
          ? header("PaxHeader", 0o77777777777, "x")
          : new Uint8Array(65_536),
      );
    },
  });
  await assertRefused(
    dir.path,
    endless,
    BackupDamagedError,
    "headers are too long",
  );
  assert(sent < 64, `${sent} pieces were read`);
});

test("a disk that refuses any one sync is no place to restore to", async () => {
  await using of = await backups();
  await using dir = await tempDir();
  const base = dir.join("base"), db = join(base, "poh.db");
  for (const source of [of.folder, of.tar]) {
    let refused = true;
    for (let nth = 0; refused; nth++) {
      refused = false;
      let error: unknown = null;
      {
        using _ = refusingDisk((sync) => sync === nth && (refused = true));
        await restoreStore(source, base, db).catch((why) => error = why);
      }
      assertEquals(error !== null, refused, `sync ${nth} of ${source}`);
      await Deno.remove(base, { recursive: true }).catch(() => {});
    }
    assertEquals(namesIn(dir.path), []);
  }
});

test("archives that are cut or altered at random are restored sound or refused", async () => {
  await using of = await backups(TXS.slice(0, 3));
  await using dir = await tempDir();
  const archive = await Deno.readFile(of.tar);
  const random = seededRandom(11);
  const any = (below: number) => Math.floor(random() * below);
  let refused = 0;
  for (let round = 0; round < 150; round++) {
    const altered = archive.slice(
      0,
      round % 3 ? undefined : any(archive.length),
    );
    for (let n = any(3) + 1; round % 3 && n > 0; n--) {
      const at = any(round % 2 ? 6_000 : archive.length);
      if (random() < 0.5) altered[at]! ^= 1 << any(8);
      else altered.copyWithin(at, any(archive.length), any(archive.length));
    }
    const base = dir.join("base"), db = join(base, "poh.db");
    try {
      await restoreStore(streamOf(altered), base, db);
      assertEquals(outline(await verifyStore(base, db)), []);
      await Deno.remove(base, { recursive: true });
    } catch (error) {
      if (!(error instanceof PohStorageError)) throw error;
      refused++;
    }
    assertEquals(namesIn(dir.path), [], `round ${round}`);
  }
  assert(refused > 50, `${refused} refused`);
});
