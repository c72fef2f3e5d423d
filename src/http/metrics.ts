/**
 * Figures of the service for Prometheus.
 *
 * @module
 */

import type { SavedTx } from "../model/if_exists.ts";
import {
  type Meter,
  MeterProvider,
  PrometheusExporter,
  PrometheusSerializer,
} from "./packages.ts";
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
  readonly #exporter = new PrometheusExporter({ preventServerStart: true });
  // Without what would say of each figure that this program made it.
  readonly #serializer = new PrometheusSerializer(
    "",
    false,
    void 0,
    true,
    true,
  );
  readonly #meter: Meter = new MeterProvider({ readers: [this.#exporter] })
    .getMeter("poh-storage");
  readonly #requests = this.#meter.createCounter("poh_http_requests_total", {
    description: "Requests answered.",
  });
  readonly #seconds = this.#meter.createHistogram(
    "poh_http_request_duration_seconds",
    {
      description: "Time until the response's headers were ready.",
      advice: {
        explicitBucketBoundaries: [
          0.001,
          0.003,
          0.01,
          0.03,
          0.1,
          0.3,
          1,
          3,
          10,
        ],
      },
    },
  );
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
  readonly #findings = this.#gauge(
    "poh_recovery_findings",
    "What recovery found at the start, by kind.",
  );

  /** The media type of {@linkcode text}. */
  readonly contentType = "text/plain; version=0.0.4; charset=utf-8";

  /** Counts a request. */
  answered(
    method: string,
    route: string,
    status: number,
    seconds: number,
  ): void {
    // A client may invent methods; each would be a series of its own.
    const known = METHODS.has(method) ? method : "other";
    this.#requests.add(1, { method: known, route, status: String(status) });
    this.#seconds.record(seconds, { method: known, route });
  }

  /** Counts a transaction that was saved, and not one that was there already. */
  saved({ saved, size }: SavedTx): void {
    if (!saved) return;
    this.#savedTxs.add(1);
    this.#savedBytes.add(size);
  }

  /** Counts a deleted one. */
  deleted(): void {
    this.#deletedTxs.add(1);
  }

  /** Counts a damaged one. */
  damaged(): void {
    this.#damage.add(1);
  }

  /** All figures in the text format. */
  async text(gauges: Gauges): Promise<string> {
    this.#ready.record(gauges.ready ? 1 : 0);
    this.#bodyBytes.record(gauges.bodyBytes);
    this.#underWay.record(gauges.requests);
    this.#memory.record(Deno.memoryUsage().rss);
    if (gauges.summary) {
      this.#txs.record(gauges.summary.txs);
      this.#bytes.record(gauges.summary.bytes);
    }
    for (const [kind, count] of Object.entries(gauges.findings)) {
      this.#findings.record(count, { kind });
    }
    const { resourceMetrics } = await this.#exporter.collect();
    return this.#serializer.serialize(resourceMetrics);
  }

  #counter(
    name: string,
    description: string,
  ): ReturnType<Meter["createCounter"]> {
    const counter = this.#meter.createCounter(name, { description });
    counter.add(0); // shown from the start
    return counter;
  }

  #gauge(name: string, description: string): ReturnType<Meter["createGauge"]> {
    return this.#meter.createGauge(name, { description });
  }
}

const METHODS = new Set(["GET", "HEAD", "POST", "DELETE", "OPTIONS"]);
