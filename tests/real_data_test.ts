/**
 * Every transaction of Bitcoin block 413567, where that file is at hand: it
 * lies beside the repository, not in it.
 */

import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { txFromJson } from "../mod.ts";
import { txLine } from "../src/format/tx_json.ts";
import { tempStore, testDrivers } from "./helpers.ts";

const BLOCK = join(
  import.meta.dirname!,
  ...["..", "..", "shared", "data", "btc-block-413567.ndjson"],
);

/** The lines of the file; null where it is not at hand. */
function linesOfBlock(): string[] | null {
  try {
    return Deno.readTextFileSync(BLOCK).trimEnd().split("\n");
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

const lines = linesOfBlock();

testDrivers(
  "a real block of 1,557 transactions comes back line for line",
  async (driver) => {
    await using temp = await tempStore({ driver });
    const txs = lines!.map((line) => txFromJson(JSON.parse(line)));
    assertEquals((await temp.store.saveTxs(txs)).created, 1_557);

    const store = await temp.reopen();
    const ids = txs.map(({ txId }) => txId);
    assertEquals(await store.listTxs(), ids.toSorted());
    for (const [n, txId] of ids.entries()) {
      assertEquals(txLine((await store.loadTx(txId))!), `${lines![n]}\n`);
    }

    const report = await store.verify();
    assertEquals([report.sound, report.findings], [1_557, []]);
    assertEquals(
      report.bytes,
      txs.reduce((sum, { payload }) => sum + payload.length, 0),
    );
    const [{ holderId }] = txs as [typeof txs[0]];
    assertEquals(
      await store.countTxs({ holderId }),
      txs.filter((tx) => tx.holderId === holderId).length,
    );
    assertEquals(await store.countTxs({ before: 1464307123 }), 0);
  },
  { ignore: lines === null },
);
