// An auditor goes on from what it has seen, and keeps what shows a log's lies.

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  Auditor,
  encodeEntry,
  formatCheckpoint,
  generateKey,
  type LogEntry,
  policyOf,
  ProofError,
  type PublicLog,
  type Signer,
  signerOf,
  signNote,
  TileBuilder,
  tilePath,
} from "../../proofs.ts";

const ORIGIN = "node7.example/poh";

/** A log that anybody may read; it counts the bundles that are read. */
class Log implements PublicLog {
  readonly #signer: Signer;
  readonly #tiles = new Map<string, Uint8Array>();
  readonly #tree = new TileBuilder((path, bytes) =>
    this.#tiles.set(path, bytes)
  );
  note = "";
  read = 0;

  constructor(signer: Signer, predecessor: string | null = null) {
    this.#signer = signer;
    this.add({ kind: "begin", storeId: "7", origin: ORIGIN, predecessor });
  }

  add(entry: LogEntry): this {
    this.#tree.append(encodeEntry(entry));
    return this;
  }

  puts(
    count: number,
    fill = 0,
    reason: "saved" | "carried-over" = "saved",
  ): this {
    const seal = new Uint8Array(32).fill(fill);
    for (let i = 0; i < count; i++) {
      this.add({ kind: "put", reason, prev: null, seal });
    }
    return this;
  }

  remove(prev: number): this {
    return this.add({ kind: "remove", reason: "deleted", prev });
  }

  async sign(): Promise<this> {
    const { size } = this.#tree;
    const text = formatCheckpoint({
      origin: ORIGIN,
      size,
      root: this.#tree.root(),
    });
    this.note = await signNote(text, [this.#signer]);
    return this;
  }

  checkpoint(): Promise<string> {
    return Promise.resolve(this.note);
  }

  bundle(index: number): Promise<Uint8Array> {
    this.read++;
    const full = this.#tiles.get(tilePath("entries", index));
    return Promise.resolve(full ?? this.#tree.edge().bundle);
  }
}

async function keys() {
  const { privateKey, vkey } = await generateKey(ORIGIN);
  return { signer: await signerOf(privateKey), policy: policyOf(vkey) };
}

/** An auditor that was kept as JSON meanwhile. */
function again(auditor: Auditor, policy: ReturnType<typeof policyOf>): Auditor {
  return new Auditor(policy, JSON.parse(JSON.stringify(auditor)));
}

async function codeOf(call: Promise<unknown>): Promise<string> {
  return (await assertRejects(() => call, ProofError)).code;
}

Deno.test("an auditor reads what is new, and each entry once", async () => {
  const { signer, policy } = await keys();
  const log = await new Log(signer).puts(300).remove(7).sign();
  let auditor = new Auditor(policy);
  const first = await auditor.update(log);
  assertEquals([first.old, first.checkpoint.size, first.live], [
    null,
    302,
    299,
  ]);
  assertEquals(log.read, 2);
  for (const more of [0, 1, 500, 1023]) {
    auditor = again(auditor, policy);
    log.read = 0;
    await log.puts(more).sign();
    const { old, checkpoint, live } = await auditor.update(log);
    assertEquals(checkpoint.size - old!.size, more);
    assertEquals(live, checkpoint.size - 3);
    assertEquals(log.read <= Math.ceil(more / 256) + 1, true);
    assertEquals(auditor.log!.isLive(7), false);
  }
  assertEquals(auditor.misbehaviour, []);
  // What ended before the state was kept cannot end again.
  await log.remove(7).sign();
  await assertRejects(() => again(auditor, policy).update(log), ProofError);
});

Deno.test("a log that shows another history is found, and what shows it is kept", async () => {
  const { signer, policy } = await keys();
  const log = await new Log(signer).puts(400).sign();
  const auditor = new Auditor(policy);
  await auditor.update(log);
  const lies: [string, Log][] = [
    ["TLOG_ROLLED_BACK", new Log(signer).puts(399)],
    ["TLOG_FORKED", new Log(signer).puts(399).puts(1, 1)],
    ["TLOG_FORKED", new Log(signer).puts(1, 1).puts(800)],
  ];
  for (const [code, lie] of lies) {
    const later = again(auditor, policy);
    assertEquals(await codeOf(later.update(await lie.sign())), code);
    const [found] = again(later, policy).misbehaviour;
    assertEquals(found!.code, code);
    assertEquals(found!.checkpoints, [log.note, lie.note]);
    // It has not believed it: the log as it was is still the one.
    assertEquals((await later.update(log)).old?.size, 401);
  }
  // Two roots of one size need no entries to be seen.
  const mute = await new Log(signer).puts(400, 2).sign();
  mute.bundle = () => Promise.resolve(new Uint8Array());
  assertEquals(
    await codeOf(again(auditor, policy).update(mute)),
    "TLOG_FORKED",
  );
});

Deno.test("a log that begins anew names the one before, or is a fork", async () => {
  const { signer, policy } = await keys();
  const log = await new Log(signer).puts(10).sign();
  const auditor = new Auditor(policy);
  await auditor.update(log);
  const next = await new Log(signer, log.note).puts(8, 1, "carried-over")
    .sign();
  const error = await assertRejects(
    () => again(auditor, policy).update(next),
    ProofError,
    "of 10 transactions that were live in the one of 11, 8 were carried over",
  );
  assertEquals(error.code, "TLOG_RESTARTED");
  const later = again(auditor, policy);
  const { checkpoint } = await later.update(next, { acceptRestart: true });
  assertEquals([checkpoint.size, later.misbehaviour.length], [9, 1]);
  assertEquals((await again(later, policy).update(next)).old?.size, 9);
  const other = await keys();
  const stranger = await new Log(other.signer).puts(20).sign();
  const forged = await new Log(signer, stranger.note).puts(30).sign();
  const accepting = again(auditor, policy)
    .update(forged, { acceptRestart: true });
  assertEquals(await codeOf(accepting), "TLOG_FORKED");
});

Deno.test("bundles that are not the checkpoint's are refused", async () => {
  const { signer, policy } = await keys();
  const log = await new Log(signer).puts(300).sign();
  const bundle = log.bundle.bind(log);
  const altered: ((bytes: Uint8Array) => Uint8Array)[] = [
    (bytes) => bytes.map((byte, at) => at === 700 ? byte ^ 1 : byte),
    (bytes) => bytes.subarray(0, -1),
    (bytes) => bytes.subarray(0, 45),
    () => new Uint8Array(),
  ];
  for (const alter of altered) {
    log.bundle = async (index) => alter(await bundle(index));
    await assertRejects(() => new Auditor(policy).update(log), ProofError);
  }
});

Deno.test("no other state is taken than one that was kept", async () => {
  const { signer, policy } = await keys();
  const auditor = new Auditor(policy);
  assertEquals(again(auditor, policy).log, null);
  await auditor.update(await new Log(signer).puts(20).sign());
  const state = auditor.toJSON();
  for (
    const odd of [
      null,
      1,
      {},
      { ...state, v: 2 },
      { ...state, x: 1 },
      { ...state, size: 20 },
      { ...state, size: 22 },
      { ...state, size: 21.5 },
      { ...state, live: "AAA=" },
      { ...state, live: "////" },
      { ...state, subtrees: [] },
      { ...state, begin: "" },
      { ...state, checkpoint: "x" },
      { ...state, misbehaviour: [1] },
    ]
  ) {
    assertThrows(
      () => new Auditor(policy, odd),
      ProofError,
      undefined,
      JSON.stringify(odd),
    );
  }
});
