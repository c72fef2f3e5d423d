/**
 * Servers that speak S3, each in its own way, and stores in them.
 *
 * @module
 */

import { S3Store, type S3StoreOptions } from "../../src/shared/s3/s3_store.ts";
import type { Credentials } from "../../src/shared/s3/target.ts";

/** A running one, which keeps its objects on this machine. */
export interface S3Server extends AsyncDisposable {
  /** Where it answers. */
  readonly endpoint: string;
  /** The same as a port on 127.0.0.1. */
  readonly port: number;
  /** Of a user who may do everything. */
  readonly credentials: Credentials;
  /** Kills what answers, as the out-of-memory killer does. */
  killGateway(): Promise<void>;
  /** Starts it again, and waits until it answers. */
  startGateway(): Promise<void>;
}

const BUCKET = "poh";

/** The credentials as variables. */
export function variablesOf({ credentials }: S3Server): Record<string, string> {
  return {
    AWS_ACCESS_KEY_ID: credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
  };
}

/**
 * A server for the tests of one file, which ends with them; null where there is
 * none to be had, with the reason on stderr.
 *
 * @param start Starts it in a folder.
 */
export async function startForTests<Server extends S3Server>(
  name: string,
  whyNot: string | null,
  start: (dir: string) => Promise<Server>,
): Promise<Server | null> {
  if (whyNot !== null) {
    console.error(`Tests on ${name} are skipped: ${whyNot}`);
    return null;
  }
  const dir = await Deno.makeTempDir({ prefix: `poh-${name.toLowerCase()}-` });
  const server = await start(dir);
  Deno.test.afterAll(async () => await server[Symbol.asyncDispose]());
  return server;
}

/** A store of its own, opened as often as a test likes. */
export class TestBucket implements AsyncDisposable {
  readonly #prefix = crypto.randomUUID();
  readonly #server: S3Server;
  readonly #opened: S3Store[] = [];

  private constructor(server: S3Server) {
    this.#server = server;
  }

  /** An empty one. */
  static async make(server: S3Server): Promise<TestBucket> {
    const made = new TestBucket(server);
    await made.open().init();
    return made;
  }

  /** Where it is, by way of another address. */
  url(endpoint: string = this.#server.endpoint): string {
    return `s3://${BUCKET}/${this.#prefix}?endpoint=${endpoint}`;
  }

  /** One more instance. */
  open(
    options: S3StoreOptions = {},
    endpoint: string = this.#server.endpoint,
  ): S3Store {
    const { credentials } = this.#server;
    const store = S3Store.open(this.url(endpoint), { credentials, ...options });
    this.#opened.push(store);
    return store;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const store of this.#opened) await store.close();
  }
}
