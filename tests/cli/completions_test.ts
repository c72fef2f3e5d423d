// Completion: the ids offered, the scripts, and the scripts in the real shells.

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { slots } from "../../src/cli/shells/slots.ts";
import { commands, optionsOf } from "../../src/cli/table.ts";
import type { CommandName } from "../../src/cli/table.ts";
import {
  assertFails,
  call,
  cliStore,
  denoArgs,
  txText,
} from "../cli_helpers.ts";
import { text } from "../helpers.ts";
import { NO_TERMINAL, quoted, shellOnTerminal } from "./terminal.ts";

const TIME_LIMIT = 120_000;
const SHELLS = ["bash", "zsh", "fish", "powershell"];

Deno.test("completions --ids prints ids by prefix, none that a terminal obeys or a parser takes for an option", async () => {
  await using store = await cliStore();
  const ids = ["a", "a b", "a\nb", "a\x1b[2J", "-a", "b'", "取引"];
  await store.ok(["import"], { stdin: ids.map((id) => txText(id)).join("\n") });
  assertEquals(
    await store.ok(["completions", "--ids="]),
    "a\na b\nb'\n取引\n",
  );
  assertEquals(await store.ok(["completions", "--ids", "取"]), "取引\n");
  assertEquals(
    await store.ok(["completions", "--ids=a", "--json"]),
    '{"ids":["a","a b"]}\n',
  );
  assertEquals(await store.ok(["completions", "--ids=x"]), "");
});

Deno.test("completions --ids stops at a hundred", async () => {
  await using store = await cliStore();
  const ids = Array.from({ length: 120 }, (_, i) => `t${1000 + i}`);
  await store.ok(["import", "--durability=relaxed"], {
    stdin: ids.map((id) => txText(id, "")).join("\n"),
  });
  assertEquals(
    (await store.ok(["completions", "--ids=t"])).trimEnd().split("\n"),
    ids.slice(0, 100),
  );
});

Deno.test("completions takes a shell or --ids, and needs no store for a script", async () => {
  const either =
    "completions needs bash, zsh, fish, powershell or --ids, and one of them only";
  assertFails(await call(["completions"]), 2, either);
  assertFails(await call(["completions", "bash", "--ids=a"]), 2, either);
  assertFails(
    await call(["completions", "csh"]),
    2,
    'completions "csh" is not known: bash, zsh, fish or powershell',
  );
  for (const shell of SHELLS) {
    const { code, stdout, stderr } = await call(["completions", shell]);
    assertEquals([code, stderr], [0, ""]);
    const json = await call(["completions", shell, "--json"]);
    assertEquals(JSON.parse(json.stdout), { shell, script: stdout });
  }
});

Deno.test("every script knows every command, option and choice", async () => {
  for (const shell of SHELLS) {
    const { stdout } = await call(["completions", shell]);
    for (const name of Object.keys(commands) as CommandName[]) {
      assertStringIncludes(stdout, `${name}:--`);
      for (const [option, spec] of Object.entries(optionsOf(name))) {
        assertStringIncludes(stdout, `--${option}`);
        if (spec.type !== "choice") continue;
        for (const choice of spec.choices) assertStringIncludes(stdout, choice);
      }
    }
  }
});

Deno.test("slots() says what completes each place", () => {
  const kinds = (...keys: string[]) =>
    keys.map((key) => slots().get(key)?.kind);
  assertEquals(kinds("load:0", "delete:--tx-id", "list:--after"), [
    "ids",
    "ids",
    "ids",
  ]);
  assertEquals(kinds("import:0", "save:--payload-file", ":--db"), [
    "files",
    "files",
    "files",
  ]);
  assertEquals(kinds(":0", "help:0", ":--", "quarantine:0"), [
    "words",
    "words",
    "words",
    "words",
  ]);
  assertEquals(kinds("load:1", "save:--holder-id", "load:--raw"), [
    undefined,
    undefined,
    undefined,
  ]);
});

// --- in the shells -----------------------------------------------------------

/** How each shell is started with the script loaded; `$1` is the script. */
const STARTS: Record<string, string> = {
  bash: "bash --noprofile --rcfile",
  zsh: "ZDOTDIR=. zsh -d -i; : ",
  fish:
    "fish --no-config -C 'function fish_prompt; echo READY; end' -C 'source .zshrc'; : ",
};

/** What is typed before the tab key, and the arguments that the program then gets. */
const CASES: [typed: string, args: string[]][] = [
  ["lo", ["load"]],
  ["recover --orphans ad", ["recover", "--orphans", "adopt"]],
  ["recover --orphans=ad", ["recover", "--orphans=adopt"]],
  ["recover --stri", ["recover", "--strict"]],
  ["import --skip-bad some", ["import", "--skip-bad", "some file"]],
  ...[
    ["a", "a b"],
    ["b", "b'c"],
    ["c", 'c"d'],
    ["d", "d$HOME`x`"],
    ["e", "e;rm -rf *"],
    ["urn:t", "urn:tx:1"],
    ["h", "h\\i"],
    ["k=", "k=1"],
    ["'a", "a b"],
    ["'d", "d$HOME`x`"],
    ["'urn:t", "urn:tx:1"],
    ["取", "取引 1"],
  ].map(([typed, id]): [string, string[]] => [
    `load --base 'my store' ${typed}`,
    ["load", "--base", "my store", id!],
  ]),
  [
    "load --base=my\\ store a",
    ["load", "--base=my store", "a b"],
  ],
  [
    "delete --base 'my store' --tx-id=urn:t",
    ["delete", "--base", "my store", "--tx-id=urn:tx:1"],
  ],
  [
    "load --base 'my store' -- \\~",
    ["load", "--base", "my store", "--", "~x"],
  ],
];

for (const [shell, start] of Object.entries(STARTS)) {
  const missing = NO_TERMINAL ?? await absent(shell);
  Deno.test({
    name: `${shell} completes commands, options, files and ids${
      missing === null ? "" : ` (skipped: ${missing})`
    }`,
    ignore: missing !== null,
    timeout: TIME_LIMIT,
    fn: () => completesIn(shell, start),
  });
}

async function completesIn(shell: string, start: string): Promise<void> {
  await using store = await cliStore();
  const cwd = store.dir.path;
  const ids = CASES.map(([, args]) => args)
    .filter((args) => args.some((arg) => arg.endsWith("my store")))
    .map((args) => args.at(-1)!.replace(/^--tx-id=/, ""));
  await call(["import", "--create", "--base", store.dir.join("my store")], {
    stdin: ids.map((id) => txText(id)).join("\n"),
  });
  await Deno.writeTextFile(store.dir.join("some file"), "");
  // The program itself completes; what else it is called with is written down.
  const program = [Deno.execPath(), ...denoArgs([], { cwd })].map(quoted);
  await Deno.writeTextFile(
    store.dir.join("poh-storage"),
    `#!/bin/sh
[ "$1" != completions ] || exec ${program.join(" ")} "$@"
for arg; do printf '%s\\n' "$arg"; done >> calls
echo >> calls
`,
    { mode: 0o755 },
  );
  const { stdout } = await call(["completions", shell]);
  await Deno.writeTextFile(
    store.dir.join(".zshrc"),
    shell === "zsh"
      ? `autoload -Uz compinit; compinit -u -D\n${stdout}\nPS1='READY '\n`
      : shell === "bash"
      ? `${stdout}\nPS1='READY '\n`
      : stdout,
  );
  let asked = false;
  const { screen } = await shellOnTerminal(
    `PATH="$PWD:$PATH"; ${start} .zshrc`,
    {
      cwd,
      columns: 200,
      env: { LC_ALL: "C.UTF-8", HISTFILE: "/dev/null", HOME: cwd },
      onShown: (screen) => {
        if (asked || !screen.includes("READY")) return;
        asked = true;
        return CASES.map(([typed]) => `poh-storage ${typed}\t\r`).join("") +
          "exit\r";
      },
    },
  );
  const calls = await Deno.readTextFile(store.dir.join("calls"));
  assert(calls.length > 0, screen);
  assertEquals(
    calls.trimEnd().split("\n\n").map((args) => args.split("\n")),
    CASES.map(([, args]) => args),
  );
}

async function absent(shell: string): Promise<string | null> {
  try {
    const { stdout } = await new Deno.Command(shell, { args: ["--version"] })
      .output();
    return text(stdout) === "" ? `${shell} does not start` : null;
  } catch {
    return `there is no ${shell}`;
  }
}
