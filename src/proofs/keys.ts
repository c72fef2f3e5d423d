/**
 * Keys as text, and what they sign. Three parts, as in Go's note package: a name,
 * an id of 32 bits, and the key behind a byte for its kind.
 *
 * @module
 */

import { cosignedText, cosignedTree } from "./cosignature.ts";
import {
  boundedText,
  fromBase64,
  isEqual,
  joined,
  toBase64,
  toHex,
  utf8,
} from "./encoding.ts";
import { ProofError } from "./proof_error.ts";
import { sha256 } from "./sha256_short.ts";

/** What a key is for, and how it signs. */
export type KeyKind =
  | "ed25519"
  | "ml-dsa-87"
  | "cosignature-ed25519"
  | "cosignature-ml-dsa-44";

interface Algorithm {
  /** Name in Web Crypto. */
  readonly name: string;
  /** What a key of this kind begins with, as text with one byte a character. */
  readonly prefix: string;
  readonly publicLength: number;
  readonly signatureLength: number;
  /** Whether a time stands before the signature, and is signed with the text. */
  readonly isCosignature: boolean;
}

const ED25519 = { name: "Ed25519", publicLength: 32, signatureLength: 64 };
const ML_DSA_44 = {
  name: "ML-DSA-44",
  publicLength: 1312,
  signatureLength: 2420,
};
const ML_DSA_87 = {
  name: "ML-DSA-87",
  publicLength: 2592,
  signatureLength: 4627,
};

const ALGORITHMS: Readonly<Record<KeyKind, Algorithm>> = {
  "ed25519": { ...ED25519, prefix: "\x01", isCosignature: false },
  "ml-dsa-87": {
    ...ML_DSA_87,
    prefix: "\xffpoh-storage/ml-dsa-87/v1\n",
    isCosignature: false,
  },
  "cosignature-ed25519": { ...ED25519, prefix: "\x04", isCosignature: true },
  "cosignature-ml-dsa-44": {
    ...ML_DSA_44,
    prefix: "\x06",
    isCosignature: true,
  },
};

const KINDS = Object.keys(ALGORITHMS) as KeyKind[];
const SEED = 32;

/** A key that checks signatures. */
export interface Verifier {
  /** Name of the key: for a log its origin. */
  readonly name: string;
  /** First 4 bytes of a digest of name and key, in hex: with the name it finds a key. */
  readonly id: string;
  /** What it is for. */
  readonly kind: KeyKind;
  /** The key as text. */
  readonly vkey: string;
  /** The key itself, without its kind. */
  readonly publicKey: Uint8Array;
  /** Whether a signature of a text is by this key. */
  verify(text: string, signature: Uint8Array): Promise<boolean>;
}

/** A key that signs. */
export interface Signer {
  /** Checks what it signs. */
  readonly verifier: Verifier;
  /**
   * Signs a text.
   *
   * @param time When, in whole seconds; only a cosignature has one.
   */
  sign(text: string, time?: number): Promise<Uint8Array>;
}

/** Whether a text can be the name of a key: no space, no plus, no control character. */
export function isKeyName(name: string): boolean {
  return name !== "" &&
    !/[\p{White_Space}\p{Cc}\p{Surrogate}+]/u.test(name);
}

function odd(message: string): ProofError {
  return new ProofError("KEY_FORMAT", "key", message);
}

function keyId(name: string, material: Uint8Array): string {
  const hash = sha256(joined([utf8(`${name}\n`, "key"), material]));
  return toHex(hash.subarray(0, 4));
}

function materialOf(kind: KeyKind, key: Uint8Array): Uint8Array {
  const prefix = Uint8Array.from(
    ALGORITHMS[kind].prefix,
    (char) => char.charCodeAt(0),
  );
  return joined([prefix, key]);
}

/** Name, id and key of a text; and its kind, by what the key begins with. */
function partsOf(text: string, what: string) {
  const [, name, id, data] = /^([^+]+)\+([0-9a-f]{8})\+([^\s]+)$/.exec(text) ??
    [];
  if (!name || !id || !data || !isKeyName(name)) {
    throw odd(`This is no ${what}: it has three parts with + between them`);
  }
  const material = fromBase64(data, "key");
  const kind = KINDS.find((kind) => {
    const prefix = materialOf(kind, new Uint8Array());
    return isEqual(material.subarray(0, prefix.length), prefix);
  });
  if (!kind) {
    throw odd(`The ${what} of ${name} is of a kind that is not known here`);
  }
  const key = material.subarray(ALGORITHMS[kind].prefix.length);
  return { name, id, kind, key };
}

/**
 * Reads a verifier key. It is loaded when it first checks something.
 *
 * @throws {ProofError} Code `KEY_FORMAT`.
 *
 * @example Usage
 * ```ts
 * import { openNote, verifierOf } from "@poh/storage/proofs";
 * import { assertEquals } from "@std/assert";
 *
 * // The example of C2SP signed-note.
 * const verifier = verifierOf(
 *   "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
 * );
 * const note = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJ" +
 *   "Gh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72In" +
 *   "eyaQM=\n";
 * const { text } = await openNote(note, [verifier]);
 * assertEquals(text, "This is an example message.\n");
 * ```
 */
export function verifierOf(vkey: string): Verifier {
  const { name, id, kind, key } = partsOf(
    boundedText(vkey, "key"),
    "verifier key",
  );
  if (key.length !== ALGORITHMS[kind].publicLength) {
    throw odd(`The verifier key of ${name} has ${key.length} bytes`);
  }
  if (id !== keyId(name, materialOf(kind, key))) {
    throw odd(`The verifier key of ${name} has another id than its own`);
  }
  return makeVerifier(name, kind, key);
}

function makeVerifier(
  name: string,
  kind: KeyKind,
  publicKey: Uint8Array,
): Verifier {
  const { signatureLength, isCosignature, name: algorithm } = ALGORITHMS[kind];
  const material = materialOf(kind, publicKey);
  const id = keyId(name, material);
  let loaded: Promise<CryptoKey> | undefined;
  return {
    ...{ name, id, kind, publicKey: publicKey.slice() },
    vkey: `${name}+${id}+${toBase64(material)}`,
    async verify(text, signature) {
      const time = isCosignature ? 8 : 0;
      if (signature.length !== time + signatureLength) return false;
      const message = messageOf(kind, name, text, signature.subarray(0, time));
      if (!message) return false;
      loaded ??= load(
        kind === "cosignature-ml-dsa-44" || kind === "ml-dsa-87"
          ? "raw-public"
          : "raw",
        publicKey,
        algorithm,
        "verify",
      );
      return await crypto.subtle.verify(
        algorithm,
        await loaded,
        signature.slice(time) as BufferSource,
        message as BufferSource,
      );
    },
  };
}

/** Web Crypto's keys in forms that its types do not all know. */
interface Importer {
  importKey(
    format: string,
    key: Uint8Array,
    algorithm: string,
    extractable: boolean,
    usages: string[],
  ): Promise<CryptoKey>;
}

async function load(
  format: string,
  key: Uint8Array,
  algorithm: string,
  usage: string,
): Promise<CryptoKey> {
  try {
    return await (crypto.subtle as unknown as Importer)
      .importKey(format, key, algorithm, true, [usage]);
  } catch (cause) {
    throw new ProofError(
      "KEY_UNSUPPORTED",
      "key",
      `This runtime cannot use a key for ${algorithm}`,
      { cause },
    );
  }
}

/** What is signed; null where a text cannot be signed by such a key. */
function messageOf(
  kind: KeyKind,
  name: string,
  text: string,
  time: Uint8Array,
): Uint8Array | null {
  if (kind === "cosignature-ed25519") return cosignedText(text, time);
  if (kind === "cosignature-ml-dsa-44") return cosignedTree(name, text, time);
  return utf8(text, "note");
}

const PRIVATE = "PRIVATE+KEY+";

/** Ed25519 seeds are loaded as PKCS #8, which every runtime has. */
const PKCS8 = Uint8Array.of(
  ...[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20],
);

/**
 * Reads a private key, `PRIVATE+KEY+…` as Go's note package writes it.
 *
 * @throws {ProofError} Code `KEY_FORMAT`, or `KEY_UNSUPPORTED`.
 */
export async function signerOf(privateKey: string): Promise<Signer> {
  if (!privateKey.startsWith(PRIVATE)) {
    throw odd(`A private key begins with ${PRIVATE}`);
  }
  const text = boundedText(privateKey.slice(PRIVATE.length), "key");
  const { name, id, kind, key } = partsOf(text, "private key");
  if (key.length !== SEED) {
    throw odd(
      `The private key of ${name} has ${key.length} bytes, not ${SEED}`,
    );
  }
  const signer = await signerFrom(name, kind, key);
  if (signer.verifier.id === id) return signer;
  throw odd(`The private key of ${name} has another id than its own`);
}

async function signerFrom(
  name: string,
  kind: KeyKind,
  seed: Uint8Array,
): Promise<Signer> {
  const { name: algorithm, isCosignature } = ALGORITHMS[kind];
  const key = algorithm === ED25519.name
    ? await load("pkcs8", joined([PKCS8, seed]), algorithm, "sign")
    : await load("raw-seed", seed, algorithm, "sign");
  const jwk = await crypto.subtle.exportKey("jwk", key) as JsonWebKey & {
    pub?: string;
  };
  const verifier = makeVerifier(
    name,
    kind,
    fromBase64Url(jwk.x ?? jwk.pub ?? ""),
  );
  return {
    verifier,
    async sign(text, time = 0) {
      const stamp = new Uint8Array(isCosignature ? 8 : 0);
      if (isCosignature) {
        new DataView(stamp.buffer).setBigUint64(0, BigInt(time));
      }
      const message = messageOf(kind, name, text, stamp);
      if (!message) throw odd(`The key of ${name} signs checkpoints only`);
      const signature = await crypto.subtle.sign(
        algorithm,
        key,
        message as BufferSource,
      );
      return joined([stamp, new Uint8Array(signature)]);
    },
  };
}

function fromBase64Url(text: string): Uint8Array {
  const base64 = text.replaceAll("-", "+").replaceAll("_", "/");
  return fromBase64(
    base64.padEnd(Math.ceil(base64.length / 4) * 4, "="),
    "key",
  );
}

/** A new key pair, as text. */
export interface KeyPair {
  /** What signs; whoever has it speaks for the log. */
  readonly privateKey: string;
  /** What checks. */
  readonly vkey: string;
}

/**
 * Makes a key.
 *
 * @param name For a log its origin: a URL without its scheme.
 *
 * @example Usage
 * ```ts
 * import { generateKey, signerOf } from "@poh/storage/proofs";
 * import { assertEquals } from "@std/assert";
 *
 * const { privateKey, vkey } = await generateKey("node7.example/poh");
 * assertEquals((await signerOf(privateKey)).verifier.vkey, vkey);
 * ```
 */
export async function generateKey(
  name: string,
  kind: KeyKind = "ed25519",
): Promise<KeyPair> {
  if (!isKeyName(name)) {
    throw odd(
      "The name of a key has no space, no plus and no control character",
    );
  }
  const seed = crypto.getRandomValues(new Uint8Array(SEED));
  const { verifier } = await signerFrom(name, kind, seed);
  const material = toBase64(materialOf(kind, seed));
  return {
    privateKey: `${PRIVATE}${name}+${verifier.id}+${material}`,
    vkey: verifier.vkey,
  };
}
