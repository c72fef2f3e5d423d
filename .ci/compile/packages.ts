/**
 * The packages from npm, as one file for each module that names some.
 *
 * A program that holds npm's folders reads and resolves all of them when it
 * starts, which takes half as long as everything else. A bundle is a module
 * like the others: read when it is imported.
 *
 * @module
 */

import config from "../../deno.json" with { type: "json" };
import { lockFlags, STAND_INS } from "../../offline/deno.ts";
import { STRING_WIDTH } from "../../src/cli/list_table.ts";
import { TAR_STREAM } from "../../src/copy/tar.ts";

/** What is bundled: modules that re-export packages, and packages by name. */
export const PACKAGES: readonly string[] = [
  "src/shared/postgres/packages.ts",
  "src/shared/s3/packages.ts",
  "src/http/packages.ts",
  STRING_WIDTH,
  TAR_STREAM,
];

const ROOT = new URL("../../", import.meta.url);

/** Bundles, and how the program's imports find them. */
export interface Bundles extends AsyncDisposable {
  /** Options of `deno` that resolve imports. */
  flags: string[];
  /** The bundles that no import names by a literal. */
  loadedLate: string[];
}

/**
 * Bundles the packages, into a folder that is gone when the result is disposed
 * of. Its place is in the checkout: a compiled program has its files by their
 * relative paths.
 *
 * @throws {Error} If `deno bundle` fails, which has said why.
 */
export async function bundlePackages(isOffline: boolean): Promise<Bundles> {
  const locked = isOffline ? ["--no-lock"] : lockFlags();
  const folder = new URL(`.packages-${crypto.randomUUID()}/`, ROOT);
  await Deno.mkdir(folder);
  const bundles: Bundles = {
    flags: [`--import-map=${fromRoot(folder)}map.json`, ...locked],
    loadedLate: [],
    async [Symbol.asyncDispose]() {
      await Deno.remove(folder, { recursive: true });
    },
  };
  await using made = new AsyncDisposableStack();
  made.use(bundles);
  const imports = await importsFromBelow(isOffline);
  for (const [n, module] of PACKAGES.entries()) {
    const name = `${n}-${module.replaceAll(/[^a-z0-9.]+/g, "-")}.js`;
    await bundle(module, fromRoot(folder) + name, locked);
    const isPackage = module.startsWith("npm:");
    imports[isPackage ? module : `../${module}`] = `./${name}`;
    if (isPackage) bundles.loadedLate.push(fromRoot(folder) + name);
  }
  await Deno.writeTextFile(
    new URL("map.json", folder),
    JSON.stringify({ imports }),
  );
  made.move();
  return bundles;
}

async function bundle(
  module: string,
  output: string,
  flags: string[],
): Promise<void> {
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: [
      "bundle",
      "--quiet",
      "--platform=deno",
      ...flags,
      `--output=${output}`,
      module,
    ],
    cwd: ROOT,
    stdin: "null",
  }).spawn().status;
  if (!success) throw new Error(`deno bundle failed on ${module}`);
}

/** The project's own imports, for a map that lies in a folder of the project. */
async function importsFromBelow(
  isOffline: boolean,
): Promise<Record<string, string>> {
  const [imports, base] = isOffline
    ? [
      JSON.parse(await Deno.readTextFile(STAND_INS)).imports,
      new URL("offline/", ROOT),
    ]
    : [withSubpaths(config.imports), ROOT];
  return Object.fromEntries(
    Object.entries<string>(imports).map((
      [name, to],
    ) => [name, to.startsWith(".") ? `../${fromRoot(new URL(to, base))}` : to]),
  );
}

/** In deno.json the name of a package stands for what is below it as well. */
function withSubpaths(imports: Record<string, string>): Record<string, string> {
  const below = Object.entries(imports)
    .filter(([, to]) => to.startsWith("jsr:"))
    .map(([name, to]) => [`${name}/`, `${to.replace("jsr:", "jsr:/")}/`]);
  return { ...imports, ...Object.fromEntries(below) };
}

function fromRoot(url: URL): string {
  return url.href.slice(ROOT.href.length);
}
