/**
 * The JSON that the program prints for transactions.
 *
 * `JSON.stringify` would print a whole number of seconds as `1464307123`, which
 * other languages read as an integer; the timestamp is a float, and is printed
 * as one, in the form that Python gives it: `1464307123.0`.
 *
 * @module
 */

import type { SavedTx } from "../model/if_exists.ts";
import type { Tx, TxHead, TxInfo } from "../types.ts";

/** The JSON form of a transaction, on one line. */
export function txLine(tx: Tx): string {
  return txLineStart(tx) + tx.payload.toBase64() + TX_LINE_END;
}

/** {@linkcode txLine} up to where the payload's base64 begins. */
export function txLineStart(head: TxHead): string {
  return `{"tx_id":${JSON.stringify(head.txId)},"holder_id":${
    JSON.stringify(head.holderId)
  },"timestamp":${jsonFloat(head.timestamp)},"payload":"`;
}

/** {@linkcode txLine} from where the payload's base64 ends. */
export const TX_LINE_END = '"}\n';

/** What the metadata knows of a transaction, as a JSON object. */
export function infoJson(info: TxInfo): string {
  return `{"tx_id":${JSON.stringify(info.txId)},"holder_id":${
    JSON.stringify(info.holderId)
  },"timestamp":${
    jsonFloat(info.timestamp)
  },"storage_hash":"${info.storageHash}","size":${info.size}}`;
}

/** {@linkcode infoJson} with what became of the save. */
export function savedJson(saved: SavedTx): string {
  return `${
    infoJson(saved).slice(0, -1)
  },"outcome":"${saved.outcome}","saved":${saved.saved}}`;
}

/**
 * A number as Python's `repr` writes a float. JSON has no infinity, which a row
 * of another program may have: that is `null`.
 */
export function jsonFloat(value: number): string {
  if (!Number.isFinite(value)) return "null";
  const size = Math.abs(value);
  // There the shortest digits are written alike.
  if (size >= 1e-3 && size < 1e15) {
    return Number.isInteger(value) ? `${value}.0` : String(value);
  }
  const [, sign, first, rest = "", exponent] =
    /^(-?)(\d)(?:\.(\d+))?e([+-]\d+)$/.exec(value.toExponential())!;
  const power = Number(exponent);
  const digits = first! + rest;
  const minus = sign || (Object.is(value, -0) ? "-" : "");
  if (power < -4 || power >= 16) {
    const exponent = String(Math.abs(power)).padStart(2, "0");
    return `${minus}${first}${rest && `.${rest}`}e${
      power < 0 ? "-" : "+"
    }${exponent}`;
  }
  if (power < 0) return `${minus}0.${"0".repeat(-power - 1)}${digits}`;
  const whole = digits.slice(0, power + 1).padEnd(power + 1, "0");
  return `${minus}${whole}.${digits.slice(power + 1) || "0"}`;
}
