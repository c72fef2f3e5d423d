import { UsageError } from "../format/usage_error.ts";
import { type Challenge, parseChallenge } from "../proofs/challenge.ts";
import type { Checkpoint } from "../proofs/checkpoint.ts";
import { hashFromBase64, MAX_TEXT } from "../proofs/encoding.ts";
import type { StorageManager } from "../storage_manager.ts";
import type { Call } from "./call.ts";
import { Exit } from "./exit_codes.ts";
import { openInput, readBytes } from "./input.ts";
import { readCheckpoint } from "./read_checkpoint.ts";
import { readLogKey } from "./read_key.ts";
import { openStore } from "./store.ts";

type Prove = (
  store: StorageManager,
) => Promise<string> | AsyncIterable<Uint8Array>;

/** `poh-storage prove` */
export async function run(call: Call<"prove">): Promise<number> {
  const { options, output } = call;
  const prove = await proverOf(call);
  await using store = await openStore(call, "write");
  const made = prove(store);
  if (!(made instanceof Promise)) {
    for await (const piece of made) await output.printBytes(piece);
    return Exit.done;
  }
  const proof = await made;
  await output.print(options.json ? `${JSON.stringify({ proof })}\n` : proof);
  return Exit.done;
}

/** Returns the function that makes the proof, after reading its input. */
async function proverOf(call: Call<"prove">): Promise<Prove> {
  const { positionals: [what, txId], options } = call;
  const requireId = () => {
    if (txId !== undefined) return txId;
    throw new UsageError(`prove ${what} needs an id`);
  };
  const refuseId = () => {
    if (txId === undefined) return;
    throw new UsageError(`prove ${what} takes no id`);
  };
  const readKey = () =>
    readLogKey(`prove ${what}`, options["tlog-key"], options.base);
  switch (what) {
    case "inclusion": {
      const id = requireId();
      return (store) => store.tlog.proveInclusion(id);
    }
    case "consistency": {
      refuseId();
      const older = await olderFrom(call);
      return (store) => store.tlog.proveConsistency(older);
    }
    case "holding": {
      refuseId();
      if (options.json) {
        throw new UsageError("An answer is lines of JSON: leave out --json");
      }
      const challenge = await challengeFrom(call);
      const how = { ...await readKey(), signal: call.signal };
      return (store) => store.tlog.proveHolding(challenge, how);
    }
    case "possession": {
      const id = requireId();
      const nonce = nonceFrom(options.nonce);
      const { signers: [signer] } = await readKey();
      return (store) => store.tlog.provePossession(id, nonce, signer!);
    }
    default:
      throw new UsageError(
        "prove needs inclusion, consistency, holding or possession",
      );
  }
}

async function olderFrom(call: Call<"prove">): Promise<Checkpoint | number> {
  const { from } = call.options;
  if (from === undefined) {
    throw new UsageError("prove consistency needs --from");
  }
  if (/^[1-9][0-9]{0,15}$/.test(from)) return Number(from);
  return await readCheckpoint(call, from);
}

async function challengeFrom(call: Call<"prove">): Promise<Challenge> {
  const { challenge } = call.options;
  if (challenge === undefined) {
    throw new UsageError("prove holding needs --challenge");
  }
  using input = await openInput(call, challenge);
  const json = await readBytes(input, challenge, MAX_TEXT, call.signal);
  return parseChallenge(json);
}

function nonceFrom(nonce: string | undefined): Uint8Array {
  if (nonce !== undefined) return hashFromBase64(nonce, "nonce");
  throw new UsageError("prove possession needs --nonce, 32 bytes in base64");
}
