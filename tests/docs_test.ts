import { assert, assertEquals } from "@std/assert";
import { dirname, join } from "@std/path";
import { cliReference } from "../docs/cli_reference.ts";
import { FINDING_KINDS } from "../src/model/report.ts";
import { denoScript, outputOf, tempDir, test } from "./helpers.ts";

const ROOT = join(import.meta.dirname!, "..");

/** Documents that name files of the repository. */
const DOCUMENTS = [
  "ARCHITECTURE.md",
  "CONTRIBUTING.md",
  "README.md",
  "README.ja.md",
  ...[...Deno.readDirSync(join(ROOT, "docs"))]
    .filter(({ name }) => name.endsWith(".md"))
    .map(({ name }) => `docs/${name}`),
];

function textOf(path: string): string {
  return Deno.readTextFileSync(join(ROOT, path));
}

function isThere(path: string): boolean {
  try {
    Deno.statSync(join(ROOT, path));
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Every TypeScript file below a folder. */
function* sourceFiles(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(join(ROOT, folder))) {
    const path = `${folder}/${name}`;
    if (isDirectory) yield* sourceFiles(path);
    else if (name.endsWith(".ts")) yield path;
  }
}

/** The paths below `src/` and `tests/` that a text names. */
function pathsIn(text: string): string[] {
  return text.match(/\b(?:src|tests)\/[\w./-]*\w/g) ?? [];
}

Deno.test("docs/index.md names every page", () => {
  const pages = DOCUMENTS.filter((path) => path.startsWith("docs/"))
    .map((path) => path.slice("docs/".length))
    .filter((page) => page !== "index.md");
  const index = textOf("docs/index.md");
  assertEquals(pages.filter((page) => !index.includes(`(${page})`)), []);
});

Deno.test("docs/cli.md is what the table of commands gives", () => {
  assertEquals(textOf("docs/cli.md"), cliReference());
});

Deno.test("docs/errors.md has every code and every kind of finding", () => {
  const text = textOf("docs/errors.md");
  const codes = new Set<string>();
  for (const path of sourceFiles("src")) {
    for (
      const [, code] of textOf(path).matchAll(
        /(?:new (?:PohStorageError|Problem)\(|super\()\s*(?:\d+,\s*)?"([A-Z_]+)"/g,
      )
    ) codes.add(code!);
  }
  assert(codes.size > 40, `${codes.size} codes`);
  const missing = [...codes, ...FINDING_KINDS].filter((code) =>
    !text.includes(`\n| \`${code}\``)
  );
  assertEquals(missing, []);
});

test("the first commands of README.md end as it says", async () => {
  await using dir = await tempDir();
  const script = textOf("README.md").match(/```sh\nalias [^]*?```/)![0]
    .split("\n").slice(2, -1).filter((line) => !line.includes(" serve"));
  assertEquals(script.length, 7);
  const node = dir.join("node"); // the backup goes beside it
  await Deno.mkdir(node);
  await Deno.copyFile(join(ROOT, "LICENSE"), join(node, "LICENSE"));
  const program = 'run=("$0" "$@")\npoh-storage() { "${run[@]}" "$@"; }';
  const lines = script.map((line) => `${line}\necho "exit $?"`);
  const whole = "poh-storage load first --raw | cmp - LICENSE";
  const command = denoScript("../../cli.ts", [], {
    by: ["bash", "-c", [program, ...lines, whole].join("\n")],
    cwd: node,
    stdout: "piped",
    stderr: "piped",
  });
  const { code, stdout, stderr } = await outputOf(command);
  assertEquals(code, 0, stderr);
  const exits = stdout.match(/^exit \d+$/gm);
  assertEquals(exits, [0, 0, 0, 0, 0, 4, 0].map((code) => `exit ${code}`));
}, { ignore: Deno.build.os === "windows" });

Deno.test("every path of src/ and tests/ that a document names is there", () => {
  for (const document of DOCUMENTS) {
    const gone = pathsIn(textOf(document)).filter((path) => !isThere(path));
    assertEquals(gone, [], document);
  }
  assert(pathsIn(textOf("ARCHITECTURE.md")).length > 80);
  assert(pathsIn(textOf("CONTRIBUTING.md")).length > 30);
});

Deno.test("every relative link of a document leads to a file", () => {
  for (const document of DOCUMENTS) {
    const links = [
      ...textOf(document).matchAll(/\]\(([^)#:\s]+)(?:#[^)]*)?\)/g),
    ]
      .map(([, target]) => join(dirname(document), target!));
    assertEquals(links.filter((path) => !isThere(path)), [], document);
  }
});

Deno.test("ARCHITECTURE.md has a sentence for every room", () => {
  const text = textOf("ARCHITECTURE.md");
  for (const { name, isDirectory } of Deno.readDirSync(join(ROOT, "src"))) {
    const room = isDirectory ? `src/${name}/` : `src/${name}`;
    assert(text.includes(`\n| \`${room}\` `), room);
  }
});

Deno.test("ARCHITECTURE.md names functions and tests that are in its files", () => {
  let names = 0;
  // Rows of tables, points of lists, and paragraphs.
  for (const line of textOf("ARCHITECTURE.md").split(/\n(?=\n|\||\d+\.)/)) {
    const paths = pathsIn(line).filter((path) => path.endsWith(".ts"));
    if (paths.length === 0) continue;
    const code = paths.map(textOf).join("\n");
    for (const [, name] of line.matchAll(/`(?:\w+\.)?(#?[A-Za-z]+)`/g)) {
      const isOfLine = !["verify", "recover", "info", "from"].includes(name!);
      if (!isOfLine) continue; // commands and options
      assert(new RegExp(`${name}\\b`).test(code), `${name}: ${line}`);
      names++;
    }
    const tests = paths.filter((path) => path.endsWith("_test.ts"));
    if (tests.length === 0) continue;
    for (const [, name] of line.matchAll(/"([^"]+)"/g)) {
      assert(tests.map(textOf).join("\n").includes(name!), name);
      names++;
    }
  }
  assert(names > 70, `${names} names`);
});
