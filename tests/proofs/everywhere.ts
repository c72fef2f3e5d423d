/**
 * What a counterparty does with `@poh/storage/proofs`, for whatever runs JavaScript.
 *
 * @module
 */

import {
  checkConsistency,
  checkHolding,
  checkInclusion,
  checkPossession,
  generateKey,
  LogAudit,
  openCheckpoint,
  openNote,
  parseChallenge,
  policyOf,
  type ProofError,
  signerOf,
  signNote,
} from "../../proofs.ts";

/** What a node gave away, as text; bytes in base64. */
export interface Given {
  vkey: string;
  entries: string[];
  checkpoint: string;
  kept: string;
  inclusion: string;
  consistency: string;
  challenge: string;
  answer: string;
  possession: string;
  index: number;
  nonce: string;
  payload: string;
}

const bytesOf = (base64: string) =>
  Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));

/** Checks all of it; what came out. */
export async function checkAll(given: Given): Promise<Record<string, unknown>> {
  const policy = policyOf(given.vkey);
  const payload = bytesOf(given.payload);
  const checkpoint = await openCheckpoint(given.checkpoint, policy);
  const audit = new LogAudit();
  for (const entry of given.entries) audit.add(bytesOf(entry));
  audit.demand(checkpoint);
  const proven = await checkInclusion(given.inclusion, policy, payload);
  const { old } = await checkConsistency(given.consistency, policy, given.kept);
  const challenge = parseChallenge(given.challenge);
  const report = await checkHolding(given.answer, challenge, policy);
  const possession = await checkPossession(given.possession, policy, {
    ...{ index: given.index, nonce: bytesOf(given.nonce), payload },
  });
  const wrong = payload.slice();
  wrong[70_000]! ^= 1;
  const refusal = await checkInclusion(given.inclusion, policy, wrong)
    .then(() => "none", (error: ProofError) => error.at);
  const { privateKey, vkey } = await generateKey("a.example");
  const signer = await signerOf(privateKey);
  const note = await signNote("hello\n", [signer]);
  const opened = await openNote(note, [signer.verifier]);
  const quantum = await generateKey("a.example", "ml-dsa-87")
    .then(() => "had", (error: ProofError) => error.code);
  return {
    ...{ live: [...audit.live()], txId: proven.record.txId, old: old.size },
    ...{
      held: report.held,
      chunks: report.chunks,
      possession: possession.index,
    },
    ...{ refusal, signed: opened.text, isSame: signer.verifier.vkey === vkey },
    isUnsupportedSaid: ["had", "KEY_UNSUPPORTED"].includes(quantum),
  };
}
