/**
 * What can be done with what recover has taken out of service, whatever kind of
 * store it was.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import {
  IntegrityError,
  PohStorageError,
  type QuarantineEntry,
  type RecoverOptions,
  sha256Hex,
} from "../../mod.ts";
import type { Engine } from "../../src/engine.ts";
import { fileName } from "../../src/files/file_name.ts";
import { GRACE } from "../../src/shared/contracts.ts";
import {
  assertBytes,
  bytes,
  filesBelow,
  flipBit,
  namesIn,
  randomBytes,
  sampleTx,
  test as plainTest,
} from "../helpers.ts";

/** A store whose payloads are files here. */
export interface QuarantineCase extends AsyncDisposable {
  /** Their folder. */
  base: string;
  /** What works on it. */
  engine: Engine;
  /** Opens one more. */
  again(): Promise<Engine>;
}

/** Declares the tests. */
export function testQuarantine(
  kind: string,
  make: () => Promise<QuarantineCase>,
): void {
  const test = (name: string, fn: () => Promise<void>) =>
    plainTest(`${kind}: ${name}`, fn);

  /** A store from which recover took something out. */
  async function quarantined(
    damage: (made: QuarantineCase) => unknown,
    options: RecoverOptions = {},
  ): Promise<QuarantineCase> {
    const made = await make();
    await save(made, { txId: "a", holderId: "bob", timestamp: 0.5 });
    await save(made, { txId: "large", payload: randomBytes(200_000) });
    await damage(made);
    await made.engine.recover(options);
    return made;
  }

  test("quarantine is empty where nothing was taken out", async () => {
    await using made = await quarantined(() => {});
    assertEquals(await cases(made), []);
    assertEquals(await made.engine.quarantine.empty(), 0);
  });

  test("it is told what each case is about", async () => {
    await using made = await quarantined(async (made) => {
      await flipBit(fileOf(made, "large"));
      await Deno.remove(fileOf(made, "a"));
      await orphan(made, "o/phan");
    }, { orphans: "quarantine" });
    const [missing, corrupt, other, ...others] = await cases(made);
    assertEquals(others, []);
    assertEquals(
      [missing, corrupt, other].map((e) => [e!.txId, e!.reason, e!.size]),
      [
        ["a", "payload-missing", null],
        ["large", "payload-corrupt", 200_000],
        ["o/phan", "orphan-payload", 6],
      ],
    );
    assertEquals(missing!.row?.holderId, "bob");
    assertEquals(missing!.found, null);
    assertEquals(corrupt!.expected, corrupt!.row?.storageHash);
    assertEquals(
      corrupt!.found,
      await sha256Hex(await Deno.readFile(bytesOf(made, corrupt!))),
    );
    assertEquals([other!.row, other!.expected], [null, null]);
    assertEquals(other!.found, await sha256Hex(bytes("orphan")));
  });

  test("it is no part of the store", async () => {
    await using made = await quarantined((made) => flipBit(fileOf(made, "a")));
    const { engine } = made;
    assertEquals(await engine.load("a"), null);
    assertEquals(await engine.queries.count({}), 1);
    assertEquals((await engine.verify({})).findings, []);
  });

  test("what has its digest again is restored", async () => {
    for (const txId of ["a", "large"]) {
      await using made = await quarantined((made) =>
        flipBit(fileOf(made, txId), 1)
      );
      const entry = await theCase(made);
      await flipBit(bytesOf(made, entry), 1); // the disk reads well again
      const { engine } = made;
      assertEquals(await engine.quarantine.restore(entry.name), entry.row);
      const tx = (await engine.load(txId))!;
      assertEquals([tx.holderId, tx.timestamp], [
        entry.row!.holderId,
        entry.row!.timestamp,
      ]);
      assertBytes(
        tx.payload,
        txId === "a" ? bytes("payload of a") : randomBytes(200_000),
      );
      assertEquals(namesIn(quarantineOf(made)), []);
      assertEquals((await engine.verify({})).findings, []);
    }
  });

  test("a restoration that ended before the note went is finished", async () => {
    await using made = await quarantined((made) => flipBit(fileOf(made, "a")));
    const { engine } = made;
    const entry = await theCase(made);
    await flipBit(bytesOf(made, entry));
    const note = join(quarantineOf(made), `${entry.name}.json`);
    const text = await Deno.readFile(note);
    await engine.quarantine.restore(entry.name);
    await Deno.mkdir(quarantineOf(made), { recursive: true });
    await Deno.writeFile(note, text);
    assertEquals(await engine.quarantine.restore(entry.name), entry.row);
    assertEquals(namesIn(quarantineOf(made)), []);
    assertBytes((await engine.load("a"))!.payload, bytes("payload of a"));
  });

  test("what is still damaged stays where it is", async () => {
    await using made = await quarantined((made) => flipBit(fileOf(made, "a")));
    const entry = await theCase(made);
    const before = await filesBelow(quarantineOf(made));
    const error = await assertRejects(
      () => made.engine.quarantine.restore(entry.name),
      IntegrityError,
    );
    assertEquals([error.expected, error.found], [entry.expected, entry.found]);
    assertEquals(await made.engine.info("a"), null);
    assertEquals(await filesBelow(quarantineOf(made)), before);
  });

  test("bytes that are gone do not come back, unless somebody has a copy", async () => {
    await using made = await quarantined((made) =>
      Deno.remove(fileOf(made, "a"))
    );
    const entry = await theCase(made);
    const restore = () => made.engine.quarantine.restore(entry.name);
    assertEquals((await assertRejects(restore, IntegrityError)).found, null);
    await Deno.writeTextFile(bytesOf(made, entry), "payload of a");
    await restore();
    assertEquals((await made.engine.load("a"))?.holderId, "bob");
  });

  test("what was saved since is not replaced", async () => {
    await using made = await quarantined((made) => flipBit(fileOf(made, "a")));
    const { name } = await theCase(made);
    await flipBit(join(quarantineOf(made), `${name}.bin`));
    await save(made, { holderId: "newer" });
    await assertCode(() => made.engine.quarantine.restore(name), "EXISTS");
    assertEquals((await made.engine.load("a"))?.holderId, "newer");
    assertEquals((await cases(made)).length, 1);
    assertEquals((await made.engine.verify({})).findings, []);
  });

  test("nor is what is saved meanwhile", async () => {
    await using made = await quarantined((made) => flipBit(fileOf(made, "a")));
    const { engine } = made;
    const other = await made.again();
    const payload = bytes("payload of a");
    const chunks = async function* () {
      await save({ engine: other }, { holderId: "newer" });
      yield payload;
    };
    const digest = await sha256Hex(payload);
    const { payload: _, ...head } = sampleTx({ holderId: "older" });
    const late = () =>
      engine.saveStream(head, chunks(), "fail", {
        expected: digest,
      });
    await assertCode(late, "EXISTS");
    await other.close();
    assertEquals((await engine.load("a"))?.holderId, "newer");
    assertEquals((await engine.recover({})).findings, []);
  });

  test("an orphan has no row to be restored with", async () => {
    await using made = await quarantined((made) => orphan(made, "orphan"), {
      orphans: "quarantine",
    });
    const { name } = await theCase(made);
    await assertCode(() => made.engine.quarantine.restore(name), "NO_ROW");
    assertEquals((await cases(made)).length, 1);
  });

  test("no other name is a case", async () => {
    await using made = await quarantined((made) => flipBit(fileOf(made, "a")));
    // What would be found if the name were taken for a path.
    await Deno.writeTextFile(join(made.base, ".poh", "id.json"), "{}");
    const names = ["nothing", "", ".", "..", "../id", "..\\id", "x/y", "\0"];
    for (const name of names) {
      await assertCode(
        () => made.engine.quarantine.restore(name),
        "NOT_IN_QUARANTINE",
      );
    }
  });

  test("it can be emptied, damaged notes and all", async () => {
    await using made = await quarantined(async (made) => {
      await flipBit(fileOf(made, "large"));
      await Deno.remove(fileOf(made, "a"));
    });
    const [{ name }] = await cases(made) as [QuarantineEntry];
    await Deno.writeTextFile(join(quarantineOf(made), `${name}.json`), "{");
    await assertCode(() => cases(made), "NOTE_DAMAGED");
    await assertCode(
      () => made.engine.quarantine.restore(name),
      "NOTE_DAMAGED",
    );
    assertEquals(await made.engine.quarantine.empty(), 2);
    assertEquals(await made.engine.quarantine.empty(), 0);
    assertEquals(namesIn(quarantineOf(made)), []);
  });

  test("the same bytes in the place of two payloads of an id are two cases", async () => {
    await using made = await quarantined(() => {});
    for (const holderId of ["one", "two"]) {
      await save(made, { txId: "b", holderId, payload: bytes(holderId) });
      const [path] = await filesWith(made, holderId);
      await Deno.writeTextFile(path!, "???");
      await made.engine.recover({});
    }
    const rows = (await cases(made)).map(({ row }) => row!.holderId);
    assertEquals(rows.sort(), ["one", "two"]);
  });

  test("a case of a long id has a name that fits", async () => {
    const txId = "取".repeat(80);
    await using made = await quarantined(async (made) => {
      await save(made, { txId });
      await made.engine.recover({}); // brings the file to its place
      await flipBit(fileOf(made, txId));
    });
    const entry = await theCase(made);
    assertEquals([entry.txId, entry.size], [
      txId,
      bytes(`payload of ${txId}`).length,
    ]);
    assert(bytes(`${entry.name}.json`).length <= 255);
    await flipBit(bytesOf(made, entry));
    await made.engine.quarantine.restore(entry.name);
    assert(await made.engine.info(txId) !== null);
  });
}

function save(
  { engine }: Pick<QuarantineCase, "engine">,
  tx: Parameters<typeof sampleTx>[0],
) {
  const { payload, ...head } = sampleTx(tx);
  return engine.save(head, payload, "replace");
}

/** A file of an id that has no row, old enough for all to see it as that. */
async function orphan(made: QuarantineCase, txId: string): Promise<void> {
  await Deno.writeTextFile(fileOf(made, txId), "orphan");
  const then = Date.now() / 1000 - GRACE - 60;
  await Deno.utime(fileOf(made, txId), then, then);
}

function fileOf({ base }: QuarantineCase, txId: string): string {
  return join(base, fileName(txId));
}

function quarantineOf({ base }: QuarantineCase): string {
  return join(base, ".poh", "quarantine");
}

function bytesOf(made: QuarantineCase, { name }: QuarantineEntry): string {
  return join(quarantineOf(made), `${name}.bin`);
}

/** Payloads with this content, wherever they are. */
async function filesWith({ base }: QuarantineCase, content: string) {
  const found = [];
  for (const [name, digest] of Object.entries(await filesBelow(base))) {
    if (digest === await sha256Hex(bytes(content))) {
      found.push(join(base, name));
    }
  }
  return found;
}

async function cases({ engine }: QuarantineCase): Promise<QuarantineEntry[]> {
  const entries = await Array.fromAsync(engine.quarantine.list());
  return entries.sort((a, b) => a.name < b.name ? -1 : 1);
}

/** The only case there is. */
async function theCase(made: QuarantineCase): Promise<QuarantineEntry> {
  const [entry, ...others] = await cases(made);
  assertEquals(others, []);
  return entry!;
}

async function assertCode(work: () => Promise<unknown>, code: string) {
  const error = await assertRejects(work, PohStorageError);
  assertEquals(error.code, code);
}
