/**
 * How the files of a store get to their new places, in steps that a crash may
 * cut off anywhere.
 *
 * It drops no row and changes no byte of a payload. In this order, each part
 * durable before the next begins, and each harmless when it is done again:
 *
 * 1. `.poh/names` says `<rules> gathering`. Every file that is to have another
 *    name gets a second one, its new name in `.poh/upgrade`; where the file
 *    system has no hard links, a copy does.
 * 2. The old names go.
 * 3. `.poh/names` says `<rules> placing`. All files move from `.poh/upgrade` to
 *    the base. What is in the way there belongs to no row, and goes to
 *    quarantine.
 * 4. `.poh/names` says the rules of this system.
 *
 * After a crash the next opening for writing goes on with the part that it
 * interrupted. Since all files have left their old names before any gets a new
 * one, it does not matter that one id's new name may be another's old one.
 *
 * @module
 */

import { basename, dirname, join } from "@std/path";
import { crashPoint } from "../async/crash_points.ts";
import {
  createFileFrom,
  digestOfOpen,
  isFile,
  makeDir,
  openRegular,
  piecesOf,
  regularSize,
  removeFileSync,
  renameFile,
  syncDir,
} from "../files/durable_fs.ts";
import {
  FOLDS_CASE,
  hasPlainName,
  isNameByDigest,
  PAYLOAD_SUFFIX,
} from "../files/file_name.ts";
import {
  type NamingState,
  upgradePath,
  waitingPlace,
  writeNaming,
} from "./naming.ts";
import {
  hasOnePlace,
  isOnlyIdAt,
  isOwnLayout,
  type Layout,
  leadsOut,
  payloadFolders,
  payloadPlaces,
  placeAt,
  placeOf,
  placeOfName,
  placesOf,
  targetOf,
  txIdsAt,
} from "../payloads/payload_layout.ts";
import { quarantineFile } from "../payloads/quarantine.ts";
import type { Connection, SqlValue } from "../sqlite/driver.ts";
import type { UpgradeReport } from "../model/storage_options.ts";
import { nextTurn } from "../async/turn.ts";

/** Rows looked at between two turns of the event loop. */
const PAGE = 512;

/** Notes that a report holds at most. */
const MAX_NOTES = 1_000;

/** What of a row an upgrade looks at. */
interface Row {
  txId: string;
  storageHash: string;
  /** What is odd about its values; null: nothing. */
  oddity: string | null;
}

/** One upgrade, while nobody else has the store. */
export class Upgrade {
  readonly #base: string;
  readonly #db: Connection;
  readonly #naming: Layout;
  readonly #dir: string;
  #renamed = 0;

  /** Moves nothing yet. */
  constructor(base: string, db: Connection, naming: Layout) {
    this.#base = base;
    this.#db = db;
    this.#naming = naming;
    this.#dir = upgradePath(base);
  }

  /** Does all parts, or goes on with those that a crash has left. */
  async run(phase: NamingState["phase"]): Promise<void> {
    const naming = this.#naming;
    await makeDir(this.#dir, true);
    if (phase !== "placing") {
      await writeNaming(this.#base, { naming, phase: "gathering" });
      await this.#gather();
      await this.#syncAll();
      await this.#dropOldNames();
      await this.#syncAll();
      await writeNaming(this.#base, { naming, phase: "placing" });
      crashPoint("upgrade gathered");
    }
    await this.#place();
    await this.#syncAll();
  }

  async #syncAll(): Promise<void> {
    const folders = [this.#dir, ...payloadFolders(this.#base)];
    for (const path of folders) await syncDir(path);
  }

  // --- the parts --------------------------------------------------------------

  async #gather(): Promise<void> {
    for await (const { from, to } of this.#moves()) {
      if (regularSize(to) !== null) continue; // before a crash
      await this.#link(from, to);
      crashPoint("upgrade file gathered");
    }
  }

  async #dropOldNames(): Promise<void> {
    for await (const { from, to } of this.#moves()) {
      if (regularSize(to) === null || await this.#isOthers(from)) continue;
      removeFileSync(from);
      const folder = dirname(from);
      if (!payloadFolders(this.#base).includes(folder)) await syncDir(folder);
      crashPoint("upgrade name dropped");
    }
  }

  async #place(): Promise<void> {
    const names = await Array.fromAsync(
      Deno.readDir(this.#dir),
      ({ name }) => name,
    );
    for (const name of names) {
      const from = join(this.#dir, name), place = placeOfName(name);
      const to = join(this.#base, place);
      if (!name.endsWith(PAYLOAD_SUFFIX)) {
        removeFileSync(from); // a copy that a crash cut short
        continue;
      }
      await quarantineFile(this.#base, to, {
        txId: txIdsAt(place)[0] ?? null,
        reason: "orphan-payload",
      });
      await renameFile(from, to, false);
      this.#renamed++;
      crashPoint("upgrade file placed");
    }
  }

  /** What the rows have come to. */
  async report(): Promise<UpgradeReport> {
    const report: UpgradeReport = {
      olderPackage: this.#naming === "verbatim",
      renamed: this.#renamed,
      notes: [],
      noted: 0,
    };
    if (!report.olderPackage) return report;
    for await (const { txId, oddity } of this.#rows(true)) {
      for (const reason of [oddity, this.#flawOf(txId)]) {
        if (reason === null) continue;
        report.noted++;
        if (report.notes.length < MAX_NOTES) {
          report.notes.push({ txId, reason });
        }
      }
    }
    return report;
  }

  /** Removes what the step needed for itself. */
  async tidyUp(): Promise<void> {
    await Deno.remove(this.#dir);
  }

  // --- help -------------------------------------------------------------------

  /**
   * The files that are to move, and where each waits for its new place. Where
   * its place tells, a file without a row moves as well: a change that a crash
   * has left half-done may be about to give it one, or have taken it.
   */
  async *#moves(): AsyncGenerator<{ from: string; to: string }> {
    if (!isOwnLayout(this.#naming)) yield* this.#movesOfRows();
    for await (const place of payloadPlaces(this.#base)) {
      const target = targetOf(place, this.#naming);
      if (target === null || target === place) continue;
      const to = join(this.#dir, basename(target));
      yield { from: join(this.#base, place), to };
    }
  }

  async *#movesOfRows(): AsyncGenerator<{ from: string; to: string }> {
    for await (const row of this.#rows()) {
      const found = await this.#find(row);
      if (!found || found.isSettled) continue;
      yield { from: found.path, to: join(this.#base, waitingPlace(row.txId)) };
    }
  }

  /** The rows, page by page; `all`: also those whose files keep their names. */
  async *#rows(all = false): AsyncGenerator<Row> {
    const select = this.#db.prepare(
      `SELECT rowid, CAST(tx_id AS TEXT), CAST(storage_hash AS TEXT),
        typeof(tx_id), typeof(timestamp), CAST(timestamp AS REAL),
        abs(timestamp) > 1.7976931348623157e308
      FROM txs WHERE rowid > ? ORDER BY rowid LIMIT ${PAGE}`,
    );
    for (let after = -Number.MAX_SAFE_INTEGER;;) {
      const page = select.all(after);
      for (const values of page) {
        const row = toRow(values);
        const mayMove = values[3] === "text" && !hasOnePlace(row.txId);
        if (all || mayMove) yield row;
      }
      if (page.length < PAGE) return;
      after = page.at(-1)![0] as number;
      await nextTurn();
    }
  }

  /**
   * The file that has a row's payload, and whether it has its name already.
   * Where a file could be another row's as well, its digest tells.
   */
  async #find(
    { txId, storageHash }: Row,
  ): Promise<{ path: string; isSettled: boolean } | null> {
    const target = placeOf(txId);
    const places = placesOf(txId, this.#naming, this.#base)
      .filter((place) => isFile(join(this.#base, place)));
    for (const place of places) {
      const path = join(this.#base, place);
      if (places.length === 1 && isOnlyIdAt(place, txId, this.#naming)) {
        return { path, isSettled: place === target };
      }
      const opened = openRegular(path);
      const digest = opened && (await digestOfOpen(opened)).digest;
      if (digest !== storageHash) continue;
      const spelled = FOLDS_CASE
        ? placeAt(Deno.realPathSync(path), Deno.realPathSync(this.#base))
        : place;
      return { path, isSettled: spelled === target };
    }
    return null;
  }

  /** Whether a file is where the payload of another row belongs, and is it. */
  async #isOthers(path: string): Promise<boolean> {
    const [owner] = txIdsAt(placeAt(path, this.#base));
    const row = owner === undefined ? undefined : this.#db.prepare(
      "SELECT CAST(storage_hash AS TEXT) FROM txs WHERE tx_id = ?",
    ).get(owner);
    if (!row || isFile(join(this.#dir, basename(path)))) return false;
    const storageHash = row[0] as string;
    const found = await this.#find({ txId: owner!, storageHash, oddity: null });
    return found !== null && found.isSettled && found.path === path;
  }

  async #link(from: string, to: string): Promise<void> {
    try {
      return Deno.linkSync(from, to);
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw error;
      // The file system has no links, or the file as many as it can have.
    }
    const opened = openRegular(from);
    if (!opened) return; // it went meanwhile
    const tmp = `${to}.${crypto.randomUUID()}`;
    await createFileFrom(tmp, piecesOf(opened.file), true);
    await renameFile(tmp, to, false);
  }

  /** Why a row's payload is not as it was, or not to be had; or null. */
  #flawOf(txId: string): string | null {
    const place = placeOf(txId);
    if (isFile(join(this.#base, place))) {
      return isNameByDigest(basename(place))
        ? `no new transaction can have this id; its file is now ${place}`
        : null;
    }
    if (hasPlainName(txId)) return null; // recover tells what is missing
    return leadsOut(txId, this.#base)
      ? "its payload file is not in the base: it was left where it is"
      : "no file in the base has its payload";
  }
}

function toRow(values: SqlValue[]): Row {
  const [, txId, storageHash, idType, timeType, time, isInfinite] = values;
  const oddity = idType !== "text"
    ? `its id is no text but a ${idType}: it cannot be asked for`
    : timeType !== "real"
    ? `its timestamp is no number but ${timeType}: it counts as ${time}`
    : isInfinite
    ? "its timestamp is infinite: it is kept so, but JSON has no such number"
    : null;
  return { txId: txId as string, storageHash: storageHash as string, oddity };
}
