/**
 * Chromium, driven by Playwright. Named here and not in `deno.json`, whose
 * packages every task would fetch.
 *
 * @module
 */

// deno-lint-ignore no-import-prefix -- see above
import { type Browser, chromium } from "npm:playwright-core@1.65.1";

export type { Browser, Page } from "npm:playwright-core@1.65.1";

/** Starts the browser that is at `path`. */
export async function launch(path: string): Promise<Browser> {
  return await chromium.launch({
    executablePath: path,
    // Its own sandbox does not work for root.
    args: Deno.build.os !== "windows" && Deno.uid() === 0
      ? ["--no-sandbox"]
      : [],
  });
}
