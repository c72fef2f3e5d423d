/**
 * restic: a backup of the payloads as files, read and verified by
 * `restic check --read-data`. Nothing is damaged: it would only say so.
 *
 * @module
 */

import { join } from "@std/path";
import { transactions } from "./generator.mjs";
import { main, Skipped } from "./harness.mjs";

interface Job {
  dir: string;
  count: number;
  size: number;
}

async function restic(job: Job, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("restic", {
    args: ["--repo", join(job.dir, "repo"), "--no-cache", "--quiet", ...args],
    env: { RESTIC_PASSWORD: "benchmark" },
    stdout: "null",
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
}

async function fill(_: unknown, job: Job) {
  const source = join(job.dir, "source");
  await Deno.mkdir(source);
  for (const { txId, payload } of transactions(job)) {
    Deno.writeFileSync(join(source, txId), payload);
  }
  try {
    await restic(job, "init");
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new Skipped("restic is not installed");
  }
  await restic(job, "backup", source);
  return { ops: job.count, seconds: 0 };
}

await main({
  jobs: { fill },
  recover: async (job: Job) => {
    await restic(job, "check", "--read-data");
    return {};
  },
});
