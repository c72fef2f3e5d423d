/**
 * Figures of the service for Prometheus.
 *
 * @module
 */

import { cpuUsage } from "node:process";
import type { SavedTx } from "../model/if_exists.ts";
import { Counter, Gauge, Registry } from "./packages.ts";
import type { Summary } from "./summary.ts";

/** What is looked up when the figures are asked for. */
export interface Gauges {
  /** Whether transactions are served. */
  ready: boolean;
  /** Bytes of request bodies in memory. */
  bodyBytes: number;
  /** Requests under way. */
  requests: number;
  /** What the store held when it was last looked through. */
  summary: Summary | null;
  /** What the last recovery found, by kind. */
  findings: Readonly<Record<string, number>>;
  /** What the last whole verify found, by kind. */
  verifyFindings: Readonly<Record<string, number>>;
  /** When recovery, verify and backup were last done; null: not since the start. */
  last: Readonly<Record<"recovery" | "verify" | "backup", Date | null>>;
  /** Cases in quarantine; null where that is not known. */
  quarantined: number | null;
  /** Bytes of the file system that the store is on; null where that is not known. */
  disk: { free: number; size: number } | null;
  /** What serves: versions and drivers. */
  build: Readonly<Record<"version" | "deno" | "driver" | "library", string>>;
}

/** Upper bounds of the times of requests, in seconds. */
const SECONDS = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10];

/** What is counted of the requests of one method, route and status. */
interface Answers {
  labels: { method: string; route: string; status: string };
  /** How many took at most so many of {@linkcode SECONDS}, and how many longer. */
  counts: number[];
  /** What they took together. */
  seconds: number;
}

/** The figures of one service. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #rejections = new Counter({
    name: "poh_http_rejections_total",
    help: "Requests answered with a problem, by its code.",
    labelNames: ["code"],
    registers: [this.#registry],
  });
  readonly #savedTxs = this.#counter(
    "poh_saved_txs_total",
    "Transactions saved.",
  );
  readonly #savedBytes = this.#counter(
    "poh_saved_bytes_total",
    "Payload bytes saved.",
  );
  readonly #deletedTxs = this.#counter(
    "poh_deleted_txs_total",
    "Transactions deleted.",
  );
  readonly #damage = this.#counter(
    "poh_damage_found_total",
    "Reads that found a payload damaged or gone.",
  );
  readonly #ready = this.#gauge("poh_ready", "1 when transactions are served.");
  readonly #bodyBytes = this.#gauge(
    "poh_body_bytes",
    "Bytes of request bodies in memory.",
  );
  readonly #underWay = this.#gauge(
    "poh_http_requests_in_flight",
    "Requests under way.",
  );
  readonly #memory = this.#gauge(
    "process_resident_memory_bytes",
    "Resident memory of the process.",
  );
  readonly #txs = this.#gauge(
    "poh_store_txs",
    "Transactions in the store when it was last looked through.",
  );
  readonly #bytes = this.#gauge(
    "poh_store_payload_bytes",
    "Payload bytes in the store when it was last looked through.",
  );
  readonly #findings = new Gauge({
    name: "poh_recovery_findings",
    help: "What the last recovery found, by kind.",
    labelNames: ["kind"],
    registers: [this.#registry],
  });
  readonly #verifyFindings = new Gauge({
    name: "poh_verify_findings",
    help: "What the last verify of everything found, by kind.",
    labelNames: ["kind"],
    registers: [this.#registry],
  });
  readonly #last = new Gauge({
    name: "poh_last_success_timestamp_seconds",
    help: "When an operation was last done; absent: not since the start.",
    labelNames: ["operation"],
    registers: [this.#registry],
  });
  readonly #build = new Gauge({
    name: "poh_build_info",
    help: "1, with what serves.",
    labelNames: ["version", "deno", "driver", "library"],
    registers: [this.#registry],
  });
  readonly #cpu = this.#counter(
    "process_cpu_seconds_total",
    "CPU time of the process.",
  );
  readonly #started = this.#gauge(
    "process_start_time_seconds",
    "When the process was started, UNIX seconds.",
  );
  /** Counted here: the library's counters cost more than a small answer. */
  readonly #answers = new Map<string, Answers>();

  /** The media type of {@linkcode text}. */
  readonly contentType = this.#registry.contentType;

  /** Counts a request. */
  answered(
    method: string,
    route: string,
    status: number,
    seconds: number,
  ): void {
    // A client may invent methods; each would be a series of its own.
    const known = METHODS.has(method) ? method : "other";
    const key = `${known} ${route} ${status}`;
    let answers = this.#answers.get(key);
    if (!answers) {
      answers = {
        labels: { method: known, route, status: String(status) },
        counts: Array(SECONDS.length + 1).fill(0),
        seconds: 0,
      };
      this.#answers.set(key, answers);
    }
    let bucket = 0;
    while (seconds > (SECONDS[bucket] ?? Infinity)) bucket++;
    answers.counts[bucket]!++;
    answers.seconds += seconds;
  }

  /** Counts a request that got a problem. */
  rejected(code: string): void {
    this.#rejections.inc({ code });
  }

  /** Counts a transaction that was saved, and not one that was there already. */
  saved({ saved, size }: SavedTx): void {
    if (!saved) return;
    this.#savedTxs.inc();
    this.#savedBytes.inc(size);
  }

  /** Counts a deleted one. */
  deleted(): void {
    this.#deletedTxs.inc();
  }

  /** Counts a damaged one. */
  damaged(): void {
    this.#damage.inc();
  }

  /** All figures in the text format. */
  async text(gauges: Gauges): Promise<string> {
    this.#ready.set(gauges.ready ? 1 : 0);
    this.#bodyBytes.set(gauges.bodyBytes);
    this.#underWay.set(gauges.requests);
    this.#memory.set(Deno.memoryUsage().rss);
    if (gauges.summary) {
      this.#txs.set(gauges.summary.txs);
      this.#bytes.set(gauges.summary.bytes);
    }
    for (const [kind, count] of Object.entries(gauges.findings)) {
      this.#findings.set({ kind }, count);
    }
    for (const [kind, count] of Object.entries(gauges.verifyFindings)) {
      this.#verifyFindings.set({ kind }, count);
    }
    for (const [operation, at] of Object.entries(gauges.last)) {
      if (at) this.#last.set({ operation }, at.getTime() / 1000);
    }
    this.#optional(
      "poh_quarantine_cases",
      "Cases in quarantine.",
      gauges.quarantined,
    );
    this.#optional(
      "poh_disk_free_bytes",
      "Free bytes of the file system that has the store.",
      gauges.disk?.free ?? null,
    );
    this.#optional(
      "poh_disk_size_bytes",
      "Bytes of the file system that has the store.",
      gauges.disk?.size ?? null,
    );
    this.#build.reset();
    this.#build.set({ ...gauges.build }, 1);
    const { user, system } = cpuUsage();
    this.#cpu.reset();
    this.#cpu.inc((user + system) / 1e6);
    this.#started.set((Date.now() - performance.now()) / 1000);
    return `${this.#answersText()}\n${await this.#registry.metrics()}`;
  }

  #answersText(): string {
    const lines = [
      "# HELP poh_http_requests_total Requests answered.",
      "# TYPE poh_http_requests_total counter",
    ];
    const durations = [
      "# HELP poh_http_request_duration_seconds Time until the response's headers were ready.",
      "# TYPE poh_http_request_duration_seconds histogram",
    ];
    for (const { labels, counts, seconds } of this.#answers.values()) {
      const { method, route, status } = labels;
      const text = `method="${method}",route="${route}",status="${status}"`;
      let sum = 0;
      for (const [bucket, count] of counts.entries()) {
        sum += count;
        durations.push(
          `poh_http_request_duration_seconds_bucket{${text},le="${
            SECONDS[bucket] ?? "+Inf"
          }"} ${sum}`,
        );
      }
      durations.push(
        `poh_http_request_duration_seconds_sum{${text}} ${seconds}`,
        `poh_http_request_duration_seconds_count{${text}} ${sum}`,
      );
      lines.push(`poh_http_requests_total{${text}} ${sum}`);
    }
    return [...lines, ...durations, ""].join("\n");
  }

  /** A gauge that is absent while its value is not known. */
  #optional(name: string, help: string, value: number | null): void {
    if (value === null) return this.#registry.removeSingleMetric(name);
    const there = this.#registry.getSingleMetric(name) as Gauge | undefined;
    (there ?? this.#gauge(name, help)).set(value);
  }

  #counter(name: string, help: string): Counter {
    return new Counter({ name, help, registers: [this.#registry] });
  }

  #gauge(name: string, help: string): Gauge {
    return new Gauge({ name, help, registers: [this.#registry] });
  }
}

const METHODS = new Set(["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"]);
