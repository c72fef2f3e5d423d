/**
 * Runs the benchmarks and prints the report: `deno task bench`.
 *
 * All contestants of a workload take turns, round after round, each run in a
 * process of its own.
 *
 * @module
 */

import { join } from "@std/path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { contestant, type Job, type Key } from "./contestants.ts";
import { type Machine, outputOf, PEERS, prepareMachine } from "./machine.ts";
import { report, type Results, type Sample } from "./report.ts";
import {
  scaled,
  type Workload,
  type WorkloadJob,
  workloads,
} from "./workloads.ts";

const USAGE = `deno task bench [options] [workload…]

  workload         w1 … w7, start, or one of them: w2-64; all unless given
  --short          one round, counts × 0.005: shows that all runs, proves no figure
  --rounds <n>     rounds; default 5
  --scale <x>      what counts are multiplied by; default 1
  --block <file>   NDJSON of transactions for w7; env POH_BENCH_BLOCK
  --dir <folder>   where stores are made; default bench/.work
  --output <file>  the report's samples as JSON`;

/** How a run goes. */
export interface Settings {
  rounds: number;
  scale: number;
  /** NDJSON of real transactions. */
  block: string | null;
  /** Where stores are made. */
  work: string;
}

class Bench {
  readonly results: Results = new Map();
  readonly #settings: Settings;
  readonly #machine: Machine;
  /** How the stores that are read were made, by directory. */
  readonly #filled = new Map<string, Sample>();
  /** How many transactions are damaged, by directory. */
  readonly #damaged = new Map<string, number>();
  #made = 0;

  constructor(settings: Settings, machine: Machine) {
    this.#settings = settings;
    this.#machine = machine;
  }

  async run(workload: Workload): Promise<void> {
    const results = new Map<Key, Sample[]>();
    for (const key of workload.entrants) results.set(key, []);
    this.results.set(workload.key, results);
    const job = this.#scaled(workload.job);
    const skipped = await this.#makeInput(workload, job);
    const { rounds = Infinity } = workload;
    for (
      let round = 0;
      round < Math.min(rounds, this.#settings.rounds);
      round++
    ) {
      for (const [key, samples] of results) {
        if (samples[0]?.skipped !== undefined) continue;
        samples.push(
          skipped === null
            ? await this.#sample(workload, key, job, round)
            : { skipped },
        );
      }
    }
  }

  async #sample(
    workload: Workload,
    key: Key,
    job: WorkloadJob,
    round: number,
  ): Promise<Sample> {
    const { missing, title, store, before } = contestant(key);
    const skipped = missing(this.#machine);
    if (skipped) return { skipped };
    console.error(`${workload.key}, round ${round + 1}: ${title}`);
    const owner = (store ?? key) as Key;
    const dir = join(
      this.#settings.work,
      workload.stores
        ? `${workload.stores}-${owner}`
        : `${workload.key}-${key}-${this.#made++}`,
    );
    if (workload.stores) {
      const filled = await this.#fill(owner, job, dir);
      if (filled.skipped !== undefined) return filled;
    } else {
      await Deno.mkdir(dir);
    }
    if (before) {
      const [program, ...args] = before({ ...job, dir }) as [string];
      const { failure } = await outputOf(program, args);
      if (failure) return { skipped: `failed: ${failure}` };
    }
    const failure = await this.#settle(workload, dir);
    if (failure) return { skipped: failure };
    const damage = this.#damage(workload, key, job, dir);
    const sample = workload.processes
      ? await this.#time(workload.processes, key, { ...job, dir })
      : await this.#execute(key, { ...job, dir, damage });
    const sound = job.count - this.#damaged.get(dir)!;
    if (sample.sound !== undefined && sample.sound !== sound) {
      return { skipped: `failed: ${sample.sound} sound, not ${sound}` };
    }
    if (workload.removed) await Deno.remove(dir, { recursive: true });
    return sample;
  }

  /** Makes a store for the workloads that read, once. */
  async #fill(owner: Key, job: WorkloadJob, dir: string): Promise<Sample> {
    const before = this.#filled.get(dir);
    if (before) return before;
    await Deno.mkdir(dir);
    const fill = { ...job, op: "fill", count: job.stored ?? job.count, dir };
    const filled = await this.#execute(owner, fill);
    this.#filled.set(dir, filled);
    return filled;
  }

  /** New ones every time: what is damaged stays so, or leaves the store. */
  #damage(
    { damaged = 0 }: Workload,
    key: Key,
    job: WorkloadJob,
    dir: string,
  ): number[] {
    const from = this.#damaged.get(dir) ?? 0;
    const more = contestant(key).readsOnly ? 0 : damaged;
    const to = Math.min(from + more, job.count);
    this.#damaged.set(dir, to);
    return Array.from({ length: to - from }, (_, i) => from + i);
  }

  /**
   * What ran before is on the disk and takes no part in what comes; what is read
   * is in the system's caches, or nothing is.
   */
  async #settle(
    { cold = false }: Workload,
    dir: string,
  ): Promise<string | null> {
    const { path, missing } = this.#machine.measure;
    if (missing) return cold ? missing : null;
    const { failure } = await outputOf(path, cold ? ["drop"] : ["warm", dir]);
    if (!cold || !failure) return null;
    return "the system's caches can be emptied by root on Linux only";
  }

  /** A run that measures itself. */
  async #execute(key: Key, job: Job): Promise<Sample> {
    const { stdout, sample } = await this.#spawn(key, job, "piped");
    if (sample.skipped !== undefined) return sample;
    return { ...sample, ...JSON.parse(stdout.split("\n").at(-1)!) };
  }

  /** Processes that are timed from outside. */
  async #time(
    { times }: { times: number },
    key: Key,
    job: Job,
  ): Promise<Sample> {
    const all: Sample[] = [];
    for (let i = 0; i < times; i++) {
      const { sample } = await this.#spawn(key, job, "null");
      if (sample.skipped !== undefined) return sample;
      all.push(sample);
    }
    return {
      ops: times === 1 ? job.count : times,
      seconds: all.reduce((sum, { wallSeconds }) => sum + wallSeconds!, 0),
      ...(all[0]!.peakMiB === undefined ? {} : { peakMiB: all[0]!.peakMiB }),
    };
  }

  async #spawn(
    key: Key,
    job: Job,
    stdout: "piped" | "null",
  ): Promise<{ stdout: string; sample: Sample }> {
    const { measure } = this.#machine;
    const command = contestant(key).command(job, this.#machine);
    const memory = `${job.dir}.memory`;
    const [program, ...args] = measure.missing
      ? command
      : [measure.path, "run", memory, ...command];
    const start = performance.now();
    const child = await new Deno.Command(program!, {
      args,
      env: { BENCH_PEERS: PEERS },
      stdin: "null",
      stdout,
      stderr: "piped",
    }).output();
    const wallSeconds = (performance.now() - start) / 1000;
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
    if (!child.success) {
      const reason = text(child.stderr).split("\n").slice(0, 8).join(" ");
      return { stdout: "", sample: { skipped: `failed: ${reason}` } };
    }
    const sample = measure.missing
      ? { wallSeconds }
      : JSON.parse(await Deno.readTextFile(memory));
    return { stdout: stdout === "piped" ? text(child.stdout) : "", sample };
  }

  /** Makes the file that a workload reads; why not, when that cannot be. */
  async #makeInput(
    { input }: Workload,
    job: WorkloadJob,
  ): Promise<string | null> {
    if (!input) return null;
    const { node, peers } = this.#machine;
    const { block, work } = this.#settings;
    if (node.missing) return node.missing;
    const path = job.input = join(work, `${input}-${job.count}`);
    const script = (name: string, ...args: string[]) => {
      const program = new URL(`contestants/${name}`, import.meta.url);
      const paths = [fileURLToPath(program), ...args, path];
      return outputOf("node", paths, { env: { BENCH_PEERS: PEERS } });
    };
    const count = String(job.count);
    if (input === "ndjson") {
      return (await script("ndjson.mjs", count, String(job.size))).failure;
    }
    if (!block) return "no --block <file> and no POH_BENCH_BLOCK given";
    if (input === "signed" && peers.missing) return peers.missing;
    return (await script("corpus.mjs", block, count, input)).failure;
  }

  #scaled(job: WorkloadJob): WorkloadJob {
    const { scale } = this.#settings;
    const { count, stored } = job;
    return {
      ...job,
      count: scaled(count, scale),
      ...(stored === undefined ? {} : { stored: scaled(stored, scale) }),
    };
  }
}

/**
 * A new directory for the stores. ext4 without a journal does not reuse inodes
 * for minutes after their deletion and looks at each of them again and again;
 * the attribute T gives every store a place on the disk of its own.
 */
async function makeWork(dir: string): Promise<string> {
  await Deno.mkdir(dir, { recursive: true });
  await outputOf("chattr", ["+T", dir]);
  const work = await Deno.makeTempDir({ dir, prefix: "run-" });
  await outputOf("chattr", ["+T", work]);
  return work;
}

/** The workloads that the arguments name. */
function chosen(names: string[]): Workload[] {
  const isMeant = (name: string, key: string) =>
    key === name || key.startsWith(`${name}-`);
  for (const name of names) {
    if (workloads.some(({ key }) => isMeant(name, key))) continue;
    const known = workloads.map(({ key }) => key).join(", ");
    throw new UsageError(`There is no workload ${name}; there are ${known}`);
  }
  return workloads.filter(({ key }) =>
    names.length === 0 || names.some((name) => isMeant(name, key))
  );
}

class UsageError extends Error {}

function positive(text: string, option: string): number {
  const value = Number(text);
  if (value > 0 && Number.isFinite(value)) return value;
  throw new UsageError(`${option} must be a number above 0, got ${text}`);
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        short: { type: "boolean", default: false },
        rounds: { type: "string" },
        scale: { type: "string" },
        block: { type: "string" },
        dir: { type: "string" },
        output: { type: "string" },
        help: { type: "boolean", short: "h", default: false },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

async function main(): Promise<void> {
  const { values, positionals } = parse(Deno.args);
  if (values.help) return console.log(USAGE);
  const { short, block, output } = values;
  const selected = chosen(positionals);
  const rounds = positive(values.rounds ?? (short ? "1" : "5"), "--rounds");
  const scale = positive(values.scale ?? (short ? "0.005" : "1"), "--scale");
  const dir = values.dir ?? fileURLToPath(new URL(".work", import.meta.url));
  const work = await makeWork(dir);
  const settings: Settings = {
    rounds,
    scale,
    block: block ?? Deno.env.get("POH_BENCH_BLOCK") ?? null,
    work,
  };
  Deno.addSignalListener("SIGINT", () => {
    Deno.removeSync(work, { recursive: true });
    Deno.exit(130);
  });
  try {
    const machine = await prepareMachine(work);
    const bench = new Bench(settings, machine);
    for (const workload of selected) {
      await bench.run(workload);
      if (output) await writeSamples(output, bench.results, machine, settings);
    }
    console.log(report(bench.results, machine, settings));
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}

async function writeSamples(
  path: string,
  results: Results,
  machine: Machine,
  { rounds, scale }: Settings,
): Promise<void> {
  const samples = Object.fromEntries(
    [...results].map(([key, of]) => [key, Object.fromEntries(of)]),
  );
  const all = { machine, rounds, scale, samples };
  await Deno.writeTextFile(path, JSON.stringify(all, null, 2) + "\n");
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(error.message);
    Deno.exit(2);
  }
}
