import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import * as errors from "../src/errors.ts";
import {
  BackupDamagedError,
  BackupPathError,
  BackupReadOnlyError,
  DiskFullError,
  DriverUnavailableError,
  IntegrityError,
  InvalidTxError,
  InvalidTxIdError,
  MetadataDamagedError,
  PayloadUnreadableError,
  PohStorageError,
  PreconditionError,
  SaveTxsError,
  StoreBusyError,
  StoreClosedError,
  StoreMismatchError,
  StoreMovedError,
  StoreNotFoundError,
  TxExistsError,
} from "../mod.ts";

const CASES: [PohStorageError, string, string][] = [
  [new InvalidTxError("payload", "no"), "InvalidTxError", "INVALID_TX"],
  [new InvalidTxIdError("no"), "InvalidTxIdError", "INVALID_TX_ID"],
  [new IntegrityError("a", "00", null), "IntegrityError", "INTEGRITY"],
  [
    new PayloadUnreadableError("a", "no"),
    "PayloadUnreadableError",
    "UNREADABLE",
  ],
  [new StoreBusyError("busy", []), "StoreBusyError", "BUSY"],
  [new StoreClosedError(), "StoreClosedError", "CLOSED"],
  [new StoreNotFoundError("/x"), "StoreNotFoundError", "NOT_FOUND"],
  [new StoreMismatchError("no"), "StoreMismatchError", "MISMATCH"],
  [new StoreMovedError("/x"), "StoreMovedError", "STORE_MOVED"],
  [new DiskFullError("/x"), "DiskFullError", "DISK_FULL"],
  [new TxExistsError("a", "00", "11"), "TxExistsError", "EXISTS"],
  [
    new PreconditionError("a", "00"),
    "PreconditionError",
    "PRECONDITION_FAILED",
  ],
  [new SaveTxsError(3, "a", new Error("no")), "SaveTxsError", "NOT_SAVED"],
  [
    new MetadataDamagedError("/x", "no"),
    "MetadataDamagedError",
    "METADATA_DAMAGED",
  ],
  [new BackupPathError("no"), "BackupPathError", "BACKUP_PATH"],
  [new BackupReadOnlyError("/x"), "BackupReadOnlyError", "IS_BACKUP"],
  [new BackupDamagedError("no"), "BackupDamagedError", "BACKUP_DAMAGED"],
  [
    new DriverUnavailableError("no"),
    "DriverUnavailableError",
    "DRIVER_UNAVAILABLE",
  ],
];

for (const [error, name, code] of CASES) {
  Deno.test(`${name} has the code ${code}`, () => {
    assertInstanceOf(error, PohStorageError);
    assertInstanceOf(error, Error);
    assertEquals(error.name, name);
    assertEquals(error.code, code);
    assertMatch(error.message, /[^.]$/);
    assertStringIncludes(String(error), name);
  });
}

Deno.test("every error class is public and has a code of its own", () => {
  const classes = Object.keys(errors);
  assertEquals(
    CASES.map(([, name]) => name).sort(),
    classes.filter((name) => name !== "PohStorageError").sort(),
  );
  assertEquals(new Set(CASES.map(([, , code]) => code)).size, CASES.length);
});

Deno.test("InvalidTxIdError is an InvalidTxError that blames tx_id", () => {
  const error = new InvalidTxIdError("no");
  assertInstanceOf(error, InvalidTxError);
  assertEquals(error.field, "tx_id");
});

Deno.test("IntegrityError tells a missing payload from an altered one", () => {
  const missing = new IntegrityError("a", "00", null);
  assertEquals([missing.expected, missing.found], ["00", null]);
  assertStringIncludes(missing.message, 'tx "a"');
  assertStringIncludes(missing.message, "missing");
  const altered = new IntegrityError("a", "00", "11");
  assertEquals(altered.found, "11");
  assertStringIncludes(altered.message, "SHA-256 11, expected 00");
});

Deno.test("an id with control characters cannot forge a message", () => {
  const { message } = new IntegrityError('a"\n\x1b[2J', "00", null);
  assert(!message.includes("\n") && !message.includes("\x1b"), message);
});

Deno.test("StoreBusyError names the holders", () => {
  const since = "2026-01-02T03:04:05.000Z";
  const error = new StoreBusyError("The store is open elsewhere", [
    { pid: 12, host: "node1", since },
    { pid: 34, host: "", since },
  ]);
  assertEquals(
    error.message,
    `The store is open elsewhere: pid 12 on node1 since ${since}; pid 34 since ${since}`,
  );
  assertEquals(error.holders.map(({ pid }) => pid), [12, 34]);
});

Deno.test("an error keeps what caused it", () => {
  const cause = new Deno.errors.PermissionDenied("no");
  assertEquals(new PayloadUnreadableError("a", "no", { cause }).cause, cause);
  assertEquals(new MetadataDamagedError("/x", "no", { cause }).cause, cause);
});

Deno.test("docs/errors.md explains every code of the type ErrorCode", async () => {
  const read = (path: string) =>
    Deno.readTextFile(new URL(path, import.meta.url));
  const type = await read("../src/model/error_codes.ts");
  const text = await read("../docs/errors.md");
  const codes = Array.from(type.matchAll(/"([A-Z_]+)"/g), ([, code]) => code);
  assert(codes.length > 50);
  for (const code of codes) assertStringIncludes(text, `| \`${code}\` `);
});
