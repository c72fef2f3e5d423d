/**
 * The report: medians with their spread, ratios with theirs, goals beside them.
 *
 * @module
 */

import { contestant, type Key } from "./contestants.ts";
import type { Machine, Tool } from "./machine.ts";
import {
  type Limit,
  limits,
  rateGoals,
  scaled,
  workloads,
} from "./workloads.ts";

/** What one run of a contestant measured, or why there was none. */
export interface Sample {
  skipped?: string;
  /** How many transactions a recovery found sound. */
  sound?: number;
  /** How long the operations took, as the contestant measured it. */
  seconds?: number;
  ops?: number;
  /** How long closing the store took after that. */
  closeSeconds?: number;
  /** The longest time for which the event loop ran no timer. */
  stallMs?: number;
  /** From the start of the process to its end. */
  wallSeconds?: number;
  peakMiB?: number;
}

/** Samples by workload and contestant. */
export type Results = Map<string, Map<Key, Sample[]>>;

const OURS = [
  "ours",
  "oursPacked",
  "oursAll",
  "oursRelaxed",
  "oursPackedRelaxed",
  "oursFfi",
  "cliImport",
  "cliImportPacked",
  "cliList",
  "cliListPacked",
  "cliVersion",
  "compiledVersion",
  "compiledList",
] as const;

/** The report as Markdown. */
export function report(
  results: Results,
  machine: Machine,
  settings: { rounds: number; scale: number },
): string {
  const parts = [heading(machine, settings), goalTable(results)];
  for (const { key, title, job, cold } of workloads) {
    const of = results.get(key);
    if (!of) continue;
    const count = scaled(job.count, settings.scale).toLocaleString("en-US");
    const what = title.replace("#", count);
    parts.push(`### ${key}: ${what}${cold ? ", caches emptied" : ""}`);
    parts.push(workloadTable(of));
  }
  parts.push(skips(results));
  return parts.join("\n\n");
}

function heading(
  machine: Machine,
  { rounds, scale }: { rounds: number; scale: number },
): string {
  const version = ({ version, missing }: Tool) => missing ?? version;
  return [
    `## Benchmark of ${new Date().toISOString().slice(0, 10)}`,
    "",
    `- Machine: ${machine.hardware}; file system ${machine.fileSystem}; load before the run ${
      rounded(machine.load)
    }`,
    `- Deno ${Deno.version.deno} with SQLite ${machine.sqlite}; Node ${
      version(machine.node)
    }; Python ${version(machine.python)}; SQLite shell ${
      version(machine.sqlite3)
    }; ${version(machine.restic)}; ${version(machine.peers)}`,
    `- ${rounds} round${
      rounds === 1 ? "" : "s"
    } (w4, w5: at most 3; w6: 1), counts × ${scale}`,
    "- Ratios are rates of ours over theirs in the same round: median (least–most). Above 1, ours is faster.",
  ].join("\n");
}

function goalTable(results: Results): string {
  const rows = [
    ...rateGoals.flatMap(({ workload, ours, other, against, least }) => {
      const mine = results.get(workload)?.get(ours);
      const theirs = results.get(other ?? workload)?.get(against);
      if (!mine || !theirs) return [];
      const found = ratios(mine, theirs);
      return [[
        workload,
        contestant(ours).title,
        `${contestant(against).title}${other ? `, ${other}` : ""}`,
        contestant(against).durability,
        ...verdict(found, `≥ ${rounded(least)}`, median(found) >= least),
      ]];
    }),
    ...limits.flatMap(({ workload, ours, what, most }) => {
      const mine = results.get(workload)?.get(ours);
      if (!mine) return [];
      const found = mine.map((sample) => limited(sample, what))
        .filter((value) => value !== undefined);
      return [[
        workload,
        contestant(ours).title,
        UNITS[what],
        "–",
        ...verdict(found, `≤ ${most}`, median(found) <= most),
      ]];
    }),
  ];
  const heads = [
    "workload",
    "ours",
    "against",
    "its durability",
    "found",
    "goal",
    "",
  ];
  return `### Goals\n\n${table(heads, rows)}`;
}

const UNITS = {
  peakMiB: "peak memory, MiB",
  stallMs: "longest stall of the event loop, ms",
  ms: "the whole, ms",
};

function limited(sample: Sample, what: Limit["what"]): number | undefined {
  if (what !== "ms") return sample[what];
  return sample.seconds === undefined ? undefined : 1000 * sample.seconds;
}

function verdict(found: number[], goal: string, isMet: boolean): string[] {
  if (found.length === 0) return ["–", goal, "skipped"];
  return [withSpread(found), goal, isMet ? "pass" : "miss"];
}

/** Who did not run, and why. */
function skips(results: Results): string {
  const reasons = new Map<string, string[]>();
  for (const [workload, of] of results) {
    for (const [key, samples] of of) {
      const failed = samples.find(({ skipped }) => skipped !== undefined);
      if (!failed) continue;
      const line = `${contestant(key).title}: ${failed.skipped}`;
      reasons.set(line, [...reasons.get(line) ?? [], workload]);
    }
  }
  if (reasons.size === 0) return "Nothing was skipped.";
  const lines = [...reasons].map(([line, workloads]) =>
    `- ${line} (${workloads.join(", ")})`
  );
  return ["### Skipped", "", ...lines].join("\n");
}

function workloadTable(of: Map<Key, Sample[]>): string {
  const present = OURS.filter((key) => of.get(key)?.some(isMeasured));
  const ran = [...of].filter(([, samples]) => samples.some(isMeasured));
  if (ran.length === 0) return "Skipped.";
  const rows = ran.map(([key, all]) => {
    const { title, durability } = contestant(key);
    const samples = all.filter(isMeasured);
    const rates = samples.map(rateOf);
    return [
      title,
      durability,
      ...present.map((ours) =>
        ours === key ? "1" : withSpread(ratios(of.get(ours), all))
      ),
      withSpread(rates),
      figure(
        samples.map(({ closeSeconds, seconds }) =>
          closeSeconds === undefined ? NaN : 100 * closeSeconds / seconds!
        ),
      ),
      figure(samples.map(({ peakMiB }) => peakMiB ?? NaN)),
      figure(samples.map(({ stallMs }) => stallMs ?? NaN)),
    ];
  });
  const heads = [
    "contestant",
    "durability",
    ...present.map((key) => `${contestant(key).title} ×`),
    "per second",
    "close, + %",
    "peak MiB",
    "stall, ms",
  ];
  return table(heads, rows);
}

function isMeasured({ seconds }: Sample): boolean {
  return seconds !== undefined;
}

function rateOf({ ops, seconds }: Sample): number {
  return ops! / seconds!;
}

/** The ratios of the rounds in which both ran. */
function ratios(ours: Sample[] = [], theirs: Sample[] = []): number[] {
  return ours.flatMap((sample, round) => {
    const other = theirs[round];
    if (sample.seconds === undefined || other?.seconds === undefined) return [];
    return [rateOf(sample) / rateOf(other)];
  });
}

/** The middle one, or the mean of the two in the middle. */
export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? sorted[half]!
    : (sorted[half - 1]! + sorted[half]!) / 2;
}

function withSpread(values: number[]): string {
  if (values.length === 0) return "–";
  if (values.length === 1) return rounded(values[0]!);
  return `${rounded(median(values))} (${rounded(Math.min(...values))}–${
    rounded(Math.max(...values))
  })`;
}

function figure(values: number[]): string {
  return values.some(Number.isNaN) ? "–" : rounded(median(values));
}

function rounded(value: number): string {
  return value >= 1000
    ? Math.round(value).toLocaleString("en-US")
    : String(Number(value.toPrecision(3)));
}

function table(heads: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.join(" | ")} |`;
  const filled = rows.map((row) =>
    heads.map((_, i) => (row[i] ?? "").replaceAll("|", "\\|"))
  );
  return [heads, heads.map(() => "---"), ...filled].map(line).join("\n");
}
