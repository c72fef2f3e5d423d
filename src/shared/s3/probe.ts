/**
 * What a server does with `if-none-match: *`, which makes a key one's own, is
 * found out: some do as it says, some ignore it, some refuse it.
 *
 * @module
 */

import { bodyOf } from "./body.ts";
import type { S3Client } from "./client.ts";
import { abort, begin, complete, sendPart } from "./upload.ts";

/** Where objects are made to find out; they go at once, or are abandoned. */
export const PROBES = ".poh/probes/";

/** So many try to make one object at once. */
const RIVALS = 4;

/** Answers are lost now and then, but not for ever. */
const ROUNDS = 5;

/** Whether one of several that create an object at once does, and knows. */
export async function createsOnce(client: S3Client): Promise<boolean> {
  for (let round = 0; round < ROUNDS; round++) {
    const key = probeKey();
    try {
      const made = await Promise.all(
        Array.from({ length: RIVALS }, (_, n) => create(client, key, n)),
      );
      const count = made.filter(Boolean).length;
      // None, where the one that did has lost its answer and asked again.
      if (count > 0) return count === 1;
    } finally {
      await remove(client, key);
    }
  }
  return false;
}

/** Whether an upload in parts leaves alone what is there when it is complete. */
export async function completesOnce(client: S3Client): Promise<boolean> {
  const key = probeKey();
  await client.ask({ method: "PUT", key, body: bodyOf(Uint8Array.of(0)) });
  const uploadId = await begin(client, key);
  try {
    const body = bodyOf(Uint8Array.of(1));
    const tag = await sendPart(client, key, uploadId, 1, body);
    const code = await complete(client, key, uploadId, [tag], true);
    return code === "PreconditionFailed";
  } finally {
    await abort(client, key, uploadId);
    await remove(client, key);
  }
}

function probeKey(): string {
  return `${PROBES}${crypto.randomUUID()}`;
}

/** Whether it may have made the object. */
async function create(
  client: S3Client,
  key: string,
  byte: number,
): Promise<boolean> {
  const { code } = await client.ask({
    method: "PUT",
    key,
    headers: { "if-none-match": "*" },
    body: bodyOf(Uint8Array.of(byte)),
    accepts: ["PreconditionFailed", "NotImplemented"],
  });
  return code !== "PreconditionFailed";
}

async function remove(client: S3Client, key: string): Promise<void> {
  await client.ask({ method: "DELETE", key, accepts: ["NoSuchKey"] });
}
