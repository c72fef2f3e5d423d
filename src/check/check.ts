/**
 * What every check of a store shares: how it is asked for, how far it has got,
 * and the course of its steps.
 *
 * @module
 */

import { MetadataDamagedError } from "../errors.ts";
import { TX_FILTER, type TxFilter } from "../model/filter.ts";
import {
  nested,
  oneOf,
  type OptionsType,
  optionsType,
  type Rule,
  rule,
  type Rules,
} from "../options.ts";
import {
  type LongWork,
  longWorkRules,
  type Progress,
} from "../model/long_work.ts";
import type { Finding, ReportStep, StoreReport } from "../model/report.ts";
import { type StorageOptions, storageRules } from "../model/storage_options.ts";

/** What both `verify` and `recover` take. */
export interface CheckOptions extends LongWork {
  /**
   * Where payloads that are missing or damaged are looked for, in this order:
   * a backup folder, a tar archive that `backup` wrote, the base of another
   * store or any folder of payload files, `<base>,<database>` for a store whose
   * database is elsewhere, `s3://bucket/prefix` with or without
   * `,postgres://user@host/name`, or the URL of another node's service. None
   * has to be trusted: every payload is verified against its row's SHA-256.
   */
  from?: string | readonly string[];
  /** Bearer token for nodes: one for all of them, or one for each URL. */
  fromToken?: string | Readonly<Record<string, string>>;
  /** Told of every finding. */
  onFinding?: (finding: Finding) => void;
  /** Told of every transaction that is sound. */
  onSound?: (txId: string) => void;
}

/** How to verify. Any but `workers` limits the check to payloads of rows. */
export interface VerifyOptions extends CheckOptions {
  /** Only these transactions. */
  filter?: TxFilter;
  /** Only a random share of them, above 0 and up to 1. */
  sample?: number;
  /** Only ids after this: a {@linkcode StoreReport.cursor}. */
  after?: string;
  /** At most so many transactions. */
  limit?: number;
  /** Only ids up to this one, in the order of their UTF-8 bytes. */
  until?: string;
  /** So many payloads are read at the same time where that is of use. */
  workers?: number;
}

/** How to recover. */
export interface RecoverOptions extends CheckOptions {
  /** Only tell what would be done; needs no lock. */
  dryRun?: boolean;
  /** Delete what is damaged instead of keeping it in quarantine. */
  purge?: boolean;
  /** What to do with payload files without a row; default `"keep"`. */
  orphans?: "keep" | "adopt" | "quarantine";
  /**
   * Make a new database from the payload files, and from what can still be
   * read of the old one, when it is lost or damaged.
   */
  rebuild?: boolean;
  /**
   * Only the payloads of these ids: what `verify` or a load has found, maybe on
   * other machines. Of a store on one machine it is refused: `REMOTE_ONLY`.
   */
  only?: ReadonlySet<string>;
  /** Do all but read the payloads of transactions. */
  skipPayloads?: boolean;
  /** So many payloads are read at the same time where that is of use. */
  workers?: number;
}

const isText = (value: unknown) => typeof value === "string";

const sourcesRule: Rule = {
  what: "a source or an array of them",
  is: (value) =>
    typeof value === "string" || Array.isArray(value) && value.every(isText),
};

const tokensRule: Rule = {
  what: "a token, or an object of tokens by URL",
  is: (value) =>
    typeof value === "string" || Object.values(Object(value)).every(isText),
};

const checkRules: Rules<CheckOptions> = {
  from: sourcesRule,
  fromToken: tokensRule,
  ...longWorkRules,
  onFinding: rule.callback,
  onSound: rule.callback,
};

const recoverRules: Rules<RecoverOptions> = {
  ...checkRules,
  dryRun: rule.flag,
  purge: rule.flag,
  orphans: oneOf("keep", "adopt", "quarantine"),
  rebuild: rule.flag,
  only: rule.ids,
  skipPayloads: rule.flag,
  workers: rule.count,
};

/** Checks {@linkcode VerifyOptions}. */
export const VERIFY_OPTIONS: OptionsType = optionsType<VerifyOptions>(
  "VerifyOptions",
  {
    ...checkRules,
    filter: nested(TX_FILTER),
    sample: rule.share,
    after: rule.text,
    limit: rule.limit,
    until: rule.text,
    workers: rule.count,
  },
);

/** Checks {@linkcode RecoverOptions}. */
export const RECOVER_OPTIONS: OptionsType = optionsType<RecoverOptions>(
  "RecoverOptions",
  recoverRules,
);

/** How {@linkcode performRecovery} opens and repairs a store. */
export interface RecoveryOptions extends StorageOptions, RecoverOptions {
  /** Whether to make the store where there is none; default false. */
  create?: boolean;
}

/** Checks {@linkcode RecoveryOptions}. */
export const RECOVERY_OPTIONS: OptionsType = optionsType<RecoveryOptions>(
  "RecoveryOptions",
  { ...storageRules, ...recoverRules, create: rule.flag },
);

/** The time of a step and what it went through. */
export class Step {
  /** Things there are, or null when that is not known. */
  total: number | null = null;
  readonly #name: string;
  readonly #onProgress: ((progress: Progress) => void) | undefined;
  readonly #start = performance.now();
  #count = 0;
  #bytes = 0;

  /** Begins a step. */
  constructor(name: string, onProgress?: (progress: Progress) => void) {
    this.#name = name;
    this.#onProgress = onProgress;
  }

  /** Counts what was looked at, and tells of it. */
  add(count: number, bytes: number): void {
    this.#count += count;
    this.#bytes += bytes;
    this.#onProgress?.({
      step: this.#name,
      done: this.#count,
      total: this.total,
      bytes: this.#bytes,
    });
  }

  /** The step as it ends. */
  result(): ReportStep {
    return {
      name: this.#name,
      count: this.#count,
      bytes: this.#bytes,
      ms: Math.round(performance.now() - this.#start),
    };
  }
}

/** The name of a step, and what it does; null: it is left out. */
export type CheckStep = [
  name: string,
  work: ((step: Step) => Promise<void>) | null,
];

/**
 * Runs the steps of a check, or those for payloads where only a part of these
 * is asked for, or all but those, until it is interrupted or the database is
 * found to be damaged.
 *
 * @param onDamage Told why, when a step could not go on for that.
 * @returns Whether it came to its end.
 */
export async function runSteps(
  steps: CheckStep[],
  report: StoreReport,
  options: VerifyOptions & RecoverOptions,
  onDamage: (detail: string) => void,
): Promise<boolean> {
  const isPartial = isLimited(options);
  for (const [name, work] of steps) {
    const isOfPayloads = name === "payloads" || name === "heal";
    const isAsked = isOfPayloads ? !options.skipPayloads : !isPartial;
    if (!work || !isAsked) continue;
    const step = new Step(name, options.onProgress);
    try {
      await work(step);
    } catch (error) {
      if (!(error instanceof MetadataDamagedError)) throw error;
      if (report.counts["metadata-damaged"] === 0) onDamage(error.message);
    }
    report.steps.push(step.result());
    // What a damaged database says proves nothing about the payloads.
    const isUseless = report.counts["metadata-damaged"] > 0;
    if (isUseless || report.interrupted) return false;
  }
  return true;
}

/** Whether a check is of a part of the payloads only. */
export function isLimited(options: VerifyOptions & RecoverOptions): boolean {
  const { filter = {}, sample, after, until, limit, only } = options;
  return [sample, after, until, limit, only, ...Object.values(filter)]
    .some((bound) => bound !== undefined);
}
