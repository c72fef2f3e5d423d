import { MAX_TEXT } from "../proofs/encoding.ts";
import { formatChallenge } from "../proofs/challenge.ts";
import { openCheckpoint } from "../proofs/policy.ts";
import { UsageError } from "../format/usage_error.ts";
import type { Call } from "./call.ts";
import { Exit } from "./exit_codes.ts";
import { openInput, readBytes } from "./input.ts";
import { readPolicy } from "./read_key.ts";

/** `poh-storage challenge` */
export async function run(call: Call<"challenge">): Promise<number> {
  const { positionals: [name], options, output } = call;
  if (name === undefined) throw new UsageError("challenge needs a checkpoint");
  const policy = await readPolicy("challenge", call, options);
  using input = await openInput(call, name);
  const note = await readBytes(input, name, MAX_TEXT, call.signal);
  const { origin, size, root } = await openCheckpoint(note, policy);
  const { entries, chunks } = options;
  // The checkpoint is at hand: the nonce cannot have been foreseen.
  const nonce = crypto.getRandomValues(new Uint8Array(32));
  const challenge = { origin, size, root, nonce, entries, chunks };
  await output.print(`${formatChallenge(challenge)}\n`);
  return Exit.done;
}
