/** The end of the service as a process, beside clients that are busy. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { txText } from "../cli_helpers.ts";
import { bytes, IS_WINDOWS, tempDir, test, text } from "../helpers.ts";
import { serve, untilReady } from "./serve_process.ts";

const CLIENTS = 32;

/** A client that saves again and again over connections that it keeps. */
class Client {
  readonly saved: string[] = [];
  /** Requests that were sent and got no answer. */
  reset = 0;
  readonly #address: { hostname: string; port: number };
  readonly #name: string;

  constructor(url: string, name: string) {
    const { hostname, port } = new URL(url);
    this.#address = { hostname, port: Number(port) };
    this.#name = name;
  }

  /** Goes on until it is told, or finds, that the service ends. */
  async run(): Promise<void> {
    let wire: Deno.TcpConn | null = null;
    for (let n = 0;; n++) {
      try {
        wire ??= await Deno.connect(this.#address);
      } catch {
        return; // nobody listens any more
      }
      const txId = `${this.#name}-${n}`;
      const answer = await this.#post(wire, txId);
      if (answer === "") this.reset++;
      if (/^HTTP\/1\.1 201 /.test(answer)) this.saved.push(txId);
      const isLast = /^connection: close\r$/im.test(answer);
      if (isLast || answer === "") {
        wire.close();
        wire = null;
      }
      if (!/^HTTP\/1\.1 201 /.test(answer)) {
        wire?.close();
        return;
      }
    }
  }

  async #post(wire: Deno.TcpConn, txId: string): Promise<string> {
    const body = txText(txId, bytes("x"));
    const request =
      "POST /txs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" +
      `Content-Length: ${body.length}\r\n\r\n${body}`;
    try {
      await wire.write(bytes(request));
      const buffer = new Uint8Array(4_096);
      const read = await wire.read(buffer);
      return text(buffer.subarray(0, read ?? 0));
    } catch {
      return "";
    }
  }
}

for (const args of [[], ["--drain", "1s"]]) {
  test(
    `SIGTERM resets none of ${CLIENTS} busy clients ${args.join(" ")}`,
    async () => {
      await using dir = await tempDir();
      const served = await serve(dir.path, args);
      try {
        await untilReady(served.url);
        const clients = Array.from(
          { length: CLIENTS },
          (_, n) => new Client(served.url, `c${n}`),
        );
        const done = clients.map((client) => client.run());
        await new Promise((resolve) => setTimeout(resolve, 500));
        const ended = served.end("SIGTERM");
        if (args.length > 0) await untilStopping(served.url);
        await Promise.all(done);
        const { code, stderr } = await ended;
        assertEquals(code, 0, stderr);
        assertEquals(clients.map(({ reset }) => reset), Array(CLIENTS).fill(0));
        const saved = clients.flatMap(({ saved }) => saved);
        assert(saved.length >= CLIENTS, `${saved.length} were saved`);
        const again = await serve(dir.path);
        await untilReady(again.url);
        const listed = await fetch(`${again.url}txs`, {
          headers: { accept: "application/x-ndjson" },
        });
        const there = new Set(
          (await listed.text()).trim().split("\n")
            .map((line) => JSON.parse(line).tx_id),
        );
        await again.end("SIGTERM");
        assertEquals(saved.filter((txId) => !there.has(txId)), []);
      } finally {
        await served.end("SIGKILL");
      }
    },
    { ignore: IS_WINDOWS },
  );
}

async function untilStopping(url: string): Promise<void> {
  while (true) {
    const answer = await fetch(`${url}readyz`);
    const said = await answer.text();
    if (answer.ok) continue;
    assertEquals(answer.status, 503);
    assertMatch(said, /"STOPPING"/);
    assertEquals(await (await fetch(`${url}healthz`)).text(), "OK");
    return;
  }
}
