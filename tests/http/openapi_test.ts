import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { openApi } from "../../src/http/openapi.ts";
import { PROBLEM_CODES } from "../../src/http/problem_codes.ts";
import { ROUTES } from "../../src/http/routes.ts";
import { bytes, sampleTx, tempDir, test, text, within } from "../helpers.ts";
import { startService } from "./serve_helpers.ts";

const METHODS = ["get", "head", "put", "post", "delete"];

/** Calls everything by types alone: what is misused here does not compile. */
const CLIENT = `
import createClient from "npm:openapi-fetch@0.17.0";
import type { components, paths } from "./api.ts";

type Is<A, B> = [A] extends [B] ? [B] extends [A] ? true : false : false;
const is = <T extends true>(_?: T) => {};
const api = createClient<paths>({ baseUrl: Deno.args[0] });
const done: unknown[] = [];
const path = { id: "a/b" };

const put = await api.PUT("/txs/{id}", {
  params: {
    path,
    query: { holder: "alice", timestamp: "1.5" },
    header: { "If-None-Match": "*" },
  },
  body: new TextEncoder().encode("hello"),
  bodySerializer: (body: unknown) => body as Uint8Array<ArrayBuffer>,
  headers: { "Content-Type": "application/octet-stream" },
});
is<Is<typeof put.data, components["schemas"]["SavedTx"] | undefined>>();
done.push(put.data?.outcome);

const tx = { tx_id: "c", holder_id: "bob", timestamp: 2, payload: "aGk=" };
const post = await api.POST("/txs", { body: tx });
is<Is<typeof post.data, components["schemas"]["SavedTx"] | undefined>>();
done.push(post.data?.size);

const list = await api.GET("/txs", { params: { query: { limit: 1 } } });
const txs: components["schemas"]["TxInfo"][] = list.data!.txs;
done.push(txs.map(({ tx_id }) => tx_id), list.data?.next);

const load = await api.GET("/txs/{id}", { params: { path }, parseAs: "text" });
done.push(load.data satisfies string | undefined);

const info = await api.GET("/txs/{id}/info", { params: { path } });
is<Is<typeof info.data, components["schemas"]["TxInfo"] | undefined>>();
done.push(info.data?.holder_id);

const cast = await api.POST("/broadcast", { body: tx, parseAs: "text" });
is<Is<typeof cast.data, string | undefined>>();

const gone = await api.DELETE("/txs/{id}", {
  params: { path, header: { "If-Match": '"x"' } },
});
const code: components["schemas"]["Problem"]["code"] | undefined =
  gone.error?.code;
if (code === "PRECONDITION_FAILED") done.push(gone.error?.storage_hash);
// @ts-expect-error: no problem has that code
if (code === "NO_SUCH_CODE") done.push(code);
await api.DELETE("/txs/{id}", { params: { path } });

const unknown = await api.GET("/txs/{id}/info", { params: { path } });
done.push(unknown.error?.code);

const health = await api.GET("/healthz", { parseAs: "text" });
is<Is<typeof health.data, string | undefined>>();
done.push(health.data);
console.log(JSON.stringify(done));
`;

test(
  "a client that is made from the description compiles, and works",
  async () => {
    await using served = await startService();
    await using dir = await tempDir();
    const run = async (args: string[], input = "") => {
      const child = new Deno.Command(Deno.execPath(), {
        args: [...args],
        cwd: dir.path,
        stdin: "piped",
        stdout: "piped",
        stderr: "piped",
        env: { NO_COLOR: "1" },
      }).spawn();
      const writer = child.stdin.getWriter();
      await writer.write(bytes(input));
      await writer.close();
      const { code, stdout, stderr } = await within(120_000, child.output());
      assertEquals(code, 0, text(stderr));
      return text(stdout);
    };
    const { text: description } = await served.ask("/openapi.json");
    const types = join(import.meta.dirname!, "../children/openapi_types.ts");
    const api = await run(
      ["run", "--no-config", "--no-lock", "--allow-all", types],
      description,
    );
    await Deno.writeTextFile(dir.join("api.ts"), api);
    await Deno.writeTextFile(dir.join("client.ts"), CLIENT);
    const said = await run([
      "run",
      "--no-config",
      "--no-lock",
      "--check",
      "--no-prompt",
      `--allow-net=127.0.0.1:${served.port}`,
      "client.ts",
      served.url.slice(0, -1),
    ]);
    const { storageHash } = (await served.service.store.infoTx("c"))!;
    assertEquals(storageHash.length, 64);
    const [created, size, ids, next, ...rest] = JSON.parse(said);
    assertEquals([created, size, ids], ["created", 2, ["a/b"]]);
    assertEquals(next, "/txs?limit=1&after=a%2Fb");
    assertEquals(rest, [
      "hello",
      "alice",
      "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
      "UNKNOWN_TX",
      "OK",
    ]);
  },
  { timeout: 120_000 },
);

test("the description has every route, and no other", async () => {
  await using served = await startService();
  const { paths } = (await served.ask("/openapi.json")).json;
  assertEquals(
    Object.keys(paths).sort(),
    [...new Set(ROUTES.map(({ path }) => path))].sort(),
  );
  for (const path of Object.keys(paths)) {
    const answer = await served.ask(path.replace(/\{\w+\}/g, "x"), {
      method: "OPTIONS",
    });
    assertEquals(answer.problem, "405 METHOD_NOT_ALLOWED");
    const methods = Object.keys(paths[path]).filter((name) =>
      METHODS.includes(name)
    ).map((name) => name.toUpperCase());
    if (methods.includes("GET") && !methods.includes("HEAD")) {
      methods.push("HEAD");
    }
    const allowed = answer.headers.get("allow")!.split(", ");
    for (const method of methods) assert(allowed.includes(method), path);
  }
});

Deno.test("every reference of the description leads to something, every name is one", () => {
  const document = openApi(ROUTES);
  const { schemas } = document.components;
  const references = JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g);
  for (const [, reference] of references) {
    const [, , , name] = reference!.split("/");
    assert(Object.hasOwn(schemas, name!), reference);
  }
  const ids = Object.values(document.paths).flatMap((path) =>
    METHODS.flatMap((method) => {
      const operation = path[method] as { operationId: string } | undefined;
      return operation ? [operation.operationId] : [];
    })
  );
  assertEquals(new Set(ids).size, ids.length);
});

test("a problem that the service has is one that the description has", async () => {
  await using served = await startService({
    txs: [sampleTx({ txId: "a" })],
    limits: { maxBody: 1_000 },
  });
  const { paths } = (await served.ask("/openapi.json")).json;
  const put = { method: "PUT", body: "x" };
  const head = "?holder=h&timestamp=1";
  const json = { "content-type": "application/json" };
  const cases: [string, string, RequestInit, string][] = [
    ["/txs", "?x=1", {}, "INVALID_REQUEST"],
    ["/txs", "", { method: "POST", body: "x" }, "UNSUPPORTED_TYPE"],
    ["/txs", "", { method: "POST", body: "x", headers: json }, "NOT_JSON"],
    [
      "/txs",
      "",
      { method: "POST", body: "x".repeat(2_000), headers: json },
      "TOO_LARGE",
    ],
    ["/txs/{id}/info", "", {}, "UNKNOWN_TX"],
    ["/txs/{id}", "", {}, "UNKNOWN_TX"],
    ["/txs/{id}", "", { method: "DELETE" }, "UNKNOWN_TX"],
    ["/txs/{id}", "", put, "INVALID_TX"],
    [
      "/txs/{id}",
      head,
      { ...put, headers: { "if-match": "*" } },
      "PRECONDITION_FAILED",
    ],
    [
      "/txs/{id}",
      head,
      { ...put, headers: { "repr-digest": "x" } },
      "INVALID_DIGEST",
    ],
    [
      "/txs/{id}",
      head,
      { ...put, headers: { "content-encoding": "gzip" } },
      "UNSUPPORTED_CODING",
    ],
  ];
  for (const [path, query, init, code] of cases) {
    const answer = await served.ask(
      path.replace("{id}", "unknown") + query,
      init,
    );
    assertEquals(answer.json.code, code);
    const status = PROBLEM_CODES[code as keyof typeof PROBLEM_CODES];
    assertEquals(answer.status, status);
    const operation = paths[path][(init.method ?? "GET").toLowerCase()];
    const { schema } =
      operation.responses[status].content["application/problem+json"];
    assert(schema.allOf[1].properties.code.enum.includes(code), path);
  }
});
