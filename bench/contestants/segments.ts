/**
 * What a recovery of a packed store has to read: its segments, by `cat`.
 *
 * @module
 */

import { join } from "@std/path";
import { main, timed } from "./harness.mjs";

interface Job {
  dir: string;
  count: number;
}

function recover(_: unknown, job: Job) {
  const log = join(job.dir, ".poh", "log");
  const segments = Array.from(Deno.readDirSync(log), ({ name }) => name)
    .filter((name) => name.endsWith(".seg"))
    .sort();
  return timed(job.count, async () => {
    const { success } = await new Deno.Command("cat", {
      args: segments.map((name) => join(log, name)),
      stdin: "null",
      stdout: "null",
    }).spawn().status;
    if (!success) throw new Error("cat failed");
  });
}

await main({ jobs: { recover } });
