/**
 * Stores in the tests' Ceph: the one that those who run the tests have started
 * and named by `POH_TEST_S3`, or one that is started for a file of tests and
 * ends with it.
 *
 * @module
 */

import { S3Store, type S3StoreOptions } from "../../src/s3/s3_store.ts";
import { ACCESS_KEY, Ceph, noCeph, SECRET_KEY } from "./ceph.ts";

/** Who signs in the tests. */
export const CREDENTIALS = {
  accessKeyId: ACCESS_KEY,
  secretAccessKey: SECRET_KEY,
};

const BUCKET = "poh";

/**
 * A Ceph for the tests of one file; null where there is none to be had, with
 * the reason on stderr.
 *
 * @param isOwn Whether the tests do it harm, so that it must not be another's.
 */
export async function ceph(isOwn = false): Promise<Ceph | null> {
  const named = isOwn ? undefined : namedCeph();
  if (named) return await Ceph.at(named);
  const reason = await noCeph();
  if (reason !== null) {
    console.error(`Tests on Ceph are skipped: ${reason}`);
    return null;
  }
  const dir = await Deno.makeTempDir({ prefix: "poh-ceph-" });
  const started = await Ceph.start(dir);
  Deno.test.afterAll(() => started[Symbol.asyncDispose]());
  return started;
}

function namedCeph(): string | undefined {
  const query = { name: "env", variable: "POH_TEST_S3" } as const;
  return Deno.permissions.querySync(query).state === "granted"
    ? Deno.env.get(query.variable) || undefined
    : undefined;
}

/** The URL of a folder in the bucket that nothing else uses. */
export function storeUrl(endpoint: string, prefix: string): string {
  return `s3://${BUCKET}/${prefix}?endpoint=${endpoint}`;
}

/** A store of its own, opened as often as a test likes. */
export class TestBucket implements AsyncDisposable {
  readonly #prefix = crypto.randomUUID();
  readonly #endpoint: string;
  readonly #opened: S3Store[] = [];

  private constructor(endpoint: string) {
    this.#endpoint = endpoint;
  }

  /** An empty one. */
  static async make(endpoint: string): Promise<TestBucket> {
    const made = new TestBucket(endpoint);
    await made.open().init();
    return made;
  }

  /** Where it is, by way of another address. */
  url(endpoint: string = this.#endpoint): string {
    return storeUrl(endpoint, this.#prefix);
  }

  /** One more instance. */
  open(options: S3StoreOptions = {}, endpoint = this.#endpoint): S3Store {
    const store = S3Store.open(this.url(endpoint), {
      credentials: CREDENTIALS,
      ...options,
    });
    this.#opened.push(store);
    return store;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const store of this.#opened) await store.close();
  }
}
