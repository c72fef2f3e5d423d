/**
 * The service against the thinnest server that does the same work, in one run:
 * `deno task bench:http [--rounds 3] [--seconds 5] [--dir bench/.work]`. The
 * load is wrk's, which has to be installed.
 *
 * @module
 */

import { join, resolve } from "@std/path";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "5" },
    dir: { type: "string", default: "bench/.work" },
  },
});
const rounds = Number(values.rounds), seconds = Number(values.seconds);
const ROOT = resolve(import.meta.dirname!, "..");

const PAYLOAD = new Uint8Array(1_024).map((_, i) => i % 251).toBase64();
const LINES = 10_000;

function txJson(txId: string): string {
  return `{"tx_id":"${txId}","holder_id":"alice","timestamp":1464307123.25,"payload":"${PAYLOAD}"}`;
}

/** What wrk does for saves: an id of its own for each. */
const SAVES = `
local n = 0
request = function()
  n = n + 1
  return wrk.format("POST", "/txs", {["Content-Type"] = "application/json"},
    '{"tx_id":"w' .. SEED .. '-' .. n .. '","holder_id":"alice","timestamp":1464307123.25,"payload":"${PAYLOAD}"}')
end
`;

interface Server extends AsyncDisposable {
  url: string;
  pid: number;
}

const contestants = {
  thin: (dir: string) => ["bench/thin_server.ts", join(dir, "thin.db")],
  ours: (dir: string) => [
    ...["cli.ts", "serve", "--create", "--port", "0"],
    ...["--base", join(dir, "ours")],
  ],
  packed: (dir: string) => [
    ...["cli.ts", "serve", "--port", "0", "--base", join(dir, "packed")],
  ],
};
type Name = keyof typeof contestants;

async function deno(args: string[]): Promise<Deno.ChildProcess> {
  const { resolutionFlags } = await import("../offline/deno.ts");
  return new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--quiet",
      "--v8-flags=--max-semi-space-size=4,--expose-gc",
      ...resolutionFlags(Deno.env.get("POH_OFFLINE") === "1"),
      ...args,
    ],
    cwd: ROOT,
    stdout: "piped",
    stderr: "null",
  }).spawn();
}

async function start(name: Name, dir: string): Promise<Server> {
  if (name === "packed") {
    const base = join(dir, "packed");
    const init = ["cli.ts", "init", "--pack-below", "64KiB", "--base", base];
    const child = await deno(init);
    await child.stdout.cancel();
    await child.status;
  }
  const child = await deno(contestants[name](dir));
  const reader = child.stdout.getReader();
  let said = "";
  while (!/http:\S+\n/.test(said)) {
    const { done, value } = await reader.read();
    if (done) throw new Error(`${name} did not start`);
    said += new TextDecoder().decode(value);
  }
  reader.releaseLock();
  const url = /http:\S+/.exec(said)![0];
  while ((await status(`${url}txs`)) === 503);
  return {
    url,
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await child.stdout.cancel();
      await child.status;
    },
  };
}

async function status(url: string, init?: RequestInit): Promise<number> {
  const answer = await fetch(url, init);
  await answer.body?.cancel();
  return answer.status;
}

/** Requests a second. */
async function wrk(
  url: string,
  connections: number,
  script?: string,
): Promise<number> {
  const { stdout } = await new Deno.Command("wrk", {
    args: [
      ...["-t1", `-c${connections}`, `-d${seconds}s`],
      ...(script === undefined ? [] : ["-s", script]),
      url,
    ],
  }).output();
  const text = new TextDecoder().decode(stdout);
  if (/Non-2xx/.test(text)) throw new Error(`${url}: ${text}`);
  return Number(/Requests\/sec: +([\d.]+)/.exec(text)![1]);
}

function kilobytes(pid: number, name: string): number {
  const text = Deno.readTextFileSync(`/proc/${pid}/status`);
  return Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)![1]);
}

let seed = 0;

async function measure(
  { url, pid }: Server,
  dir: string,
): Promise<Record<string, number>> {
  const rates: Record<string, number> = {};
  const post = (body: string, type: string) =>
    status(`${url}txs`, {
      method: "POST",
      headers: { "content-type": type },
      body,
    });
  await post(txJson("a"), "application/json");
  rates["GET 1 KiB, 1 connection"] = await wrk(`${url}txs/a`, 1);
  rates["GET 1 KiB, 64 connections"] = await wrk(`${url}txs/a`, 64);
  for (const connections of [1, 64]) {
    const script = join(dir, "saves.lua");
    await Deno.writeTextFile(script, SAVES.replace("SEED", String(++seed)));
    rates[`POST, ${connections} in flight`] = await wrk(
      url,
      connections,
      script,
    );
  }
  const lines = Array.from({ length: LINES }, (_, i) => txJson(`n${seed}-${i}`))
    .join("\n");
  const begin = performance.now();
  await post(lines, "application/x-ndjson");
  rates[`NDJSON of ${LINES}, lines`] = LINES * 1_000 /
    (performance.now() - begin);
  rates["list of 100"] = await wrk(`${url}txs`, 1);
  rates["RSS at the end, MiB"] = kilobytes(pid, "VmRSS") / 1024;
  return rates;
}

const all: Record<string, Record<Name, number[]>> = {};
await Deno.mkdir(values.dir, { recursive: true });
for (let round = 0; round < rounds; round++) {
  for (const name of Object.keys(contestants) as Name[]) {
    const dir = await Deno.makeTempDir({ dir: resolve(values.dir) });
    {
      await using server = await start(name, dir);
      const rates = await measure(server, dir);
      for (const [what, rate] of Object.entries(rates)) {
        all[what] ??= { thin: [], ours: [], packed: [] };
        all[what][name].push(rate);
      }
    }
    await Deno.remove(dir, { recursive: true });
  }
}

const median = (of: number[]) =>
  of.toSorted((a, b) => a - b)[Math.floor(of.length / 2)]!;
const ratios = (of: number[], thin: number[]) => {
  const each = of.map((rate, round) => rate / thin[round]!);
  const [least, most] = [Math.min(...each), Math.max(...each)];
  return `${median(each).toFixed(2)} (${least.toFixed(2)}–${most.toFixed(2)})`;
};
console.log(
  "| requests a second | thin | files | packed | files : thin | packed : thin |",
);
console.log("| --- | --- | --- | --- | --- | --- |");
for (const [what, { thin, ours, packed }] of Object.entries(all)) {
  const rates = [thin, ours, packed].map((of) => Math.round(median(of)));
  console.log(
    `| ${
      [what, ...rates, ratios(ours, thin), ratios(packed, thin)].join(" | ")
    } |`,
  );
}
