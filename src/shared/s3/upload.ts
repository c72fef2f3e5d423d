/**
 * Payloads that go up in parts: several at once, none of them held for longer
 * than it takes, and an object only once all are there and as promised.
 *
 * @module
 */

import { Sha256 } from "../../files/hash.ts";
import type { PayloadSource } from "../contracts.ts";
import { type Body, bodyOf, checkedPieces, requireDigest } from "./body.ts";
import type { S3Client } from "./client.ts";
import { failureOf } from "./failures.ts";
import { elements, escape, textOf } from "./xml.ts";

/** Size of a part in bytes, unless that would be too many; S3 takes 5 MiB up. */
export const PART = 8 * 1024 * 1024;

/** As many as every server takes; Amazon's takes ten times as many. */
const MAX_PARTS = 1_000;

/** Parts on their way at once. */
const IN_FLIGHT = 2;

/** What an object is to be made of. */
export interface Upload {
  /** Key below the store's prefix. */
  key: string;
  /** All bytes of it. */
  payload: PayloadSource;
  /** Their SHA-256 in hex. */
  digest: string;
  /** Headers that the object keeps. */
  headers: Record<string, string>;
  /** Whether the key must not be taken. */
  once: boolean;
}

/**
 * Makes an object of parts.
 *
 * @returns False when the key is taken, or the upload not there any more:
 * either may be its own doing, by a request whose answer was lost.
 */
export async function uploadInParts(
  client: S3Client,
  upload: Upload,
): Promise<boolean> {
  const { key, headers } = upload;
  const uploadId = await begin(client, key, headers);
  let isMade = false;
  try {
    const tags = await sendParts(client, upload, uploadId);
    const code = await complete(client, key, uploadId, tags, upload.once);
    return isMade = code === null;
  } finally {
    // What cannot be removed now, recover removes.
    if (!isMade) await abort(client, key, uploadId, 1).catch(() => {});
  }
}

/** Begins an upload; its name. */
export async function begin(
  client: S3Client,
  key: string,
  headers: Record<string, string> = {},
): Promise<string> {
  const xml = await client.call(
    { method: "POST", key, query: { uploads: "" }, headers },
    (answer) => answer.text(),
  );
  const uploadId = textOf(xml, "UploadId");
  if (uploadId) return uploadId;
  throw new TypeError("The object store gives an upload no name");
}

/** Removes an upload and its parts. */
export async function abort(
  client: S3Client,
  key: string,
  uploadId: string,
  attempts = Infinity,
): Promise<void> {
  await client.ask({
    method: "DELETE",
    key,
    query: { uploadId },
    accepts: ["NoSuchUpload", "NoSuchKey"],
    attempts,
  });
}

/** Sends one part; its tag. */
export async function sendPart(
  client: S3Client,
  key: string,
  uploadId: string,
  number: number,
  body: Body,
): Promise<string> {
  const { headers } = await client.ask({
    method: "PUT",
    key,
    query: { partNumber: `${number}`, uploadId },
    body,
  });
  return headers.get("etag") ?? "";
}

async function sendParts(
  client: S3Client,
  { key, payload, digest }: Upload,
  uploadId: string,
): Promise<string[]> {
  const tags: string[] = [];
  const onTheirWay = new Set<Promise<void>>();
  const free: Uint8Array[] = [];
  let failure: { error: unknown } | null = null;
  const send = async (part: Body & { content: Uint8Array }, number: number) => {
    try {
      tags[number - 1] = await sendPart(client, key, uploadId, number, part);
      free.push(part.content);
    } catch (error) {
      failure ??= { error };
    }
  };
  let number = 0;
  try {
    for await (const part of partsOf(payload, digest, free)) {
      const sent = send(part, ++number).finally(() => onTheirWay.delete(sent));
      onTheirWay.add(sent);
      if (onTheirWay.size >= IN_FLIGHT) await Promise.race(onTheirWay);
      if (failure) break;
    }
  } finally {
    await Promise.all(onTheirWay);
  }
  if (failure) throw (failure as { error: unknown }).error;
  return tags;
}

/** A payload in parts; the last one is only given when all is as promised. */
async function* partsOf(
  payload: PayloadSource,
  digest: string,
  free: Uint8Array[],
): AsyncGenerator<Body & { content: Uint8Array }> {
  if (payload instanceof Uint8Array) {
    await requireDigest(payload, digest);
    const length = partLength(payload.length);
    for (let at = 0; at < payload.length; at += length) {
      yield bodyOf(payload.subarray(at, at + length));
    }
    return;
  }
  const length = partLength(payload.size);
  let part: Part | undefined;
  for await (let piece of checkedPieces(payload, digest)) {
    while (piece.length > 0) {
      // Memory that is used again needs no collector.
      part ??= new Part(free.pop() ?? new Uint8Array(length));
      piece = piece.subarray(part.take(piece));
      if (!part.isFull()) continue;
      yield part.body();
      part = undefined;
    }
  }
  if (part) yield part.body();
}

/** A part that is being filled. */
class Part {
  readonly #bytes: Uint8Array;
  readonly #hash = new Sha256();
  #size = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  isFull(): boolean {
    return this.#size === this.#bytes.length;
  }

  /** Takes what fits; how much that is. */
  take(bytes: Uint8Array): number {
    const taken = bytes.subarray(0, this.#bytes.length - this.#size);
    this.#bytes.set(taken, this.#size);
    this.#hash.update(taken);
    this.#size += taken.length;
    return taken.length;
  }

  body(): Body & { content: Uint8Array } {
    const content = this.#bytes.subarray(0, this.#size);
    return { size: this.#size, digest: this.#hash.hex(), content };
  }
}

/** Length of a payload's parts, so that there are not too many. */
function partLength(size: number): number {
  return Math.max(PART, Math.ceil(size / MAX_PARTS));
}

/** Makes the parts of an upload an object; null, or what the server calls it. */
export async function complete(
  client: S3Client,
  key: string,
  uploadId: string,
  tags: string[],
  once: boolean,
): Promise<string | null> {
  const parts = tags.map((tag, n) =>
    `<Part><PartNumber>${n + 1}</PartNumber><ETag>${escape(tag)}</ETag></Part>`
  );
  const xml =
    `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${
      parts.join("")
    }</CompleteMultipartUpload>`;
  const accepts = ["NoSuchUpload", "PreconditionFailed", "NotImplemented"];
  return await client.call({
    method: "POST",
    key,
    query: { uploadId },
    headers: once ? { "if-none-match": "*" } : {},
    body: bodyOf(new TextEncoder().encode(xml)),
    accepts,
  }, async (answer) => {
    if (answer.code !== null) return answer.code;
    const text = await answer.text();
    // The status is sent before the work is done, and says nothing.
    if (elements(text, "CompleteMultipartUploadResult").length > 0) return null;
    const code = textOf(text, "Code") ?? "no result";
    if (accepts.includes(code)) return code;
    const message = textOf(text, "Message") ?? "";
    throw failureOf(client.target, 500, code, message, answer.headers);
  });
}
