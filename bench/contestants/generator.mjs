/**
 * The one definition of what every contestant stores. `python_package.py` and
 * `raw.c` do the same in their languages.
 *
 * - id(i): SHA-256 of the decimal index, 64 hex digits, like a real id.
 * - payload(i): `size` bytes of a pool of 1 MiB of 32-bit words mix(0), mix(1),
 *   …, little-endian, read cyclically from 64 × i on; the first 8 bytes are i,
 *   so that no two are alike.
 * - The n-th of the random loads among `count` is that of mix(n) modulo count.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const POOL = 1 << 20;

/** The finalizer of MurmurHash3: cheap, and the same in every language. */
export function mix(n) {
  n = Math.imul(n ^ (n >>> 16), 0x85ebca6b);
  n = Math.imul(n ^ (n >>> 13), 0xc2b2ae35);
  return (n ^ (n >>> 16)) >>> 0;
}

/** SHA-256 in hex. */
export function sha256(bytes) {
  return createHash("sha256").update(bytes).digest("hex");
}

/** The id of transaction i. */
export function idOf(i) {
  return sha256(String(i));
}

/** The ids of transactions 0 to count - 1. */
export function idsOf(count) {
  return Array.from({ length: count }, (_, i) => idOf(i));
}

/** Whose transaction i is. */
export function holderOf(i) {
  return `holder-${i % 100}`;
}

/** The time of transaction i, UNIX seconds. */
export function timestampOf(i) {
  return 1_464_307_123 + i;
}

let pool = null;

function poolBytes() {
  if (pool) return pool;
  pool = new Uint8Array(POOL);
  const view = new DataView(pool.buffer);
  for (let k = 0; k < POOL / 4; k++) view.setUint32(4 * k, mix(k), true);
  return pool;
}

/** Marks a payload as that of transaction i. */
export function stamp(payload, i) {
  if (payload.length < 8) return;
  const view = new DataView(payload.buffer, payload.byteOffset, 8);
  view.setUint32(0, i, true);
  view.setUint32(4, 0, true);
}

/** The payload of transaction i. */
export function payloadOf(i, size) {
  const bytes = new Uint8Array(size);
  const from = (i * 64) % POOL;
  for (let at = 0; at < size;) {
    const start = (from + at) % POOL;
    const part = poolBytes().subarray(start, start + size - at);
    bytes.set(part, at);
    at += part.length;
  }
  stamp(bytes, i);
  return bytes;
}

/**
 * Real payloads, each behind its length (32 bits, little-endian); transaction
 * i takes the one at i modulo their number, marked as its own.
 */
export function readCorpus(path) {
  const bytes = new Uint8Array(readFileSync(path));
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const payloads = [];
  for (let at = 0; at < bytes.length;) {
    const length = view.getUint32(at, true);
    payloads.push(bytes.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return payloads;
}

/**
 * The transactions that a job asks for.
 *
 * @param {{ count: number, size: number, input?: string }} job
 */
export function* transactions({ count, size, input }) {
  const real = input ? readCorpus(input) : null;
  for (let i = 0; i < count; i++) {
    const payload = real ? real[i % real.length].slice() : payloadOf(i, size);
    if (real) stamp(payload, i);
    yield {
      txId: idOf(i),
      holderId: holderOf(i),
      timestamp: timestampOf(i),
      payload,
    };
  }
}
