import {
  IntegrityError,
  InvalidTxError,
  PayloadUnreadableError,
} from "../errors.ts";
import { fileName } from "../files/file_name.ts";
import type { StorageManager } from "../storage_manager.ts";
import { validateTxHead } from "../tx.ts";
import type { Tx, TxInfo } from "../types.ts";
import { countText } from "../format/count_text.ts";
import type { Call } from "./call.ts";
import { CliError, Exit } from "./exit_codes.ts";
import { filterOf } from "../format/filter_values.ts";
import { endingOf } from "./left_out.ts";
import { printTx, SMALL_BYTES } from "./print_tx.ts";
import { Progress } from "./progress.ts";
import { openStore } from "./store.ts";
import { txLine } from "../format/tx_json.ts";

/** Loads in flight, and the bytes that they may hold. */
const LOADS_IN_FLIGHT = 64;
const BYTES_IN_FLIGHT = 32 * 1024 * 1024;

/** `poh-storage export` */
export async function run(call: Call<"export">): Promise<number> {
  await using store = await openStore(call, "read");
  const job = new Export(call, store);
  await job.run();
  call.output.notice(`Exported ${countText(job.exported, "tx")}`);
  return endingOf(job, interruptionOf(call, job));
}

/** Where the export was interrupted; null if it was not. */
function interruptionOf(
  { signal }: Call<"export">,
  { last, ended }: Export,
): string | null {
  if (!signal.aborted || ended) return null;
  return `Interrupted${last === null ? "" : ` after ${JSON.stringify(last)}`}`;
}

/** A transaction on its way out; a large one is loaded when it is its turn. */
interface Loading {
  info: TxInfo;
  bytes: number;
  tx: Promise<Tx | null> | null;
}

class Export {
  /** Transactions printed. */
  exported = 0;
  /** Damaged ones, not printed. */
  damaged = 0;
  /** Ones that the system would not give, not printed. */
  unreadable = 0;
  /** Rows that no store may save, not printed. */
  odd = 0;
  /** The id that was reached. */
  last: string | null = null;
  /** True if nothing follows it. */
  ended = false;
  #call: Call<"export">;
  #store: StorageManager;
  #bytes = 0;
  #total: number | null = null;

  constructor(call: Call<"export">, store: StorageManager) {
    this.#call = call;
    this.#store = store;
  }

  async run(): Promise<void> {
    const filter = filterOf(this.#call.options);
    using progress = new Progress(this.#call.output, "export");
    if (progress.isShown) this.#total = await this.#store.countTxs(filter);
    const ahead: Loading[] = [];
    let held = 0;
    try {
      for await (const info of this.#store.iterateTxs(filter)) {
        if (this.#call.signal.aborted) break;
        const next = this.#load(info);
        ahead.push(next);
        held += next.bytes;
        while (ahead.length >= LOADS_IN_FLIGHT || held > BYTES_IN_FLIGHT) {
          const first = ahead.shift()!;
          held -= first.bytes;
          await this.#print(first, progress);
        }
      }
      this.ended = !this.#call.signal.aborted;
      for (let first; (first = ahead.shift());) {
        await this.#print(first, progress);
      }
      if (this.ended && filter.limit === undefined) await this.#tellOdd();
    } finally {
      await Promise.allSettled(ahead.map(({ tx }) => tx));
    }
  }

  /** Rows that were in no list, or in it as something else. */
  async #tellOdd(): Promise<void> {
    for (const { id, reason } of await this.#store.oddRows()) {
      this.odd++;
      this.#call.output.error(`Row ${id}: ${reason}`);
    }
  }

  #load(info: TxInfo): Loading {
    // A row that another program wrote may be invalid here.
    try {
      validateTxHead(info);
      fileName(info.txId);
    } catch (error) {
      const tx = Promise.reject(error);
      tx.catch(() => {}); // it is awaited when it is its turn
      return { info, bytes: 0, tx };
    }
    // Rows of the Python package have no size: treat them as large.
    if (info.size < 0 || info.size > SMALL_BYTES) {
      return { info, bytes: 0, tx: null };
    }
    const tx = this.#store.loadTx(info.txId);
    tx.catch(() => {}); // it is awaited when it is its turn
    return { info, bytes: info.size, tx };
  }

  async #print({ info, tx }: Loading, progress: Progress): Promise<void> {
    const { output } = this.#call;
    try {
      if (tx === null) {
        if (!await this.#printLarge(info)) return;
      } else {
        const loaded = await tx;
        if (loaded === null) return; // deleted meanwhile
        await output.print(txLine(loaded));
        this.#bytes += loaded.payload.length;
      }
      this.exported++;
    } catch (error) {
      if (error instanceof IntegrityError) this.damaged++;
      else if (error instanceof PayloadUnreadableError) this.unreadable++;
      else if (error instanceof InvalidTxError) this.odd++;
      else throw error;
      output.error(
        error instanceof InvalidTxError
          ? `Cannot export tx ${JSON.stringify(info.txId)}: ${error.message}`
          : error.message,
      );
    } finally {
      this.last = info.txId;
    }
    progress.update({
      done: this.exported,
      total: this.#total,
      bytes: this.#bytes,
    });
  }

  /** False when it was deleted meanwhile. */
  async #printLarge({ txId }: TxInfo): Promise<boolean> {
    // Read twice: a line that has begun cannot be taken back.
    const first = await this.#store.loadTxStream(txId);
    if (first === null) return false;
    for await (const _ of first.payload);
    const second = await this.#store.loadTxStream(txId);
    if (second === null) return false;
    try {
      await printTx(this.#call.output, second.info, second.payload);
    } catch (error) {
      if (!(error instanceof IntegrityError)) throw error;
      throw new CliError(
        Exit.damage,
        `The last line is cut: ${error.message}`,
        { cause: error },
      );
    }
    return true;
  }
}
