import { deleteRow, putRow } from "../../src/sqlite/row_changes.ts";
import { countTxs } from "../../src/sqlite/tx_counts.ts";
import { iterateTxs } from "../../src/sqlite/tx_pages.ts";
import { testTxQueries } from "../contract/tx_queries.ts";
import { drivers, tempDir } from "../helpers.ts";
import { idsOf, openRows } from "./rows.ts";

for (const driver of drivers()) {
  testTxQueries(`SQLite [${driver}]`, async () => {
    const dir = await tempDir();
    const rows = await openRows(dir.join("poh.db"), { driver });
    return {
      store: {
        save: (info) => rows.change(() => putRow(rows, info)),
        remove: (txId) => rows.change(() => deleteRow(rows, txId)),
        listIds: () => idsOf(rows),
        iterate: (query) => iterateTxs(rows, query),
        count: (filter) => countTxs(rows, filter),
      },
      async [Symbol.asyncDispose]() {
        await rows.close();
        await dir[Symbol.asyncDispose]();
      },
    };
  });
}
