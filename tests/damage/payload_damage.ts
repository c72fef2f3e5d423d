/**
 * Damage to payload files and rows, of which it is known what verify must say.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import {
  type Finding,
  type FindingKind,
  performRecovery,
  StorageManager,
  type StoreReport,
  type Tx,
  type TxInfo,
  verifyStore,
} from "../../mod.ts";
import { sha256HexSync } from "../../src/files/hash.ts";
import { placeOf } from "../../src/payloads/payload_layout.ts";
import { listQuarantine } from "../../src/payloads/quarantine.ts";
import { assertClean, type Place } from "../crash/check.ts";
import { bytesOf, digestOf, editRows } from "../crash/damaged_store.ts";
import { versionOf } from "../crash/journal.ts";
import { copyTree, placeBelow } from "../crash/process.ts";
import { bytesFrom, type Random } from "../crash/random.ts";
import { filesBelow, tempDir } from "../helpers.ts";
import { openDatabase } from "../../src/sqlite/open_database.ts";
import { initDatabase } from "../../src/sqlite/open_database.ts";
import { iterateTxs } from "../../src/sqlite/tx_pages.ts";

/** What verify must say of one thing. */
type Expected = Pick<Finding, "kind" | "txId" | "file" | "expected" | "found">;

/** Damage of one kind. */
export interface Damage {
  name: string;
  /** How many transactions it takes. */
  victims: number;
  /** Does it; what verify must say. */
  inflict(victims: Victim[], random: Random, db: string): Promise<Expected[]>;
}

/** A transaction that is about to be damaged. */
class Victim {
  readonly tx: Tx;
  readonly id: string;
  readonly file: string;
  readonly path: string;
  readonly digest: string;

  constructor(tx: Tx, base: string) {
    this.tx = tx;
    this.id = tx.txId;
    this.file = placeOf(tx.txId);
    this.path = join(base, this.file);
    this.digest = sha256HexSync(tx.payload);
  }

  /** Puts other bytes into its file; what verify must say. */
  async overwrite(bytes: Uint8Array): Promise<Expected[]> {
    await Deno.writeFile(this.path, bytes);
    return [this.expect("payload-corrupt", sha256HexSync(bytes))];
  }

  /** Changes its row; the value is SQL. */
  async edit(db: string, column: string, value: string): Promise<void> {
    await editRows(
      db,
      `UPDATE txs SET ${column} = ${value} WHERE tx_id = ${quoted(this.id)}`,
    );
  }

  expect(
    kind: FindingKind,
    found: string | null,
    expected: string | null = this.digest,
  ): Expected {
    return { kind, txId: this.id, file: this.file, expected, found };
  }
}

/** Everything that is done to payload files and rows. */
export const DAMAGES: Damage[] = [
  {
    name: "bit flips",
    victims: 1,
    async inflict([victim], random) {
      const bytes = victim!.tx.payload.slice();
      const bits = random.sample([...Array(bytes.length * 8).keys()], 3);
      for (const bit of bits.slice(0, random.between(1, 4))) {
        bytes[bit >> 3]! ^= 1 << (bit & 7);
      }
      return await victim!.overwrite(bytes);
    },
  },
  {
    name: "truncation",
    victims: 1,
    async inflict([victim], random) {
      const { payload } = victim!.tx;
      const size = random.pick([0, random.between(0, payload.length)]);
      return await victim!.overwrite(payload.slice(0, size));
    },
  },
  {
    name: "extension",
    victims: 1,
    async inflict([victim], random) {
      const { payload } = victim!.tx;
      const more = bytesFrom("more", random.between(1, 5_000));
      return await victim!.overwrite(concat(payload, more));
    },
  },
  {
    name: "a zero-filled block",
    victims: 1,
    async inflict([victim], random) {
      const bytes = victim!.tx.payload.slice();
      const at = random.between(0, Math.ceil(bytes.length / 512)) * 512;
      bytes.fill(0, at, at + random.pick([512, 4_096]));
      return await victim!.overwrite(bytes);
    },
  },
  {
    name: "deletion",
    victims: 1,
    async inflict([victim]) {
      await Deno.remove(victim!.path);
      return [victim!.expect("payload-missing", null)];
    },
  },
  {
    name: "swapped files",
    victims: 2,
    async inflict(victims) {
      const [a, b] = victims as [Victim, Victim];
      await Deno.rename(a.path, `${a.path}.away`);
      await Deno.rename(b.path, a.path);
      await Deno.rename(`${a.path}.away`, b.path);
      return [
        a.expect("payload-corrupt", b.digest),
        b.expect("payload-corrupt", a.digest),
      ];
    },
  },
  {
    name: "a file with a name of no row",
    victims: 1,
    async inflict([victim]) {
      const stranger = `stranger to ${victim!.id}`;
      const path = join(victim!.path, "..", placeOf(stranger));
      await Deno.rename(victim!.path, path);
      return [
        victim!.expect("payload-missing", null),
        orphan(stranger),
      ];
    },
  },
  {
    name: "a file with the name of another",
    victims: 2,
    async inflict(victims) {
      const [a, b] = victims as [Victim, Victim];
      await Deno.rename(a.path, b.path);
      return [
        a.expect("payload-missing", null),
        b.expect("payload-corrupt", a.digest),
      ];
    },
  },
  {
    name: "a digest edited by hand",
    victims: 1,
    async inflict([victim], random, db) {
      const [sql, expected] = random.pick([
        [quoted("0".repeat(64)), "0".repeat(64)],
        ["upper(storage_hash)", victim!.digest.toUpperCase()],
        ["'nonsense'", "nonsense"],
        ["''", ""],
        ["x'00ff'", ""],
        ["12345", "12345"],
      ]) as [string, string];
      await victim!.edit(db, "storage_hash", sql);
      return [victim!.expect("payload-corrupt", victim!.digest, expected)];
    },
  },
  {
    name: "a size edited by hand",
    victims: 1,
    async inflict([victim], random, db) {
      const { length } = victim!.tx.payload;
      const size = random.pick([length + 1, 2 ** 40, 9e18, "'ten'", 0]);
      await victim!.edit(db, "size", String(size));
      return [victim!.expect("size-mismatch", victim!.digest)];
    },
  },
  {
    name: "an id edited by hand",
    victims: 1,
    async inflict([victim], random, db) {
      const other = `renamed ${victim!.id}${random.pick(["", "/..", "é"])}`;
      await victim!.edit(db, "tx_id", quoted(other));
      return [
        {
          ...victim!.expect("payload-missing", null),
          txId: other,
          file: placeOf(other),
        },
        orphan(victim!.id),
      ];
    },
  },
  {
    name: "a row deleted by hand",
    victims: 1,
    async inflict([victim], _random, db) {
      const { id } = victim!;
      await editRows(db, `DELETE FROM txs WHERE tx_id = ${quoted(id)}`);
      return [orphan(id)];
    },
  },
  {
    // The digest is of the payload: nothing binds these to it.
    name: "holder and timestamp edited by hand",
    victims: 1,
    async inflict([victim], random, db) {
      await victim!.edit(db, "holder_id", "'somebody else'");
      await victim!.edit(db, "timestamp", String(random.between(0, 1e9)));
      return [];
    },
  },
];

/** A store that nothing is wrong with, to take copies of. */
export interface SoundStore extends Place {
  txs: Tx[];
}

/** Makes one below a directory. */
export async function makeSoundStore(dir: string): Promise<SoundStore> {
  const { base, db } = placeBelow(dir);
  const sizes = [0, 1, 5, 100, 511, 512, 513, 4_096, 65_536, 65_537, 200_000];
  const txs = Array.from(
    { length: 26 },
    (_, n) => versionOf(`${idPart(n)}-${n}`, n, sizes[n % sizes.length]!),
  );
  await using store = await StorageManager.create(base, db);
  await store.saveTxs(txs);
  return { base, db, txs };
}

function idPart(n: number): string {
  return ["plain", "Ünïcode", "sl/ash", "CON", ".hidden", "it's"][n % 6]!;
}

/**
 * Damages a copy of a sound store in these ways at once, and asserts that
 * verify says so and nothing else, and that recover takes out what is damaged,
 * keeps it, and touches nothing else.
 */
export async function damageAndRecover(
  sound: SoundStore,
  damages: Damage[],
  random: Random,
): Promise<void> {
  await using dir = await tempDir();
  const place = placeBelow(dir.path);
  copyTree(sound.base, place.base);
  const { base, db } = place;

  const count = damages.reduce((sum, { victims }) => sum + victims, 0);
  // No two of the same digest: a swap of those is no damage.
  const candidates = sound.txs.filter(({ payload }) => payload.length > 0);
  const victims = random.sample(candidates, count)
    .map((tx) => new Victim(tx, base));
  const expected: Expected[] = [];
  const left = [...victims];
  for (const damage of damages) {
    const own = left.splice(0, damage.victims);
    expected.push(...await damage.inflict(own, random, db));
  }

  // Verify tells it, a dry run tells it, neither changes anything.
  const before = await filesBelow(base);
  const rows = await rowsOf(db);
  const recover = { orphans: "quarantine" } as const;
  for (
    const report of [
      await verifyStore(base, db),
      await performRecovery(base, db, { ...recover, dryRun: true }),
    ]
  ) {
    assertTells(report, expected);
    assertEquals(report.repaired, report.dryRun ? expected.length : 0);
    assertEquals(await filesBelow(base), before, "it changed something");
  }

  // Recover does it, once.
  const report = await performRecovery(base, db, recover);
  assertTells(report, expected);
  assertEquals(report.repaired, expected.length);
  await assertClean(place);

  // Nothing sound was touched.
  const after = await filesBelow(base);
  const rowsAfter = await rowsOf(db);
  const affected = new Set(expected.map(({ txId }) => txId!));
  const files = new Set([...affected].map((txId) => placeOf(txId)));
  for (const [name, digest] of Object.entries(before)) {
    const isPayload = name.endsWith(".bin") && !name.startsWith(".poh/");
    if (isPayload && !files.has(name)) assertEquals(after[name], digest, name);
  }
  for (const [txId, row] of rows) {
    if (!affected.has(txId)) assertEquals(rowsAfter.get(txId), row);
  }

  // What was taken out is kept: its bytes as they were, and its row.
  const kept = await Array.fromAsync(listQuarantine(base));
  const out = expected.filter(({ kind }) => kind !== "size-mismatch");
  assertEquals(kept.length, out.length);
  for (const { kind, txId, file } of out) {
    const entry = kept.find((entry) => entry.txId === txId);
    assert(entry, `${txId} is not in quarantine`);
    assertEquals(entry.reason, kind);
    assertEquals(entry.row, rows.get(txId!) ?? null);
    assertEquals(digestOf(bytesOf(base, entry)), before[file!] ?? null);
    assert(!(file! in after), `${file} is still in service`);
  }
}

/** Asserts that a report has these findings and no others. */
function assertTells(report: StoreReport, expected: Expected[]): void {
  const sorted = (findings: Expected[]) =>
    findings.map(({ kind, txId, file, expected, found }) => ({
      kind,
      txId,
      file,
      expected,
      found,
    })).sort((a, b) => `${a.kind} ${a.txId}` < `${b.kind} ${b.txId}` ? -1 : 1);
  assertEquals(sorted(report.findings), sorted(expected));
  assertEquals(
    report.damaged,
    expected.some(({ kind }) => kind !== "orphan-payload"),
  );
}

async function rowsOf(db: string): Promise<Map<string, TxInfo>> {
  await using rows = await openDatabase(db, { readOnly: true });
  await initDatabase(rows);
  const all = await Array.fromAsync(iterateTxs(rows));
  return new Map(all.map((info) => [info.txId, info]));
}

function orphan(txId: string): Expected {
  return {
    kind: "orphan-payload",
    txId,
    file: placeOf(txId),
    expected: null,
    found: null,
  };
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  return new Uint8Array([...a, ...b]);
}
