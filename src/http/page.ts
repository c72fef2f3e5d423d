/**
 * The page for people: what the store holds, a search, one transaction.
 *
 * Plain HTML from the server; it needs no script and nothing from elsewhere.
 *
 * @module
 */

import { jsonFloat } from "../format/tx_json.ts";
import { IntegrityError, PayloadUnreadableError } from "../errors.ts";
import { findingText } from "../format/finding_text.ts";
import { printable } from "../text/printable.ts";
import { byteText } from "../format/size_text.ts";
import { UsageError } from "../format/usage_error.ts";
import type { StoreReport } from "../model/report.ts";
import type { StorageManager } from "../storage_manager.ts";
import { validateTxId } from "../tx.ts";
import type { TxFilter, TxInfo } from "../types.ts";
import { html } from "./packages.ts";
import { drain } from "./payload.ts";
import { problemOf } from "./problem.ts";
import type { Service } from "./service.ts";
import type { Summary } from "./summary.ts";

/** What a search shows at a time, and findings that are told in words. */
const ROWS = 50;
const FINDINGS = 20;

/** A payload up to this size is verified whenever it is looked at, in bytes. */
const VERIFY_UNASKED = 64 * 1024 * 1024;

/** Longest id that is shown in a table. */
const LONG = 120;

/** Nothing but its own style sheet and its own form. */
const HEADERS = {
  "content-type": "text/html; charset=utf-8",
  "cache-control": "no-store",
  "content-security-policy":
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

/** The parameters of the page, and what they are for. */
export const PAGE_PARAMETERS: Readonly<Record<string, string>> = {
  q: "What to search for",
  by: "id: ids that begin with it; holder: that holder's",
  after: "Only ids after this one",
  id: "The transaction to show",
  verify: "Whether to verify it however large it is",
};

type Html = ReturnType<typeof html>;

/** The page that a query asks for: `id`, or `q` and `by`, or neither. */
export async function pageResponse(
  service: Service,
  params: URLSearchParams,
): Promise<Response> {
  const { status, title, body } = await content(service, params);
  const page = await layout(service, params, title, body);
  return new Response(String(page), { status, headers: HEADERS });
}

interface Content {
  status: number;
  title: string;
  body: Html;
}

async function content(
  service: Service,
  params: URLSearchParams,
): Promise<Content> {
  const id = params.get("id"), words = params.get("q");
  try {
    requireScope(params.get("by"));
    if (id !== null) return await txContent(service, id, params.has("verify"));
    if (words) return await searchContent(service.store, words, params);
    return {
      status: 200,
      title: "Overview",
      body: html`${damagePart(service)}${storePart(service)}${
        recoveryPart(service)
      }`,
    };
  } catch (error) {
    const problem = problemOf(error);
    if (problem.status >= 500 && problem !== error) {
      service.failed("GET /", error);
    }
    return {
      status: problem.status,
      title: "Not available",
      body: html`
        <section>
          <h2>Not available</h2>
          <p class="bad">${printable(problem.message)}</p>
        </section>
      `,
    };
  }
}

function requireScope(by: string | null): void {
  if (by === null || by === "id" || by === "holder") return;
  throw new UsageError(`by must be id or holder, got ${JSON.stringify(by)}`);
}

function layout(
  service: Service,
  params: URLSearchParams,
  title: string,
  body: Html,
): Html {
  const byHolder = params.get("by") === "holder";
  return html`
    <!DOCTYPE html>
    <html lang="en">
      <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>${title} – poh-storage</title>
        <link rel="stylesheet" href="/style.css">
      </head>
      <body>
        <header>
          <h1><a href="/">poh-storage</a></h1>
          <p role="status">${stateText(service)}</p>
        </header>
        <main>
    <section aria-labelledby="search">
    <h2 id="search">Search</h2>
    <form action="/" method="get" role="search">
    <label class="wide">Id or prefix
    <input type="search" name="q" value="${params.get("q") ??
      ""}" maxlength="1024" autocomplete="off" spellcheck="false" required></label>
    <label>In
    <select name="by">
    <option value="id">transaction ids</option>
    <option value="holder"${byHolder
      ? html`
        selected
      `
      : ""}>holders (exact)</option>
    </select></label>
    <button>Search</button>
    </form>
    </section>
    ${body}
        </main>
        <footer>
          <p>For programs: <a href="/openapi.json">API</a>, <a href="/metrics">metrics</a></p>
        </footer>
      </body>
    </html>
  `;
}

function stateText(service: Service): Html {
  const { recovery } = service;
  if (service.stopping) return html`<span class="bad">Stopping</span>`;
  if (service.ready) return html`<span class="good">Ready</span>`;
  const progress = recovery.kind === "pending" ? recovery.progress : null;
  return html`<span class="bad">Starting</span>${
    progress
      ? `: ${progress.step}, ${amount(progress.done)}${
        progress.total === null ? "" : ` of ${amount(progress.total)}`
      }`
      : ""
  }`;
}

// --- overview ---------------------------------------------------------------

function storePart(service: Service): Html {
  const { summary } = service;
  if (!summary) {
    return html`
      <section aria-labelledby="store">
        <h2 id="store">The store</h2>
        <p>Being looked through; <a href="/">look again</a>.</p>
      </section>
    `;
  }
  return html`
    <section aria-labelledby="store">
      <h2 id="store">The store</h2>
      <dl>
    ${fact("Transactions", amount(summary.txs))}
    ${fact("Payload bytes", sizeText(summary.bytes))}
    ${fact("Holders", amount(summary.holders))}
    ${fact("Counted", html`${timeTag(summary.at)}, in ${summary.ms} ms`)}
    ${summary.unknownSizes > 0
      ? fact("Without a known size", amount(summary.unknownSizes))
      : ""}
      </dl>
    </section>
    ${holdersPart(summary)}
    ${daysPart(summary)}
    ${sizesPart(summary)}
  `;
}

function holdersPart({ top, txs }: Summary): Html | string {
  if (top.length === 0) return "";
  return html`<section aria-labelledby="holders"><h2 id="holders">By holder</h2>
${
    table(
      "The holders with the most transactions",
      ["Holder", "Transactions", "Bytes", "Share"],
      top.map((tally) => [
        searchLink(tally.holderId),
        amount(tally.txs),
        byteText(tally.bytes),
        meter(tally.txs, txs, "of all transactions"),
      ]),
    )
  }</section>`;
}

function daysPart({ days }: Summary): Html | string {
  if (days.length === 0) return "";
  const most = Math.max(...days.map(({ txs }) => txs));
  return html`<section aria-labelledby="days"><h2 id="days">By day</h2>
${
    table(
      "The newest days (UTC) that have any",
      ["Day", "Transactions", "Bytes", "Share of the busiest"],
      days.map((tally) => [
        dayText(tally.day),
        amount(tally.txs),
        byteText(tally.bytes),
        meter(tally.txs, most, "of the busiest day"),
      ]),
    )
  }</section>`;
}

function sizesPart({ sizes, txs, unknownSizes }: Summary): Html | string {
  if (sizes.length === 0) return "";
  return html`<section aria-labelledby="sizes"><h2 id="sizes">By size</h2>
${
    table(
      "Payloads by size; each row has those larger than the row above",
      ["Size", "Transactions", "Bytes", "Share"],
      sizes.map((tally) => [
        `up to ${byteText(tally.upTo)}`,
        amount(tally.txs),
        byteText(tally.bytes),
        meter(tally.txs, txs - unknownSizes, "of those of known size"),
      ]),
    )
  }</section>`;
}

function damagePart({ damaged }: Service): Html | string {
  if (damaged.size === 0) return "";
  return html`
    <section aria-labelledby="damage">
      <h2 id="damage">Damage found by reading</h2>
      <p>The last transactions whose payload proved to be damaged; <code>poh-storage recover</code> takes them out of service.</p>
      <ul>${[...damaged].reverse().map((txId) =>
        html`<li><a href="${pageUrl({ id: txId })}"><bdi>${
          short(txId)
        }</bdi></a></li>`
      )}</ul>
    </section>
  `;
}

function recoveryPart({ recovery }: Service): Html {
  return html`<section aria-labelledby="recovery"><h2 id="recovery">Last recovery</h2>
${
    recovery.kind === "done"
      ? reportPart(recovery.at, recovery.report)
      : html`<p>${
        recovery.kind === "skipped"
          ? `Skipped: ${printable(recovery.reason)}`
          : "Under way"
      }</p>`
  }</section>`;
}

function reportPart(at: Date, report: StoreReport): Html {
  const found = Object.values(report.counts).reduce((a, b) => a + b, 0);
  const { findings } = report;
  return html`<dl>
${fact("Ended", timeTag(at))}
${
    fact(
      "Sound",
      `${amount(report.sound)} transaction${report.sound === 1 ? "" : "s"}`,
    )
  }
${fact("Read", sizeText(report.bytes))}
${
    fact(
      "Damage",
      report.damaged
        ? html`<span class="bad">Found</span>, ${
          amount(report.repaired)
        } finding${report.repaired === 1 ? "" : "s"} acted on`
        : html`<span class="good">None</span>`,
    )
  }
</dl>
${
    found === 0
      ? ""
      : html`<h3>Findings</h3><ul>${
        findings.slice(0, FINDINGS).map((finding) =>
          html`<li>${findingText(finding)}</li>`
        )
      }</ul>${
        found > FINDINGS
          ? html`<p>and ${amount(found - FINDINGS)} more</p>`
          : ""
      }`
  }`;
}

// --- search -----------------------------------------------------------------

async function searchContent(
  store: StorageManager,
  words: string,
  params: URLSearchParams,
): Promise<Content> {
  const after = params.get("after");
  const filter: TxFilter = {
    ...(params.get("by") === "holder"
      ? { holderId: words }
      : { idPrefix: words }),
    ...(after !== null && { after }),
  };
  const found = await Array.fromAsync(
    store.iterateTxs({ ...filter, limit: ROWS + 1 }),
  );
  const rows = found.slice(0, ROWS);
  return {
    status: 200,
    title: "Search",
    body: html`<section aria-labelledby="found"><h2 id="found">Found</h2>
${
      rows.length === 0 ? html`<p>No transactions found</p>` : table(
        "Transactions in the order of their ids",
        ["Id", "Holder", "Time", "Bytes"],
        rows.map((info) => [
          html`<a href="${pageUrl({ id: info.txId })}">${short(info.txId)}</a>`,
          searchLink(info.holderId),
          momentText(info.timestamp),
          info.size < 0 ? "unknown" : byteText(info.size),
        ]),
      )
    }
${
      found.length > ROWS
        ? html`<p><a href="${
          pageUrl({
            ...Object.fromEntries(params),
            after: rows.at(-1)!.txId,
          })
        }">Next ${ROWS}</a></p>`
        : ""
    }</section>`,
  };
}

// --- one transaction --------------------------------------------------------

async function txContent(
  service: Service,
  txId: string,
  asked: boolean,
): Promise<Content> {
  validateTxId(txId);
  const info = await service.store.infoTx(txId);
  if (!info) {
    return {
      status: 404,
      title: "No such transaction",
      body: html`
        <section>
          <h2>No such transaction</h2>
          <p><bdi>${short(txId)}</bdi></p>
        </section>
      `,
    };
  }
  const path = `/txs/${encodeURIComponent(txId)}`;
  return {
    status: 200,
    title: short(txId),
    body: html`
      <section aria-labelledby="tx">
        <h2 id="tx">Transaction</h2>
        <dl>
      ${fact("Id", html`<bdi>${printable(txId)}</bdi>`)}
      ${fact("Holder", searchLink(info.holderId))}
      ${fact(
        "Time",
        html`${momentText(info.timestamp)} <span class="quiet">(${
          jsonFloat(info.timestamp)
        })</span>`,
      )}
      ${fact("Size", info.size < 0 ? "unknown" : sizeText(info.size))}
      ${fact("SHA-256", html`<code>${info.storageHash}</code>`)}
      ${fact("Verification", await verification(service, info, asked))}
        </dl>
        <p><a href="${path}">Download the payload</a></p>
      </section>
    `,
  };
}

/** Whether the payload has its digest, found out here and now. */
async function verification(
  service: Service,
  { txId, size }: TxInfo,
  asked: boolean,
): Promise<Html> {
  if (size > VERIFY_UNASKED && !asked) {
    return html`Not verified yet; <a href="${
      pageUrl({ id: txId, verify: "1" })
    }">verify it now</a>`;
  }
  const release = await service.verifications.take(1, service.limits.patience);
  try {
    const found = await service.store.loadTxStream(txId);
    if (!found) return html`Just deleted`;
    await drain(found.payload);
    return html`<span class="good">Sound</span>: the payload has this SHA-256`;
  } catch (error) {
    if (error instanceof IntegrityError) {
      service.failed("GET /", error);
      return html`<span class="bad">Damaged</span>: ${
        error.found === null
          ? "the payload is missing"
          : html`the payload has SHA-256 <code>${error.found}</code>`
      }`;
    }
    if (!(error instanceof PayloadUnreadableError)) throw error;
    service.failed("GET /", error);
    return html`<span class="bad">Not verified</span>: the payload cannot be read`;
  } finally {
    release();
  }
}

// --- pieces -----------------------------------------------------------------

type Cell = Html | string;

function fact(name: string, value: Cell): Html {
  return html`
    <div>
      <dt>${name}</dt>
      <dd>${value}</dd>
    </div>
  `;
}

/** A table whose first column names its rows and whose figures stand right. */
function table(caption: string, head: string[], rows: Cell[][]): Html {
  return html`
    <div class="scroll" tabindex="0" role="region" aria-label="${caption}">
      <table>
        <caption>${caption}</caption>
        <thead>
          <tr>${head.map((name) =>
            html`
              <th scope="col" ${numberClass(name)}>${name}</th>
            `
          )}</tr>
        </thead>
        <tbody>${rows.map(([first, ...rest]) =>
          html`<tr><th scope="row">${first}</th>${
            rest.map((cell, i) =>
              html`<td${numberClass(head[i + 1]!)}>${cell}</td>`
            )
          }</tr>`
        )}</tbody>
      </table>
    </div>
  `;
}

function numberClass(column: string): Html | string {
  return ["Transactions", "Bytes"].includes(column)
    ? html`
      class="number"
    `
    : "";
}

function meter(part: number, whole: number, of: string): Html {
  const share = `${Math.round(100 * part / whole)}% ${of}`;
  return html`
    <meter min="0" max="${whole}" value="${part}" aria-label="${share}"
      title="${share}">${share}</meter>
  `;
}

function searchLink(holderId: string): Html {
  if (holderId === "") return html`<span class="quiet">unknown</span>`;
  return html`<a href="${pageUrl({ q: holderId, by: "holder" })}"><bdi>${
    short(holderId)
  }</bdi></a>`;
}

function pageUrl(params: Record<string, string>): string {
  return `/?${new URLSearchParams(params)}`;
}

function timeTag(at: Date): Html {
  const iso = at.toISOString();
  return html`<time datetime="${iso}">${
    iso.slice(0, 19).replace("T", " ")
  } UTC</time>`;
}

/** A time of a transaction, which may be no date at all. */
function momentText(seconds: number): Html | string {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? jsonFloat(seconds) : timeTag(date);
}

function dayText(day: number): string {
  const date = new Date(day * 86_400_000);
  return Number.isNaN(date.getTime())
    ? `day ${day}`
    : date.toISOString().replace(/T.*$/, "");
}

function short(text: string): string {
  const shown = printable(text);
  return shown.length > LONG ? `${shown.slice(0, LONG)}…` : shown;
}

function amount(count: number): string {
  return count.toLocaleString("en");
}

function sizeText(bytes: number): string {
  return bytes < 1024
    ? byteText(bytes)
    : `${byteText(bytes)} (${amount(bytes)} bytes)`;
}
