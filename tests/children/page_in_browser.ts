/**
 * Looks at the service's page in a browser and prints what there is to see, as
 * JSON: `page_in_browser.ts CHROMIUM URL TOKEN PATH...`.
 *
 * @module
 */

// deno-lint-ignore no-import-prefix -- no task but the tests fetches it
import axe from "npm:axe-core@4.14.1";
import { type Browser, launch, type Page } from "./browser.ts";

const [path, url, token, ...paths] = Deno.args as [string, string, string];

/** What a page did that it should not. */
const complaints: string[] = [];

async function open(
  browser: Browser,
  colorScheme: "light" | "dark",
  width: number,
): Promise<Page> {
  const context = await browser.newContext({
    colorScheme,
    viewport: { width, height: 800 },
    httpCredentials: { username: "anyone", password: token },
    javaScriptEnabled: true,
  });
  const page = await context.newPage();
  page.on("console", (message) => complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("dialog", (dialog) => complaints.push(dialog.message()));
  page.on("request", (request) => {
    if (!request.url().startsWith(url)) complaints.push(request.url());
  });
  return page;
}

/** Accessibility, and whether the page is wider than the window. */
async function examine(page: Page, path: string): Promise<void> {
  const answer = await page.goto(url + path, { waitUntil: "load" });
  if (answer?.headers()["content-type"] !== "text/html; charset=utf-8") {
    complaints.push(`${path}: no page, but ${answer?.status()}`);
  }
  const { violations } = await page.evaluate(
    `${axe.source};axe.run()`,
  ) as axe.AxeResults;
  for (const { id, nodes } of violations) {
    complaints.push(`${path}: axe ${id}: ${nodes[0]!.html}`);
  }
  const over = await page.evaluate(
    "document.documentElement.scrollWidth - innerWidth",
  ) as number;
  if (over > 0) complaints.push(`${path}: ${over} px too wide`);
}

/** From the top of the page to a transaction with the keyboard alone. */
async function byKeyboard(page: Page): Promise<string[]> {
  await page.goto(url);
  const stops: string[] = [];
  for (let i = 0; i < 4; i++) {
    await page.keyboard.press("Tab");
    stops.push(
      await page.evaluate("document.activeElement.tagName") as string,
    );
  }
  await page.getByRole("searchbox").focus();
  await page.keyboard.type("tx-");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/?q=tx-*");
  const link = page.getByRole("link", { name: "tx-sound" });
  await link.focus();
  const outline = await link.evaluate(
    // deno-lint-ignore no-explicit-any -- runs in the page
    (element) => (globalThis as any).getComputedStyle(element).outlineStyle,
  );
  await page.keyboard.press("Enter");
  await page.waitForURL("**/?id=tx-sound");
  const verdict = await page.locator("dt", { hasText: "Verification" })
    .locator("xpath=following-sibling::dd").innerText();
  return [...stops, outline, verdict];
}

/** Whether a script that got into the page would run. */
async function runsInline(page: Page): Promise<boolean> {
  await page.goto(url);
  const before = complaints.length;
  const ran = await page.evaluate(`(() => {
    const script = document.createElement("script");
    script.textContent = "window.ran = true";
    document.body.append(script);
    return window.ran === true;
  })()`) as boolean;
  await page.waitForTimeout(50);
  complaints.length = before; // the browser says that it has refused it
  return ran;
}

const browser = await launch(path);
try {
  for (const scheme of ["light", "dark"] as const) {
    for (const width of [320, 1280]) {
      const page = await open(browser, scheme, width);
      for (const path of paths) await examine(page, path);
      await page.context().close();
    }
  }
  const page = await open(browser, "light", 800);
  const keyboard = await byKeyboard(page);
  const ran = await runsInline(page);
  const ground = await page.evaluate(
    "getComputedStyle(document.body).backgroundColor",
  );
  await page.emulateMedia({ colorScheme: "dark" });
  const darkGround = await page.evaluate(
    "getComputedStyle(document.body).backgroundColor",
  );
  console.log(JSON.stringify({
    complaints,
    keyboard,
    ran,
    hasDark: ground !== darkGround,
  }));
} finally {
  await browser.close();
}
