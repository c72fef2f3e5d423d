import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import {
  performRecovery,
  PohStorageError,
  SaveTxsError,
  StorageManager,
  StoreMovedError,
} from "../../mod.ts";
import {
  filesBelow,
  IS_WINDOWS,
  namesIn,
  randomBytes,
  sampleTx,
  type TempDir,
  tempDir,
  test,
} from "../helpers.ts";

/** Opens a store in a folder. */
async function storeIn(
  dir: TempDir,
  name = "base",
  db = join(name, "poh.db"),
): Promise<StorageManager> {
  return await StorageManager.create(dir.join(name), dir.join(db));
}

/** Windows moves nothing that is open. */
const options = { ignore: IS_WINDOWS };

/** Saves of each kind, none of which may be acknowledged any more. */
async function assertSavesNothing(store: StorageManager): Promise<void> {
  const large = sampleTx({ txId: "large", payload: randomBytes(100_000) });
  const attempts = [
    () => store.saveTx(sampleTx({ txId: "new" })),
    () => store.saveTx(large),
    () => store.saveTxs([1, 2, 3].map((n) => sampleTx({ txId: `tx-${n}` }))),
    () => store.deleteTx("a"),
  ];
  for (const attempt of attempts) {
    const error = await assertRejects(attempt, PohStorageError);
    const reason = error instanceof SaveTxsError ? error.cause : error;
    assert(reason instanceof StoreMovedError);
    assertEquals(reason.code, "STORE_MOVED");
  }
}

test(
  "a store that was moved away acknowledges nothing, and is sound where it is",
  async () => {
    await using dir = await tempDir();
    const store = await storeIn(dir);
    await store.saveTx(sampleTx());
    await Deno.rename(dir.join("base"), dir.join("moved"));
    await assertSavesNothing(store);
    await store.close();
    assertEquals(namesIn(dir.path), ["moved"]);
    const [base, db] = [dir.join("moved"), dir.join("moved", "poh.db")];
    const report = await performRecovery(base, db);
    assertEquals(report.damaged, false);
    await using again = await StorageManager.open(base, db);
    assertEquals(await again.infoTx("a") !== null, true);
  },
  options,
);

test(
  "a store put in the place of an open one gets nothing of what is saved there",
  async () => {
    await using dir = await tempDir();
    const store = await storeIn(dir);
    await store.saveTx(sampleTx());
    {
      await using other = await storeIn(dir, "other");
      await other.saveTx(sampleTx({ txId: "new", holderId: "other" }));
    }
    await Deno.rename(dir.join("base"), dir.join("moved"));
    await Deno.rename(dir.join("other"), dir.join("base"));
    const before = await filesBelow(dir.join("base"));
    await assertSavesNothing(store);
    await store.close();
    assertEquals(await filesBelow(dir.join("base")), before);
    await using there = await storeIn(dir);
    assertEquals(await there.listTxs(), ["new"]);
    assertEquals((await there.verify()).findings, []);
  },
  options,
);

test(
  "a database that was replaced is noticed, and the other one's log left alone",
  async () => {
    await using dir = await tempDir();
    const store = await storeIn(dir, "base", "one.db");
    await store.saveTx(sampleTx());
    for (const suffix of ["", "-wal", "-shm"]) {
      await Deno.rename(
        dir.join(`one.db${suffix}`),
        dir.join(`two.db${suffix}`),
      );
    }
    // Another program's database, in use, with a log of its own.
    await using other = await storeIn(dir, "elsewhere", "one.db");
    await other.saveTx(sampleTx({ txId: "b" }));
    await assertSavesNothing(store);
    await store.close();
    assert(namesIn(dir.path).includes("one.db-wal"));
    assertEquals(await other.listTxs(), ["b"]);
  },
  options,
);

test("a close after a move does not touch what is there instead", async () => {
  await using dir = await tempDir();
  const store = await storeIn(dir);
  await store.saveTx(sampleTx());
  await Deno.rename(dir.join("base"), dir.join("moved"));
  await Deno.mkdir(dir.join("base"));
  await store.close();
  assertEquals(namesIn(dir.join("base")), []);
  const db = dir.join("moved", "poh.db");
  assertEquals((await performRecovery(dir.join("moved"), db)).sound, 1);
}, options);

test(
  "a manager checks, repairs and empties nothing of a store in its store's place",
  async () => {
    await using dir = await tempDir();
    const make = async () => {
      await using store = await storeIn(dir);
      await store.saveTx(sampleTx());
      await Deno.writeTextFile(dir.join("base", "a.bin"), "damaged");
      await store.recover();
      await store.saveTx(sampleTx());
    };
    await make();
    const store = await storeIn(dir);
    await Deno.rename(dir.join("base"), dir.join("moved"));
    await make();
    await Deno.remove(dir.join("base", "a.bin"));
    const before = [
      await filesBelow(dir.join("base")),
      await filesBelow(dir.join("moved")),
    ];
    for (
      const attempt of [
        () => store.verify(),
        () => store.recover(),
        () => store.emptyQuarantine(),
        () => store.movePacked({ packBelow: 100 }),
      ]
    ) await assertRejects(attempt, StoreMovedError);
    assertEquals(
      [await filesBelow(dir.join("base")), await filesBelow(dir.join("moved"))],
      before,
    );
    await store.close();
    const [base, db] = [dir.join("moved"), dir.join("moved", "poh.db")];
    assertEquals((await performRecovery(base, db)).sound, 1);
  },
  options,
);

test("a repair ends when its store is moved in the middle of it", async () => {
  await using dir = await tempDir();
  const ids = ["a", "b", "c"];
  {
    await using store = await storeIn(dir, "base", "poh.db");
    for (const txId of ids) await store.saveTx(sampleTx({ txId }));
  }
  await Deno.writeTextFile(dir.join("base", "a.bin"), "damaged");
  await using store = await storeIn(dir, "base", "poh.db");
  const move = () => {
    Deno.renameSync(dir.join("base"), dir.join("moved"));
    Deno.mkdirSync(dir.join("base"));
  };
  await assertRejects(
    () => store.recover({ onFinding: move }),
    StoreMovedError,
  );
  assertEquals(await store.listTxs(), ["b", "c"]);
}, options);

test("a manager whose .poh was deleted acknowledges nothing more", async () => {
  await using dir = await tempDir();
  const store = await storeIn(dir);
  await store.saveTx(sampleTx());
  await Deno.remove(dir.join("base", ".poh"), { recursive: true });
  await assertSavesNothing(store);
  await store.close();
  await using again = await storeIn(dir);
  assertEquals((await again.loadTx("a"))?.txId, "a");
}, options);

test("a batch looks at base and database before it is written, and told", async () => {
  await using dir = await tempDir();
  await using store = await storeIn(dir, "base", "poh.db");
  const txs = Array.from(
    { length: 100 },
    (_, n) => sampleTx({ txId: `tx-${n}` }),
  );
  const { statSync } = Deno;
  const look = [dir.join("base", ".poh"), dir.join("poh.db")];
  const looks: string[] = [];
  Deno.statSync = (path) => {
    if (look.includes(String(path))) looks.push(String(path));
    return statSync(path);
  };
  try {
    await Promise.all(txs.map((tx) => store.saveTx(tx)));
  } finally {
    Deno.statSync = statSync;
  }
  assertEquals(looks, [...look, ...look]);
});
