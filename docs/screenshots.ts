/**
 * Makes the pictures of the service's page that stand in this folder:
 * `deno task screenshots`.
 *
 * @module
 */

import { join } from "@std/path";
import { launch } from "../tests/children/browser.ts";
import { CHROMIUM } from "../tests/chromium.ts";
import { randomBytes, seededRandom } from "../tests/helpers.ts";
import { startService } from "../tests/serve_helpers.ts";
import type { Tx } from "../src/types.ts";

const DAYS = 12;
const HOLDERS = ["alice", "bob", "carol", "dave", "erin", "frank"];

/** Transactions of some days and holders, the same in every run. */
function sample(): Tx[] {
  const random = seededRandom(7);
  return Array.from({ length: 600 }, (_, i) => ({
    txId: `${i.toString(16).padStart(3, "0")}-${randomBytes(6, i).toHex()}`,
    holderId: HOLDERS[Math.floor(random() ** 2 * HOLDERS.length)]!,
    timestamp: 1_464_307_200 + Math.floor(random() ** 0.7 * DAYS * 86_400),
    payload: randomBytes(Math.floor(random() * 4_000), i),
  }));
}

if (!CHROMIUM) throw new Error("There is no Chromium on this machine");
await using served = await startService({ txs: sample() });
while (served.service.summary === null) {
  await new Promise((resolve) => setTimeout(resolve, 10));
}
const browser = await launch(CHROMIUM);
for (const colorScheme of ["light", "dark"] as const) {
  const page = await browser.newPage({
    colorScheme,
    viewport: { width: 960, height: 900 },
  });
  await page.goto(served.url);
  await page.screenshot({
    path: join(import.meta.dirname!, `page-${colorScheme}.png`),
  });
}
const page = await browser.newPage({ viewport: { width: 390, height: 760 } });
await page.goto(`${served.url}?id=${sample()[0]!.txId}`);
await page.screenshot({ path: join(import.meta.dirname!, "page-phone.png") });
await browser.close();
