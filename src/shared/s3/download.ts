/**
 * Objects that come piece by piece, and go on where a connection broke.
 *
 * @module
 */

import { PohStorageError } from "../../errors.ts";
import type { Answer } from "./attempt.ts";
import type { S3Client } from "./client.ts";
import { waitAfter } from "./retry.ts";

/** So many answers after each other may bring nothing. */
const BARREN = 10;

/** The bytes of an object, of which the answer has the first. */
export async function* chunksOf(
  client: S3Client,
  key: string,
  first: Answer,
): AsyncGenerator<Uint8Array> {
  const { size } = first;
  const tag = first.headers.get("etag");
  let answer = first;
  let at = 0;
  for (let failed = 0;;) {
    try {
      for await (const chunk of answer.chunks()) {
        at += chunk.length;
        failed = 0;
        yield chunk;
      }
      return;
    } catch (error) {
      const failure = client.failureOf(error);
      if (at === size) return;
      const { attempts } = client.patience;
      failed++;
      if (failed >= Math.min(failure.attempts, attempts, BARREN)) {
        throw failure.error;
      }
    }
    await client.pause(waitAfter(failed));
    answer = await client.open({
      method: "GET",
      key,
      headers: {
        range: `bytes=${at}-`,
        ...tag !== null && { "if-match": tag },
      },
    });
    if (answer.status === 206) continue;
    answer.end();
    throw new PohStorageError(
      "OBJECT_STORE",
      `${client.target.url} does not give the rest of ${key}`,
    );
  }
}
