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
  readonly #all: {
    source: HealSource;
    report: SourceReport;
    /** Whether it is asked no more. */
    isOver: boolean;
  }[];
  /** Ids whose payloads a source may have, by the last search. */
  readonly #unread = new Set<string>();

  /** These, to be asked in this order. They are closed with this. */
  constructor(sources: HealSource[]) {
    this.#all = sources.map((source) => ({
      source,
      report: { source: source.name, healed: 0, wrong: 0, failure: null },
      isOver: false,
    }));
  }

  /**
   * Whether a source may have a payload that nobody gave in the last search, so
   * that it must not be given up: one failed, or could not read it.
   */
  mayHave(txId: string): boolean {
    return this.#unread.has(txId) || this.#all.some(({ isOver }) => isOver);
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
    const unread: { txId: string; report: SourceReport }[] = [];
    for (const one of this.#all) {
      const { source, report } = one;
      if (one.isOver || signal.aborted) continue;
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
      const onUnread = ({ txId }: TxInfo) => {
        if (!signal.aborted) unread.push({ txId, report });
      };
      try {
        await source.search(missing, tryTake, signal, onUnread);
      } catch (error) {
        // Of the store: what it cannot write, no other source can give it.
        if (failure) throw (failure as { error: unknown }).error;
        if (error instanceof Deno.errors.NotCapable) throw error;
        if (signal.aborted) continue;
        report.failure = (error as Error).message;
        one.isOver = true;
      }
    }
    this.#tellUnread(unread.filter(({ txId }) => !found.has(txId)));
    return found;
  }

  #tellUnread(unread: { txId: string; report: SourceReport }[]): void {
    this.#unread.clear();
    for (const { txId, report } of unread) {
      this.#unread.add(txId);
      report.failure ??= `it could not read the payload of ${
        JSON.stringify(txId)
      }`;
    }
  }

  /** Closes them all. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const { source } of this.#all) await source[Symbol.asyncDispose]();
  }
}
