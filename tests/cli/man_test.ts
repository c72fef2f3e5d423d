import { assertEquals, assertStringIncludes } from "@std/assert";
import { EXIT_CODES } from "../../src/cli/exit_codes.ts";
import { variables } from "../../src/cli/help.ts";
import { manPage } from "../../src/cli/man.ts";
import { commands, optionsOf } from "../../src/cli/table.ts";
import type { CommandName } from "../../src/cli/table.ts";
import { call } from "../cli_helpers.ts";
import { tempDir, text } from "../helpers.ts";

Deno.test("man prints the page of all commands, options, variables and exit codes", async () => {
  const { code, stdout } = await call(["man"]);
  assertEquals({ code, stdout }, { code: 0, stdout: manPage() });
  const page = plain(stdout);
  for (const name of Object.keys(commands) as CommandName[]) {
    assertStringIncludes(page, `.SS ${name}\n${commands[name].summary}.\n`);
    for (const [option, { help }] of Object.entries(optionsOf(name))) {
      assertStringIncludes(page, `--${option}`);
      assertStringIncludes(page, help);
    }
  }
  for (const [name] of variables()) assertStringIncludes(page, name);
  for (const help of Object.values(EXIT_CODES)) {
    assertStringIncludes(page, help);
  }
  assertEquals(JSON.parse((await call(["man", "--json"])).stdout), {
    page: stdout,
  });
});

Deno.test("no line of the page is taken for a request by mistake", () => {
  const requests = manPage().split("\n").filter((line) => /^[.']/.test(line));
  assertEquals(
    [...new Set(requests.map((line) => line.split(" ")[0]))].sort(),
    [".B", ".I", ".PP", ".RE", ".RS", ".SH", ".SS", ".TH", ".TP", ".fi", ".nf"],
  );
});

for (
  const [program, args] of [
    ["man", ["--warnings", "-l"]],
    // A date would differ from build to build.
    ["mandoc", ["-T", "lint", "-W", "error"]],
  ] as const
) {
  const isThere = await starts(program);
  Deno.test({
    name: `${program} takes the page without a word${
      isThere ? "" : ` (skipped: there is no ${program})`
    }`,
    ignore: !isThere,
    async fn() {
      await using dir = await tempDir();
      const path = dir.join("poh-storage.1");
      await Deno.writeTextFile(path, manPage());
      const { code, stdout, stderr } = await new Deno.Command(program, {
        args: [...args, path],
        env: { MANWIDTH: "200", MANPAGER: "cat", LC_ALL: "C.UTF-8" },
      }).output();
      assertEquals([code, text(stderr)], [0, ""]);
      if (program === "man") assertStringIncludes(text(stdout), "recover");
      else assertEquals(text(stdout), "");
    },
  });
}

async function starts(program: string): Promise<boolean> {
  try {
    await new Deno.Command(program, { stdout: "null", stderr: "null" })
      .output();
    return true;
  } catch {
    return false;
  }
}

/** The page with its escapes taken back. */
function plain(page: string): string {
  const names: Record<string, string> = {
    "\\e": "\\",
    "\\-": "-",
    "\\(aq": "'",
    "\\(ga": "`",
    "\\(ha": "^",
    "\\(ti": "~",
    "\\&": "",
  };
  return page.replace(
    /\\(?:e|-|&|\([a-z]{2})/g,
    (escape) => names[escape]!,
  );
}
