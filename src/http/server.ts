/**
 * The HTTP server under the routes: connections, their time limits, its end.
 *
 * It is Node's server, which Deno has built in: `Deno.serve` cannot limit how
 * many connections there are and how long a client may take for its headers.
 *
 * @module
 */

import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Guard } from "./access.ts";
import { makeApp } from "./app.ts";
import { getRequestListener } from "./packages.ts";
import type { Service } from "./service.ts";

/** How often connections are looked at, in ms, at most. */
const CHECK_INTERVAL = 1_000;

/** How often a shutdown looks for connections to close, in ms. */
const IDLE_INTERVAL = 20;

/** Longest headers, in bytes: an id of 255 bytes is thrice as long in a URL. */
const MAX_HEADER_BYTES = 16 * 1024;

/** Where a server listens. */
export interface Address {
  /** Host name or IP address. */
  host: string;
  /** TCP port; 0 for any that is free. */
  port: number;
}

/** A server that listens. Dispose of it to finish what is in flight and stop. */
export class HttpServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #service: Service;

  private constructor(server: Server, service: Service) {
    this.#server = server;
    this.#service = service;
  }

  /**
   * Starts to listen.
   *
   * @throws {Error} If the address cannot be had.
   */
  static async listen(
    service: Service,
    guard: Guard,
    { host, port }: Address,
  ): Promise<HttpServer> {
    const { headers, connections } = service.limits;
    const server = createServer(
      {
        headersTimeout: headers,
        keepAliveTimeout: headers,
        requestTimeout: 0, // bodies have a limit of their own: see `bodyOf`
        connectionsCheckingInterval: Math.min(CHECK_INTERVAL, headers),
        maxHeaderSize: MAX_HEADER_BYTES,
      },
      getRequestListener(makeApp(service, guard).fetch, {
        overrideGlobalObjects: false,
      }),
    );
    server.maxConnections = connections;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, host, resolve);
    });
    return new HttpServer(server, service);
  }

  /** Where it listens, as a URL. */
  get url(): string {
    const { address, port, family } = this.#server.address() as AddressInfo;
    return `http://${family === "IPv6" ? `[${address}]` : address}:${port}/`;
  }

  /** Accepts no more, waits for what is in flight, then closes what is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#service.stop();
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    const idle = setInterval(() => {
      // Idle is what has been answered; the rest never asked anything.
      if (this.#service.requests > 0) this.#server.closeIdleConnections();
      else this.#server.closeAllConnections();
    }, IDLE_INTERVAL);
    const timer = setTimeout(() => {
      this.#server.closeAllConnections();
      resolve(); // Deno 2.7 may close none of them
    }, this.#service.limits.shutdown);
    await closed;
    clearInterval(idle);
    clearTimeout(timer);
  }
}
