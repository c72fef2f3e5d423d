/**
 * The part of a check that heals, for stores of every kind: damage is gathered,
 * sources are asked for much of it at once, and only what none of them has is
 * given up.
 *
 * @module
 */

import { type CheckOptions, isLimited, type RecoverOptions } from "./check.ts";
import type { Step } from "./check.ts";
import type { QuarantineNote } from "../payloads/quarantine.ts";
import {
  type BriefFinding,
  type StoreReport,
  tellFinding,
} from "../model/report.ts";
import type { TxInfo } from "../types.ts";
import type { Sources } from "./sources.ts";

/**
 * Damaged payloads that sources are asked for at once: an archive is read from
 * beginning to end each time, and so many rows take some MiB.
 */
export const HEAL_PAGE = 8_192;

/** A payload that is missing or damaged. */
export interface Damage {
  /** The row that promises it. */
  info: TxInfo;
  /** How it is told, but for what becomes of it. */
  finding: BriefFinding & { kind: "payload-missing" | "payload-corrupt" };
}

/** A transaction in quarantine. */
export interface Case {
  /** Names the case. */
  name: string;
  /** What its note says. */
  note: QuarantineNote;
  /** The row as it was. */
  row: TxInfo;
}

/** What a kind of store does about damage. */
export interface Healer<D extends Damage> {
  /** Looks for payloads and, unless it is a dry run, puts them in their place. */
  heal(
    damage: D[],
    onFound: (info: TxInfo) => void,
  ): Promise<Map<string, string>>;
  /** Takes a transaction out of service, where that is asked for, and tells it. */
  giveUp(damage: D): Promise<void>;
  /** The transactions in quarantine that have a row there and none in the store. */
  cases(): AsyncIterable<Case>;
  /** Looks for their payloads and, unless it is a dry run, makes them again. */
  healCases(
    cases: Case[],
    onFound: (info: TxInfo) => void,
  ): Promise<Map<string, string>>;
  /** Tells that a transaction is sound now. */
  onSound(txId: string): void;
}

/** The newest case of each of some ids. */
class Newest {
  readonly #cases = new Map<string, Case>();

  /** How many there are. */
  get size(): number {
    return this.#cases.size;
  }

  /** Takes a case in, unless there is a newer one. */
  add(one: Case): void {
    if (!this.#cases.has(one.row.txId)) this.#cases.set(one.row.txId, one);
    else this.replace(one);
  }

  /** The same, where there is one of its id. */
  replace(one: Case): void {
    const known = this.#cases.get(one.row.txId);
    if (known && known.note.at < one.note.at) {
      this.#cases.set(one.row.txId, one);
    }
  }

  /** All of them. */
  all(): Case[] {
    return [...this.#cases.values()];
  }
}

/** One check's healing. */
export class Healing<D extends Damage> {
  readonly #sources: Sources;
  readonly #report: StoreReport;
  readonly #options: CheckOptions;
  /** What to do about damage; null: only tell what could be done. */
  readonly #repair: RecoverOptions | null;
  readonly #healer: Healer<D>;
  readonly #began = new Date().toISOString();
  #pending: D[] = [];
  /** One page at a time. */
  #asking: Promise<void> = Promise.resolve();
  /** Payloads that sources had so far. */
  #found = { count: 0, bytes: 0 };

  constructor(
    sources: Sources,
    report: StoreReport,
    options: CheckOptions,
    repair: RecoverOptions | null,
    healer: Healer<D>,
  ) {
    this.#sources = sources;
    this.#report = report;
    this.#options = options;
    this.#repair = repair;
    this.#healer = healer;
  }

  /** Takes damage in, and asks the sources once there is much of it. */
  async add(damage: D): Promise<void> {
    if (this.#pending.push(damage) < HEAL_PAGE) return;
    const page = this.#pending.splice(0);
    await (this.#asking = this.#asking.then(() => this.#heal(page)));
  }

  /** Asks for the damage that is left, then for what is out of service. */
  async run(step: Step): Promise<void> {
    step.add(this.#found.count, this.#found.bytes);
    await this.#heal(this.#pending.splice(0), step);
    if (isLimited(this.#options)) return;
    let page = new Newest(), isOnlyPage = true;
    for await (const one of this.#healer.cases()) {
      if (this.#isInterrupted()) return;
      page.add(one);
      if (page.size < HEAL_PAGE) continue;
      isOnlyPage = false;
      await this.#healNewest(page, isOnlyPage, step);
      page = new Newest();
    }
    await this.#healNewest(page, isOnlyPage, step);
  }

  /** Of each id only what was in service last: an older one does not come back. */
  async #healNewest(page: Newest, isOnlyPage: boolean, step: Step) {
    if (!isOnlyPage) {
      for await (const one of this.#healer.cases()) page.replace(one);
    }
    // What this run has put there, the sources were asked for already.
    const cases = page.all().filter(({ note }) => note.at < this.#began);
    if (!this.#isInterrupted()) await this.#healCases(cases, step);
  }

  /** Tells the damage that the sources were not asked for, and what they came to. */
  end(): void {
    for (const damage of this.#pending.splice(0)) this.#leave(damage);
    this.#sources.tell(this.#report);
  }

  async #heal(page: D[], step?: Step): Promise<void> {
    const found = await this.#healer.heal(
      page,
      (info) => this.#onFound(info, step),
    );
    const isInterrupted = this.#isInterrupted();
    for (const damage of page) {
      const { finding, info: { txId } } = damage;
      const source = found.get(txId);
      if (source !== undefined) this.#tellFound(finding, txId, source);
      else if (isInterrupted || this.#sources.mayHave(txId)) {
        this.#leave(damage);
      } else await this.#healer.giveUp(damage);
    }
  }

  async #healCases(page: Case[], step: Step): Promise<void> {
    const found = await this.#healer.healCases(
      page,
      (info) => this.#onFound(info, step),
    );
    for (const { note, row: { txId, storageHash } } of page) {
      const source = found.get(txId);
      if (source === undefined) continue;
      const finding = {
        kind: "out-of-service" as const,
        txId,
        expected: storageHash,
        found: note.found,
        detail: `it is in quarantine as ${note.reason}`,
      };
      this.#tellFound(finding, txId, source);
    }
  }

  #tellFound(finding: BriefFinding, txId: string, source: string): void {
    const action = this.#repair ? "healed" : "none";
    this.#tell({ ...finding, source, action });
    if (this.#repair) this.#healer.onSound(txId);
  }

  /** A source that could not be asked, or did not answer, may have the payload. */
  #leave({ finding }: D): void {
    const detail = this.#repair
      ? `${finding.detail}; left as it is, as not every source could be asked`
      : finding.detail;
    this.#tell({ ...finding, detail });
  }

  #onFound({ size }: TxInfo, step?: Step): void {
    const bytes = Math.max(0, size);
    this.#found.count++;
    this.#found.bytes += bytes;
    step?.add(1, bytes);
  }

  #isInterrupted(): boolean {
    if (this.#options.signal?.aborted) this.#report.interrupted = true;
    return this.#report.interrupted;
  }

  #tell(finding: BriefFinding): void {
    tellFinding(this.#report, finding, this.#options.onFinding);
  }
}
