/**
 * A process that works on a store until it kills itself or is killed. What it
 * begins and what it is told is done goes to a journal outside the store.
 *
 * Its one argument is a {@linkcode WriterTask} in JSON.
 *
 * @module
 */

import { join } from "@std/path";
import {
  backupStore,
  migrateStore,
  performRecovery,
  type RecoverOptions,
  restoreStore,
  StorageManager,
  type StorageOptions,
} from "../../mod.ts";
import {
  type CrashPoint,
  observeCrashPoints,
} from "../../src/async/crash_points.ts";
import { signerOf } from "../../src/proofs/keys.ts";
import { CHECKPOINT_DUE } from "../../src/log/checkpoint.ts";
import { Journal, versionOf } from "./journal.ts";
import { Random } from "./random.ts";

/** What a writer is to do. */
export interface WriterTask {
  base: string;
  db: string;
  options: StorageOptions;
  /** Changes after which a checkpoint comes; as ever unless given. */
  checkpointAfter?: number;
  /** Where its journal is. */
  journal: string;
  /** Kills itself when this step is reached for the n-th time, from 1 on. */
  kill?: { point: CrashPoint; n: number };
  /** What it does when one of its random changes fails; default: it throws. */
  onFailure?: OnFailure;
  work:
    /** Every kind of change, one after another. */
    | { kind: "changes" }
    /**
     * Some changes, as a writer beside others makes them, with noise at the end
     * of the log in between, as one that died would leave.
     */
    | { kind: "few" }
    /** So many small transactions by one call. */
    | { kind: "bulk"; count: number }
    /** Recovery of a store that somebody has damaged. */
    | { kind: "recover"; recover: RecoverOptions }
    /** Opens the store and closes it. */
    | { kind: "open" }
    /** Deletes one transaction. */
    | { kind: "delete"; id: string }
    /** Moves payloads to where this says that they belong. */
    | { kind: "move"; packBelow: number }
    /** Replaces large payloads until the log is compacted. */
    | { kind: "churn" }
    /** Gives back all dead bytes of the log. */
    | { kind: "compact" }
    /** Saves so many of all sizes by one call, and told of each. */
    | { kind: "import"; count: number }
    /** Saves large payloads in pieces, a few at a time, over each other. */
    | { kind: "streams"; count: number }
    /** Puts a case of quarantine back into service. */
    | { kind: "put back"; name: string }
    /** Empties quarantine. */
    | { kind: "empty quarantine" }
    /** Copies everything into a store that need not be there. */
    | { kind: "migrate"; toBase: string; toDb: string }
    /** Makes a backup: in a folder, or in a file that ends in .tar. */
    | { kind: "backup"; to: string }
    /** Makes another store from a backup. */
    | { kind: "restore"; from: string; toBase: string; toDb: string }
    /** Begins a transparency log, signs it by a key, changes the store, signs. */
    | { kind: "log"; key: string }
    /** Prunes what is older than a time. */
    | { kind: "prune"; before: number }
    /** Changes of all kinds in random order, many in flight, for `ms`. */
    | Mix;
}

/**
 * Once a change has failed: dies, stops until it is killed, closes the store, or
 * goes on as if nothing had happened.
 */
export type OnFailure = "die" | "stop" | "close" | "go on";

/** What a writer says when it has come to its end. */
export interface Account {
  /** How often it passed each step. */
  passed: Record<string, number>;
  /** The codes or messages of what failed. */
  failures: string[];
}

/** Random changes. */
export interface Mix {
  kind: "mix";
  seed: number;
  /** Numbers its versions from here on. */
  from: number;
  /** The ids are its own when they begin with something of its own. */
  prefix: string;
  /** How many ids it has. */
  ids: number;
  /** Ids that other writers change as well. */
  shared?: string[];
  /** Whether some are saved many at once. */
  bulk?: boolean;
  /** Size of large payloads, at most. */
  largest: number;
  /** How long, in ms. */
  ms: number;
}

/** Changes in flight at once. */
const LANES = 32;

/** Small transactions saved by one call, and the ids they have in turn. */
const BULK = 300;
const BULK_IDS = 2_000;

/** Beyond this a payload is staged. */
const LARGE = 64 * 1024 + 1;

async function run(task: WriterTask): Promise<void> {
  const passed: Record<string, number> = {};
  observeCrashPoints((point) => {
    passed[point] = (passed[point] ?? 0) + 1;
    const { kill } = task;
    if (point === kill?.point && passed[point] === kill.n) {
      Deno.kill(Deno.pid, "SIGKILL");
      for (;;); // dead before the next instruction of this thread, or soon
    }
  });
  using journal = new Journal(task.journal);
  const failures: string[] = [];
  await doWork(task, journal, failures);
  const account: Account = { passed, failures };
  console.log(JSON.stringify(account));
}

async function doWork(
  task: WriterTask,
  journal: Journal,
  failures: string[],
): Promise<void> {
  const { base, db, options, work, checkpointAfter } = task;
  if (checkpointAfter) CHECKPOINT_DUE.changes = checkpointAfter;
  if (work.kind === "recover") {
    await performRecovery(base, db, { ...options, ...work.recover });
    return;
  }
  if (work.kind === "backup") {
    using file = work.to.endsWith(".tar") ? Deno.createSync(work.to) : null;
    await backupStore(base, db, file?.writable ?? work.to);
    return;
  }
  if (work.kind === "restore") {
    await restoreStore(work.from, work.toBase, work.toDb);
    return;
  }
  await using store = await StorageManager.create(base, db, options);
  switch (work.kind) {
    case "changes":
      return await makeChanges(new Changes(store, journal));
    case "few":
      return await makeFew(new Changes(store, journal), base);
    case "bulk":
      return await saveMany(store, journal, work.count);
    case "delete":
      return await new Changes(store, journal).delete(work.id);
    case "move":
      await store.movePacked({ packBelow: work.packBelow });
      return;
    case "compact":
      await store.compact();
      return;
    case "import":
      return await new Changes(store, journal).import(work.count);
    case "streams":
      return await streamMany(new Changes(store, journal), work.count);
    case "put back":
      await store.restoreQuarantined(work.name);
      return;
    case "empty quarantine":
      await store.emptyQuarantine();
      return;
    case "migrate": {
      await using to = await StorageManager.create(work.toBase, work.toDb);
      await migrateStore(store, to);
      return;
    }
    case "churn":
      return await churn(new Changes(store, journal));
    case "log":
      return await keepLog(store, new Changes(store, journal), work.key);
    case "prune":
      await store.prune({ before: work.before });
      return;
    case "mix":
      return await mix(
        new Changes(store, journal),
        work,
        failures,
        task.onFailure,
      );
  }
}

/** The changes of a store, each with its lines in the journal. */
class Changes {
  readonly #store: StorageManager;
  readonly #journal: Journal;

  constructor(store: StorageManager, journal: Journal) {
    this.#store = store;
    this.#journal = journal;
  }

  async save(id: string, n: number, size: number): Promise<void> {
    await this.#journal.around(
      id,
      { n, size },
      () => this.#store.saveTx(versionOf(id, n, size)),
    );
  }

  async delete(id: string): Promise<void> {
    await this.#journal.around(id, null, () => this.#store.deleteTx(id));
  }

  async stream(id: string, n: number, size: number): Promise<void> {
    const { payload, ...head } = versionOf(id, n, size);
    await this.#journal.around(
      id,
      { n, size },
      () =>
        this.#store.saveTxStream(
          head,
          new Blob([payload as BlobPart]).stream(),
        ),
    );
  }

  async saveMany(versions: { id: string; n: number; size: number }[]) {
    for (const { id, n, size } of versions) {
      this.#journal.add("begin", id, { n, size });
    }
    await this.#store.saveTxs(
      versions.map(({ id, n, size }) => versionOf(id, n, size)),
    );
    for (const { id, n, size } of versions) {
      this.#journal.add("done", id, { n, size });
    }
  }

  async import(count: number): Promise<void> {
    const versions = Array.from({ length: count }, (_, n) => ({
      id: `import-${n}`,
      n,
      size: n % 16 === 15 ? LARGE + n : (n % 4) * 1_000,
    }));
    for (const { id, n, size } of versions) {
      this.#journal.add("begin", id, { n, size });
    }
    await this.#store.saveTxs(
      versions.map(({ id, n, size }) => versionOf(id, n, size)),
      {
        onSaved: ({ txId, size }, n) =>
          this.#journal.add("done", txId, { n, size }),
      },
    );
  }

  async recover(): Promise<void> {
    await this.#store.recover();
  }
}

/** One of each, alone and together, in an order that is always the same. */
async function makeChanges(changes: Changes): Promise<void> {
  await changes.save("first", 1, 100);
  await changes.save("large", 1, 3 * LARGE);
  await changes.save("empty", 1, 0);
  for (const [n, size] of [50, LARGE, 70, 80, 2 * LARGE].entries()) {
    await changes.save("changing", n + 1, size);
  }
  await changes.saveMany(
    Array.from({ length: 40 }, (_, n) => ({
      id: `many-${n}`,
      n: 1,
      size: n % 10 === 9 ? LARGE + n : 20 * n,
    })),
  );
  await Promise.all([
    changes.save("many-1", 2, 10),
    changes.save("many-2", 2, LARGE),
    changes.delete("many-3"),
    changes.delete("many-9"),
    changes.save("many-19", 2, 30),
    changes.save("new", 1, 40),
    changes.stream("streamed", 1, 2 * LARGE),
    changes.stream("many-4", 2, 5),
  ]);
  await changes.delete("first");
  await changes.recover(); // with a checkpoint of all the above
  await changes.save("first", 2, 60);
  await changes.delete("large");
  await changes.delete("unknown");
  await changes.save("Ünïcode/..\\%", 1, 10);
}

/** Tiles become full while it goes on. */
async function keepLog(
  store: StorageManager,
  changes: Changes,
  key: string,
): Promise<void> {
  const signers = [await signerOf(Deno.readTextFileSync(key))];
  const some = (from: number, count: number, n: number) =>
    Array.from({ length: count }, (_, at) => ({
      id: `logged-${from + at}`,
      n,
      size: at % 40 === 39 ? LARGE + at : at * 90,
    }));
  await changes.saveMany(some(0, 120, 1));
  await store.tlog.init("node7.example/poh");
  await store.tlog.sign(signers, key);
  await changes.saveMany(some(120, 180, 1));
  await changes.saveMany(some(0, 60, 2));
  for (let n = 60; n < 70; n++) await changes.delete(`logged-${n}`);
  await store.tlog.sign(signers, key);
  await changes.saveMany(some(300, 200, 1));
  await changes.delete("logged-300");
  await store.tlog.sign(signers, key);
}

/** Each of a few ids again and again, from large to small and back. */
async function streamMany(changes: Changes, count: number): Promise<void> {
  const lane = async (id: string) => {
    for (let n = 1; n <= count; n++) {
      const size = n % 4 === 3 ? 1_000 : n * LARGE + n;
      await changes.stream(id, n, size);
      if (n % 5 === 4) await changes.delete(id);
    }
  };
  await Promise.all(["one", "two", "three"].map(lane));
}

/** Of what is replaced here the log has far more than of what is not. */
async function churn(changes: Changes): Promise<void> {
  await changes.saveMany(
    Array.from(
      { length: 30 },
      (_, n) => ({ id: `kept-${n}`, n, size: 10 * n }),
    ),
  );
  for (let n = 1; n <= 6; n++) {
    await changes.saveMany(
      Array.from({ length: 20 }, (_, id) => ({
        id: `replaced-${id}`,
        n,
        size: 60_000,
      })),
    );
  }
  for (let n = 0; n < 10; n++) await changes.delete(`replaced-${n}`);
}

/** A few of each; others may have the store open. */
async function makeFew(changes: Changes, base: string): Promise<void> {
  await changes.save("first", 1, 100);
  await changes.save("large", 1, 3 * LARGE);
  await changes.save("changing", 1, 50);
  leaveNoise(base);
  await changes.save("changing", 2, LARGE);
  await changes.saveMany(
    Array.from({ length: 20 }, (_, n) => ({ id: `many-${n}`, n: 1, size: n })),
  );
  await changes.delete("first");
  leaveNoise(base);
  await Promise.all([
    changes.delete("many-3"),
    changes.save("many-4", 2, 2 * LARGE),
    changes.save("changing", 3, 70),
  ]);
}

/** What a writer leaves that dies while it writes. */
function leaveNoise(base: string): void {
  const path = join(base, ".poh", "log");
  const names = Array.from(Deno.readDirSync(path), ({ name }) => name)
    .filter((name) => name.endsWith(".seg")).sort();
  const file = join(path, names.at(-1)!);
  const content = Deno.readFileSync(file);
  let end = content.findLastIndex((byte) => byte !== 0) + 1;
  end = Math.ceil(end / 8) * 8;
  using segment = Deno.openSync(file, { write: true });
  segment.seekSync(end, Deno.SeekMode.Start);
  segment.writeSync(new Uint8Array(300).fill(7));
}

/** So many that a checkpoint comes on the way. */
async function saveMany(
  store: StorageManager,
  journal: Journal,
  count: number,
): Promise<void> {
  const versions = Array.from({ length: count }, (_, n) => ({
    id: `bulk-${n}`,
    n,
    size: n % 7,
  }));
  const lines = (what: "begin" | "done") => {
    for (const { id, n, size } of versions) journal.add(what, id, { n, size });
  };
  lines("begin");
  await store.saveTxs(
    (function* () {
      for (const { id, n, size } of versions) yield versionOf(id, n, size);
    })(),
  );
  lines("done");
}

async function mix(
  changes: Changes,
  work: Mix,
  failures: string[],
  onFailure?: OnFailure,
): Promise<void> {
  const random = new Random(work.seed);
  const ids = Array.from({ length: work.ids }, (_, n) => `${work.prefix}${n}`);
  ids.push(...work.shared ?? []);
  const busy = new Set<string>();
  const end = performance.now() + work.ms;
  let n = work.from;
  const isOver = () =>
    performance.now() >= end || failures.length > 0 && onFailure !== "go on";
  const attempt = async (work: () => Promise<void>) => {
    try {
      await work();
    } catch (error) {
      if (!onFailure) throw error;
      const { code, message } = error as Error & { code?: string };
      failures.push(code ?? message);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  const lane = async () => {
    while (!isOver()) {
      const id = random.pick(ids);
      if (busy.has(id)) continue; // fewer lanes than ids: one is free
      busy.add(id);
      await attempt(() => change(id, sizeOf(random, work.largest)));
      busy.delete(id);
    }
  };
  const change = async (id: string, state: number | null) => {
    if (state === null) await changes.delete(id);
    else if (n % 8 === 0) await changes.stream(id, n++, state);
    else await changes.save(id, n++, state);
  };
  // Many at once, half of which are new: on the way another thread makes their
  // files, and this one replaces those that are there.
  const bulkLane = async () => {
    let at = random.between(0, BULK_IDS);
    while (!isOver()) {
      await changes.saveMany(
        Array.from({ length: BULK }, (_, i) => ({
          id: `${work.prefix}bulk-${(at + i) % BULK_IDS}`,
          n: n++,
          size: random.between(0, 600),
        })),
      );
      at += BULK / 2;
    }
  };
  const lanes = Array.from({ length: LANES }, lane);
  await Promise.all(work.bulk ? [...lanes, bulkLane()] : lanes);
  if (failures.length === 0) return;
  if (onFailure === "die") Deno.kill(Deno.pid, "SIGKILL");
  if (onFailure === "stop") Deno.kill(Deno.pid, "SIGSTOP");
}

/** Mostly small; null: a deletion. */
function sizeOf(random: Random, largest: number): number | null {
  const kind = random.next();
  if (kind < 0.15) return null;
  if (kind < 0.8) return random.between(0, 2_000);
  if (kind < 0.92) return random.between(2_000, LARGE);
  return random.between(LARGE, largest);
}

if (import.meta.main) await run(JSON.parse(Deno.args[0]!) as WriterTask);
