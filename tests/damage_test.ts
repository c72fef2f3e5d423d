import { newSeed, withSeed } from "./crash/random.ts";
import {
  damageDatabase,
  DATABASE_DAMAGES,
  makeIntact,
} from "./damage/database_damage.ts";
import {
  damageAndRecover,
  DAMAGES,
  makeSoundStore,
} from "./damage/payload_damage.ts";
import { damageStore, makeSoundStores } from "./damage/store_damage.ts";
import { tempDir } from "./helpers.ts";

const ROUNDS = 4;

Deno.test("damage to payloads and rows is told, taken out and kept", async (t) => {
  await using dir = await tempDir();
  const store = await makeSoundStore(dir.path);
  for (const damage of DAMAGES) {
    await t.step(damage.name, () =>
      withSeed(newSeed(), async (random) => {
        for (let round = 0; round < ROUNDS; round++) {
          await damageAndRecover(store, [damage], random);
        }
      }));
  }
  await t.step("several at once", () =>
    withSeed(newSeed(), async (random) => {
      for (let round = 0; round < ROUNDS; round++) {
        await damageAndRecover(store, random.sample(DAMAGES, 4), random);
      }
    }));
});

Deno.test({
  name: "damage to the database is told or harmless, and recovery ends clean",
  fn: damageDatabases,
});

Deno.test({
  name: "a store comes through damage to anything but its payload files",
  fn: damageStores,
});

const STORE_ROUNDS = 150;

async function damageStores(): Promise<void> {
  await using dir = await tempDir();
  const stores = await makeSoundStores(dir.path, { bulk: 40, ids: 40 });
  for (let round = 0; round < STORE_ROUNDS; round++) {
    const store = stores[round % stores.length]!;
    await withSeed(newSeed(), (random) => damageStore(store, random));
  }
}

async function damageDatabases(t: Deno.TestContext): Promise<void> {
  await using dir = await tempDir();
  const cold = await makeIntact(dir.join("cold"), false);
  const hot = await makeIntact(dir.join("hot"), true);
  for (const damage of DATABASE_DAMAGES) {
    await t.step(damage.name, () =>
      withSeed(newSeed(), async (random) => {
        for (let round = 0; round < ROUNDS; round++) {
          await damageDatabase(damage.hot ? hot : cold, damage, random);
        }
      }));
  }
}
