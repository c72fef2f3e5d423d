import { type Challenge, formatChallenge } from "../proofs/challenge.ts";
import { MAX_TEXT } from "../proofs/encoding.ts";
import { checkHolding } from "../proofs/holding.ts";
import { openCheckpoint, type Policy } from "../proofs/policy.ts";
import { UsageError } from "../format/usage_error.ts";
import { printable } from "../text/printable.ts";
import type { Call } from "./call.ts";
import { Exit } from "./exit_codes.ts";
import { openInput, readBytes } from "./input.ts";
import { holdingJson, holdingWords } from "./proof_words.ts";
import { readPolicy, readToken } from "./read_key.ts";

/** `poh-storage challenge` */
export async function run(call: Call<"challenge">): Promise<number> {
  const { positionals: [name], options, output } = call;
  if (name === undefined) {
    throw new UsageError("challenge needs a checkpoint, or a log's address");
  }
  const policy = await readPolicy("challenge", call, options);
  if (/^https?:/.test(name)) return await ask(call, name, policy);
  if (options["token-file"] !== undefined || options.json) {
    throw new UsageError("--token-file and --json are for a log's address");
  }
  using input = await openInput(call, name);
  const note = await readBytes(input, name, MAX_TEXT, call.signal);
  const challenge = await draw(call, note, policy);
  await output.print(`${formatChallenge(challenge)}\n`);
  return Exit.done;
}

/** A challenge for the log of a checkpoint that is at hand. */
async function draw(
  { options: { entries, chunks } }: Call<"challenge">,
  note: Uint8Array | string,
  policy: Policy,
): Promise<Challenge> {
  const { origin, size, root } = await openCheckpoint(note, policy);
  // Drawn last: nobody could have foreseen it when the log was signed.
  const nonce = crypto.getRandomValues(new Uint8Array(32));
  return { origin, size, root, nonce, entries, chunks };
}

/** Challenges a node over HTTP, and checks its answer. */
async function ask(
  call: Call<"challenge">,
  address: string,
  policy: Policy,
): Promise<number> {
  const { options, output, signal } = call;
  const { HttpLog } = await import("./http_log.ts");
  const token = await readToken(options["token-file"]);
  const log = await HttpLog.at(address, token, signal);
  const challenge = await draw(call, await log.checkpoint(), policy);
  const deadline = options.deadline * 1000;
  const answer = log.holding(formatChallenge(challenge), deadline);
  const report = await checkHolding(answer, challenge, policy);
  const isWhole = report.notHeld.length === 0;
  await output.print(
    options.json
      ? `${JSON.stringify({ ok: isWhole, ...holdingJson(report) })}\n`
      : `holding ${isWhole ? "ok" : "FAILED"}: ${
        printable(holdingWords(report))
      }\n`,
  );
  return isWhole ? Exit.done : Exit.damage;
}
