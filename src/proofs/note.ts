/**
 * Signed notes, C2SP signed-note: a text, an empty line, and a line for each
 * signature.
 *
 * @module
 */

import {
  boundedText,
  fromBase64,
  joined,
  MAX_TEXT,
  toBase64,
  toHex,
  utf8,
} from "./encoding.ts";
import { cosignedAt } from "./cosignature.ts";
import { isKeyName, type Signer, type Verifier } from "./keys.ts";
import { malformed, ProofError, refuted } from "./proof_error.ts";

/** A note has at most this many signatures. */
export const MAX_SIGNATURES = 16;

/** A signature line. */
export interface NoteSignature {
  /** Name of the key. */
  readonly name: string;
  /** Id of the key, in hex. */
  readonly id: string;
  /** The signature itself. */
  readonly signature: Uint8Array;
}

/** A note as it is written; its text says nothing before a signature is checked. */
export interface Note {
  /** What is signed, its last line feed included. */
  readonly text: string;
  /** The signatures, in their order. */
  readonly signatures: readonly NoteSignature[];
}

/** A note that keys which are known have signed. */
export interface OpenedNote {
  /** What they signed. */
  readonly text: string;
  /** Whose signatures were checked, and when a cosignature was made. */
  readonly signedBy: readonly SignedBy[];
}

/** A signature that was checked. */
export interface SignedBy {
  /** The key. */
  readonly verifier: Verifier;
  /** When, in seconds since 1970; null where the kind of key tells no time. */
  readonly time: number | null;
}

/**
 * Reads a note without checking it.
 *
 * @throws {ProofError} Step `"note"`: it is malformed, longer than 64 KiB, or has
 * more than 16 signatures.
 */
export function parseNote(note: string | Uint8Array): Note {
  const all = boundedText(note, "note");
  // deno-lint-ignore no-control-regex
  if (/[\x00-\x09\x0b-\x1f]/.test(all)) {
    throw malformed("note", "A note holds a control character");
  }
  const end = all.lastIndexOf("\n\n");
  if (end < 0 || !all.endsWith("\n")) {
    throw malformed("note", "A note has no signatures behind an empty line");
  }
  const lines = all.slice(end + 2, -1).split("\n", MAX_SIGNATURES + 1);
  if (lines.length > MAX_SIGNATURES) {
    throw malformed(
      "note",
      `A note has more than ${MAX_SIGNATURES} signatures`,
    );
  }
  return { text: all.slice(0, end + 1), signatures: lines.map(signatureOf) };
}

function signatureOf(line: string): NoteSignature {
  const [dash, name, base64, ...more] = line.split(" ");
  if (dash !== "—" || !name || !isKeyName(name) || !base64 || more.length > 0) {
    throw malformed(
      "note",
      "A line of a note should be a signature, and is none",
    );
  }
  const bytes = fromBase64(base64, "note");
  if (bytes.length < 5) throw malformed("note", "A signature is too short");
  return { name, id: toHex(bytes.subarray(0, 4)), signature: bytes.slice(4) };
}

/**
 * Opens a note by the keys that are known. Signatures by other keys say nothing.
 *
 * @throws {ProofError} `KEY_UNKNOWN`: no known key has signed; `PROOF_INVALID` at
 * `"signature"`: one has, and the signature is wrong.
 */
export async function openNote(
  note: string | Uint8Array,
  verifiers: readonly Verifier[],
): Promise<OpenedNote> {
  const { text, signatures } = parseNote(note);
  const signedBy: SignedBy[] = [];
  for (const { name, id, signature } of signatures) {
    for (const verifier of verifiers) {
      if (verifier.name !== name || verifier.id !== id) continue;
      if (!await verifier.verify(text, signature)) {
        throw refuted(
          "signature",
          `The signature of ${name} is not by its key`,
        );
      }
      const time = verifier.kind.startsWith("cosignature")
        ? cosignedAt(signature)
        : null;
      signedBy.push({ verifier, time });
    }
  }
  if (signedBy.length > 0) return { text, signedBy };
  throw new ProofError(
    "KEY_UNKNOWN",
    "signature",
    `No known key has signed this; signed by ${
      signatures.map(({ name, id }) => `${name}+${id}`).join(", ")
    }, known ${
      verifiers.map(({ name, id }) => `${name}+${id}`).join(", ") || "none"
    }`,
  );
}

/**
 * Signs a text.
 *
 * @param time When, in whole seconds; only cosignatures have one.
 */
export async function signNote(
  text: string,
  signers: readonly Signer[],
  time = 0,
): Promise<string> {
  let note = `${text}\n`;
  for (const signer of signers) {
    note += await signatureLine(text, signer, time);
  }
  parseNote(note);
  return note;
}

/** Adds a signature to a note; those that are there are not checked. */
export async function addSignature(
  note: string,
  signer: Signer,
  time = 0,
): Promise<string> {
  const more = note + await signatureLine(parseNote(note).text, signer, time);
  parseNote(more);
  return more;
}

async function signatureLine(
  text: string,
  signer: Signer,
  time: number,
): Promise<string> {
  if (!text.endsWith("\n")) {
    throw malformed("note", "A note ends its last line");
  }
  if (utf8(text, "note").length > MAX_TEXT) {
    throw malformed("note", `A note is longer than ${MAX_TEXT} bytes`);
  }
  const { name, id } = signer.verifier;
  const idBytes = Uint8Array.from(id.match(/../g)!, (hex) => parseInt(hex, 16));
  const signature = joined([idBytes, await signer.sign(text, time)]);
  return `— ${name} ${toBase64(signature)}\n`;
}
