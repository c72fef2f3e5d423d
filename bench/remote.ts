/**
 * Stores in a bucket and on a server, against the thinnest client that could do
 * the same: a signed PUT and one INSERT; a SELECT, a signed GET and a look at the
 * digest. It keeps nothing in order, and repairs nothing. Both on the same
 * servers, in turn, with as much in flight, each round in a process of its own.
 *
 * ```sh
 * deno task bench:remote           # starts servers, if they are installed
 * deno task bench:remote --rounds 5 "load 16 MiB"   # a part
 * ```
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Ceph, CREDENTIALS, noCeph } from "../tests/services/ceph.ts";
import { NO_POSTGRES, startPostgres } from "../tests/services/postgres.ts";
import type { RemoteJob, RemoteSample } from "./remote_job.ts";

const MIB = 1024 * 1024;

/** What is measured, and how much longer than the thin client it may take. */
const WORKLOADS: { title: string; job: RemoteJob; limit: number | null }[] = [
  {
    title: "save 1 KiB, 32 in flight",
    job: { op: "save", count: 4_000, size: 1024, inFlight: 32 },
    limit: 1.3,
  },
  {
    title: "load 1 KiB, 32 in flight",
    job: { op: "load", count: 4_000, size: 1024, inFlight: 32 },
    limit: 1.3,
  },
  {
    title: "save 16 MiB, 4 in flight",
    job: { op: "save", count: 16, size: 16 * MIB, inFlight: 4 },
    limit: 1.1,
  },
  {
    title: "load 16 MiB, 4 in flight",
    job: { op: "load", count: 16, size: 16 * MIB, inFlight: 4 },
    limit: 1.1,
  },
];

/** Peak memory of one payload of 1 GiB, streamed; at most so many MiB. */
const STREAM: RemoteJob = {
  op: "stream",
  count: 1,
  size: 1024 * MIB,
  inFlight: 1,
};
const MEMORY_LIMIT = 150;

/** Where both write. */
export interface Servers {
  /** Of the bucket. */
  endpoint: string;
  /** Of the database. */
  db: string;
}

async function run(
  servers: Servers,
  client: "thin" | "ours",
  job: RemoteJob,
): Promise<RemoteSample> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      "--no-prompt",
      "--allow-all",
      ...flagsOfThis(),
      fileURLToPath(new URL("remote_job.ts", import.meta.url)),
      client,
      JSON.stringify(job),
      JSON.stringify(servers),
    ],
    env: {
      AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
      AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
      AWS_REGION: "us-east-1",
      AWS_ENDPOINT_URL_S3: servers.endpoint,
    },
    stdout: "piped",
    stderr: "inherit",
  });
  const { success, stdout } = await child.output();
  if (!success) throw new Error(`${client} failed at ${job.op}`);
  return JSON.parse(new TextDecoder().decode(stdout));
}

/** How this process resolves the project's imports. */
function flagsOfThis(): string[] {
  if (Deno.env.get("POH_OFFLINE") !== "1") return [];
  const map = new URL("../offline/import_map.json", import.meta.url);
  return [`--import-map=${fileURLToPath(map)}`, "--no-lock"];
}

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2
    ? sorted[middle]!
    : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

async function measure(
  servers: Servers,
  rounds: number,
  only: string[],
): Promise<void> {
  console.log(
    "| what | thin | poh-storage | ratio of the medians | at most |\n| --- | --- | --- | --- | --- |",
  );
  for (const { title, job, limit } of WORKLOADS) {
    if (only.length > 0 && !only.some((part) => title.includes(part))) continue;
    const seconds = { thin: [] as number[], ours: [] as number[] };
    for (let round = 0; round < rounds; round++) {
      for (const client of ["thin", "ours"] as const) {
        seconds[client].push((await run(servers, client, job)).seconds);
      }
    }
    const rate = (all: number[]) => {
      const perSecond = job.count / median(all);
      return job.size < MIB
        ? `${Math.round(perSecond)} tx/s`
        : `${(perSecond * job.size / MIB).toFixed(0)} MiB/s`;
    };
    const ratio = median(seconds.ours) / median(seconds.thin);
    console.log(
      `| ${title} | ${rate(seconds.thin)} | ${rate(seconds.ours)} | ${
        ratio.toFixed(2)
      } | ${limit} |`,
    );
  }
  const { seconds, peak, peakOfSave } = await run(servers, "ours", STREAM);
  console.log(
    `\nA payload of 1 GiB as a stream: ${seconds.toFixed(1)} s; peak memory ${
      (peakOfSave! / MIB).toFixed(0)
    } MiB once it is saved, ${
      (peak / MIB).toFixed(0)
    } MiB once it is loaded as well (at most ${MEMORY_LIMIT})`,
  );
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    options: { rounds: { type: "string" } },
    allowPositionals: true,
  });
  const missing = await noCeph() ?? NO_POSTGRES;
  if (missing !== null) {
    console.error(`It takes Ceph and PostgreSQL: ${missing}`);
    Deno.exit(1);
  }
  const dir = await Deno.makeTempDir({ prefix: "poh-bench-ceph-" });
  await using ceph = await Ceph.start(`${dir}/ceph`);
  await using postgres = await startPostgres();
  const servers = { endpoint: ceph.endpoint, db: postgres.url };
  await measure(servers, Number(values.rounds ?? 5), positionals);
}
