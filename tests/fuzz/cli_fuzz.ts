/**
 * Arguments and input from a fuzzer against the command line.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { stripVTControlCharacters } from "node:util";
import fc from "../fast_check.ts";
import { main } from "../../cli.ts";
import { verifyStore } from "../../mod.ts";
import type { OptionSpec } from "../../src/cli/specs/spec.ts";
import { type CommandName, commands, optionsOf } from "../../src/cli/table.ts";
import { namesIn, tempDir, text } from "../helpers.ts";
import { validId } from "./key_fuzz.ts";

/** Words that mean something, somewhere. */
const WORDS = [
  "",
  "-",
  "--",
  "-x",
  "-h",
  "--help",
  "--json",
  "--no-such",
  "--json=1",
  "--base",
  "=",
  "list",
  "restore",
  "empty",
  "../../../etc/passwd",
  "known",
  "known-2",
  "1e999",
  "NaN",
  "-1",
  "0",
  "5%",
  "101%",
  "2020-01-01",
  "30d",
  "@",
  "@missing",
  "{}",
  '{"tx_id":"x","holder_id":"","timestamp":0,"payload":"aGk="}',
  '{"tx_id":"known","holder_id":"h","timestamp":1,"payload":"!"}',
  "\u001b[31m",
  "a\nb",
  "\ud800",
];

const word = fc.oneof(fc.constantFrom(...WORDS), validId);

/** Paths that lead nowhere but into the temporary directory. */
const path = fc.constantFrom(
  "store",
  "other",
  "missing/below",
  "file",
  "dangling",
  "store/known.bin",
  "store/.poh",
);

/** Databases that are the store's, or none: a second one would change its files. */
const database = fc.constantFrom("dir/store/poh.db", "dir/store/.poh");

/** A path as it stands for one of them in arguments; or stdin and stdout. */
const placed = fc.oneof(path.map((name) => `dir/${name}`), fc.constant("-"));

/** Commands whose arguments are paths that may be written to. */
const TAKES_PATHS: readonly CommandName[] = ["backup", "restore"];

/** One run of the program. */
interface Run {
  args: string[];
  stdin: Uint8Array;
}

/** Arguments that make some sense. `dir` stands for the temporary directory. */
const likely = fc.constantFrom(...Object.keys(commands) as CommandName[])
  .chain((command) => {
    const options = Object.entries(optionsOf(command)).filter(([name]) =>
      name !== "help" && name !== "version"
    );
    const option = fc.constantFrom(...options).chain(([name, spec]) =>
      (name === "db" ? database : valueOf(spec)).map((value) =>
        value === null ? [`--${name}`] : [`--${name}`, value]
      )
    );
    const argument = TAKES_PATHS.includes(command) ? placed : word;
    return fc.tuple(
      fc.array(option, { maxLength: 4 }),
      fc.array(argument, { maxLength: 2 }),
    ).map(([options, words]) => [command, ...options.flat(), ...words]);
  });

function valueOf(spec: OptionSpec): fc.Arbitrary<string | null> {
  switch (spec.type) {
    case "flag":
      return fc.constant(null);
    case "choice":
      return fc.oneof(fc.constantFrom(...spec.choices), word);
    case "path":
      return path.map((name) => `dir/${name}`);
    default:
      return word;
  }
}

const line = fc.oneof(
  fc.json(),
  fc.string(),
  fc.record({
    tx_id: fc.oneof(validId, fc.constant("known")),
    holder_id: fc.string(),
    timestamp: fc.oneof(fc.double(), fc.integer()),
    payload: fc.uint8Array({ maxLength: 40 }).map((bytes) => bytes.toBase64()),
  }).map((tx) => JSON.stringify(tx)),
);

const stdin = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc.array(line, { maxLength: 6 }).map((lines) =>
    new TextEncoder().encode(lines.join("\n"))
  ),
);

const run: fc.Arbitrary<Run> = fc.record({
  args: fc.oneof(
    { weight: 4, arbitrary: likely },
    { weight: 1, arbitrary: fc.array(word, { maxLength: 5 }) },
  ),
  stdin,
});

/** What no message for people should say. */
const INTERNAL =
  /TypeError|ReferenceError|RangeError|is not a function|undefined|\[object |Cannot read prop/;

/**
 * Asserts for so many runs of the program in this process that each ends in a
 * documented exit code, with one line on stderr when it fails.
 */
export async function fuzzCli(runs: number): Promise<void> {
  await using dir = await tempDir();
  const store = dir.join("store");
  const init = ["init", "--base", store];
  assertEquals(
    (await runMain({ args: init, stdin: new Uint8Array() })).code,
    0,
  );
  for (const id of ["known", "known-2"]) {
    const tx = { tx_id: id, holder_id: "h", timestamp: 1, payload: "aGk=" };
    const args = ["save", "--tx", JSON.stringify(tx), "--base", store];
    assertEquals((await runMain({ args, stdin: new Uint8Array() })).code, 0);
  }
  await Deno.writeTextFile(dir.join("file"), "{}");
  if (Deno.build.os !== "windows") {
    await Deno.symlink(dir.join("nowhere"), dir.join("dangling"));
  }
  await fc.assert(
    fc.asyncProperty(run, async ({ args, stdin }) => {
      const real = args.map((arg) =>
        arg.startsWith("dir/") ? join(dir.path, arg.slice(4)) : arg
      );
      // Whatever follows, it works below the temporary directory.
      const { code, stderr } = await runMain({
        args: ["--base", store, ...real],
        stdin,
      });
      assertEnding(code, stripVTControlCharacters(stderr), args);
      const strangers = namesIn(dir.path).filter((name) =>
        !/^(store|other|missing|file|dangling|nowhere)\b/.test(name)
      );
      assertEquals(strangers, [], "it made something elsewhere");
    }),
    { numRuns: runs },
  );
  const report = await verifyStore(store, join(store, "poh.db"));
  assertEquals(
    report.findings.filter(({ kind }) => kind !== "orphan-payload"),
    [],
  );
}

function assertEnding(code: number, stderr: string, args: string[]): void {
  const name = args.find((arg) => Object.hasOwn(commands, arg)) as
    | CommandName
    | undefined;
  // Any command may come upon a damaged database: 4.
  const documented = [0, 1, 2, 4, ...name ? commands[name].exitCodes : []];
  assert(documented.includes(code), `exit code ${code} of ${name}`);
  assert(!INTERNAL.test(stderr.replaceAll(/"[^"]*"/g, "")), stderr);
  const errors = stderr.split("\n").filter((line) =>
    /^(poh-storage: |\{"error":)/.test(line)
  );
  if (code === 0) assertEquals(errors, []);
  else {
    assert(errors.length > 0, `exit code ${code} without a word`);
    assert(stderr.endsWith(`${errors.at(-1)}\n`), "the error is not the last");
  }
}

async function runMain({ args, stdin }: Run) {
  const out: Uint8Array[] = [], err: Uint8Array[] = [];
  const code = await main(args, {
    stdin: new Blob([stdin as BlobPart]).stream(),
    stdout: {
      write: (bytes) => {
        out.push(bytes.slice());
        return Promise.resolve(bytes.length);
      },
    },
    stderr: {
      writeSync: (bytes) => {
        err.push(bytes.slice());
        return bytes.length;
      },
    },
    // A service would not end by itself.
    ...(args.includes("serve") && { signal: AbortSignal.abort() }),
  });
  return { code, stderr: err.map(text).join("") };
}
