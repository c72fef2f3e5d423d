/**
 * Says "ready", then backs up a store, then waits until stdin ends:
 * `backup.ts BASE DB FOLDER`.
 *
 * @module
 */

import { backupStore } from "../../mod.ts";

const [base, db, folder] = Deno.args as [string, string, string];
console.log("ready");
await backupStore(base, db, folder);
for await (const _ of Deno.stdin.readable);
