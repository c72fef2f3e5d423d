/**
 * One run of one client, in a process of its own; prints what it took.
 *
 * @module
 */

import type { Servers } from "./remote.ts";
import { ours, type RemoteClient, thin } from "./remote_clients.ts";

/** What a client does. */
export interface RemoteJob {
  /** `load` saves first, which is not timed; `stream` saves and loads. */
  op: "save" | "load" | "stream";
  /** How many. */
  count: number;
  /** Bytes of each. */
  size: number;
  /** How many at the same time. */
  inFlight: number;
}

/** What it took. */
export interface RemoteSample {
  /** Time. */
  seconds: number;
  /** Peak memory of the process, in bytes. */
  peak: number;
  /** That after a stream was saved, before it was loaded. */
  peakOfSave?: number;
}

const PIECE = 256 * 1024;

async function eachOf(
  { count, inFlight }: RemoteJob,
  work: (n: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
}

async function timed(work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

/** Payloads that differ, so that nothing is saved by their being the same. */
function payloadOf(n: number, size: number): Uint8Array<ArrayBuffer> {
  const payload = new Uint8Array(size);
  for (let at = 0; at < size; at += 65_536) {
    crypto.getRandomValues(payload.subarray(at, at + 65_536));
  }
  new DataView(payload.buffer).setUint32(0, n);
  return payload;
}

async function run(client: RemoteClient, job: RemoteJob): Promise<number> {
  const few = Math.min(job.count, 64);
  const payloads = Array.from(
    { length: job.size > PIECE ? 4 : few },
    (_, n) => payloadOf(n, job.size),
  );
  const save = (n: number) =>
    client.save(`tx-${n}`, payloads[n % payloads.length]!);
  // What is measured is not how a program warms up.
  await client.save("warm", payloads[0]!);
  await eachOf({ ...job, count: 16 }, async () => {
    await client.load("warm");
  });
  const saving = await timed(() => eachOf(job, save));
  if (job.op === "save") return saving;
  return await timed(() =>
    eachOf(job, async (n) => {
      const bytes = await client.load(`tx-${n}`);
      if (bytes !== job.size) throw new Error(`tx-${n} has ${bytes} bytes`);
    })
  );
}

/** Peak memory once it is saved. */
async function stream(client: RemoteClient, size: number): Promise<number> {
  const piece = payloadOf(1, PIECE);
  await client.saveStream!(async function* () {
    for (let at = 0; at < size; at += PIECE) {
      yield piece;
      await Promise.resolve();
    }
  }());
  const peakOfSave = peakMemory();
  const bytes = await client.loadStream!();
  if (bytes !== size) throw new Error(`The stream has ${bytes} bytes`);
  return peakOfSave;
}

function peakMemory(): number {
  const status = Deno.readTextFileSync("/proc/self/status");
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)![1]) * 1024;
}

if (import.meta.main) {
  const [name, text, servers] = Deno.args as [string, string, string];
  const job: RemoteJob = JSON.parse(text);
  const make = name === "thin" ? thin : ours;
  await using client = await make(JSON.parse(servers) as Servers);
  const sample: RemoteSample = { seconds: 0, peak: 0 };
  if (job.op === "stream") {
    sample.seconds = await timed(async () => {
      sample.peakOfSave = await stream(client, job.size);
    });
  } else sample.seconds = await run(client, job);
  sample.peak = peakMemory();
  if (job.size > PIECE) {
    await client.clean(Array.from({ length: job.count }, (_, n) => `tx-${n}`));
  }
  console.log(JSON.stringify(sample));
}
