/**
 * Lists of what is in a bucket, page by page.
 *
 * @module
 */

import type { StoredObject } from "../contracts.ts";
import type { Answer } from "./attempt.ts";
import type { S3Client } from "./client.ts";
import { elements, textOf } from "./xml.ts";

/** An upload in parts that is not complete. */
export interface OpenUpload {
  /** Key below the store's prefix. */
  key: string;
  /** Its name. */
  uploadId: string;
  /** When it began, UNIX seconds by the server's clock. */
  initiated: number;
}

const text = (answer: Answer) => answer.text();

/** All objects of the store whose keys begin so. */
export async function* listObjects(
  client: S3Client,
  keyPrefix: string,
): AsyncGenerator<StoredObject> {
  const { prefix } = client.target;
  let token: string | null = null;
  do {
    const page: string = await client.call({
      method: "GET",
      query: {
        "list-type": "2",
        "encoding-type": "url",
        prefix: prefix + keyPrefix,
        ...token !== null && { "continuation-token": token },
      },
    }, text);
    const decode = decoderOf(page);
    for (const item of elements(page, "Contents")) {
      yield {
        key: decode(required(item, "Key")).slice(prefix.length),
        size: Number(required(item, "Size")),
        modified: secondsOf(required(item, "LastModified")),
      };
    }
    token = isCut(page) ? required(page, "NextContinuationToken") : null;
  } while (token !== null);
}

/** All uploads in parts of the store that are not complete. */
export async function* listUploads(
  client: S3Client,
): AsyncGenerator<OpenUpload> {
  const { prefix } = client.target;
  let last: OpenUpload | undefined;
  let page: string;
  do {
    page = await client.call({
      method: "GET",
      // Not encoded: Ceph would encode some of it, and not say so.
      query: {
        uploads: "",
        prefix,
        // Not NextKeyMarker, which some servers encode and some do not.
        ...last && {
          "key-marker": prefix + last.key,
          "upload-id-marker": last.uploadId,
        },
      },
    }, text);
    const uploads = elements(page, "Upload").map((item) => ({
      key: required(item, "Key").slice(prefix.length),
      uploadId: required(item, "UploadId"),
      initiated: secondsOf(required(item, "Initiated")),
    }));
    yield* uploads;
    last = uploads.at(-1);
  } while (last && isCut(page));
}

/** Keys are encoded as asked, or the server does not know how. */
function decoderOf(page: string): (key: string) => string {
  return textOf(page, "EncodingType") === "url" ? decode : (key) => key;
}

/** What is no text is none of ours, and stays as it is. */
function decode(key: string): string {
  try {
    return decodeURIComponent(key.replaceAll("+", " "));
  } catch {
    return key;
  }
}

function isCut(page: string): boolean {
  return required(page, "IsTruncated") === "true";
}

function required(xml: string, name: string): string {
  const text = textOf(xml, name);
  if (text !== null) return text;
  throw new TypeError(`The list of the object store has no ${name}`);
}

function secondsOf(time: string): number {
  return Date.parse(time) / 1000;
}
