import { assert, assertEquals, assertRejects } from "@std/assert";
import { dirname, join } from "@std/path";
import {
  hasOnePlace,
  isOnlyIdAt,
  isPayloadPlace,
  type Layout,
  LAYOUT_HERE,
  LAYOUTS,
  leadsOut,
  ownPlaces,
  payloadFolders,
  payloadPlaces,
  placeAt,
  placeHere,
  placeOf,
  placesOf,
  targetOf,
  txIdsAt,
} from "../../src/payloads/payload_layout.ts";
import { FOLDS_CASE } from "../../src/files/file_name.ts";
import { tempDir } from "../helpers.ts";

/** Ids that every system takes, and one that only an older package has. */
const IDS = ["a", "A", "b/c", "ü", "con", "%41", "..", "取引"];

Deno.test("an id has one place here, which tells the id", () => {
  const places = IDS.map((txId) => placeOf(txId));
  assertEquals(new Set(places).size, IDS.length);
  for (const [n, txId] of IDS.entries()) {
    assertEquals(txIdsAt(places[n]!), [txId]);
    assertEquals(placesOf(txId, LAYOUT_HERE, "/base"), [places[n]]);
    assert(isPayloadPlace(places[n]!));
  }
});

Deno.test("a place by digest does not tell its id", () => {
  assertEquals(txIdsAt(placeOf("")), []);
  assertEquals(txIdsAt(placeOf("x".repeat(300))), []);
});

Deno.test("no place leads out of the base, or into the store's own folder", () => {
  for (const txId of [...IDS, "/etc/passwd", ".poh/id", "../x", "C:\\x"]) {
    for (const layout of LAYOUTS) {
      for (const place of placesOf(txId, layout, "/base")) {
        const [first] = place.split("/");
        assert(first !== ".." && first !== ".poh" && first !== "", place);
      }
    }
  }
});

Deno.test("each layout finds the ids whose payload it may have at a place", () => {
  for (const txId of IDS) {
    for (const layout of LAYOUTS) {
      for (const place of placesOf(txId, layout, "/base")) {
        assert(txIdsAt(place, layout).includes(txId), `${layout} ${place}`);
      }
    }
  }
});

Deno.test("an id has the same place in all layouts where it is said to", () => {
  assertEquals(hasOnePlace("A"), false);
  for (const txId of IDS.filter(hasOnePlace)) {
    for (const layout of LAYOUTS) {
      assertEquals(placesOf(txId, layout, "/base"), [placeOf(txId)]);
    }
  }
});

Deno.test("a place is an id's alone where no other id can have it", () => {
  if (FOLDS_CASE) return assert(!isOnlyIdAt(placeOf("a"), "a", "plain"));
  assert(isOnlyIdAt(placeOf("b/c"), "b/c", "mixed"));
  assert(isOnlyIdAt("%62.bin", "%62", "verbatim"));
  assert(!isOnlyIdAt("b/c.bin", "b/c", "verbatim"));
  assert(!isOnlyIdAt("%62.bin", "%62", "mixed"));
});

Deno.test("an archive's entry gets a place only if a system names it so", () => {
  for (const txId of [...IDS, ""]) {
    for (const entry of ownPlaces(txId)) {
      assertEquals(placeHere(entry), placeOf(txId));
    }
  }
  const others = ["x", "../a.bin", "/a.bin", "b/c.bin", ".poh/id", "%.bin", ""];
  for (const entry of others) assertEquals(placeHere(entry), null, entry);
});

Deno.test("payloadPlaces() lists all payload files, and nothing else", async () => {
  await using dir = await tempDir();
  for (const path of payloadFolders(dir.path)) {
    await Deno.mkdir(path, { recursive: true });
  }
  const others = [".poh/x.bin", "notes.txt", "poh.db", "a.bin.bak"];
  await Deno.mkdir(dir.join(".poh"));
  for (const place of [...IDS.map((txId) => placeOf(txId)), ...others]) {
    await Deno.writeTextFile(dir.join(place), "x");
  }
  const listed = await Array.fromAsync(payloadPlaces(dir.path));
  assertEquals(listed.sort(), IDS.map((txId) => placeOf(txId)).sort());
});

Deno.test("every place is in a folder that is made and synced", async () => {
  await using dir = await tempDir();
  const folders = payloadFolders(dir.path);
  for (const txId of IDS) {
    const path = dir.join(placeOf(txId));
    assert(folders.includes(dirname(path)), path);
    assertEquals(placeAt(path, dir.path), placeOf(txId));
  }
});

Deno.test("only what is where payloads are is a payload's place", () => {
  const others = ["poh.db", "a.bin.bak", ".poh/a.bin", "../a.bin", "a/b/c.bin"];
  for (const place of others) assert(!isPayloadPlace(place), place);
});

Deno.test("the layout of this system is the one that case asks for", () => {
  const here: Layout = FOLDS_CASE ? "folded" : "plain";
  assertEquals(LAYOUT_HERE, here);
});

Deno.test("the older package's places are those below the base that are there", async () => {
  await using dir = await tempDir();
  const base = dir.join("base");
  for (const path of ["base/sub/x.bin", "base/.poh/y.bin", "out.bin"]) {
    await Deno.mkdir(dirname(dir.join(path)), { recursive: true });
    await Deno.writeTextFile(dir.join(path), "x");
  }
  const places = (txId: string) =>
    placesOf(txId, "verbatim", base).map((place) =>
      place.replaceAll("\\", "/")
    );
  assertEquals(places("a"), ["a.bin"]);
  assertEquals(places("sub/x"), ["sub/x.bin"]);
  assertEquals(places("sub/gone"), []);
  const outside = ["../out", ".poh/y", join(dir.path, "out")];
  for (const txId of outside) {
    assertEquals(places(txId), [], txId);
    assert(leadsOut(txId, base), txId);
  }
  for (const txId of ["a", "sub/x", "sub/../a", join(base, "sub", "x")]) {
    assert(!leadsOut(txId, base), txId);
  }
});

Deno.test("the older package has no place for a name that no file can have", () => {
  const longest = "x".repeat(251);
  assertEquals(placesOf(longest, "verbatim", "/base"), [`${longest}.bin`]);
  assertEquals(placesOf(`${longest}x`, "verbatim", "/base"), []);
  assertEquals(placesOf("a\0b", "verbatim", "/base"), []);
});

Deno.test("a file moves where its place tells its id, whoever has named it", () => {
  for (const txId of IDS) {
    assertEquals(targetOf(placeOf(txId), LAYOUT_HERE), placeOf(txId));
    for (const [layout, foldsCase] of [["plain", false], ["folded", true]]) {
      const place = placeOf(txId, foldsCase as boolean);
      assertEquals(targetOf(place, layout as Layout), placeOf(txId));
    }
  }
  for (const layout of ["verbatim", "mixed"] as const) {
    assertEquals(targetOf(placeOf("a"), layout), placeOf("a"));
    // It may be of the id "A", or of one that is "%41".
    assertEquals(targetOf("%41.bin", layout), null);
    assertEquals(targetOf("é\u0301.bin", layout), null);
  }
  assertEquals(targetOf("%.bin", "plain"), null);
});

Deno.test("payloadPlaces() fails where there is no base", async () => {
  await using dir = await tempDir();
  await assertRejects(
    () => Array.fromAsync(payloadPlaces(dir.join("gone"))),
    Deno.errors.NotFound,
  );
});
