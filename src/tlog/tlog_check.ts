/**
 * Whether rows, seals and tree of a store agree: `verify --tlog`.
 *
 * @module
 */

import { Pacer } from "../async/turn.ts";
import { PohStorageError } from "../errors.ts";
import type { TlogFinding } from "../model/tlog.ts";
import { isEqual } from "../proofs/encoding.ts";
import { LogAudit } from "../proofs/log_audit.ts";
import { ProofError } from "../proofs/proof_error.ts";
import { entriesOf, TileBuilder } from "../proofs/tiles.ts";
import type { Database } from "../sqlite/database.ts";
import { findInfo } from "../sqlite/lookups.ts";
import { isUnderSeal } from "./seal.ts";
import { damaged, type Tlog } from "./tlog.ts";
import { liveEntries, strayIds } from "./tlog_tables.ts";

/** Goes through all entries, and all rows. Changes nothing. */
export async function checkTlog(
  rows: Database,
  tlog: Tlog,
): Promise<TlogFinding[]> {
  const findings: TlogFinding[] = [];
  const pacer = new Pacer();
  const damage = (details: string) =>
    findings.push({ kind: "damaged", txId: null, details });
  const seals = new Map<number, Uint8Array>();
  try {
    await audit(tlog, seals, pacer);
  } catch (error) {
    const isOfLog = error instanceof ProofError ||
      error instanceof PohStorageError;
    if (!isOfLog) throw error;
    damage(error.message);
    return findings;
  }
  for (const page of liveEntries(rows)) {
    for (const live of page) {
      const { txId, entry } = live;
      const seal = seals.get(entry);
      seals.delete(entry);
      const row = findInfo(rows, txId);
      const tell = (kind: TlogFinding["kind"], details: string) =>
        findings.push({ kind, txId, details });
      if (!seal || !isEqual(seal, live.seal)) {
        damage(`entry ${entry} is not that of tx ${JSON.stringify(txId)}`);
      } else if (!row) {
        tell("vanished", `entry ${entry} is live, its row is gone`);
      } else if (!isUnderSeal(row, live)) {
        tell(
          "altered",
          `its row is not what entry ${entry} has under its seal`,
        );
      }
    }
    await pacer.giveWay();
  }
  for (const entry of seals.keys()) {
    damage(`entry ${entry} is live, and unknown`);
  }
  for (const txId of strayIds(rows).unlogged) {
    findings.push({ kind: "unlogged", txId, details: "its row has no entry" });
  }
  return findings;
}

/** Goes through all entries, and grows the tree anew over them. */
async function audit(
  tlog: Tlog,
  seals: Map<number, Uint8Array>,
  pacer: Pacer,
): Promise<void> {
  const log = new LogAudit();
  let grown: [string, Uint8Array][] = [];
  const builder = new TileBuilder((path, bytes) => grown.push([path, bytes]));
  for await (const bundle of tlog.bundles()) {
    for (const bytes of entriesOf(bundle)) {
      const index = log.size;
      const entry = log.add(bytes);
      builder.append(bytes);
      if (entry.kind !== "begin" && entry.prev !== null) {
        seals.delete(entry.prev);
      }
      if (entry.kind === "put") seals.set(index, entry.seal);
    }
    for (const [path, bytes] of grown) {
      const there = await tlog.full(path);
      if (there && isEqual(there, bytes)) continue;
      throw damaged(`${path} is ${there ? "not over its entries" : "missing"}`);
    }
    grown = [];
    await pacer.giveWay();
  }
  const { size, tiles } = tlog.edge();
  const edge = builder.edge();
  const isSame = size === edge.size && tiles.length === edge.tiles.length &&
    tiles.every((tile, level) => isEqual(tile, edge.tiles[level]!));
  if (!isSame) throw damaged("its edge is not over its entries");
  if (log.begin?.origin !== tlog.origin()) throw damaged("it began otherwise");
}
