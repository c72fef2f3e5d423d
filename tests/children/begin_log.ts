// Begins a transparency log, and is killed once rows have their first entries.

import { StorageManager } from "../../mod.ts";
import { observeCrashPoints } from "../../src/async/crash_points.ts";

const [base, db] = Deno.args as [string, string];

await using store = await StorageManager.open(base, db);
observeCrashPoints((point) => {
  if (point === "tree grown") Deno.kill(Deno.pid, "SIGKILL");
});
await store.tlog.init("node7.example/poh");
