/**
 * Makes the pictures that stand in this folder, of the service's page and of
 * the program on a terminal: `deno task screenshots`. Needs Chromium and
 * util-linux' `script`.
 *
 * @module
 */

import { join } from "@std/path";
import { type Browser, launch } from "../tests/children/browser.ts";
import { CHROMIUM } from "../tests/http/chromium.ts";
import { randomBytes, seededRandom, tempStore } from "../tests/helpers.ts";
import { startService } from "../tests/http/serve_helpers.ts";
import { NO_TERMINAL, onTerminal } from "../tests/cli/terminal.ts";
import type { Tx } from "../src/types.ts";

const DAYS = 12;
const HOLDERS = ["alice", "bob", "carol", "dave", "erin", "frank"];

/** Width of the terminal. */
const COLUMNS = 80;

/** So many take a verification long enough to tell its rate. */
const MANY_TXS = 150_000;

/** What the program writes before each frame of its bar. */
const ERASE = "\r\x1b[K";

/** Transactions of some days and holders, the same in every run. */
function sample(count = 600): Tx[] {
  const random = seededRandom(7);
  return Array.from({ length: count }, (_, i) => ({
    txId: `${i.toString(16).padStart(3, "0")}-${randomBytes(6, i).toHex()}`,
    holderId: HOLDERS[Math.floor(random() ** 2 * HOLDERS.length)]!,
    timestamp: 1_464_307_200 + Math.floor(random() ** 0.7 * DAYS * 86_400),
    payload: randomBytes(Math.floor(2 ** (4 + random() * 10)), i),
  }));
}

function pathOf(name: string): string {
  return join(import.meta.dirname!, `${name}.png`);
}

async function shootPage(browser: Browser): Promise<void> {
  await using served = await startService({ txs: sample() });
  while (served.service.summary === null) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  for (const colorScheme of ["light", "dark"] as const) {
    const page = await browser.newPage({
      colorScheme,
      viewport: { width: 960, height: 900 },
    });
    await page.goto(served.url);
    await page.screenshot({
      path: pathOf(`page-${colorScheme}`),
      fullPage: true,
    });
  }
  const page = await browser.newPage({ viewport: { width: 390, height: 760 } });
  await page.goto(`${served.url}?id=${sample()[0]!.txId}`);
  await page.screenshot({ path: pathOf("page-phone") });
}

async function shootTerminal(browser: Browser): Promise<void> {
  await using temp = await tempStore({ durability: "relaxed" });
  await temp.store.saveTxs(sample(MANY_TXS));
  await temp.close();
  const show = async (args: string[]) => {
    const { code, screen } = await onTerminal([...args, "--base", temp.base], {
      cwd: temp.base,
      columns: COLUMNS,
      env: { TZ: "UTC", NO_COLOR: "1" },
    });
    if (code !== 0) throw new Error(screen);
    return screen;
  };
  const list = ["list", "--limit=10"];
  await draw(browser, "list", list, await show(list));
  await draw(browser, "verify", ["verify"], halfWay(await show(["verify"])));
}

/** The terminal when the bar was about half: what stood above it, and the bar. */
function halfWay(screen: string): string {
  const frames = screen.split(ERASE);
  const share = (frame: string) => Number(/ (\d+)% \[/.exec(frame)?.[1] ?? 0);
  const at = frames.findIndex((frame) => share(frame) >= 55);
  if (at < 0) throw new Error(`There was no bar: ${JSON.stringify(screen)}`);
  const above = frames.slice(0, at).filter((frame) => frame.includes("\n"));
  return [...above, frames[at]].join("");
}

/** A terminal with what was typed and what it showed. */
async function draw(
  browser: Browser,
  name: string,
  args: string[],
  screen: string,
): Promise<void> {
  const page = await browser.newPage();
  await page.setContent(`<style>
    pre { background: #15181b; color: #e7e9ea; display: inline-block;
      font: 14px/1.4 monospace; margin: 0; padding: 12px; width: ${COLUMNS}ch; }
  </style><pre></pre>`);
  const terminal = page.locator("pre");
  const shown = screen.replaceAll("\r\n", "\n");
  await terminal.evaluate((pre, text) => {
    (pre as { textContent: string }).textContent = text;
  }, `$ poh-storage ${args.join(" ")}\n${shown}`);
  await terminal.screenshot({ path: pathOf(name) });
}

if (!CHROMIUM) throw new Error("There is no Chromium on this machine");
if (NO_TERMINAL) throw new Error(`There is no terminal: ${NO_TERMINAL}`);
const browser = await launch(CHROMIUM);
await shootPage(browser);
await shootTerminal(browser);
await browser.close();
