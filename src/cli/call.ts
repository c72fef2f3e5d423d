/**
 * The context of one run of a command.
 *
 * @module
 */

import type { CommandArgs } from "./args.ts";
import type { Output } from "./output.ts";
import type { CommandName } from "./table.ts";

/** One run of a command. */
export interface Call<N extends CommandName> extends CommandArgs<N> {
  /** Receives results, notices and errors. */
  output: Output;
  /** Opens stdin; only commands that read it do. */
  stdin: () => ReadableStream<Uint8Array>;
  /** Aborted when the command should finish what it has begun and stop. */
  signal: AbortSignal;
}
