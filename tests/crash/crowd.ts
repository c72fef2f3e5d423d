/**
 * Many processes that do everything with one store at the same time, while some
 * are killed and begin again, and others are stopped for a while.
 *
 * @module
 */

import { assert } from "@std/assert";
import { join } from "@std/path";
import { denoScript, IS_WINDOWS, tempDir, text } from "../helpers.ts";
import { checkAfterCrash, type Place } from "./check.ts";
import type { Deeds, MemberTask } from "./crowd_member.ts";
import { allowedStates, readJournal } from "./journal.ts";
import { anyWay, placeBelow, wasKilled } from "./process.ts";
import type { Random } from "./random.ts";

/** What came of it. */
export interface CrowdToll {
  kills: number;
  stops: number;
  /** Changes that had been acknowledged. */
  acknowledged: number;
  /** What those did that came to their end. */
  deeds: Deeds;
}

/** How long a process is stopped at most, in ms. */
const LONGEST_STOP = 600;

/** How long they wait for each other: long enough, or too short. */
const LOCK_TIMEOUTS = [20_000, 20_000, 300];

/**
 * Lets so many processes use one store for a while.
 *
 * @throws {Error} If one of them failed, or found anything else than what it had
 * been told; or if the store that they leave has lost something.
 */
export async function crowd(
  members: number,
  ms: number,
  random: Random,
): Promise<CrowdToll> {
  await using dir = await tempDir();
  const place = placeBelow(dir.path);
  const toll: CrowdToll = { kills: 0, stops: 0, acknowledged: 0, deeds: {} };
  const end = performance.now() + ms;
  const all = Array.from(
    { length: members },
    (_, n) => new Seat(place, dir.path, n, end, toll, random),
  );
  // All of them, so that none goes on when the test is over.
  const results = await Promise.allSettled(all.map((seat) => seat.fill()));
  for (const result of results) {
    if (result.status === "rejected") throw result.reason;
  }
  const lines = all.flatMap(({ journal }) => readJournal(journal));
  toll.acknowledged = lines.filter(({ what }) => what === "done").length;
  await checkAfterCrash(place, allowedStates(lines), "open");
  return toll;
}

/** One place in the crowd: whoever has it is followed by another when killed. */
class Seat {
  readonly journal: string;
  readonly #task: Omit<MemberTask, "options" | "seed" | "from" | "ms">;
  readonly #end: number;
  readonly #toll: CrowdToll;
  readonly #random: Random;

  constructor(
    place: Place,
    dir: string,
    n: number,
    end: number,
    toll: CrowdToll,
    random: Random,
  ) {
    this.journal = join(dir, `journal-${n}`);
    const { base, db } = place;
    const folder = join(dir, `backups-${n}`);
    const prefix = `member-${n}-`;
    this.#task = { base, db, journal: this.journal, folder, prefix };
    this.#end = end;
    this.#toll = toll;
    this.#random = random;
  }

  async fill(): Promise<void> {
    for (let life = 1; performance.now() < this.#end; life++) {
      await Deno.mkdir(this.#task.folder, { recursive: true });
      const { options, ...way } = anyWay(this.#random);
      await this.#live({
        ...this.#task,
        ...way,
        options: { ...options, lockTimeout: this.#random.pick(LOCK_TIMEOUTS) },
        seed: this.#random.between(0, 2 ** 32),
        from: life * 1_000_000,
        ms: this.#end - performance.now(),
      });
    }
  }

  async #live(task: MemberTask): Promise<void> {
    const child = denoScript("../crash/crowd_member.ts", [
      JSON.stringify(task),
    ], {
      permissions: ["--allow-read", "--allow-write", "--allow-sys=hostname"],
      imports: { "@std/assert": import.meta.resolve("@std/assert") },
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    let isOver = false;
    const output = child.output();
    // It ends before all that it printed is read.
    child.status.then(() => isOver = true);
    const disturbing = this.#disturb(child, () => isOver);
    const ending = await output;
    await disturbing;
    if (wasKilled(ending)) return;
    const { code, stdout, stderr } = ending;
    assert(code === 0, `${task.prefix}: ${text(stderr)}`);
    const deeds = JSON.parse(text(stdout)) as Deeds;
    for (const [deed, count] of Object.entries(deeds)) {
      this.#toll.deeds[deed] = (this.#toll.deeds[deed] ?? 0) + count;
    }
  }

  /** Stops it now and then, and often kills it. */
  async #disturb(child: Deno.ChildProcess, isOver: () => boolean) {
    const isToDie = this.#random.next() < 0.7;
    // Windows cannot stop a process.
    const stops = IS_WINDOWS ? 0 : this.#random.between(0, 4);
    for (let stop = 0; stop < stops; stop++) {
      await delay(2_000 * this.#random.next());
      if (isOver()) return;
      child.kill("SIGSTOP");
      this.#toll.stops++;
      await delay(LONGEST_STOP * this.#random.next());
      if (isOver()) return;
      child.kill("SIGCONT");
    }
    await delay(3_000 * this.#random.next());
    if (!isToDie || isOver() || performance.now() > this.#end) return;
    child.kill("SIGKILL");
    this.#toll.kills++;
  }
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
