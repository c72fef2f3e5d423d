import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { performRecovery, verifyStore } from "../../mod.ts";
import { requirePohDir } from "../../src/files/layout.ts";
import { listQuarantine } from "../../src/payloads/quarantine.ts";
import { placeOf } from "../../src/payloads/payload_layout.ts";
import {
  flipBit,
  IS_WINDOWS,
  namesIn,
  sampleTx,
  tempDir,
  tempStore,
  test,
} from "../helpers.ts";

test("a base without a folder of the store's own is fine", async () => {
  await using dir = await tempDir();
  requirePohDir(dir.path);
  requirePohDir(dir.join("none"));
});

test("the folder that a store makes is as it should be", async () => {
  await using temp = await tempStore();
  requirePohDir(temp.base);
});

for (const name of ["tmp", "staged", "quarantine", "holders"]) {
  test(`a file in place of .poh/${name} is refused`, async () => {
    await using dir = await tempDir();
    await Deno.mkdir(dir.join(".poh"));
    await Deno.writeTextFile(dir.join(".poh", name), "");
    assertThrows(
      () => requirePohDir(dir.path),
      Deno.errors.InvalidData,
      "must be a directory",
    );
  });
}

for (const name of ["lock", "commit.lock", "id"]) {
  test(`a directory in place of .poh/${name} is refused`, async () => {
    await using dir = await tempDir();
    await Deno.mkdir(dir.join(".poh", name), { recursive: true });
    assertThrows(
      () => requirePohDir(dir.path),
      Deno.errors.InvalidData,
      "must be a regular file",
    );
  });
}

test("a link in place of a folder leads recover nowhere", async () => {
  for (const name of ["tmp", "staged", "quarantine"]) {
    await using temp = await tempStore();
    await temp.store.saveTx(sampleTx());
    await temp.close();
    await flipBit(temp.file("a"));
    // What recover would tidy up, or move a payload into.
    const elsewhere = join(temp.base, "..", "elsewhere");
    await Deno.mkdir(elsewhere);
    await Deno.writeTextFile(join(elsewhere, "precious"), "mine");
    const folder = join(temp.base, ".poh", name);
    await Deno.remove(folder).catch(() => {});
    await Deno.symlink(elsewhere, folder);

    await assertRejects(
      () => performRecovery(temp.base, temp.db),
      Deno.errors.InvalidData,
      "a symbolic link",
    );
    await assertRejects(() => verifyStore(temp.base, temp.db));
    if (name === "quarantine") {
      await assertRejects(() => Array.fromAsync(listQuarantine(temp.base)));
    }
    assertEquals(namesIn(elsewhere), ["precious"]);
    assertEquals(namesIn(temp.base).includes(placeOf("a")), true);
  }
}, { ignore: IS_WINDOWS });
