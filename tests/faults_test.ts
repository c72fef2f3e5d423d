/**
 * Faults that are no damage: a clear error, nothing lost, nothing deleted.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { performRecovery, StorageManager, verifyStore } from "../mod.ts";
import { listQuarantine } from "../src/payloads/quarantine.ts";
import { openSqlite } from "../src/sqlite/driver.ts";
import { allowedStates, type Line, versionOf } from "./crash/journal.ts";
import { assertClean, contentsOf, type Place } from "./crash/check.ts";
import { command } from "./crash/disk.ts";
import { placeBelow } from "./crash/process.ts";
import { placeOf } from "../src/payloads/payload_layout.ts";
import {
  denoScript,
  filesBelow,
  makeFifo,
  namesIn,
  outline,
  outputOf,
  type TempDir,
  tempDir,
  within,
} from "./helpers.ts";
import { serveBelow } from "./http/serve_helpers.ts";

/** Why a program cannot be used here; null when it can. */
async function whyNot(name: string, ...args: string[]): Promise<string | null> {
  const { state } = await Deno.permissions.query({
    name: "run",
    command: name,
  });
  if (state !== "granted") return `--allow-run=${name} is not granted`;
  try {
    await command(name, ...args);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

async function whyNoMounts(): Promise<string | null> {
  const dir = await Deno.makeTempDir();
  try {
    const reason = await whyNot("mount", "-t", "tmpfs", "tmpfs", dir) ??
      await whyNot("umount", dir);
    return reason;
  } finally {
    await Deno.remove(dir);
  }
}

const noMounts = Deno.build.os === "linux"
  ? await whyNoMounts()
  : "mounts are made the Linux way";
const noLimits = await whyNot("prlimit", "--version");
const noPrivileges = await whyNot(
  "setpriv",
  ...withoutOverride("true"),
);

/** Declares a test that is skipped for a reason. */
function testUnless(
  reason: string | null,
  name: string,
  fn: () => Promise<void>,
): void {
  const why = reason === null ? "" : ` (skipped: ${reason})`;
  Deno.test({ name: name + why, ignore: reason !== null, fn });
}

/** A mount that goes away. */
async function mounted(path: string, ...args: string[]) {
  await command("mount", ...args, path);
  return { [Symbol.asyncDispose]: () => command("umount", path) };
}

/** What `setpriv` takes so that permissions count for root as well. */
function withoutOverride(...args: string[]): string[] {
  return ["--bounding-set", "-dac_override,-dac_read_search", ...args];
}

/** Runs the child by another program, and gives what it notes. */
async function runChild(
  by: string,
  options: string[],
  ...args: string[]
): Promise<Record<string, unknown>> {
  const script = denoScript("../faults/child.ts", args, {
    permissions: ["--allow-read", "--allow-write"],
    stdout: "piped",
    stderr: "piped",
    by: [by, ...options],
  });
  const { code, stdout, stderr } = await outputOf(script);
  assertEquals(code, 0, stderr);
  return JSON.parse(stdout);
}

const SIZES = [0, 10, 1_000, 70_000];

/** A store with four transactions, `tx-0` to `tx-3`. */
async function makeStore(place: Place): Promise<Line[]> {
  await using store = await StorageManager.create(place.base, place.db);
  const lines: Line[] = [];
  for (const [n, size] of SIZES.entries()) {
    await store.saveTx(versionOf(`tx-${n}`, 1, size));
    lines.push({ what: "done", id: `tx-${n}`, state: { n: 1, size } });
  }
  return lines;
}

testUnless(
  noMounts,
  "a full disk refuses saves and loses nothing",
  async () => {
    await using dir = await tempDir();
    const disk = dir.join("disk");
    await Deno.mkdir(disk);
    await using _mount = await mounted(
      disk,
      "-t",
      "tmpfs",
      "-o",
      "size=12m",
      "tmpfs",
    );
    const { base, db } = placeBelow(disk);
    const lines = await makeStore({ base, db });
    const refused = new Set<string>();
    {
      await using store = await StorageManager.create(base, db);
      const ballast = join(disk, "ballast");
      await Deno.writeFile(ballast, new Uint8Array(6 * 1024 * 1024));
      const save = async (id: string, n: number, size: number) => {
        const state = { n, size };
        lines.push({ what: "begin", id, state });
        try {
          await store.saveTx(versionOf(id, n, size));
          lines.push({ what: "done", id, state });
        } catch (error) {
          assertMatch(String(error), /no space left|disk is full/i);
          refused.add(id);
        }
      };
      // Large and small, new and replacing, until each has been refused.
      for (let n = 2; n < 400 && refused.size < 8; n++) {
        await save(`large-${n % 7}-${n}`, n, 100_000);
        await save("tx-3", n, 80_000 + n);
        await Promise.all([
          save(`small-${n}`, n, 20_000),
          save("tx-1", n, 30_000 - n),
        ]);
      }
      assert(refused.size >= 8, "nothing was refused");
      // Nothing earlier is lost, even now.
      await contentsOf(store, allowedStates(lines));
      await Deno.remove(ballast);
      // The reserve is made whole again first, which is tried once a second.
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      refused.clear();
      await save("small-after", 1, 1_000);
      await save("large-after", 1, 100_000);
      assertEquals([...refused], []);
      await contentsOf(store, allowedStates(lines));
    }
    const report = await performRecovery(base, db);
    assertEquals(report.damaged, false);
    await assertClean({ base, db });
    await using store = await StorageManager.create(base, db);
    await contentsOf(store, allowedStates(lines));
  },
);

testUnless(noLimits, "too many open files are no damage", async () => {
  await using dir = await tempDir();
  const place = placeBelow(dir.path);
  await makeStore(place);
  const before = await filesBelow(place.base);
  const results = await runChild(
    "prlimit",
    ["--nofile=64:64"],
    "files",
    place.base,
    place.db,
  );
  const told = [0, 1, 2, 3].map((n) => `unreadable tx-${n}: none`);
  const { verify, recover, load, ...rest } = results;
  if (Array.isArray(verify)) assertEquals(verify, told);
  else assertMatch(String(verify), /too many open files/i);
  if (Array.isArray(recover)) assertEquals(recover, []);
  else assertMatch(String(recover), /too many open files|unable to open/i);
  assertMatch(String(load), /too many open files/i);
  assertMatch(String(rest.save), /too many open files|unable to open/i);
  assertEquals(rest["save again"], 10);
  assertEquals(rest["verify again"], []);
  const after = await filesBelow(place.base);
  for (const name of Object.keys(before)) {
    if (name.endsWith(".bin")) assertEquals(after[name], before[name]);
  }
});

testUnless(
  noPrivileges,
  "a payload that may not be read is no damage",
  async () => {
    await using dir = await tempDir();
    const { base, db } = placeBelow(dir.path);
    await makeStore({ base, db });
    const file = join(base, placeOf("tx-1"));
    const before = await filesBelow(base);
    await Deno.chmod(file, 0o000);
    const results = await runChild(
      "setpriv",
      withoutOverride(),
      "use",
      base,
      db,
    );
    assertEquals(results.verify, ["unreadable tx-1: none"]);
    assertMatch(String(results.load), /PayloadUnreadableError: .*permission/i);
    assertEquals(results.recover, ["unreadable tx-1: none"]);
    assertEquals(results.save, 10);
    await Deno.chmod(file, 0o644);
    const after = await filesBelow(base);
    for (const [name, digest] of Object.entries(before)) {
      if (name.endsWith(".bin")) assertEquals(after[name], digest);
    }
    assertEquals((await verifyStore(base, db)).findings, []);
  },
);

testUnless(
  noPrivileges,
  "a base that may not be written is verified and loaded from",
  async () => {
    await using dir = await tempDir();
    const { base, db } = placeBelow(dir.path);
    await makeStore({ base, db });
    const before = await filesBelow(dir.path);
    const dirs = [
      base,
      ...["", "tmp", "staged", "holders"].map((name) =>
        join(base, ".poh", name)
      ),
    ];
    for (const path of dirs) await Deno.chmod(path, 0o555);
    for (const path of [db, join(base, ".poh", "lock")]) {
      await Deno.chmod(path, 0o444);
    }
    const results = await runChild(
      "setpriv",
      withoutOverride(),
      "use",
      base,
      db,
    );
    assertEquals(results.verify, []);
    assertEquals(results.load, ["tx-0", "tx-1", "tx-2", "tx-3"]);
    assertMatch(String(results.recover), /permission|readonly|unable to open/i);
    assertMatch(String(results.save), /permission|readonly|unable to open/i);
    for (const path of dirs) await Deno.chmod(path, 0o755);
    assertEquals(await filesBelow(dir.path), before);
  },
);

testUnless(
  noMounts,
  "a read-only file system is verified and loaded from",
  async () => {
    await using dir = await tempDir();
    const real = dir.join("real"), seen = dir.join("seen");
    await Deno.mkdir(seen);
    await makeStore(placeBelow(real));
    await Deno.writeTextFile(join(real, "base", "tx-2.bin"), "damaged");
    const before = await filesBelow(real);
    await using _mount = await mounted(seen, "--bind", real);
    await command("mount", "-o", "remount,bind,ro", seen);
    const base = join(seen, "base"), db = join(base, "poh.db");
    assertEquals(outline(await verifyStore(base, db)), [
      "payload-corrupt tx-2: none",
    ]);
    const dryRun = await performRecovery(base, db, { dryRun: true });
    assertEquals(outline(dryRun), ["payload-corrupt tx-2: quarantined"]);
    for (
      const call of [
        () => performRecovery(base, db),
        () => StorageManager.create(base, db),
      ]
    ) {
      const error = await call().then(() => null, (error) => error as Error);
      assertMatch(String(error), /read-?only/i);
    }
    assertEquals(await filesBelow(real), before);
  },
);

testUnless(noMounts, "a sector that cannot be read is no damage", async () => {
  await using dir = await tempDir();
  const image = dir.join("image"), disk = dir.join("disk");
  await Deno.mkdir(disk);
  await Deno.writeFile(image, new Uint8Array());
  await Deno.truncate(image, 16 * 1024 * 1024);
  await command(
    "mkfs.ext4",
    "-q",
    "-F",
    "-b",
    "4096",
    "-O",
    "^has_journal",
    image,
  );
  const base = join(disk, "base"), db = dir.join("poh.db");
  const ids = Array.from({ length: 40 }, (_, n) => `tx-${n}`);
  {
    await using _mount = await mounted(disk, "-o", "loop", image);
    await using store = await StorageManager.create(base, db);
    for (const id of ids) await store.saveTx(versionOf(id, 1, 250_000));
  }
  await using _mount = await mounted(disk, "-o", "loop,errors=continue", image);
  await Deno.truncate(image, 8 * 1024 * 1024); // the rest of the disk is gone
  const lost = ids.filter((id) => {
    try {
      Deno.readFileSync(join(base, placeOf(id)));
      return false;
    } catch (error) {
      assertMatch(String(error), /input\/output/i);
      return true;
    }
  }).sort();
  assert(lost.length > 0 && lost.length < ids.length, `${lost.length} lost`);
  const expected = lost.map((id) => `unreadable ${id}: none`).sort();
  assertEquals(outline(await verifyStore(base, db)), expected);
  assertEquals(outline(await performRecovery(base, db)), expected);
  assertEquals(await Array.fromAsync(listQuarantine(base)), []);
  assertEquals(
    namesIn(base).filter((name) => name.endsWith(".bin")).length,
    40,
  );
});

testUnless(
  Deno.build.os === "windows" ? "links need a privilege there" : null,
  "links and directories in the place of payloads are left alone, and not followed",
  async () => {
    await using dir = await tempDir();
    const { base, db } = placeBelow(dir.path);
    await makeStore({ base, db });
    const secret = dir.join("secret.bin");
    await Deno.writeFile(secret, versionOf("tx-0", 1, SIZES[0]!).payload);
    const [link, dangling, folder] = [0, 1, 2].map((n) =>
      join(base, `tx-${n}.bin`)
    ) as [string, string, string];
    for (const path of [link, dangling, folder]) await Deno.remove(path);
    await Deno.symlink(secret, link);
    await Deno.symlink(dir.join("nowhere"), dangling);
    await Deno.mkdir(folder);
    await Deno.writeTextFile(join(folder, "something"), "of somebody");

    const told = [0, 1, 2].map((n) => `unreadable tx-${n}: none`);
    assertEquals(outline(await verifyStore(base, db)), told);
    const report = await performRecovery(base, db, { orphans: "quarantine" });
    assertEquals(outline(report), told);
    {
      await using store = await StorageManager.create(base, db);
      for (const n of [0, 1, 2]) {
        const error = await store.loadTx(`tx-${n}`).catch((error) => error);
        assertEquals(error.code, "UNREADABLE");
      }
      // A link gives way to a payload; what it led to stays as it was.
      await store.saveTx(versionOf("tx-0", 2, 20));
      await store.saveTx(versionOf("tx-1", 2, 90_000));
      const saving = store.saveTx(versionOf("tx-2", 2, 20));
      assertMatch(String(await saving.catch((error) => error)), /directory/i);
      await store.saveTx(versionOf("tx-3", 2, 20)); // the others go on
    }
    assertEquals((await Deno.readFile(secret)).length, SIZES[0]);
    assertEquals(namesIn(dir.path), ["base", "secret.bin"]);
    assertEquals(namesIn(folder), ["something"]);
    // Out of the way, and all is well.
    await Deno.remove(folder, { recursive: true });
    await performRecovery(base, db);
    await assertClean({ base, db });
  },
);

testUnless(
  Deno.build.os === "windows" ? "links need a privilege there" : null,
  "a link in the place of the store's own folders leads nowhere",
  async () => {
    for (
      const own of [
        "",
        "tmp",
        "staged",
        "quarantine",
        "holders",
        "lock",
        "commit.lock",
        "checkpoint.lock",
        "waiting",
        "reserve",
        "id",
      ]
    ) {
      await using dir = await tempDir();
      const { base, db } = placeBelow(dir.path);
      await makeStore({ base, db });
      await Deno.writeTextFile(join(base, placeOf("tx-1")), "damaged");
      const outside = dir.join("outside");
      await Deno.mkdir(outside);
      await Deno.writeTextFile(join(outside, "precious"), "of somebody");
      const place = join(base, ".poh", own);
      await Deno.remove(place, { recursive: true }).catch(() => {});
      await Deno.symlink(outside, place);
      for (
        const call of [
          () => verifyStore(base, db),
          () => performRecovery(base, db, { orphans: "quarantine" }),
          () => performRecovery(base, db, { rebuild: true }),
          () => StorageManager.create(base, db),
          () => Array.fromAsync(listQuarantine(base)),
        ]
      ) {
        const error = await within(
          5_000,
          (call() as Promise<unknown>).catch((error: Error) => error),
        );
        assertMatch(String(error), /symbolic link/, own);
      }
      assertEquals(namesIn(outside), ["precious"], own);
    }
  },
);

testUnless(
  Deno.build.os === "windows" ? "there are no FIFOs there" : null,
  "FIFOs and directories among the store's files end in one clear line, and nothing hangs",
  async () => {
    const places = [
      [
        "poh.db",
        /The database .* cannot be opened: .*poh\.db is a (FIFO|directory)/,
      ],
      ["poh.db-journal", /poh\.db-journal is a (FIFO|directory)/],
      ["poh.db-wal", /poh\.db-wal is a (FIFO|directory)/],
      [".poh/lock", /lock must be a regular file, and is a (FIFO|directory)/],
      [".poh/commit.lock", /commit\.lock must be a regular file/],
      [".poh/id", /id must be a regular file/],
      [".poh/newest", /newest must be a regular file/],
    ] as const;
    for (const [place, told] of places) {
      for (const make of [makeFifo, Deno.mkdir]) {
        await using dir = await tempDir();
        const { base, db } = placeBelow(dir.path);
        await makeStore({ base, db });
        const path = place.startsWith("poh.db")
          ? db + place.slice("poh.db".length)
          : join(base, place);
        await Deno.remove(path).catch(() => {});
        await make(path);
        for (
          const call of [
            () => verifyStore(base, db),
            () => performRecovery(base, db),
            () => StorageManager.create(base, db),
          ]
        ) {
          const calling = (call() as Promise<unknown>).catch((error) => error);
          assertMatch(String(await within(5_000, calling)), told, path);
        }
      }
    }
  },
);

testUnless(
  Deno.build.os === "windows" ? "there are no FIFOs there" : null,
  "FIFOs and directories where the store keeps many files are told, and go where nobody needs them",
  async () => {
    await using dir = await tempDir();
    const { base, db } = placeBelow(dir.path);
    await makeStore({ base, db });
    const poh = join(base, ".poh");
    await Deno.mkdir(join(poh, "quarantine"), { recursive: true });
    await Deno.mkdir(join(poh, "tmp", "full", "of"), { recursive: true });
    await Deno.mkdir(join(poh, "tmp", "empty"));
    for (const name of ["holders/a.json", "tmp/fifo", "staged/fifo"]) {
      await makeFifo(join(poh, name));
    }
    await makeFifo(join(base, "tx-1.bin.tmp"));
    const full = "leftover-temp undefined: none";
    const removed = Array.from(
      { length: 4 },
      () => "leftover-temp undefined: removed",
    );
    const recover = async () =>
      outline(await within(10_000, performRecovery(base, db)))
        .map((line) => line.replace("null", "undefined"));
    assertEquals(await recover(), [full, ...removed]);
    assertEquals(await recover(), [full]); // told, since it is there
    assertEquals(namesIn(poh, "tmp"), ["full"]);

    await makeFifo(join(poh, "quarantine", "case.json"));
    await using store = await StorageManager.create(base, db);
    const listing = Array.fromAsync(store.listQuarantine());
    const error = await within(5_000, listing.catch((error) => error));
    assertMatch(String(error), /case\.json is a FIFO/);
    assertEquals(await store.emptyQuarantine(), 1);
    await Deno.mkdir(join(poh, "quarantine", "case.json"));
    const emptied = await store.emptyQuarantine().catch((error) => error);
    assertMatch(String(emptied), /case\.json is a directory.* it stays/);
  },
);

/** Fills a disk to the last byte; gives the file that does. */
async function fillDisk(disk: string): Promise<string> {
  const path = join(disk, `ballast-${crypto.randomUUID()}`);
  using file = await Deno.open(path, { write: true, create: true });
  for (let size = 1024 * 1024; size >= 1;) {
    try {
      await file.write(new Uint8Array(size));
    } catch (error) {
      assertMatch(String(error), /no space left/i);
      size = Math.floor(size / 2);
    }
  }
  return path;
}

/** Where a small disk is mounted, by the kind of its file system. */
async function smallDisk(kind: string, dir: TempDir) {
  const disk = dir.join("disk");
  await Deno.mkdir(disk);
  if (kind === "tmpfs") {
    return {
      disk,
      mount: await mounted(disk, "-t", "tmpfs", "-o", "size=24m", "tmpfs"),
    };
  }
  const image = dir.join("image");
  await Deno.writeFile(image, new Uint8Array());
  await Deno.truncate(image, 24 * 1024 * 1024);
  await command("mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", image);
  return { disk, mount: await mounted(disk, "-o", "loop", image) };
}

const RESERVE = 4 * 1024 * 1024;

for (const kind of ["tmpfs", "ext4"]) {
  testUnless(
    noMounts,
    `a full disk can be left by deletions (${kind})`,
    async () => {
      await using dir = await tempDir();
      const { disk, mount } = await smallDisk(kind, dir);
      await using _mount = mount;
      const { base, db } = placeBelow(disk);
      const reserve = join(base, ".poh", "reserve");
      {
        await using store = await StorageManager.create(base, db);
        for (let n = 0; n < 30; n++) {
          await store.saveTx(versionOf(`tx-${n}`, 1, 100_000));
        }
      }
      const whole = await Deno.lstat(reserve);
      assertEquals(whole.size, RESERVE);
      assert(512 * whole.blocks! >= RESERVE, "it is sparse");
      const ballast = await fillDisk(disk);
      {
        await using store = await StorageManager.create(base, db);
        const saving = store.saveTx(versionOf("new", 1, 10)).catch((e) => e);
        assertEquals((await saving).code, "DISK_FULL");
        assertMatch(
          (await saving).message,
          /^The disk is full .*delete or prune/,
        );
        assertEquals((await store.whyNotWritable())?.code, "DISK_FULL");
        assertEquals((await store.loadTx("tx-1"))?.payload.length, 100_000);
        assertEquals(await store.deleteTx("tx-1"), true);
        const { deleted } = await store.prune({ idPrefix: "tx-2" });
        assertEquals(deleted, 11);
        assertEquals(await store.emptyQuarantine(), 0);
        await Deno.remove(ballast);
        await new Promise((resolve) => setTimeout(resolve, 1_100));
        assertEquals(await store.whyNotWritable(), null);
        await store.saveTx(versionOf("new", 1, 10));
      }
      assertEquals((await Deno.lstat(reserve)).size, RESERVE);
      await assertClean({ base, db });
    },
  );
}

testUnless(
  noMounts,
  "a full disk is no end to a deletion that frees nothing but room in the database",
  async () => {
    await using dir = await tempDir();
    const { disk, mount } = await smallDisk("tmpfs", dir);
    await using _mount = mount;
    const { base, db } = placeBelow(disk);
    // As the reader's: two copies of SQLite in one process drop each other's locks.
    const options = { packBelow: 4_096, driver: "builtin" } as const;
    {
      await using store = await StorageManager.create(base, db, options);
      await store.saveTxs(
        Array.from(
          { length: 3_000 },
          (_, n) => versionOf(`tx-${crypto.randomUUID()}`, n, 1_000),
        ),
      );
    }
    await fillDisk(disk);
    await using store = await StorageManager.create(base, db, options);
    // Who reads keeps SQLite's log from being shortened, for a while.
    const reader = await openSqlite(db, "builtin", true);
    reader.exec("BEGIN");
    reader.prepare("SELECT count(*) FROM txs").get();
    setTimeout(() => reader.close(), 1_000);
    const { deleted } = await store.prune({ idPrefix: "tx-" });
    assertEquals([deleted, await store.countTxs()], [3_000, 0]);
  },
);

testUnless(
  noMounts,
  "a service starts on a full disk for reading, and says why",
  async () => {
    await using dir = await tempDir();
    const { disk, mount } = await smallDisk("tmpfs", dir);
    await using _mount = mount;
    const { base, db } = placeBelow(disk);
    await makeStore({ base, db });
    const ballast = [await fillDisk(disk)];
    await Deno.truncate(join(base, ".poh", "reserve"));
    ballast.push(await fillDisk(disk)); // others took that as well
    await using served = await serveBelow(disk);
    assertEquals((await served.ask("/readyz")).problem, "503 DISK_FULL");
    assertEquals((await served.ask("/healthz")).text, "OK");
    assertEquals((await served.ask("/txs/tx-1")).status, 200);
    const save = () =>
      served.post("/txs", {
        tx_id: "new",
        holder_id: "h",
        timestamp: 1,
        payload: "aGk=",
      });
    assertEquals((await save()).problem, "503 DISK_FULL");
    for (const path of ballast) await Deno.remove(path);
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    assertEquals((await served.ask("/readyz")).text, "OK");
    assertEquals((await save()).status, 201);
  },
);
