import { UsageError } from "../format/usage_error.ts";
import { parseChallenge } from "../proofs/challenge.ts";
import { fromBase64, MAX_TEXT, toBase64 } from "../proofs/encoding.ts";
import { checkHolding } from "../proofs/holding.ts";
import { parseNote } from "../proofs/note.ts";
import {
  openCheckpoint,
  type Policy,
  type SignedCheckpoint,
} from "../proofs/policy.ts";
import { checkPossession, parsePossession } from "../proofs/possession.ts";
import { ProofError } from "../proofs/proof_error.ts";
import {
  checkConsistency,
  checkInclusion,
  type ProofKind,
  proofKind,
} from "../proofs/proof_files.ts";
import { printable } from "../text/printable.ts";
import type { Call } from "./call.ts";
import { Exit, exitCodeOf } from "./exit_codes.ts";
import { type Input, openInput, readBytes } from "./input.ts";
import {
  checkpointJson,
  holdingJson,
  holdingWords,
  logOf,
} from "./proof_words.ts";
import { readPolicy } from "./read_key.ts";

/** The result of checking a proof. */
interface Checked {
  /** The proven statement, in words. */
  words: string;
  /** The same for programs. */
  facts: Record<string, unknown>;
  /** True if all of it was proven; a node may admit that it lacks something. */
  isWhole?: boolean;
}

/** `poh-storage check` */
export async function run(call: Call<"check">): Promise<number> {
  const { positionals, output, options } = call;
  if (positionals.length === 0) throw new UsageError("check needs a proof");
  const policy = await readPolicy("check", call, call.options);
  const codes = new Set<number>();
  for (const name of positionals) {
    try {
      using input = await openInput(call, name);
      const { kind, checked } = await check(call, name, input, policy);
      const { words, facts, isWhole = true } = checked;
      codes.add(isWhole ? Exit.done : Exit.damage);
      await output.print(
        options.json
          ? json({ file: name, proof: kind, ok: isWhole, ...facts })
          : `${kind} ${isWhole ? "ok" : "FAILED"}: ${printable(words)}\n`,
      );
    } catch (error) {
      if (!(error instanceof ProofError)) throw error;
      codes.add(exitCodeOf(error));
      const { code, at, message } = error;
      if (options.json) {
        await output.print(json({ file: name, ok: false, code, at, message }));
      } else output.error(printable(`${name}: ${message} (${code} at ${at})`));
    }
  }
  const worst = [Exit.damage, Exit.usage, Exit.failed].find((code) =>
    codes.has(code)
  );
  return worst ?? Exit.done;
}

function json(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}

async function fileOf(
  call: Call<"check">,
  name: string,
  what: string,
  limit = MAX_TEXT,
): Promise<Uint8Array> {
  using input = await openInput(call, name);
  return await readBytes(input, what, limit, call.signal);
}

async function check(
  call: Call<"check">,
  name: string,
  input: Input,
  policy: Policy,
): Promise<{ kind: ProofKind; checked: Checked }> {
  const { first, pieces } = await peek(input);
  const beginning = new TextDecoder().decode(first.subarray(0, MAX_TEXT));
  const kind = proofKind(beginning);
  if (kind === null) {
    throw new ProofError(
      "TLOG_FORMAT",
      "proof",
      `By its first line ${name} is no proof that is known here`,
    );
  }
  if (kind === "holding") {
    return { kind, checked: await holding(call, pieces, policy) };
  }
  const file = await readBytes(pieces, name, MAX_TEXT, call.signal);
  switch (kind) {
    case "inclusion":
      return { kind, checked: await inclusion(call, file, policy) };
    case "consistency":
      return { kind, checked: await consistency(call, file, policy) };
    case "possession":
      return { kind, checked: await possession(call, file, policy) };
    case "checkpoint":
      return {
        kind,
        checked: checkpointed(await openCheckpoint(file, policy)),
      };
  }
}

/** The first piece of an input, and all of them. */
async function peek(input: Input) {
  const rest = input[Symbol.asyncIterator]();
  const { value: first = new Uint8Array() } = await rest.next();
  const pieces = (async function* () {
    yield first;
    for (;;) {
      const next = await rest.next();
      if (next.done) return;
      yield next.value;
    }
  })();
  return { first, pieces };
}

function checkpointed(checkpoint: SignedCheckpoint): Checked {
  const { size, root } = checkpoint;
  return {
    words: `${size} entries with root ${toBase64(root)} in ${
      logOf(checkpoint)
    }`,
    facts: checkpointJson(checkpoint),
  };
}

async function inclusion(
  call: Call<"check">,
  file: Uint8Array,
  policy: Policy,
): Promise<Checked> {
  const { payload } = call.options;
  const bytes = payload === undefined
    ? undefined
    : await fileOf(call, payload, "The payload", Infinity);
  const proven = await checkInclusion(file, policy, bytes);
  const { record: { txId, holderId, timestamp, size, digest } } = proven;
  const { index, checkpoint } = proven;
  const with_ = payload === undefined ? "" : ", which are those given";
  return {
    words: `tx ${txId} of ${holderId || "nobody"}, ${timestamp}, ` +
      `${size} bytes${with_}, entry ${index} of ${checkpoint.size} in ` +
      logOf(checkpoint),
    facts: {
      ...{ tx_id: txId, holder_id: holderId, timestamp, size, index },
      storage_hash: digest.toHex(),
      checkpoint: checkpointJson(checkpoint),
    },
  };
}

async function consistency(
  call: Call<"check">,
  file: Uint8Array,
  policy: Policy,
): Promise<Checked> {
  const { kept } = call.options;
  const note = kept === undefined
    ? undefined
    : await fileOf(call, kept, "The older checkpoint");
  const { old, checkpoint } = await checkConsistency(file, policy, note);
  return {
    words:
      `the first ${old.size} of ${checkpoint.size} entries are those under ` +
      `root ${toBase64(old.root)} in ${logOf(checkpoint)}`,
    facts: {
      old: { size: old.size, root: toBase64(old.root) },
      checkpoint: checkpointJson(checkpoint),
    },
  };
}

async function possession(
  call: Call<"check">,
  file: Uint8Array,
  policy: Policy,
): Promise<Checked> {
  const { payload, nonce } = call.options;
  if (payload === undefined || nonce === undefined) {
    throw new UsageError("A proof of possession needs --payload and --nonce");
  }
  const { index } = parsePossession(parseNote(file).text);
  using input = await openInput(call, payload);
  const asked = { index, nonce: fromBase64(nonce, "nonce"), payload: input };
  const { origin } = await checkPossession(file, policy, asked);
  return {
    words: `all bytes of the payload of entry ${index} in ${origin}`,
    facts: { origin, index },
  };
}

async function holding(
  call: Call<"check">,
  answer: AsyncIterable<Uint8Array>,
  policy: Policy,
): Promise<Checked> {
  const { challenge } = call.options;
  if (challenge === undefined) {
    throw new UsageError("An answer needs --challenge, to which it is one");
  }
  const asked = parseChallenge(await fileOf(call, challenge, "The challenge"));
  const report = await checkHolding(answer, asked, policy);
  return {
    words: holdingWords(report),
    facts: holdingJson(report),
    isWhole: report.notHeld.length === 0,
  };
}
