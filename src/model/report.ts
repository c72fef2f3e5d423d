/**
 * Reports of `verify` and `recover`.
 *
 * @module
 */

import type { DriverInfo } from "./driver_info.ts";

/**
 * Kinds of findings.
 *
 * - `payload-missing`: a row without its payload file
 * - `payload-corrupt`: a payload whose digest is not the row's
 * - `size-mismatch`: a sound payload whose row has another size
 * - `row-damaged`: a sound payload whose row has its digest with a digit changed
 * - `unfinished`: a change that a crash left half-done; the log can finish it
 * - `orphan-payload`: a payload file without a row
 * - `leftover-temp`: a half-written file that nothing refers to
 * - `unreadable`: the system would not give a file: says nothing about damage
 * - `metadata-damaged`: SQLite finds the database itself damaged
 * - `metadata-outdated`: the database has gone back to an earlier state
 * - `log-damaged`: the log, or part of it, is damaged or gone
 * - `out-of-service`: a transaction in quarantine that a source can bring back:
 *   no damage, and looked for only where there are sources
 * - `odd-row`: a row whose id is no text, as another program may leave it: no
 *   transaction, and left as it is
 */
export type FindingKind =
  | "payload-missing"
  | "payload-corrupt"
  | "size-mismatch"
  | "row-damaged"
  | "unfinished"
  | "orphan-payload"
  | "leftover-temp"
  | "unreadable"
  | "metadata-damaged"
  | "metadata-outdated"
  | "log-damaged"
  | "out-of-service"
  | "odd-row";

const NO_COUNTS: Readonly<Record<FindingKind, number>> = {
  "payload-missing": 0,
  "payload-corrupt": 0,
  "size-mismatch": 0,
  "row-damaged": 0,
  "unfinished": 0,
  "orphan-payload": 0,
  "leftover-temp": 0,
  "unreadable": 0,
  "metadata-damaged": 0,
  "metadata-outdated": 0,
  "log-damaged": 0,
  "out-of-service": 0,
  "odd-row": 0,
};

/** Every kind of finding. */
export const FINDING_KINDS = Object.keys(NO_COUNTS) as FindingKind[];

/** Action taken on a finding; in a dry run, the action that would be taken. */
export type FindingAction =
  | "none"
  | "healed"
  | "quarantined"
  | "purged"
  | "finished"
  | "dropped"
  | "removed"
  | "adopted"
  | "corrected"
  | "accepted"
  | "rebuilt";

/** One thing that is wrong. */
export interface Finding {
  /** Kind of the finding. */
  kind: FindingKind;
  /** The transaction, or null when it is not about one. */
  txId: string | null;
  /** Path of the file, relative to the base where it is below it; or null. */
  file: string | null;
  /** SHA-256 that the row promises, in hex, or null. */
  expected: string | null;
  /** SHA-256 of what is there, in hex, or null. */
  found: string | null;
  /** The same in words. */
  detail: string;
  /** Action taken; in a dry run, the action that would be taken. */
  action: FindingAction;
  /**
   * The source that has the payload: it healed it, or could, where the action
   * is `"none"`; null when none has it or none was asked.
   */
  source: string | null;
}

/** One step of a check, as far as it got. */
export interface ReportStep {
  /** `database`, `log`, `payloads`, `heal`, `files` or `leftovers`. */
  name: string;
  /** Things looked at. */
  count: number;
  /** Bytes read. */
  bytes: number;
  /** Time taken, in milliseconds. */
  ms: number;
}

/** Result of asking one source. */
export interface SourceReport {
  /** The source as it was named. */
  source: string;
  /** Payloads that it gave and that have the right digest. */
  healed: number;
  /** Times that it gave other bytes, or broke off in the middle of a payload. */
  wrong: number;
  /**
   * Why it could be asked no more, or which payload it could not read; null when
   * it answered to the end.
   */
  failure: string | null;
}

/** The whole outcome. */
export interface StoreReport {
  /** The payload directory. */
  base: string;
  /** The database file. */
  db: string;
  /** Which SQLite binding served; null when the database could not be opened. */
  driver: DriverInfo | null;
  /** True if repairs were only reported. */
  dryRun: boolean;
  /** Transactions found sound. */
  sound: number;
  /** Transactions looked at. */
  checked: number;
  /** Payload bytes read. */
  bytes: number;
  /** Counts by kind. */
  counts: Record<FindingKind, number>;
  /** The findings, the first {@linkcode MAX_FINDINGS} of them. */
  findings: Finding[];
  /** The steps taken. */
  steps: ReportStep[];
  /** True if there is damage: data that is lost, altered, or not a database. */
  damaged: boolean;
  /** Findings acted on. */
  repaired: number;
  /** Counts of actions by kind, including findings that are not listed. */
  actions: Partial<Record<FindingKind, Partial<Record<FindingAction, number>>>>;
  /** Transactions taken out of service, the first {@linkcode MAX_NAMED} ids. */
  takenOut: string[];
  /** Findings whose payload a source has, and that were not acted on. */
  healable: number;
  /** Results of the sources, in the order in which they were asked. */
  sources: SourceReport[];
  /**
   * Where a check in the order of ids stopped: the next one's `after`. Null at
   * the end, and of a check of all payloads, which has another order.
   */
  cursor: string | null;
  /** True if the check was stopped before its end. */
  interrupted: boolean;
}

/** More findings than these are counted, and told to `onFinding`, but not kept. */
export const MAX_FINDINGS = 1_000;

/** So many transactions that were taken out of service are named. */
export const MAX_NAMED = 10;

/** Kinds that are damage; the others are untidy or unknown. */
const DAMAGE: ReadonlySet<FindingKind> = new Set([
  "payload-missing",
  "payload-corrupt",
  "size-mismatch",
  "row-damaged",
  "metadata-damaged",
  "metadata-outdated",
  "log-damaged",
]);

/** Kinds of payload damage that stop a transaction from being served. */
const PAYLOAD: ReadonlySet<FindingKind> = new Set([
  "payload-missing",
  "payload-corrupt",
]);

/** Actions that take a transaction out of service. */
const TAKEN_OUT: ReadonlySet<FindingAction> = new Set([
  "quarantined",
  "purged",
]);

/** A report with nothing in it yet. */
export function emptyReport(
  base: string,
  db: string,
  driver: DriverInfo | null,
  dryRun: boolean,
): StoreReport {
  return {
    base,
    db,
    driver,
    dryRun,
    sound: 0,
    checked: 0,
    bytes: 0,
    counts: { ...NO_COUNTS },
    findings: [],
    steps: [],
    damaged: false,
    repaired: 0,
    actions: {},
    takenOut: [],
    healable: 0,
    sources: [],
    cursor: null,
    interrupted: false,
  };
}

/** A finding, without what it has nothing to say of. */
export type BriefFinding = Partial<Finding> & Pick<Finding, "kind" | "detail">;

/** Puts a finding into a report, and tells it. */
export function tellFinding(
  report: StoreReport,
  brief: BriefFinding,
  onFinding: (finding: Finding) => void = () => {},
): void {
  const finding: Finding = {
    txId: null,
    file: null,
    expected: null,
    found: null,
    action: "none",
    source: null,
    ...brief,
  };
  addFinding(report, finding);
  onFinding(finding);
}

/** Puts a finding into a report. */
export function addFinding(report: StoreReport, finding: Finding): void {
  const { kind, action, txId, source } = finding;
  countFindings(report, kind, action, 1);
  if (report.findings.length < MAX_FINDINGS) report.findings.push(finding);
  if (action === "none" && source !== null) report.healable++;
  const isOut = txId !== null && TAKEN_OUT.has(action) && PAYLOAD.has(kind);
  if (isOut && report.takenOut.length < MAX_NAMED) report.takenOut.push(txId);
}

/** Counts findings that are not kept, as {@linkcode addFinding} does. */
export function countFindings(
  report: StoreReport,
  kind: FindingKind,
  action: FindingAction,
  count: number,
): void {
  if (count === 0) return;
  report.counts[kind] += count;
  const actions = report.actions[kind] ??= {};
  actions[action] = (actions[action] ?? 0) + count;
  if (DAMAGE.has(kind)) report.damaged = true;
  if (action !== "none") report.repaired += count;
}

/** Counts findings, of these kinds or all, with one of these actions. */
export function countActions(
  { actions }: StoreReport,
  wanted: readonly FindingAction[],
  kinds: readonly FindingKind[] = FINDING_KINDS,
): number {
  let count = 0;
  for (const kind of kinds) {
    for (const action of wanted) count += actions[kind]?.[action] ?? 0;
  }
  return count;
}

/** Counts transactions that were taken out of service. */
export function countTakenOut(report: StoreReport): number {
  return countActions(report, [...TAKEN_OUT], [...PAYLOAD]);
}
