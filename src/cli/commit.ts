/**
 * The commit that the program was made from, where that is known: `deno task
 * compile` bakes it into the binary as a first argument, `git archive` writes
 * it below, and a checkout has it in its `.git`. A package from JSR has none.
 *
 * @module
 */

/** Filled in by `git archive`, see `.gitattributes`. */
const ARCHIVED = "$Format:%h$";

const BAKED = /^--commit=([0-9a-f]+)$/;

/** Characters of a commit id that are printed. */
const SHORT = 10;

/** The program's arguments without the one that is baked in. */
export function argumentsOf(args: readonly string[]): string[] {
  return args.slice(BAKED.test(args[0] ?? "") ? 1 : 0);
}

/** The commit, shortened; null when it is not known. */
export async function commit(
  args: readonly string[] = Deno.args,
): Promise<string | null> {
  const baked = BAKED.exec(args[0] ?? "")?.[1];
  if (baked !== undefined) return baked;
  if (!ARCHIVED.startsWith("$")) return ARCHIVED;
  const git = new URL("../../.git", import.meta.url);
  return git.protocol === "file:" ? await headOf(git) : null;
}

/** The commit of a checkout by its `.git`; null when it cannot be read. */
export async function headOf(git: URL): Promise<string | null> {
  const { state } = await Deno.permissions.query({ name: "read", path: git });
  if (state !== "granted") return null;
  const head = await read(git, "HEAD");
  const ref = /^ref: (.+)$/.exec(head ?? "")?.[1];
  const hash = ref === undefined
    ? head
    : await read(git, ref) ?? packed(ref, await read(git, "packed-refs"));
  return hash && /^[0-9a-f]{40,}$/.test(hash) ? hash.slice(0, SHORT) : null;
}

function packed(ref: string, refs: string | null): string | null {
  const line = refs?.split("\n").find((line) => line.endsWith(` ${ref}`));
  return line?.split(" ")[0] ?? null;
}

async function read(folder: URL, name: string): Promise<string | null> {
  try {
    return (await Deno.readTextFile(new URL(`${folder}/${name}`))).trim();
  } catch {
    return null;
  }
}
