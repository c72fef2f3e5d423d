import { InvalidTxError, SaveTxsError } from "../errors.ts";
import { UsageError } from "../format/usage_error.ts";
import {
  countSave,
  noSaves,
  type SaveCounts,
  type SavedTx,
} from "../model/if_exists.ts";
import { fileName } from "../files/file_name.ts";
import type { StorageManager } from "../storage_manager.ts";
import { requireTxFields, txFromJson } from "../tx.ts";
import type { Tx, TxHead } from "../types.ts";
import { countText, numberText } from "../format/count_text.ts";
import type { Call } from "./call.ts";
import { CliError, Exit, exitCodeOf } from "./exit_codes.ts";
import { type Input, openInput } from "./input.ts";
import { type Line, linesOf } from "../format/lines.ts";
import { Progress } from "./progress.ts";
import { openStore, requireThere } from "./store.ts";

/** A longer line is never held whole. */
const LONG_LINE_BYTES = 8 * 1024 * 1024;

/** `poh-storage import` */
export async function run(call: Call<"import">): Promise<number> {
  using input = await openInput(call, call.positionals[0] ?? "-");
  using progress = new Progress(call.output, "import", "lines");
  const job = new Import(call, input, progress);
  await job.run();
  progress[Symbol.dispose]();
  const { counts, bad } = job;
  await call.output.print(
    call.options.json
      ? `${
        JSON.stringify({ ...counts, bad, interrupted: call.signal.aborted })
      }\n`
      : `${countsText(counts)}\n`,
  );
  return ending(call, job);
}

/** `1,557 txs: 1,500 new, 57 unchanged, 0 replaced` */
function countsText(counts: SaveCounts): string {
  const { txs, created, unchanged, replaced, kept } = counts;
  const kinds = [
    `${numberText(created)} new`,
    `${numberText(unchanged)} unchanged`,
    `${numberText(replaced)} replaced`,
    ...(kept > 0 ? [`${numberText(kept)} kept`] : []),
  ];
  return `${countText(txs, "tx")}: ${kinds.join(", ")}`;
}

function ending(
  call: Call<"import">,
  { failure, stop, bad }: Import,
): number {
  if (failure !== null) throw failure;
  if (stop !== null) {
    throw new UsageError(
      `${stop}; import stopped, what stands before it is saved`,
    );
  }
  if (call.signal.aborted) {
    throw new CliError(Exit.interrupted, "Interrupted", {
      hint: "run it again to go on",
    });
  }
  if (bad > 0) {
    throw new UsageError(
      `${bad} bad line${bad === 1 ? " was" : "s were"} skipped`,
    );
  }
  return Exit.done;
}

/** A transaction whose payload is still in the line. */
interface LongTx {
  head: TxHead;
  payload: AsyncIterable<Uint8Array>;
  number: number;
}

class Import {
  /** Outcomes so far. */
  readonly counts: SaveCounts = noSaves();
  /** Bad lines seen. */
  bad = 0;
  /** Why the import stopped before its end, or null. */
  stop: string | null = null;
  /** The error that stopped it, or null. */
  failure: CliError | null = null;
  #call: Call<"import">;
  #lines: AsyncGenerator<Line>;
  #items: AsyncGenerator<Tx | LongTx>;
  #progress: Progress;
  #number = 0;
  #bytes = 0;

  constructor(call: Call<"import">, input: Input, progress: Progress) {
    this.#call = call;
    this.#lines = linesOf(this.#counted(input), LONG_LINE_BYTES);
    this.#items = this.#parsed();
    this.#progress = progress;
  }

  async run(): Promise<void> {
    const { options } = this.#call;
    const access = options.create ? "create" : "write";
    await requireThere(options, access);
    let next = await this.#items.next();
    if (next.done) return; // no store is made for input that is bad from the start
    await using store = await openStore(this.#call, access);
    try {
      while (!next.done) next = await this.#save(store, next.value);
    } catch (error) {
      this.failure = error instanceof CliError
        ? error
        : failed(`near line ${this.#number}`, error);
    }
  }

  /** Saves one long transaction, or all up to the next long one. */
  async #save(
    store: StorageManager,
    first: Tx | LongTx,
  ): Promise<IteratorResult<Tx | LongTx>> {
    const ifExists = this.#call.options["if-exists"];
    if (isLong(first)) {
      const { head, payload, number } = first;
      try {
        const saved = await store.saveTxStream(head, payload, { ifExists });
        countSave(this.counts, saved);
      } catch (error) {
        if (!(error instanceof BadPayload)) {
          throw failed(placeOf(number, head.txId), error);
        }
        if (!this.#call.signal.aborted) this.#reject(number, error);
      }
      return await this.#items.next();
    }
    let next: IteratorResult<Tx | LongTx> = { done: false, value: first };
    let count = 0;
    /** The lines of what is on its way, by its place in this stretch. */
    const lines = new Map<number, number>();
    const stretch = async function* (this: Import) {
      while (!next.done && !isLong(next.value)) {
        lines.set(count++, this.#number);
        yield next.value;
        next = await this.#items.next();
      }
    };
    const onSaved = (saved: SavedTx, index: number) => {
      countSave(this.counts, saved);
      lines.delete(index);
    };
    try {
      await store.saveTxs(stretch.call(this), { ifExists, onSaved });
    } catch (error) {
      if (!(error instanceof SaveTxsError)) throw error;
      const { index, txId, cause } = error;
      throw failed(placeOf(lines.get(index)!, txId!), cause);
    }
    return next;
  }

  /** The input; how much of it has been read is how far the import has got. */
  async *#counted(input: Input): AsyncGenerator<Uint8Array> {
    for await (const chunk of input) {
      yield chunk;
      this.#bytes += chunk.length;
      this.#progress.update({
        done: this.#number,
        bytes: this.#bytes,
        totalBytes: input.size,
      });
    }
  }

  async *#parsed(): AsyncGenerator<Tx | LongTx> {
    for await (const line of this.#lines) {
      // The last line may be cut where the input was.
      if (this.#call.signal.aborted || this.stop !== null) return;
      this.#number = line.number;
      try {
        const item = line.rest ? longTx(line) : shortTx(line.bytes);
        if (item !== null) yield item;
      } catch (error) {
        if (
          !(error instanceof UsageError || error instanceof InvalidTxError)
        ) throw error;
        this.#reject(line.number, error);
      }
      if (this.stop !== null) return;
    }
  }

  #reject(number: number, { message }: Error): void {
    this.bad++;
    const reason = `line ${number}: ${message}`;
    if (this.#call.options["skip-bad"]) this.#call.output.error(reason);
    else this.stop = reason;
  }
}

function placeOf(line: number, txId: string): string {
  return `at line ${line} (tx ${JSON.stringify(txId)})`;
}

function failed(where: string, cause: unknown): CliError {
  return new CliError(
    exitCodeOf(cause),
    `Import failed ${where}, what was saved stays: ${
      cause instanceof Error ? cause.message : cause
    }`,
    { cause },
  );
}

function isLong(item: Tx | LongTx): item is LongTx {
  return "head" in item;
}

/** For whole lines: it keeps nothing from one to the next. */
const lineDecoder = new TextDecoder("utf-8", { fatal: true });

/** The transaction of a line; null when the line is blank. */
function shortTx(bytes: Uint8Array): Tx | null {
  const text = decode(lineDecoder, bytes);
  if (text.trim() === "") return null;
  const tx = txFromJson(parseJson(text));
  fileName(tx.txId); // refuses an id that no file can be named after
  return tx;
}

/** Characters of a long line within which the payload must begin. */
const LONGEST_HEAD = 1024 * 1024;

/** Up to the last field's value, and that field: the line goes on within it. */
const BEFORE_LAST =
  /^\s*\{(?:\s*"(?!payload")[^"\\]*"\s*:\s*(?:"[^"\\]*(?:\\.[^"\\]*)*"|[^"\s,{}[\]]+)\s*,)*\s*"([^"\\]*)"\s*:\s*/;

function longTx({ number, bytes, rest }: Line): LongTx {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const text = decode(decoder, bytes, true);
  const beginning = text.slice(0, LONGEST_HEAD);
  const [before = "", last] = BEFORE_LAST.exec(beginning) ?? [];
  const fields = before === "" ? {} : parseJson(`${before}""}`) as object;
  requireTxFields(fields);
  const isHead = ["tx_id", "holder_id", "timestamp"]
    .every((name) => Object.hasOwn(fields, name));
  if (!isHead || last !== "payload" || text[before.length] !== '"') {
    throw new UsageError(
      `longer than ${LONG_LINE_BYTES} bytes: payload must be its last field, and begin within ${LONGEST_HEAD} characters`,
    );
  }
  const head = txFromJson(fields);
  fileName(head.txId);
  const payload = payloadOf(text.slice(before.length + 1), rest!);
  return { head, payload, number };
}

/** A payload in the line that proves to be bad when it has been read so far. */
class BadPayload extends UsageError {}

/** Decodes base64 in pieces up to its closing quote and the end of the line. */
async function* payloadOf(
  start: string,
  rest: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const decoder = new TextDecoder("latin1"); // base64 is ASCII
  let carry = start, tail = null as string | null;
  const take = (last: boolean): Uint8Array | null => {
    const end = carry.indexOf('"');
    // The last four characters may be padded, and so cannot be decoded alone.
    const ready = end >= 0
      ? end
      : last
      ? 0
      : carry.length - carry.length % 4 - 4;
    if (end >= 0) tail = carry.slice(end + 1);
    if (ready <= 0) return null;
    const piece = carry.slice(0, ready);
    if (end < 0 && piece.includes("=")) throw notBase64();
    carry = carry.slice(ready);
    try {
      return Uint8Array.fromBase64(piece, { lastChunkHandling: "strict" });
    } catch {
      throw notBase64();
    }
  };
  const first = take(false);
  if (first) yield first;
  for await (const bytes of rest) {
    const text = decoder.decode(bytes);
    if (tail !== null) {
      tail += text;
      continue;
    }
    carry += text;
    const piece = take(false);
    if (piece) yield piece;
  }
  if (tail === null || !/^\s*\}\s*$/.test(tail)) {
    throw new BadPayload("not JSON: it does not end after the payload");
  }
}

function notBase64(): BadPayload {
  return new BadPayload("payload must be standard base64 with padding");
}

function decode(
  decoder: TextDecoder,
  bytes: Uint8Array,
  stream = false,
): string {
  try {
    return decoder.decode(bytes, { stream });
  } catch {
    throw new UsageError("not UTF-8 text");
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UsageError(`not JSON: ${(error as Error).message}`);
  }
}
