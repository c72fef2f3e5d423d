/**
 * Load on the service as a process: clients that save, load and list, and others
 * that misbehave, for some seconds, while its memory is watched.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { run, txText } from "../cli_helpers.ts";
import { bytes, randomBytes, tempDir, text } from "../helpers.ts";
import { serve, untilReady } from "./serve_process.ts";

const TOKEN = "0123456789abcdef";
const CLIENTS = 48;

/** More than this above what it was when it had warmed up is a leak. */
const GROWTH = 200 * 1024 * 1024;

/** What a load did. */
export interface LoadToll {
  /** Answers, by status. */
  answers: Record<string, number>;
  /** Saves that were acknowledged. */
  saved: number;
  /** Half of the answers came within so many ms. */
  p50: number;
  /** 99 of 100 answers came within so many ms. */
  p99: number;
  /** Resident memory of the service after a second, in MiB. */
  memory: number;
  /** The most that it was later. */
  mostMemory: number;
}

/** Loads a new service for some seconds. Asserts that nothing was lost. */
export async function loadService(seconds: number): Promise<LoadToll> {
  await using dir = await tempDir();
  const served = await serve(dir.path, [], { POH_TOKEN: TOKEN });
  try {
    await untilReady(served.url);
    const load = new Load(served.url, performance.now() + seconds * 1_000);
    const toll = await load.run();
    const { code, stderr } = await served.end("SIGTERM");
    assertEquals(code, 0, stderr);
    const { stdout } = await run(["list"], { cwd: dir.path });
    const there = new Set(stdout.trimEnd().split("\n"));
    assertEquals(load.saved.filter((txId) => !there.has(txId)), []);
    return toll;
  } finally {
    await served.end("SIGKILL");
  }
}

class Load {
  /** Ids whose save was acknowledged. */
  readonly saved: string[] = [];
  readonly #url: string;
  readonly #end: number;
  readonly #answers: Record<string, number> = {};
  readonly #times: number[] = [];
  readonly #memory: number[] = [];
  readonly #payload = randomBytes(1_500);
  #count = 0;

  constructor(url: string, end: number) {
    this.#url = url;
    this.#end = end;
  }

  async run(): Promise<LoadToll> {
    await this.#save("first");
    const clients = Array.from({ length: CLIENTS }, () => this.#client());
    await Promise.all([...clients, this.#mischief(), this.#watch()]);
    const times = this.#times.toSorted((a, b) => a - b);
    const within = (share: number) =>
      Math.round(times[Math.floor(times.length * share)] ?? 0);
    const [warm = 0, ...later] = this.#memory;
    const most = Math.max(...later);
    assert(most < warm + GROWTH, `memory grew: ${this.#memory.join(", ")}`);
    const statuses = Object.keys(this.#answers).sort();
    assertEquals(statuses, ["200", "201", "401", "413"]);
    return {
      answers: this.#answers,
      saved: this.saved.length,
      p50: within(0.5),
      p99: within(0.99),
      memory: Math.round(warm / 1024 / 1024),
      mostMemory: Math.round(most / 1024 / 1024),
    };
  }

  get #goesOn(): boolean {
    return performance.now() < this.#end;
  }

  async #client(): Promise<void> {
    while (this.#goesOn) {
      const n = this.#count++;
      const start = performance.now();
      if (n % 4 === 0) await this.#ask(`txs/${this.saved.at(-1)}`);
      else if (n % 50 === 1) await this.#ask("txs?limit=50");
      else if (n % 100 === 2) await this.#saveLines(n);
      else await this.#save(`t${n}`);
      this.#times.push(performance.now() - start);
    }
  }

  async #save(txId: string): Promise<void> {
    const tx = txText(txId, this.#payload);
    const status = await this.#post("application/json", tx);
    if (status === 201) this.saved.push(txId);
  }

  async #saveLines(n: number): Promise<void> {
    const ids = Array.from({ length: 100 }, (_, i) => `t${n}-${i}`);
    const lines = ids.map((txId) => txText(txId, this.#payload)).join("\n");
    const status = await this.#post("application/x-ndjson", lines);
    if (status === 200) this.saved.push(...ids);
  }

  #post(type: string, body: string): Promise<number> {
    const headers = { "content-type": type };
    return this.#ask("txs", { method: "POST", headers, body });
  }

  async #ask(
    path: string,
    init: RequestInit = {},
    token = TOKEN,
  ): Promise<number> {
    const headers = new Headers(init.headers);
    headers.set("authorization", `Bearer ${token}`);
    const answer = await fetch(this.#url + path, { ...init, headers });
    await answer.body?.cancel();
    this.#tally(answer.status);
    return answer.status;
  }

  #tally(status: number): void {
    this.#answers[status] = (this.#answers[status] ?? 0) + 1;
  }

  /** Bad tokens, bodies that are too long, and connections that break. */
  async #mischief(): Promise<void> {
    while (this.#goesOn) {
      await this.#ask("txs", {}, "wrong");
      using _ = await this.#begin(15_000_000);
      using tooLong = await this.#begin(17_000_000);
      const answer = new Uint8Array(12); // HTTP/1.1 413
      await tooLong.read(answer);
      this.#tally(Number(text(answer).slice(9)));
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Begins a request that it does not end. */
  async #begin(length: number): Promise<Deno.Conn> {
    const { hostname, port } = new URL(this.#url);
    const conn = await Deno.connect({ hostname, port: Number(port) });
    await conn.write(bytes(
      `POST /txs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${TOKEN}\r\n` +
        `Content-Type: application/json\r\nContent-Length: ${length}\r\n\r\n{`,
    ));
    return conn;
  }

  async #watch(): Promise<void> {
    const headers = { authorization: `Bearer ${TOKEN}` };
    while (this.#goesOn) {
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      const answer = await fetch(`${this.#url}metrics`, { headers });
      const memory = /^process_resident_memory_bytes (\d+)/m
        .exec(await answer.text());
      this.#memory.push(Number(memory?.[1]));
    }
  }
}
