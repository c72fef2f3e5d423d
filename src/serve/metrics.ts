/**
 * Figures of the service for Prometheus.
 *
 * @module
 */

import type { TxInfo } from "../types.ts";
import { Counter, Gauge, Histogram, Registry } from "./hono.ts";
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
  /** What recovery found at the start, by kind. */
  findings: Readonly<Record<string, number>>;
}

/** The figures of one service. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #requests = new Counter({
    name: "poh_http_requests_total",
    help: "Requests answered.",
    labelNames: ["method", "route", "status"] as const,
    registers: [this.#registry],
  });
  readonly #seconds = new Histogram({
    name: "poh_http_request_duration_seconds",
    help: "Time until the response's headers were ready.",
    labelNames: ["method", "route"] as const,
    buckets: [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10],
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
  readonly #underWay = this.#gauge("poh_requests", "Requests under way.");
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
    help: "What recovery found at the start, by kind.",
    labelNames: ["kind"] as const,
    registers: [this.#registry],
  });

  /** Counts a request. */
  answered(
    method: string,
    route: string,
    status: number,
    seconds: number,
  ): void {
    // A client may invent methods; each would be a series of its own.
    const known = METHODS.has(method) ? method : "other";
    this.#requests.inc({ method: known, route, status });
    this.#seconds.observe({ method: known, route }, seconds);
  }

  /** Counts a saved transaction. */
  saved({ size }: TxInfo): void {
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
    return await this.#registry.metrics();
  }

  /** The media type of {@linkcode text}. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  #counter(name: string, help: string): Counter {
    return new Counter({ name, help, registers: [this.#registry] });
  }

  #gauge(name: string, help: string): Gauge {
    return new Gauge({ name, help, registers: [this.#registry] });
  }
}

const METHODS = new Set(["GET", "HEAD", "POST", "DELETE", "OPTIONS"]);
