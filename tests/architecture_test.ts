import { assert, assertEquals } from "@std/assert";
import { join, relative } from "@std/path";
import type * as core from "../src/tx.ts";
import type * as facade from "../src/types.ts";
import type * as entrance from "../mod.ts";

const ROOT = join(import.meta.dirname!, "..");

/** Whether two types are one and the same, neither wider than the other. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends
  (<T>() => T extends B ? 1 : 2) ? true : false;

Deno.test("the façade's types are those of tx.ts", () => {
  // What counts is that these compile.
  const tx: Same<facade.Tx, core.Tx> = true;
  const head: Same<facade.TxHead, core.TxHead> = true;
  const json: Same<facade.TxJson, core.TxJson> = true;
  const isAny: Same<facade.Tx, unknown> = false;
  assert(tx && head && json && !isAny);
});

Deno.test("the entrance gives the façade's types", () => {
  const tx: Same<entrance.Tx, facade.Tx> = true;
  const info: Same<entrance.TxInfo, facade.TxInfo> = true;
  const filter: Same<entrance.TxFilter, facade.TxFilter> = true;
  assert(tx && info && filter);
});

Deno.test("a Tx has the four fields of the contract", () => {
  const tx: Same<
    facade.Tx,
    { txId: string; holderId: string; timestamp: number; payload: Uint8Array }
  > = true;
  assert(tx);
});

Deno.test("src/types.ts alone imports @poh/types", () => {
  const importers = sources().filter(({ imports }) =>
    imports.some(({ from }) => from === "@poh/types")
  );
  assertEquals(importers.map(({ path }) => path), ["src/types.ts"]);
});

Deno.test("nothing imports a type from tx.ts: the façade has them", () => {
  const types = new Set(["Tx", "TxHead", "TxJson"]);
  for (const { path, imports } of sources()) {
    for (const { from, isType, names } of imports) {
      if (!from.endsWith("/tx.ts")) continue;
      assert(!isType, `${path} imports types from ${from}`);
      assertEquals(names.filter((name) => types.has(name)), [], path);
    }
  }
});

Deno.test("src/ has no import circle, types included", () => {
  const graph = new Map<string, string[]>();
  for (const { path, imports } of sources()) {
    graph.set(path, targets(path, imports));
  }
  assert(graph.size > 150, "the whole of src/ is looked at");
  const done = new Set<string>();
  const visit = (path: string, above: string[]) => {
    assert(!above.includes(path), `circle: ${[...above, path].join(" → ")}`);
    if (done.has(path)) return;
    for (const next of graph.get(path) ?? []) visit(next, [...above, path]);
    done.add(path);
  };
  for (const path of graph.keys()) visit(path, []);
});

/**
 * The rooms of src/, from the ground up: each imports only from those before it,
 * and from itself. Files that stand beside the rooms are named one by one.
 */
const ROOMS = [
  ["proofs/"],
  ["text/"],
  ["errors.ts", "options.ts", "tx.ts", "types.ts", "model/"],
  ["async/"],
  ["format/"],
  ["files/"],
  ["sqlite/"],
  ["payloads/"],
  ["log/"],
  ["tlog/"],
  ["check/"],
  ["engine.ts", "remote_url.ts"],
  ["local/"],
  ["copy/"],
  ["storage_manager.ts", "recovery.ts", "describe.ts", "migrate.ts"],
  ["shared/"],
  ["http/"],
  ["cli/"],
];

/** On which floor a file of src/ is. */
function floorOf(path: string): number {
  const name = path.replace(/^src\//, "");
  const floor = ROOMS.findIndex((rooms) =>
    rooms.some((room) =>
      room.endsWith("/") ? name.startsWith(room) : name === room
    )
  );
  assert(floor >= 0, `${path} has no room`);
  return floor;
}

Deno.test("nothing in src/ imports upwards", () => {
  const inSrc = sources().filter(({ path }) => path !== "mod.ts");
  for (const { path, imports } of inSrc) {
    for (const to of targets(path, imports)) {
      if (!to.startsWith("src/")) continue; // deno.json has the version
      assert(floorOf(to) <= floorOf(path), `${path} imports ${to}`);
    }
  }
  const floors = new Set(inSrc.map(({ path }) => floorOf(path)));
  assertEquals(floors.size, ROOMS.length, "every room is used");
});

Deno.test("ARCHITECTURE.md draws the rooms in this order", () => {
  const text = Deno.readTextFileSync(join(ROOT, "ARCHITECTURE.md"));
  const [, picture] = /```\n([^`]+)```/.exec(text)!;
  const floors = picture!.trimEnd().split("\n")
    .map((line) => [...line.match(/[a-z_]+(?:\/|\.ts)/g) ?? []]);
  assertEquals(floors.reverse(), ROOMS);
});

/** The files of this package that a file imports. */
function targets(path: string, imports: Source["imports"]): string[] {
  return imports.filter(({ from }) => from.startsWith(".")).map(({ from }) =>
    relative(ROOT, join(ROOT, path, "..", from)).replaceAll("\\", "/")
  );
}

interface Source {
  path: string;
  imports: { from: string; isType: boolean; names: string[] }[];
}

/** Every source of the package, with what it imports and re-exports. */
function sources(): Source[] {
  const paths = ["mod.ts", ...sourcesBelow("src")];
  return paths.map((path) => {
    const code = Deno.readTextFileSync(join(ROOT, path))
      .replace(/\/\*\*[\s\S]*?\*\//g, ""); // examples import, too
    const found = code.matchAll(
      /^(?:import|export)\s+(type\s+)?(\*[^"{}]*|\{[^}]*\}|\w+)\s*from\s*"([^"]+)"/gm,
    );
    const imports = [...found].map(([, type, what, from]) => ({
      from: from!,
      isType: type !== undefined,
      names: what!.replace(/[{}]/g, "").split(",").map((name) =>
        name.trim().replace(/^type\s+/, "").split(" ")[0]!
      ),
    }));
    return { path, imports };
  });
}

function* sourcesBelow(dir: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(join(ROOT, dir))) {
    if (isDirectory) yield* sourcesBelow(`${dir}/${name}`);
    else if (name.endsWith(".ts")) yield `${dir}/${name}`;
  }
}
