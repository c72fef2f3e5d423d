/**
 * What the steps of one check of a store on this machine share.
 *
 * @module
 */

import { relative } from "@std/path";
import {
  isLimited,
  type RecoverOptions,
  type VerifyOptions,
} from "../check/check.ts";
import { Pacer } from "../async/turn.ts";
import {
  type BriefFinding,
  emptyReport,
  type StoreReport,
  tellFinding,
} from "../model/report.ts";
import { Census } from "./census.ts";
import { EarlyLook } from "./early_look.ts";
import { type OpenStore, requireInPlace } from "./open_store.ts";

/** One check, of which every step knows what to do about findings. */
export class CheckRun {
  /** The store that is checked. */
  readonly store: OpenStore;
  /** Which part of it, and who is told. */
  readonly options: VerifyOptions;
  /** What to do about findings; null: only tell them. */
  readonly repair: RecoverOptions | null;
  /** What was found so far. */
  readonly report: StoreReport;
  /** Lets others have the thread now and then. */
  readonly pacer = new Pacer();
  /** The look at payloads that begins before their step. */
  readonly look: EarlyLook;
  /** Whether every payload file has its row, without a look at each. */
  readonly census: Census;

  /** A check that has done nothing yet. */
  constructor(
    store: OpenStore,
    options: VerifyOptions,
    repair: RecoverOptions | null,
  ) {
    this.store = store;
    this.options = options;
    this.repair = repair;
    this.report = emptyReport(
      store.files.basePath,
      store.rows.path,
      store.rows.driver,
      repair?.dryRun ?? false,
    );
    this.look = new EarlyLook(store, this.pacer, options.signal);
    this.census = new Census(store);
  }

  /**
   * Whether repairs are carried out, not only told. Asked before each: what was
   * found in the place of a store that was moved is no damage.
   *
   * @throws {StoreMovedError} If the store was moved meanwhile.
   */
  mayAct(): boolean {
    if (this.repair === null || this.repair.dryRun) return false;
    requireInPlace(this.store);
    return true;
  }

  /** Whether this check is of all payloads, in whatever order. */
  isOfAllPayloads(): boolean {
    return !isLimited(this.options) && !this.options.onSound &&
      !this.repair?.skipPayloads;
  }

  /** Whether an outdated database is taken as it is: what it has lost is known. */
  get accepts(): boolean {
    return this.repair !== null && !this.repair.skipPayloads;
  }

  /** Whether it was told to stop. */
  isInterrupted(): boolean {
    return this.report.interrupted ||= this.options.signal?.aborted === true;
  }

  /** The database's file, as findings name it. */
  get dbFile(): string {
    return relative(this.report.base, this.report.db);
  }

  /** Tells a finding. */
  tell(finding: BriefFinding): void {
    tellFinding(this.report, finding, this.options.onFinding);
  }

  /** Tells what is wrong with the database. */
  tellMetadataDamage(detail: string): void {
    const { rebuild, dryRun } = this.repair ?? {};
    const action = rebuild && dryRun ? "rebuilt" : "none";
    this.tell({ kind: "metadata-damaged", file: this.dbFile, detail, action });
  }

  /** Counts a transaction that is sound, or was put right. */
  countSound(txId: string): void {
    this.report.sound++;
    this.options.onSound?.(txId);
  }
}
