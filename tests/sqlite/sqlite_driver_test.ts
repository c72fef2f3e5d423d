import {
  assert,
  assertEquals,
  assertGreater,
  assertMatch,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  type Connection,
  isLocked,
  isMalformed,
  openSqlite,
  reasonOf,
  type SqlValue,
} from "../../src/sqlite/driver.ts";
import {
  bytes,
  denoScript,
  type Driver,
  namesIn,
  NO_FFI,
  outputOf,
  randomBytes,
  tempDir,
  testDrivers,
  TIME_LIMIT,
} from "../helpers.ts";

/** Runs `work` with an open database in memory. */
async function withMemory(
  driver: Driver,
  work: (db: Connection) => void,
): Promise<void> {
  const db = await openSqlite(":memory:", driver, false);
  try {
    work(db);
  } finally {
    db.close();
  }
}

Deno.test("the FFI binding can be had here", {
  ignore: NO_FFI !== null,
}, async () => {
  const db = await openSqlite(":memory:", "ffi", false);
  db.close();
  assertEquals(db.driver.name, "ffi");
  assert(!("fallbackReason" in db.driver));
});

Deno.test("where the FFI binding cannot be had, auto says why", {
  ignore: NO_FFI === null,
}, async () => {
  const db = await openSqlite(":memory:", "auto", false);
  db.close();
  assertEquals(db.driver.name, "builtin");
  assertMatch(db.driver.fallbackReason!, /./);
});

testDrivers("a binding says who it is", async (driver) => {
  await withMemory(driver, (db) => {
    assertEquals(db.driver.name, driver);
    assertMatch(db.driver.sqliteVersion, /^3\.\d+\.\d+$/);
    assertEquals(
      db.prepare("SELECT sqlite_version()").get(),
      [db.driver.sqliteVersion],
    );
    assertEquals(db.driver.library === "built in", driver === "builtin");
  });
});

// Whole numbers beyond 2 ** 53 are not among them: see `exactQuotient`.
testDrivers("values come back as they went in", async (driver) => {
  const values: SqlValue[] = [
    null,
    0,
    1,
    -1,
    1.5,
    0.1,
    5e-324,
    2 ** 31,
    -(2 ** 31) - 1,
    2 ** 32 + 1,
    Number.MAX_SAFE_INTEGER,
    Number.MIN_SAFE_INTEGER,
    "",
    "hello",
    "取引🪙\u{10FFFF}\uFFFD",
    "\uFEFFa byte order mark",
    "line\nbreak\ttab\x01",
    '{"a":[1]}',
    "x".repeat(10_000),
    new Uint8Array(),
    new Uint8Array(10),
    bytes("a\0b"),
    randomBytes(10_000),
  ];
  await withMemory(driver, (db) => {
    db.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, v)");
    const insert = db.prepare("INSERT INTO t (v) VALUES (?)");
    for (const value of values) assertEquals(insert.run(value), 1);
    const rows = db.prepare("SELECT v FROM t ORDER BY id").all();
    assertEquals(rows, values.map((value) => [value]));
    const one = db.prepare("SELECT v, typeof(v) FROM t WHERE id = ?");
    for (const [n, value] of values.entries()) {
      assertEquals(one.get(n + 1)?.[0], value);
    }
  });
});

testDrivers("a JSON value is text", async (driver) => {
  await withMemory(driver, (db) => {
    assertEquals(db.prepare(`SELECT json('{"a":1}')`).get(), ['{"a":1}']);
  });
});

testDrivers(
  "what a view shows is bound, not what lies around it",
  async (driver) => {
    await withMemory(driver, (db) => {
      const view = bytes("xabcx").subarray(1, 4);
      assertEquals(db.prepare("SELECT ?").get(view), [bytes("abc")]);
    });
  },
);

testDrivers(
  "a blob that was read stays as it is when others are read",
  async (driver) => {
    await withMemory(driver, (db) => {
      const select = db.prepare("SELECT ?");
      const first = select.get(bytes("first"))![0];
      select.get(bytes("other"));
      assertEquals(first, bytes("first"));
    });
  },
);

testDrivers(
  "get() is undefined and all() empty when nothing is found",
  async (driver) => {
    await withMemory(driver, (db) => {
      db.exec("CREATE TABLE t (v)");
      assertEquals(db.prepare("SELECT v FROM t").get(), undefined);
      assertEquals(db.prepare("SELECT v FROM t").all(), []);
    });
  },
);

testDrivers("columns of one name are two values", async (driver) => {
  await withMemory(driver, (db) => {
    assertEquals(db.prepare("SELECT 1 AS a, 2 AS a").get(), [1, 2]);
  });
});

testDrivers("run() tells how many rows changed", async (driver) => {
  await withMemory(driver, (db) => {
    db.exec("CREATE TABLE t (v); INSERT INTO t VALUES (1), (2), (3)");
    const remove = db.prepare("DELETE FROM t WHERE v >= ?");
    assertEquals(remove.run(2), 2);
    assertEquals(remove.run(2), 0);
    assertEquals(db.prepare("UPDATE t SET v = 9").run(), 1);
    assertEquals(remove.run(2), 1);
  });
});

testDrivers(
  "a statement serves many times, also after it failed",
  async (driver) => {
    await withMemory(driver, (db) => {
      db.exec("CREATE TABLE t (v UNIQUE)");
      const insert = db.prepare("INSERT INTO t VALUES (?)");
      assertEquals(insert.run("a"), 1);
      assertThrows(() => insert.run("a"), Error, "UNIQUE");
      assertEquals(insert.run("b"), 1);
      const select = db.prepare("SELECT v FROM t ORDER BY v LIMIT ?");
      assertEquals(select.all(1), [["a"]]);
      assertEquals(select.all(5), [["a"], ["b"]]);
      assertEquals(select.get(5), ["a"]);
      assertEquals(select.get(5), ["a"]);
    });
  },
);

testDrivers("bad SQL is an error that says so", async (driver) => {
  await withMemory(driver, (db) => {
    assertThrows(() => db.exec("SELEC 1"), Error, "syntax error");
    assertThrows(() => db.prepare("SELECT x FROM nowhere"), Error, "nowhere");
  });
});

testDrivers("a database file is made, kept and let go of", async (driver) => {
  await using dir = await tempDir();
  const path = dir.join("取引 #1%20?.db".replace(/[?]/g, ""));
  const db = await openSqlite(path, driver, false);
  db.exec("CREATE TABLE t (v); INSERT INTO t VALUES (42)");
  db.close();
  const again = await openSqlite(path, driver, true);
  assertEquals(again.prepare("SELECT v FROM t").get(), [42]);
  again.close();
  await Deno.remove(path); // Windows would not while it is open
  assertEquals(namesIn(dir.path), []);
});

testDrivers("read-only, nothing is created or changed", async (driver) => {
  await using dir = await tempDir();
  const path = dir.join("a.db");
  await openSqlite(path, driver, true).then(
    (db) => assertThrows(() => (db.prepare("SELECT 1"), db.close())),
    () => {},
  );
  assertEquals(namesIn(dir.path), []);
  const writer = await openSqlite(path, driver, false);
  writer.exec("CREATE TABLE t (v)");
  writer.close();
  const reader = await openSqlite(path, driver, true);
  assertThrows(
    () => reader.exec("INSERT INTO t VALUES (1)"),
    Error,
    "readonly",
  );
  reader.close();
});

testDrivers("isMalformed() knows SQLite's words for damage", async (driver) => {
  await using dir = await tempDir();
  await Deno.writeFile(dir.join("a.db"), randomBytes(8_192));
  const error = await failure(async () => {
    const db = await openSqlite(dir.join("a.db"), driver, false);
    try {
      db.prepare("SELECT count(*) FROM sqlite_schema").get();
    } finally {
      db.close();
    }
  });
  assert(isMalformed(error), String(error));
  assert(!isLocked(error));
  assertMatch(reasonOf(error), /^file is not a database/);
});

testDrivers(
  "isLocked() knows a database that another one keeps locked",
  async (driver) => {
    await using dir = await tempDir();
    const one = await openSqlite(dir.join("a.db"), driver, false);
    const other = await openSqlite(dir.join("a.db"), driver, false);
    try {
      one.exec("CREATE TABLE t (v)");
      one.exec("BEGIN IMMEDIATE");
      other.exec("PRAGMA busy_timeout = 0");
      const error = assertThrows(() => other.exec("BEGIN IMMEDIATE"));
      assert(isLocked(error), String(error));
      assert(!isMalformed(error));
    } finally {
      other.close();
      one.close();
    }
  },
);

testDrivers("other failures are neither damage nor a lock", async (driver) => {
  await using dir = await tempDir();
  const errors = [
    await failure(() => openSqlite(dir.join("no", "a.db"), driver, false)),
  ];
  await withMemory(driver, (db) => {
    db.exec("CREATE TABLE t (v UNIQUE); INSERT INTO t VALUES ('malformed')");
    errors.push(
      assertThrows(() => db.exec("INSERT INTO t VALUES ('malformed')")),
    );
    errors.push(assertThrows(() => db.exec("SELECT nothing")));
  });
  for (const error of errors) {
    assert(
      !isMalformed(error) && !isLocked(error),
      `${error}`,
    );
  }
});

async function failure(work: () => Promise<unknown>): Promise<unknown> {
  try {
    await work();
  } catch (error) {
    return error;
  }
  throw new Error("It did not fail");
}

Deno.test("reasonOf() drops the number that a binding puts in front", () => {
  assertEquals(
    reasonOf(new Error("11: database disk image is malformed")),
    "database disk image is malformed",
  );
  assertEquals(reasonOf(new Error("disk I/O error")), "disk I/O error");
  assertEquals(reasonOf("text"), "text");
  assert(isMalformed(new Error("11: database disk image is malformed")));
  assert(isLocked(new Error("5: database is locked")));
});

// --- which binding auto takes ------------------------------------------------

Deno.test("auto takes the built-in binding without --allow-ffi", {
  permissions: {
    read: "inherit",
    write: "inherit",
    env: "inherit",
    ffi: false,
  },
}, async () => {
  const db = await openSqlite(":memory:", "auto", false);
  db.close();
  assertEquals(db.driver.name, "builtin");
  assertEquals(db.driver.fallbackReason, "--allow-ffi is not granted");
});

Deno.test("auto takes the built-in binding where the environment is closed", {
  permissions: {
    read: "inherit",
    write: "inherit",
    env: false,
    ffi: "inherit",
  },
}, async () => {
  const db = await openSqlite(":memory:", "auto", false);
  db.close();
  assertEquals(db.driver.name, "builtin");
  assertMatch(db.driver.fallbackReason!, /--allow-(env|ffi)/);
});

Deno.test("the built-in binding needs no permission beyond the file's", {
  permissions: "none",
}, async () => {
  const db = await openSqlite(":memory:", "builtin", false);
  db.close();
  assertEquals(db.driver.name, "builtin");
  assert(!("fallbackReason" in db.driver));
});

/** What another process finds, and that stdout held nothing else. */
async function driverOfChild(
  choice: string,
  permissions: string[],
  env: Record<string, string> = {},
  imports: Record<string, string> = {},
) {
  const { code, stdout, stderr } = await outputOf(
    denoScript("driver_info.ts", [choice], {
      permissions: [...permissions, "--deny-net"],
      stdout: "piped",
      stderr: "piped",
      env,
      imports,
    }),
  );
  assertEquals(code, 0, stderr);
  assertEquals(stdout.trimEnd().split("\n").length, 1, stdout);
  return { ...JSON.parse(stdout), stderr };
}

Deno.test("without any permission auto works, and says why it is built in", {
  timeout: TIME_LIMIT,
}, async () => {
  const driver = await driverOfChild("auto", []);
  assertEquals(driver.name, "builtin");
  assertEquals(driver.answer, 42);
  assertEquals(driver.fallbackReason, "--allow-ffi is not granted");
});

Deno.test("auto falls back when DENO_SQLITE_PATH names no library", {
  timeout: TIME_LIMIT,
}, async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(dir.join("no-library.so"), "not a library");
  for (const name of ["no-library.so", "missing.so"]) {
    const driver = await driverOfChild(
      "auto",
      ["--allow-ffi", "--allow-env", "--allow-read"],
      { DENO_SQLITE_PATH: dir.join(name) },
    );
    assertEquals(driver.name, "builtin");
    assertEquals(driver.answer, 42);
    assertGreater(driver.fallbackReason.length, 10);
  }
});

Deno.test("auto takes the library that DENO_SQLITE_PATH names", {
  ignore: NO_FFI !== null,
  timeout: TIME_LIMIT,
}, async () => {
  const db = await openSqlite(":memory:", "auto", false);
  db.close();
  const { library } = db.driver;
  const driver = await driverOfChild(
    "auto",
    ["--allow-ffi", "--allow-env=DENO_SQLITE_PATH,DENO_SQLITE_LOCAL"],
    { DENO_SQLITE_PATH: library },
  );
  assertEquals([driver.name, driver.library], ["ffi", library]);
  assertEquals(driver.answer, 42);
});

Deno.test("ffi that cannot be had is an error that says what to do", {
  timeout: TIME_LIMIT,
}, async () => {
  const { error } = await driverOfChild("ffi", ["--deny-ffi"]);
  assertEquals(error.name, "DriverUnavailableError");
  assertEquals(error.code, "DRIVER_UNAVAILABLE");
  assertStringIncludes(error.message, "DENO_SQLITE_PATH");
});

Deno.test("what the loader of the FFI binding says does not go to stdout", {
  timeout: TIME_LIMIT,
}, async () => {
  const loader = `console.log("Downloading"); throw new Error("no network")`;
  const { error, stderr } = await driverOfChild("ffi", ["--deny-ffi"], {}, {
    "@db/sqlite": `data:text/javascript,${encodeURIComponent(loader)}`,
  });
  assertStringIncludes(error.message, "no network");
  assertStringIncludes(stderr, "Downloading");
});

testDrivers(
  "backup() copies what is committed, beside a writer",
  async (driver) => {
    await using dir = await tempDir();
    const writer = await openSqlite(dir.join("a.db"), driver, false);
    writer.exec("PRAGMA journal_mode = WAL; CREATE TABLE t (a)");
    writer.exec("INSERT INTO t VALUES (1)");
    writer.exec("BEGIN IMMEDIATE; INSERT INTO t VALUES (2)");
    const reader = await openSqlite(dir.join("a.db"), driver, true);
    await reader.backup(dir.join("b.db"));
    writer.exec("COMMIT");
    reader.close();
    writer.close();
    const copy = await openSqlite(dir.join("b.db"), driver, false);
    assertEquals(copy.prepare("SELECT a FROM t").all(), [[1]]);
    assertEquals(copy.prepare("PRAGMA integrity_check").all(), [["ok"]]);
    copy.close();
  },
);
