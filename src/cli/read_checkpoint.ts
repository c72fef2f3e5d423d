/**
 * A checkpoint that a command is given.
 *
 * @module
 */

import { type Checkpoint, parseCheckpoint } from "../proofs/checkpoint.ts";
import { MAX_TEXT, textOf } from "../proofs/encoding.ts";
import { parseNote } from "../proofs/note.ts";
import type { Call } from "./call.ts";
import { openInput, readBytes } from "./input.ts";
import type { CommandName } from "./table.ts";

/** Reads a checkpoint from a file; its signatures are not checked. */
export async function readCheckpoint(
  call: Pick<Call<CommandName>, "stdin" | "signal">,
  name: string,
): Promise<Checkpoint> {
  using input = await openInput(call, name);
  const bytes = await readBytes(input, name, MAX_TEXT, call.signal);
  return parseCheckpoint(parseNote(textOf(bytes, "note")).text);
}
