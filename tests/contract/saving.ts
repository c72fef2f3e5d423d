/**
 * What a save does where there is a transaction of its id, whatever kind of
 * store it is.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  type IfMatch,
  PreconditionError,
  type SavedTx,
  sha256Hex,
  TxExistsError,
  type TxInfo,
} from "../../mod.ts";
import type { Engine } from "../../src/engine.ts";
import { type IfExists, savedTx } from "../../src/model/if_exists.ts";
import { assertBytes, bytes, randomBytes, sampleTx } from "../helpers.ts";
import { suite } from "./suite.ts";

/** A store to save to. */
export interface SavingCase extends AsyncDisposable {
  /** What works on it. */
  engine: Engine;
  /** Opens one more. */
  again(): Promise<Engine>;
  /** Takes the payload of an id away, behind the store's back. */
  lose(txId: string): Promise<void>;
  /** Flips a bit of it. */
  damage(txId: string): Promise<void>;
  /** Its bytes, read behind the store's back. */
  stored(txId: string): Promise<Uint8Array>;
}

type Parts = Parameters<typeof sampleTx>[0];

/** Small, and what is staged or sent in pieces. */
const SIZES = { small: 100, large: 200_000 };

/** Declares the tests. */
export function testSaving(
  name: string,
  make: () => Promise<SavingCase>,
  options: { ignore?: boolean; timeout?: number } = {},
): void {
  const test = suite(name, make, options);

  for (const [size, length] of Object.entries(SIZES)) {
    const payloads = [1, 2, 3].map((seed) => randomBytes(length, seed));
    const [one, two] = payloads as [Uint8Array, Uint8Array];

    test(`a save tells what became of it, ${size}`, async ({ engine }) => {
      const first = await infoOf({ payload: one });
      const saved = await save(engine, { payload: one });
      assertEquals(saved, savedTx(first, "created"));
      assertEquals(saved.saved, true);
      for (const rule of ["replace", "keep", "fail"] as const) {
        const again = await save(engine, { payload: one }, rule);
        assertEquals(again, savedTx(first, "unchanged"));
        assertEquals(again.saved, false);
      }
      for (
        const other of [
          { payload: two },
          { payload: two, holderId: "bob" },
          { payload: two, holderId: "bob", timestamp: 0.1 },
        ]
      ) {
        const replaced = await save(engine, other);
        assertEquals(replaced, savedTx(await infoOf(other), "replaced"));
        assertEquals(replaced.saved, true);
        const again = await save(engine, other);
        assertEquals(again.outcome, "unchanged");
      }
      await engine.remove("a");
      assertEquals((await save(engine, {})).outcome, "created");
    });

    test(`a stream tells it as well, ${size}`, async ({ engine }) => {
      const outcomes = [];
      for (const payload of [one, one, two, one]) {
        outcomes.push(
          (await saveStream(engine, { payload }, "replace")).outcome,
        );
      }
      const kept = await saveStream(engine, { payload: two }, "keep");
      outcomes.push(kept.outcome);
      assertEquals(outcomes, [
        "created",
        "unchanged",
        "replaced",
        "replaced",
        "kept",
      ]);
      assertEquals(kept.storageHash, await sha256Hex(one));
      assertBytes((await engine.load("a"))?.payload, one);
    });

    test(`"fail" refuses another one with both digests, ${size}`, async ({ engine }) => {
      await save(engine, { payload: one });
      const before = await engine.info("a");
      for (
        const work of [
          () => save(engine, { payload: two }, "fail"),
          () => saveStream(engine, { payload: two }, "fail"),
        ]
      ) {
        const error = await assertRejects(work, TxExistsError);
        assertEquals(error.code, "EXISTS");
        assertEquals(error.txId, "a");
        assertEquals(error.storageHash, await sha256Hex(one));
        assertEquals(error.found, await sha256Hex(two));
        assert(error.message.includes(error.storageHash));
        assert(error.message.includes(error.found));
      }
      for (const other of [{ holderId: "bob" }, { timestamp: 0 }]) {
        const error = await assertRejects(
          () => save(engine, { payload: one, ...other }, "fail"),
          TxExistsError,
          "another holder or time",
        );
        assertEquals(error.storageHash, error.found);
      }
      assertEquals(await engine.info("a"), before);
      assertBytes((await engine.load("a"))?.payload, one);
      assertEquals((await engine.verify({})).findings, []);
    });

    test(`"keep" gives what stays, ${size}`, async ({ engine }) => {
      const first = await infoOf({ payload: one });
      assertEquals(
        (await save(engine, { payload: one }, "keep")).outcome,
        "created",
      );
      const kept = await save(engine, { payload: two, holderId: "b" }, "keep");
      assertEquals(kept, savedTx(first, "kept"));
      assertEquals(kept.saved, false);
      assertEquals(await engine.info("a"), first);
      assertBytes((await engine.load("a"))?.payload, one);
      assertEquals((await engine.verify({})).findings, []);
    });

    test(`the same again mends what is lost or damaged, ${size}`, async (made) => {
      const { engine } = made;
      for (const rule of ["replace", "keep", "fail"] as const) {
        for (const harm of [made.lose, made.damage]) {
          await save(engine, { payload: one });
          await harm("a");
          const mended = await save(engine, { payload: one }, rule);
          assertEquals(mended.outcome, "unchanged");
          assertBytes(await made.stored("a"), one);
        }
      }
      const report = await engine.verify({});
      assertEquals([report.sound, report.damaged], [1, false]);
    });

    test(`of saves of one id at once one creates it, ${size}`, async (made) => {
      const nodes = [made.engine, await made.again(), await made.again()];
      for (let round = 0; round < 4; round++) {
        const txId = `id-${round}`;
        const rule: IfExists = round % 2 ? "keep" : "fail";
        const results = await Promise.allSettled(
          nodes.flatMap((engine, n) =>
            [0, 1].map(() =>
              save(engine, { txId, payload: payloads[n]! }, rule)
            )
          ),
        );
        const there = await made.engine.info(txId);
        const winner = (await Promise.all(payloads.map((p) => sha256Hex(p))))
          .indexOf(there!.storageHash);
        const outcomes = results.map((result, n) => {
          if (result.status === "fulfilled") {
            assertEquals(result.value.storageHash, there!.storageHash);
            return `${n >> 1} ${result.value.outcome}`;
          }
          const { reason } = result;
          assert(reason instanceof TxExistsError, `${reason}`);
          assertEquals(reason.storageHash, there!.storageHash);
          return `${n >> 1} refused`;
        });
        const others = rule === "keep" ? "kept" : "refused";
        assertEquals(
          outcomes.toSorted(),
          nodes.flatMap((_, n) =>
            n === winner
              ? [`${n} created`, `${n} unchanged`]
              : [`${n} ${others}`, `${n} ${others}`]
          ),
        );
      }
      assertEquals((await made.engine.verify({})).damaged, false);
    });
  }

  test("changes of one id are decided in the order of their calls", async ({ engine }) => {
    const of = (payload: string, rule: IfExists) =>
      save(engine, { payload: bytes(payload) }, rule);
    const results = await Promise.allSettled([
      of("1", "keep"),
      of("2", "keep"),
      of("2", "replace"),
      of("1", "fail"),
      of("2", "fail"),
      engine.remove("a"),
      of("3", "fail"),
      of("4", "keep"),
    ]);
    const outcomes = results.map((result) => {
      if (result.status === "rejected") return result.reason.code;
      const { value } = result;
      return typeof value === "boolean" ? value : value.outcome;
    });
    assertEquals(outcomes, [
      "created",
      "kept",
      "replaced",
      "EXISTS",
      "unchanged",
      true,
      "created",
      "kept",
    ]);
    assertEquals((await engine.load("a"))?.payload, bytes("3"));
    assertEquals((await engine.verify({})).findings, []);
  });

  for (const [size, length] of Object.entries(SIZES)) {
    const [one, two] = [randomBytes(length, 1), randomBytes(length, 2)];

    test(`a change is made only of what it demands, ${size}`, async ({ engine }) => {
      const refused = async (work: () => Promise<unknown>) =>
        (await assertRejects(work, PreconditionError)).storageHash;
      const other = { payload: two };
      const wanted: IfMatch[] = ["*", [await sha256Hex(one)]];
      for (const ifMatch of wanted) {
        for (const work of [save, saveStream]) {
          assertEquals(
            await refused(() => work(engine, other, "replace", ifMatch)),
            null,
          );
        }
        assertEquals(await engine.remove("a", ifMatch), false);
      }
      assertEquals(await engine.info("a"), null);
      for (const work of [save, saveStream]) {
        for (const ifMatch of wanted) {
          await save(engine, { payload: one });
          const saved = await work(engine, other, "replace", ifMatch);
          assertEquals(saved, savedTx(await infoOf(other), "replaced"));
        }
      }
      const [digest] = wanted[1]!;
      const there = await sha256Hex(two);
      for (const ifMatch of [[digest!], [], ["no digest"]]) {
        for (const rule of ["replace", "keep", "fail"] as const) {
          for (const payload of [one, two]) {
            for (const work of [save, saveStream]) {
              assertEquals(
                await refused(() => work(engine, { payload }, rule, ifMatch)),
                there,
              );
            }
          }
        }
        assertEquals(await refused(() => engine.remove("a", ifMatch)), there);
      }
      assertEquals(
        await outcome(save(engine, { payload: one }, "fail", [there])),
        "EXISTS",
      );
      assertBytes((await engine.load("a"))?.payload, two);
      assertEquals(await engine.remove("a", [digest!, there]), true);
      assertEquals(await engine.info("a"), null);
      assertEquals((await engine.verify({})).findings, []);
    });
  }

  test("of changes of one row at once one is made", async (made) => {
    const nodes = [made.engine, await made.again(), await made.again()];
    await save(made.engine, { payload: bytes("0") });
    for (let round = 0; round < 4; round++) {
      const ifMatch = [(await made.engine.info("a"))!.storageHash];
      const outcomes = await Promise.all(nodes.map((engine, n) =>
        outcome(
          save(engine, { payload: bytes(`${round} ${n}`) }, "replace", ifMatch),
        )
      ));
      assertEquals(outcomes.toSorted(), [
        "PRECONDITION_FAILED",
        "PRECONDITION_FAILED",
        "replaced",
      ]);
    }
    const ifMatch = [(await made.engine.info("a"))!.storageHash];
    const removed = await Promise.allSettled(
      nodes.map((engine) => engine.remove("a", ifMatch)),
    );
    assertEquals(
      removed.filter((result) => result.status === "fulfilled" && result.value)
        .length,
      1,
    );
    assertEquals((await made.engine.verify({})).damaged, false);
  });

  test("a refusal does no harm to what is saved with it", async ({ engine }) => {
    await save(engine, { txId: "b" });
    const results = await Promise.allSettled(
      ["a", "b", "c"].map((txId) =>
        save(engine, { txId, payload: bytes("new") }, "fail")
      ),
    );
    assertEquals(results.map(({ status }) => status), [
      "fulfilled",
      "rejected",
      "fulfilled",
    ]);
    assertEquals((await engine.verify({})).sound, 3);
  });
}

function save(
  engine: Engine,
  parts: Parts,
  rule?: IfExists,
  ifMatch?: IfMatch,
) {
  const { payload, ...head } = sampleTx(parts);
  return engine.save(head, new Uint8Array(payload), rule ?? "replace", ifMatch);
}

function saveStream(
  engine: Engine,
  parts: Parts,
  rule: IfExists,
  ifMatch?: IfMatch,
) {
  const { payload, ...head } = sampleTx(parts);
  const chunks = ReadableStream.from([new Uint8Array(payload)]);
  return engine.saveStream(head, chunks, rule, { ifMatch });
}

/** What became of a save, or the code of its refusal. */
function outcome(saving: Promise<SavedTx>): Promise<string> {
  return saving.then(({ outcome }) => outcome, ({ code }) => code);
}

async function infoOf(parts: Parts): Promise<TxInfo> {
  const { payload, ...head } = sampleTx(parts);
  const storageHash = await sha256Hex(payload);
  return { ...head, storageHash, size: payload.length };
}
