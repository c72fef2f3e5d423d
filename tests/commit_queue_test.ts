import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { PohStorageError, sha256Hex } from "../mod.ts";
import type { Change, CommitQueue, SaveChange } from "../src/commit_queue.ts";
import { type CrashPoint, observeCrashPoints } from "../src/crash_points.ts";
import { FileThread } from "../src/file_thread.ts";
import { savedTx } from "../src/if_exists.ts";
import {
  closeStore,
  type OpenStore,
  openStore,
  removal,
  type StorageOptions,
} from "../src/open_store.ts";
import {
  bytes,
  namesIn,
  randomBytes,
  tempDir,
  test,
  text,
  TIME_LIMIT,
  within,
} from "./helpers.ts";

/** The parts of a store, open. */
interface Parts extends AsyncDisposable, OpenStore {
  base: string;
  queue: CommitQueue;
}

async function tempParts(options: StorageOptions = {}): Promise<Parts> {
  const dir = await tempDir();
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
        await dir[Symbol.asyncDispose]();
      }
    },
  };
}

async function put(txId: string, payload: Uint8Array): Promise<SaveChange> {
  const storageHash = await sha256Hex(payload);
  return {
    info: {
      txId,
      holderId: "",
      timestamp: 0,
      storageHash,
      size: payload.length,
    },
    entry: { txId, action: "put", storageHash, payload, staged: null },
  };
}

async function putStaged(
  { files }: OpenStore,
  txId: string,
  payload: Uint8Array,
): Promise<SaveChange> {
  const { name } = await files.stage([payload]);
  const change = await put(txId, payload);
  return { ...change, entry: { ...change.entry, payload: null, staged: name } };
}

function remove(txId: string): Change {
  return { info: null, entry: removal(txId) };
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
    const change = await put("a", bytes("hello"));
    assertEquals(await queue.save(change), savedTx(change.info, "created"));
    assertEquals(seen.steps, [
      "rows written",
      "committed",
      "commit flushed",
      "file written",
      "batch applied",
    ]);
    assertEquals(rows.get("a")?.size, 5);
    assertEquals(text(await files.load("a")), "hello");
  });
}

test("a staged payload's name is durable before its row", async () => {
  await using parts = await tempParts();
  const change = await putStaged(parts, "a", randomBytes(100));
  using seen = observed();
  await parts.queue.save(change);
  assertEquals(seen.steps, [
    "staged names synced",
    "rows written",
    "committed",
    "commit flushed",
    "file written",
    "batch applied",
  ]);
  assertEquals(await parts.files.load("a"), randomBytes(100));
  assertEquals(namesIn(parts.files.stagedPath), []);
});

test("changes of one turn share one transaction", async () => {
  await using parts = await tempParts();
  const changes = await Promise.all(
    Array.from({ length: 128 }, (_, n) => put(`${n}`, bytes(`${n}`))),
  );
  using seen = observed();
  await Promise.all(changes.map((change) => parts.queue.save(change)));
  assertEquals(seen.count("committed"), 1);
  assertEquals(seen.count("file written"), 128);
  assertEquals(await parts.rows.count(), 128);
});

test("a transaction takes no more than 128 changes", async () => {
  await using parts = await tempParts();
  const changes = await Promise.all(
    Array.from({ length: 300 }, (_, n) => put(`${n}`, bytes(`${n}`))),
  );
  using seen = observed();
  await Promise.all(changes.map((change) => parts.queue.save(change)));
  assertEquals(seen.count("committed"), 3);
  assertEquals(await parts.rows.count(), 300);
});

test("a transaction takes no more than 4 MiB of payloads", async () => {
  await using parts = await tempParts();
  const payload = new Uint8Array(1 << 20);
  const changes = await Promise.all(
    Array.from({ length: 6 }, (_, n) => put(`${n}`, payload)),
  );
  using seen = observed();
  await Promise.all(changes.map((change) => parts.queue.save(change)));
  assertEquals(seen.count("committed"), 2);
});

test("changes come in the order in which they were made", async () => {
  await using parts = await tempParts();
  const { files, rows, queue } = parts;
  const results = await Promise.all([
    queue.save(await put("a", bytes("1"))),
    queue.submit(remove("a")),
    queue.submit(remove("a")),
    queue.save(await put("a", bytes("2"))),
    queue.submit(remove("b")),
    queue.save(await put("b", bytes("3"))),
    queue.submit(remove("b")),
  ]);
  const outcomes = results.map((result) =>
    typeof result === "boolean" ? result : result.outcome
  );
  assertEquals(outcomes, [
    "created",
    true,
    false,
    "created",
    false,
    "created",
    true,
  ]);
  assertEquals(text(await files.load("a")), "2");
  assertEquals([rows.get("b"), await files.load("b")], [null, null]);
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
    ...changes.map((change) => queue.save(change)),
    queue.submit(remove("b")),
  ]);
  assertEquals(text(await files.load("a")), "2");
  assertEquals(await files.load("b"), null);
  assertEquals(namesIn(files.stagedPath), []);
});

test("flush() empties the log after the files are synced", async () => {
  await using parts = await tempParts();
  const { rows, queue } = parts;
  for (const id of ["a", "b"]) await queue.save(await put(id, bytes(id)));
  assertEquals(rows.redo.idsAfter(0, 10).map(({ txId }) => txId), ["a", "b"]);
  using seen = observed();
  await queue.flush();
  assertEquals(seen.steps, ["files synced", "redo trimmed"]);
  assertEquals(rows.redo.idsAfter(0, 10), []);
  await queue.flush(); // nothing to do
  assertEquals(seen.steps.length, 2);
});

test("flush() waits for what is in flight", async () => {
  await using parts = await tempParts();
  const changes = await Promise.all(
    Array.from({ length: 300 }, (_, n) => put(`${n}`, bytes(`${n}`))),
  );
  const done = changes.map((change) => parts.queue.save(change));
  await parts.queue.flush();
  assertEquals(await parts.rows.count(), 300);
  assertEquals(parts.rows.redo.count(), 0);
  await Promise.all(done);
});

test("flush() leaves the log of another writer alone", async () => {
  await using parts = await tempParts();
  const other = await openStore(parts.base, parts.rows.path);
  await other.writer!.queue.save(await put("a", bytes("1")));
  await parts.queue.save(await put("b", bytes("2")));
  await parts.queue.flush();
  assertEquals(parts.rows.redo.idsAfter(0, 10).map(({ txId }) => txId), ["a"]);
  await closeStore(other);
  assertEquals(parts.rows.redo.count(), 0);
});

test("relaxed, the log holds no more than the last batch", async () => {
  await using parts = await tempParts({ durability: "relaxed" });
  for (const id of ["a", "b", "c"]) {
    await parts.queue.save(await put(id, bytes(id)));
  }
  assertEquals(parts.rows.redo.idsAfter(0, 10).map(({ txId }) => txId), ["c"]);
});

test("the log is trimmed when it has grown long", async () => {
  await using parts = await tempParts({ durability: "relaxed" });
  // Relaxed keeps the log short by itself; full trims it by size.
  await using full = await tempParts();
  const payload = new Uint8Array(4 << 20);
  using seen = observed();
  for (let n = 0; n < 17; n++) {
    await full.queue.save(await put(`${n}`, payload));
  }
  assert(seen.count("redo trimmed") >= 1); // a second checkpoint waits for the first
  assert(full.rows.redo.idsAfter(0, 100).length < 17);
  assertEquals(await full.rows.count(), 17);
  assertEquals(parts.rows.redo.count(), 0);
});

test("changes go on while a checkpoint is under way", async () => {
  await using parts = await tempParts({ checkpointAfter: 3 });
  const { files, rows, queue } = parts;
  let during = 0;
  const sync = files.sync.bind(files);
  files.sync = async (txIds) => {
    if (during++ === 0) {
      await queue.save(await put("a", bytes("newer")));
      await queue.save(await put("d", bytes("d")));
    }
    return await sync(txIds);
  };
  for (const id of ["a", "b", "c"]) {
    await queue.save(await put(id, bytes(id)));
  }
  while (rows.redo.idsAfter(0, 10).some(({ seq }) => seq <= 3)) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assertEquals(rows.redo.idsAfter(0, 10).map(({ txId }) => txId), ["a", "d"]);
  assertEquals(text(await files.load("a")), "newer");
  await queue.flush();
  assertEquals(rows.redo.count(), 0);
});

test("a change whose file cannot follow is told so, the others go on", async () => {
  await using parts = await tempParts();
  const { base, files, rows, queue } = parts;
  const inTheWay = join(base, "b.bin", "within");
  await Deno.mkdir(inTheWay, { recursive: true });
  const [a, b, c] = await Promise.allSettled(
    await Promise.all(["a", "b", "c"].map(async (id) => {
      const change = await put(id, bytes(`of ${id}`));
      return () => queue.save(change);
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
  assertEquals(rows.redo.of("b")?.payload, bytes("of b"));
  await queue.flush();
  assertEquals(rows.redo.of("b")?.payload, bytes("of b"));
  await Deno.remove(join(base, "b.bin"), { recursive: true });
  await queue.flush();
  assertEquals(text(await files.load("b")), "of b");
  assertEquals(rows.redo.count(), 0);
});

test("what could not follow is forgotten once it is replaced", async () => {
  await using parts = await tempParts();
  const { base, files, rows, queue } = parts;
  await Deno.mkdir(join(base, "a.bin", "within"), { recursive: true });
  await assertRejects(async () => queue.save(await put("a", bytes("1"))));
  await Deno.remove(join(base, "a.bin"), { recursive: true });
  await queue.save(await put("a", bytes("2")));
  await queue.flush();
  assertEquals(text(await files.load("a")), "2");
  assertEquals(rows.redo.count(), 0);
});

test("a batch that cannot be committed is refused as a whole", async () => {
  await using parts = await tempParts();
  const { files, rows, queue } = parts;
  const staged = await putStaged(parts, "a", randomBytes(10));
  const bad = await put("b", bytes("2"));
  bad.info!.timestamp = NaN;
  const results = await Promise.allSettled([
    queue.save(staged),
    queue.save(bad),
  ]);
  assertEquals(results.map(({ status }) => status), ["rejected", "rejected"]);
  assertEquals([await rows.count(), rows.redo.count()], [0, 0]);
  assertEquals(await files.listKeys(), []);
  assertEquals(namesIn(files.stagedPath), []);
  await queue.save(await put("a", bytes("3"))); // and the queue goes on
  assertEquals(await rows.count(), 1);
});

test("changes that come during a flush are not held up for good", async () => {
  await using parts = await tempParts();
  const { queue, rows } = parts;
  await queue.save(await put("a", bytes("1")));
  const change = await put("b", bytes("2"));
  const flushed = queue.flush();
  await within(TIME_LIMIT / 3, queue.save(change));
  await within(TIME_LIMIT / 3, flushed);
  assertEquals(await rows.count(), 2);
  await queue.flush();
  assertEquals(rows.redo.count(), 0);
});

test("a deletion of a row as it was seen spares the one that came since", async () => {
  await using parts = await tempParts();
  const { rows, files, queue } = parts;
  await queue.save(await put("a", bytes("old")));
  const seen = rows.get("a")!;
  const newer = await put("a", bytes("old"));
  newer.info!.timestamp = 1; // the same bytes, at another time
  const [, deleted] = await Promise.all([
    queue.save(newer),
    queue.submit({ ...remove("a"), seen }),
  ]);
  assertEquals(deleted, false);
  assertEquals(rows.get("a")?.timestamp, 1);
  assertEquals(text(await files.load("a")), "old");
  const now = rows.get("a")!;
  assertEquals(await queue.submit({ ...remove("a"), seen: now }), true);
  assertEquals(await queue.submit({ ...remove("a"), seen: now }), false);
  assertEquals(await files.load("a"), null);
});

test("after a commit that the disk did not take nothing is committed or trimmed", async () => {
  await using dir = await tempDir();
  const base = dir.join("base"), db = join(base, "poh.db");
  const store = await openStore(base, db, {}, { create: true });
  const { rows, writer } = store;
  const { queue } = writer!;
  await queue.save(await put("a", bytes("old")));
  await queue.flush();
  rows.flush = () => Promise.reject(new Error("Input/output error"));
  const refused = await assertRejects(
    () => put("a", bytes("new")).then((change) => queue.save(change)),
    PohStorageError,
  );
  assertEquals(refused.code, "DISK_FAILED");
  const next = await assertRejects(
    () => put("b", bytes("b")).then((change) => queue.save(change)),
    PohStorageError,
  );
  assertEquals(next.code, "DISK_FAILED");
  assertEquals(rows.get("b"), null);
  await closeStore(store);
  const again = await openStore(base, db);
  const found = await again.files.load("a");
  assertEquals(text(found), "new");
  assertEquals(again.rows.get("a")?.storageHash, await sha256Hex(found!));
  await closeStore(again);
});

test("a log that is full when the disk fails keeps nobody waiting", async () => {
  await using dir = await tempDir();
  const base = dir.join("base");
  const options = { checkpointAfter: 1 };
  const store = await openStore(base, join(base, "poh.db"), options, {
    create: true,
  });
  const { queue } = store.writer!;
  store.rows.flush = () => Promise.reject(new Error("Input/output error"));
  for (const id of ["a", "b"]) {
    const change = await put(id, bytes(id));
    await assertRejects(
      () => within(5_000, queue.save(change)),
      PohStorageError,
      "did not take a commit",
    );
  }
  await closeStore(store);
});

test("a file that the disk refuses keeps its entry, the others lose theirs", async () => {
  await using parts = await tempParts();
  const { files, rows, queue } = parts;
  const sync = files.sync.bind(files);
  let isBad = true;
  files.sync = async (txIds, onRefused) => {
    await sync(txIds);
    if (isBad && txIds.includes("b")) onRefused!("b", new Error("refused"));
  };
  for (const id of ["a", "b", "c"]) {
    await queue.save(await put(id, bytes(id)));
  }
  await queue.flush();
  assertEquals(rows.redo.idsAfter(0, 10).map(({ txId }) => txId), ["b"]);
  isBad = false;
  await queue.flush();
  assertEquals(rows.redo.count(), 0);
});

/** Counts the files that another thread makes, until it is disposed. */
function countingThread():
  & { files: number; thread: FileThread | null }
  & Disposable {
  const { create } = FileThread.prototype;
  const counter = {
    files: 0,
    thread: null as FileThread | null,
    [Symbol.dispose]: () => void (FileThread.prototype.create = create),
  };
  FileThread.prototype.create = function (files) {
    counter.files += files.length;
    counter.thread = this;
    return create.call(this, files);
  };
  return counter;
}

/** Submits puts of ids until another thread makes their files. */
async function putUntilThread(
  { queue }: Parts,
  counter: { files: number },
): Promise<number> {
  for (let at = 0;; at += 128) {
    const changes = await Promise.all(
      Array.from({ length: 128 }, (_, n) => put(`first-${at + n}`, bytes("1"))),
    );
    await Promise.all(changes.map((change) => queue.save(change)));
    if (counter.files > 0) return at + 128;
  }
}

for (const durability of ["full", "relaxed"] as const) {
  test(`many new files are made by another thread, ${durability}`, async () => {
    await using parts = await tempParts({ durability });
    using counter = countingThread();
    const { base, files, rows, queue } = parts;
    const before = await putUntilThread(parts, counter);
    counter.files = 0;

    // What the thread does not do itself: replace, and tell why it cannot.
    await Deno.writeTextFile(join(base, "id-3.bin"), "what was there before");
    await Deno.mkdir(join(base, "id-4.bin", "within"), { recursive: true });
    const ids = Array.from({ length: 1_000 }, (_, n) => `id-${n}`);
    ids.push("id-5", "id-700", "id-999"); // saved twice, soon one after another
    const changes = await Promise.all(
      ids.map((id, n) => put(id, bytes(`${n} of ${id}`))),
    );
    const ends = await Promise.allSettled(
      changes.map((change) => queue.save(change)),
    );
    const failed = ids.filter((_, n) => ends[n]!.status === "rejected");
    assertEquals(failed, ["id-4"]);
    assert(counter.files > 500, `${counter.files} by the thread`);
    assertEquals(text(await files.load("id-3")), "3 of id-3");
    assertEquals(text(await files.load("id-5")), "1000 of id-5");
    assertEquals(text(await files.load("id-700")), "1001 of id-700");
    assertEquals(text(await files.load("id-999")), "1002 of id-999");
    assertEquals(await rows.count(), before + 1_000);
    for (const id of ids) {
      if (id === "id-4") continue;
      const found = await files.loadWithDigest(id);
      assertEquals(found?.digest, rows.get(id)?.storageHash, id);
    }
    await Deno.remove(join(base, "id-4.bin"), { recursive: true });
    await queue.flush();
    assertEquals(text(await files.load("id-4")), "4 of id-4");
    assertEquals(rows.redo.count(), 0);
  });
}

test("where another thread dies its files are made all the same", async () => {
  await using parts = await tempParts();
  using counter = countingThread();
  const { files, queue, rows } = parts;
  const saveAll = async (ids: string[]) => {
    const changes = await Promise.all(ids.map((id) => put(id, bytes(id))));
    await Promise.all(changes.map((change) => queue.save(change)));
    for (const id of ids) assertEquals(text(await files.load(id)), id);
  };
  await putUntilThread(parts, counter);
  const made = counter.files;
  const thread = counter.thread!;
  thread.create = async (files) => {
    await thread.sync(null as never, () => {}).catch(() => {}); // it dies of that
    return files.map(({ path }) => path);
  };
  const ids = Array.from({ length: 300 }, (_, n) => `id-${n}`);
  await saveAll(ids);
  assertEquals(thread.hasDied, true);
  await saveAll(ids.map((id) => `next-${id}`));
  assertEquals(counter.files, made);
  await queue.flush();
  assertEquals(rows.redo.count(), 0);
});
