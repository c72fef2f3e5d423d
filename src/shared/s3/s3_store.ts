/**
 * Payloads as objects of a bucket, in anything that speaks S3.
 *
 * @module
 */

import { InvalidTxIdError, PohStorageError } from "../../errors.ts";
import type { ObjectStore, PayloadSource, StoredObject } from "../contracts.ts";
import { isPlainKey, plainKey, txIdOfKey } from "../object_key.ts";
import type { PayloadStore } from "../../model/store.ts";
import { digestOf } from "../../files/hash.ts";
import type { Answer } from "./attempt.ts";
import { type Body, bodyOf, bodyOfPayload } from "./body.ts";
import { S3Client, type S3Request } from "./client.ts";
import { chunksOf } from "./download.ts";
import { listObjects, listUploads } from "./listing.ts";
import { completesOnce, createsOnce, PROBES } from "./probe.ts";
import { PATIENCE, type Patience } from "./retry.ts";
import { type Credentials, credentialsOf, targetOf } from "./target.ts";
import { abort, uploadInParts } from "./upload.ts";

/** What is larger goes up in parts, in bytes. */
const LARGE = 16 * 1024 * 1024;

/** The most that S3 takes in one go, in bytes. */
const MAX_WHOLE = 5 * 1024 ** 3;

/** What is larger is read piece by piece, in bytes. */
const SMALL = 1024 * 1024;

/** By this header of an object the save that made it knows it again. */
const SAVE = "x-amz-meta-poh-save";

/** Options of {@linkcode S3Store.open}. */
export interface S3StoreOptions {
  /** Who signs; by default whom the environment names. */
  credentials?: Credentials;
  /** How long to try; times in ms. */
  patience?: Partial<Patience>;
}

/**
 * Keeps payloads in a bucket: each under `<prefix>/<file name of tx id>`, so
 * that the bucket looks like the folder of a local store.
 *
 * The server refuses what arrives with another SHA-256. Requests whose failure
 * may pass are made again; see {@linkcode PATIENCE}.
 *
 * Needs `--allow-net` for the endpoint, and `--allow-env` for the variables that
 * are used of `VARIABLES` in `target.ts`.
 */
export class S3Store implements ObjectStore, PayloadStore {
  readonly #client: S3Client;
  readonly #createsOnce = remembered(() => createsOnce(this.#client));
  readonly #completesOnce = remembered(() => completesOnce(this.#client));

  private constructor(client: S3Client) {
    this.#client = client;
  }

  /**
   * A store at `s3://bucket/prefix?endpoint=…&region=…&path-style=true`; asks
   * the server nothing yet.
   *
   * @throws {PohStorageError} `INVALID_URL`, or `DENIED` without credentials.
   */
  static open(url: string, options: S3StoreOptions = {}): S3Store {
    const target = targetOf(url);
    const credentials = options.credentials ?? credentialsOf();
    const patience = { ...PATIENCE, ...options.patience };
    return new S3Store(new S3Client(target, credentials, patience));
  }

  /** {@inheritDoc ObjectStore.url} */
  get url(): string {
    return this.#client.target.url;
  }

  /** Makes the bucket; harmless when it is there and one's own. */
  async init(): Promise<void> {
    const found = await this.#client.ask({
      method: "HEAD",
      accepts: ["NotFound"],
    });
    if (found.code === null) return;
    await this.#client.ask({
      method: "PUT",
      body: bucketBody(this.#client.target.region),
      accepts: ["BucketAlreadyOwnedByYou"],
    });
  }

  /** {@inheritDoc ObjectStore.create} */
  async create(
    key: string,
    payload: PayloadSource,
    digest: string,
  ): Promise<boolean> {
    // Any other key is nobody else's, and the same bytes may be put there twice.
    // A server that cannot do it is not asked to: some refuse the whole request.
    const once = isPlainKey(key) && await this.canCreateOnce();
    const size = sizeOf(payload);
    if (size > LARGE) {
      // Not after gigabytes have been sent.
      if (await this.#isThere(key)) return false;
      if (!once || await this.#completesOnce()) {
        return await this.#upload(key, payload, digest, once);
      }
      if (size > MAX_WHOLE) return false; // nothing makes that key its own
    }
    return await this.#put(key, payload, digest, once);
  }

  /** {@inheritDoc ObjectStore.canCreateOnce} */
  canCreateOnce(): Promise<boolean> {
    return this.#createsOnce();
  }

  /** {@inheritDoc ObjectStore.read} */
  async read(key: string): Promise<Uint8Array | null> {
    const found = await this.#client.call(
      get(key),
      async (answer): Promise<Uint8Array | Answer | null> => {
        if (answer.code !== null) return null;
        const isSmall = answer.size !== null && answer.size <= SMALL;
        return isSmall ? await answer.bytes() : answer;
      },
    );
    if (found === null || found instanceof Uint8Array) return found;
    const chunks = chunksOf(this.#client, key, found);
    if (found.size === null) {
      return await new Response(ReadableStream.from(chunks)).bytes();
    }
    const bytes = new Uint8Array(found.size);
    let at = 0;
    for await (const chunk of chunks) {
      bytes.set(chunk, at);
      at += chunk.length;
    }
    return bytes;
  }

  /** {@inheritDoc ObjectStore.stream} */
  async stream(key: string): Promise<ReadableStream<Uint8Array> | null> {
    const answer = await this.#client.open(get(key));
    if (answer.code !== null) return null;
    const chunks = chunksOf(this.#client, key, answer);
    return new ReadableStream({
      async pull(controller) {
        const { done, value } = await chunks.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel() {
        answer.end();
        // What is on its way by now is let go of when it comes, or fails.
        chunks.return(undefined).catch(() => {});
      },
    }, { highWaterMark: 0 });
  }

  /** {@inheritDoc ObjectStore.delete} */
  async delete(key: string): Promise<void> {
    await this.#client.ask({ method: "DELETE", key, accepts: ["NoSuchKey"] });
  }

  /** {@inheritDoc ObjectStore.list} */
  async *list(prefix = ""): AsyncGenerator<StoredObject> {
    yield* listObjects(this.#client, prefix);
  }

  /** {@inheritDoc ObjectStore.now} */
  async now(): Promise<number> {
    const { headers } = await this.#client.ask({ method: "HEAD" });
    const time = Date.parse(headers.get("date") ?? "");
    if (!Number.isNaN(time)) return time / 1000;
    throw new PohStorageError("OBJECT_STORE", `${this.url} tells no time`);
  }

  /** {@inheritDoc ObjectStore.deleteAbandoned} */
  async deleteAbandoned(before: number): Promise<number> {
    let count = 0;
    for await (const upload of listUploads(this.#client)) {
      const { key, uploadId, initiated } = upload;
      // A bucket without a prefix may be others' as well.
      const isOurs = key.startsWith(".poh/") || txIdOfKey(key) !== null;
      if (initiated >= before || !isOurs) continue;
      await abort(this.#client, key, uploadId);
      count++;
    }
    for await (const { key, modified } of this.list(PROBES)) {
      if (modified < before) await this.delete(key);
    }
    return count;
  }

  /** {@inheritDoc ObjectStore.close} */
  // deno-lint-ignore require-await -- the contract is asynchronous
  async close(): Promise<void> {
    this.#client.close();
  }

  /** {@inheritDoc PayloadStore.save} */
  async save(txId: string, payload: Uint8Array): Promise<void> {
    const key = plainKey(txId);
    const digest = await digestOf(payload);
    await (payload.length > LARGE
      ? this.#upload(key, payload, digest, false)
      : this.#put(key, payload, digest, false));
  }

  /** {@inheritDoc PayloadStore.load} */
  async load(txId: string): Promise<Uint8Array | null> {
    const key = keyOrNull(txId);
    return key === null ? null : await this.read(key);
  }

  /** {@inheritDoc PayloadStore.exists} */
  async exists(txId: string): Promise<boolean> {
    const key = keyOrNull(txId);
    return key !== null && await this.#isThere(key);
  }

  /** {@inheritDoc PayloadStore.remove} */
  async remove(txId: string): Promise<boolean> {
    if (!await this.exists(txId)) return false;
    await this.delete(plainKey(txId));
    return true;
  }

  /** {@inheritDoc PayloadStore.listKeys} */
  async listKeys(): Promise<string[]> {
    const keys: string[] = [];
    for await (const { key } of this.list()) {
      const txId = isPlainKey(key) ? txIdOfKey(key) : null;
      if (txId !== null) keys.push(txId);
    }
    return keys;
  }

  async #put(
    key: string,
    payload: PayloadSource,
    digest: string,
    once: boolean,
  ): Promise<boolean> {
    const save = crypto.randomUUID();
    const { code } = await this.#client.ask({
      method: "PUT",
      key,
      headers: { [SAVE]: save, ...once && { "if-none-match": "*" } },
      body: await bodyOfPayload(payload, digest),
      accepts: once ? ["PreconditionFailed"] : [],
    });
    // What has it may be this save, by a request whose answer was lost: it was
    // sent again then, also by `fetch` where a connection had been used before.
    return code === null || await this.#isOfSave(key, save);
  }

  async #upload(
    key: string,
    payload: PayloadSource,
    digest: string,
    once: boolean,
  ): Promise<boolean> {
    const save = crypto.randomUUID();
    const headers = { [SAVE]: save };
    const upload = { key, payload, digest, headers, once };
    if (await uploadInParts(this.#client, upload)) return true;
    if (await this.#isOfSave(key, save)) return true;
    if (await this.#isThere(key)) return false;
    throw new PohStorageError(
      "OBJECT_STORE",
      `${this.url} has lost an upload before it was complete`,
    );
  }

  async #isOfSave(key: string, save: string): Promise<boolean> {
    const accepts = ["NotFound"];
    const found = await this.#client.ask({ method: "HEAD", key, accepts });
    return found.code === null && found.headers.get(SAVE) === save;
  }

  /** By a GET: a HEAD's answer does not tell a missing object from a missing bucket. */
  async #isThere(key: string): Promise<boolean> {
    const found = await this.#client.ask({
      ...get(key),
      headers: { range: "bytes=0-0" },
      accepts: ["NoSuchKey", "InvalidRange"], // it is empty
    });
    return found.code !== "NoSuchKey";
  }
}

/** Finds something out once; anew where that has failed. */
function remembered<T>(ask: () => Promise<T>): () => Promise<T> {
  let known: Promise<T> | undefined;
  return async () => {
    known ??= ask();
    try {
      return await known;
    } catch (error) {
      known = undefined;
      throw error;
    }
  };
}

function get(key: string): S3Request {
  return { method: "GET", key, accepts: ["NoSuchKey"] };
}

/** AWS wants to be told where, except in its first region. */
function bucketBody(region: string): Body {
  const where = region === "us-east-1" || region === "auto"
    ? ""
    : `<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>${region}</LocationConstraint></CreateBucketConfiguration>`;
  return bodyOf(new TextEncoder().encode(where));
}

function sizeOf(payload: PayloadSource): number {
  return payload instanceof Uint8Array ? payload.length : payload.size;
}

/** An id that no object can stand for has none. */
function keyOrNull(txId: string): string | null {
  try {
    return plainKey(txId);
  } catch (error) {
    if (error instanceof InvalidTxIdError) return null;
    throw error;
  }
}
