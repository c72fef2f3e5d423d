/**
 * The HTTP server under the routes: where it listens, and its end.
 *
 * It is Deno's own. It takes the requests of a connection one after the other;
 * it limits neither how many connections there are nor how long one may keep
 * silent: `docs/deploy.md` says what a proxy in front of it is for.
 *
 * @module
 */

import type { Guard } from "./access.ts";
import { makeHandler } from "./app.ts";
import type { Service } from "./service.ts";

/** How often a shutdown looks whether anything is in flight, in ms. */
const CHECK_INTERVAL = 10;

/** How long after it could not accept a server listens again, in ms. */
const LISTEN_AGAIN = 500;

/**
 * How long it refuses before it closes connections, in ms: a client that asks
 * again and again is told once that it is over, and none is reset.
 */
const LAST_ANSWERS = 100;

/**
 * How long answers that are complete may take to be sent at the end, in ms. A
 * client that takes nothing would keep Deno's server from ending.
 */
const LAST_BYTES = 2_000;

/** Where a server listens. */
export interface Address {
  /** Host name or IP address. */
  host: string;
  /** TCP port; 0 for any that is free. */
  port: number;
}

/** A server that listens. Dispose of it to finish what is in flight and stop. */
export class HttpServer implements AsyncDisposable {
  readonly #service: Service;
  readonly #handler: Deno.ServeHandler;
  readonly #abort = new AbortController();
  #server: Deno.HttpServer<Deno.NetAddr>;

  private constructor(service: Service, guard: Guard, address: Address) {
    this.#service = service;
    this.#handler = makeHandler(service, guard);
    this.#server = this.#listen(address);
  }

  /**
   * Starts to listen.
   *
   * @throws {Error} If the address cannot be had.
   */
  static listen(service: Service, guard: Guard, address: Address): HttpServer {
    return new HttpServer(service, guard, address);
  }

  /** Where it listens, as a URL. */
  get url(): string {
    const { hostname, port } = this.#server.addr;
    return `http://${
      hostname.includes(":") ? `[${hostname}]` : hostname
    }:${port}/`;
  }

  #listen({ host, port }: Address): Deno.HttpServer<Deno.NetAddr> {
    const server = Deno.serve({
      hostname: host,
      port,
      signal: this.#abort.signal,
      onListen() {},
      // Only of a body that failed on its way, which has been told already.
      onError: () => new Response(null, { status: 500 }),
    }, this.#handler);
    server.finished.catch((error) => this.#listenAgain(error));
    return server;
  }

  /** Deno's server ends when it cannot accept, as when files run out. */
  async #listenAgain(error: Error): Promise<void> {
    if (this.#service.stopping) return;
    const { hostname: host, port } = this.#server.addr;
    this.#service.notice(
      `Cannot accept connections: ${error.message}`,
      "error",
    );
    while (!this.#service.stopping) {
      await sleep(LISTEN_AGAIN);
      try {
        this.#server = this.#listen({ host, port });
        this.#service.notice("Listening again");
        return;
      } catch {
        // Tried until it can be had.
      }
    }
  }

  /**
   * Finishes what is in flight and closes the connections.
   *
   * For the time of the limit `drain` it serves on and has every answer be the
   * last of its connection, so that no client finds one closed that it is about
   * to use; then it refuses, and waits for what is in flight, but not forever.
   * `Deno.serve` is shut down last: it would cut off bodies that are being read.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    const { drain, shutdown } = this.#service.limits;
    this.#service.stop();
    if (drain > 0) await sleep(drain);
    this.#service.refuse();
    const end = performance.now() + shutdown;
    while (this.#service.requests > 0 && performance.now() < end) {
      await sleep(CHECK_INTERVAL);
    }
    if (this.#service.requests > 0) return this.#abort.abort();
    await sleep(LAST_ANSWERS);
    await inTime(this.#server.shutdown(), LAST_BYTES);
  }
}

/** Waits for something, but not for longer than `ms`. */
async function inTime(work: Promise<void>, ms: number): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([work, late]);
  clearTimeout(timer);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
