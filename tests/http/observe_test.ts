import { assert, assertEquals, assertMatch } from "@std/assert";
import { jsonLine } from "../../src/http/log.ts";
import { problemOf } from "../../src/http/problem.ts";
import { diskFailed } from "../../src/log/health.ts";
import { flipBit, sampleTx, test, text } from "../helpers.ts";
import { startService } from "./serve_helpers.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";

test("the access log tells of requests with their ids, tokens and traces", async () => {
  await using served = await startService({
    accessLog: "on",
    tokens: "read 0123456789abcdef grafana",
    txs: [sampleTx({ txId: "a" })],
  });
  const answer = await served.ask("/txs/a", {
    headers: {
      authorization: "Bearer 0123456789abcdef",
      "x-request-id": "my-id:1",
      traceparent: `00-${TRACE}-00f067aa0ba902b7-01`,
    },
  });
  assertEquals(answer.headers.get("x-request-id"), "my-id:1");
  const { duration_ms, ...entry } = served.entries.at(-1)!;
  assert(duration_ms as number > 0);
  assertEquals(entry, {
    level: "info",
    request_id: "my-id:1",
    trace_id: TRACE,
    user: "grafana",
    remote: "127.0.0.1",
    method: "GET",
    path: "/txs/a",
    route: "/txs/{id}",
    status: 200,
  });
  assertMatch(
    served.notices.at(-1)!,
    /^127\.0\.0\.1 GET \/txs\/a 200 \d+\.\d ms my-id:1$/,
  );
  // Neither tokens nor what a client may invent get into it.
  const bad = await served.ask("/txs?token=0123456789abcdef", {
    headers: { "x-request-id": "a b", traceparent: `00-${"0".repeat(32)}-x` },
  });
  assertEquals(bad.status, 401);
  const last = served.entries.at(-1)!;
  assertMatch(`${last.request_id}`, /^[\da-f-]{36}$/);
  assertEquals(bad.headers.get("x-request-id"), last.request_id);
  assertEquals(last.trace_id, undefined);
  assertEquals(served.notices.join().includes("0123456789abcdef"), false);
});

test("the access log may tell of errors alone, or of nothing", async () => {
  for (const accessLog of ["errors", "off"] as const) {
    await using served = await startService({
      accessLog,
      txs: [sampleTx({ txId: "a" })],
    });
    const sound = await served.ask("/txs/a");
    assertEquals(sound.headers.has("x-request-id"), false);
    const none = await served.ask("/txs/b");
    assert(none.headers.has("x-request-id"));
    assertEquals(
      served.entries.map(({ status }) => status),
      accessLog === "errors" ? [404] : [],
    );
    await flipBit(served.files.file("a"));
    const damaged = await served.ask("/txs/a");
    const failure = served.entries.find(({ code }) => code === "INTEGRITY")!;
    assertEquals(failure.level, "error");
    assertEquals(failure.request_id, damaged.headers.get("x-request-id"));
  }
});

test("alerts and dashboard name figures that there are", async () => {
  await using served = await startService({ tokens: "admin 0123456789abcdef" });
  const headers = {
    authorization: "Bearer 0123456789abcdef",
    "content-type": "application/json",
  };
  await served.ask("/txs/none", { headers });
  await served.ask("/admin/verify", { method: "POST", headers, body: "{}" });
  const { text: told } = await served.ask("/metrics", { headers });
  const folder = new URL("../../docs/observe/", import.meta.url);
  for (const file of ["alerts.yml", "dashboard.json"]) {
    const used = await Deno.readTextFile(new URL(file, folder));
    const names = new Set(used.match(/\b(?:poh|process)_[a-z_]+/g));
    assert(names.size > 8);
    for (const name of names) {
      // Known only where the system may be asked.
      if (name.startsWith("poh_disk_")) continue;
      assert(told.includes(`\n${name}`), `${file}: ${name}`);
    }
  }
});

test("promtool takes the rules, and they fire when they should", async () => {
  const promtool = async (...args: string[]) => {
    const command = new Deno.Command("promtool", {
      args,
      cwd: new URL("../../docs/observe/", import.meta.url),
      stdout: "null",
    });
    const { code, stderr } = await command.output();
    assertEquals(code, 0, text(stderr));
  };
  await promtool("check", "rules", "alerts.yml");
  await promtool("test", "rules", "alerts_test.yml");
}, { ignore: !hasPromtool() });

/** Whether Prometheus' tool is on this machine, and may be run. */
function hasPromtool(): boolean {
  try {
    const { success } = new Deno.Command("promtool", { args: ["--version"] })
      .outputSync();
    return success;
  } catch {
    return false;
  }
}

Deno.test("a disk that failed is no error of the request", () => {
  const { status, code, headers } = problemOf(diskFailed("EIO"));
  assertEquals([status, code], [503, "DISK_FAILED"]);
  assert(headers["retry-after"]);
});

Deno.test("an entry is one line of JSON, whatever is in it", () => {
  const at = new Date(0);
  const line = jsonLine('a"\n\u001b[2J', "warn", { code: null, n: 1 }, at);
  assertEquals(line.includes("\n") || line.includes("\u001b"), false);
  assertEquals(JSON.parse(line), {
    time: "1970-01-01T00:00:00.000Z",
    level: "warn",
    msg: 'a"\n\u001b[2J',
    code: null,
    n: 1,
  });
});

test("figures tell what serves, what was done last, and what waits", async () => {
  await using served = await startService({
    tokens: "admin 0123456789abcdef",
    txs: [sampleTx({ txId: "a" }), sampleTx({ txId: "b" })],
  });
  const headers = {
    authorization: "Bearer 0123456789abcdef",
    "content-type": "application/json",
  };
  const figures = async () => (await served.ask("/metrics", { headers })).text;
  const before = await figures();
  assertMatch(
    before,
    /^poh_build_info\{version="1\.2\.3",deno="[\d.]+",driver="builtin",library="[^"]+"\} 1$/m,
  );
  assertMatch(before, /^process_cpu_seconds_total [\d.]+$/m);
  assertMatch(before, /^process_start_time_seconds [\d.]+$/m);
  assertMatch(
    before,
    /^poh_last_success_timestamp_seconds\{operation="recovery"\} [\d.]+$/m,
  );
  assertEquals(/operation="(verify|backup)"/.test(before), false);
  assertMatch(before, /^poh_quarantine_cases 0$/m);
  await flipBit(served.files.file("a"));
  for (const path of ["verify", "recover"]) {
    const init = { method: "POST", headers, body: "{}" };
    assertEquals((await served.ask(`/admin/${path}`, init)).status, 200);
  }
  const after = await figures();
  assertMatch(after, /^poh_verify_findings\{kind="payload-corrupt"\} 1$/m);
  assertMatch(after, /^poh_recovery_findings\{kind="payload-corrupt"\} 1$/m);
  assertMatch(after, /operation="verify"\} [\d.]+$/m);
  assertMatch(after, /^poh_quarantine_cases 1$/m);
  const { state } = Deno.permissions.querySync({
    name: "sys",
    kind: "statfs" as "hostname",
  });
  assertEquals(/^poh_disk_free_bytes \d+$/m.test(after), state === "granted");
});
