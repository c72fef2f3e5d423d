/**
 * Where Chromium is on this machine, if it is.
 *
 * @module
 */

const PATHS: readonly string[] = {
  darwin: [
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  ],
  windows: [
    "C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe",
    "C:\\Program Files (x86)\\Microsoft\\Edge\\Application\\msedge.exe",
  ],
}[Deno.build.os as string] ?? [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
];

/** The first Chromium there is; null when there is none. */
export const CHROMIUM: string | null = PATHS.find(isThere) ?? null;

/** What it takes to drive it from a Deno process. */
export function browserPermissions(chromium: string): string[] {
  return [
    "--allow-read",
    "--ignore-read=/proc/sys", // Playwright looks for WSL there
    "--allow-write",
    "--allow-env",
    "--allow-sys",
    `--allow-run=${chromium}`,
    "--allow-net=127.0.0.1",
  ];
}

function isThere(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
