import { assert, assertEquals } from "@std/assert";
import { dirname, join } from "@std/path";

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

/** The paths below `src/` and `tests/` that a text names. */
function pathsIn(text: string): string[] {
  return text.match(/\b(?:src|tests)\/[\w./-]*\w/g) ?? [];
}

Deno.test("every path of src/ and tests/ that a document names is there", () => {
  for (const document of DOCUMENTS) {
    const gone = pathsIn(textOf(document)).filter((path) => !isThere(path));
    assertEquals(gone, [], document);
  }
  assert(pathsIn(textOf("ARCHITECTURE.md")).length > 80);
  assert(pathsIn(textOf("CONTRIBUTING.md")).length > 40);
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
