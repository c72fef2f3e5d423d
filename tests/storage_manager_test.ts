import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
} from "@std/assert";
import { join } from "@std/path";
import {
  IntegrityError,
  InvalidTxError,
  InvalidTxIdError,
  PayloadUnreadableError,
  PohStorageError,
  SaveTxsError,
  sha256Hex,
  StorageManager,
  StoreClosedError,
  StoreNotFoundError,
  type Tx,
  type TxStream,
} from "../mod.ts";
import { TIMESTAMPS } from "./contract/metadata_store.ts";
import { INVALID_IDS, TRICKY_IDS } from "./contract/payload_store.ts";
import { placeOf } from "../src/payloads/payload_layout.ts";
import {
  assertBytes,
  bytes,
  filesBelow,
  flipBit,
  IS_WINDOWS,
  namesIn,
  outline,
  randomBytes,
  sampleTx,
  seededRandom,
  soundAfter,
  tempDir,
  tempStore,
  test,
  testDrivers,
  text,
  TIME_LIMIT,
  within,
} from "./helpers.ts";

/** Payload sizes around the borders between one way of saving and another. */
const SIZES = [0, 1, 65_535, 65_536, 65_537, 262_145, 1 << 20];

async function bytesOf(stream: TxStream | null): Promise<Uint8Array> {
  return await new Response(stream!.payload).bytes();
}

/** Pieces that come one by one, as from a network. */
async function* pieces(...parts: Uint8Array[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield await Promise.resolve(part);
}

// --- save and load ------------------------------------------------------------

testDrivers(
  "loadTx() gives what saveTx() took, the holder too",
  async (driver) => {
    await using temp = await tempStore({ driver });
    const tx = sampleTx({ holderId: "ホルダー🪙" });
    assertEquals(await temp.store.saveTx(tx), {
      txId: "a",
      holderId: "ホルダー🪙",
      timestamp: tx.timestamp,
      storageHash: await sha256Hex(tx.payload),
      size: tx.payload.length,
      outcome: "created",
      saved: true,
    });
    assertEquals(await temp.store.loadTx("a"), tx);
    assertEquals(await (await temp.reopen()).loadTx("a"), tx);
  },
);

testDrivers("an unknown id is null, false, or not there", async (driver) => {
  await using temp = await tempStore({ driver });
  await temp.store.saveTx(sampleTx({ txId: "ab" }));
  const { store } = temp;
  assertEquals(await store.loadTx("a"), null);
  assertEquals(await store.loadTxStream("a"), null);
  assertEquals(await store.hasTx("a"), false);
  assertEquals(await store.infoTx("a"), null);
  assertEquals(await store.deleteTx("a"), false);
});

testDrivers("payloads of all sizes come back byte for byte", async (driver) => {
  await using temp = await tempStore({ driver });
  for (const size of SIZES) {
    const payload = randomBytes(size, size);
    const info = await temp.store.saveTx(
      sampleTx({ txId: `${size}`, payload }),
    );
    assertEquals(info.size, size);
  }
  for (const open of [() => temp.store, () => temp.reopen()]) {
    const store = await open();
    for (const size of SIZES) {
      const payload = randomBytes(size, size);
      assertBytes((await store.loadTx(`${size}`))?.payload, payload, `${size}`);
      assertBytes(await bytesOf(await store.loadTxStream(`${size}`)), payload);
    }
  }
});

testDrivers(
  "the payload file holds the payload and nothing else",
  async (driver) => {
    await using temp = await tempStore({ driver });
    for (const size of SIZES) {
      const payload = randomBytes(size, size);
      await temp.store.saveTx(sampleTx({ payload }));
      // At once, not only when the store is closed.
      assertBytes(await Deno.readFile(temp.file("a")), payload);
    }
  },
);

testDrivers("timestamps come back exactly", async (driver) => {
  await using temp = await tempStore({ driver });
  const name = (timestamp: number) => `at ${timestamp}`;
  await temp.store.saveTxs(
    TIMESTAMPS.map((timestamp) =>
      sampleTx({ txId: name(timestamp), timestamp })
    ),
  );
  const store = await temp.reopen();
  for (const timestamp of TIMESTAMPS) {
    assertEquals((await store.loadTx(name(timestamp)))?.timestamp, timestamp);
    assertEquals((await store.infoTx(name(timestamp)))?.timestamp, timestamp);
  }
});

testDrivers(
  "no two ids share a transaction, and none leaves the base",
  async (driver) => {
    await using temp = await tempStore({ driver });
    for (const txId of TRICKY_IDS) {
      await temp.store.saveTx(
        sampleTx({ txId, holderId: txId, payload: bytes(txId) }),
      );
    }
    const store = await temp.reopen();
    for (const txId of TRICKY_IDS) {
      const tx = await store.loadTx(txId);
      assertEquals([tx?.txId, tx?.holderId, text(tx?.payload)], [
        txId,
        txId,
        txId,
      ]);
    }
    assertEquals((await store.listTxs()).sort(), TRICKY_IDS.toSorted());
    assertEquals((await soundAfter(store)).sort(), TRICKY_IDS.toSorted());
    assertEquals(namesIn(join(temp.base, "..")), ["base"]);
    for (const txId of TRICKY_IDS) {
      assertEquals(
        await store.deleteTx(txId),
        true,
      );
    }
    assertEquals(
      namesIn(temp.base).filter((name) => name.endsWith(".bin")),
      [],
    );
  },
);

testDrivers(
  "the same id saved twice is replaced, in every field",
  async (driver) => {
    await using temp = await tempStore({ driver });
    for (const [first, second] of [[3, 5], [100_000, 7], [7, 100_000]]) {
      await temp.store.saveTx(sampleTx({ payload: randomBytes(first!) }));
      const newer = sampleTx({
        holderId: "bob",
        timestamp: -1,
        payload: randomBytes(second!, 2),
      });
      await temp.store.saveTx(newer);
      assertEquals(await temp.store.countTxs(), 1);
      assertEquals((await temp.store.loadTx("a"))?.holderId, "bob");
      assertBytes((await temp.store.loadTx("a"))?.payload, newer.payload);
      assertEquals((await temp.store.infoTx("a"))?.size, second);
    }
    const report = await (await temp.reopen()).verify();
    assertEquals([report.sound, report.findings], [1, []]);
  },
);

testDrivers("saving the same bytes again keeps them", async (driver) => {
  await using temp = await tempStore({ driver });
  await temp.store.saveTx(sampleTx());
  await temp.store.saveTx(sampleTx({ holderId: "bob" }));
  assertEquals(await temp.store.loadTx("a"), sampleTx({ holderId: "bob" }));
});

testDrivers("500 saves in flight at once all land", async (driver) => {
  await using temp = await tempStore({ driver });
  const txs = Array.from(
    { length: 500 },
    (_, n) =>
      sampleTx({
        txId: `tx-${n + 1_000}`,
        payload: randomBytes(n % 50 === 0 ? 70_000 : n, n),
      }),
  );
  const infos = await Promise.all(txs.map((tx) => temp.store.saveTx(tx)));
  assertEquals(infos.map(({ txId }) => txId), txs.map(({ txId }) => txId));
  const store = await temp.reopen();
  assertEquals(await store.countTxs(), 500);
  for (const tx of txs) {
    assertBytes((await store.loadTx(tx.txId))?.payload, tx.payload, tx.txId);
  }
  const report = await store.verify();
  assertEquals([report.sound, report.findings], [500, []]);
});

testDrivers(
  "saves, loads and deletions of one id at once leave one state, whole",
  async (driver) => {
    await using temp = await tempStore({ driver });
    const { store } = temp;
    const sizes = [10, 70_000, 0, 200_000, 65_536];
    const versions = Array.from({ length: 25 }, (_, n) =>
      sampleTx({
        holderId: `${n}`,
        timestamp: n,
        payload: randomBytes(sizes[n % 5]!, n),
      }));
    const check = (tx: Tx | null) => {
      if (tx === null) return;
      const saved = versions[tx.timestamp]!;
      assertEquals(tx.holderId, saved.holderId);
      assertBytes(tx.payload, saved.payload, `version ${tx.timestamp}`);
    };
    await Promise.all(versions.flatMap((tx, n) => [
      store.saveTx(tx),
      store.loadTx("a").then(check),
      store.loadTxStream("a").then(async (stream) => {
        if (stream) check({ ...stream.info, payload: await bytesOf(stream) });
      }),
      ...(n % 7 === 3 ? [store.deleteTx("a")] : []),
    ]));
    const last = await store.loadTx("a");
    check(last);
    const report = await (await temp.reopen()).verify();
    assertEquals([report.sound, report.findings], [last ? 1 : 0, []]);
  },
);

testDrivers(
  "a small payload's buffer is the caller's again at once",
  async (driver) => {
    await using temp = await tempStore({ driver });
    const payload = bytes("hello");
    const tx = sampleTx({ payload });
    const saved = temp.store.saveTx(tx);
    payload.fill(0);
    Object.assign(tx, { txId: "b", holderId: "eve", timestamp: 9 });
    await saved;
    assertEquals(
      await temp.store.loadTx("a"),
      sampleTx({ payload: bytes("hello") }),
    );
    assertEquals(await temp.store.listTxs(), ["a"]);
  },
);

testDrivers(
  "an object may be used again while its large payload is saved",
  async (driver) => {
    await using temp = await tempStore({ driver });
    const payload = randomBytes(100_000);
    const tx = sampleTx({ payload });
    const saved = temp.store.saveTx(tx);
    Object.assign(tx, { txId: "", holderId: "eve", payload: bytes("x") });
    await saved;
    const loaded = await temp.store.loadTx("a");
    assertEquals(loaded?.holderId, "alice");
    assertBytes(loaded?.payload, payload);
  },
);

testDrivers("a loaded payload is the caller's own", async (driver) => {
  await using temp = await tempStore({ driver });
  await temp.store.saveTx(sampleTx());
  (await temp.store.loadTx("a"))!.payload.fill(0);
  assertEquals(await temp.store.loadTx("a"), sampleTx());
});

testDrivers(
  "relaxed durability keeps the same promises while the machine runs",
  async (driver) => {
    await using temp = await tempStore({ driver, durability: "relaxed" });
    const large = sampleTx({ txId: "large", payload: randomBytes(100_000) });
    await temp.store.saveTxs([
      sampleTx(),
      large,
      sampleTx({ holderId: "bob" }),
    ]);
    await temp.store.deleteTx("large");
    await temp.store.saveTx(large);
    await using crash = await temp.snapshot();
    for (
      const open of [() => temp.store, () => temp.reopen(), () => crash.open()]
    ) {
      const store = await open();
      assertEquals(await store.listTxs(), ["a", "large"]);
      assertEquals((await store.loadTx("a"))?.holderId, "bob");
      assertBytes((await store.loadTx("large"))?.payload, large.payload);
    }
  },
);

// --- what is refused ------------------------------------------------------------

for (const [what, txId] of Object.entries(INVALID_IDS)) {
  test(`saveTx() and loadTx() refuse ${what}, and touch nothing`, async () => {
    await using temp = await tempStore();
    const before = await filesBelow(temp.base);
    const { store } = temp;
    await assertRejects(
      () => store.saveTx(sampleTx({ txId })),
      InvalidTxIdError,
    );
    const head = { txId, holderId: "", timestamp: 0 };
    await assertRejects(
      () => store.saveTxStream(head, pieces(bytes("x"))),
      InvalidTxIdError,
    );
    await assertRejects(() => store.loadTx(txId), InvalidTxIdError);
    await assertRejects(() => store.loadTxStream(txId), InvalidTxIdError);
    assertEquals(await filesBelow(temp.base), before);
    assertEquals(await store.countTxs(), 0);
  });
}

const REFUSED: [string, string, Record<string, unknown>][] = [
  ["a time that is NaN", "timestamp", { timestamp: NaN }],
  ["an infinite time", "timestamp", { timestamp: Infinity }],
  ["a time minus infinity", "timestamp", { timestamp: -Infinity }],
  ["a time that is text", "timestamp", { timestamp: "1" }],
  ["a payload that is text", "payload", { payload: "hello" }],
  ["a payload that is missing", "payload", { payload: undefined }],
  ["a holder that is missing", "holder_id", { holderId: undefined }],
  ["a holder with NUL", "holder_id", { holderId: "a\0" }],
  ["an id that is a number", "tx_id", { txId: 7 }],
];

for (const [what, field, part] of REFUSED) {
  test(`saveTx() refuses ${what}, and keeps the older transaction`, async () => {
    await using temp = await tempStore();
    await temp.store.saveTx(sampleTx());
    const tx = { ...sampleTx(), ...part } as Tx;
    const error = await assertRejects(
      () => temp.store.saveTx(tx),
      InvalidTxError,
    );
    assertEquals(error.field, field);
    assertEquals(await temp.store.loadTx("a"), sampleTx());
    assertEquals(await temp.store.listTxs(), ["a"]);
  });
}

testDrivers(
  "an id with NUL is not taken for what stands before the NUL",
  async (driver) => {
    await using temp = await tempStore({ driver });
    const { store } = temp;
    await store.saveTx(sampleTx());
    assertEquals(await store.hasTx("a\0b").catch(() => false), false);
    assertEquals(await store.infoTx("a\0b").catch(() => null), null);
    await assertRejects(() => store.deleteTx("a\0b"), InvalidTxIdError);
    assertEquals(await store.listTxs(), ["a"]);
  },
);

// --- streams ----------------------------------------------------------------------

testDrivers("saveTxStream() saves what comes in pieces", async (driver) => {
  await using temp = await tempStore({ driver });
  const payload = randomBytes(300_000);
  const head = { txId: "a", holderId: "alice", timestamp: 0.5 };
  const { outcome, saved, ...info } = await temp.store.saveTxStream(
    head,
    pieces(
      payload.subarray(0, 1),
      new Uint8Array(),
      payload.subarray(1, 250_000),
      payload.subarray(250_000),
    ),
  );
  assertEquals([outcome, saved], ["created", true]);
  assertEquals(info, {
    ...head,
    storageHash: await sha256Hex(payload),
    size: 300_000,
  });
  assertEquals(await temp.store.infoTx("a"), info);
  assertBytes((await temp.store.loadTx("a"))?.payload, payload);
  assertEquals(namesIn(temp.base, ".poh", "staged"), []);
});

testDrivers(
  "saveTxStream() takes no pieces for an empty payload",
  async (driver) => {
    await using temp = await tempStore({ driver });
    const head = { txId: "a", holderId: "", timestamp: 0 };
    assertEquals((await temp.store.saveTxStream(head, pieces())).size, 0);
    assertEquals((await temp.store.loadTx("a"))?.payload, new Uint8Array());
  },
);

testDrivers(
  "saveTxStream() saves a web stream, and a stream of this store",
  async (driver) => {
    await using temp = await tempStore({ driver });
    const payload = randomBytes(400_000);
    await temp.store.saveTxStream(
      { txId: "a", holderId: "", timestamp: 0 },
      new Blob([payload]).stream(),
    );
    const stream = (await temp.store.loadTxStream("a"))!;
    await temp.store.saveTxStream(
      { ...stream.info, txId: "b" },
      stream.payload,
    );
    assertBytes((await temp.store.loadTx("b"))?.payload, payload);
  },
);

testDrivers(
  "saveTxStream() checks what it was told to expect",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTx(sampleTx());
    const head = { txId: "a", holderId: "eve", timestamp: 0 };
    const digest = await sha256Hex(bytes("right"));
    const error = await assertRejects(
      () =>
        temp.store.saveTxStream(head, pieces(bytes("wrong")), {
          expected: digest,
        }),
      IntegrityError,
    );
    assertEquals(error.expected, digest);
    assertEquals(error.found, await sha256Hex(bytes("wrong")));
    assertEquals(await temp.store.loadTx("a"), sampleTx());
    assertEquals(namesIn(temp.base, ".poh", "staged"), []);
    await temp.store.saveTxStream(head, pieces(bytes("right")), {
      expected: digest,
    });
    assertEquals(text((await temp.store.loadTx("a"))?.payload), "right");
  },
);

testDrivers(
  "a stream that fails saves nothing and leaves nothing",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTx(sampleTx());
    async function* broken() {
      yield randomBytes(100_000);
      await Promise.reject(new RangeError("network"));
    }
    await assertRejects(
      () => temp.store.saveTxStream({ ...sampleTx(), holderId: "b" }, broken()),
      RangeError,
    );
    assertEquals(await temp.store.loadTx("a"), sampleTx());
    assertEquals(namesIn(temp.base, ".poh", "staged"), []);
  },
);

testDrivers("loadTxStream() tells what it streams", async (driver) => {
  await using temp = await tempStore({ driver });
  await temp.store.saveTx(sampleTx({ payload: randomBytes(300_000) }));
  const info = await temp.store.infoTx("a");
  const stream = (await temp.store.loadTxStream("a"))!;
  assertEquals(stream.info, info);
  let size = 0;
  for await (const chunk of stream.payload) size += chunk.length;
  assertEquals(size, 300_000);
});

testDrivers(
  "a stream fills the buffer that its reader brings",
  async (driver) => {
    await using temp = await tempStore({ driver });
    for (const size of [0, 10, 1_000, 200_000]) {
      const payload = randomBytes(size, size);
      await temp.store.saveTx(sampleTx({ payload }));
      // From the log, where it is a small one, and from the file.
      for (const open of [() => temp.store, () => temp.reopen()]) {
        const stream = (await (await open()).loadTxStream("a"))!;
        const reader = stream.payload.getReader({ mode: "byob" });
        const parts: Uint8Array<ArrayBuffer>[] = [];
        let buffer = new ArrayBuffer(777);
        while (true) {
          const { done, value } = await reader.read(new Uint8Array(buffer));
          if (done) break;
          assert(value.length > 0 && value.length <= 777);
          parts.push(value.slice());
          buffer = value.buffer;
        }
        assertBytes(await new Blob(parts).bytes(), payload);
      }
    }
  },
);

testDrivers("a stream of damaged bytes errors at its end", async (driver) => {
  await using temp = await tempStore({ driver });
  for (const size of [100, 300_000]) {
    await temp.store.saveTx(
      sampleTx({ txId: `${size}`, payload: randomBytes(size) }),
    );
  }
  const store = await temp.reopen();
  for (const size of [100, 300_000]) {
    await flipBit(temp.file(`${size}`), 50);
    const stream = (await store.loadTxStream(`${size}`))!;
    let got = 0;
    const error = await assertRejects(async () => {
      for await (const chunk of stream.payload) got += chunk.length;
    }, IntegrityError);
    assertEquals([got, error.txId], [size, `${size}`]);
    assertEquals(error.expected, stream.info.storageHash);
  }
});

testDrivers("a stream that is cut short errors at its end", async (driver) => {
  await using temp = await tempStore({ driver });
  await temp.store.saveTx(sampleTx({ payload: randomBytes(300_000) }));
  const store = await temp.reopen();
  await Deno.truncate(temp.file("a"), 299_999);
  const stream = await store.loadTxStream("a");
  await assertRejects(() => bytesOf(stream), IntegrityError);
});

testDrivers(
  "cancelling a stream leaks nothing, whenever it comes",
  async (driver) => {
    await using temp = await tempStore({ driver });
    for (const size of [100, 600_000]) {
      await temp.store.saveTx(sampleTx({ payload: randomBytes(size) }));
      const store = await temp.reopen(); // so that the bytes come from the file
      {
        const stream = (await store.loadTxStream("a"))!;
        await stream.payload.cancel();
      }
      {
        const stream = (await store.loadTxStream("a"))!;
        for await (const _ of stream.payload) break;
      }
      {
        const reader = (await store.loadTxStream("a"))!.payload.getReader();
        const pending = reader.read();
        await reader.cancel();
        await pending.catch(() => {});
      }
      {
        const stream = (await store.loadTxStream("a"))!;
        await bytesOf(stream);
      }
    }
    // Windows would not let the file go while one of them is open.
    await temp.close();
    await Deno.remove(temp.file("a"));
  },
);

// Windows does not let a file be replaced under its reader everywhere.
testDrivers(
  "a stream goes on while its transaction is replaced",
  async (driver) => {
    await using temp = await tempStore({ driver });
    const { store } = temp;
    const payload = randomBytes(600_000);
    await store.saveTx(sampleTx({ payload }));
    const stream = await store.loadTxStream("a");
    await store.saveTx(sampleTx({ payload: bytes("new") }));
    assertBytes(await bytesOf(stream), payload);
    assertEquals(text(await bytesOf(await store.loadTxStream("a"))), "new");
  },
  { ignore: IS_WINDOWS },
);

// --- damage and obstacles -----------------------------------------------------------

testDrivers(
  "loadTx() refuses a payload whose bytes were altered",
  async (driver) => {
    await using temp = await tempStore({ driver });
    for (const size of [1, 1_000, 300_000]) {
      const txId = `${size}`;
      const { storageHash } = await temp.store.saveTx(
        sampleTx({ txId, payload: randomBytes(size) }),
      );
      const store = await temp.reopen();
      await flipBit(temp.file(txId), size - 1);
      const error = await assertRejects(
        () => store.loadTx(txId),
        IntegrityError,
      );
      assertEquals([error.txId, error.expected], [txId, storageHash]);
      assertEquals(
        error.found,
        await sha256Hex(await Deno.readFile(temp.file(txId))),
      );
      assertEquals(await store.hasTx(txId), true);
      await flipBit(temp.file(txId), size - 1);
      assertBytes((await store.loadTx(txId))?.payload, randomBytes(size));
    }
  },
);

testDrivers(
  "loadTx() refuses a payload that is longer, shorter or gone",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTx(sampleTx());
    const store = await temp.reopen();
    for (const other of ["payload of a!", "payload of ", ""]) {
      await Deno.writeTextFile(temp.file("a"), other);
      await assertRejects(() => store.loadTx("a"), IntegrityError);
    }
    await Deno.remove(temp.file("a"));
    const error = await assertRejects(() => store.loadTx("a"), IntegrityError);
    assertEquals(error.found, null);
    const again = await assertRejects(
      () => store.loadTxStream("a"),
      IntegrityError,
    );
    assertEquals(again.found, null);
  },
);

testDrivers(
  "damage to one transaction does not keep another from being loaded",
  async (driver) => {
    await using temp = await tempStore({ driver });
    for (const txId of ["a", "b"]) await temp.store.saveTx(sampleTx({ txId }));
    const store = await temp.reopen();
    await flipBit(temp.file("a"));
    assertEquals(await store.loadTx("b"), sampleTx({ txId: "b" }));
  },
);

testDrivers("a damaged transaction can be saved anew", async (driver) => {
  await using temp = await tempStore({ driver });
  await temp.store.saveTx(sampleTx());
  const store = await temp.reopen();
  await flipBit(temp.file("a"));
  await store.saveTx(sampleTx());
  assertEquals(await store.loadTx("a"), sampleTx());
});

testDrivers(
  "a directory in place of a payload is unreadable, not damaged",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTx(sampleTx());
    const store = await temp.reopen();
    await Deno.remove(temp.file("a"));
    await Deno.mkdir(temp.file("a"));
    const error = await assertRejects(
      () => store.loadTx("a"),
      PayloadUnreadableError,
      "a directory",
    );
    assertEquals(error.txId, "a");
    await assertRejects(() => store.loadTxStream("a"), PayloadUnreadableError);
    await Deno.remove(temp.file("a"));
  },
);

testDrivers(
  "a symbolic link in place of a payload is not followed",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTx(sampleTx());
    const store = await temp.reopen();
    const elsewhere = join(temp.base, "..", "elsewhere");
    await Deno.rename(temp.file("a"), elsewhere);
    await Deno.symlink(elsewhere, temp.file("a"));
    await assertRejects(
      () => store.loadTx("a"),
      PayloadUnreadableError,
      "symbolic link",
    );
    await store.deleteTx("a");
    assertEquals(await Deno.readFile(elsewhere), sampleTx().payload);
  },
  { ignore: IS_WINDOWS },
);

// --- queries --------------------------------------------------------------------------

testDrivers(
  "listTxs(), iterateTxs() and countTxs() agree on a filter",
  async (driver) => {
    await using temp = await tempStore({ driver });
    const { store } = temp;
    assertEquals(await store.listTxs(), []);
    const random = seededRandom(3);
    await store.saveTxs(Array.from({ length: 30 }, (_, n) =>
      sampleTx({
        txId: `${"ab"[n % 2]}${n + 10}`,
        holderId: `h${n % 3}`,
        timestamp: Math.floor(random() * 10),
      })));
    for (
      const filter of [
        {},
        { holderId: "h1" },
        { idPrefix: "b" },
        { since: 3, before: 7 },
        { after: "a20", limit: 4 },
        { holderId: "h2", idPrefix: "a", since: 2 },
      ]
    ) {
      const infos = await Array.fromAsync(store.iterateTxs(filter));
      const ids = infos.map(({ txId }) => txId);
      assertEquals(await store.listTxs(filter), ids);
      assertEquals(await store.countTxs(filter), ids.length);
      assertEquals(ids, ids.toSorted());
      for (const info of infos) {
        assertEquals(await store.infoTx(info.txId), info);
        assertEquals(await store.hasTx(info.txId), true);
      }
    }
  },
);

testDrivers(
  "transactions may be deleted while they are gone through",
  async (driver) => {
    await using temp = await tempStore({ driver });
    const txs = Array.from(
      { length: 600 },
      (_, n) => sampleTx({ txId: `tx-${n + 1_000}`, timestamp: n }),
    );
    assertEquals((await temp.store.saveTxs(txs)).txs, 600);
    const deletions: Promise<boolean>[] = [];
    for await (const { txId } of temp.store.iterateTxs({ before: 500 })) {
      deletions.push(temp.store.deleteTx(txId));
    }
    assertEquals((await Promise.all(deletions)).filter(Boolean).length, 500);
    assertEquals(await temp.store.countTxs(), 100);
    const payloads = namesIn(temp.base).filter((name) => name.endsWith(".bin"));
    assertEquals(payloads.length, 100);
  },
);

// --- saveTxs ------------------------------------------------------------------------------

testDrivers("saveTxs() takes any iterable and counts", async (driver) => {
  await using temp = await tempStore({ driver });
  const { store } = temp;
  function* some() {
    yield sampleTx({ txId: "a" });
    yield sampleTx({ txId: "b" });
  }
  async function* others() {
    yield await Promise.resolve(sampleTx({ txId: "c" }));
    yield sampleTx({ txId: "a", holderId: "bob" });
  }
  const none = { txs: 0, created: 0, replaced: 0, unchanged: 0, kept: 0 };
  assertEquals(await store.saveTxs([]), none);
  assertEquals(await store.saveTxs(some()), { ...none, txs: 2, created: 2 });
  assertEquals(await store.saveTxs(others()), {
    ...none,
    txs: 2,
    created: 1,
    replaced: 1,
  });
  assertEquals(await store.listTxs(), ["a", "b", "c"]);
  assertEquals((await store.loadTx("a"))?.holderId, "bob");
});

testDrivers(
  "saveTxs() takes no more than it can keep up with",
  async (driver) => {
    await using temp = await tempStore({ driver });
    let taken = 0, most = 0;
    function* large() {
      for (let n = 0; n < 60; n++) {
        taken++;
        yield sampleTx({ txId: `${n}`, payload: new Uint8Array(1 << 20) });
      }
    }
    const { saveTx } = temp.store;
    temp.store.saveTx = async (tx) => {
      most = Math.max(most, taken);
      const info = await saveTx.call(temp.store, tx);
      taken--;
      return info;
    };
    assertEquals((await temp.store.saveTxs(large())).created, 60);
    assert(most <= 18, `${most} MiB in flight`);
  },
);

testDrivers(
  "saveTxs() stops at the first refusal, and keeps what was saved",
  async (driver) => {
    await using temp = await tempStore({ driver });
    let taken = 0, ended = false;
    function* txs() {
      try {
        for (; taken < 5_000; taken++) {
          const timestamp = taken === 10 ? NaN : taken;
          yield sampleTx({ txId: `tx-${taken + 1_000}`, timestamp });
        }
      } finally {
        ended = true;
      }
    }
    const error = await assertRejects(
      () => temp.store.saveTxs(txs()),
      SaveTxsError,
      'Tx 10 ("tx-1010"): timestamp',
    );
    assertEquals([error.index, error.txId], [10, "tx-1010"]);
    assert(error.cause instanceof InvalidTxError);
    assertEquals(error.cause.field, "timestamp");
    assert(ended && taken < 5_000, `took ${taken}`);
    const ids = await temp.store.listTxs();
    assertEquals(ids.slice(0, 10).at(-1), "tx-1009");
    assertEquals(ids.includes("tx-1010"), false);
    assertEquals((await temp.store.verify()).sound, ids.length);
  },
);

testDrivers(
  "saveTxs() fails as its source fails, once what is in flight has ended",
  async (driver) => {
    await using temp = await tempStore({ driver });
    async function* txs() {
      for (const txId of ["a", "b"]) {
        yield sampleTx({ txId, payload: randomBytes(200_000) });
      }
      await Promise.reject(new RangeError("source"));
    }
    await assertRejects(() => temp.store.saveTxs(txs()), RangeError, "source");
    assertEquals(await temp.store.listTxs(), ["a", "b"]);
  },
);

// --- delete ---------------------------------------------------------------------------------

testDrivers("deleteTx() deletes row and file, once", async (driver) => {
  await using temp = await tempStore({ driver });
  const { store } = temp;
  for (const [txId, size] of [["a", 10], ["b", 100_000]] as const) {
    await store.saveTx(sampleTx({ txId, payload: randomBytes(size) }));
    assertEquals(await store.deleteTx(txId), true);
    assertEquals(await store.deleteTx(txId), false);
    assertEquals([await store.loadTx(txId), await store.infoTx(txId)], [
      null,
      null,
    ]);
    assertEquals(namesIn(temp.base).includes(placeOf(txId)), false);
  }
  await store.saveTx(sampleTx({ holderId: "bob" }));
  const again = await temp.reopen();
  assertEquals(await again.listTxs(), ["a"]);
  assertEquals((await again.loadTx("a"))?.holderId, "bob");
});

testDrivers(
  "deleteTx() of a damaged or missing payload deletes it all",
  async (driver) => {
    await using temp = await tempStore({ driver });
    for (const txId of ["a", "b"]) await temp.store.saveTx(sampleTx({ txId }));
    const store = await temp.reopen();
    await flipBit(temp.file("a"));
    await Deno.remove(temp.file("b"));
    assertEquals(await store.deleteTx("a"), true);
    assertEquals(await store.deleteTx("b"), true);
    assertEquals(
      namesIn(temp.base).filter((name) => name.endsWith(".bin")),
      [],
    );
    assertEquals((await store.verify()).findings, []);
  },
);

testDrivers(
  "deleteTx() leaves a payload alone that no row refers to",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await Deno.writeTextFile(temp.file("a"), "not ours");
    assertEquals(await temp.store.deleteTx("a"), false);
    assertEquals(await Deno.readTextFile(temp.file("a")), "not ours");
  },
);

testDrivers(
  "saving over a payload that no row refers to takes its place",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await Deno.writeTextFile(temp.file("a"), "an orphan");
    await temp.store.saveTx(sampleTx());
    assertEquals(await temp.store.loadTx("a"), sampleTx());
  },
);

testDrivers(
  "deleting one transaction never takes the payload of another",
  async (driver) => {
    await using temp = await tempStore({ driver });
    const ids = ["user/tx", "user%2Ftx"];
    const payload = bytes("the same");
    for (const hasOwnFile of [true, false]) {
      await temp.store.saveTxs(ids.map((txId) => sampleTx({ txId, payload })));
      const store = await temp.reopen();
      if (!hasOwnFile) await Deno.remove(temp.file("user%2Ftx"));
      assertEquals(await store.deleteTx("user%2Ftx"), true);
      assertEquals((await store.loadTx("user/tx"))?.payload, payload);
      await temp.reopen();
      assertEquals((await temp.store.verify()).findings, []);
    }
  },
);

// --- open and close -------------------------------------------------------------------------------

testDrivers(
  "create() makes base and database with their parents",
  async (driver) => {
    await using dir = await tempDir();
    const base = dir.join("x", "base"), db = dir.join("y", "z", "poh.db");
    {
      await using store = await StorageManager.create(base, db, { driver });
      assertEquals([store.basePath, store.sqlitePath], [base, db]);
      assertEquals(store.driver.name, driver);
      await store.saveTx(sampleTx());
    }
    assertEquals(namesIn(dir.join("y", "z")), ["poh.db"]);
    await using again = await StorageManager.create(base, db, { driver });
    assertEquals(await again.listTxs(), ["a"]);
  },
);

testDrivers(
  "open() and readOnly make nothing where there is no store",
  async (driver) => {
    await using dir = await tempDir();
    const [base, db] = [dir.join("base"), dir.join("poh.db")];
    const attempts = [
      () => StorageManager.open(base, db, { driver }),
      () => StorageManager.open(base, db, { driver, readOnly: true }),
      () => StorageManager.create(base, db, { driver, readOnly: true }),
    ];
    for (const attempt of attempts) {
      await assertRejects(attempt, StoreNotFoundError, `store at ${base}`);
    }
    assertEquals(namesIn(dir.path), []);
    await Deno.mkdir(base);
    for (const attempt of attempts) {
      await assertRejects(attempt, StoreNotFoundError, `store at ${base}`);
    }
    assertEquals(namesIn(base), []);
    await (await StorageManager.create(base, db, { driver })).close();
    await using store = await StorageManager.open(base, db, { driver });
    await store.saveTx(sampleTx());
    assertEquals(await store.listTxs(), ["a"]);
  },
);

testDrivers("create() that fails leaves no lock behind", async (driver) => {
  await using temp = await tempStore({ driver });
  await temp.close();
  await Deno.writeTextFile(temp.db, "this is no database, ".repeat(100));
  for (let n = 0; n < 2; n++) {
    const error = await assertRejects(
      () => temp.open(),
      PohStorageError,
    );
    assertEquals(error.code, "METADATA_DAMAGED");
  }
  assertEquals(namesIn(temp.base, ".poh", "holders"), []);
});

testDrivers("closing twice is harmless, also at once", async (driver) => {
  await using temp = await tempStore({ driver });
  const { store } = temp;
  await Promise.all([store.close(), store.close()]);
  await store.close();
  await store[Symbol.asyncDispose]();
});

testDrivers("a closed manager refuses every call", async (driver) => {
  await using temp = await tempStore({ driver });
  const { store } = temp;
  await store.saveTx(sampleTx());
  const begun = store.iterateTxs();
  await begun.next();
  await store.close();
  const head = { txId: "b", holderId: "", timestamp: 0 };
  const calls: Record<string, () => Promise<unknown>> = {
    saveTx: () => store.saveTx(sampleTx()),
    saveTxs: () => store.saveTxs([sampleTx()]),
    saveTxStream: () => store.saveTxStream(head, pieces()),
    loadTx: () => store.loadTx("a"),
    loadTxStream: () => store.loadTxStream("a"),
    hasTx: () => store.hasTx("a"),
    infoTx: () => store.infoTx("a"),
    listTxs: () => store.listTxs(),
    countTxs: () => store.countTxs(),
    iterateTxs: () => store.iterateTxs().next(),
    "iterateTxs, begun": () => begun.next(),
    deleteTx: () => store.deleteTx("a"),
    verify: () => store.verify(),
    recover: () => store.recover(),
  };
  for (const [name, call] of Object.entries(calls)) {
    const error = await assertRejects(call, StoreClosedError, undefined, name);
    assertEquals(error.code, "CLOSED");
  }
  assertEquals(await (await temp.open()).listTxs(), ["a"]);
});

testDrivers("close() waits for saves in flight", async (driver) => {
  await using temp = await tempStore({ driver });
  const ids = Array.from({ length: 300 }, (_, n) => `tx-${n + 1_000}`);
  const saves = ids.map((txId, n) =>
    temp.store.saveTx(
      sampleTx({ txId, payload: randomBytes(n % 100 === 7 ? 100_000 : 5) }),
    )
  );
  await temp.store.close();
  const results = await Promise.allSettled(saves);
  assertEquals(results.filter((r) => r.status === "rejected"), []);
  const report = await (await temp.open()).verify();
  assertEquals([report.sound, report.findings], [300, []]);
});

testDrivers(
  "close() waits for a save whose stream has not ended",
  async (driver) => {
    await using temp = await tempStore({ driver });
    const { readable, writable } = new TransformStream<
      Uint8Array,
      Uint8Array
    >();
    const writer = writable.getWriter();
    const saved = temp.store.saveTxStream(
      { txId: "a", holderId: "", timestamp: 0 },
      readable,
    );
    await writer.write(bytes("first, "));
    let closed = false;
    const closing = temp.store.close().then(() => closed = true);
    await writer.write(bytes("second"));
    assertEquals(closed, false);
    await writer.close();
    await saved;
    await within(TIME_LIMIT / 3, closing);
    assertEquals(
      text((await (await temp.open()).loadTx("a"))?.payload),
      "first, second",
    );
  },
);

testDrivers("a stream outlives its manager", async (driver) => {
  await using temp = await tempStore({ driver });
  const payload = randomBytes(600_000);
  await temp.store.saveTx(sampleTx({ payload }));
  const store = await temp.reopen();
  const stream = await store.loadTxStream("a");
  await store.close();
  assertBytes(await bytesOf(stream), payload);
});

testDrivers(
  "after close() nothing is left but payloads, database, id, names and an empty log",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTxs([
      sampleTx(),
      sampleTx({ txId: "b", payload: randomBytes(100_000) }),
      sampleTx({ txId: "b" }),
    ]);
    await temp.close();
    assertEquals(
      Object.keys(await filesBelow(temp.base)),
      [
        ".poh/id",
        ".poh/log/00000002.seg",
        ".poh/names",
        "a.bin",
        "b.bin",
        "poh.db",
      ],
    );
  },
);

testDrivers(
  "a read-only manager reads all and refuses every change",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTxs([sampleTx(), sampleTx({ txId: "b" })]);
    await temp.close();
    const before = await filesBelow(temp.base);
    const store = await temp.open({ readOnly: true });
    assertEquals(await store.loadTx("a"), sampleTx());
    assertEquals(
      text(await bytesOf(await store.loadTxStream("b"))),
      "payload of b",
    );
    assertEquals(await store.listTxs(), ["a", "b"]);
    assertEquals((await store.verify()).sound, 2);
    const head = { txId: "c", holderId: "", timestamp: 0 };
    const changes: (() => Promise<unknown>)[] = [
      () => store.saveTx(sampleTx()),
      () => store.saveTx(sampleTx({ payload: randomBytes(100_000) })),
      () => store.saveTxStream(head, pieces(bytes("x"))),
      () => store.deleteTx("a"),
      () => store.recover(),
    ];
    for (const change of changes) {
      const error = await assertRejects(change);
      assertInstanceOf(error, PohStorageError);
      assertEquals(error.code, "READ_ONLY");
    }
    const error = await assertRejects(
      () => store.saveTxs([sampleTx()]),
      SaveTxsError,
    );
    assert(error.cause instanceof PohStorageError);
    assertEquals(error.cause.code, "READ_ONLY");
    await store.close();
    assertEquals(await filesBelow(temp.base), before);
  },
);

testDrivers("a read-only manager sees what a writer does", async (driver) => {
  await using temp = await tempStore({ driver });
  await temp.store.saveTx(sampleTx());
  const writer = temp.store;
  const reader = await temp.open({ readOnly: true });
  await writer.saveTx(sampleTx({ holderId: "bob" }));
  assertEquals((await reader.loadTx("a"))?.holderId, "bob");
  await writer.deleteTx("a");
  assertEquals(await reader.loadTx("a"), null);
});

// --- recover and verify of an open manager --------------------------------------------------------

testDrivers(
  "recover() tells the ids that are sound, and returns the report",
  async (driver) => {
    await using temp = await tempStore({ driver });
    assertEquals(await soundAfter(temp.store), []);
    for (const txId of ["c", "a", "b"]) {
      await temp.store.saveTx(sampleTx({ txId }));
    }
    assertEquals(await soundAfter(temp.store), ["a", "b", "c"]);
    await flipBit(temp.file("b"));
    const told: string[] = [];
    const report = await temp.store.recover({
      onSound: (txId) => told.push(txId),
    });
    assertEquals(outline(report), ["payload-corrupt b: quarantined"]);
    assertEquals([report.sound, report.checked], [2, 3]);
    assertEquals(report.takenOut, ["b"]);
    assertEquals(told, ["a", "c"]);
    assertEquals(await temp.store.listTxs(), ["a", "c"]);
    assertEquals(await temp.store.loadTx("b"), null);
  },
);

testDrivers(
  "changes wait while recover() has the store, and none is lost",
  async (driver) => {
    await using temp = await tempStore({ driver });
    const { store } = temp;
    await store.saveTxs(
      Array.from({ length: 50 }, (_, n) => sampleTx({ txId: `old-${n + 10}` })),
    );
    const head = { txId: "stream", holderId: "", timestamp: 0 };
    const { readable, writable } = new TransformStream<
      Uint8Array,
      Uint8Array
    >();
    const writer = writable.getWriter();
    const work: Promise<unknown>[] = [store.saveTxStream(head, readable)];
    await writer.write(bytes("first, "));
    work.push(store.recover());
    for (let n = 0; n < 20; n++) {
      const payload = randomBytes(n % 2 ? 100_000 : 10, n);
      work.push(store.saveTx(sampleTx({ txId: `new-${n + 10}`, payload })));
    }
    work.push(store.recover(), store.deleteTx("old-10"));
    await writer.write(bytes("second"));
    await writer.close();
    await within(TIME_LIMIT / 2, Promise.all(work));
    assertEquals(
      text((await store.loadTx("stream"))?.payload),
      "first, second",
    );
    assertEquals(await store.countTxs({ idPrefix: "new-" }), 20);
    assertEquals(await store.countTxs({ idPrefix: "old-" }), 49);
    const report = await (await temp.reopen()).verify();
    assertEquals([report.sound, report.findings], [70, []]);
  },
);

testDrivers(
  "a change that comes during recover() is made after it",
  async (driver) => {
    await using temp = await tempStore({ driver });
    const { store } = temp;
    await store.saveTxs(["a", "b", "c"].map((txId) => sampleTx({ txId })));
    const order: string[] = [];
    const changes: Promise<unknown>[] = [];
    const told = (what: string) => () => order.push(what);
    const sound = await soundAfter(store, {
      onSound: (txId) => {
        if (txId !== "a") return;
        const large = sampleTx({ txId: "e", payload: randomBytes(100_000) });
        changes.push(
          store.saveTx(sampleTx({ txId: "d" })).then(told("saved")),
          store.saveTx(large).then(told("saved, large")),
          store.deleteTx("c").then(told("deleted")),
        );
      },
    }).then((ids) => (order.push("recovered"), ids));
    await Promise.all(changes);
    assertEquals(sound, ["a", "b", "c"]);
    assertEquals(order[0], "recovered");
    assertEquals(order.length, 4);
    assertEquals(await store.listTxs(), ["a", "b", "d", "e"]);
  },
);

testDrivers("verify() beside saves finds no damage", async (driver) => {
  await using temp = await tempStore({ driver });
  const { store } = temp;
  const rounds = Array.from(
    { length: 10 },
    (_, n) =>
      Promise.all(["a", "b", "c"].map((txId) =>
        store.saveTx(
          sampleTx({ txId, payload: randomBytes(n % 2 ? 100_000 : 9, n) }),
        )
      )),
  );
  const reports = await Promise.all(
    Array.from({ length: 5 }, () => store.verify()),
  );
  await Promise.all(rounds);
  for (const report of reports) {
    assertEquals(
      report.findings.filter(({ kind }) => kind.startsWith("payload")),
      [],
    );
    assertEquals(report.damaged, false);
  }
});

testDrivers(
  "a database with the name of a payload is refused",
  async (driver) => {
    await using dir = await tempDir();
    const error = await assertRejects(
      () => StorageManager.create(dir.path, dir.join("poh.bin"), { driver }),
      PohStorageError,
    );
    assertEquals(error.code, "DB_NAME");
    assertEquals(namesIn(dir.path), []);
  },
);
