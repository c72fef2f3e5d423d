/**
 * The program as JavaScript: one small file for each part of it that is loaded
 * on its own, with the packages from npm in them.
 *
 * A program that holds npm's folders reads and resolves all of them when it
 * starts, and one that holds a file for each module opens dozens.
 *
 * @module
 */

import config from "../../deno.json" with { type: "json" };
import { lockFlags, resolutionFlags } from "../../offline/deno.ts";

const ROOT = new URL("../../", import.meta.url);

/** The program itself. */
const PROGRAM = "cli.ts";

/**
 * Chosen at run time by permissions and environment, and looks for its library
 * while it is imported: stays a package of its own.
 */
const EXTERNAL = "@db/sqlite" as const;

/** A module or package that is loaded by a name that Deno does not see. */
export interface LateImport {
  /** The module that loads it, by its path in the project. */
  by: string;
  /** The name as it stands there: `./serve.ts`, `npm:tar-stream@3.1.7`. */
  name: string;
}

/** The program in JavaScript, and how `deno` runs it. */
export interface Bundle extends AsyncDisposable {
  /** What to run, by its path in the project. */
  program: string;
  /** The other files that no import names. */
  late: string[];
  /** Options of `deno` that resolve imports. */
  flags: string[];
}

/**
 * Finds the imports of a module whose names are constants and no literals, and
 * the modules of its workers: `deno bundle` and `deno compile` see neither.
 */
export function lateImportsIn(by: string, source: string): LateImport[] {
  const constant = /^(?:export )?const \w+: string =\s+"((?:\.|npm:)[^"]+)";/gm;
  const worker = /new URL\(\s*"([^"]+\.ts)",\s*import\.meta\.url,?\s*\)/g;
  return [constant, worker].flatMap((pattern) =>
    Array.from(source.matchAll(pattern), ([, name]) => ({ by, name: name! }))
  );
}

/** Every such import of the program. */
export async function lateImports(): Promise<LateImport[]> {
  const found: LateImport[] = [];
  for (const path of modulesBelow("src")) {
    const source = await Deno.readTextFile(new URL(path, ROOT));
    found.push(...lateImportsIn(path, source));
  }
  return found.sort((a, b) => a.by < b.by ? -1 : 1);
}

/**
 * Bundles the program, into a folder that is gone when the result is disposed
 * of. Its place is in the checkout: a compiled program has its files by their
 * relative paths.
 *
 * @throws {Error} If `deno bundle` fails, which has said why.
 */
export async function bundleProgram(isOffline: boolean): Promise<Bundle> {
  const folder = new URL(`.bundle-${crypto.randomUUID()}/`, ROOT);
  await Deno.mkdir(folder);
  await using made = new AsyncDisposableStack();
  made.defer(() => Deno.remove(folder, { recursive: true }));

  const entries = new Set([PROGRAM]);
  const imports: Record<string, string> = { [EXTERNAL]: external(isOffline) };
  for (const { by, name } of await lateImports()) {
    const entry = await entryFor(by, name, folder);
    entries.add(entry);
    for (const key of keysOf(by, name, folder)) {
      imports[key] = `./${outputOf(entry)}`;
    }
  }
  await bundle([...entries], folder, resolutionFlags(isOffline));
  await requireLate(folder);
  const map = new URL("map.json", folder);
  await Deno.writeTextFile(map, JSON.stringify({ imports }));

  const outputs = Array.from(
    entries,
    (entry) => fromRoot(folder) + outputOf(entry),
  );
  const kept = made.move();
  return {
    program: outputs[0]!,
    late: outputs.slice(1),
    flags: [
      `--import-map=${fromRoot(map)}`,
      ...isOffline ? ["--no-lock"] : lockFlags(),
    ],
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** What is to be bundled for such a name: a module, one made for a package. */
async function entryFor(
  by: string,
  name: string,
  folder: URL,
): Promise<string> {
  if (!name.startsWith("npm:")) {
    return fromRoot(new URL(name, new URL(by, ROOT)));
  }
  const module = new URL(`${name.replaceAll(/[^\w.-]+/g, "_")}.ts`, folder);
  await Deno.writeTextFile(module, `export { default } from "${name}";\n`);
  return fromRoot(module);
}

/**
 * What the name means in the bundle, where the code that has it is in a file of
 * the bundle's folder or, if its module is an entry, at the module's own path.
 */
function keysOf(by: string, name: string, folder: URL): string[] {
  if (name.startsWith("npm:")) return [name];
  return [folder, new URL(by, folder)].map((from) =>
    `../${fromRoot(new URL(name, from))}`
  );
}

/** The binding of SQLite that is not in the bundle, for a map below the root. */
function external(isOffline: boolean): string {
  return isOffline ? "../offline/db_sqlite.ts" : config.imports[EXTERNAL];
}

async function bundle(
  entries: string[],
  folder: URL,
  flags: string[],
): Promise<void> {
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: [
      "bundle",
      "--quiet",
      "--platform=deno",
      "--code-splitting",
      `--external=${EXTERNAL}`,
      ...flags,
      `--outdir=${fromRoot(folder)}`,
      ...entries,
    ],
    cwd: ROOT,
    stdin: "null",
  }).spawn().status;
  if (!success) throw new Error("deno bundle failed");
}

/**
 * Has the packages get Node's `require` when they call it: every file of the
 * bundle imports the one that makes it, so that it would take its time at each
 * start of the program.
 */
async function requireLate(folder: URL): Promise<void> {
  const early =
    /import \{ createRequire as (\w+) \} from "node:module";\s*var __require = \1\(import\.meta\.url\);/;
  const late =
    `var __require = (name) => process.getBuiltinModule("node:module").createRequire(import.meta.url)(name);`;
  for await (const { name, isFile } of Deno.readDir(folder)) {
    if (!isFile) continue;
    const file = new URL(name, folder);
    const code = await Deno.readTextFile(file);
    if (early.test(code)) {
      await Deno.writeTextFile(file, code.replace(early, late));
    }
  }
}

function outputOf(entry: string): string {
  return entry.replace(/\.ts$/, ".js");
}

function* modulesBelow(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(new URL(folder, ROOT))) {
    const path = `${folder}/${name}`;
    if (isDirectory) yield* modulesBelow(path);
    else if (name.endsWith(".ts")) yield path;
  }
}

function fromRoot(url: URL): string {
  return url.href.slice(ROOT.href.length);
}
