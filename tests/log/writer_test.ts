import {
  assert,
  assertEquals,
  assertNotEquals,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { join } from "@std/path";
import {
  PohStorageError,
  sha256Hex,
  StoreBusyError,
  TxExistsError,
} from "../../mod.ts";
import {
  type CrashPoint,
  observeCrashPoints,
} from "../../src/async/crash_points.ts";
import { loadTx } from "../../src/local/find_payload.ts";
import type { IfExists } from "../../src/model/if_exists.ts";
import { Follower } from "../../src/log/follower.ts";
import { LogDir } from "../../src/log/log_dir.ts";
import { type Change, rowOf } from "../../src/log/record.ts";
import type { LogWriter } from "../../src/log/writer.ts";
import {
  closeStore,
  type OpenStore,
  openStore,
  removal,
  saving,
} from "../../src/local/open_store.ts";
import { LockFile } from "../../src/files/locks.ts";
import type { StorageOptions } from "../../src/model/storage_options.ts";
import { placeOf } from "../../src/payloads/payload_layout.ts";
import {
  bytes,
  checkpointDue,
  namesIn,
  randomBytes,
  tempDir,
  test,
  text,
  TIME_LIMIT,
  within,
} from "../helpers.ts";
import { logState } from "../../src/sqlite/log_state.ts";
import { findInfo, findRow } from "../../src/sqlite/lookups.ts";
import { pageOfTxs } from "../../src/sqlite/tx_pages.ts";
import { countTxs } from "../../src/sqlite/tx_counts.ts";
import { sumTxs } from "../../src/sqlite/tx_counts.ts";
import type { Database } from "../../src/sqlite/database.ts";
import { idsOf } from "../sqlite/rows.ts";
import { encodeRecord } from "./helpers.ts";
import { offsetOf, segmentOf } from "../../src/log/segment.ts";

/** The parts of a store, open. */
interface Parts extends AsyncDisposable, OpenStore {
  base: string;
  queue: LogWriter;
}

async function tempParts(
  { checkpointAfter, ...options }: StorageOptions & {
    checkpointAfter?: number;
  } = {},
): Promise<Parts> {
  const dir = await tempDir();
  const due = checkpointDue(checkpointAfter);
  const base = dir.join("base");
  const store = await openStore(base, join(base, "poh.db"), options, {
    create: true,
  });
  return {
    ...store,
    base,
    queue: store.writer!.queue,
    async [Symbol.asyncDispose]() {
      try {
        await closeStore(store);
      } finally {
        due[Symbol.dispose]();
        await dir[Symbol.asyncDispose]();
      }
    },
  };
}

async function put(txId: string, payload: Uint8Array): Promise<Change> {
  const storageHash = await sha256Hex(payload);
  const size = payload.length;
  const info = { txId, holderId: "", timestamp: 0, storageHash, size };
  return { entry: saving(info, { payload, isPacked: false }) };
}

async function putStaged(
  { files }: OpenStore,
  txId: string,
  payload: Uint8Array,
): Promise<Change> {
  const { name } = await files.staged.add([payload]);
  const { entry } = await put(txId, payload);
  return { entry: saving(rowOf(entry)!, { staged: name }) };
}

/** The ids of the changes that a checkpoint has not covered. */
function pending({ log }: OpenStore): string[] {
  return log.pending().map(({ txId }) => txId).toArray();
}

function remove(txId: string): Change {
  return { entry: removal(txId) };
}

/** Waits until something is so. */
async function waitUntil(isSo: () => boolean): Promise<void> {
  await within(
    TIME_LIMIT,
    (async () => {
      while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 1));
    })(),
  );
}

/** Where the log ends. */
function endOf({ rows }: OpenStore): { position: number } {
  return { position: logState(rows).applied };
}

/** Writes down every step that changes pass, until it is disposed. */
function observed():
  & { steps: CrashPoint[]; count(step: CrashPoint): number }
  & Disposable {
  const steps: CrashPoint[] = [];
  observeCrashPoints((step) => steps.push(step));
  return {
    steps,
    count: (step) => steps.filter((one) => one === step).length,
    [Symbol.dispose]: () => observeCrashPoints(() => {}),
  };
}

for (const durability of ["full", "relaxed"] as const) {
  test(`a change is committed and its file follows, ${durability}`, async () => {
    await using parts = await tempParts({ durability });
    const { files, rows, queue } = parts;
    using seen = observed();
    assertEquals(await queue.submit(await put("a", bytes("hello"))), true);
    const resolved = ["record written", "log synced", "file written"];
    assertEquals(seen.steps, resolved);
    assertEquals(findInfo(rows, "a")?.size, 5);
    assertEquals(text(await files.load("a")), "hello");
    await waitUntil(() => rows.deferred.size === 0);
    assertEquals(seen.steps, [...resolved, "rows applied"]);
  });

  test(`beside another writer rows follow first, ${durability}`, async () => {
    await using parts = await tempParts({ durability });
    const { rows, queue } = parts;
    const other = await openStore(parts.base, rows.path, { durability });
    await queue.submit(await put("a", bytes("hello")));
    assertEquals(rows.deferred.size, 0);
    assertEquals(findInfo(other.rows, "a")?.size, 5);
    await closeStore(other);
  });
}

test("rows of new ids that have resolved are known before they follow", async () => {
  await using parts = await tempParts();
  const { rows, queue } = parts;
  await queue.submit(await put("a", bytes("hello")));
  assertEquals(rows.deferred.size, 1);
  const { position } = endOf(parts);
  assertEquals(findRow(rows, "a")?.info.size, 5);
  assertEquals(rows.deferred.size, 1); // a look-up by id needs no table
  assertEquals(pageOfTxs(rows, { limit: 9 }).map(({ txId }) => txId), ["a"]);
  assertEquals(rows.deferred.size, 0);
  assertEquals(endOf(parts).position, position);
  assertEquals(logState(rows).changes, 1);
});

test("to replace or delete an id waits for the rows", async () => {
  await using parts = await tempParts();
  const { rows, queue } = parts;
  const change = await put("a", bytes("hello"));
  for (const next of [await put("a", bytes("world")), remove("a")]) {
    await queue.submit(change);
    await queue.submit(next);
    assertEquals(rows.deferred.size, 0);
    await queue.submit(remove("a"));
  }
  assertEquals(logState(rows).changes, 5);
});

test("a reader sees saves that have resolved and have no row yet", async () => {
  await using parts = await tempParts({ driver: "builtin" });
  const { base, rows, queue } = parts;
  await queue.submit(await put("a", bytes("hello")));
  await waitUntil(() => rows.deferred.size === 0);
  const reader = await openStore(base, rows.path, {
    driver: "builtin",
    readOnly: true,
  });
  {
    using _ = await lockedByStranger(rows); // no row can follow
    await queue.submit(await put("b", bytes("world")));
    assertEquals(findInfo(reader.rows, "b")?.size, 5);
    assertEquals(text((await loadTx(reader, "b"))!.payload), "world");
    await queue.submit(await put("c", bytes("!")));
    assertEquals(await countTxs(reader.rows), 3);
    assertEquals(findInfo(reader.rows, "d"), null);
    assertEquals(rows.deferred.size, 2);
  }
  await queue.submit(remove("b"));
  assertEquals(findInfo(reader.rows, "b"), null);
  assertEquals(await idsOf(reader.rows), ["a", "c"]);
  await closeStore(reader);
});

/**
 * Another program that keeps a database from being changed: for stores with the
 * built-in driver, as two copies of SQLite in one process do not see each
 * other's locks.
 */
async function lockedByStranger({ path }: Database): Promise<Disposable> {
  const { DatabaseSync } = await import("node:sqlite");
  const stranger = new DatabaseSync(path);
  stranger.exec("BEGIN IMMEDIATE");
  return { [Symbol.dispose]: () => stranger.close() };
}

test("rows that cannot follow for now are known, and follow with the next", async () => {
  await using parts = await tempParts({ driver: "builtin" });
  const { rows, queue } = parts;
  {
    using _ = await lockedByStranger(rows);
    await queue.submit(await put("a", bytes("hello")));
    assertEquals(findInfo(rows, "a")?.size, 5);
    const error = assertThrows(() => sumTxs(rows), StoreBusyError);
    assert(error.message.includes("is locked"));
  }
  await queue.submit(await put("b", bytes("world")));
  assertEquals(await idsOf(rows), ["a", "b"]);
});

test("whoever opens a store finds what a dead writer has logged done", async () => {
  await using parts = await tempParts();
  const { base, log, rows, queue } = parts;
  for (const id of ["a", "b"]) await queue.submit(await put(id, bytes(id)));
  await queue.flush();
  const { applied } = logState(rows);
  const segment = log.dir.segment(segmentOf(applied))!;
  const { salt } = segment.header;
  const record = encodeRecord(removal("a"), applied, salt, true);
  {
    using file = Deno.openSync(log.dir.pathOf(segmentOf(applied)), {
      write: true,
    });
    file.seekSync(offsetOf(applied), Deno.SeekMode.Start);
    file.writeSync(record);
  }
  const other = await openStore(base, join(base, "poh.db"));
  try {
    assertEquals(findInfo(other.rows, "a"), null);
    assertEquals(other.files.find("a"), null);
    assertEquals(logState(other.rows).applied, applied + record.length);
  } finally {
    await closeStore(other);
  }
});

test("whoever opens a store while its last writer ends has the log", async () => {
  await using dir = await tempDir();
  const base = dir.join("base"), db = join(base, "poh.db");
  const last = await openStore(base, db, {}, { create: true });
  const changes = Array.from(
    { length: 100 },
    (_, n) => put(`${n}`, bytes("x")),
  );
  const { queue } = last.writer!;
  await Promise.all((await Promise.all(changes)).map((it) => queue.submit(it)));
  const end = Follower.prototype[Symbol.asyncDispose];
  const next: OpenStore[] = [];
  Follower.prototype[Symbol.asyncDispose] = async function () {
    next.push(await openStore(base, db));
    await end.call(this);
  };
  try {
    await closeStore(last);
  } finally {
    Follower.prototype[Symbol.asyncDispose] = end;
  }
  assertEquals(next.length > 0, true);
  for (const store of next) await closeStore(store);
});

test("rows that could not follow keep those behind them waiting", async () => {
  await using parts = await tempParts({ driver: "builtin", lockTimeout: 50 });
  const { rows, files, queue } = parts;
  const ids = Array.from({ length: 128 }, (_, n) => `tx-${n}`);
  const putAll = (ids: string[], payload: string) =>
    Promise.all(ids.map((id) => put(id, bytes(payload))));
  const first = await putAll(ids, "old");
  await Promise.all(first.map((change) => queue.submit(change)));
  await queue.flush();
  const stranger = await lockedByStranger(rows);
  const replaced = await putAll([...ids, "last"], "newer");
  const changes = replaced.map((change) => queue.submit(change));
  // The batch behind the one that fails goes on in the same turn.
  await changes[0]!.catch(() => stranger[Symbol.dispose]());
  const results = await Promise.allSettled(changes);
  const made = results.map(({ status }) => status === "fulfilled");
  assertEquals(made.indexOf(true), 128);
  for (const id of [...ids, "last"]) {
    assertEquals(findInfo(rows, id)?.size, 5, id);
    assertEquals(text(await files.load(id)), "newer", id);
  }
  assertEquals(logState(rows).changes, 257);
});

test("a staged payload's name is durable before its record", async () => {
  await using parts = await tempParts();
  const change = await putStaged(parts, "a", randomBytes(100));
  using seen = observed();
  await parts.queue.submit(change);
  assertEquals(seen.steps, [
    "staged names synced",
    "record written",
    "log synced",
    "file written",
  ]);
  assertEquals(await parts.files.load("a"), randomBytes(100));
  assertEquals(namesIn(parts.files.staged.path), []);
});

test("changes of one turn are written at once", async () => {
  await using parts = await tempParts();
  const changes = await Promise.all(
    Array.from({ length: 128 }, (_, n) => put(`${n}`, bytes(`${n}`))),
  );
  using seen = observed();
  await Promise.all(changes.map((change) => parts.queue.submit(change)));
  assertEquals(seen.count("record written"), 1);
  assertEquals((await Array.fromAsync(parts.files.files())).length, 128);
  assertEquals(await countTxs(parts.rows), 128);
});

test("a batch takes no more than 128 changes", async () => {
  await using parts = await tempParts();
  const changes = await Promise.all(
    Array.from({ length: 300 }, (_, n) => put(`${n}`, bytes(`${n}`))),
  );
  using seen = observed();
  await Promise.all(changes.map((change) => parts.queue.submit(change)));
  assertEquals(seen.count("record written"), 3);
  assertEquals(await countTxs(parts.rows), 300);
});

test("a batch takes no more than 4 MiB of payloads", async () => {
  await using parts = await tempParts();
  const payload = new Uint8Array(64 * 1024);
  const changes = await Promise.all(
    Array.from({ length: 96 }, (_, n) => put(`${n}`, payload)),
  );
  using seen = observed();
  await Promise.all(changes.map((change) => parts.queue.submit(change)));
  assertEquals(seen.count("record written"), 2);
});

test("changes come in the order in which they were made", async () => {
  await using parts = await tempParts();
  const { files, rows, queue } = parts;
  const results = await Promise.all([
    queue.submit(await put("a", bytes("1"))),
    queue.submit(remove("a")),
    queue.submit(remove("a")),
    queue.submit(await put("a", bytes("2"))),
    queue.submit(remove("b")),
    queue.submit(await put("b", bytes("3"))),
    queue.submit(remove("b")),
  ]);
  assertEquals(results, [true, true, false, true, false, true, true]);
  assertEquals(text(await files.load("a")), "2");
  assertEquals([findInfo(rows, "b"), await files.load("b")], [null, null]);
});

test("a staged payload that is replaced in its own batch is not left over", async () => {
  await using parts = await tempParts();
  const { files, queue } = parts;
  const changes = [
    await putStaged(parts, "a", bytes("1")),
    await putStaged(parts, "a", bytes("2")),
    await putStaged(parts, "b", bytes("3")),
  ];
  await Promise.all([
    ...changes.map((change) => queue.submit(change)),
    queue.submit(remove("b")),
  ]);
  assertEquals(text(await files.load("a")), "2");
  assertEquals(await files.load("b"), null);
  assertEquals(namesIn(files.staged.path), []);
});

test("flush() empties the log after the files are synced", async () => {
  await using parts = await tempParts();
  const { rows, queue } = parts;
  for (const id of ["a", "b"]) await queue.submit(await put(id, bytes(id)));
  assertEquals(pending(parts), ["a", "b"]);
  await waitUntil(() => rows.deferred.size === 0);
  using seen = observed();
  await queue.flush();
  assertEquals(seen.steps, [
    "segment sealed",
    "rows applied",
    "files synced",
    "segment dropped",
  ]);
  assertEquals(pending(parts), []);
  assertEquals(parts.log.dir.numbers(), [2]);
  assertEquals(await countTxs(rows), 2);
  await queue.flush(); // nothing to do
  assertEquals(seen.steps.length, 4);
});

test("flush() waits for what is in flight", async () => {
  await using parts = await tempParts();
  const changes = await Promise.all(
    Array.from({ length: 300 }, (_, n) => put(`${n}`, bytes(`${n}`))),
  );
  const done = changes.map((change) => parts.queue.submit(change));
  await parts.queue.flush();
  assertEquals(await countTxs(parts.rows), 300);
  assertEquals(pending(parts), []);
  await Promise.all(done);
});

test("flush() covers what another writer has changed", async () => {
  await using parts = await tempParts();
  const other = await openStore(parts.base, parts.rows.path);
  await other.writer!.queue.submit(await put("a", bytes("1")));
  await parts.queue.submit(await put("b", bytes("2")));
  assertEquals(pending(parts), ["a", "b"]);
  await parts.queue.flush();
  assertEquals([pending(parts), pending(other)], [[], []]);
  // It goes on in the new segment.
  await other.writer!.queue.submit(await put("a", bytes("3")));
  assertEquals(pending(parts), ["a"]);
  await closeStore(other);
  assertEquals(pending(parts), ["a"]); // this one has it open still
  await parts.queue.flush();
  assertEquals(text(await parts.files.load("a")), "3");
});

test("a checkpoint comes when the log has grown long", async () => {
  await using parts = await tempParts();
  const { rows, queue } = parts;
  const payload = new Uint8Array(65_536);
  using seen = observed();
  for (let n = 0; n < 9; n++) {
    const changes = await Promise.all(
      Array.from({ length: 120 }, (_, m) => put(`${n}-${m}`, payload)),
    );
    await Promise.all(changes.map((change) => queue.submit(change)));
  }
  await parts.queue.flush();
  assert(seen.count("segment dropped") >= 2);
  assertEquals(await countTxs(rows), 9 * 120);
  assertEquals(parts.log.dir.numbers().length, 1);
});

test("a segment that is full is followed by another", async () => {
  await using parts = await tempParts({ checkpointAfter: 1e9 });
  const { queue } = parts;
  const payload = new Uint8Array(65_536);
  queue.flush = () => Promise.resolve();
  const sync = parts.files.sync.bind(parts.files);
  const { promise, resolve } = Promise.withResolvers<void>();
  parts.files.sync = async (txIds) => {
    await promise; // no checkpoint comes to its end
    await sync(txIds);
  };
  const { syncFiles } = Follower.prototype;
  Follower.prototype.syncFiles = () => promise.then(() => []);
  for (let n = 0; n < 8; n++) {
    const changes = await Promise.all(
      Array.from({ length: 120 }, (_, m) => put(`${n}-${m}`, payload)),
    );
    await Promise.all(changes.map((change) => queue.submit(change)));
  }
  assert(parts.log.dir.numbers().length >= 2);
  assertEquals(pending(parts).length, 8 * 120);
  Follower.prototype.syncFiles = syncFiles;
  resolve();
});

test("replaced payloads in the log give back their room", async () => {
  await using parts = await tempParts({ checkpointAfter: 100 });
  const { rows, queue, log } = parts;
  const packed = async (txId: string, fill: number): Promise<Change> => {
    const payload = new Uint8Array(60_000).fill(fill);
    const { entry } = await put(txId, payload);
    return { entry: { ...entry, isPacked: true } };
  };
  await queue.submit(await packed("kept", 1));
  for (let round = 0; round < 12; round++) {
    const changes = await Promise.all(
      Array.from({ length: 50 }, (_, n) => packed(`${n}`, round)),
    );
    await Promise.all(changes.map((change) => queue.submit(change)));
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await queue.flush();
  // 36 MB were written, 3 MB live.
  const bytes = log.size();
  assert(bytes < 15e6, `the log has ${bytes} bytes`);
  assertEquals(await countTxs(rows), 51);
  assertEquals((await loadTx(parts, "kept"))?.payload[0], 1);
  assertEquals((await loadTx(parts, "49"))?.payload[0], 11);
  assertEquals(await Array.fromAsync(parts.files.files()), []);
});

test("changes go on while a checkpoint is under way", async () => {
  await using parts = await tempParts({ checkpointAfter: 3 });
  const { files, queue } = parts;
  let during = 0;
  const sync = files.sync.bind(files);
  files.sync = async (txIds) => {
    if (during++ === 0) {
      await queue.submit(await put("a", bytes("newer")));
      await queue.submit(await put("d", bytes("d")));
    }
    return await sync(txIds);
  };
  for (const id of ["a", "b", "c"]) {
    await queue.submit(await put(id, bytes(id)));
  }
  while (pending(parts).length > 2) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assertEquals(pending(parts), ["a", "d"]);
  assertEquals(text(await files.load("a")), "newer");
  await queue.flush();
  assertEquals(pending(parts), []);
});

test("a change whose file cannot follow is told so, the others go on", async () => {
  await using parts = await tempParts();
  const { base, files, rows, queue } = parts;
  const inTheWay = join(base, "b.bin", "within");
  await Deno.mkdir(inTheWay, { recursive: true });
  const [a, b, c] = await Promise.allSettled(
    await Promise.all(["a", "b", "c"].map(async (id) => {
      const change = await put(id, bytes(`of ${id}`));
      return () => queue.submit(change);
    })).then((submits) => submits.map((submit) => submit())),
  );
  assertEquals([a!.status, b!.status, c!.status], [
    "fulfilled",
    "rejected",
    "fulfilled",
  ]);
  assertEquals(text(await files.load("a")), "of a");
  assertEquals(text(await files.load("c")), "of c");
  assertEquals(namesIn(base, "b.bin"), ["within"]);

  // The log keeps its payload, and it follows when the way is free.
  for (let n = 0; n < 2; n++) {
    const { place } = findRow(rows, "b")!;
    assertEquals(parts.log.at(place!)?.payload, bytes("of b"));
    assertEquals(text((await loadTx(parts, "b"))?.payload), "of b");
    await queue.flush();
  }
  await Deno.remove(join(base, placeOf("b")), { recursive: true });
  await queue.flush();
  assertEquals(text(await files.load("b")), "of b");
  assertEquals([findRow(rows, "b")?.place, pending(parts)], [null, []]);
});

test("what could not follow is forgotten once it is replaced", async () => {
  await using parts = await tempParts();
  const { base, files, rows, queue } = parts;
  await Deno.mkdir(join(base, "a.bin", "within"), { recursive: true });
  await assertRejects(async () => queue.submit(await put("a", bytes("1"))));
  await Deno.remove(join(base, placeOf("a")), { recursive: true });
  await queue.submit(await put("a", bytes("2")));
  await queue.flush();
  assertEquals(text(await files.load("a")), "2");
  assertEquals([findRow(rows, "a")?.place, pending(parts)], [null, []]);
});

test("a batch that cannot be written is refused as a whole", async () => {
  await using parts = await tempParts();
  const { files, rows, queue, log } = parts;
  const staged = await putStaged(parts, "a", randomBytes(10));
  const { position: before } = endOf(parts);
  const segment = log.dir.segment(1)!;
  const write = segment.write.bind(segment);
  segment.write = (offset, part) => {
    write(offset, part.subarray(0, part.length - 20));
    throw new Error("No space left on device");
  };
  const small = await put("b", bytes("2"));
  const results = await Promise.allSettled(
    [small, staged].map((change) => queue.submit(change)),
  );
  assertEquals(results.map(({ status }) => status), ["rejected", "rejected"]);
  assertEquals(await countTxs(rows), 0);
  assertEquals(pending(parts), []);
  assertEquals(await Array.fromAsync(files.files()), []);
  assertEquals(namesIn(files.staged.path), []);
  segment.write = write;
  await queue.submit(await put("a", bytes("3"))); // and the queue goes on
  assertEquals(await countTxs(rows), 1);
  assertEquals(log.pending().map((record) => record.position).toArray(), [
    before,
  ]);
});

test("a change that no record can hold is refused, the others go on", async () => {
  await using parts = await tempParts();
  const { rows, queue } = parts;
  const bad = await put("b", bytes("2"));
  bad.entry.timestamp = NaN;
  const nul = await put("a\0", bytes("1"));
  const good = await put("a", bytes("1"));
  const results = await Promise.allSettled(
    [bad, nul, good].map((change) => queue.submit(change)),
  );
  assertEquals(results.map(({ status }) => status), [
    "rejected",
    "rejected",
    "fulfilled",
  ]);
  assertEquals(await countTxs(rows), 1);
});

test("changes that come during a flush are not held up for good", async () => {
  await using parts = await tempParts();
  const { queue, rows } = parts;
  await queue.submit(await put("a", bytes("1")));
  const change = await put("b", bytes("2"));
  const flushed = queue.flush();
  await within(TIME_LIMIT / 3, queue.submit(change));
  await within(TIME_LIMIT / 3, flushed);
  assertEquals(await countTxs(rows), 2);
  await queue.flush();
  assertEquals(pending(parts), []);
});

test("a deletion of a row as it was seen spares the one that came since", async () => {
  await using parts = await tempParts();
  const { rows, files, queue } = parts;
  await queue.submit(await put("a", bytes("old")));
  const seen = findInfo(rows, "a")!;
  const newer = await put("a", bytes("old"));
  newer.entry.timestamp = 1; // the same bytes, at another time
  const [, deleted] = await Promise.all([
    queue.submit(newer),
    queue.submit({ ...remove("a"), seen }),
  ]);
  assertEquals(deleted, false);
  assertEquals(findInfo(rows, "a")?.timestamp, 1);
  assertEquals(text(await files.load("a")), "old");
  const now = findInfo(rows, "a")!;
  assertEquals(await queue.submit({ ...remove("a"), seen: now }), true);
  assertEquals(await queue.submit({ ...remove("a"), seen: now }), false);
  assertEquals(await files.load("a"), null);
});

test("what a save comes to is decided in the order of the log", async () => {
  await using parts = await tempParts();
  const other = await openStore(parts.base, parts.rows.path);
  const { rows, queue } = parts;
  const one = await put("a", bytes("1")), two = await put("a", bytes("2"));
  const save = (queue: LogWriter, { entry }: Change, rule: IfExists) =>
    queue.save({ entry }, rule).then(
      ({ outcome, storageHash }) => [outcome, storageHash === hash1],
      ({ code }) => code,
    );
  const hash1 = one.entry.storageHash;
  using seen = observed();
  const outcomes = await Promise.all([
    save(queue, one, "fail"),
    save(queue, one, "fail"),
    save(queue, two, "fail"),
    save(queue, two, "keep"),
    queue.submit(remove("a")),
    save(queue, two, "keep"),
    save(queue, one, "replace"),
    save(queue, one, "replace"),
  ]);
  assertEquals(outcomes, [
    ["created", true],
    ["unchanged", true],
    "EXISTS",
    ["kept", true],
    true,
    ["created", false],
    ["replaced", true],
    ["unchanged", true],
  ]);
  assertEquals(pending(parts).length, 1);
  assertEquals(logState(rows).changes, 4);
  // Another writer follows all that first.
  assertEquals(await save(other.writer!.queue, two, "fail"), "EXISTS");
  assertEquals(await save(other.writer!.queue, one, "fail"), [
    "unchanged",
    true,
  ]);
  assertEquals(seen.count("record written"), 1);
  await closeStore(other);
});

test("the same again mends a payload that is damaged or gone", async () => {
  await using parts = await tempParts();
  const { base, files, queue } = parts;
  for (const isGone of [false, true]) {
    const change = await put("a", bytes("hello"));
    await queue.submit(change);
    if (isGone) await Deno.remove(join(base, placeOf("a")));
    else await Deno.writeTextFile(join(base, placeOf("a")), "hullo");
    const saved = await queue.save(change, "fail");
    assertEquals([saved.outcome, saved.saved], ["unchanged", false]);
    assertEquals(text(await files.load("a")), "hello");
  }
});

test("a staged payload that is not saved is not left over", async () => {
  await using parts = await tempParts();
  const { files, queue } = parts;
  await queue.submit(await put("a", bytes("1")));
  const { entry } = await putStaged(parts, "a", bytes("2"));
  const kept = await queue.save({ entry }, "keep");
  assertEquals(kept.outcome, "kept");
  const again = await putStaged(parts, "a", bytes("2"));
  await assertRejects(
    () => queue.save(again, "fail"),
    TxExistsError,
  );
  assertEquals(namesIn(files.staged.path), []);
  assertEquals(text(await files.load("a")), "1");
});

test("a file that the disk refuses is not made anew over a newer one", async () => {
  await using parts = await tempParts();
  const { files, rows, queue } = parts;
  await queue.submit(await put("a", bytes("older")));
  await queue.submit(await put("b", bytes("deleted since")));
  const newer = await put("a", bytes("newer"));
  const sync = files.sync.bind(files);
  let isFirst = true;
  files.sync = async (txIds, onRefused) => {
    if (isFirst) {
      isFirst = false;
      await queue.submit(newer);
      await queue.submit(remove("b"));
      for (const id of ["a", "b"]) onRefused!(id, new Error("refused"));
    }
    return await sync(txIds, onRefused);
  };
  await queue.flush();
  assertEquals(text(await files.load("a")), "newer");
  assertEquals(findInfo(rows, "a")?.storageHash, newer.entry.storageHash);
  assertEquals(await files.load("b"), null);
});

/** Has the disk refuse the next sync of the newest segment, once. */
function failSync({ log }: OpenStore): void {
  const segment = log.dir.segment(log.dir.numbers().at(-1)!)!;
  const fail = () => {
    delete (segment as Partial<typeof segment>).sync;
    delete (segment as Partial<typeof segment>).syncSync;
    throw new Error("Input/output error");
  };
  segment.sync = fail;
  segment.syncSync = fail;
}

test("a sync that failed is final, for all writers", async () => {
  await using dir = await tempDir();
  const base = dir.join("base"), db = join(base, "poh.db");
  const store = await openStore(base, db, {}, { create: true });
  const other = await openStore(base, db);
  const { rows, writer } = store;
  const { queue } = writer!;
  await queue.submit(await put("a", bytes("old")));
  assertEquals(queue.failure(), null);
  failSync(store);
  const refused = async (of: OpenStore, id: string) => {
    const change = await put(id, bytes("new"));
    const error = await assertRejects(
      () => within(5_000, of.writer!.queue.submit(change)),
      PohStorageError,
    );
    assertEquals(error.code, "DISK_FAILED");
  };
  await refused(store, "a");
  await refused(store, "b");
  await refused(other, "c");
  for (const { writer } of [store, other]) {
    const failure = writer!.queue.failure();
    assertEquals((failure as PohStorageError).code, "DISK_FAILED");
  }
  assertEquals([findInfo(rows, "b"), findInfo(rows, "c")], [null, null]);
  await closeStore(store);
  await refused(other, "c");

  // Who opens the store then writes nothing behind what was found.
  const before = other.log.dir.numbers().at(-1)!;
  const again = await openStore(base, db);
  assertEquals(again.log.dir.numbers(), [before + 1]);
  const found = await again.files.load("a");
  assertEquals(findInfo(again.rows, "a")?.storageHash, await sha256Hex(found!));
  await again.writer!.queue.submit(await put("d", bytes("d")));
  await closeStore(other);
  await closeStore(again);
  const last = await openStore(base, db);
  assertEquals(text(await last.files.load("d")), "d");
  await closeStore(last);
});

test("nothing is written behind a sync that failed, in the same turn neither", async () => {
  await using dir = await tempDir();
  const base = dir.join("base"), db = join(base, "poh.db");
  const store = await openStore(base, db, {}, { create: true });
  const { queue } = store.writer!;
  await queue.submit(await put("a", bytes("a")));
  const changes = await Promise.all(
    Array.from({ length: 300 }, (_, n) => put(`id-${n}`, bytes(`${n}`))),
  );
  failSync(store);
  const ends = await within(
    5_000,
    Promise.allSettled(changes.map((change) => queue.submit(change))),
  );
  assertEquals(ends.filter(({ status }) => status === "fulfilled"), []);
  for (const end of ends) {
    assert(end.status === "rejected" && end.reason.code === "DISK_FAILED");
  }
  await closeStore(store);
});

test("rows that the disk did not take keep the log, and stop all writers", async () => {
  await using dir = await tempDir();
  const base = dir.join("base"), db = join(base, "poh.db");
  const store = await openStore(base, db, {}, { create: true });
  const other = await openStore(base, db);
  await store.writer!.queue.submit(await put("a", bytes("a")));
  const { wal } = store.rows;
  const flush = wal.flush.bind(wal);
  wal.flush = () =>
    Promise.reject(wal.failure = new Error("Input/output error"));
  await assertRejects(() => store.writer!.queue.flush(), PohStorageError);
  for (const { writer } of [store, other]) {
    const change = await put("b", bytes("b"));
    await assertRejects(() => writer!.queue.submit(change), PohStorageError);
  }
  assertEquals(pending(other), ["a"]);
  wal.flush = flush;
  await closeStore(other);
  await closeStore(store);
  const again = await openStore(base, db);
  assertEquals(text((await loadTx(again, "a"))?.payload), "a");
  await again.writer!.queue.submit(await put("b", bytes("b")));
  await closeStore(again);
});

test("a log that is long when the disk fails keeps nobody waiting", async () => {
  await using dir = await tempDir();
  const base = dir.join("base");
  using _ = checkpointDue(1);
  const store = await openStore(base, join(base, "poh.db"), {}, {
    create: true,
  });
  const { queue } = store.writer!;
  failSync(store);
  for (const id of ["a", "b"]) {
    const change = await put(id, bytes(id));
    await assertRejects(
      () => within(5_000, queue.submit(change)),
      PohStorageError,
      "did not take a commit",
    );
  }
  await closeStore(store);
});

test("a file that the disk refuses keeps its record and segment", async () => {
  await using parts = await tempParts();
  const { files, rows, queue } = parts;
  const sync = files.sync.bind(files);
  let isBad = true;
  files.sync = async (txIds, onRefused) => {
    await sync(txIds);
    if (isBad && txIds.includes("b")) onRefused!("b", new Error("refused"));
  };
  for (const id of ["a", "b", "c"]) {
    await queue.submit(await put(id, bytes(id)));
  }
  await queue.flush();
  assertEquals(pending(parts), ["b", "c"]);
  assertEquals(parts.log.at(findRow(rows, "b")!.place!)?.txId, "b");
  assertEquals([findRow(rows, "a")?.place, findRow(rows, "c")?.place], [
    null,
    null,
  ]);
  isBad = false;
  await queue.flush();
  assertEquals([pending(parts), findRow(rows, "b")?.place], [[], null]);
  assertEquals(parts.log.dir.numbers().length, 1);
});

test("files of a checkpoint that its process did not survive are made anew", async () => {
  await using parts = await tempParts();
  const { files, queue, log } = parts;
  await queue.submit(await put("a", bytes("a")));
  await queue.submit(await put("b", bytes("b")));
  await queue.submit(remove("b"));
  const inode = () => Deno.statSync(files.pathOf("a")).ino;
  const before = inode();
  await queue.flush();
  assertEquals(inode(), before);
  await queue.submit(await put("a", bytes("again")));
  const replaced = inode();
  log.dir.setState({ isCheckpointing: true }); // by one that died
  await queue.flush();
  assertNotEquals(inode(), replaced);
  assertEquals(text(await files.load("a")), "again");
  assertEquals(namesIn(parts.base).includes(placeOf("b")), false);
  assertEquals(log.dir.state().isCheckpointing, false);
});

test("a flush ends beside changes that never do", async () => {
  await using parts = await tempParts();
  const { queue } = parts;
  let isOver = false;
  const lanes = Array.from({ length: 8 }, async (_, lane) => {
    for (let n = 0; !isOver; n++) {
      // Their rows follow later, when nobody comes with more.
      await queue.submit(await put(`${lane}-${n}`, bytes("new")));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  });
  try {
    for (let n = 0; n < 5; n++) {
      await queue.submit(await put("last", bytes(`${n}`)));
      const { applied } = logState(parts.rows);
      await queue.flush();
      assert(logState(parts.rows).filesSynced >= applied);
    }
  } finally {
    isOver = true;
    await Promise.all(lanes);
  }
});

test("a packed payload's older file goes, whoever makes the checkpoint", async () => {
  await using parts = await tempParts();
  const { files, queue } = parts;
  await queue.submit(await put("a", bytes("file")));
  const { discard } = files;
  files.discard = () => {
    throw new Error("Input/output error (os error 5)");
  };
  const { entry } = await put("a", bytes("packed"));
  const packed = saving(rowOf(entry)!, {
    payload: bytes("packed"),
    isPacked: true,
  });
  await assertRejects(() => queue.submit({ entry: packed }), PohStorageError);
  files.discard = discard;
  const other = await openStore(parts.base, join(parts.base, "poh.db"), {}, {
    create: false,
  });
  await other.writer!.queue.submit(await put("b", bytes("b")));
  await other.writer!.queue.flush();
  await closeStore(other);
  assertEquals(namesIn(parts.base).includes(placeOf("a")), false);
});

test("only one process makes a checkpoint at a time", async () => {
  await using parts = await tempParts({ checkpointAfter: 1, lockTimeout: 50 });
  const { queue } = parts;
  {
    using other = new LockFile(join(parts.base, ".poh", "checkpoint.lock"));
    assert(other.tryLock(true));
    for (const id of ["a", "b"]) {
      assert(await queue.submit(await put(id, bytes(id))));
    }
    await assertRejects(() => queue.flush(), StoreBusyError);
    assertEquals(pending(parts), ["a", "b"]);
  }
  await queue.flush();
  assertEquals(pending(parts), []);
});

test("what one process tells does not undo what another has told", async () => {
  await using parts = await tempParts();
  const { dir } = parts.log;
  using other = new LogDir(parts.base, { sync: true, write: true });
  dir.setState({ hasFailed: true });
  other.setState({ newest: 7 });
  dir.setState({ isCheckpointing: true });
  dir.setState({ joins: 2 });
  other.setState({ resolved: 640 });
  const told = {
    hasFailed: true,
    isCheckpointing: true,
    newest: 7,
    joins: 2,
    resolved: 640,
  };
  assertEquals([dir.state(), other.state()], [told, told]);
  dir.setState({ hasFailed: false, isCheckpointing: false, newest: 1 });
});
