import { assert, assertEquals, assertRejects } from "@std/assert";
import { PohStorageError, sha256Hex, StoreClosedError } from "../../mod.ts";
import { plainKey, versionKey } from "../../src/shared/object_key.ts";
import { S3Client } from "../../src/shared/s3/client.ts";
import { PATIENCE } from "../../src/shared/s3/retry.ts";
import type { S3Store } from "../../src/shared/s3/s3_store.ts";
import { targetOf } from "../../src/shared/s3/target.ts";
import { begin } from "../../src/shared/s3/upload.ts";
import {
  drain,
  inPieces,
  keysOf,
  LARGE,
  put,
} from "../contract/object_store.ts";
import {
  assertBytes,
  bytes,
  randomBytes,
  seededRandom,
  test as plainTest,
  text,
  within,
} from "../helpers.ts";
import { ceph } from "./ceph.ts";
import { type Fault, FaultProxy, SLOW_DOWN } from "./fault_proxy.ts";
import { type S3Server, TestBucket } from "./s3_server.ts";
import { swift } from "./swift.ts";

/** A network that swallows is given up on sooner than in earnest. */
const IMPATIENT = { silence: 500, attempts: 20 };

/** A store behind a proxy, and the same store without. */
interface Case {
  proxy: FaultProxy;
  /** By way of the proxy. */
  store: S3Store;
  /** Straight to the server. */
  direct: S3Store;
  bucket: TestBucket;
}

/** Objects that were made while something happened. */
class Writers {
  readonly made = new Map<string, Uint8Array>();
  readonly errors: unknown[] = [];
  readonly #store: S3Store;
  readonly #random = seededRandom(1);
  #isEnough = false;

  constructor(store: S3Store) {
    this.#store = store;
  }

  /** Writes so many objects, and reads some of them. */
  async write(count: number, inFlight = 16): Promise<void> {
    const numbers = Array.from({ length: count }, (_, n) => n).values();
    await Promise.all(Array.from({ length: inFlight }, async () => {
      for (const n of numbers) {
        if (this.#isEnough) return;
        await this.#writeOne(`${n}.bin`).catch((e) => this.errors.push(e));
      }
    }));
  }

  /** Writes until something is over. */
  async during(work: Promise<void>): Promise<void> {
    const writing = this.write(MANY);
    try {
      await work;
    } finally {
      this.#isEnough = true;
      await writing;
    }
  }

  /** Makes sure that what was made is there. */
  async check(store: S3Store): Promise<void> {
    assertEquals(this.errors, []);
    for (const [key, payload] of this.made) {
      assertBytes(await store.read(key), payload, key);
    }
    assertEquals(await keysOf(store), [...this.made.keys()].sort());
  }

  async #writeOne(key: string): Promise<void> {
    const size = Math.floor(this.#random() ** 4 * 300_000);
    const payload = randomBytes(size, size);
    const source = size % 2 ? payload : inPieces(payload, 50_000);
    // Each key is written once: whoever has it is this writer.
    assert(await put(this.#store, key, payload, source), `${key} is taken`);
    this.made.set(key, payload);
    if (size % 3 === 0) assertBytes(await this.#store.read(key), payload, key);
  }
}

/** More than there is time for. */
const MANY = 100_000;

const FAULTS: [string, Fault][] = [
  ["connections that break before anything has passed", {
    kind: "reset-before",
  }],
  ["connections that break in the head", { kind: "reset-during", after: 1 }],
  ["connections that break in the body", {
    kind: "reset-during",
    after: 20_000,
  }],
  ["lost answers", { kind: "reset-after" }],
  ["answers that break off", { kind: "reset-answer", after: 5_000 }],
  ["bits that flip on the way", { kind: "flip" }],
  ["a server that says to slow down", SLOW_DOWN],
  ["a network that swallows", { kind: "black-hole" }],
];

/** Declares the tests of a server; null where there is none. */
function testServer(name: string, server: S3Server | null): void {
  const test = (what: string, fn: (made: Case) => Promise<void>) =>
    declare(name, server, what, fn);

  for (const [what, fault] of FAULTS) {
    test(`what was acknowledged is there after ${what}`, async (made) => {
      const writers = new Writers(made.store);
      made.proxy.befall(fault, 0.25, seededRandom(7));
      await writers.write(60);
      made.proxy.heal();
      assert(made.proxy.count > 5, `${made.proxy.count} faults`);
      await writers.check(made.direct);
    });
  }

  test("a save whose answer was lost knows its object again", async (made) => {
    const { proxy, store, direct } = made;
    proxy.befallNext({ kind: "reset-after" });
    assertEquals(await put(store, "a.bin", bytes("mine")), true);
    assertEquals(proxy.count, 1);
    assertEquals(text(await direct.read("a.bin")), "mine");
  });

  test("another's object is not taken for one's own, though it is the same", async (made) => {
    const { proxy, store, direct } = made;
    if (!await store.canCreateOnce()) return;
    await put(direct, "a.bin", bytes("same"));
    proxy.befallNext({ kind: "reset-after" });
    assertEquals(await put(store, "a.bin", bytes("same")), false);
    assertEquals(proxy.count, 1);
  });

  test("what is damaged on the way is refused by the server", async (made) => {
    const { proxy, bucket, direct } = made;
    const store = bucket.open({ patience: { attempts: 1 } }, proxy.endpoint);
    for (const size of [10, 100_000, LARGE]) {
      const payload = randomBytes(size);
      for (const key of ["a.bin", versionKey("a", await sha256Hex(payload))]) {
        proxy.befall({ kind: "flip" }, 1);
        const error = await assertRejects(
          () => put(store, key, payload),
          PohStorageError,
          "XAmzContentSHA256Mismatch",
        );
        assertEquals(error.code, "OBJECT_STORE");
        assertEquals(await keysOf(direct), []);
      }
    }
  });

  test("a network that swallows everything is given up on", async (made) => {
    const { proxy, bucket } = made;
    const patience = { silence: 200, retryFor: 600 };
    const store = bucket.open({ patience }, proxy.endpoint);
    proxy.befall({ kind: "black-hole" }, 1);
    for (
      const ask of [
        () => put(store, "a.bin", bytes("x")),
        () => store.read("a.bin"),
        () => keysOf(store),
        () => store.now(),
      ]
    ) {
      const error = await within(5_000, assertRejects(ask, PohStorageError));
      assertEquals(error.code, "UNREACHABLE");
    }
  });

  test("a slow link is slow, and no failure", async (made) => {
    const { proxy, store } = made;
    const payload = randomBytes(2 << 20);
    proxy.bytesPerSecond = 1 << 20;
    const start = performance.now();
    assertEquals(await put(store, "a.bin", payload), true);
    assertBytes(await store.read("a.bin"), payload);
    assertBytes(await drain(await store.stream("a.bin")), payload);
    assert(performance.now() - start > 10 * IMPATIENT.silence);
  });

  test("a slow source and a slow reader are no silence of the network", async (made) => {
    const { store } = made;
    const pause = () =>
      new Promise((go) => setTimeout(go, 2 * IMPATIENT.silence));
    const payload = randomBytes(3 << 20);
    const open = async function* () {
      yield payload.subarray(0, 1 << 20);
      await pause();
      yield payload.subarray(1 << 20);
    };
    const source = { size: payload.length, open };
    assertEquals(await put(store, "a.bin", payload, source), true);
    let size = 0;
    for await (const chunk of (await store.stream("a.bin"))!) {
      if (size === 0) await pause();
      size += chunk.length;
    }
    assertEquals(size, payload.length);
  });

  test("a stream goes on where its connection broke", async (made) => {
    const { proxy, store, direct } = made;
    for (const size of [5_000_000, LARGE]) {
      const payload = randomBytes(size);
      await put(direct, `${size}.bin`, payload);
      proxy.befall({ kind: "reset-answer", after: 1_000_000 }, 1);
      assertBytes(await drain(await store.stream(`${size}.bin`)), payload);
      assert(proxy.count > 3);
      assertBytes(await store.read(`${size}.bin`), payload);
      proxy.heal();
    }
  });

  test("an upload in parts lives with a bad network", async (made) => {
    const { proxy, store, direct } = made;
    const payload = randomBytes(LARGE);
    const source = inPieces(payload, 1_000_003);
    const key = versionKey("a", await sha256Hex(payload));
    const faults = FAULTS.map(([, fault]) => fault).values();
    let n = 0;
    proxy.fault = () => n++ % 2 ? faults.next().value ?? null : null;
    assertEquals(await put(store, key, payload, source), true);
    proxy.heal();
    assert(proxy.count > 3);
    assertBytes(await direct.read(key), payload);
    assertEquals(await keysOf(direct), [key]);
  });

  test("an upload that fails leaves no parts", async (made) => {
    const { store } = made;
    const payload = randomBytes(LARGE);
    const key = versionKey("a", await sha256Hex(payload));
    const open = async function* () {
      yield payload.subarray(0, LARGE - 1);
      await Promise.resolve();
      throw new RangeError("broken source");
    };
    const source = { size: LARGE, open };
    await assertRejects(() => put(store, key, payload, source), RangeError);
    assertEquals(await store.deleteAbandoned(await store.now() + 60), 0);
  });

  test("deleteAbandoned() removes what an upload left that was cut off", async (made) => {
    const { proxy, bucket, direct } = made;
    const store = bucket.open({}, proxy.endpoint);
    const payload = randomBytes(LARGE);
    const key = versionKey("a", await sha256Hex(payload));
    const open = async function* () {
      yield payload.subarray(0, LARGE - 1);
      await store.close(); // as when its process is killed: no word to the server
      yield payload.subarray(LARGE - 1);
    };
    const source = { size: LARGE, open };
    await assertRejects(
      () => put(store, key, payload, source),
      StoreClosedError,
    );
    await using other = await TestBucket.make(server!);
    const later = await direct.now() + 60;
    assertEquals(await other.open().deleteAbandoned(later), 0);
    assertEquals(await direct.deleteAbandoned(later - 3_600), 0);
    assertEquals(await direct.deleteAbandoned(later), 1);
    assertEquals(await direct.deleteAbandoned(later), 0);
  });

  test("deleteAbandoned() removes what is left under any name, and by probes", async (made) => {
    const { direct, bucket } = made;
    const probe = ".poh/probes/x";
    const keys = [
      probe,
      plainKey("a/b c+取%&<"),
      versionKey("a/b", "a".repeat(64)),
    ];
    const target = targetOf(bucket.url());
    const client = new S3Client(target, server!.credentials, PATIENCE);
    for (const key of keys) await begin(client, key);
    client.close();
    await put(direct, probe, bytes("0"));
    const later = await direct.now() + 60;
    assertEquals(await direct.deleteAbandoned(later - 3_600), 0);
    assertEquals(await keysOf(direct), [probe]);
    assertEquals(await direct.deleteAbandoned(later), keys.length);
    assertEquals(await keysOf(direct), []);
    assertEquals(await direct.deleteAbandoned(later), 0);
  });

  test("close() breaks off what is under way", async (made) => {
    const { proxy, bucket } = made;
    const store = bucket.open({}, proxy.endpoint);
    proxy.befall({ kind: "black-hole" }, 1);
    const saving = assertRejects(
      () => put(store, "a.bin", bytes("x")),
      StoreClosedError,
    );
    await new Promise((go) => setTimeout(go, 50));
    await store.close();
    await within(1_000, saving);
  });

  test("what was acknowledged is there after what answers was killed", async (made) => {
    const writers = new Writers(made.direct);
    await writers.during((async () => {
      for (let times = 0; times < 2; times++) {
        await new Promise((go) => setTimeout(go, 500));
        await server!.killGateway();
        await server!.startGateway();
      }
      await new Promise((go) => setTimeout(go, 500));
    })());
    assert(writers.made.size > 20, `${writers.made.size} objects`);
    await writers.check(made.direct);
  });
}

function declare(
  name: string,
  server: S3Server | null,
  what: string,
  fn: (made: Case) => Promise<void>,
): void {
  plainTest(`S3Store on ${name}: ${what}`, async () => {
    await using bucket = await TestBucket.make(server!);
    await using proxy = new FaultProxy(server!.port);
    const store = bucket.open({ patience: IMPATIENT }, proxy.endpoint);
    await store.canCreateOnce(); // to be asked before something happens
    await fn({ proxy, store, direct: bucket.open(), bucket });
    await store.close();
  }, { ignore: server === null });
}

const cluster = await ceph(true);
testServer("Ceph", cluster);
const small = await swift();
if (small) testServer("Swift", small);

declare(
  "Ceph",
  cluster,
  "what was acknowledged is there after one of three disks was lost",
  async (made) => {
    const writers = new Writers(made.direct);
    await writers.during((async () => {
      await new Promise((go) => setTimeout(go, 500));
      await cluster!.killOsd(1);
      await new Promise((go) => setTimeout(go, 2_000));
      await cluster!.restartOsd(1);
      await new Promise((go) => setTimeout(go, 2_000));
    })());
    assert(writers.made.size > 20, `${writers.made.size} objects`);
    await writers.check(made.direct);
  },
);
