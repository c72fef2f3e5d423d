/**
 * A TCP proxy on loopback that treats connections as bad networks do.
 *
 * @module
 */

/** Who has sent something. */
export type Side = "client" | "server";

/** Something between clients and a server. */
export class FlakyProxy implements AsyncDisposable {
  readonly #listener: Deno.TcpListener;
  readonly #links = new Set<Link>();
  readonly #accepting: Promise<void>;
  /** Nothing passes before this. */
  #hole: Promise<void> | undefined;

  /**
   * Called with what a side sends, before it is passed on: false breaks the
   * connection there and then.
   */
  onData: (from: Side, data: Uint8Array) => boolean = () => true;

  /** A proxy before a port of 127.0.0.1. */
  constructor(target: number) {
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.#accepting = this.#accept(target);
  }

  /** Where it listens. */
  get port(): number {
    return this.#listener.addr.port;
  }

  /** Lets nothing pass any more, on no connection; the result ends that. */
  swallow(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#hole = promise;
    return () => {
      this.#hole = undefined;
      resolve();
    };
  }

  /**
   * Keeps what clients send on the connections that there are. The result
   * delivers it, although its senders may have gone.
   */
  hold(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    for (const link of this.#links) link.held = promise;
    return resolve;
  }

  /** Breaks all connections. */
  breakAll(): void {
    for (const link of this.#links) link.break();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    this.breakAll();
    await this.#accepting;
  }

  async #accept(target: number): Promise<void> {
    for await (const client of this.#listener) {
      const link = new Link(client);
      this.#links.add(link);
      this.#serve(link, target)
        .catch(() => {}) // the connection has broken: that is what this is for
        .finally(() => this.#links.delete(link));
    }
  }

  async #serve(link: Link, port: number): Promise<void> {
    try {
      const server = await Deno.connect({ hostname: "127.0.0.1", port });
      link.add(server);
      await Promise.all([
        this.#pass(link, "client", link.client, server),
        this.#pass(link, "server", server, link.client),
      ]);
    } finally {
      link.break();
    }
  }

  async #pass(
    link: Link,
    from: Side,
    source: Deno.TcpConn,
    sink: Deno.TcpConn,
  ): Promise<void> {
    const buffer = new Uint8Array(64 * 1024);
    for (;;) {
      const length = await source.read(buffer);
      while (this.#hole) await this.#hole;
      if (from === "client") await link.held;
      const data = buffer.subarray(0, length ?? 0);
      if (length === null || !this.onData(from, data)) return link.break();
      for (let at = 0; at < length;) at += await sink.write(data.subarray(at));
    }
  }
}

/** A connection from end to end. */
class Link {
  readonly client: Deno.TcpConn;
  held: Promise<void> | undefined;
  readonly #open = new Set<Deno.TcpConn>();
  #isBroken = false;

  constructor(client: Deno.TcpConn) {
    this.client = client;
    this.add(client);
  }

  add(conn: Deno.TcpConn): void {
    this.#open.add(conn);
    if (this.#isBroken) this.break();
  }

  break(): void {
    this.#isBroken = true;
    for (const conn of this.#open) conn.close();
    this.#open.clear();
  }
}
