/**
 * A process that does everything with a store that others use at the same time,
 * until it is killed or its time is over. It changes ids of its own, and knows
 * what they hold: whatever it reads is held against that.
 *
 * Its one argument is a {@linkcode MemberTask} in JSON.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import {
  backupStore,
  migrateStore,
  restoreStore,
  StorageManager,
  type StorageOptions,
  StoreBusyError,
  verifyStore,
} from "../../mod.ts";
import { contentsOf } from "./check.ts";
import { isLocked, openSqlite } from "../../src/sqlite/driver.ts";
import { CHECKPOINT_DUE } from "../../src/log/checkpoint.ts";
import { allowedStates, Journal, readJournal, versionOf } from "./journal.ts";
import { Random } from "./random.ts";

/** What a member is to do. */
export interface MemberTask {
  base: string;
  db: string;
  options: StorageOptions;
  /** Changes after which a checkpoint comes; as ever unless given. */
  checkpointAfter?: number;
  /** Its journal, which its next life goes on with. */
  journal: string;
  /** A folder of its own, for backups. */
  folder: string;
  /** What its ids begin with. */
  prefix: string;
  seed: number;
  /** Numbers its versions from here on. */
  from: number;
  /** How long, in ms. */
  ms: number;
}

/** How often a member did what. */
export type Deeds = Record<string, number>;

const IDS = 14;

/** Changes at once, and one after another, between two other deeds. */
const LANES = 4, CHANGES = 6;

/** Beyond this a payload is staged. */
const LARGE = 64 * 1024 + 1;

/** What a member does between changes, and what it may do beside them. */
const DEEDS = [
  "list",
  "verify",
  "recover",
  "backup",
  "restore",
  "migrate",
  "read",
  "prune",
] as const;
const BESIDE = [
  "move",
  "repack",
  "compact",
  "verify",
  "lock",
  "nothing",
] as const;

type Deed = typeof DEEDS[number] | typeof BESIDE[number];

class Member {
  readonly #task: MemberTask;
  readonly #journal: Journal;
  readonly #random: Random;
  readonly #ids: string[];
  readonly deeds: Deeds = {};
  #n: number;

  constructor(task: MemberTask, journal: Journal) {
    this.#task = task;
    this.#journal = journal;
    this.#random = new Random(task.seed);
    this.#n = task.from;
    this.#ids = Array.from(
      { length: IDS },
      (_, n) => `${task.prefix}${n}`,
    );
  }

  async live(): Promise<void> {
    const { base, db, options, ms, checkpointAfter } = this.#task;
    if (checkpointAfter) CHECKPOINT_DUE.changes = checkpointAfter;
    const end = performance.now() + ms;
    while (performance.now() < end) {
      try {
        await using store = await StorageManager.create(base, db, options);
        await this.#see(store);
        await this.#use(store, end);
      } catch (error) {
        if (!isBusy(error)) throw error;
        this.#count("life refused");
      }
    }
  }

  async #use(store: StorageManager, end: number): Promise<void> {
    const rounds = this.#random.between(1, 6);
    for (let n = 0; n < rounds && performance.now() < end; n++) {
      const lanes = this.#random.sample(this.#ids, LANES);
      await Promise.all([
        ...lanes.map((id) => this.#changeOften(store, id)),
        this.#do(this.#random.pick(BESIDE), store),
      ]);
      await this.#do(this.#random.pick(DEEDS), store);
    }
  }

  /** What an earlier life has left, and what of it has to stay from now on. */
  async #see(store: StorageManager): Promise<void> {
    const lines = readJournal(this.#task.journal);
    const known = allowedStates(lines);
    const seen = await contentsOf(store, known, this.#task.prefix);
    for (const [id, state] of seen) this.#journal.add("seen", id, state);
  }

  async #changeOften(store: StorageManager, id: string): Promise<void> {
    for (let n = 0; n < CHANGES; n++) {
      try {
        await this.#change(store, id);
      } catch (error) {
        // A process that is stopped holds its locks.
        if (!isBusy(error)) throw error;
        this.#count("busy");
      }
    }
  }

  async #change(store: StorageManager, id: string): Promise<void> {
    const kind = this.#random.next();
    if (kind < 0.15) {
      this.#count("deleted");
      await this.#journal.around(id, null, () => store.deleteTx(id));
      assertEquals(await store.loadTx(id), null, id);
      return;
    }
    const n = this.#n++;
    const size = kind < 0.9
      ? this.#random.between(0, 3_000)
      : this.#random.between(LARGE, 2 * LARGE);
    const tx = versionOf(id, n, size);
    this.#count("saved");
    await this.#journal.around(id, { n, size }, () => {
      const { payload, ...head } = tx;
      return kind < 0.8
        ? store.saveTx(tx)
        : store.saveTxStream(head, new Blob([payload as BlobPart]).stream());
    });
    if (kind < 0.5) return;
    this.#count("loaded");
    if (kind < 0.6) {
      const loaded = await store.loadTxStream(id);
      assert(loaded?.info.timestamp === tx.timestamp, `${id} is another one`);
      const payload = await new Response(loaded.payload).bytes();
      return assertEquals(payload.length, size, id);
    }
    const loaded = await store.loadTx(id);
    assert(loaded?.timestamp === tx.timestamp, `${id} is of another version`);
  }

  async #do(deed: Deed, store: StorageManager): Promise<void> {
    try {
      await this.#carryOut(deed, store);
      this.#count(deed);
    } catch (error) {
      if (!isBusy(error)) {
        const { message } = error as Error;
        throw new Error(`${deed}: ${message}`, { cause: error });
      }
      this.#count(`${deed} refused`);
    }
  }

  async #carryOut(deed: Deed, store: StorageManager): Promise<void> {
    const { base, db, prefix } = this.#task;
    switch (deed) {
      case "nothing":
        return;
      case "list":
        return await this.#check(store);
      case "read": {
        const options = { readOnly: true };
        await using other = await StorageManager.open(base, db, options);
        return await this.#check(other);
      }
      case "verify": {
        const { damaged, findings } = await verifyStore(base, db);
        return assert(!damaged, JSON.stringify(findings));
      }
      case "recover": {
        const { damaged, findings } = await store.recover();
        return assert(!damaged, JSON.stringify(findings));
      }
      case "move":
        return void await store.movePacked();
      case "repack": {
        const packBelow = this.#random.pick([0, 1_000, 65_536]);
        return void await store.movePacked({ packBelow });
      }
      case "lock":
        return await this.#lock();
      case "compact":
        return void await store.compact();
      case "prune":
        return await this.#prune(store, prefix);
      case "backup":
        return await this.#inCopy(async (to) => {
          await backupStore(base, db, to);
        });
      case "restore":
        return await this.#inCopy(async (to) => {
          const archive = new TransformStream<Uint8Array, Uint8Array>();
          await Promise.all([
            backupStore(base, db, archive.writable),
            restoreStore(archive.readable, to, `${to}/poh.db`),
          ]);
        });
      case "migrate":
        return await this.#inCopy(async (to) => {
          await using copy = await StorageManager.create(to, `${to}/poh.db`);
          const { damaged, unreadable } = await migrateStore(store, copy);
          assertEquals([damaged, unreadable], [0, 0]);
        });
    }
  }

  /** Keeps the database from all others, as another program may. */
  async #lock(): Promise<void> {
    const db = await openSqlite(this.#task.db, "builtin", false);
    try {
      db.exec("PRAGMA busy_timeout = 1000");
      db.exec("BEGIN IMMEDIATE");
      const ms = 600 * this.#random.next();
      await new Promise((resolve) => setTimeout(resolve, ms));
    } catch (error) {
      if (!isLocked(error)) throw error;
    } finally {
      db.close();
    }
  }

  /** Holds a store against what this member knows of its ids. */
  async #check(store: StorageManager): Promise<void> {
    const known = allowedStates(readJournal(this.#task.journal));
    await contentsOf(store, known, this.#task.prefix);
  }

  /** Makes a copy of the store, checks it, and removes it. */
  async #inCopy(make: (to: string) => Promise<void>): Promise<void> {
    const to = `${this.#task.folder}/${this.#n++}`;
    await make(to);
    {
      const options = { readOnly: true };
      await using copy = await StorageManager.open(to, `${to}/poh.db`, options);
      await this.#check(copy);
    }
    await Deno.remove(to, { recursive: true });
  }

  /** Deletes its versions before one of the last ones. */
  async #prune(store: StorageManager, idPrefix: string): Promise<void> {
    const before = this.#n - this.#random.between(0, 40);
    const known = allowedStates(readJournal(this.#task.journal));
    const mayGo = [...known].filter(([, states]) =>
      states.some((state) => state && state.n < before)
    );
    for (const [id] of mayGo) this.#journal.add("begin", id, null);
    const { changed } = await store.prune({ idPrefix, before });
    // Its ids are nobody else's; but what was refused may follow meanwhile.
    const isSure = known.values().every((states) => states.length === 1);
    if (isSure) assertEquals(changed, 0);
    for (const [id, states] of mayGo) {
      if (states.length === 1) this.#journal.add("done", id, null);
    }
  }

  #count(deed: string): void {
    this.deeds[deed] = (this.deeds[deed] ?? 0) + 1;
  }
}

/** Whether others kept it from what it was about to do, also from closing. */
function isBusy(error: unknown): boolean {
  if (error instanceof SuppressedError) {
    return isBusy(error.error) && isBusy(error.suppressed);
  }
  return error instanceof StoreBusyError;
}

if (import.meta.main) {
  const task = JSON.parse(Deno.args[0]!) as MemberTask;
  using journal = new Journal(task.journal);
  const member = new Member(task, journal);
  await member.live();
  console.log(JSON.stringify(member.deeds));
}
