// The same expectations hold for the JSR packages and for their stand-ins.

import * as std from "@std/assert";
import { ProgressBar } from "@std/cli/unstable-progress-bar";
import { basename, dirname, join } from "@std/path";

/** Fails unless `check` throws; not by the assertions under test. */
function fails(check: () => void, message = ""): void {
  try {
    check();
  } catch (error) {
    if (error instanceof Error && error.message.includes(message)) return;
    throw error;
  }
  throw new Error("Expected a failed assertion");
}

async function failsLater(
  check: () => Promise<unknown>,
  message = "",
): Promise<void> {
  const outcome = await check().then(() => () => {}, (error) => () => {
    throw error;
  });
  fails(outcome, message);
}

Deno.test("assertEquals() compares structure, bytes, maps, sets and dates", () => {
  const value = () => ({
    bytes: new Uint8Array([0, 255]),
    map: new Map([["a", [1]]]),
    set: new Set([1, 2]),
    date: new Date(5),
    nothing: undefined,
    number: NaN,
  });
  std.assertEquals(value(), value());
  fails(() => std.assertEquals(new Uint8Array([1]), new Uint8Array([2])));
  fails(() => std.assertEquals<unknown>(new Uint8Array([1]), [1]));
  fails(() => std.assertEquals<unknown>({ a: undefined }, {}));
  fails(() => std.assertEquals<unknown>("1", 1));
  fails(() => std.assertEquals(1, 2, "of this"), "of this");
});

Deno.test("assertEquals() levels zero's sign and objects without a prototype", () => {
  std.assertEquals(-0, 0);
  std.assertEquals(
    { row: Object.assign(Object.create(null), { a: [-0] }) },
    { row: { a: [0] } },
  );
  fails(() => std.assertStrictEquals(-0, 0));
});

Deno.test("assertNotEquals(), assertStrictEquals() and assertObjectMatch() tell values apart", () => {
  std.assertNotEquals<unknown>({ a: 1 }, { a: 2 });
  fails(() => std.assertNotEquals({ a: 1 }, { a: 1 }));
  const one = {};
  std.assertStrictEquals(one, one);
  fails(() => std.assertStrictEquals(one, {}));
  std.assertObjectMatch({ a: 1, b: { c: 2, d: 3 } }, { b: { c: 2 } });
  fails(() => std.assertObjectMatch({ a: 1 }, { a: 2 }));
  fails(() => std.assertObjectMatch({ a: 1 }, { b: 1 }));
});

Deno.test("the simple assertions pass and fail", () => {
  std.assert(1);
  fails(() => std.assert(0, "not that"), "not that");
  std.assertExists(0);
  fails(() => std.assertExists(null));
  std.assertInstanceOf(new TypeError(), Error);
  fails(() => std.assertInstanceOf({}, Error), "Error");
  std.assertMatch("abc", /b/);
  fails(() => std.assertMatch("abc", /d/));
  std.assertStringIncludes("abc", "bc");
  fails(() => std.assertStringIncludes("abc", "d"));
  std.assertGreater(2, 1);
  fails(() => std.assertGreater(1, 1));
  std.assertLess(1, 2);
  fails(() => std.assertLess(1, 1));
  fails(() => std.fail("on purpose"), "on purpose");
});

Deno.test("assertThrows() gives the error of the class and message expected", () => {
  const thrower = () => {
    throw new TypeError("a long story");
  };
  const error = std.assertThrows(thrower, TypeError, "long");
  std.assertStrictEquals(error.message, "a long story");
  std.assertInstanceOf(std.assertThrows(thrower), TypeError);
  fails(() => std.assertThrows(thrower, RangeError), "RangeError");
  fails(() => std.assertThrows(thrower, TypeError, "short"), "short");
  fails(() => std.assertThrows(() => {}, "why"), "why");
});

Deno.test("assertRejects() gives the reason of the class and message expected", async () => {
  const rejecter = () => Promise.reject(new TypeError("a long story"));
  const error = await std.assertRejects(rejecter, TypeError, "long");
  std.assertStrictEquals(error.message, "a long story");
  std.assertInstanceOf(await std.assertRejects(rejecter), TypeError);
  await failsLater(() => std.assertRejects(rejecter, RangeError), "RangeError");
  await failsLater(() => std.assertRejects(rejecter, TypeError, "short"));
  await failsLater(() => std.assertRejects(() => Promise.resolve()));
  await failsLater(() =>
    std.assertRejects(() => {
      throw new TypeError("at once");
    })
  );
});

Deno.test("paths join and split", () => {
  std.assertEquals<unknown>(basename(join("a", "..", "b", "c.bin")), "c.bin");
  std.assertEquals<unknown>(dirname(join("a", "b")), "a");
});

Deno.test("ProgressBar writes a frame at once and at intervals, and takes the last one away", async () => {
  const { frames, writable } = recorder();
  const bar = new ProgressBar({
    max: 1,
    barLength: 8,
    clear: true,
    interval: 20,
    writable,
    formatter: ({ progressBar, time }) => {
      std.assertEquals(time >= 0 && time < 60_000, true);
      return `[${progressBar}]`;
    },
  });
  bar.max = 4;
  for (const value of [1, 3, 5]) {
    bar.value = value;
    const count = frames.length;
    while (frames.length < count + 2) await pause(5);
  }
  await bar.stop();
  const count = frames.length;
  await pause(60);
  std.assertStrictEquals(frames.length, count);
  std.assertStrictEquals(frames.at(-1), "\r\x1b[K");
  std.assertEquals([...new Set(frames.slice(0, -1))], [
    "\r\x1b[K[--------]",
    "\r\x1b[K[##------]",
    "\r\x1b[K[######--]",
    "\r\x1b[K[########]",
  ]);
});

Deno.test("ProgressBar outlives whoever listened to it", async () => {
  const bar = new ProgressBar({
    max: 1,
    barLength: 8,
    clear: true,
    interval: 5,
    formatter: ({ progressBar }) => progressBar,
    writable: new WritableStream({
      write() {
        throw new Error("gone");
      },
    }),
  });
  await pause(30);
  await bar.stop();
});

function recorder() {
  const frames: string[] = [];
  const decoder = new TextDecoder();
  const writable = new WritableStream<Uint8Array>({
    write: (chunk) => void frames.push(decoder.decode(chunk)),
  });
  return { frames, writable };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
