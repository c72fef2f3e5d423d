/**
 * One table of operations on both layouts: what users see is the same.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import {
  backupStore,
  describeStore,
  migrateStore,
  performRecovery,
  restoreStore,
  StorageManager,
  type StoreReport,
  type Tx,
  verifyStore,
} from "../../mod.ts";
import { placeOf } from "../../src/payloads/payload_layout.ts";
import { call } from "../cli_helpers.ts";
import {
  bytes,
  type Driver,
  flipBit,
  namesIn,
  outline,
  overwriteInLog,
  randomBytes,
  sampleTx,
  tempDir,
  testDrivers,
  text,
} from "../helpers.ts";

type Layout = "files" | "packed";

/** A store in one of the layouts, closed between operations. */
interface Place {
  layout: Layout;
  driver: Driver;
  base: string;
  db: string;
  /** A folder for what is made beside it. */
  beside: (...names: string[]) => string;
}

/** An operation; what it gives is what users see of it. */
type Operation = (place: Place) => Promise<unknown>;

const LARGEST = 65_536;

/** Payloads that live in the log where it packs them. */
const txs = [
  sampleTx({ txId: "a", timestamp: 3, payload: bytes("payload number one") }),
  sampleTx({ txId: "b", timestamp: 1, holderId: "bob", payload: bytes("two") }),
  sampleTx({ txId: "c", timestamp: 2, payload: new Uint8Array() }),
  sampleTx({ txId: "ü/d", timestamp: -1.5, payload: randomBytes(9_000) }),
  sampleTx({ txId: "edge", timestamp: 5, payload: randomBytes(LARGEST) }),
];

/** A payload that is a file in either layout. */
const large = sampleTx({
  txId: "large",
  timestamp: 9,
  payload: randomBytes(LARGEST + 1),
});

async function opened<T>(
  { base, db, driver }: Place,
  work: (store: StorageManager) => Promise<T>,
): Promise<T> {
  await using store = await StorageManager.open(base, db, { driver });
  return await work(store);
}

/** A transaction as something that compares and prints well. */
function seen(tx: Tx | null): unknown {
  return tx && { ...tx, payload: tx.payload.toHex() };
}

/** An error as its users tell one from another. */
async function failure(work: () => Promise<unknown>): Promise<unknown> {
  try {
    return { no: "error", but: await work() };
  } catch (error) {
    const { name, message, code } = error as Error & { code?: string };
    return { name, message, code };
  }
}

/** A report without what depends on the clock and on folders. */
function seenReport(report: StoreReport): unknown {
  const { sound, bytes, damaged, counts, findings } = report;
  return {
    sound,
    bytes,
    damaged,
    counts,
    findings: findings.map(({ kind, txId, action }) => [kind, txId, action])
      .sort(),
  };
}

/** The program on the store; folders in what it says have no name. */
async function program(
  { base, db, driver, beside }: Place,
  args: string[],
  stdin = "",
): Promise<unknown> {
  const where = ["--base", base, "--db", db, "--driver", driver];
  const { code, stdout, stderr } = await call([...args, ...where], { stdin });
  const folder = beside().replace(/\/$/, "");
  const told = (text: string) =>
    text.replaceAll(folder, "…").replace(/\d+(\.\d+)? ?m?s\b/g, "time");
  return { code, stdout: told(stdout), stderr: told(stderr) };
}

/** Damages the payload of "a", wherever it is. */
async function damage({ layout, base }: Place): Promise<void> {
  if (layout === "files") await flipBit(join(base, placeOf("a")), 3);
  else await overwriteInLog(base, "aalicepayload number one", "n_mber one");
}

/** Loads all that a store has. */
async function everything(place: Place): Promise<unknown> {
  return await opened(place, async (store) => {
    const ids = await store.listTxs();
    const loaded = [];
    for (const id of ids) loaded.push(seen(await store.loadTx(id)));
    return loaded;
  });
}

const operations: Record<string, Operation> = {
  "save one, many, and a stream": (place) =>
    opened(place, async (store) => [
      await store.saveTx(txs[0]!),
      await store.saveTxs(txs.slice(1)),
      await store.saveTx(large),
      await store.saveTxStream(
        { txId: "streamed", holderId: "carol", timestamp: 4 },
        new Blob(["in ", "pieces"]).stream(),
      ),
    ]),
  "save the same again, another one, and by each rule": (place) =>
    opened(place, async (store) => {
      const other = { ...txs[1]!, payload: bytes("another two") };
      return [
        await store.saveTx(txs[1]!),
        await store.saveTx(other, { ifExists: "keep" }),
        await failure(() => store.saveTx(other, { ifExists: "fail" })),
        await store.saveTx(other),
        await store.saveTx(txs[1]!),
      ];
    }),
  "refuse what is no transaction": (place) =>
    opened(place, async (store) => [
      await failure(() => store.saveTx({ ...txs[0]!, txId: "" })),
      await failure(() => store.loadTx("\0")),
    ]),
  "load whole, as a stream, and what is not there": (place) =>
    opened(place, async (store) => {
      const stream = await store.loadTxStream("ü/d");
      return [
        ...await Promise.all(txs.map(({ txId }) => store.loadTx(txId)))
          .then((all) => all.map(seen)),
        seen(await store.loadTx("large")),
        stream && (await new Response(stream.payload).bytes()).toHex(),
        await store.loadTx("nobody"),
        await store.loadTxStream("nobody"),
        await store.hasTx("a"),
        await store.hasTx("nobody"),
        await store.infoTx("edge"),
      ];
    }),
  "list, in either order, by filter, and count": (place) =>
    opened(place, async (store) => [
      await store.listTxs(),
      await store.listTxs({ sort: "time", reverse: true, limit: 3 }),
      await store.listTxs({ holderId: "bob" }),
      await store.listTxs({ minSize: 1, maxSize: 9_000 }),
      await Array.fromAsync(store.iterateTxs({ since: 2 })),
      await Array.fromAsync(store.iterateByHolder()),
      await store.countTxs({ idPrefix: "ü" }),
      await store.totals(),
    ]),
  "verify": ({ base, db, driver }) =>
    verifyStore(base, db, { driver }).then(seenReport),
  "describe": async ({ base, db, driver }) => {
    const { txs, bytes, holders, quarantined, pending, writeOnce } =
      await describeStore(base, db, { driver });
    return { txs, bytes, holders, quarantined, pending, writeOnce };
  },
  "the program lists, exports and loads": async (place) => [
    await program(place, ["list", "--long"]),
    await program(place, ["export", "--quiet"]),
    await program(place, ["load", "streamed"]),
    await program(place, ["load", "a", "--raw"]),
    await program(place, ["verify", "--quiet"]),
  ],
  "the program saves, imports, deletes and prunes": async (place) => [
    await program(place, [
      "save",
      "--tx",
      '{"tx_id":"s","holder_id":"x","timestamp":1,"payload":"aGVsbG8="}',
    ]),
    await program(
      place,
      ["import"],
      '{"tx_id":"i","holder_id":"x","timestamp":2,"payload":"aGVsbG8="}\n' +
        '{"tx_id":"s","holder_id":"x","timestamp":1,"payload":"aGVsbG8="}\n',
    ),
    await program(place, ["delete", "s"]),
    await program(place, ["delete", "s"]),
    await program(place, ["prune", "--holder", "x", "--before", "10"]),
    await program(place, ["list"]),
  ],
  "delete and prune": (place) =>
    opened(place, async (store) => [
      await store.saveTx({ ...txs[0]!, txId: "going" }),
      await store.saveTx({ ...txs[0]!, txId: "old", timestamp: -100 }),
      await store.deleteTx("going"),
      await store.deleteTx("going"),
      await store.loadTx("going"),
      await store.prune({ before: -50 }),
      await store.listTxs(),
    ]),
  "a backup, as a folder and as an archive, restored": async (place) => {
    const { base, db, driver, beside } = place;
    const made = [];
    const folder = beside("backup"), archive = beside("backup.tar");
    await backupStore(base, db, folder, { driver, copy: true });
    const { writable } = await Deno.create(archive);
    await backupStore(base, db, writable, { driver });
    for (const [n, source] of [folder, archive].entries()) {
      const restored = { ...place, base: beside(`restored-${n}`) };
      restored.db = join(restored.base, "poh.db");
      await restoreStore(source, restored.base, restored.db, { driver });
      const report = await verifyStore(restored.base, restored.db, { driver });
      made.push(seenReport(report), await everything(restored));
    }
    return made;
  },
  "a migration to a store in each layout": async (place) => {
    const made = [];
    for (const packBelow of [0, LARGEST]) {
      const base = place.beside(`migrated-${packBelow}`);
      const to = { ...place, base, db: join(base, "poh.db") };
      {
        const options = { driver: place.driver };
        await using from = await StorageManager.open(
          place.base,
          place.db,
          options,
        );
        await using target = await StorageManager.create(to.base, to.db, {
          ...options,
          packBelow,
        });
        made.push(await migrateStore(from, target));
        made.push(await migrateStore(from, target));
      }
      made.push(await everything(to));
    }
    return made;
  },
  "damage is refused, found, and healed from a backup": async (place) => {
    const { base, db, driver, beside } = place;
    await damage(place);
    const refused = await opened(
      place,
      (store) =>
        failure(() => store.loadTx("a")).then((error) => [
          (error as Error).name,
        ]),
    );
    const found = outline(await verifyStore(base, db, { driver }));
    const from = beside("backup");
    const healed = await performRecovery(base, db, { driver, from });
    const again = await performRecovery(base, db, { driver });
    return [
      refused,
      found,
      seenReport(healed),
      seenReport(again),
      await everything(place),
    ];
  },
  "damage that nothing heals goes to quarantine": async (place) => {
    const { base, db, driver } = place;
    await damage(place);
    const report = await performRecovery(base, db, { driver });
    const again = await performRecovery(base, db, { driver });
    return await opened(place, async (store) => {
      const cases = await Array.fromAsync(store.listQuarantine());
      return [
        seenReport(report),
        seenReport(again),
        cases.map(({ reason, row }) => ({ reason, row })),
        await store.listTxs(),
        await store.saveTx(txs[0]!),
        await store.emptyQuarantine(),
        seen(await store.loadTx("a")),
      ];
    });
  },
  "a lost database is made anew": async (place) => {
    const { base, db, driver } = place;
    await Deno.remove(db);
    const report = await performRecovery(base, db, { driver, rebuild: true });
    // Files tell neither holder nor time, which the log does.
    const ids = await opened(place, (store) => store.listTxs());
    return [report.sound, report.damaged, ids];
  },
};

async function seenIn(layout: Layout, driver: Driver) {
  await using dir = await tempDir();
  const base = dir.join("base"), db = dir.join("base", "poh.db");
  const place = { layout, driver, base, db, beside: dir.join };
  const packBelow = layout === "packed" ? LARGEST : 0;
  await (await StorageManager.create(base, db, { driver, packBelow })).close();
  const transcript = new Map<string, unknown>();
  for (const [name, operation] of Object.entries(operations)) {
    transcript.set(name, await operation(place));
    if (name.startsWith("save one")) {
      const files = namesIn(base).filter((name) => name.endsWith(".bin"));
      assertEquals(files.length, layout === "packed" ? 1 : 7);
    }
  }
  return transcript;
}

testDrivers("users see the same in both layouts", async (driver) => {
  const files = await seenIn("files", driver);
  const packed = await seenIn("packed", driver);
  assertEquals([...packed.keys()], Object.keys(operations));
  for (const [name, inFiles] of files) {
    assertEquals(packed.get(name), inFiles, name);
  }
  // That it compares something.
  const listed = files.get("list, in either order, by filter, and count");
  assert((listed as string[][])[0]!.includes("ü/d"));
  assert(text(bytes(JSON.stringify([...files]))).length > 100_000);
}, { timeout: 90_000 });
