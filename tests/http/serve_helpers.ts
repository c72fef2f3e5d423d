/**
 * What the tests of the service share: a service in this process on a free port,
 * and requests that no client library would send.
 *
 * @module
 */

import { join } from "@std/path";
import { localGuard, tokenGuard } from "../../src/http/access.ts";
import type { AccessLog, Fields, Level } from "../../src/http/log.ts";
import { DEFAULT_LIMITS, type Limits } from "../../src/http/limits.ts";
import { HttpServer } from "../../src/http/server.ts";
import { type LogKey, Service } from "../../src/http/service.ts";
import { readTokens } from "../../src/http/tokens.ts";
import type { Tx } from "../../src/types.ts";
import {
  bytes,
  type Driver,
  tempDir,
  TempStore,
  text,
  TIME_LIMIT,
} from "../helpers.ts";

/** How to start a service. */
export interface ServeOptions {
  /** Limits other than the usual ones. */
  limits?: Partial<Limits>;
  /** The tokens, as a file has them. */
  tokens?: string;
  /** Whether it recovers and opens the store; true unless told. */
  start?: boolean;
  /** Binding. */
  driver?: Driver;
  /** How long it waits for locks, in ms. */
  lockTimeout?: number;
  /** Whether anybody may read its log. */
  isLogPublic?: boolean;
  /** What signs for its log. */
  logKey?: LogKey;
  /** Which requests it tells its operator of. */
  accessLog?: AccessLog;
  /** Transactions that are there before it starts. */
  txs?: Tx[];
  /** Does something to the store before it starts. */
  before?: (store: TempStore) => Promise<void>;
}

/** A notice without its text. */
export type Entry = { level: Level } & Fields;

/** A service in this process. */
export class TestService implements AsyncDisposable {
  readonly #server: HttpServer;
  /** The service. */
  readonly service: Service;
  /** Its store's folder and files. */
  readonly files: TempStore;
  /** What it told its operator. */
  readonly notices: string[];
  /** The fields of that. */
  readonly entries: Entry[];
  /** Where it listens, with a slash at the end. */
  readonly url: string;
  /** Its port. */
  readonly port: number;

  constructor(
    server: HttpServer,
    service: Service,
    files: TempStore,
    notices: string[],
    entries: Entry[],
  ) {
    this.#server = server;
    this.service = service;
    this.files = files;
    this.notices = notices;
    this.entries = entries;
    this.url = server.url;
    this.port = Number(new URL(server.url).port);
  }

  /** Sends a request; all of its answer. */
  async ask(path: string, init: RequestInit = {}): Promise<Answer> {
    const response = await fetch(new URL(path, this.url), {
      ...init,
      signal: AbortSignal.timeout(TIME_LIMIT / 2),
    });
    const body = new Uint8Array(await response.arrayBuffer());
    return new Answer(response.status, response.headers, body);
  }

  /** Posts JSON. */
  post(path: string, value: unknown): Promise<Answer> {
    return this.ask(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: typeof value === "string" ? value : JSON.stringify(value),
    });
  }

  /** Posts lines. */
  postLines(body: BodyInit): Promise<Answer> {
    return this.ask("/txs", {
      method: "POST",
      headers: { "content-type": "application/x-ndjson" },
      body,
    });
  }

  /** Opens a connection and sends what no client library would. */
  async connect(request: string): Promise<Wire> {
    const wire = new Wire(
      await Deno.connect({
        hostname: "127.0.0.1",
        port: this.port,
      }),
    );
    await wire.send(request);
    return wire;
  }

  /** Sends one request as it is written; all of the answer. */
  async raw(requestLine: string, headers: string[] = []): Promise<string> {
    using wire = await this.connect(
      [requestLine, "Host: localhost", "Connection: close", ...headers, "", ""]
        .join("\r\n"),
    );
    return await wire.rest();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
    await this.service.close();
    await this.files[Symbol.asyncDispose]();
  }
}

/** An answer, read to its end. */
export class Answer {
  /** Makes one. */
  constructor(
    readonly status: number,
    readonly headers: Headers,
    readonly body: Uint8Array<ArrayBuffer>,
  ) {}

  /** The body as text. */
  get text(): string {
    return text(this.body);
  }

  /** The body as JSON. */
  // deno-lint-ignore no-explicit-any -- a test looks at what it expects there
  get json(): any {
    return JSON.parse(this.text);
  }

  /** Status and `code` of a problem. */
  get problem(): string {
    return `${this.status} ${this.json.code}`;
  }
}

/** A connection. */
export class Wire implements Disposable {
  readonly #conn: Deno.Conn;

  /** Over this. */
  constructor(conn: Deno.Conn) {
    this.#conn = conn;
  }

  /** Sends text. */
  async send(data: string): Promise<void> {
    const left = bytes(data);
    for (let at = 0; at < left.length;) {
      at += await this.#conn.write(left.subarray(at));
    }
  }

  /** What comes next; `""` at the end. */
  async next(): Promise<string> {
    const buffer = new Uint8Array(65_536);
    try {
      const read = await this.#conn.read(buffer);
      return read === null ? "" : text(buffer.subarray(0, read));
    } catch (error) {
      if (error instanceof Deno.errors.ConnectionReset) return "";
      throw error;
    }
  }

  /** What comes until the other side closes the connection. */
  async rest(): Promise<string> {
    let all = "";
    for (let piece; (piece = await this.next()) !== "";) all += piece;
    return all;
  }

  [Symbol.dispose](): void {
    this.#conn.close();
  }
}

/** Starts a service on a store of its own. */
export async function startService(
  options: ServeOptions = {},
): Promise<TestService> {
  const { driver = "builtin" } = options;
  const files = new TempStore(await tempDir(), { driver });
  if (options.txs) await (await files.open()).saveTxs(options.txs);
  await files.close();
  await options.before?.(files);
  return await serveFiles(files, options);
}

/** Starts a service on the store that is below a directory, which it leaves. */
export async function serveBelow(path: string): Promise<TestService> {
  const dir = {
    path,
    join: (...parts: string[]) => join(path, ...parts),
    async [Symbol.asyncDispose]() {},
  };
  return await serveFiles(new TempStore(dir, { driver: "builtin" }), {});
}

async function serveFiles(
  files: TempStore,
  { driver = "builtin", lockTimeout, ...options }: ServeOptions,
): Promise<TestService> {
  const notices: string[] = [];
  const entries: Entry[] = [];
  const service = new Service({
    base: files.base,
    db: files.db,
    storage: { driver, ...(lockTimeout !== undefined && { lockTimeout }) },
    create: true,
    recover: true,
    limits: { ...DEFAULT_LIMITS, ...options.limits },
    ...(options.isLogPublic && { isLogPublic: true }),
    ...(options.logKey && { logKey: options.logKey }),
    notice: (line, level, fields) => {
      notices.push(line);
      entries.push({ level, ...fields });
    },
    ...(options.accessLog && { accessLog: options.accessLog }),
    version: "1.2.3",
  });
  const guard = options.tokens === undefined
    ? localGuard
    : tokenGuard(() => readTokens(options.tokens!));
  const server = HttpServer.listen(service, guard, {
    host: "127.0.0.1",
    port: 0,
  });
  const started = new TestService(server, service, files, notices, entries);
  if (options.start ?? true) {
    await service.start(new AbortController().signal);
  }
  return started;
}
