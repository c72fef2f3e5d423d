/**
 * Attacks by anybody who reaches the port, on the service as a process: others
 * are served meanwhile and afterwards, and memory stays flat.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { txText } from "../cli_helpers.ts";
import { bytes, randomBytes, tempDir, test, text, within } from "../helpers.ts";
import { serve, untilReady } from "./serve_process.ts";

const MiB = 1024 * 1024;

/** Longest that another client may wait for an answer meanwhile, in ms. */
const LONGEST_WAIT = 1_500;

/** Fetches over a connection of its own, as a client does that comes anew. */
async function fetchAnew(
  url: string,
): Promise<{ status: number; body: Uint8Array }> {
  using client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
  const answer = await fetch(url, { client });
  return { status: answer.status, body: await answer.bytes() };
}

/** A service under attack, and what another client sees of it. */
class Target implements AsyncDisposable {
  readonly #served: Awaited<ReturnType<typeof serve>>;
  readonly #dir: AsyncDisposable;
  readonly #wires: Deno.TcpConn[] = [];
  readonly #quiet: number;

  private constructor(
    served: Awaited<ReturnType<typeof serve>>,
    dir: AsyncDisposable,
    quiet: number,
  ) {
    this.#served = served;
    this.#dir = dir;
    this.#quiet = quiet;
  }

  /** Starts one that holds the transaction `a`. */
  static async start(): Promise<Target> {
    const dir = await tempDir();
    const served = await serve(dir.path);
    await untilReady(served.url);
    const answer = await fetch(`${served.url}txs`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: txText("a", randomBytes(1_000)),
    });
    assertEquals(answer.status, 201, await answer.text());
    const target = new Target(served, dir, 0);
    return new Target(served, dir, await target.memory());
  }

  /** Opens a connection and sends something, as far as it is taken. */
  async connect(first: string): Promise<Deno.TcpConn> {
    const { hostname, port } = new URL(this.#served.url);
    const wire = await Deno.connect({ hostname, port: Number(port) });
    this.#wires.push(wire);
    const data = bytes(first);
    for (let at = 0; at < data.length;) {
      at += await wire.write(data.subarray(at));
    }
    return wire;
  }

  /** Posts JSON. */
  post(body: Uint8Array<ArrayBuffer>): Promise<Response> {
    return fetch(`${this.#served.url}txs`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    });
  }

  /** How many bytes there are at a path, all of them read. */
  async size(path: string): Promise<number> {
    const answer = await fetch(this.#served.url + path);
    let size = 0;
    for await (const piece of answer.body!) size += piece.length;
    return size;
  }

  /** A figure of `/metrics`. */
  async figure(name: string): Promise<number> {
    const answer = await fetch(`${this.#served.url}metrics`);
    const figures = await answer.text();
    assertEquals(answer.status, 200, figures);
    const line = figures.split("\n").find((line) =>
      line.startsWith(`${name} `)
    );
    return Number(line?.slice(name.length));
  }

  /** Resident memory of the service, in bytes. */
  memory(): Promise<number> {
    return this.figure("process_resident_memory_bytes");
  }

  /** Asks now and again while something goes on; the worst of what it saw. */
  async watch(
    work: Promise<unknown>,
  ): Promise<{ wait: number; grown: number }> {
    let goesOn = true, wait = 0, most = 0;
    const done = work.finally(() => goesOn = false);
    do {
      const start = performance.now();
      const { status, body } = await fetchAnew(`${this.#served.url}txs/a`);
      assertEquals([status, body.length], [200, 1_000]);
      wait = Math.max(wait, performance.now() - start);
      most = Math.max(most, await this.memory());
      await pause(10);
    } while (goesOn);
    await done;
    return { wait, grown: most - this.#quiet };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const wire of this.#wires) close(wire);
    const { code, stderr } = await this.#served.end("SIGTERM");
    await this.#dir[Symbol.asyncDispose]();
    assertEquals(code, 0, stderr);
  }
}

function close(wire: Deno.TcpConn): void {
  try {
    wire.close();
  } catch {
    // It is closed already.
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const GET = "GET /txs/a HTTP/1.1\r\nHost: localhost\r\n\r\n";

test("connections that are reset with requests in the pipe leave none under way", async () => {
  await using target = await Target.start();
  for (let n = 0; n < 28; n++) {
    const wire = await target.connect(GET.repeat(20));
    await pause(n % 3); // before, while and after it answers
    wire.close(); // with answers that nobody has read: a reset
  }
  const { wait } = await target.watch(pause(200));
  assert(wait < LONGEST_WAIT, `${wait} ms`);
  assertEquals(await target.figure("poh_http_requests_in_flight"), 1);
});

test("a megabyte of requests in one pipe keeps nobody waiting", async () => {
  await using target = await Target.start();
  const attack = async () => {
    const wire = await target.connect("");
    const reading = (async () => {
      const buffer = new Uint8Array(MiB);
      while (await wire.read(buffer) !== null);
    })().catch(() => {}); // until it is closed
    const data = bytes(GET.repeat(MiB / GET.length));
    for (let at = 0; at < data.length;) {
      at += await wire.write(data.subarray(at));
    }
    await pause(500);
    wire.close();
    await reading;
  };
  const { wait, grown } = await target.watch(attack());
  assert(wait < LONGEST_WAIT, `${wait} ms`);
  assert(grown < 150 * MiB, `grew by ${Math.round(grown / MiB)} MiB`);
});

test("a long JSON body of empty objects or of brackets costs little", async () => {
  await using target = await Target.start();
  const objects = bytes(`[${"{},".repeat(16 * MiB / 3 - 2)}{}]`);
  const brackets = new Uint8Array(16 * MiB).fill("[".charCodeAt(0));
  const attack = async () => {
    const bodies = [objects, ...Array.from({ length: 6 }, () => brackets)];
    const answers = await Promise.all(bodies.map((body) => target.post(body)));
    for (const answer of answers) {
      assertEquals([answer.status, (await answer.json()).code], [
        400,
        "INVALID_TX",
      ]);
    }
  };
  const { wait, grown } = await target.watch(attack());
  assert(wait < LONGEST_WAIT, `${wait} ms`);
  // Bodies take 64 MiB at most, each twice: as bytes and as text.
  assert(grown < 250 * MiB, `grew by ${Math.round(grown / MiB)} MiB`);
});

test("a payload that is larger than memory may be is streamed in and out", async () => {
  await using target = await Target.start();
  const size = 300 * MiB, piece = new Uint8Array(MiB);
  const attack = async () => {
    const wire = await target.connect(
      "PUT /txs/big?holder=h&timestamp=1 HTTP/1.1\r\nHost: localhost\r\n" +
        `Content-Length: ${size}\r\n\r\n`,
    );
    for (let sent = 0; sent < size; sent += piece.length) {
      for (let at = 0; at < piece.length;) {
        at += await wire.write(piece.subarray(at));
      }
    }
    const answer = new Uint8Array(12);
    await wire.read(answer);
    assertEquals(text(answer), "HTTP/1.1 201");
    assertEquals(await target.size("txs/big"), size);
  };
  const { wait, grown } = await target.watch(attack());
  assert(wait < LONGEST_WAIT, `${wait} ms`);
  assert(grown < 150 * MiB, `grew by ${Math.round(grown / MiB)} MiB`);
});

test("bodies of GET that trickle in keep nobody from being served", async () => {
  await using target = await Target.start();
  const start = GET.replace("\r\n\r\n", "\r\nContent-Length: 1000\r\n\r\n");
  const wires: Deno.TcpConn[] = [];
  for (let n = 0; n < 1_100; n++) wires.push(await target.connect(start));
  const trickle = setInterval(() => {
    for (const wire of wires) wire.write(bytes("x")).catch(() => {});
  }, 200);
  const { wait, grown } = await target.watch(pause(1_000));
  clearInterval(trickle);
  assert(wait < LONGEST_WAIT, `${wait} ms`);
  assert(grown < 150 * MiB, `grew by ${Math.round(grown / MiB)} MiB`);
  assertEquals(await target.figure("poh_http_requests_in_flight"), 1);
});

test("what is refused while too much is under way is counted and logged", async () => {
  await using dir = await tempDir();
  const served = await serve(dir.path);
  try {
    await untilReady(served.url);
    const { hostname, port } = new URL(served.url);
    const wires = await Promise.all(
      Array.from({ length: 256 }, async () => {
        const wire = await Deno.connect({ hostname, port: Number(port) });
        await wire.write(bytes(
          "POST /txs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" +
            "Content-Length: 9\r\n\r\n{",
        ));
        return wire;
      }),
    );
    let refused: Response;
    do {
      refused = await fetch(`${served.url}txs`);
      await refused.body?.cancel();
    } while (refused.status === 200);
    assertEquals([refused.status, refused.headers.get("retry-after")], [
      503,
      "1",
    ]);
    for (const wire of wires) wire.close();
    const figures = await within(10_000, untilCounted(served.url));
    assertMatch(
      figures,
      /^poh_http_rejections_total\{code="OVERLOADED"\} [1-9]\d*$/m,
    );
  } finally {
    const { stderr } = await served.end("SIGTERM");
    assertMatch(stderr, /^Overloaded: 1 requests refused, 256 under way/m);
  }
});

test("more connections than there may be files end no service", async () => {
  await using dir = await tempDir();
  const served = await serve(dir.path, [], {}, ["prlimit", "--nofile=200"]);
  try {
    await untilReady(served.url);
    const { hostname, port } = new URL(served.url);
    const wires: Deno.TcpConn[] = [];
    const refused = (async () => {
      while (wires.length < 2_000) {
        wires.push(await Deno.connect({ hostname, port: Number(port) }));
      }
    })();
    await refused.catch(() => {}); // nobody listens for a moment
    for (const wire of wires) wire.close();
    await within(10_000, untilServed(served.url));
  } finally {
    const { code, stderr } = await served.end("SIGTERM");
    assertEquals(code, 0, stderr);
  }
}, { ignore: Deno.build.os !== "linux" });

async function untilServed(url: string): Promise<void> {
  while (true) {
    try {
      if ((await fetchAnew(`${url}txs`)).status === 200) return;
    } catch {
      await pause(50);
    }
  }
}

/** The figures, once there is room to ask for them. */
async function untilCounted(url: string): Promise<string> {
  while (true) {
    const answer = await fetch(`${url}metrics`);
    const figures = text(await answer.bytes());
    if (answer.ok) return figures;
    await pause(20);
  }
}
