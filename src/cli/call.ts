/**
 * What a command is called with.
 *
 * @module
 */

import type { CommandArgs } from "./args.ts";
import type { Output } from "./output.ts";
import type { CommandName } from "./table.ts";

/** One run of a command. */
export interface Call<N extends CommandName> extends CommandArgs<N> {
  /** Where results, notices and errors go. */
  output: Output;
  /** Opens stdin; only commands that read it do. */
  stdin: () => ReadableStream<Uint8Array>;
  /** Aborted when the command should finish what it has begun and stop. */
  signal: AbortSignal;
}
