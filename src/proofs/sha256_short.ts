/**
 * SHA-256 in JavaScript, for what is short: below about 256 bytes it is quicker
 * than a call into the runtime. Longer input goes to the runtime where it has
 * `node:crypto` (Deno, Node.js, Bun); in a browser it is hashed here, too.
 *
 * @module
 */

/** The cube roots of the first 64 primes: 32 bits of their fractions (FIPS 180-4). */
const K = new Int32Array([
  0x428a2f98,
  0x71374491,
  0xb5c0fbcf,
  0xe9b5dba5,
  0x3956c25b,
  0x59f111f1,
  0x923f82a4,
  0xab1c5ed5,
  0xd807aa98,
  0x12835b01,
  0x243185be,
  0x550c7dc3,
  0x72be5d74,
  0x80deb1fe,
  0x9bdc06a7,
  0xc19bf174,
  0xe49b69c1,
  0xefbe4786,
  0x0fc19dc6,
  0x240ca1cc,
  0x2de92c6f,
  0x4a7484aa,
  0x5cb0a9dc,
  0x76f988da,
  0x983e5152,
  0xa831c66d,
  0xb00327c8,
  0xbf597fc7,
  0xc6e00bf3,
  0xd5a79147,
  0x06ca6351,
  0x14292967,
  0x27b70a85,
  0x2e1b2138,
  0x4d2c6dfc,
  0x53380d13,
  0x650a7354,
  0x766a0abb,
  0x81c2c92e,
  0x92722c85,
  0xa2bfe8a1,
  0xa81a664b,
  0xc24b8b70,
  0xc76c51a3,
  0xd192e819,
  0xd6990624,
  0xf40e3585,
  0x106aa070,
  0x19a4c116,
  0x1e376c08,
  0x2748774c,
  0x34b0bcb5,
  0x391c0cb3,
  0x4ed8aa4a,
  0x5b9cca4f,
  0x682e6ff3,
  0x748f82ee,
  0x78a5636f,
  0x84c87814,
  0x8cc70208,
  0x90befffa,
  0xa4506ceb,
  0xbef9a3f7,
  0xc67178f2,
]);

/** The square roots of the first 8 primes. */
const START = [
  0x6a09e667,
  0xbb67ae85,
  0x3c6ef372,
  0xa54ff53a,
  0x510e527f,
  0x9b05688c,
  0x1f83d9ab,
  0x5be0cd19,
];

/** Input of at most this many bytes is hashed here, in bytes. */
const SHORT = 256;

/** What the runtime hashes with. */
interface NodeCrypto {
  createHash(name: string): {
    update(bytes: Uint8Array): unknown;
    digest(): Uint8Array;
  };
}

let loaded: NodeCrypto | null | undefined;

/** `node:crypto`, or null in a browser, where an import of it would fail. */
function builtin(): NodeCrypto | null {
  if (loaded === undefined) {
    const { process } = globalThis as {
      process?: { getBuiltinModule?(name: string): unknown };
    };
    loaded = process?.getBuiltinModule?.("node:crypto") as NodeCrypto ?? null;
  }
  return loaded;
}

const words = new Int32Array(64);

/** Mixes 64 bytes into a state. */
function compress(state: Int32Array, bytes: Uint8Array, at: number): void {
  const w = words;
  for (let i = 0; i < 16; i++, at += 4) {
    w[i] = bytes[at]! << 24 | bytes[at + 1]! << 16 | bytes[at + 2]! << 8 |
      bytes[at + 3]!;
  }
  for (let i = 16; i < 64; i++) {
    const x = w[i - 15]!, y = w[i - 2]!;
    w[i] = (w[i - 16]! + w[i - 7]! +
      ((x >>> 7 | x << 25) ^ (x >>> 18 | x << 14) ^ x >>> 3) +
      ((y >>> 17 | y << 15) ^ (y >>> 19 | y << 13) ^ y >>> 10)) | 0;
  }
  let a = state[0]!, b = state[1]!, c = state[2]!, d = state[3]!;
  let e = state[4]!, f = state[5]!, g = state[6]!, h = state[7]!;
  for (let i = 0; i < 64; i++) {
    const t = (h + K[i]! + w[i]! + (e & f ^ ~e & g) +
      ((e >>> 6 | e << 26) ^ (e >>> 11 | e << 21) ^ (e >>> 25 | e << 7))) | 0;
    const u = ((a & b ^ a & c ^ b & c) +
      ((a >>> 2 | a << 30) ^ (a >>> 13 | a << 19) ^ (a >>> 22 | a << 10))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t) | 0;
    d = c;
    c = b;
    b = a;
    a = (t + u) | 0;
  }
  state[0]! += a;
  state[1]! += b;
  state[2]! += c;
  state[3]! += d;
  state[4]! += e;
  state[5]! += f;
  state[6]! += g;
  state[7]! += h;
}

const state = new Int32Array(8);
/** A prefix, a short message and its padding. */
const scratch = new Uint8Array(384);

/** Hashes the first `length` bytes of the scratch, and clears nothing. */
function hashScratch(length: number): Uint8Array<ArrayBuffer> {
  const end = (length + 9 + 63) & ~63;
  scratch[length] = 0x80;
  scratch.fill(0, length + 1, end - 2);
  scratch[end - 2] = length >>> 5;
  scratch[end - 1] = length << 3;
  state.set(START);
  for (let at = 0; at < end; at += 64) compress(state, scratch, at);
  return bytesOf(state);
}

function bytesOf(state: Int32Array): Uint8Array<ArrayBuffer> {
  const digest = new Uint8Array(32);
  for (let i = 0, at = 0; i < 8; i++) {
    const word = state[i]!;
    digest[at++] = word >>> 24;
    digest[at++] = word >>> 16;
    digest[at++] = word >>> 8;
    digest[at++] = word;
  }
  return digest;
}

/** SHA-256 of bytes. */
export function sha256(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  if (bytes.length > SHORT) return new Sha256().update(bytes).digest();
  scratch.set(bytes);
  return hashScratch(bytes.length);
}

/** Hash of a leaf, RFC 6962 2.1: SHA-256(0x00 || entry). */
export function leafHash(entry: Uint8Array): Uint8Array<ArrayBuffer> {
  if (entry.length > SHORT) {
    return new Sha256().update(LEAF).update(entry).digest();
  }
  scratch[0] = 0;
  scratch.set(entry, 1);
  return hashScratch(entry.length + 1);
}

const LEAF = new Uint8Array([0]);

/** Hash of an inner node, RFC 6962 2.1: SHA-256(0x01 || left || right). */
export function nodeHash(
  left: Uint8Array,
  right: Uint8Array,
): Uint8Array<ArrayBuffer> {
  scratch[0] = 1;
  scratch.set(left, 1);
  scratch.set(right, 33);
  return hashScratch(65);
}

/** SHA-256 of bytes that come in pieces. */
export class Sha256 {
  readonly #hash = builtin()?.createHash("sha256") ?? new Pieces();

  /** Takes in the next bytes. */
  update(bytes: Uint8Array): this {
    this.#hash.update(bytes);
    return this;
  }

  /** The digest of all bytes so far. Ends the hash. */
  digest(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#hash.digest());
  }
}

/** The same without a runtime to ask. */
class Pieces {
  readonly #state = Int32Array.from(START);
  readonly #block = new Uint8Array(64);
  #filled = 0;
  #length = 0;

  digest(): Uint8Array<ArrayBuffer> {
    const bits = this.#length * 8;
    const padding = new Uint8Array((119 - this.#filled) % 64 + 9);
    padding[0] = 0x80;
    const view = new DataView(padding.buffer);
    view.setUint32(padding.length - 8, Math.floor(bits / 2 ** 32));
    view.setUint32(padding.length - 4, bits % 2 ** 32);
    this.update(padding);
    return bytesOf(this.#state);
  }

  update(bytes: Uint8Array): void {
    this.#length += bytes.length;
    let at = 0;
    if (this.#filled > 0) {
      at = Math.min(64 - this.#filled, bytes.length);
      this.#block.set(bytes.subarray(0, at), this.#filled);
      this.#filled += at;
      if (this.#filled < 64) return;
      compress(this.#state, this.#block, 0);
    }
    for (; at + 64 <= bytes.length; at += 64) compress(this.#state, bytes, at);
    this.#block.set(bytes.subarray(at));
    this.#filled = bytes.length - at;
  }
}
