import { assert, assertEquals, assertMatch } from "@std/assert";
import { restoreStore, StorageManager } from "../../mod.ts";
import {
  assertBytes,
  flipBit,
  randomBytes,
  sampleTx,
  startScript,
  tempDir,
  test,
} from "../helpers.ts";
import { startService, type TestService } from "./serve_helpers.ts";

const TOKENS = ["read", "write", "admin"].map((scope) =>
  `${scope} token-for-${scope}-0123`
).join("\n");

const TXS = Array.from(
  { length: 20 },
  (_, n) => sampleTx({ txId: `t${n}`, payload: randomBytes(n * 10_000, n) }),
);

/** Asks with a token of that scope. */
function ask(
  served: TestService,
  path: string,
  method = "GET",
  scope = "admin",
  headers: Record<string, string> = { "content-type": "application/json" },
) {
  return served.ask(path, {
    method,
    headers: { ...headers, authorization: `Bearer token-for-${scope}-0123` },
    ...(method === "POST" && { body: "{}" }),
  });
}

/** The lines of an answer. */
async function lines(served: TestService, path: string, method = "POST") {
  const answer = await ask(served, path, method);
  assertEquals(answer.status, 200, answer.text);
  return answer.text.trimEnd().split("\n").filter(Boolean).map((line) =>
    JSON.parse(line)
  );
}

const OPERATIONS = [
  ["GET", "/admin/info"],
  ["GET", "/admin/quarantine"],
  ["GET", "/admin/backup"],
  ["POST", "/admin/verify"],
  ["POST", "/admin/recover"],
  ["POST", "/admin/quarantine/x/restore"],
] as const;

test("operations are for a token of scope admin alone", async () => {
  await using served = await startService({ tokens: TOKENS });
  await using local = await startService();
  for (const [method, path] of OPERATIONS) {
    for (const scope of ["read", "write"]) {
      const answer = await ask(served, path, method, scope);
      assertEquals(answer.problem, "403 FORBIDDEN", path);
    }
    const body = method === "POST" ? "{}" : null;
    assertEquals(
      (await served.ask(path, { method, body })).problem,
      "401 UNAUTHORIZED",
    );
    assertEquals(
      (await local.ask(path, { method, body })).problem,
      "403 FORBIDDEN",
    );
    if (method === "GET") continue;
    // What a form of another page can send.
    const form = { "content-type": "text/plain" };
    const unasked = await ask(served, path, method, "admin", form);
    assertEquals(unasked.problem, "415 UNSUPPORTED_TYPE");
  }
});

test("a damaged payload is found, taken out, listed and put back", async () => {
  await using served = await startService({ tokens: TOKENS, txs: TXS });
  const file = served.files.file("t7");
  await flipBit(file);
  const found = await lines(served, "/admin/verify");
  const { report } = found.at(-1);
  assertEquals([report.sound, report.damaged], [19, true]);
  const findings = found.flatMap(({ finding }) => finding ?? []);
  assertEquals(findings.map(({ tx_id }) => tx_id), ["t7"]);
  assertEquals(served.service.verified?.report.damaged, true);

  const told = await lines(served, "/admin/recover?dry-run=true");
  assertEquals(told.at(-1).report.dry_run, true);
  assertEquals((await served.service.store.infoTx("t7"))?.txId, "t7");

  const damaged = await Deno.readFile(file);
  const recovered = await lines(served, "/admin/recover");
  assertEquals(recovered.at(-1).report.taken_out, ["t7"]);
  assertEquals(await served.service.store.infoTx("t7"), null);
  const [entry, ...more] = await lines(served, "/admin/quarantine", "GET");
  assertEquals(more, []);
  assertEquals(
    [entry.tx_id, entry.reason, entry.row.tx_id, entry.size],
    ["t7", "payload-corrupt", "t7", damaged.length],
  );

  const restore = (name: string) =>
    ask(
      served,
      `/admin/quarantine/${encodeURIComponent(name)}/restore`,
      "POST",
    );
  for (const name of ["x", "../../poh", "%"]) {
    assertEquals((await restore(name)).problem, "404 NOT_IN_QUARANTINE", name);
  }
  assertEquals((await restore(entry.name)).problem, "500 INTEGRITY");
  await flipBit(served.files.base + `/.poh/quarantine/${entry.name}.bin`);
  const back = await restore(entry.name);
  assertEquals([back.status, back.json.tx_id], [200, "t7"], back.text);
  const tx = await served.service.store.loadTx("t7");
  assertBytes(tx?.payload, TXS[7]!.payload);
  assertEquals(await lines(served, "/admin/quarantine", "GET"), []);
});

test("one check is under way at a time, and ends when its client goes", async () => {
  const txs = Array.from(
    { length: 3_000 },
    (_, n) => sampleTx({ txId: `${n}` }),
  );
  await using served = await startService({ tokens: TOKENS, txs });
  const end = served.service.beginCheck();
  for (const path of ["/admin/verify", "/admin/recover"]) {
    assertEquals(
      (await ask(served, path, "POST")).problem,
      "409 CHECK_RUNNING",
    );
  }
  end();
  const wire = await served.connect([
    "POST /admin/verify HTTP/1.1",
    "Host: localhost",
    "Authorization: Bearer token-for-admin-0123",
    "Content-Type: application/json",
    "Content-Length: 0",
    "",
    "",
  ].join("\r\n"));
  assertMatch(await wire.next(), /^HTTP\/1.1 200 /);
  wire[Symbol.dispose]();
  const { report } = (await untilFree(served)).at(-1);
  assertEquals(report.checked, 3_000);
  assertEquals(served.service.requests, 0);

  for (
    const query of ["sample=0", "sample=2", "sample=", "dry-run=yes", "x=1"]
  ) {
    for (const path of ["/admin/verify", "/admin/recover"]) {
      const answer = await ask(served, `${path}?${query}`, "POST");
      assertEquals(answer.problem, "400 INVALID_REQUEST");
    }
  }
  const [, some] = [
    0,
    (await lines(served, "/admin/verify?sample=0.1")).at(-1),
  ];
  assert(some.report.checked > 0 && some.report.checked < 3_000);
});

async function untilFree(served: TestService) {
  while (true) {
    const answer = await ask(served, "/admin/verify", "POST");
    if (answer.status === 200) {
      return answer.text.trimEnd().split("\n").map((line) => JSON.parse(line));
    }
    assertEquals(answer.problem, "409 CHECK_RUNNING");
  }
}

test("recover repairs nothing while another process has the store open", async () => {
  await using served = await startService({ tokens: TOKENS, txs: TXS });
  await flipBit(served.files.file("t7"));
  const { base, db } = served.files;
  await using _ = await startScript("hold_store.ts", [base, db]);
  const [{ error }] = await lines(served, "/admin/recover");
  assertEquals(error.code, "BUSY");
  assertEquals((await served.service.store.infoTx("t7"))?.txId, "t7");
});

test("GET /admin/backup gives an archive that restores, beside writers", async () => {
  await using served = await startService({ tokens: TOKENS, txs: TXS });
  await using dir = await tempDir();
  const [answer] = await Promise.all([
    ask(served, "/admin/backup"),
    served.service.store.saveTx(sampleTx({ txId: "later" })),
  ]);
  assertEquals(answer.headers.get("content-type"), "application/x-tar");
  await Deno.writeFile(dir.join("store.tar"), answer.body);
  assert(served.service.backedUp);
  const [base, db] = [dir.join("new"), dir.join("new", "poh.db")];
  await restoreStore(dir.join("store.tar"), base, db);
  await using restored = await StorageManager.open(base, db);
  for (const { txId, payload } of TXS) {
    assertBytes((await restored.loadTx(txId))?.payload, payload);
  }
  assertEquals((await restored.verify()).damaged, false);
});

test("GET /admin/info describes the store", async () => {
  await using served = await startService({ tokens: TOKENS, txs: TXS });
  const { json } = await ask(served, "/admin/info");
  assertEquals([json.txs, json.write_once, json.base], [
    20,
    false,
    served.files.base,
  ]);
});
