/**
 * A proxy on loopback that treats what passes as bad networks and overloaded
 * servers do. It knows nothing of what passes, but that one side asks, and the
 * other answers before it is asked again.
 *
 * @module
 */

/** What befalls a question. */
export type Fault =
  /** The connection breaks before the server has got anything. */
  | { kind: "reset-before" }
  /** It breaks when so many bytes of the question have passed. */
  | { kind: "reset-during"; after: number }
  /** It breaks when the server begins to answer: the answer is lost. */
  | { kind: "reset-after" }
  /** It breaks when so many bytes of the answer have passed. */
  | { kind: "reset-answer"; after: number }
  /** Nothing passes any more, and nobody is told. */
  | { kind: "black-hole" }
  /** It passes after this, although who asked may have gone. */
  | { kind: "late"; until: Promise<unknown> }
  /** One bit of the question is flipped behind its head, if it has one. */
  | { kind: "flip" }
  /** This is the answer; the server does not get the question. */
  | { kind: "answer"; text: string };

/** What an overloaded S3 says. */
export const SLOW_DOWN: Fault = {
  kind: "answer",
  text: "HTTP/1.1 503 Slow Down\r\ncontent-type: application/xml\r\n" +
    "content-length: 38\r\nconnection: close\r\n\r\n" +
    "<Error><Code>SlowDown</Code> </Error> ",
};

/** Breaks a connection. */
class Broken extends Error {}

/** Something between clients and a server. */
export class FaultProxy implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #links = new Map<Link, Promise<void>>();
  readonly #accepting: Promise<void>;

  /** What befalls a question that begins so; nothing by default. */
  fault: (question: Uint8Array) => Fault | null = () => null;
  /** How many bytes pass in a second, each way, on each connection. */
  bytesPerSecond = Infinity;
  /** How many questions something has befallen. */
  count = 0;

  /** A proxy before a port of 127.0.0.1. */
  constructor(port: number) {
    this.#accepting = this.#accept(port);
  }

  /** Where it listens. */
  get port(): number {
    return this.#listener.addr.port;
  }

  /** The same as a URL. */
  get endpoint(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Lets a fault befall a share of the questions, as a random source says. */
  befall(fault: Fault, share: number, random = Math.random): void {
    this.fault = () => random() < share ? fault : null;
  }

  /** Lets a fault befall the next questions, so many. */
  befallNext(fault: Fault, times = 1): void {
    this.fault = () => times-- > 0 ? fault : null;
  }

  /** Lets everything pass; what is in a black hole stays there. */
  heal(): void {
    this.fault = () => null;
    this.bytesPerSecond = Infinity;
  }

  /** Breaks all connections. */
  breakAll(): void {
    for (const link of this.#links.keys()) link.break();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#accepting;
    this.breakAll();
    await Promise.all(this.#links.values());
  }

  async #accept(port: number): Promise<void> {
    for await (const client of this.#listener) {
      const link = new Link(this, client);
      const end = link.serve(port).catch(() => {}) // it has broken: that is its purpose
        .finally(() => {
          link.break();
          this.#links.delete(link);
        });
      this.#links.set(link, end);
    }
  }
}

/** A connection from end to end. */
class Link {
  readonly #proxy: FaultProxy;
  readonly #client: Deno.TcpConn;
  #server: Deno.TcpConn | undefined;
  /** What befalls the question that is asked or answered now. */
  #fault: Fault | null = null;
  #isAsked = false;
  #asked = 0;
  #answered = 0;
  #isFlipped = false;

  constructor(proxy: FaultProxy, client: Deno.TcpConn) {
    this.#proxy = proxy;
    this.#client = client;
  }

  async serve(port: number): Promise<void> {
    this.#server = await Deno.connect({ hostname: "127.0.0.1", port });
    await Promise.race([
      this.#pass(this.#client, this.#server, (data) => this.#ask(data)),
      this.#pass(this.#server, this.#client, (data) => this.#answer(data)),
    ]);
  }

  break(): void {
    for (const conn of [this.#client, this.#server]) {
      try {
        conn?.close();
      } catch {
        // It is.
      }
    }
  }

  async #pass(
    source: Deno.TcpConn,
    sink: Deno.TcpConn,
    judge: (data: Uint8Array) => Promise<Uint8Array>,
  ): Promise<void> {
    const buffer = new Uint8Array(16 * 1024);
    for (;;) {
      const length = await source.read(buffer);
      if (length === null) return;
      const data = await judge(buffer.subarray(0, length));
      for (let at = 0; at < data.length;) {
        at += await sink.write(data.subarray(at));
      }
      await this.#slow(data.length);
    }
  }

  async #slow(bytes: number): Promise<void> {
    const ms = bytes / this.#proxy.bytesPerSecond * 1000;
    if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms));
  }

  /** What the server gets of what the client sends. */
  async #ask(data: Uint8Array): Promise<Uint8Array> {
    if (!this.#isAsked) {
      this.#isAsked = true;
      [this.#asked, this.#answered, this.#isFlipped] = [0, 0, false];
      this.#fault = this.#proxy.fault(data);
      if (this.#fault) this.#proxy.count++;
    }
    this.#asked += data.length;
    const fault = this.#fault;
    switch (fault?.kind) {
      case "reset-before":
        throw new Broken();
      case "reset-during":
        if (this.#asked < fault.after) return data;
        await this.#server!.write(data.subarray(0, data.length >> 1));
        throw new Broken();
      case "black-hole":
        return await new Promise(() => {});
      case "late":
        await fault.until;
        return data;
      case "answer":
        await this.#client.write(new TextEncoder().encode(fault.text));
        throw new Broken();
      case "flip":
        return this.#flip(data);
      default:
        return data;
    }
  }

  /** What the client gets of what the server sends. */
  async #answer(data: Uint8Array): Promise<Uint8Array> {
    this.#isAsked = false;
    this.#answered += data.length;
    const fault = this.#fault;
    switch (fault?.kind) {
      case "reset-after":
        throw new Broken();
      case "reset-answer":
        if (this.#answered < fault.after) return data;
        await this.#client.write(data.subarray(0, data.length >> 1));
        throw new Broken();
      default:
        return data;
    }
  }

  #flip(data: Uint8Array): Uint8Array {
    if (this.#isFlipped) return data;
    const isFirst = this.#asked === data.length;
    const head = isFirst ? headLength(data) : 0;
    if (head >= data.length) return data;
    this.#isFlipped = true;
    data[head + ((data.length - head) >> 1)]! ^= 1;
    return data;
  }
}

/** Length of what stands before the first empty line. */
function headLength(data: Uint8Array): number {
  const text = new TextDecoder("latin1").decode(data);
  return text.indexOf("\r\n\r\n") + 4;
}
