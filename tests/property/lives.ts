/**
 * Lives of a store, made up by fast-check, beside a model of it in memory.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import fc from "../fast_check.ts";
import {
  performRecovery,
  StorageManager,
  type StoreReport,
  verifyStore,
} from "../../mod.ts";
import { observeCrashPoints } from "../../src/async/crash_points.ts";
import { placeOf } from "../../src/payloads/payload_layout.ts";
import { listQuarantine } from "../../src/payloads/quarantine.ts";
import { assertClean, assertSameTx, type Place } from "../crash/check.ts";
import { type State, versionOf } from "../crash/journal.ts";
import { outline, soundAfter, tempDir } from "../helpers.ts";

/** Ids that are easily taken for one another, or for something else. */
const IDS = ["a", "A", "%41", "é", "e\u0301", "../a", ".poh", "con"];

const SIZES = [0, 1, 100, 5_000, 64 * 1024, 64 * 1024 + 1, 150_000];

/** What is done to one id; without a size it is deleted. */
interface Change {
  id: string;
  size: number | null;
  streamed: boolean;
}

/** A step of a store's life. */
type Action =
  | { kind: "change"; changes: Change[] }
  | { kind: "crash"; changes: Change[]; at: number; recover: boolean }
  | { kind: "damage"; how: "flip" | "cut" | "delete"; id: string }
  | { kind: "orphan"; id: string; adopt: boolean }
  | { kind: "reopen"; durability: "full" | "relaxed" }
  | { kind: "verify" }
  | { kind: "recover" };

const id = fc.constantFrom(...IDS);

/** Changes that are in flight together, each of another id. */
const changes = fc.uniqueArray(
  fc.record({
    id,
    size: fc.option(fc.constantFrom(...SIZES), { nil: null, freq: 4 }),
    streamed: fc.boolean(),
  }),
  { selector: (change) => change.id, minLength: 1, maxLength: 6 },
);

const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant("change" as const), changes }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("crash" as const),
      changes,
      at: fc.nat(14),
      recover: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("damage" as const),
      how: fc.constantFrom("flip" as const, "cut" as const, "delete" as const),
      id,
    }),
  },
  fc.record({
    kind: fc.constant("orphan" as const),
    id,
    adopt: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant("reopen" as const),
    durability: fc.constantFrom("full" as const, "relaxed" as const),
  }),
  fc.record({ kind: fc.constant("verify" as const) }),
  fc.record({ kind: fc.constant("recover" as const) }),
);

/** A store, and what should be in it. */
class Life implements AsyncDisposable {
  readonly #dirs: Awaited<ReturnType<typeof tempDir>>[] = [];
  #store!: StorageManager;
  #place!: Place;
  #durability: "full" | "relaxed" = "full";
  #version = 0;
  /** What each id holds. */
  readonly model = new Map<string, NonNullable<State>>();
  /** Cases in quarantine. */
  #quarantined = 0;

  static async begin(): Promise<Life> {
    const life = new Life();
    await life.#newPlace();
    await life.#open();
    return life;
  }

  async act(action: Action): Promise<void> {
    switch (action.kind) {
      case "change":
        await this.#change(action.changes);
        return await this.#compare();
      case "crash":
        return await this.#crash(action);
      case "damage":
        return await this.#damage(action.id, action.how);
      case "orphan":
        return await this.#orphan(action.id, action.adopt);
      case "reopen":
        this.#durability = action.durability;
        await this.#store.close();
        await this.#open();
        return await this.#compare();
      case "verify":
        assertEquals(told(await this.#store.verify()), []);
        return;
      case "recover":
        assertEquals(
          (await soundAfter(this.#store)).sort(),
          [...this.model.keys()].sort(),
        );
        return await this.#compare();
    }
  }

  /** Makes changes at once; `done` is told of each that has resolved. */
  async #change(changes: Change[], done = (_: Change) => {}): Promise<void> {
    const states = new Map<string, State>();
    await Promise.all(changes.map(async (change) => {
      const { id, size, streamed } = change;
      if (size === null) {
        states.set(id, null);
        const existed = await this.#store.deleteTx(id);
        assertEquals(existed, this.model.has(id));
      } else {
        const n = ++this.#version;
        states.set(id, { n, size });
        const { payload, ...head } = versionOf(id, n, size);
        if (streamed) {
          const chunks = (async function* () {
            yield payload.subarray(0, size >> 1);
            yield payload.subarray(size >> 1);
          })();
          await this.#store.saveTxStream(head, chunks);
        } else await this.#store.saveTx({ ...head, payload });
      }
      done(change);
    }));
    for (const [id, state] of states) this.#set(id, state);
  }

  /**
   * A crash at the n-th step that the changes pass: what the files are at that
   * moment is all that is left. The process goes on, but with other files.
   */
  async #crash(
    { changes, at, recover }: Extract<Action, { kind: "crash" }>,
  ): Promise<void> {
    const before = new Map(this.model);
    const acknowledged = new Set<string>();
    const left = await tempDir();
    this.#dirs.push(left);
    let certain: Set<string> | undefined;
    const snapshot = () => {
      copyWithoutLocks(this.#place.base, left.join("base"));
      certain = new Set(acknowledged);
    };
    let passed = 0;
    observeCrashPoints(() => {
      if (passed++ === at) snapshot();
    });
    try {
      await this.#change(changes, ({ id }) => acknowledged.add(id));
    } finally {
      observeCrashPoints(() => {});
    }
    if (!certain) snapshot();
    await this.#store.close();

    this.#place = { base: left.join("base"), db: left.join("base", "poh.db") };
    if (recover) {
      const report = await performRecovery(this.#place.base, this.#place.db);
      assert(!report.damaged, JSON.stringify(report.findings));
    }
    await this.#open();
    for (const { id } of changes) {
      const tx = await this.#store.loadTx(id);
      const old = before.get(id) ?? null, now = this.model.get(id) ?? null;
      const found = tx ? tx.timestamp - 0.25 : undefined;
      if (found !== now?.n) {
        assert(!certain!.has(id), `an acknowledged change of ${id} is missing`);
        assertEquals(found, old?.n, `${id} is neither old nor new`);
        this.#set(id, old);
      }
    }
    await this.#compare();
  }

  async #damage(id: string, how: "flip" | "cut" | "delete"): Promise<void> {
    const state = this.model.get(id);
    if (!state || state.size === 0) return;
    await this.#store.close();
    const { base, db } = this.#place;
    const path = join(base, placeOf(id));
    if (how === "delete") await Deno.remove(path);
    else if (how === "cut") await Deno.truncate(path, state.size - 1);
    else {
      const bytes = await Deno.readFile(path);
      bytes[bytes.length >> 1]! ^= 4;
      await Deno.writeFile(path, bytes);
    }
    const kind = how === "delete" ? "payload-missing" : "payload-corrupt";
    assertEquals(told(await verifyStore(base, db)), [`${kind} ${id}: none`]);
    assertEquals(told(await performRecovery(base, db)), [
      `${kind} ${id}: quarantined`,
    ]);
    this.#set(id, null);
    this.#quarantined++;
    await this.#open();
    await this.#compare();
  }

  async #orphan(id: string, adopt: boolean): Promise<void> {
    if (this.model.has(id)) return;
    await this.#store.close();
    const { base, db } = this.#place;
    const n = ++this.#version;
    const { payload } = versionOf(id, n, 100);
    await Deno.writeFile(join(base, placeOf(id)), payload);
    const orphans = adopt ? "adopt" : "quarantine";
    assertEquals(told(await performRecovery(base, db, { orphans })), [
      `orphan-payload ${id}: ${adopt ? "adopted" : "quarantined"}`,
    ]);
    await this.#open();
    if (adopt) {
      assertEquals((await this.#store.loadTx(id))?.payload, payload);
      assert(await this.#store.deleteTx(id));
    } else this.#quarantined++;
    await this.#compare();
  }

  /** Asserts that the store holds what the model holds. */
  async #compare(): Promise<void> {
    const ids = [...this.model.keys()].sort(byBytes);
    assertEquals(await this.#store.listTxs(), ids);
    assertEquals(await this.#store.countTxs(), ids.length);
    for (const id of IDS) {
      const state = this.model.get(id);
      const expected = state ? versionOf(id, state.n, state.size) : null;
      assertSameTx(await this.#store.loadTx(id), expected);
      assertEquals(await this.#store.hasTx(id), state !== undefined);
    }
  }

  /** Ends it: it must be clean. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#store.close();
    for (const dir of this.#dirs) await dir[Symbol.asyncDispose]();
  }

  async end(): Promise<void> {
    await this.#store.close();
    await performRecovery(this.#place.base, this.#place.db);
    await assertClean(this.#place);
    const cases = await Array.fromAsync(listQuarantine(this.#place.base));
    assert(cases.length <= this.#quarantined);
    assert(this.#quarantined === 0 || cases.length > 0);
  }

  async #newPlace(): Promise<void> {
    const dir = await tempDir();
    this.#dirs.push(dir);
    this.#place = { base: dir.join("base"), db: dir.join("base", "poh.db") };
  }

  async #open(): Promise<void> {
    const { base, db } = this.#place;
    const durability = this.#durability;
    this.#store = await StorageManager.create(base, db, { durability });
  }

  #set(id: string, state: State): void {
    if (state) this.model.set(id, state);
    else this.model.delete(id);
  }
}

/** What a report says, but for what a crash may have left. */
function told({ findings }: StoreReport): string[] {
  return outline(findings.filter(({ kind }) => kind !== "leftover-temp"));
}

function byBytes(a: string, b: string): number {
  const [x, y] = [a, b].map((text) => new TextEncoder().encode(text).toHex());
  return x! < y! ? -1 : 1;
}

/** All that a process leaves when it dies: the system drops its locks. */
function copyWithoutLocks(from: string, to: string): void {
  Deno.mkdirSync(to, { recursive: true });
  for (const { name, isDirectory } of Deno.readDirSync(from)) {
    if (name.endsWith("-shm")) continue;
    if (isDirectory) copyWithoutLocks(join(from, name), join(to, name));
    else Deno.copyFileSync(join(from, name), join(to, name));
  }
}

/** Lives so many lives of a store, each of so many steps at most. */
export async function liveLives(runs: number, steps: number): Promise<void> {
  const property = fc.asyncProperty(
    fc.array(action, { minLength: 1, maxLength: steps }),
    async (actions) => {
      await using life = await Life.begin();
      for (const action of actions) await life.act(action);
      await life.end();
    },
  );
  await fc.assert(property, { numRuns: runs, endOnFailure: false });
}
