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
  StorageManager,
  type StorageOptions,
  StoreBusyError,
  verifyStore,
} from "../../mod.ts";
import { contentsOf } from "./check.ts";
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
      await using store = await StorageManager.create(base, db, options);
      await this.#see(store);
      const life = this.#random.between(1, 6);
      for (let n = 0; n < life && performance.now() < end; n++) {
        const lanes = this.#random.sample(this.#ids, LANES);
        await Promise.all(lanes.map((id) => this.#changeOften(store, id)));
        await this.#doOther(store);
      }
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
        if (!(error instanceof StoreBusyError)) throw error;
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
    const loaded = await store.loadTx(id);
    assert(loaded?.timestamp === tx.timestamp, `${id} is of another version`);
  }

  async #doOther(store: StorageManager): Promise<void> {
    const { base, db, folder, prefix } = this.#task;
    const known = () => allowedStates(readJournal(this.#task.journal));
    const deed = this.#random.pick(
      ["list", "verify", "recover", "backup", "read", "move"] as const,
    );
    try {
      switch (deed) {
        case "list":
          await contentsOf(store, known(), prefix);
          break;
        case "read": {
          const options = { readOnly: true };
          await using other = await StorageManager.open(base, db, options);
          await contentsOf(other, known(), prefix);
          break;
        }
        case "verify": {
          const { damaged, findings } = await verifyStore(base, db);
          assert(!damaged, JSON.stringify(findings));
          break;
        }
        case "recover": {
          const { damaged, findings } = await store.recover();
          assert(!damaged, JSON.stringify(findings));
          break;
        }
        case "move":
          await store.movePacked();
          break;
        case "backup": {
          const to = `${folder}/${this.#n++}`;
          await backupStore(base, db, to);
          {
            const options = { readOnly: true };
            await using copy = await StorageManager.open(
              to,
              `${to}/poh.db`,
              options,
            );
            await contentsOf(copy, known(), prefix);
          }
          await Deno.remove(to, { recursive: true });
          break;
        }
      }
      this.#count(deed);
    } catch (error) {
      if (!(error instanceof StoreBusyError)) {
        const { message } = error as Error;
        throw new Error(`${deed}: ${message}`, { cause: error });
      }
      this.#count(`${deed} refused`);
    }
  }

  #count(deed: string): void {
    this.deeds[deed] = (this.deeds[deed] ?? 0) + 1;
  }
}

if (import.meta.main) {
  const task = JSON.parse(Deno.args[0]!) as MemberTask;
  using journal = new Journal(task.journal);
  const member = new Member(task, journal);
  await member.live();
  console.log(JSON.stringify(member.deeds));
}
