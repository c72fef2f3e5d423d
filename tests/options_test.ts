import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  backupStore,
  describeStore,
  FileStore,
  migrateStore,
  performRecovery,
  restoreStore,
  SqliteStore,
  StorageManager,
  verifyStore,
} from "../mod.ts";
import { filesBelow, sampleTx, tempDir, tempStore, test } from "./helpers.ts";
import { openDatabase } from "../src/sqlite/open_database.ts";
import { iterateIds, iterateTxs } from "../src/sqlite/tx_pages.ts";
import { countTxs } from "../src/sqlite/tx_counts.ts";

/** What a program in JavaScript, or with a cast, hands over. */
// deno-lint-ignore no-explicit-any
type Any = any;

test("prune() with a mistyped condition deletes nothing", async () => {
  await using temp = await tempStore();
  const { store } = temp;
  for (const txId of ["a", "b"]) await store.saveTx(sampleTx({ txId }));
  const filters: [Any, string][] = [
    [{ holderId: "alice", befor: 5 }, 'did you mean "before"?'],
    [{ holder: "alice" }, 'did you mean "holderId"?'],
    [{ holderId: "alice", after: "a" }, 'Unknown field "after"'],
    [{ holderId: null, before: 5 }, '"holderId" of PruneFilter must be text'],
    [{ before: "2016" }, '"before" of PruneFilter must be a finite number'],
    [undefined, "PruneFilter must be a plain object"],
    [Object.create({ befor: 5 }), "PruneFilter must be a plain object"],
    [
      Object.assign(
        new (class {
          get before() {
            return 0;
          }
        })(),
        { holderId: "alice" },
      ),
      "PruneFilter must be a plain object",
    ],
    [new Map([["holderId", "alice"]]), "PruneFilter must be a plain object"],
  ];
  for (const [filter, message] of filters) {
    await assertRejects(() => store.prune(filter), TypeError, message);
  }
  for (const maxSize of [Infinity, -1]) {
    await assertRejects(() => store.prune({ maxSize }), RangeError, "maxSize");
  }
  await assertRejects(() => store.prune({ minSize: -5 }), RangeError);
  await assertRejects(
    () => store.prune({ holderId: "alice" }, { dryrun: true } as Any),
    TypeError,
    'Unknown field "dryrun" of PruneOptions; did you mean "dryRun"?',
  );
  assertEquals(await store.listTxs(), ["a", "b"]);
});

test("a query with an unknown or malformed field is refused", async () => {
  await using temp = await tempStore();
  const { store } = temp;
  await using rows = await openDatabase(temp.db, { readOnly: true });
  const cases: [Any, typeof TypeError | typeof RangeError, string][] = [
    [{ holder: "nobody" }, TypeError, 'did you mean "holderId"?'],
    [{ Holder: "nobody" }, TypeError, 'did you mean "holderId"?'],
    [{ sort: "size" }, TypeError, '"sort" of TxQuery must be "id" or "time"'],
    [{ reverse: "yes" }, TypeError, '"reverse" of TxQuery must be true'],
    [{ limit: "abc" }, TypeError, '"limit" of TxQuery must be a whole number'],
    [{ limit: -1 }, RangeError, "0 or more, or Infinity, got -1"],
    [{ limit: 1.5 }, RangeError, "got 1.5"],
    [{ limit: NaN }, RangeError, "got NaN"],
    [{ since: NaN }, RangeError, '"since" of TxQuery must be a finite'],
    [{ before: Infinity }, RangeError, '"before" of TxQuery'],
    [{ minSize: 1n }, TypeError, "got 1n"],
    [{ idPrefix: 5 }, TypeError, '"idPrefix" of TxQuery must be text, got 5'],
    [{ after: { txId: "a" } }, TypeError, '"after" of TxQuery must be an id'],
    [null, TypeError, "TxQuery must be a plain object, got null"],
  ];
  for (const [query, kind, message] of cases) {
    const next = (all: AsyncIterableIterator<unknown>) => all.next();
    for (
      const ask of [
        () => store.listTxs(query),
        () => next(store.iterateTxs(query)),
        () => next(store.iterateTxIds(query)),
        () => next(iterateTxs(rows, query)),
        () => next(iterateIds(rows, query)),
      ]
    ) await assertRejects(ask, kind as typeof Error, message);
  }
  for (const filter of [{ holder: "x" }, { sort: "id" }] as Any[]) {
    await assertRejects(() => store.countTxs(filter), TypeError, "TxFilter");
    await assertRejects(() => countTxs(rows, filter), TypeError, "TxFilter");
  }
});

test("a field that is undefined counts as absent", async () => {
  await using temp = await tempStore();
  await temp.store.saveTx(sampleTx({ txId: "a" }));
  const query: Any = { holderId: undefined, limit: undefined, typo: undefined };
  assertEquals(await temp.store.listTxs(query), ["a"]);
});

test("options are refused before anything is touched", async () => {
  await using temp = await tempStore();
  await temp.store.saveTx(sampleTx({ txId: "a" }));
  await temp.close();
  await using dir = await tempDir();
  const { base, db } = temp;
  const fresh = dir.join("new"), freshDb = dir.join("new.db");
  const before = await filesBelow(base);
  const open = (options: Any) => StorageManager.create(fresh, freshDb, options);
  const cases: [() => Promise<unknown>, string][] = [
    [() => open({ driver: "foo" }), 'must be "auto", "ffi" or "builtin"'],
    [() => open({ durability: "fulll" }), 'did you mean "full"?'],
    [() => open({ readonly: true }), 'did you mean "readOnly"?'],
    [() => open({ readOnly: 1 }), '"readOnly" of StorageOptions must be true'],
    [() => open({ create: true }), 'Unknown field "create" of StorageOptions'],
    [
      () => performRecovery(fresh, freshDb, { create: 1 } as Any),
      '"create" of RecoveryOptions must be true',
    ],
    [
      () => performRecovery(fresh, freshDb, { orphan: "adopt" } as Any),
      'did you mean "orphans"?',
    ],
    [
      () => performRecovery(base, db, { orphans: "keeep" } as Any),
      'did you mean "keep"?',
    ],
    [
      () => performRecovery(base, db, { only: ["a"] } as Any),
      '"only" of RecoveryOptions must be a Set of ids',
    ],
    [
      () => verifyStore(base, db, { sampel: 0.5 } as Any),
      'did you mean "sample"?',
    ],
    [
      () => verifyStore(base, db, { filter: { holder: "x" } } as Any),
      'Unknown field "holder" of TxFilter',
    ],
    [
      () => describeStore(base, db, { drivr: "ffi" } as Any),
      'did you mean "driver"?',
    ],
    [
      () => backupStore(base, db, fresh, { coppy: true } as Any),
      'did you mean "copy"?',
    ],
    [
      () => restoreStore(base, fresh, freshDb, { signal: {} } as Any),
      '"signal" of RestoreOptions must be an AbortSignal',
    ],
    [() => SqliteStore.open(freshDb, { synch: false } as Any), '"sync"?'],
  ];
  for (const [work, message] of cases) {
    await assertRejects(work, TypeError, message);
  }
  await assertRejects(
    () => verifyStore(base, db, { sample: 5 }),
    RangeError,
    '"sample" of StorageOptions & VerifyOptions must be a share',
  );
  assertThrows(() => new FileStore(fresh, { sync: "no" } as Any), TypeError);
  assertEquals([...Deno.readDirSync(dir.path)], []);
  assertEquals(await filesBelow(base), before);
});

test("an open store refuses unknown options of its calls", async () => {
  await using temp = await tempStore();
  const { store } = temp;
  const options: Any = { onProgres: () => {} };
  for (
    const work of [
      () => store.verify(options),
      () => store.recover(options),
      () => store.movePacked(options),
      () => store.prune({ holderId: "a" }, options),
      () => migrateStore(store, store, options),
    ]
  ) await assertRejects(work, TypeError, 'did you mean "onProgress"?');
});

test("countTxs() keeps one statement, whatever the limit", async () => {
  const { DatabaseSync } = await import("node:sqlite");
  await using temp = await tempStore({ driver: "builtin" });
  const { store } = temp;
  for (const txId of ["a", "b", "c"]) await store.saveTx(sampleTx({ txId }));
  const { prepare } = DatabaseSync.prototype;
  const prepared = new Set<string>();
  DatabaseSync.prototype.prepare = function (sql: string) {
    prepared.add(sql);
    return prepare.call(this, sql);
  };
  try {
    for (let limit = 1; limit <= 500; limit++) {
      const filter = { limit, before: limit, holderId: `${limit}` };
      assertEquals(await store.countTxs({ limit }), Math.min(limit, 3));
      await store.countTxs(filter);
      await store.listTxs({ ...filter, sort: "time" });
      await store.listTxs({ ...filter, idPrefix: `${limit}`, reverse: true });
      await store.listTxs({ after: `${limit}`, minSize: limit });
    }
  } finally {
    DatabaseSync.prototype.prepare = prepare;
  }
  const counts = [...prepared].filter((sql) => sql.includes("LIMIT ?"));
  assert(counts.length > 0);
  assert(prepared.size < 30, `${prepared.size} statements`);
});
