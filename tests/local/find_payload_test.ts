import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import {
  IntegrityError,
  PayloadUnreadableError,
  type Tx,
  type TxInfo,
} from "../../mod.ts";
import { sha256HexSync } from "../../src/files/hash.ts";
import {
  bytesInLog,
  digestOfSource,
  judgePayload,
  loadTx,
  openPayload,
  payloadSoon,
  readPayload,
  readSource,
  sourcesOf,
} from "../../src/local/find_payload.ts";
import {
  closeStore,
  type OpenStore,
  openStore,
} from "../../src/local/open_store.ts";
import { waitingName } from "../../src/payloads/staged_files.ts";
import { findInfo, findRow } from "../../src/sqlite/lookups.ts";
import {
  bytes,
  flipBit,
  overwriteInLog,
  randomBytes,
  sampleTx,
  tempStore,
  test,
} from "../helpers.ts";

const LARGE = randomBytes(100_000);
const txs: Tx[] = [
  sampleTx({ txId: "packed", payload: bytes("packed payload") }),
  sampleTx({ txId: "file", payload: randomBytes(5_000) }),
  sampleTx({ txId: "large", payload: LARGE }),
];

/** A store with a payload in the log, one in a file and a large one. */
async function made() {
  const temp = await tempStore({ packBelow: 100 });
  await temp.store.saveTxs(txs);
  await temp.close();
  const store = await openStore(temp.base, temp.db, { readOnly: true });
  return {
    temp,
    store,
    row: (txId: string) => findInfo(store.rows, txId)!,
    async [Symbol.asyncDispose]() {
      await closeStore(store);
      await temp[Symbol.asyncDispose]();
    },
  };
}

/** What one reading gives. */
function read(store: OpenStore, info: TxInfo) {
  return readPayload(store, info, (source) => readSource(info.txId, source));
}

async function contentOf(opened: Uint8Array | Deno.FsFile | null) {
  if (opened === null || opened instanceof Uint8Array) return opened;
  return await new Response(opened.readable).bytes();
}

test("a payload is found in the log, in its file, and read in one go", async () => {
  await using of = await made();
  for (const { txId, payload } of txs) {
    const { sound, other, failure } = await read(of.store, of.row(txId));
    assertEquals(sound?.bytes, payload);
    assertEquals([other, failure], [null, null]);
    assertEquals((await loadTx(of.store, txId))?.payload, payload);
    const opened = await openPayload(of.store, of.row(txId));
    assertEquals(await contentOf(opened), payload);
  }
  assertEquals(await loadTx(of.store, "unknown"), null);
});

test("what waits for its place is found, also behind an older file", async () => {
  await using of = await made();
  const { staged } = of.store.files;
  for (const txId of ["file", "large"]) {
    const row = of.row(txId), { payload } = txs.find((tx) => tx.txId === txId)!;
    await Deno.writeFile(join(staged.path, waitingName(row)), payload);
    await flipBit(of.temp.file(txId));
    assertEquals((await read(of.store, row)).sound?.bytes, payload);
    assertEquals((await loadTx(of.store, txId))?.payload, payload);
    const opened = await openPayload(of.store, row);
    assertEquals(await contentOf(opened), payload);
  }
});

test("a payload is sound though the record around it is damaged", async () => {
  await using of = await made();
  await overwriteInLog(of.temp.base, "alice", "ALICE");
  const row = of.row("packed");
  assertEquals((await read(of.store, row)).sound?.bytes, txs[0]!.payload);
  assertEquals((await loadTx(of.store, "packed"))?.payload, txs[0]!.payload);
  await overwriteInLog(of.temp.base, "packed payload", "PACKED");
  const { sound, other } = await read(of.store, row);
  assertEquals([sound, other?.bytes], [null, bytes("packed pPACKED")]);
});

test("damage is told with what is there, or that nothing is", async () => {
  await using of = await made();
  await flipBit(of.temp.file("file"));
  await Deno.remove(of.temp.file("large"));
  const damaged = await Deno.readFile(of.temp.file("file"));
  const file = await judgePayload(of.store, of.row("file"), digestOfSource);
  assert(file?.kind === "damaged");
  assertEquals(file.found, {
    digest: sha256HexSync(damaged),
    size: damaged.length,
  });
  const large = await judgePayload(of.store, of.row("large"), digestOfSource);
  assert(large?.kind === "damaged" && large.found === null);
  const error = await assertRejects(
    async () => await loadTx(of.store, "file"),
    IntegrityError,
  );
  assertEquals(error.found, sha256HexSync(damaged));
  const gone = await assertRejects(
    async () => await loadTx(of.store, "large"),
    IntegrityError,
  );
  assertEquals(gone.found, null);
  assertEquals(await openPayload(of.store, of.row("large")), null);
});

test("what the system does not give is told as that, and is no damage", async () => {
  await using of = await made();
  await Deno.remove(of.temp.file("large"));
  await Deno.mkdir(of.temp.file("large"));
  const row = of.row("large");
  const { sound, other, failure } = await read(of.store, row);
  assertEquals([sound, other], [null, null]);
  assert(failure instanceof PayloadUnreadableError);
  const judged = await judgePayload(of.store, row, digestOfSource);
  assertEquals(judged?.kind, "unreadable");
  await assertRejects(
    async () => await loadTx(of.store, "large"),
    PayloadUnreadableError,
  );
  await assertRejects(() => openPayload(of.store, row), PayloadUnreadableError);
});

test("what a reader throws for reasons of its own is thrown", async () => {
  await using of = await made();
  await assertRejects(
    () =>
      readPayload(of.store, of.row("file"), () => {
        throw new Error("no room");
      }),
    Error,
    "no room",
  );
});

test("a row that is another one by now has no open payload", async () => {
  await using of = await made();
  const row = { ...of.row("large"), storageHash: "00".repeat(32) };
  assertEquals(await openPayload(of.store, row), null);
});

test("payload files alone are a place to find payloads in", async () => {
  await using of = await made();
  const alone = { files: of.store.files, rows: null, log: null };
  const found = async (txId: string, origin: typeof alone | OpenStore) =>
    await Array.fromAsync(sourcesOf(origin, of.row(txId)));
  assertEquals(await found("file", alone), [of.temp.file("file")]);
  assertEquals(await found("packed", alone), []);
  assertEquals(await found("packed", of.store), [bytes("packed payload")]);
});

test("a place that cannot be read is passed over by who lists them", async () => {
  await using of = await made();
  const row = of.row("file");
  await Deno.remove(of.temp.file("file"));
  await Deno.mkdir(of.temp.file("file"));
  assertEquals(await Array.fromAsync(sourcesOf(of.store, row)), []);
});

test("only what the log is the home of is in the log", async () => {
  await using of = await made();
  assertEquals(bytesInLog(of.store, "packed"), bytes("packed payload"));
  assertEquals(bytesInLog(of.store, "file"), null);
  assertEquals(bytesInLog(of.store, "unknown"), null);
});

test("small payloads come at once, others do not", async () => {
  await using of = await made();
  for (const { txId, payload } of txs) {
    const soon = payloadSoon(of.store, findRow(of.store.rows, txId)!);
    assertEquals(soon, txId === "large" ? null : payload);
  }
});

test("an archive has no log: what lived in one is not there", async () => {
  await using of = await made();
  const { files, rows } = of.store, row = of.row("packed");
  const reading = await readPayload(
    { files, rows, log: null },
    row,
    (source) => readSource("packed", source),
  );
  assertEquals(reading, { sound: null, other: null, failure: null });
});
