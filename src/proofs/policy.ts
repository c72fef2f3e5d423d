/**
 * Whom whoever checks believes: keys of logs and of witnesses, C2SP tlog-policy.
 * Never taken from a proof, nor from a server.
 *
 * @module
 */

import { type Checkpoint, parseCheckpoint } from "./checkpoint.ts";
import { boundedText, toHex } from "./encoding.ts";
import { type Verifier, verifierOf } from "./keys.ts";
import { openNote } from "./note.ts";
import { ProofError, refuted } from "./proof_error.ts";

/** Which logs are believed, and how many witnesses must have seen the same. */
export interface Policy {
  /** Keys of logs; a checkpoint must be signed by one whose name is its origin. */
  readonly logs: readonly Verifier[];
  /** Keys of witnesses, by their names in the policy. */
  readonly witnesses: ReadonlyMap<string, Verifier>;
  /** Groups of witnesses, and of groups. */
  readonly groups: ReadonlyMap<string, WitnessGroup>;
  /** Which witness or group must have cosigned; null for none. */
  readonly quorum: string | null;
}

/** Members of whom at least `threshold` must have cosigned. */
export interface WitnessGroup {
  /** How many. */
  readonly threshold: number;
  /** Names of witnesses and of groups. */
  readonly members: readonly string[];
}

/** A checkpoint whose signatures were checked. */
export interface SignedCheckpoint extends Checkpoint {
  /** The note, as it was given. */
  readonly note: string;
  /** Keys of the log that signed it. */
  readonly signedBy: readonly Verifier[];
  /** Witnesses that cosigned it: name in the policy, and seconds since 1970. */
  readonly cosignedBy: readonly { name: string; time: number }[];
  /** How many witnesses the policy knows. */
  readonly witnesses: number;
}

/**
 * Believes logs by their keys, and asks for no witness.
 *
 * @throws {ProofError} Code `KEY_FORMAT`.
 */
export function policyOf(...vkeys: readonly string[]): Policy {
  const logs: Verifier[] = [];
  for (const vkey of vkeys) addLog(logs, vkey);
  if (logs.length === 0) throw odd("No key of a log is known");
  return { logs, witnesses: new Map(), groups: new Map(), quorum: null };
}

function odd(message: string): ProofError {
  return new ProofError("KEY_FORMAT", "policy", message);
}

function addLog(
  logs: Verifier[],
  vkey: string,
  witnesses: Iterable<Verifier> = [],
): void {
  const log = verifierOf(vkey);
  if (log.kind === "cosignature-ed25519") {
    throw odd(`The key of ${log.name} is that of a witness, not of a log`);
  }
  demandNew(log, [...logs, ...witnesses]);
  logs.push(log);
}

/** One key under two names would count twice. */
function demandNew(key: Verifier, others: Iterable<Verifier>): void {
  for (const other of others) {
    if (toHex(key.publicKey) === toHex(other.publicKey)) {
      throw odd(`The keys of ${other.name} and ${key.name} are the same`);
    }
  }
}

/**
 * Reads a policy file.
 *
 * @throws {ProofError} Code `KEY_FORMAT`, with the number of the line.
 *
 * @example Usage
 * ```ts
 * import { parsePolicy } from "@poh/storage/proofs";
 * import { assertEquals } from "@std/assert";
 *
 * const policy = parsePolicy(`
 *   log node7.example/poh+b8deb6a6+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4
 *   quorum none
 * `);
 * assertEquals(policy.logs.map(({ name }) => name), ["node7.example/poh"]);
 * ```
 */
export function parsePolicy(text: string | Uint8Array): Policy {
  const logs: Verifier[] = [];
  const witnesses = new Map<string, Verifier>();
  const groups = new Map<string, WitnessGroup>();
  const members = new Set<string>();
  let quorum: string | null | undefined;
  const isKnown = (name: string) => witnesses.has(name) || groups.has(name);
  const define = (name: string | undefined): string => {
    if (!name || name === "none" || isKnown(name)) {
      throw odd(`The name ${JSON.stringify(name ?? "")} cannot be given`);
    }
    return name;
  };
  const known = (name: string): string => {
    if (isKnown(name)) return name;
    throw odd(
      `${JSON.stringify(name)} is no witness or group of a line before`,
    );
  };
  const take = ([word, ...rest]: string[]): void => {
    if (word === "log" && (rest.length === 1 || rest.length === 2)) {
      return addLog(logs, rest[0]!, witnesses.values());
    }
    if (word === "witness" && (rest.length === 2 || rest.length === 3)) {
      const name = define(rest[0]), witness = verifierOf(rest[1]!);
      if (!witness.kind.startsWith("cosignature")) {
        throw odd(
          `The key of ${witness.name} is that of a log, not of a witness`,
        );
      }
      demandNew(witness, [...witnesses.values(), ...logs]);
      witnesses.set(name, witness);
      return;
    }
    if (word === "group" && rest.length > 2) {
      const [name, count, ...names] = rest;
      for (const member of names) {
        if (members.has(known(member))) {
          throw odd(`${JSON.stringify(member)} is in a group already`);
        }
        members.add(member);
      }
      const threshold = thresholdOf(count!, names.length);
      groups.set(define(name), { threshold, members: names });
      return;
    }
    if (word === "quorum" && rest.length === 1 && quorum === undefined) {
      quorum = rest[0] === "none" ? null : known(rest[0]!);
      return;
    }
    throw odd("It is no line of a policy, or has too many words or too few");
  };
  const lines = boundedText(text, "policy").split("\n");
  for (const [number, line] of lines.entries()) {
    const words = line.split(/[ \t]+/).filter((word) => word !== "");
    if (words.length === 0 || words[0]!.startsWith("#")) continue;
    try {
      take(words);
    } catch (error) {
      if (!(error instanceof ProofError)) throw error;
      throw odd(`Line ${number + 1} of the policy: ${error.message}`);
    }
  }
  if (quorum === undefined) throw odd("The policy has no line with its quorum");
  return { logs, witnesses, groups, quorum };
}

function thresholdOf(text: string, members: number): number {
  if (text === "any") return 1;
  if (text === "all") return members;
  const number = /^[1-9][0-9]{0,3}$/.test(text) ? Number(text) : Infinity;
  if (number <= members) return number;
  throw odd(`${JSON.stringify(text)} is no number from 1 to ${members}`);
}

/**
 * Opens a checkpoint: who signed it, and that enough witnesses have seen it.
 *
 * @throws {ProofError} `KEY_UNKNOWN`, `QUORUM`; or step `"note"`, `"signature"`,
 * `"checkpoint"` or `"origin"`.
 *
 * @example Usage
 * ```ts
 * import { openCheckpoint, policyOf } from "@poh/storage/proofs";
 * import { assertEquals } from "@std/assert";
 *
 * const policy = policyOf(
 *   "node7.example/poh+b8deb6a6+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4",
 * );
 * const checkpoint = await openCheckpoint(
 *   `node7.example/poh
 * 4
 * w5X3sOs1drEA1UCprX/ppHcb7jeXVHcitIRSlsbee3g=
 *
 * — node7.example/poh uN62prd4TUICfU9rnBmBMBh9jfEUuow5Nnjrmky9Y6gVhVbsQvGt+KkWq2fif064HllDKjKe64jEd4gd9C4p+Aahmgs=
 * `,
 *   policy,
 * );
 * assertEquals([checkpoint.origin, checkpoint.size], ["node7.example/poh", 4]);
 * ```
 */
export async function openCheckpoint(
  note: string | Uint8Array,
  policy: Policy,
): Promise<SignedCheckpoint> {
  const whole = boundedText(note, "note");
  const { text, origin, signedBy, cosignedBy } = await openSigned(
    whole,
    policy,
  );
  const checkpoint = parseCheckpoint(text);
  if (checkpoint.origin !== origin) {
    throw refuted(
      "origin",
      `The key of ${origin} signed a checkpoint of ${checkpoint.origin}`,
    );
  }
  const names = new Set(cosignedBy.map(({ name }) => name));
  if (policy.quorum !== null && !isMet(policy, policy.quorum, names)) {
    throw new ProofError(
      "QUORUM",
      "quorum",
      `The policy asks for ${policy.quorum}; cosigned by ${
        [...names].join(", ") || "no witness"
      }`,
    );
  }
  const witnesses = policy.witnesses.size;
  return { ...checkpoint, note: whole, signedBy, cosignedBy, witnesses };
}

/** A note that keys of one log have signed. */
export interface LogNote {
  /** What they signed. */
  readonly text: string;
  /** Name of the log. */
  readonly origin: string;
  /** Its keys that signed. */
  readonly signedBy: readonly Verifier[];
  /** Witnesses that cosigned it. */
  readonly cosignedBy: readonly { name: string; time: number }[];
}

/**
 * Opens what a log of a policy has signed, whatever it is.
 *
 * @throws {ProofError} As {@linkcode openCheckpoint}, but for the quorum.
 */
export async function openSigned(
  note: string | Uint8Array,
  policy: Policy,
): Promise<LogNote> {
  const { logs, witnesses } = policy;
  const verifiers = new Set([...logs, ...witnesses.values()]);
  const opened = await openNote(note, [...verifiers]);
  const signedBy = opened.signedBy
    .map(({ verifier }) => verifier).filter((key) => logs.includes(key));
  const origin = signedBy[0]?.name;
  if (origin === undefined) {
    throw new ProofError(
      "KEY_UNKNOWN",
      "signature",
      "Witnesses have signed this, but no log that is known",
    );
  }
  if (signedBy.some(({ name }) => name !== origin)) {
    throw refuted("origin", "Keys of several logs have signed this");
  }
  const cosignedBy: { name: string; time: number }[] = [];
  for (const [name, witness] of witnesses) {
    const found = opened.signedBy.find(({ verifier }) =>
      verifier.vkey === witness.vkey
    );
    if (found) cosignedBy.push({ name, time: found.time ?? 0 });
  }
  return { text: opened.text, origin, signedBy, cosignedBy };
}

function isMet(policy: Policy, name: string, cosigned: Set<string>): boolean {
  const group = policy.groups.get(name);
  if (!group) return cosigned.has(name);
  const met = group.members.filter((member) => isMet(policy, member, cosigned));
  return met.length >= group.threshold;
}
