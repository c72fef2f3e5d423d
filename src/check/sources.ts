/**
 * The sources of one run of `verify` or `recover`, asked one after the other for
 * what is damaged.
 *
 * @module
 */

import type { SourceReport, StoreReport } from "../model/report.ts";
import type { TxInfo } from "../types.ts";
import type { HealSource, Take } from "./source.ts";

/** Sources, and what became of them. */
export class Sources implements AsyncDisposable {
  readonly #all: { source: HealSource; report: SourceReport }[];

  /** These, to be asked in this order. They are closed with this. */
  constructor(sources: HealSource[]) {
    this.#all = sources.map((source) => ({
      source,
      report: { source: source.name, healed: 0, wrong: 0, failure: null },
    }));
  }

  /**
   * Whether a source failed. What nobody had may be there, so it must not be
   * given up.
   */
  get hasFailed(): boolean {
    return this.#all.some(({ report }) => report.failure !== null);
  }

  /** Puts into a report what the sources came to. */
  tell(report: StoreReport): void {
    report.sources = this.#all.map(({ report }) => report);
  }

  /** The row that the first source has for a payload; null where none has. */
  rowFor(txId: string, storageHash: string): TxInfo | null {
    for (const { source } of this.#all) {
      const row = source.rowFor?.(txId, storageHash) ?? null;
      if (row) return row;
    }
    return null;
  }

  /**
   * Looks for the payloads of these rows, of different ids, in one source after
   * the other.
   *
   * @param take See {@linkcode Take}; what it throws ends the search and is
   * thrown.
   * @param onFound Told of every payload that was found.
   * @returns The sources that had the payloads, by the ids of the transactions.
   */
  async find(
    wanted: readonly TxInfo[],
    take: Take,
    signal: AbortSignal = new AbortController().signal,
    onFound: (info: TxInfo) => void = () => {},
  ): Promise<Map<string, string>> {
    const found = new Map<string, string>();
    for (const { source, report } of this.#all) {
      if (report.failure !== null || signal.aborted) continue;
      const missing = wanted.filter(({ txId }) => !found.has(txId));
      if (missing.length === 0) break;
      let failure: { error: unknown } | null = null;
      const tryTake: Take = async (info, bytes) => {
        try {
          if (!await take(info, bytes)) {
            report.wrong++;
            return false;
          }
        } catch (error) {
          failure ??= { error };
          throw error;
        }
        report.healed++;
        found.set(info.txId, source.name);
        onFound(info);
        return true;
      };
      try {
        await source.search(missing, tryTake, signal);
      } catch (error) {
        // Of the store: what it cannot write, no other source can give it.
        if (failure) throw (failure as { error: unknown }).error;
        if (error instanceof Deno.errors.NotCapable) throw error;
        if (!signal.aborted) report.failure = (error as Error).message;
      }
    }
    return found;
  }

  /** Closes them all. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const { source } of this.#all) await source[Symbol.asyncDispose]();
  }
}
