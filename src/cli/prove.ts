import { UsageError } from "../format/usage_error.ts";
import { type Checkpoint, parseCheckpoint } from "../proofs/checkpoint.ts";
import { MAX_TEXT, textOf } from "../proofs/encoding.ts";
import { parseNote } from "../proofs/note.ts";
import type { StoreLog } from "../model/tlog.ts";
import type { Call } from "./call.ts";
import { Exit } from "./exit_codes.ts";
import { openInput, readBytes } from "./input.ts";
import { openStore } from "./store.ts";

/** `poh-storage prove` */
export async function run(call: Call<"prove">): Promise<number> {
  const { positionals: [what, txId], options, output } = call;
  const older = what === "consistency" ? await olderFrom(call) : null;
  if (what === "consistency" && txId !== undefined) {
    throw new UsageError("prove consistency takes no id");
  }
  await using store = await openStore(call, "write");
  const proof = await prove(store.tlog, what, txId, older);
  await output.print(options.json ? `${JSON.stringify({ proof })}\n` : proof);
  return Exit.done;
}

async function prove(
  tlog: StoreLog,
  what: string | undefined,
  txId: string | undefined,
  older: Checkpoint | number | null,
): Promise<string> {
  if (older !== null) return await tlog.proveConsistency(older);
  if (what !== "inclusion") {
    throw new UsageError("prove needs inclusion or consistency");
  }
  if (txId === undefined) throw new UsageError("prove inclusion needs an id");
  return await tlog.proveInclusion(txId);
}

async function olderFrom(call: Call<"prove">): Promise<Checkpoint | number> {
  const { from } = call.options;
  if (from === undefined) {
    throw new UsageError("prove consistency needs --from");
  }
  if (/^[1-9][0-9]{0,15}$/.test(from)) return Number(from);
  using input = await openInput(call, from);
  const bytes = await readBytes(input, from, MAX_TEXT, call.signal);
  return parseCheckpoint(parseNote(textOf(bytes, "note")).text);
}
