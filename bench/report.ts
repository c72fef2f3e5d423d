/**
 * The report: medians with their spread, ratios with theirs, goals beside them.
 *
 * @module
 */

import { contestants, type Key } from "./contestants.ts";
import type { Machine, Tool } from "./machine.ts";
import { rateGoals, workloads } from "./workloads.ts";

/** What one run of a contestant measured, or why there was none. */
export interface Sample {
  skipped?: string;
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

const OURS = ["ours", "oursInline", "oursRelaxed", "oursFfi"] as const;

/** The report as Markdown. */
export function report(
  results: Results,
  machine: Machine,
  settings: { rounds: number; scale: number },
): string {
  const parts = [heading(machine, settings), goalTable(results)];
  for (const { key, title, cold } of workloads) {
    const of = results.get(key);
    if (!of) continue;
    parts.push(`### ${key}: ${title}${cold ? ", caches emptied" : ""}`);
    parts.push(workloadTable(of));
  }
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
    `- Machine: ${machine.hardware}; file system ${machine.fileSystem}`,
    `- Deno ${Deno.version.deno}; Node ${version(machine.node)}; Python ${
      version(machine.python)
    }; ${version(machine.peers)}`,
    `- ${rounds} round${rounds === 1 ? "" : "s"}, counts × ${scale}`,
    "- Ratios are rates of ours over theirs in the same round: median (least–most). Above 1, ours is faster.",
  ].join("\n");
}

function goalTable(results: Results): string {
  const rows = rateGoals.flatMap(({ workload, ours, against, least }) => {
    const of = results.get(workload);
    if (!of) return [];
    const found = ratios(of.get(ours), of.get(against));
    const skipped = of.get(ours)?.[0]?.skipped ?? of.get(against)?.[0]?.skipped;
    const verdict = found.length === 0
      ? `skipped: ${skipped}`
      : median(found) >= least
      ? "pass"
      : "miss";
    return [[
      workload,
      contestants[ours].title,
      contestants[against].title,
      found.length === 0 ? "–" : withSpread(found),
      String(least),
      verdict,
    ]];
  });
  return "### Goals\n\n" +
    table(["workload", "ours", "against", "ratio", "goal", ""], rows);
}

function workloadTable(of: Map<Key, Sample[]>): string {
  const present = OURS.filter((key) => of.get(key)?.[0]?.seconds !== undefined);
  const rows = [...of].map(([key, samples]) => {
    const { title, durability } = contestants[key];
    const skipped = samples[0]?.skipped;
    if (skipped !== undefined) {
      return [title, durability, `skipped: ${skipped}`];
    }
    const rates = samples.map(rateOf);
    return [
      title,
      durability,
      ...present.map((ours) =>
        ours === key ? "1" : withSpread(ratios(of.get(ours), samples))
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
    ...present.map((key) => `${contestants[key].title} ×`),
    "per second",
    "close, + %",
    "peak MiB",
    "stall, ms",
  ];
  return table(heads, rows);
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
