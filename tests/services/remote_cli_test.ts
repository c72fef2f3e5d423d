// The program on a bucket and a database server, with no other permissions than
// those that it says it takes.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { fileURLToPath } from "node:url";
import { sha256Hex } from "../../mod.ts";
import { PostgresStore } from "../../src/shared/postgres/postgres_store.ts";
import { type Outcome, run, txText } from "../cli_helpers.ts";
import { bytes, type TempDir, tempDir } from "../helpers.ts";
import { ceph } from "./ceph.ts";
import { postgres, storeUrl } from "./postgres.ts";
import { TestBucket, variablesOf } from "./s3_server.ts";

const server = await postgres();
const gateway = server && await ceph();
const SOURCE = fileURLToPath(new URL("../../src", import.meta.url));

/** A store, and the program on it in a folder. */
class Program implements AsyncDisposable {
  readonly dir: TempDir;
  readonly bucket: TestBucket;
  /** The database, without its password. */
  readonly db: string;

  private constructor(dir: TempDir, bucket: TestBucket) {
    this.dir = dir;
    this.bucket = bucket;
    const url = new URL(storeUrl(server!));
    url.password = "";
    this.db = url.href;
  }

  static async make(): Promise<Program> {
    const bucket = await TestBucket.make(gateway!);
    return new Program(await tempDir(), bucket);
  }

  /** Runs it with the least that it takes, unless told otherwise. */
  run(
    args: string[],
    more: { permissions?: string[]; stdin?: string } = {},
  ): Promise<Outcome> {
    const { path } = this.dir;
    const hosts = `127.0.0.1:${gateway!.port},127.0.0.1:${server!.port}`;
    return run(args, {
      cwd: path,
      permissions: [
        `--allow-read=${path},${SOURCE}`,
        `--allow-write=${path}`,
        `--allow-net=${hosts}`,
        "--allow-env=AWS_ACCESS_KEY_ID,AWS_SECRET_ACCESS_KEY,PGPASSWORD,POH_BASE,POH_DB",
      ],
      env: {
        ...variablesOf(gateway!),
        PGPASSWORD: new URL(server!.url).password,
        POH_BASE: this.bucket.url(),
        POH_DB: this.db,
      },
      ...more,
    });
  }

  async ok(args: string[], stdin?: string): Promise<string> {
    const { code, stdout, stderr } = await this.run(
      args,
      stdin === undefined ? {} : { stdin },
    );
    assertEquals(code, 0, `${args.join(" ")}: ${stderr}`);
    return stdout;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.bucket[Symbol.asyncDispose]();
    await this.dir[Symbol.asyncDispose]();
  }
}

function test(name: string, fn: (program: Program) => Promise<void>): void {
  Deno.test({
    name,
    ignore: gateway === null,
    timeout: 120_000,
    async fn() {
      await using program = await Program.make();
      await fn(program);
    },
  });
}

test("every command of a shared store does what it does locally", async (poh) => {
  assertMatch(
    await poh.ok(["init"]),
    /^Initialized storage\nPayloads: +s3:.*\nDatabase: +postgres:/,
  );
  assertEquals(await poh.ok(["save", "--tx", txText("a")]), "Saved tx a\n");
  const lines = `${txText("b")}\n${txText("c/d")}\n`;
  assertEquals(
    await poh.ok(["import"], lines),
    "2 txs: 2 new, 0 unchanged, 0 replaced\n",
  );
  assertEquals(
    JSON.parse(await poh.ok(["load", "a"])),
    JSON.parse(txText("a")),
  );
  assertEquals(await poh.ok(["list"]), "a\nb\nc/d\n");
  assertEquals(await poh.ok(["completions", "--ids", "c"]), "c/d\n");
  assertMatch(await poh.ok(["verify"]), /: 3 of 3 txs valid/);
  assertMatch(await poh.ok(["recover"]), /: 3 valid txs/);
  assertMatch(await poh.ok(["info"]), /Transactions: 3\n/);
  const ranges = await poh.ok(["verify", "--plan", "2"]);
  assertEquals(ranges, "--until=b\n--after=b\n");
  assertMatch(await poh.ok(["verify", "--until=b"]), /: 2 of 2 txs valid/);
  assertEquals(await poh.ok(["delete", "b"]), "Deleted tx b\n");
  assertEquals((await poh.run(["load", "b"])).code, 3);
  const copied = ["migrate", "--to-base", "copy"];
  assertEquals((await poh.run(copied)).code, 6);
  await poh.ok(["init", "--base", "copy", "--db", "copy/poh.db"]);
  assertMatch(
    await poh.ok(copied),
    /^Migration complete: 2 copied/,
  );
  const copy = ["--base", "copy", "--db", "copy/poh.db"];
  assertEquals(await poh.ok(["export"]), await poh.ok(["export", ...copy]));
  assertMatch(await poh.ok(["prune", "--older-than", "1d"]), /^Pruned 2 txs/);
  assertEquals(
    await Array.fromAsync(poh.bucket.open().list(), ({ key }) => key),
    [".poh/id"],
  );
});

test("quarantine lists, restores what is sound again, and is emptied", async (poh) => {
  await poh.ok(["init"]);
  for (const id of ["a", "b"]) await poh.ok(["save", "--tx", txText(id)]);
  const objects = poh.bucket.open();
  const replace = async (key: string, content: Uint8Array) => {
    await objects.delete(key);
    await objects.create(key, content, await sha256Hex(content));
  };
  const sound = (await objects.read("a.bin"))!;
  for (const id of ["a", "b"]) await replace(`${id}.bin`, bytes("damage"));
  assertEquals((await poh.run(["verify"])).code, 4);
  await poh.ok(["recover"]);
  const entries = (await poh.ok(["quarantine", "--json"])).trimEnd().split("\n")
    .map((line) => JSON.parse(line));
  assertEquals(
    entries.map(({ tx_id, reason, size }) => [tx_id, reason, size]).sort(),
    [["a", "payload-corrupt", 6], ["b", "payload-corrupt", 6]],
  );
  assertEquals(JSON.parse(await poh.ok(["info", "--json"])).quarantined, 2);
  assertMatch(
    await poh.ok(["quarantine", "list"]),
    /payload-corrupt tx "b", 6 bytes\n/,
  );
  const { name } = entries.find(({ tx_id }) => tx_id === "a");
  const restore = ["quarantine", "restore", name];
  assertMatch((await poh.run(restore)).stderr, /Cannot load tx "a"/);
  assertEquals((await poh.run(restore)).code, 4);
  await replace(`.poh/quarantine/${name}.bin`, sound);
  assertEquals(await poh.ok(restore), "Restored tx a\n");
  assertEquals(await poh.ok(["load", "a"]), `${txText("a")}\n`);
  for (const gone of [name, "../../id"]) {
    const { code, stderr } = await poh.run(["quarantine", "restore", gone]);
    assertEquals(code, 3);
    assertMatch(stderr, /in quarantine\n$/);
  }
  assertEquals(
    await poh.ok(["quarantine", "empty", "--yes"]),
    "Deleted 1 from quarantine\n",
  );
  assertEquals(await poh.ok(["quarantine"]), "Quarantine is empty\n");
});

test("ranges are verified apart, and what they found is recovered", async (poh) => {
  const ids = Array.from({ length: 9 }, (_, n) => `t${n}`);
  await poh.ok(["init"]);
  await poh.ok(["import"], ids.map((id) => `${txText(id)}\n`).join(""));
  const objects = poh.bucket.open();
  for (const id of ["t1", "t7"]) await objects.delete(`${id}.bin`);
  const plan = (await poh.ok(["verify", "--plan", "3"])).trimEnd().split("\n");
  const runs = await Promise.all(
    plan.map((range) => poh.run(["verify", "--findings", ...range.split(" ")])),
  );
  assertEquals(runs.map(({ code }) => code), [4, 0, 4]);
  const found = runs.map(({ stdout }) => stdout).join("");
  const file = poh.dir.join("found");
  await Deno.writeTextFile(file, `${found}{"tx_id":null}\n{"tx_id":"gone"}\n`);
  const only = ["recover", "--only"];
  assertEquals((await poh.run([...only, file, "--rebuild"])).code, 2);
  const bad = await poh.run([...only, "-"], { stdin: `${found}{}\n` });
  assertEquals(bad.code, 2);
  assertMatch(bad.stderr, /^poh-storage: -, line 3: not a line of verify/);
  const recovered = await poh.run([...only, file]);
  assertEquals(recovered.code, 0);
  assertEquals(recovered.stdout, "Recovery complete: 0 valid txs\n");
  assertMatch(recovered.stderr, /^1 of 3 have no row$/m);
  assertMatch(
    await poh.ok(["recover", "--skip-payloads"]),
    /^Recovery complete, but for the payloads\n/,
  );
  assertMatch(await poh.ok(["verify"]), /: 7 of 7 txs valid/);
});

test("while one repairs, others are told that the store is busy", async (poh) => {
  await poh.ok(["init"]);
  await poh.ok(["save", "--tx", txText("a")]);
  const url = new URL(poh.db);
  url.password = new URL(server!.url).password;
  await using catalog = PostgresStore.open(url.href);
  await using _lease = await catalog.lease();
  const repairs = [
    ["recover"],
    ["recover", "--skip-payloads"],
    ["recover", "--only", "-"],
    ["quarantine", "empty", "--yes"],
  ];
  for (const args of repairs) {
    const stdin = '{"tx_id":"a"}\n';
    const { code, stderr } = await poh.run(args, { stdin });
    assertEquals(code, 5, args.join(" "));
    assertMatch(stderr, /^poh-storage: .* is being repaired.*\n$/);
  }
  await poh.ok(["save", "--tx", txText("b")]);
  await poh.ok(["recover", "--dry-run"]);
});

test("no secret is printed, whatever goes wrong", async (poh) => {
  const db = new URL(poh.db);
  db.password = "top-secret";
  const wrong = ["--db", db.href];
  const runs = [
    await poh.run(["init", ...wrong]),
    await poh.run(["info", "--json", ...wrong]),
    await poh.run(["load", "a", "--base", "s3://user:top-secret@bucket/x"]),
    await poh.run(["verify"]),
  ];
  for (const { code, stdout, stderr } of runs) {
    assert(code !== 0, stdout);
    for (const secret of ["top-secret", gateway!.credentials.secretAccessKey]) {
      assert(!`${stdout}${stderr}`.includes(secret), `${stdout}${stderr}`);
    }
  }
});

test("a permission that is missing is named, narrowly", async (poh) => {
  const { code, stderr } = await poh.run(["init"], {
    permissions: [`--allow-read=${SOURCE}`, "--allow-env=POH_BASE,POH_DB"],
  });
  assertEquals(code, 1);
  assertEquals(
    stderr,
    `poh-storage: Missing permission; run again with --allow-net=127.0.0.1:${
      gateway!.port
    },127.0.0.1:${
      server!.port
    } --allow-env=AWS_ACCESS_KEY_ID,AWS_SECRET_ACCESS_KEY\n`,
  );
});

test("what only a local store has says so", async (poh) => {
  const local = [
    ["backup", "folder"],
    ["restore", "folder"],
    ["init", "--pack-below", "1k"],
  ];
  for (const args of local) {
    const { code, stderr } = await poh.run(args);
    assertEquals(code, 2, args.join(" "));
    assertMatch(stderr, /^poh-storage: .* is for stores on this machine.*\n$/);
  }
});

test("the database of another store, and an emptied bucket, are refused", async (poh) => {
  await poh.ok(["init"]);
  await poh.ok(["save", "--tx", txText("a")]);
  await using other = await Program.make();
  await other.ok(["init"]);
  await other.ok(["save", "--tx", txText("b")]);
  const mixed = ["--base", other.bucket.url()];
  assertMatch((await poh.run(["recover", ...mixed])).stderr, /another base/);
  const objects = poh.bucket.open();
  for (const key of [".poh/id", "a.bin"]) await objects.delete(key);
  assertMatch((await poh.run(["recover"])).stderr, /has transactions, but/);
  const fresh = new URL(poh.db);
  fresh.searchParams.set("schema", `test_${crypto.randomUUID()}`);
  const lost = ["--base", other.bucket.url(), "--db", fresh.href];
  assertMatch((await poh.run(["recover", ...lost])).stderr, /--rebuild/);
  await poh.ok(["recover", "--rebuild", ...lost]);
});

test("a shared store heals a local one, and is healed by a backup of it", async (poh) => {
  const ids = ["a", "b", "c/d"];
  await poh.ok(["init"]);
  await poh.ok(["init", "--base", "copy", "--db", "copy/poh.db"]);
  for (const id of ids) await poh.ok(["save", "--tx", txText(id)]);
  await poh.ok(["save", "--tx", txText("a", "newer")]); // under a key of its own
  await poh.ok(["migrate", "--to-base", "copy"]);
  const copy = ["--base", "copy", "--db", "copy/poh.db"];
  await poh.ok(["backup", "backup", "--copy", ...copy]);
  await Deno.remove(poh.dir.join("copy", "a.bin"));
  await Deno.remove(poh.dir.join("copy", "c%2Fd.bin"));
  // By names alone, the newer payload of "a" is not found.
  const bucket = poh.bucket.url();
  assertMatch(
    (await poh.run(["verify", "--from", bucket, ...copy])).stdout,
    /: 1 of 3 txs valid, 1 could be healed\n/,
  );
  const shared = `${bucket},${poh.db}`;
  assertMatch(
    await poh.ok(["recover", "--from", shared, ...copy]),
    /: 3 valid txs/,
  );

  const objects = poh.bucket.open();
  for (const key of ["b.bin", "c%2Fd.bin"]) await objects.delete(key);
  await objects.create(
    "b.bin",
    bytes("other"),
    await sha256Hex(bytes("other")),
  );
  assertMatch(await poh.ok(["recover", "--from", "backup"]), /: 3 valid txs/);
  assertMatch(await poh.ok(["verify"]), /: 3 of 3 txs valid/);
  assertEquals(
    JSON.parse(await poh.ok(["load", "b"])),
    JSON.parse(txText("b")),
  );
});

test("without init nothing makes a shared store, nor the schema or the bucket", async (poh) => {
  for (
    const args of [
      ["save", "--tx", txText("a")],
      ["import"],
      ["list"],
      ["recover"],
      ["recover", "--rebuild"],
    ]
  ) {
    const { code, stderr } = await poh.run(args, { stdin: txText("a") });
    assertEquals(code, 6, `${args.join(" ")}: ${stderr}`);
    assertMatch(
      stderr,
      /^poh-storage: There is no store at s3:.*; "poh-storage init" makes one\n$/,
    );
  }
  assertMatch(await poh.ok(["recover", "--create"]), /: 0 valid txs/);
  assertMatch(
    await poh.ok(["init"]),
    /^There is a store already\nPayloads: +s3:/,
  );
});
