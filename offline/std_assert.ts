/**
 * The part of `@std/assert` that is used here, by `node:assert`.
 *
 * @module
 */

import nodeAssert from "node:assert";

// deno-lint-ignore no-explicit-any -- a constructor of any arguments
type Class<T> = abstract new (...args: any[]) => T;

/** Asserts that `value` is truthy. */
export function assert(value: unknown, msg?: string): asserts value {
  if (!value) throw failure(msg ?? "Expected a truthy value");
}

/** Asserts that two values are the same by structure. */
export function assertEquals<T>(actual: T, expected: T, msg?: string): void {
  explained(msg, () => {
    nodeAssert.deepStrictEqual(comparable(actual), comparable(expected));
  });
}

/** Asserts that two values differ by structure. */
export function assertNotEquals<T>(actual: T, expected: T, msg?: string): void {
  explained(msg, () => {
    nodeAssert.notDeepStrictEqual(comparable(actual), comparable(expected));
  });
}

/** Asserts that two values are one by `Object.is`. */
export function assertStrictEquals<T>(
  actual: unknown,
  expected: T,
  msg?: string,
): asserts actual is T {
  explained(msg, () => nodeAssert.strictEqual(actual, expected));
}

/** Asserts that `actual` has everything that `expected` has. */
export function assertObjectMatch(
  // deno-lint-ignore no-explicit-any -- an interface is no Record of unknown
  actual: Record<PropertyKey, any>,
  expected: Record<PropertyKey, unknown>,
  msg?: string,
): void {
  explained(msg, () => {
    nodeAssert.partialDeepStrictEqual(comparable(actual), comparable(expected));
  });
}

/** Asserts that `actual` is neither null nor undefined. */
export function assertExists<T>(
  actual: T,
  msg?: string,
): asserts actual is NonNullable<T> {
  if (actual === null || actual === undefined) {
    throw failure(`Expected a value, got ${actual}`, msg);
  }
}

/** Asserts that `actual` is an instance of `expected`. */
export function assertInstanceOf<T extends Class<unknown>>(
  actual: unknown,
  expected: T,
  msg?: string,
): asserts actual is InstanceType<T> {
  if (!(actual instanceof expected)) {
    throw failure(`Expected a ${expected.name}, got ${shown(actual)}`, msg);
  }
}

/** Asserts that `actual` matches `expected`. */
export function assertMatch(
  actual: string,
  expected: RegExp,
  msg?: string,
): void {
  if (!expected.test(actual)) {
    throw failure(`Expected ${shown(actual)} to match ${expected}`, msg);
  }
}

/** Asserts that `actual` contains `expected`. */
export function assertStringIncludes(
  actual: string,
  expected: string,
  msg?: string,
): void {
  if (!actual.includes(expected)) {
    throw failure(
      `Expected ${shown(actual)} to contain ${shown(expected)}`,
      msg,
    );
  }
}

/** Asserts that `actual` is greater than `expected`. */
export function assertGreater<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual > expected)) {
    throw failure(msg ?? `Expected ${shown(actual)} > ${shown(expected)}`);
  }
}

/** Asserts that `actual` is less than `expected`. */
export function assertLess<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual < expected)) {
    throw failure(msg ?? `Expected ${shown(actual)} < ${shown(expected)}`);
  }
}

/** Fails. */
export function fail(msg?: string): never {
  throw failure("Failed assertion", msg);
}

/** Asserts that `fn` throws, and returns what it threw. */
export function assertThrows(fn: () => unknown, msg?: string): unknown;
/** Asserts that `fn` throws an `expected`, and returns it. */
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  expected: Class<E>,
  msgIncludes?: string,
  msg?: string,
): E;
export function assertThrows(
  fn: () => unknown,
  ...rest: (Class<Error> | string | undefined)[]
): unknown {
  try {
    fn();
  } catch (error) {
    return checked(error, expectation(rest));
  }
  throw failure("Expected function to throw", expectation(rest).msg);
}

/** Asserts that the promise `fn` returns rejects, and returns the reason. */
export function assertRejects(
  fn: () => PromiseLike<unknown>,
  msg?: string,
): Promise<unknown>;
/** Asserts that it rejects with an `expected`, and returns that. */
export function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  expected: Class<E>,
  msgIncludes?: string,
  msg?: string,
): Promise<E>;
export async function assertRejects(
  fn: () => PromiseLike<unknown>,
  ...rest: (Class<Error> | string | undefined)[]
): Promise<unknown> {
  const expected = expectation(rest);
  const promise = promiseOf(fn, expected.msg);
  try {
    await promise;
  } catch (error) {
    return checked(error, expected);
  }
  throw failure("Expected function to reject", expected.msg);
}

// --- what they share --------------------------------------------------------

interface Expectation {
  type?: Class<Error> | undefined;
  includes?: string | undefined;
  msg?: string | undefined;
}

/** The arguments after the function: a message, or class, part and message. */
function expectation(
  [first, includes, msg]: (Class<Error> | string | undefined)[],
): Expectation {
  if (typeof first === "string") return { msg: first };
  return { type: first, includes: includes as string, msg: msg as string };
}

function checked(
  error: unknown,
  { type, includes, msg }: Expectation,
): unknown {
  if (type === undefined) return error;
  if (!(error instanceof type)) {
    throw failure(`Expected a ${type.name}, got ${shown(error)}`, msg);
  }
  if (includes && !error.message.includes(includes)) {
    throw failure(
      `Expected error message to include ${shown(includes)}, got ${
        shown(error.message)
      }`,
      msg,
    );
  }
  return error;
}

/** A function that throws at once does not reject. */
function promiseOf(
  fn: () => PromiseLike<unknown>,
  msg: string | undefined,
): PromiseLike<unknown> {
  let promise: PromiseLike<unknown> | undefined;
  try {
    promise = fn();
  } catch (error) {
    throw failure(`Expected a promise, but ${shown(error)} was thrown`, msg);
  }
  if (typeof promise?.then === "function") return promise;
  throw failure(`Expected a promise, got ${shown(promise)}`, msg);
}

function failure(what: string, msg?: string): Error {
  return new nodeAssert.AssertionError({
    message: msg ? `${what}: ${msg}` : what,
  });
}

/** Puts `msg` before the comparison that Node prints, not in its place. */
function explained(msg: string | undefined, check: () => void): void {
  try {
    check();
  } catch (error) {
    if (msg && error instanceof Error) {
      error.message = `${msg}: ${error.message}`;
    }
    throw error;
  }
}

function shown(value: unknown): string {
  return Deno.inspect(value);
}

/**
 * Levels what Node tells apart and `@std/assert` does not: zero's sign, and
 * objects without a prototype beside plain ones.
 */
function comparable(value: unknown): unknown {
  if (value === 0) return 0;
  if (Array.isArray(value)) return value.map(comparable);
  if (typeof value !== "object" || value === null) return value;
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== null && prototype !== Object.prototype) return value;
  const copy: Record<PropertyKey, unknown> = {};
  for (const key of Reflect.ownKeys(value)) {
    copy[key] = comparable((value as Record<PropertyKey, unknown>)[key]);
  }
  return copy;
}
