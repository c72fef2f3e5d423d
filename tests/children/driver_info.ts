/**
 * Prints which SQLite binding serves, or why none does: `driver_info.ts CHOICE`.
 *
 * @module
 */

import { openSqlite } from "../../src/sqlite/driver.ts";

const choice = Deno.args[0] as "auto" | "ffi" | "builtin";
try {
  const db = await openSqlite(":memory:", choice, false);
  const [answer] = db.prepare("SELECT 6 * 7").get()!;
  db.close();
  console.log(JSON.stringify({ ...db.driver, answer }));
} catch (error) {
  const { name, message, code } = error as Error & { code?: string };
  console.log(JSON.stringify({ error: { name, message, code } }));
}
