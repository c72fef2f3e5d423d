/**
 * What is measured, and what is to be reached.
 *
 * @module
 */

import type { Job, Key } from "./contestants.ts";

/** One thing that contestants do in turn. */
export interface Workload {
  /** Its name on the command line. */
  key: string;
  /** What is done. */
  title: string;
  /** The job; counts are those of the full run. */
  job: Omit<Job, "dir">;
  /** Who takes part. */
  entrants: Key[];
  /**
   * Name of the stores it works on, which are made before the first round and
   * serve every workload of that name; without it every run has a new one.
   */
  stores?: string;
  /** Empties the system's caches before every run. */
  cold?: boolean;
}

const savers: Key[] = [
  "ours",
  "oursInline",
  "oursRelaxed",
  "oursFfi",
  "python",
  "betterSqlite3",
  "lmdb",
];

const loaders: Key[] = [
  "ours",
  "oursInline",
  "oursFfi",
  "python",
  "betterSqlite3",
  "lmdb",
  "read1",
];

const KIB = 1024;
const save = { op: "save", count: 20_000, size: KIB, inFlight: 1 };
const load = { ...save, op: "load", stored: 20_000 };
const parallel: Key[] = [
  "safe16",
  "synced16",
  "renamed16",
  "created1",
  "created16",
  "append1",
];

/** All workloads, in the order of the report. */
export const workloads: Workload[] = [
  {
    key: "w1",
    title: "20,000 saves of 1 KiB, each awaited",
    job: save,
    entrants: [
      ...savers,
      "safe1",
      "synced1",
      "renamed1",
      "created1",
      "append1",
    ],
  },
  {
    key: "w2-64",
    title: "20,000 saves of 1 KiB, 64 in flight",
    job: { ...save, inFlight: 64 },
    entrants: [...savers, ...parallel],
  },
  {
    key: "w2-1024",
    title: "20,000 saves of 1 KiB, 1,024 in flight",
    job: { ...save, inFlight: 1_024 },
    entrants: [...savers, ...parallel],
  },
  {
    key: "w2-many",
    title: "20,000 saves of 1 KiB by saveTxs (peers: 1,024 in flight)",
    job: { ...save, inFlight: 1_024, many: true },
    entrants: [...savers, ...parallel],
  },
  {
    key: "w3",
    title: "20,000 random verified loads of 1 KiB, each awaited",
    job: load,
    entrants: loaders,
    stores: "loads",
  },
  {
    key: "w3-64",
    title: "20,000 random verified loads of 1 KiB, 64 in flight",
    job: { ...load, inFlight: 64 },
    entrants: loaders,
    stores: "loads",
  },
];

/** A ratio to be reached: the rate of `ours` over that of `against`. */
export interface Goal {
  /** The workload's key. */
  workload: string;
  /** Which of ours. */
  ours: Key;
  /** Whose rate is 1. */
  against: Key;
  /** The least ratio. */
  least: number;
}

function goals(
  workload: string,
  ours: Key,
  ratios: Partial<Record<Key, number>>,
): Goal[] {
  return Object.entries(ratios).map(([against, least]) => (
    { workload, ours, against: against as Key, least }
  ));
}

/** All goals on rates. */
export const rateGoals: Goal[] = [
  ...goals("w1", "ours", { python: 3.5, safe1: 1.1 }),
  ...goals("w1", "oursRelaxed", { python: 18, renamed1: 0.6 }),
  ...goals("w1", "oursInline", {
    python: 7.5,
    betterSqlite3: 1.15,
    append1: 0.8,
  }),
  ...["w2-64", "w2-1024", "w2-many"].flatMap((w2) => [
    ...goals(w2, "ours", { python: 6, lmdb: 1.1, synced16: 2.0 }),
    ...goals(w2, "oursRelaxed", { python: 7, created1: 0.77 }),
    ...goals(w2, "oursInline", {
      python: 12,
      betterSqlite3: 1.15,
      append1: 6.5,
    }),
  ]),
  ...goals("w3", "ours", { python: 40, read1: 0.4 }),
  ...goals("w3-64", "ours", { python: 18, read1: 0.5 }),
];
