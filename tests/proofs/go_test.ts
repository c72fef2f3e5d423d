// What is written here is read by Go's own packages for transparency logs.

import { assertEquals } from "@std/assert";
import { dirname, join } from "@std/path";
import {
  formatCheckpoint,
  leafHash,
  MerkleTree,
  signerOf,
  signNote,
  TileBuilder,
  TiledTree,
  tilePath,
} from "../../proofs.ts";
import { tempDir, text } from "../helpers.ts";
import { ORIGIN, PRIVATE_KEY, VKEY } from "./sample.ts";

/** Where Debian's golang-golang-x-mod-dev has its packages. */
const GOPATH = "/usr/share/gocode";

/** Why Go cannot be asked here; null when it can. */
async function noGo(): Promise<string | null> {
  try {
    await Deno.stat(`${GOPATH}/src/golang.org/x/mod/sumdb/tlog`);
    await new Deno.Command("go", { args: ["version"] }).output();
    return null;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return "go and golang-golang-x-mod-dev are not installed";
  }
}

const reason = await noGo();

Deno.test({
  name: `Go opens the checkpoint, signs the same, and accepts proofs and tiles${
    reason ? ` (skipped: ${reason})` : ""
  }`,
  ignore: reason !== null,
  timeout: 120_000, // a first run compiles the standard library
  async fn() {
    await using dir = await tempDir();
    const size = 70_000, index = 66_666, oldSize = 65_537;
    const write = async (path: string, bytes: Uint8Array) => {
      await Deno.mkdir(dirname(dir.join(path)), { recursive: true });
      await Deno.writeFile(dir.join(path), bytes);
    };
    const full = new Map<string, Uint8Array>();
    const builder = new TileBuilder((path, bytes) => full.set(path, bytes));
    const entry = (i: number) => new TextEncoder().encode(`entry ${i}`);
    for (let i = 0; i < size; i++) builder.append(entry(i));
    for (const [path, bytes] of full) await write(path, bytes);
    for (const [level, tile] of builder.edge().tiles.entries()) {
      const at = Math.floor(size / 256 ** (level + 1));
      if (tile.length > 0) {
        await write(tilePath(level, at, tile.length / 32), tile);
      }
    }
    const root = builder.root();
    const tree = new TiledTree(
      size,
      (level, at, width) => Deno.readFile(dir.join(tilePath(level, at, width))),
    );
    const checkpointText = formatCheckpoint({ origin: ORIGIN, size, root });
    const checkpoint = await signNote(checkpointText, [
      await signerOf(PRIVATE_KEY),
    ]);
    const leaves = Array.from(
      { length: oldSize },
      (_, i) => leafHash(entry(i)),
    );
    const base64 = (bytes: Uint8Array) => bytes.toBase64();
    const facts = {
      ...{ Vkey: VKEY, PrivateKey: PRIVATE_KEY },
      ...{ Checkpoint: checkpoint, Text: checkpointText },
      ...{ Size: size, Index: index, OldSize: oldSize },
      Root: base64(root),
      OldRoot: base64(new MerkleTree(leaves).root()),
      Entry: base64(entry(index)),
      Inclusion: (await tree.inclusion(index)).map(base64),
      Consistency: (await tree.consistency(oldSize)).map(base64),
    };
    await Deno.writeTextFile(dir.join("facts.json"), JSON.stringify(facts));
    const program = join(import.meta.dirname!, "../interop/tlog.go");
    const { code, stdout, stderr } = await new Deno.Command("go", {
      args: ["run", program, dir.path],
      env: {
        ...{ GO111MODULE: "off", GOPATH, GOFLAGS: "", GOTOOLCHAIN: "local" },
        CGO_ENABLED: "0",
      },
    }).output();
    assertEquals([code, text(stderr)], [0, ""]);
    assertEquals(text(stdout), checkpoint);
  },
});
