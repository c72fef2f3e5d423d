import { assertEquals } from "@std/assert";
import {
  comparisonsOf,
  FILTER_FIELDS,
  filterFields,
  type TxFilter,
} from "../../src/model/filter.ts";
import { filterOf } from "../../src/format/filter_values.ts";
import { commands } from "../../src/cli/table.ts";
import { conditionsOf } from "../../src/shared/postgres/query.ts";
import { ROUTES } from "../../src/http/routes.ts";
import { test } from "../helpers.ts";
import { startService } from "../http/serve_helpers.ts";

const NAMES = filterFields.map(([, { option }]) => option);

/** A filter's comparisons, each as text. */
function said(filter: TxFilter): string[] | null {
  return comparisonsOf(filter)?.map(({ column, operator, value }) =>
    `${column} ${operator} ${value}`
  ) ?? null;
}

Deno.test("every field of the table is an option, a parameter and described", () => {
  assertEquals(
    Object.keys(commands.export.options).filter((name) => NAMES.includes(name)),
    NAMES,
  );
  const list = ROUTES.find(({ operation }) => operation.id === "listTxs");
  const parameters = Object.keys(list!.operation.query!);
  assertEquals(parameters.filter((name) => NAMES.includes(name)), NAMES);
  const values = Object.fromEntries(NAMES.map((name, n) => [name, n]));
  assertEquals(
    filterOf(values),
    Object.fromEntries(Object.keys(FILTER_FIELDS).map((name, n) => [name, n])),
  );
});

Deno.test("a filter becomes comparisons, no more than one bound on a side", () => {
  assertEquals(said({}), []);
  assertEquals(said({ idPrefix: "" }), []);
  assertEquals(said({ idPrefix: "a" }), ["tx_id >= a", "tx_id < b"]);
  assertEquals(said({ idPrefix: "\u{10FFFF}" }), ["tx_id >= \u{10FFFF}"]);
  assertEquals(said({ holderId: "" }), ["holder_id = "]);
  assertEquals(said({ holderId: "a\0" }), null);
  assertEquals(said({ idPrefix: "\uD800" }), null);
  assertEquals(said({ since: 1, before: 2 }), [
    "timestamp >= 1",
    "timestamp < 2",
  ]);
  assertEquals(said({ minSize: 0 }), ["size >= 0"]);
  assertEquals(said({ minSize: 1.5 }), ["size >= 2"]);
  assertEquals(said({ maxSize: 1.5 }), ["size >= 0", "size <= 1"]);
  assertEquals(said({ minSize: 3, maxSize: 1e300 }), [
    "size >= 3",
    `size <= ${Number.MAX_SAFE_INTEGER}`,
  ]);
});

Deno.test("PostgreSQL is asked with values, never with text of them", () => {
  const { text, values } = conditionsOf({
    idPrefix: "a'",
    holderId: "h",
    since: 1,
    maxSize: 9,
    after: { txId: "b", timestamp: 2 },
    sort: "time",
  });
  assertEquals(
    text,
    "WHERE tx_id >= $1::text AND tx_id < $2::text AND holder_id = $3::text AND timestamp >= $4::float8 AND size >= $5::int8 AND size <= $6::int8 AND (timestamp, tx_id) > ($7::float8, $8::text)",
  );
  assertEquals(values, ["a'", "a(", "h", 1, 0, 9, 2, "b"]);
});

test("the service refuses parameters that a route does not have", async () => {
  await using served = await startService();
  const cases: [string, string, string][] = [
    [
      "GET",
      "/txs?holderr=a",
      'Unknown parameter "holderr"; did you mean "holder"?',
    ],
    ["GET", "/txs?limit=1&limit=2", 'Parameter "limit" is given twice'],
    ["GET", "/txs/a?raw=1", 'Unknown parameter "raw"; there are none here'],
    ["DELETE", "/txs/a?dry-run", 'Unknown parameter "dry-run"'],
    ["POST", "/txs?if-exists=fail", 'Unknown parameter "if-exists"'],
    ["POST", "/broadcast?x=", 'Unknown parameter "x"'],
    ["GET", "/?qq=a", 'Unknown parameter "qq"'],
    ["GET", "/metrics?name=a", 'Unknown parameter "name"'],
    ["GET", "/openapi.json?v=3", 'Unknown parameter "v"'],
    ["GET", "/healthz?verbose", 'Unknown parameter "verbose"'],
    ["GET", "/readyz?verbose", 'Unknown parameter "verbose"'],
    ["GET", "/style.css?v=3", 'Unknown parameter "v"'],
  ];
  for (const [method, path, message] of cases) {
    const answer = await served.ask(path, { method });
    assertEquals(answer.problem, "400 INVALID_REQUEST", path);
    assertEquals(answer.json.detail.startsWith(message), true, path);
  }
  assertEquals((await served.ask("/?q=a&by=size")).status, 400);
  assertEquals((await served.ask("/nothing?x=1")).status, 404);
});
