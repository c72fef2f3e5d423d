/**
 * Runs the benchmarks and prints the report: `deno task bench`.
 *
 * All contestants of a workload take turns, round after round, each run in a
 * process and on a directory of its own.
 *
 * @module
 */

import { join } from "@std/path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { contestants, type Job, type Key } from "./contestants.ts";
import { type Machine, outputOf, PEERS, prepareMachine } from "./machine.ts";
import { report, type Results, type Sample } from "./report.ts";
import { type Workload, workloads } from "./workloads.ts";

/** How a run goes. */
interface Settings {
  rounds: number;
  scale: number;
  work: string;
}

class Bench {
  readonly results: Results = new Map();
  #made = 0;

  constructor(readonly settings: Settings, readonly machine: Machine) {}

  async run(workload: Workload): Promise<void> {
    const { entrants } = workload;
    const job = this.#scaled(workload.job);
    const results = new Map<Key, Sample[]>();
    this.results.set(workload.key, results);
    for (let round = 0; round < this.settings.rounds; round++) {
      for (const key of entrants) {
        const samples = results.get(key) ?? [];
        results.set(key, samples);
        if (samples[0]?.skipped !== undefined) continue;
        samples.push(await this.#sample(workload, key, job, round));
      }
    }
  }

  async #sample(
    { key: workload, stores, cold }: Workload,
    key: Key,
    job: Omit<Job, "dir">,
    round: number,
  ): Promise<Sample> {
    const missing = contestants[key].missing(this.machine);
    if (missing) return { skipped: missing };
    console.error(`${workload} round ${round + 1}: ${contestants[key].title}`);
    const dir = join(
      this.settings.work,
      stores ? `${stores}-${key}` : `${workload}-${key}-${this.#made++}`,
    );
    if (stores && round === 0 && !await exists(dir)) {
      const fill = { ...job, op: "fill", count: job.stored ?? job.count, dir };
      const filled = await this.#execute(key, fill);
      if (filled.skipped !== undefined) return filled;
    }
    await this.#settle(cold);
    return await this.#execute(key, { ...job, dir });
  }

  /** What ran before is on the disk and takes no part in what comes. */
  async #settle(cold = false): Promise<void> {
    const { path, missing } = this.machine.measure;
    if (missing) return;
    const { failure } = await outputOf(path, [cold ? "drop" : "sync"]);
    if (failure) throw new Error(`Cannot empty the caches: ${failure}`);
  }

  async #execute(key: Key, job: Job): Promise<Sample> {
    const { measure } = this.machine;
    await Deno.mkdir(job.dir, { recursive: true });
    const command = contestants[key].command(job, this.machine);
    const memory = `${job.dir}.memory`;
    const [program, ...args] = measure.missing
      ? command
      : [measure.path, "run", memory, ...command];
    const { success, stdout, stderr } = await new Deno.Command(program!, {
      args,
      env: { BENCH_PEERS: PEERS },
      stdin: "null",
    }).output();
    const text = new TextDecoder().decode(stdout).trim();
    if (!success) {
      const reason = new TextDecoder().decode(stderr).trim().split("\n");
      return { skipped: `failed: ${reason.slice(0, 12).join(" ")}` };
    }
    const sample: Sample = JSON.parse(text.split("\n").at(-1)!);
    if (!measure.missing) {
      Object.assign(sample, JSON.parse(await Deno.readTextFile(memory)));
    }
    return sample;
  }

  #scaled(job: Omit<Job, "dir">): Omit<Job, "dir"> {
    const scaled = (count: number) =>
      Math.max(1, Math.round(count * this.settings.scale));
    const { count, stored } = job;
    return {
      ...job,
      count: scaled(count),
      ...(stored === undefined ? {} : { stored: scaled(stored) }),
    };
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function chosen(names: string[]): Workload[] {
  const isChosen = ({ key }: Workload) =>
    names.length === 0 ||
    names.some((name) => key === name || key.startsWith(`${name}-`));
  for (const name of names) {
    if (
      !workloads.some(({ key }) => key.split("-")[0] === name.split("-")[0])
    ) {
      throw new Error(`There is no workload ${name}`);
    }
  }
  return workloads.filter(isChosen);
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    args: Deno.args,
    allowPositionals: true,
    options: {
      short: { type: "boolean", default: false },
      rounds: { type: "string" },
      scale: { type: "string" },
      output: { type: "string" },
      dir: {
        type: "string",
        default: fileURLToPath(new URL(".work", import.meta.url)),
      },
    },
  });
  const { short, rounds, scale, dir, output } = values;
  const selected = chosen(positionals);
  await Deno.mkdir(dir, { recursive: true });
  const settings = {
    rounds: Number(rounds ?? (short ? 1 : 5)),
    scale: Number(scale ?? (short ? 0.02 : 1)),
    work: await Deno.makeTempDir({ dir, prefix: "run-" }),
  };
  try {
    const machine = await prepareMachine(dir);
    const bench = new Bench(settings, machine);
    for (const workload of selected) await bench.run(workload);
    console.log(report(bench.results, machine, settings));
    if (output) {
      const results = Object.fromEntries(
        [...bench.results].map(([key, of]) => [key, Object.fromEntries(of)]),
      );
      await Deno.writeTextFile(
        output,
        JSON.stringify({ machine, settings, results }, null, 2) + "\n",
      );
    }
  } finally {
    await Deno.remove(settings.work, { recursive: true });
  }
}

if (import.meta.main) await main();
