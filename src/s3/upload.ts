/**
 * Payloads that go up in parts: several at once, none of them held for longer
 * than it takes, and an object only once all are there and as promised.
 *
 * @module
 */

import { digestOf } from "../hash.ts";
import type { PayloadSource } from "../remote/contracts.ts";
import { type Body, bodyOf, checkedPieces, requireDigest } from "./body.ts";
import type { S3Client } from "./client.ts";
import { Failure } from "./failures.ts";
import { elements, escape, textOf } from "./xml.ts";

/** Size of a part in bytes, unless that would be too many; S3 takes 5 MiB up. */
export const PART = 8 * 1024 * 1024;
const MAX_PARTS = 10_000;

/** Parts on their way at once. */
const IN_FLIGHT = 3;

/** How an upload may end. */
export type UploadOutcome = "made" | "taken" | "unknown";

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
 * @returns `unknown`, when an answer was lost and the upload is not there any
 * more: whoever knows the object tells.
 */
export async function uploadInParts(
  client: S3Client,
  upload: Upload,
): Promise<UploadOutcome> {
  const { key, headers } = upload;
  const uploadId = await begin(client, key, headers);
  let outcome: UploadOutcome | null = null;
  try {
    const tags = await sendParts(client, upload, uploadId);
    return outcome = await complete(client, upload, uploadId, tags);
  } finally {
    if (outcome !== "made") await abort(client, key, uploadId);
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

/** Removes an upload and its parts. What cannot be removed now, recover does. */
export async function abort(
  client: S3Client,
  key: string,
  uploadId: string,
): Promise<void> {
  await client.ask({
    method: "DELETE",
    key,
    query: { uploadId },
    accepts: ["NoSuchUpload", "NoSuchKey"],
  }).catch(() => {});
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
  let number = 0;
  const send = async (part: Uint8Array, number: number) => {
    try {
      const body = {
        size: part.length,
        digest: await digestOf(part),
        content: part,
      };
      tags[number - 1] = await sendPart(client, key, uploadId, number, body);
      free.push(part);
    } catch (error) {
      failure ??= { error };
    }
  };
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
): AsyncGenerator<Uint8Array> {
  const isBytes = payload instanceof Uint8Array;
  const size = isBytes ? payload.length : payload.size;
  const length = partLength(size);
  if (isBytes) {
    await requireDigest(payload, digest);
    for (let at = 0; at < size; at += length) {
      yield payload.subarray(at, at + length);
    }
    return;
  }
  let part: Uint8Array | undefined;
  let at = 0;
  for await (let piece of checkedPieces(payload, digest)) {
    while (piece.length > 0) {
      // Memory that is used again needs no collector.
      part ??= free.pop() ?? new Uint8Array(length);
      const fits = piece.subarray(0, part.length - at);
      part.set(fits, at);
      at += fits.length;
      piece = piece.subarray(fits.length);
      if (at < part.length) continue;
      yield part;
      part = undefined;
      at = 0;
    }
  }
  if (part) yield part.subarray(0, at);
}

/** Length of a payload's parts, so that there are not too many. */
export function partLength(size: number): number {
  return Math.max(PART, Math.ceil(size / MAX_PARTS));
}

async function complete(
  client: S3Client,
  { key, once }: Upload,
  uploadId: string,
  tags: string[],
): Promise<UploadOutcome> {
  const { code, mayBeDone } = await completeUpload(
    client,
    key,
    uploadId,
    tags,
    once,
  );
  if (code === null) return "made";
  return mayBeDone || code === "NoSuchUpload" ? "unknown" : "taken";
}

/** Makes the parts of an upload an object; what the server says to it. */
export async function completeUpload(
  client: S3Client,
  key: string,
  uploadId: string,
  tags: string[],
  once: boolean,
): Promise<{ code: string | null; mayBeDone: boolean }> {
  const parts = tags.map((tag, n) =>
    `<Part><PartNumber>${n + 1}</PartNumber><ETag>${escape(tag)}</ETag></Part>`
  );
  const xml =
    `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${
      parts.join("")
    }</CompleteMultipartUpload>`;
  return await client.call({
    method: "POST",
    key,
    query: { uploadId },
    headers: once ? { "if-none-match": "*" } : {},
    body: bodyOf(new TextEncoder().encode(xml)),
    accepts: ["NoSuchUpload", "PreconditionFailed", "NotImplemented"],
  }, async (answer) => {
    const { code, mayBeDone } = answer;
    if (code !== null) return { code, mayBeDone };
    const text = await answer.text();
    // The status is sent before the work is done, and says nothing.
    if (elements(text, "Error").length > 0) {
      const error = new Error(textOf(text, "Message") ?? "cannot complete");
      throw new Failure(error, Infinity, true);
    }
    return { code, mayBeDone };
  });
}
