/**
 * What the contestants in JavaScript share: the workloads, in terms of an
 * adapter that says how a store is opened, saves and loads. Runs under Deno and
 * under Node.
 *
 * A program gets its job as JSON in the first argument and prints one line of
 * JSON: what it measured, or why it was skipped.
 *
 * @module
 */

import process from "node:process";
import {
  idOf,
  idsOf,
  mix,
  payloadOf,
  stamp,
  transactions,
} from "./generator.mjs";

/** Many calls of `work` at once, each of which starts the next at its end. */
async function lanes(inFlight, count, work) {
  let next = 0;
  const lane = async (_, number) => {
    while (next < count) await work(next++, number);
  };
  await Promise.all(Array.from({ length: Math.min(inFlight, count) }, lane));
}

function* chunks(items, size) {
  for (let at = 0; at < items.length; at += size) {
    yield items.slice(at, at + size);
  }
}

/** By then the threads that a store needs are up, in ms. */
const WARM = 250;

/**
 * The longest time, in ms, for which the event loop could not run a timer, from
 * when its threads are up; undefined where all was done by then.
 */
class StallClock {
  #warm = performance.now() + WARM;
  #last = performance.now();
  #worst;
  #timer = setInterval(() => this.#tick(), 1);

  #tick() {
    const now = performance.now();
    const isCounted = this.#last > this.#warm;
    const stall = now - this.#last - 1;
    if (isCounted) this.#worst = Math.max(this.#worst ?? 0, stall);
    this.#last = now;
  }

  stop() {
    this.#tick();
    clearInterval(this.#timer);
    return this.#worst;
  }
}

/** Runs `work` against the clock. */
export async function timed(ops, work) {
  const clock = new StallClock();
  const start = performance.now();
  await work();
  const seconds = (performance.now() - start) / 1000;
  return { seconds, ops, stallMs: clock.stop() };
}

async function save(adapter, job) {
  const store = await adapter.open(job);
  const txs = [...transactions(job)];
  const result = await timed(txs.length, async () => {
    if (store.saveMany && (job.many || adapter.batches && job.inFlight > 1)) {
      for (const part of chunks(txs, job.many ? txs.length : job.inFlight)) {
        await store.saveMany(part);
      }
    } else {
      await lanes(job.inFlight, txs.length, (i) => store.save(txs[i]));
    }
  });
  return { ...result, ...await closed(store) };
}

/** Each lane has one buffer: nothing is made while the clock runs. */
async function saveLarge(adapter, job) {
  const store = await adapter.open(job);
  const ids = idsOf(job.count);
  const buffers = Array.from(
    { length: job.inFlight },
    () => payloadOf(0, job.size),
  );
  const result = await timed(
    job.count,
    () =>
      lanes(job.inFlight, job.count, (i, lane) => {
        const payload = buffers[lane];
        stamp(payload, i);
        const tx = { txId: ids[i], holderId: "", timestamp: i, payload };
        return (store.saveLarge ?? store.save)(tx);
      }),
  );
  return { ...result, ...await closed(store) };
}

async function load(adapter, job) {
  const store = await adapter.open(job);
  const ids = idsOf(job.stored);
  const wanted = Array.from(
    { length: job.count },
    (_, n) => ids[job.inOrder ? n % job.stored : mix(n) % job.stored],
  );
  const read = job.large ? store.loadLarge ?? store.load : store.load;
  let bytes = 0;
  const result = await timed(wanted.length, async () => {
    if (store.loadMany && job.inFlight > 1) {
      for (const part of chunks(wanted, job.inFlight)) {
        for (const payload of await store.loadMany(part)) {
          bytes += payload.length;
        }
      }
    } else {
      await lanes(job.inFlight, wanted.length, async (n) => {
        const payload = await read(wanted[n]);
        bytes += typeof payload === "number" ? payload : payload.length;
      });
    }
  });
  return { ...result, bytes, ...await closed(store) };
}

/** What is measured elsewhere: as quickly as can be. */
async function fill(adapter, job) {
  if (job.large) return await saveLarge(adapter, job);
  const store = await adapter.open(job);
  if (store.saveMany) {
    let part = [];
    for (const tx of transactions(job)) {
      part.push(tx);
      if (part.length < 1_024) continue;
      await store.saveMany(part);
      part = [];
    }
    if (part.length > 0) await store.saveMany(part);
  } else {
    const txs = transactions(job);
    await lanes(64, job.count, () => store.save(txs.next().value));
  }
  return { seconds: 0, ops: job.count, ...await closed(store) };
}

async function recover(adapter, job) {
  if (adapter.damage) await adapter.damage(job, job.damage.map(idOf));
  let found;
  const result = await timed(job.count, async () => {
    found = await adapter.recover(job);
  });
  return { ...result, ...found };
}

async function closed(store) {
  const start = performance.now();
  const facts = await store.close?.();
  return { closeSeconds: (performance.now() - start) / 1000, ...facts };
}

/** A reason why a contestant cannot run here. */
export class Skipped extends Error {}

/** Runs the job of this process and prints its result. */
export async function main(adapter) {
  const jobs = { save, saveLarge, load, fill, recover, ...adapter.jobs };
  const job = JSON.parse(process.argv[2]);
  let result;
  try {
    const work = jobs[job.op];
    if (!work) throw new Skipped(`has no ${job.op}`);
    result = await work(adapter, job);
  } catch (error) {
    if (!(error instanceof Skipped)) throw error;
    result = { skipped: error.message };
  }
  console.log(JSON.stringify(result));
}
