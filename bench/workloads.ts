/**
 * What is measured, and what is to be reached.
 *
 * @module
 */

import type { Job, Key } from "./contestants.ts";

/** A job before it has a directory. */
export type WorkloadJob = Omit<Job, "dir">;

/** One thing that contestants do in turn. */
export interface Workload {
  /** Its name on the command line. */
  key: string;
  /** What is done; `#` stands for the count. */
  title: string;
  /** The job; counts are those of the full run. */
  job: WorkloadJob;
  /** Who takes part. */
  entrants: Key[];
  /**
   * Name of the stores it works on, which are made before the first round and
   * serve every workload of that name; without it every run has a new one.
   */
  stores?: string;
  /** Empties the system's caches before every run. */
  cold?: boolean;
  /** At most so many rounds, where one takes minutes. */
  rounds?: number;
  /** So many transactions are damaged before every run. */
  damaged?: number;
  /** A file that is made beforehand, once. */
  input?: "ndjson" | "block" | "signed";
  /** The processes are timed from outside, with their start; output is dropped. */
  processes?: { times: number };
  /** Stores are removed after each run: few files, or more than there is room for. */
  removed?: boolean;
}

const KIB = 1024;
const save = { op: "save", count: 20_000, size: KIB, inFlight: 1 };
const load = { ...save, op: "load", stored: 20_000 };
const recover = {
  op: "recover",
  count: 100_000,
  stored: 100_000,
  size: KIB,
  inFlight: 1,
};
const large = {
  op: "saveLarge",
  count: 64,
  size: 16 * KIB * KIB,
  inFlight: 1,
  large: true,
};
const loadLarge = { ...large, op: "load", stored: 64, inOrder: true };
const many = {
  op: "list",
  count: 1_000_000,
  stored: 1_000_000,
  size: KIB,
  inFlight: 1,
  rowsOnly: true,
};
const hundred = { ...many, count: 100, stored: 100 };
const few = { ...many, count: 10_000, stored: 10_000 };
const real = { ...save, count: 1_557, inFlight: 64 };

const ours: Key[] = ["ours", "oursAll", "oursPacked", "oursFfi"];
const relaxed: Key[] = ["oursRelaxed", "oursPackedRelaxed"];
const savers: Key[] = [
  ...ours,
  ...relaxed,
  "python",
  "betterSqlite3",
  "lmdb",
  "level",
  "levelRelaxed",
  "denoKv",
  "writeFileAtomic",
  "cacache",
];
const loaders: Key[] = [
  ...ours,
  "python",
  "betterSqlite3",
  "lmdb",
  "level",
  "denoKv",
  "writeFileAtomic",
  "cacache",
  "read1",
];
const verifiers: Key[] = [
  ...ours,
  "python",
  "betterSqlite3",
  "lmdb",
  "level",
  "cacache",
  "restic",
  "read2",
];
const manySavers: Key[] = [
  ...savers,
  "safe16",
  "synced16",
  "renamed16",
  "created1",
  "created16",
  "append1",
  "append16",
];
const largeSavers: Key[] = [
  "ours",
  "oursWhole",
  "oursPacked",
  "oursRelaxed",
  "python",
  "betterSqlite3",
  "lmdb",
  "level",
  "writeFileAtomic",
  "cacache",
  "large1",
  "large4",
];
const largeLoaders: Key[] = [
  "ours",
  "oursWhole",
  "oursPacked",
  "python",
  "betterSqlite3",
  "lmdb",
  "level",
  "writeFileAtomic",
  "cacache",
  "read1",
  "sha1",
  "sha2",
];
const realSavers: Key[] = [
  ...ours,
  ...relaxed,
  "python",
  "betterSqlite3",
  "lmdb",
  "level",
  "writeFileAtomic",
  "cacache",
];

/** All workloads, in the order of the report. */
export const workloads: Workload[] = [
  {
    key: "w1",
    title: "# saves of 1 KiB, each awaited",
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
    title: "# saves of 1 KiB, 64 in flight",
    job: { ...save, inFlight: 64 },
    entrants: manySavers,
  },
  {
    key: "w2-1024",
    title: "# saves of 1 KiB, 1,024 in flight",
    job: { ...save, inFlight: 1_024 },
    entrants: manySavers,
  },
  {
    key: "w2-many",
    title: "# saves of 1 KiB by saveTxs (others: 1,024 in flight)",
    job: { ...save, inFlight: 1_024, many: true },
    entrants: manySavers,
  },
  {
    key: "w3",
    title: "# random verified loads of 1 KiB, each awaited",
    job: load,
    entrants: loaders,
    stores: "loads",
  },
  {
    key: "w3-64",
    title: "# random verified loads of 1 KiB, 64 in flight",
    job: { ...load, inFlight: 64 },
    entrants: loaders,
    stores: "loads",
  },
  {
    key: "w4",
    title: "recovery of # transactions of 1 KiB, 10 damaged",
    rounds: 3,
    job: recover,
    entrants: verifiers,
    stores: "recoveries",
    damaged: 10,
  },
  {
    key: "w4-cold",
    title: "recovery of # transactions of 1 KiB, 10 damaged",
    rounds: 3,
    job: recover,
    entrants: [
      ...ours,
      "betterSqlite3",
      "lmdb",
      "level",
      "restic",
      "read2",
      "read64",
      "segments",
    ],
    stores: "recoveries",
    damaged: 10,
    cold: true,
  },
  {
    key: "w5-save",
    title: "# saves of 16 MiB, each awaited",
    rounds: 3,
    job: large,
    entrants: largeSavers,
    removed: true,
  },
  {
    key: "w5-save-4",
    title: "# saves of 16 MiB, 4 in flight",
    rounds: 3,
    job: { ...large, inFlight: 4 },
    entrants: largeSavers,
    removed: true,
  },
  {
    key: "w5-load",
    title: "# verified loads of 16 MiB, each awaited",
    rounds: 3,
    job: loadLarge,
    entrants: largeLoaders,
    stores: "large",
  },
  {
    key: "w5-load-4",
    title: "# verified loads of 16 MiB, 4 in flight",
    rounds: 3,
    job: { ...loadLarge, inFlight: 4 },
    entrants: largeLoaders,
    stores: "large",
  },
  {
    key: "w6-import-10k",
    title: "import of # transactions of 1 KiB",
    rounds: 1,
    job: { ...few, op: "save" },
    entrants: ["cliImport", "cliImportPacked"],
    input: "ndjson",
    processes: { times: 1 },
    removed: true,
  },
  {
    key: "w6-import",
    title: "import of # transactions of 1 KiB",
    rounds: 1,
    job: { ...many, op: "save" },
    entrants: ["cliImport", "cliImportPacked"],
    input: "ndjson",
    processes: { times: 1 },
    removed: true,
  },
  {
    key: "w6-list",
    title: "list of # transactions, the whole process",
    rounds: 1,
    job: many,
    entrants: [
      "cliList",
      "cliListPacked",
      "python",
      "betterSqlite3",
      "sqliteShell",
    ],
    stores: "million",
    processes: { times: 1 },
  },
  {
    key: "w6-page",
    title: "first 100 of # transactions",
    job: { ...many, op: "page" },
    entrants: ["ours", "oursPacked"],
    stores: "million",
  },
  {
    key: "w6-iterate-10k",
    title: "iteration over # transactions",
    rounds: 1,
    job: few,
    entrants: ["ours", "oursPacked"],
    stores: "ten-thousand",
  },
  {
    key: "w6-iterate",
    title: "iteration over # transactions",
    rounds: 1,
    job: many,
    entrants: ["ours", "oursPacked"],
    stores: "million",
  },
  {
    key: "w6-verify-10k",
    title: "verify of # transactions",
    rounds: 1,
    job: { ...few, op: "verify" },
    entrants: ["ours", "oursPacked"],
    stores: "ten-thousand",
  },
  {
    key: "w6-verify",
    title: "verify of # transactions",
    rounds: 1,
    job: { ...many, op: "verify" },
    entrants: ["ours", "oursPacked"],
    stores: "million",
  },
  {
    key: "w6-commands",
    title: "verify, export and recover of # transactions, the whole process",
    rounds: 1,
    job: many,
    entrants: [
      "cliVerify",
      "cliVerifyPacked",
      "cliExport",
      "cliExportPacked",
      "cliRecover",
      "cliRecoverPacked",
    ],
    stores: "million",
    processes: { times: 1 },
  },
  {
    key: "w7-block",
    title: "saves of # transactions of a Bitcoin block, 64 in flight",
    job: real,
    entrants: realSavers,
    input: "block",
  },
  {
    key: "w7-signed",
    title:
      "saves of # such with an ML-DSA-87 signature (4,627 bytes), 64 in flight",
    job: real,
    entrants: realSavers,
    input: "signed",
  },
  {
    key: "start-version",
    title: "start-up: --version",
    job: { ...hundred, op: "version" },
    entrants: ["cliVersion", "emptyDeno", "compiledVersion", "compiledEmpty"],
    processes: { times: 20 },
  },
  {
    key: "start-list",
    title: "start-up: list of # transactions",
    job: hundred,
    entrants: ["cliList", "emptyDeno", "compiledList", "compiledEmpty"],
    stores: "hundred",
    processes: { times: 20 },
  },
];

/** No workload goes below this: nothing could be told from it. */
const LEAST = 4;

/** How many of `count` a run of that scale does. */
export function scaled(count: number, scale: number): number {
  return Math.max(LEAST, Math.round(count * scale));
}

/** A ratio to be reached: the rate of `ours` over that of `against`. */
export interface RateGoal {
  /** The workload of ours. */
  workload: string;
  ours: Key;
  /** The workload of the other; the same unless given. */
  other?: string;
  against: Key;
  /** The least ratio. */
  least: number;
}

/** A figure that must not be passed. */
export interface Limit {
  workload: string;
  ours: Key;
  /** What is limited: MiB of memory, ms of a stall, ms of the whole. */
  what: "peakMiB" | "stallMs" | "ms";
  /** The most it may be. */
  most: number;
}

function goals(
  workload: string,
  ours: Key,
  ratios: Partial<Record<Key, number>>,
): RateGoal[] {
  return Object.entries(ratios).map(([against, least]) => (
    { workload, ours, against: against as Key, least }
  ));
}

/** A workload that has a smaller twin, of which it may differ by so much. */
function growth(workload: string, ours: Key, most: number): RateGoal {
  const other = `${workload}-10k`;
  return { workload, ours, other, against: ours, least: 1 / most };
}

/** What a transaction may cost in a store of a million, against ten thousand. */
const GROWTH = 1.3;
/** Likewise: each random id needs a page of the database for itself. */
const GROWTH_PACKED = 1.5;

/** An import, whole, over 64 saves in flight. */
function wholeImport(cli: Key, ours: Key, least: number): RateGoal {
  return {
    workload: "w6-import",
    ours: cli,
    other: "w2-64",
    against: ours,
    least,
  };
}

/** Large payloads as streams, whole, and in a store that packs small ones. */
const inAllForms = ["ours", "oursWhole", "oursPacked"] as const;
const inBothLayouts = ["ours", "oursPacked"] as const;
/** With the permissions that it needs, and with all: Deno takes longer to check few. */
const inFiles = ["ours", "oursAll"] as const;

/** All goals on rates. */
export const rateGoals: RateGoal[] = [
  ...inFiles.flatMap((ours) =>
    goals("w1", ours, { python: 4.5, writeFileAtomic: 2.5, safe1: 1.25 })
  ),
  ...goals("w1", "oursRelaxed", {
    python: 18,
    cacache: 14,
    levelRelaxed: 1.5,
    renamed1: 0.6,
  }),
  ...goals("w1", "oursPacked", {
    python: 7.5,
    betterSqlite3: 1.3,
    append1: 1.3,
  }),
  ...goals("w1", "oursPackedRelaxed", { levelRelaxed: 2.5 }),
  ...inFiles.flatMap((ours) =>
    goals("w2-64", ours, {
      python: 6,
      lmdb: 1.0,
      writeFileAtomic: 15,
      synced16: 1.9,
      safe16: 1.9,
    })
  ),
  ...goals("w2-64", "oursPacked", {
    python: 12,
    betterSqlite3: 1.6,
    lmdb: 2.5,
    append1: 12,
  }),
  ...goals("w2-64", "oursPackedRelaxed", { levelRelaxed: 2.5 }),
  ...["w2-1024", "w2-many"].flatMap((w2) => [
    ...inFiles.flatMap((ours) =>
      goals(w2, ours, {
        python: 6,
        lmdb: 0.6,
        writeFileAtomic: 10,
        synced16: 2.0,
        safe16: 2.0,
      })
    ),
    ...goals(w2, "oursPacked", {
      python: 12,
      betterSqlite3: 1.2,
      append1: 12,
    }),
  ]),
  ...["w2-64", "w2-1024", "w2-many"].flatMap((w2) =>
    goals(w2, "oursRelaxed", { python: 7, cacache: 7, created1: 0.77 })
  ),
  ...inFiles.flatMap((ours) => [
    ...goals("w3", ours, { python: 38, cacache: 45, read1: 0.28 }),
    ...goals("w3-64", ours, { python: 18, level: 0.75, read1: 0.32 }),
    ...goals("w4", ours, {
      python: 80,
      level: 1.3,
      restic: 3.3,
      cacache: 300,
      read2: 0.3,
    }),
    ...goals("w4-cold", ours, { read64: 0.6 }),
  ]),
  ...goals("w3", "oursPacked", { betterSqlite3: 1.4, read1: 0.45 }),
  ...goals("w3-64", "oursPacked", { read1: 0.42 }),
  ...goals("w4", "oursPacked", { lmdb: 1.0, read2: 0.42 }),
  ...goals("w4-cold", "oursPacked", { segments: 0.8 }),
  // What the store had before its log, of C: no less than that.
  ...inAllForms.flatMap((ours) => [
    ...goals("w5-save", ours, { large1: 1.13 }),
    ...goals("w5-save-4", ours, { large1: 1.09 }),
    ...goals("w5-load", ours, { sha2: 0.37 }),
    ...goals("w5-load-4", ours, { sha2: 0.36 }),
  ]),
  // The sync of each file is its end: 12,000 a second where 25,000 are saved.
  wholeImport("cliImport", "ours", 12 / 25),
  wholeImport("cliImportPacked", "oursPacked", 0.6),
  growth("w6-import", "cliImport", GROWTH),
  growth("w6-import", "cliImportPacked", GROWTH_PACKED),
  ...goals("w6-list", "cliList", {
    python: 2.0,
    betterSqlite3: 1.5,
    sqliteShell: 0.47,
  }),
  ...["w6-iterate", "w6-verify"].flatMap((w6) => [
    growth(w6, "ours", GROWTH),
    growth(w6, "oursPacked", GROWTH_PACKED),
  ]),
  ...goals("start-version", "cliVersion", { emptyDeno: 1 / 1.4 }),
  ...goals("start-version", "compiledVersion", { compiledEmpty: 1 / 1.4 }),
  ...goals("start-list", "cliList", { emptyDeno: 1 / 1.6 }),
  ...goals("start-list", "compiledList", { compiledEmpty: 1 / 1.6 }),
];

const limit = (
  workload: string,
  ours: Key,
  what: Limit["what"],
  most: number,
): Limit => ({ workload, ours, what, most });

/** All limits. */
export const limits: Limit[] = [
  ...inBothLayouts.flatMap((ours) => [
    ...["w2-64", "w3-64", "w4"].map((at64) => limit(at64, ours, "stallMs", 10)),
    ...["w2-1024", "w2-many"].map((w2) => limit(w2, ours, "stallMs", 20)),
    limit("w6-page", ours, "ms", 5),
  ]),
  ...["w5-save", "w5-save-4", "w5-load", "w5-load-4"].flatMap((workload) =>
    inAllForms.map((ours) => limit(workload, ours, "peakMiB", 150))
  ),
  ...(["cliImport", "cliImportPacked"] as const).map((command) =>
    limit("w6-import", command, "peakMiB", 200)
  ),
  ...(["cliList", "cliListPacked"] as const).map((command) =>
    limit("w6-list", command, "peakMiB", 150)
  ),
  ...([
    "cliVerify",
    "cliVerifyPacked",
    "cliExport",
    "cliExportPacked",
    "cliRecover",
    "cliRecoverPacked",
  ] as const).map((command) => limit("w6-commands", command, "peakMiB", 150)),
];
