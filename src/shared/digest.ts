/**
 * SHA-256 of payloads that are at hand.
 *
 * @module
 */

import { Sha256 } from "../files/hash.ts";
import { Pacer } from "../async/turn.ts";

/** What is hashed in one go takes about a millisecond. */
const STEP = 1024 * 1024;

/**
 * SHA-256 in hex. Web Crypto would take another thread, and several times as
 * long for it, copying what it is given; here others have their turns meanwhile.
 */
export async function digestInTurns(bytes: Uint8Array): Promise<string> {
  const hash = new Sha256();
  const pacer = new Pacer();
  for (let at = 0; at < bytes.length; at += STEP) {
    await pacer.giveWay();
    hash.update(bytes.subarray(at, at + STEP));
  }
  return hash.hex();
}
