/**
 * How option values that are not mere text are read.
 *
 * @module
 */

import { UsageError } from "./usage_error.ts";

/** What a value is read as. */
export type ValueType =
  /** Any text. */
  | "text"
  /** A file or folder; not empty. */
  | "path"
  /** UNIX seconds, an ISO 8601 date, or an age such as `30d`. */
  | "time"
  /** A length of time such as `30d`, in seconds. */
  | "age"
  /** An integer, 1 or more. */
  | "count"
  /** A number of bytes: `4096`, `64k` or `1.5MiB`. */
  | "size"
  /** A share of a whole: `5%` or `0.05`. */
  | "fraction";

/**
 * Reads a value.
 *
 * @param source Where it stands, for the error.
 * @throws {UsageError} If it is malformed.
 */
export function readValue(
  type: ValueType,
  source: string,
  text: string,
): string | number {
  switch (type) {
    case "text":
      return text;
    case "path":
      if (text === "") throw new UsageError(`${source} must not be empty`);
      return text;
    case "time":
      return time(source, text);
    case "age":
      return age(source, text);
    case "count":
      return integer(source, text);
    case "size":
      return byteCount(source, text);
    case "fraction":
      return fraction(source, text);
  }
}

const SECONDS: Readonly<Record<string, number>> = {
  s: 1,
  m: 60,
  h: 3600,
  d: 86_400,
  w: 604_800,
};

const ISO_DATE =
  /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)(Z|[+-]\d{2}:\d{2})?)?$/;

/**
 * A point in time as UNIX seconds: written so (`1464307123.5`), as an ISO 8601
 * date (local time unless it names a zone), or as an age (`30d` before now;
 * s, m, h, d or w).
 */
export function time(
  source: string,
  text: string,
  now: number = Date.now() / 1000,
): number {
  if (/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) {
    const seconds = Number(text);
    if (Number.isFinite(seconds)) return seconds;
  }
  const ago = secondsOf(text);
  if (ago !== null) return now - ago;
  const date = ISO_DATE.exec(text);
  if (date) {
    const [, year, month, day, clock = "00:00", zone = ""] = date;
    const parsed = Date.parse(`${year}-${month}-${day}T${clock}${zone}`);
    // Date.parse takes 31 February for a day in March.
    const exists =
      new Date(Date.UTC(Number(year), Number(month) - 1, Number(day)))
        .getUTCDate() === Number(day);
    if (!Number.isNaN(parsed) && exists) return parsed / 1000;
  }
  throw new UsageError(
    `${source} must be UNIX seconds, an ISO 8601 date or an age such as 30d, got ${
      JSON.stringify(text)
    }`,
  );
}

/**
 * A point in time for people: ISO 8601 in the local zone, to the millisecond
 * (`2016-05-27T08:58:43.250+09:00`). What no calendar reaches stays in seconds.
 */
export function localTime(seconds: number): string {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return `${seconds} s`;
  const offset = -Math.round(date.getTimezoneOffset()); // in minutes
  const shifted = new Date(date.getTime() + offset * 60_000);
  if (Number.isNaN(shifted.getTime())) return date.toISOString();
  const two = (value: number) => String(Math.trunc(value)).padStart(2, "0");
  const zone = `${two(Math.abs(offset) / 60)}:${two(Math.abs(offset) % 60)}`;
  return `${shifted.toISOString().slice(0, -1)}${
    offset < 0 ? "-" : "+"
  }${zone}`;
}

/** A point in time for people, in the local zone: `2016-05-27 08:58:43`. */
export function clockTime(seconds: number): string {
  return localTime(seconds).replace(
    /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)\..*$/,
    "$1 $2",
  );
}

/** A length of time in seconds, written `30d` (s, m, h, d or w). */
export function age(source: string, text: string): number {
  const seconds = secondsOf(text);
  if (seconds !== null) return seconds;
  throw new UsageError(
    `${source} must be an age such as 30d or 12h, got ${JSON.stringify(text)}`,
  );
}

function secondsOf(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?)([smhdw])$/.exec(text);
  const seconds = match ? Number(match[1]) * SECONDS[match[2]!]! : Infinity;
  return seconds < Infinity ? seconds : null;
}

/** An integer, 1 or more. */
export function integer(source: string, text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= 1 && Number.isSafeInteger(value)) {
    return value;
  }
  throw new UsageError(
    `${source} must be an integer, 1 or more, got ${JSON.stringify(text)}`,
  );
}

const UNITS = ["", "k", "m", "g", "t"];

/**
 * A number of bytes: alone (`4096`), or in units that are powers of 1024
 * (`64k`, `1.5M`, `2GiB`).
 */
export function byteCount(source: string, text: string): number {
  const match = /^(\d+(?:\.\d+)?)([kmgt]?)(?:(?<=[a-z])i?b)?$/i.exec(text);
  if (match) {
    const unit = UNITS.indexOf(match[2]!.toLowerCase());
    const size = Number(match[1]) * 1024 ** unit;
    const isWhole = unit > 0 || Number.isInteger(size); // 1.5 bytes are none
    const bytes = Math.round(size);
    if (isWhole && Number.isSafeInteger(bytes)) return bytes;
  }
  throw new UsageError(
    `${source} must be a number of bytes such as 4096, 64k or 1.5MiB, got ${
      JSON.stringify(text)
    }`,
  );
}

/** A share of a whole above 0 and up to 1, written `5%` or `0.05`. */
export function fraction(source: string, text: string): number {
  const match = /^(\d+\.?\d*|\.\d+)(%?)$/.exec(text);
  const value = match ? Number(match[1]) / (match[2] ? 100 : 1) : NaN;
  if (value > 0 && value <= 1) return value;
  throw new UsageError(
    `${source} must be a share such as 5% or 0.05, above 0 and at most 100%, got ${
      JSON.stringify(text)
    }`,
  );
}
