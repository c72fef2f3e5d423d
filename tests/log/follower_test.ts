import { assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { Follower } from "../../src/log/follower.ts";
import { PayloadFiles } from "../../src/payloads/payload_files.ts";
import { placeOf } from "../../src/payloads/payload_layout.ts";
import { StorageManager } from "../../src/storage_manager.ts";
import { bytes, sampleTx, tempDir, tempStore, test } from "../helpers.ts";

test("the thread names the files that the disk refuses", async () => {
  await using dir = await tempDir();
  const files = new PayloadFiles(dir.path, { sync: true });
  await Deno.writeFile(files.pathOf("sound"), bytes("sound"));
  await Deno.mkdir(files.pathOf("refused"));
  await using thread = await Follower.start({
    base: dir.path,
    path: dir.join("poh.db"),
    driver: "builtin",
    sync: true,
  });
  const refused = await thread!.syncFiles(["sound", "refused", "gone"]);
  assertEquals(refused?.map(({ at }) => at), [1]);
});

test("a folder that the disk refuses ends a checkpoint without files", async () => {
  await using dir = await tempDir();
  const base = dir.join("base");
  const store = await StorageManager.create(base, dir.join("poh.db"), {
    packBelow: 1_000,
  });
  const ids = Array.from({ length: 600 }, (_, n) => `tx-${n}`);
  await Promise.all(ids.map((txId) => store.saveTx(sampleTx({ txId }))));
  const { sync } = PayloadFiles.prototype;
  PayloadFiles.prototype.sync = () => Promise.reject(new Error("refused"));
  try {
    await assertRejects(() => store.close(), Error, "refused");
  } finally {
    PayloadFiles.prototype.sync = sync;
  }
});

test("files for whose sync the thread does not answer are made anew", async () => {
  await using temp = await tempStore();
  const ids = Array.from({ length: 600 }, (_, n) => `tx-${n}`);
  await Promise.all(ids.map((txId) => temp.store.saveTx(sampleTx({ txId }))));
  const inodes = () =>
    ids.map((id) => Deno.statSync(join(temp.base, placeOf(id))).ino);
  const before = inodes();
  const { syncFiles } = Follower.prototype;
  let asked = 0;
  Follower.prototype.syncFiles = ({ length }) => {
    asked += length;
    return Promise.resolve(null);
  };
  try {
    await temp.close();
  } finally {
    Follower.prototype.syncFiles = syncFiles;
  }
  assertEquals(asked, ids.length);
  assertEquals(inodes().filter((ino, n) => ino === before[n]), []);
  await temp.reopen();
  const { sound, findings } = await temp.store.verify();
  assertEquals([sound, findings], [ids.length, []]);
});
