import { assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../src/format/usage_error.ts";
import { readTokens, tokenOf } from "../../src/http/tokens.ts";

const A = "a".repeat(16), B = "b".repeat(16), C = "c".repeat(40);

Deno.test("a file has tokens, a line each, with scopes and names", () => {
  const text =
    `# those of the office\n\nread ${A} grafana\r\n  admin\t${B}\n${C}\nread ${A}x a@b.c`;
  assertEquals(readTokens(text), [
    tokenOf(A, "read", "grafana"),
    tokenOf(B, "admin"),
    tokenOf(C, "write"),
    tokenOf(`${A}x`, "read", "a@b.c"),
  ]);
});

Deno.test("a file that is not understood is refused, without a word of its tokens", () => {
  const cases: [string, string][] = [
    ["", "there is no token"],
    ["# none", "there is no token"],
    ["short", "line 1: a token must be 16 or more"],
    [`read ${A}\nread short`, "line 2: a token must be 16 or more"],
    ["read", "line 1: a token must be 16 or more"],
    [`reed ${A}`, "did you mean read?"],
    [`${A} ${B}`, "begins with read, write or admin"],
    [`read ${A} two names`, "a name is one word"],
    [`read ${A} ${"n".repeat(65)}`, "a name is one word"],
    [`read ${A}\nadmin ${A}`, "twice"],
    [`read ünicode-token-0123`, "visible ASCII"],
  ];
  for (const [text, message] of cases) {
    const { message: said } = assertThrows(
      () => readTokens(text),
      UsageError,
      message,
    );
    assertEquals(/aaaa|bbbb|short|nicode/.test(said), false, said);
  }
});
