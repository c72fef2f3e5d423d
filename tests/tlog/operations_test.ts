// What each operation of a store leaves in its transparency log.

import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { parseEntry } from "../../proofs.ts";
import {
  backupStore,
  migrateStore,
  performRecovery,
  restoreStore,
  StorageManager,
} from "../../mod.ts";
import {
  bytes,
  denoScript,
  tempDir,
  type TempStore,
  tempStore,
  test,
} from "../helpers.ts";
import {
  codeOf,
  entriesIn,
  keys,
  large,
  ORIGIN,
  tamper,
  tx,
} from "./log_helpers.ts";

/** The entries of a closed store's log, in words. */
async function words(temp: Pick<TempStore, "db">): Promise<string[]> {
  return (await entriesIn(temp)).map((bytes) => {
    const entry = parseEntry(bytes);
    if (entry.kind === "begin") return "begin";
    const of = entry.prev === null ? "" : ` ${entry.prev}`;
    return `${entry.kind} ${entry.reason}${of}`;
  });
}

test("save, replace, delete, prune: an entry each", async () => {
  await using temp = await tempStore();
  const { store } = temp;
  await store.tlog.init(ORIGIN);
  await store.saveTx(tx("a"));
  await store.saveTx(tx("a", large(1)));
  await store.saveTx(tx("b"));
  await store.deleteTx("a");
  await store.prune({ before: 2e9 });
  assertEquals(await store.tlog.check(), []);
  await temp.close();
  assertEquals(await words(temp), [
    "begin",
    ...["put saved", "put saved 1", "put saved"],
    ...["remove deleted 2", "remove pruned 3"],
  ]);
});

test("repack and compact: no entry, also of a row that was edited by hand", async () => {
  await using temp = await tempStore({ packBelow: 4096 });
  await temp.store.tlog.init(ORIGIN);
  await temp.store.saveTxs(["a", "b", "c"].map((id) => tx(id)));
  const { root } = await temp.store.tlog.status();
  const edit = "UPDATE txs SET holder_id = 'mallory' WHERE tx_id = 'a'";
  const store = await tamper(temp, edit);
  assertEquals(await store.movePacked({ packBelow: 0 }), 3);
  assertEquals(await store.movePacked({ packBelow: 4096 }), 3);
  await store.deleteTx("b");
  await store.compact();
  await temp.close();
  await temp.open();
  const found = await temp.store.tlog.check();
  assertEquals(found.map(({ kind, txId }) => [kind, txId]), [["altered", "a"]]);
  assertEquals((await temp.store.tlog.status()).size, 5);
  assertEquals(root.length, 44);
});

test("recover: what is damaged ends, what comes back from quarantine begins", async () => {
  await using temp = await tempStore();
  await temp.store.tlog.init(ORIGIN);
  const payloads = { small: bytes("small"), large: large(1) };
  for (const [id, payload] of Object.entries(payloads)) {
    await temp.store.saveTx(tx(id, payload));
    const path = join(temp.base, `${id}.bin`);
    await Deno.rename(path, `${path}-sound`);
    await Deno.writeFile(path, payload.toReversed());
  }
  await temp.store.recover();
  for await (const { name, txId } of temp.store.listQuarantine()) {
    const bin = join(temp.base, ".poh/quarantine", `${name}.bin`);
    await Deno.rename(join(temp.base, `${txId}.bin-sound`), bin);
    await temp.store.restoreQuarantined(name);
  }
  assertEquals(await temp.store.tlog.check(), []);
  await temp.close();
  const found = await words(temp);
  assertEquals(found.splice(3).sort(), [
    ...["put restored", "put restored"],
    ...["remove damaged 1", "remove damaged 2"],
  ]);
});

test("recover --purge: what is damaged ends as damaged", async () => {
  await using temp = await tempStore();
  await temp.store.tlog.init(ORIGIN);
  await temp.store.saveTx(tx("a"));
  await Deno.writeTextFile(join(temp.base, "a.bin"), "x");
  await temp.store.recover({ purge: true });
  assertEquals(await temp.store.tlog.check(), []);
  await temp.close();
  assertEquals(await words(temp), ["begin", "put saved", "remove damaged 1"]);
});

test("recover --from: no entry where a payload is mended, one from quarantine", async () => {
  await using dir = await tempDir();
  await using temp = await tempStore();
  await temp.store.tlog.init(ORIGIN);
  for (const id of ["here", "out"]) {
    await temp.store.saveTx(tx(id, large(id.length)));
  }
  const from = dir.join("backup");
  await backupStore(temp.base, temp.db, from);
  const damage = async (id: string) => {
    // The backup shares the bytes of a hard link.
    const path = join(temp.base, `${id}.bin`);
    await Deno.remove(path);
    await Deno.writeTextFile(path, "x");
  };
  await damage("out");
  await temp.store.recover();
  await damage("here");
  await temp.store.recover({ from });
  assertEquals(await temp.store.tlog.check(), []);
  assertEquals(await temp.store.countTxs(), 2);
  await temp.close();
  assertEquals(await words(temp), [
    "begin",
    ...["put saved", "put saved", "remove damaged 2", "put restored"],
  ]);
});

test("recover: orphans that are adopted, and rows that nobody logged", async () => {
  await using temp = await tempStore();
  await temp.store.tlog.init(ORIGIN);
  await temp.store.saveTx(tx("a"));
  await Deno.writeTextFile(join(temp.base, "orphan.bin"), "bytes");
  await temp.store.recover({ orphans: "adopt" });
  await tamper(temp, "DELETE FROM txs WHERE tx_id = 'a'");
  await temp.store.recover();
  assertEquals(await temp.store.tlog.check(), []);
  await temp.close();
  assertEquals(await words(temp), [
    ...["begin", "put saved", "put adopted", "remove vanished 1"],
  ]);
});

test("backup and restore: a new log names the old one and what came over", async () => {
  for (const isTar of [false, true]) {
    await using dir = await tempDir();
    await using temp = await tempStore();
    const { path, signers } = await keys(dir);
    await temp.store.tlog.init(ORIGIN);
    await temp.store.saveTx(tx("a"));
    await temp.store.saveTx(tx("b", large(1)));
    const last = await temp.store.tlog.sign(signers, path);
    await temp.store.saveTx(tx("later"));
    const backup = dir.join("backup");
    if (isTar) {
      const file = await Deno.create(backup);
      await backupStore(temp.base, temp.db, file.writable);
    } else {
      await backupStore(temp.base, temp.db, backup);
      await backupStore(temp.base, temp.db, backup); // over the one before
    }
    const base = dir.join("restored"), db = join(base, "poh.db");
    await restoreStore(backup, base, db);
    {
      await using store = await StorageManager.open(base, db);
      assertEquals(await codeOf(store.tlog.status()), "TLOG_NONE");
      await store.tlog.init(ORIGIN);
      assertEquals(await store.tlog.check(), []);
      assertEquals(
        await codeOf(store.tlog.sign(signers, path)),
        "TLOG_ROLLED_BACK",
      );
    }
    const found = await words({ db });
    assertEquals(found.sort(), [
      ...["begin", "put adopted", "put carried-over", "put carried-over"],
    ]);
    const begin = parseEntry((await entriesIn({ db }))[0]!);
    assertEquals(begin.kind === "begin" && begin.predecessor, last);
    // The original goes on as it was.
    assertEquals(await temp.store.tlog.check(), []);
    await temp.store.tlog.sign(signers, path);
  }
});

test("a log whose beginning a crash cut off names its predecessor all the same", async () => {
  await using dir = await tempDir();
  await using temp = await tempStore();
  const { path, signers } = await keys(dir);
  await temp.store.tlog.init(ORIGIN);
  await temp.store.saveTx(tx("a"));
  const last = await temp.store.tlog.sign(signers, path);
  await temp.close();
  await Deno.remove(temp.db);
  await performRecovery(temp.base, temp.db, { rebuild: true });
  const child = denoScript("begin_log.ts", [temp.base, temp.db], {
    stderr: "null",
  });
  assertEquals((await child.output()).success, false);
  await temp.open();
  assertEquals(await codeOf(temp.store.tlog.status()), "TLOG_NONE");
  await temp.store.tlog.init(ORIGIN);
  await temp.close();
  const begin = parseEntry((await entriesIn(temp))[0]!);
  assertEquals(begin.kind === "begin" && begin.predecessor, last);
});

test("a published checkpoint that is none keeps no backup and no log from being made", async () => {
  for (const junk of [new Uint8Array([255, 254]), bytes("junk\n\n")]) {
    await using dir = await tempDir();
    await using temp = await tempStore();
    const { path, signers } = await keys(dir);
    await temp.store.tlog.init(ORIGIN);
    await temp.store.saveTx(tx("a"));
    await temp.store.tlog.sign(signers, path);
    await temp.close();
    await Deno.writeFile(join(temp.base, ".poh/tlog/checkpoint"), junk);
    await backupStore(temp.base, temp.db, dir.join("backup"));
    const base = dir.join("restored"), db = join(base, "poh.db");
    await restoreStore(dir.join("backup"), base, db);
    await Deno.remove(temp.db);
    await performRecovery(temp.base, temp.db, { rebuild: true });
    for (const place of [{ base, db }, temp]) {
      await using store = await StorageManager.open(place.base, place.db);
      await store.tlog.init(ORIGIN);
      assertEquals(await store.tlog.check(), []);
    }
  }
});

test("migrate: the target logs what it saves, the source's log stays", async () => {
  await using dir = await tempDir();
  await using temp = await tempStore();
  await temp.store.tlog.init(ORIGIN);
  await temp.store.saveTx(tx("a"));
  await temp.store.saveTx(tx("b", large(1)));
  const base = dir.join("target"), db = join(base, "poh.db");
  {
    await using store = await StorageManager.create(base, db);
    await store.tlog.init("other.example/log");
    await migrateStore(temp.store, store);
  }
  assertEquals(await words({ db }), ["begin", "put saved", "put saved"]);
  assertEquals((await temp.store.tlog.status()).size, 3);
});
