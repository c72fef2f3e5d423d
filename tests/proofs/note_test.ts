// Notes, keys and policies.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  addSignature,
  generateKey,
  type KeyKind,
  openCheckpoint,
  openNote,
  parseCheckpoint,
  parseNote,
  parsePolicy,
  policyOf,
  ProofError,
  signerOf,
  signNote,
  verifierOf,
} from "../../proofs.ts";
import {
  hasMlDsa,
  ORIGIN,
  policy,
  PRIVATE_KEY,
  vectorLog,
  VKEY,
} from "./sample.ts";

const EXAMPLE_KEY =
  "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const EXAMPLE = `This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
`;

async function signerFor(name: string, kind: KeyKind = "ed25519") {
  return await signerOf((await generateKey(name, kind)).privateKey);
}

async function refusalOf(call: Promise<unknown>): Promise<[string, string]> {
  const { code, at } = await assertRejects(() => call, ProofError);
  return [code, at];
}

Deno.test("the example of C2SP signed-note is opened", async () => {
  const { text, signedBy } = await openNote(EXAMPLE, [verifierOf(EXAMPLE_KEY)]);
  assertEquals(text, "This is an example message.\n");
  assertEquals(signedBy.map(({ time }) => time), [null]);
});

Deno.test("a note with any byte flipped is not opened", async () => {
  const verifier = verifierOf(EXAMPLE_KEY);
  const note = new TextEncoder().encode(EXAMPLE);
  for (const at of note.keys()) {
    for (const bit of [1, 32, 128]) {
      const other = note.slice();
      other[at]! ^= bit;
      const [code, step] = await refusalOf(openNote(other, [verifier]));
      assert(
        ["TLOG_FORMAT note", "PROOF_INVALID signature", "KEY_UNKNOWN signature"]
          .includes(`${code} ${step}`),
        `byte ${at}: ${code} ${step}`,
      );
    }
  }
});

Deno.test("what is no note is refused", () => {
  const signature = "— a.example AAAAAAA=\n";
  parseNote(`text\n\n${signature}`);
  parseNote(`two\n\nparts\n\n${signature}`);
  const wrong = [
    "",
    "text",
    "text\n",
    "text\n\n",
    `text\n${signature}`,
    `text\n\n${signature.trimEnd()}`,
    `text\n\n${signature}\n`,
    `text\n\n${signature}more\n`,
    `te\txt\n\n${signature}`,
    `text\r\n\n${signature}`,
    "text\n\n- a.example AAAAAAA=\n",
    "text\n\n— a b AAAAAAA=\n",
    "text\n\n— a+b AAAAAAA=\n",
    "text\n\n— a\u00a0b AAAAAAA=\n",
    "text\n\n— a.example AAAAAA==\n", // four bytes: an id without a signature
    "text\n\n— a.example AAAAAAB=\n", // bits that stand for nothing
    "text\n\n— a.example AAAAAAA\n",
    "text\n\n— a.example \n",
    `text\n\n${signature.repeat(17)}`,
    `${"x".repeat(65_536)}\n\n${signature}`,
    `${"é".repeat(32_768)}\n\n${signature}`,
    new Uint8Array([0xff, ...new TextEncoder().encode(`\n\n${signature}`)]),
  ];
  for (const note of wrong) {
    const { code, at } = assertThrows(() => parseNote(note), ProofError);
    assertEquals(
      [code, at],
      ["TLOG_FORMAT", "note"],
      String(note).slice(0, 80),
    );
  }
  assertEquals(
    parseNote(`text\n\n${signature.repeat(16)}`).signatures.length,
    16,
  );
});

Deno.test("signatures by unknown keys say nothing, a wrong one of a known key refuses the note", async () => {
  const [a, b, c] = await Promise.all(["a", "b", "c"].map((n) => signerFor(n)));
  const text = "hello\n";
  const note = await signNote(text, [a!, b!]);
  const opened = await openNote(note, [b!.verifier, c!.verifier]);
  assertEquals(opened.signedBy.map(({ verifier }) => verifier.name), ["b"]);
  assertEquals(
    await refusalOf(openNote(note, [c!.verifier])),
    ["KEY_UNKNOWN", "signature"],
  );
  assertEquals(await refusalOf(openNote(note, [])), [
    "KEY_UNKNOWN",
    "signature",
  ]);
  const other = await signNote("other\n", [b!]);
  const mixed = note + other.slice(other.indexOf("—"));
  assertEquals(
    await refusalOf(openNote(mixed, [b!.verifier])),
    ["PROOF_INVALID", "signature"],
  );
  // A key of the same name with another id is another key.
  const twin = await signerFor("b");
  assertEquals(
    await refusalOf(openNote(note, [twin.verifier])),
    ["KEY_UNKNOWN", "signature"],
  );
});

Deno.test("keys are read in the form that they are written in", async () => {
  const { privateKey, vkey } = await generateKey("node.example/log");
  assertEquals(verifierOf(vkey).vkey, vkey);
  const signer = await signerOf(privateKey);
  assertEquals(signer.verifier.vkey, vkey);
  const note = await signNote("x\n", [signer]);
  await openNote(note, [verifierOf(vkey)]);
});

Deno.test("what is no key is refused", async () => {
  const flipped = (text: string, at: number, to: string) =>
    text.slice(0, at) + to + text.slice(at + 1);
  const wrong = [
    "",
    "a",
    "a+b",
    ORIGIN,
    VKEY.slice(0, -4),
    `${VKEY}\n`,
    ` ${VKEY}`,
    VKEY.replace("b8deb6a6", "B8DEB6A6"),
    VKEY.replace("b8deb6a6", "b8deb6a7"),
    VKEY.replace("node7", "node8"),
    VKEY.replace("AQOh", "AgOh"), // ECDSA
    VKEY.replace("AQOh", "/wOh"),
    flipped(VKEY, VKEY.length - 1, "5"),
    `${VKEY}AAAA`,
  ];
  for (const vkey of wrong) {
    const { code } = assertThrows(() => verifierOf(vkey), ProofError);
    assert(code === "KEY_FORMAT" || code === "TLOG_FORMAT", vkey);
  }
  const secrets = [
    VKEY,
    PRIVATE_KEY.slice(8),
    PRIVATE_KEY.replace("b8deb6a6", "b8deb6a7"),
    PRIVATE_KEY.replace("node7", "node8"),
    `${PRIVATE_KEY}AAAA`,
    flipped(PRIVATE_KEY, PRIVATE_KEY.length - 1, "g"),
  ];
  for (const key of secrets) {
    const [code] = await refusalOf(signerOf(key));
    assert(code === "KEY_FORMAT" || code === "TLOG_FORMAT", key);
  }
  for (const name of ["", "a b", "a+b", "a\nb", "a\u3000b", "a\ud800"]) {
    assertEquals((await refusalOf(generateKey(name)))[0], "KEY_FORMAT");
  }
});

const SECONDS = 1_800_000_000;

for (const kind of ["cosignature-ed25519", "cosignature-ml-dsa-44"] as const) {
  Deno.test({
    name: `a witness cosigns a checkpoint, and its time is signed (${kind})`,
    ignore: kind !== "cosignature-ed25519" && !hasMlDsa, // Deno before 2.9
    async fn() {
      const witness = await signerFor("witness.example/w1", kind);
      const checkpoint = await (await vectorLog()).checkpoint();
      const note = await addSignature(checkpoint, witness, SECONDS);
      const rules = parsePolicy(
        `log ${VKEY}\nwitness w1 ${witness.verifier.vkey}\nquorum w1\n`,
      );
      const opened = await openCheckpoint(note, rules);
      assertEquals(opened.cosignedBy, [{ name: "w1", time: SECONDS }]);
      assertEquals(
        await refusalOf(openCheckpoint(checkpoint, rules)),
        ["QUORUM", "quorum"],
      );
      // The time stands before the signature: another one fails it.
      const [, line] = note.split(/(?=— witness)/);
      const bytes = Uint8Array.fromBase64(line!.trim().split(" ")[2]!);
      for (const at of [4, 11, 12, bytes.length - 1]) {
        const other = bytes.slice();
        other[at]! ^= 1;
        const forged = note.replace(bytes.toBase64(), other.toBase64());
        assertEquals(
          await refusalOf(openCheckpoint(forged, rules)),
          ["PROOF_INVALID", "signature"],
        );
      }
    },
  });
}

Deno.test({
  name: "a log signs by Ed25519 and by ML-DSA-87, and either is enough",
  ignore: !hasMlDsa, // Deno before 2.9
  async fn() {
    const log = await vectorLog();
    const quantum = await signerFor(ORIGIN, "ml-dsa-87");
    const note = await log.checkpoint(4, [log.signer, quantum]);
    const { vkey } = quantum.verifier;
    for (const keys of [[VKEY], [vkey], [VKEY, vkey]]) {
      const { signedBy } = await openCheckpoint(note, policyOf(...keys));
      assertEquals(signedBy.map(({ vkey }) => vkey), keys);
    }
    const only = await log.checkpoint(4);
    assertEquals(
      await refusalOf(openCheckpoint(only, policyOf(vkey))),
      ["KEY_UNKNOWN", "signature"],
    );
  },
});

Deno.test("a checkpoint is believed of the log that is its origin alone", async () => {
  const text = `${ORIGIN}\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n`;
  const other = await signerFor("other.example/poh");
  const note = await signNote(text, [other]);
  assertEquals(
    await refusalOf(openCheckpoint(note, policyOf(other.verifier.vkey))),
    ["PROOF_INVALID", "origin"],
  );
  const both = await addSignature(note, await signerOf(PRIVATE_KEY));
  assertEquals(
    await refusalOf(openCheckpoint(both, policyOf(VKEY, other.verifier.vkey))),
    ["PROOF_INVALID", "origin"],
  );
  assertEquals((await openCheckpoint(both, policy)).size, 0);
});

Deno.test("what is no checkpoint is refused", () => {
  const root = "w5X3sOs1drEA1UCprX/ppHcb7jeXVHcitIRSlsbee3g=";
  parseCheckpoint(`a\n4\n${root}\n`);
  const wrong = [
    "",
    `a\n4\n${root}`,
    `\n4\n${root}\n`,
    `a\n04\n${root}\n`,
    `a\n-4\n${root}\n`,
    `a\n4.0\n${root}\n`,
    `a\n9007199254740992\n${root}\n`,
    `a\n4\n${root.slice(4)}\n`,
    `a\n4\n${root}\nextension\n`,
    `a\n4\n${root}\n\n`,
    `a\n0\n${root}\n`,
  ];
  for (const text of wrong) {
    assertEquals(
      assertThrows(() => parseCheckpoint(text), ProofError).at,
      "checkpoint",
    );
  }
});

Deno.test("a policy asks for groups of witnesses, and of groups", async () => {
  const names = ["X1", "X2", "X3", "Y1", "Y2"];
  const signers = await Promise.all(
    names.map((name) => signerFor(name, "cosignature-ed25519")),
  );
  const rules = parsePolicy(`
# Two of three, and one of two.
log ${VKEY} https://node7.example/poh
${
    names.map((name, i) => `witness ${name} ${signers[i]!.verifier.vkey}`).join(
      "\n",
    )
  }
group X-witnesses 2 X1 X2 X3
group Y-witnesses any Y1 Y2
\tgroup X-and-Y  all X-witnesses\tY-witnesses
quorum X-and-Y
`);
  const checkpoint = await (await vectorLog()).checkpoint();
  for (let chosen = 0; chosen < 32; chosen++) {
    let note = checkpoint;
    for (const [i, signer] of signers.entries()) {
      if (chosen >> i & 1) note = await addSignature(note, signer, SECONDS);
    }
    const x = [0, 1, 2].filter((i) => chosen >> i & 1).length;
    const isMet = x >= 2 && (chosen & 24) !== 0;
    const call = openCheckpoint(note, rules);
    if (isMet) {
      const { cosignedBy, witnesses } = await call;
      assertEquals(
        cosignedBy.length,
        names.filter((_, i) => chosen >> i & 1).length,
      );
      assertEquals(witnesses, 5);
    } else assertEquals(await refusalOf(call), ["QUORUM", "quorum"]);
  }
});

Deno.test("a witness that signs twice counts once, and one alone is no log", async () => {
  const [w1, w2] = await Promise.all(
    ["w1", "w2"].map((name) => signerFor(name, "cosignature-ed25519")),
  );
  const rules = parsePolicy(
    `log ${VKEY}
witness w1 ${w1!.verifier.vkey}
witness w2 ${w2!.verifier.vkey}
group both all w1 w2
quorum both`,
  );
  const checkpoint = await (await vectorLog()).checkpoint();
  const twice = await addSignature(
    await addSignature(checkpoint, w1!, SECONDS),
    w1!,
    SECONDS + 1,
  );
  assertEquals(await refusalOf(openCheckpoint(twice, rules)), [
    "QUORUM",
    "quorum",
  ]);
  const { text } = parseNote(checkpoint);
  const without = await signNote(text, [w1!, w2!], SECONDS);
  assertEquals(
    await refusalOf(openCheckpoint(without, rules)),
    ["KEY_UNKNOWN", "signature"],
  );
});

Deno.test("what is no policy is refused, with its line", async () => {
  const { vkey } = (await signerFor("w", "cosignature-ed25519")).verifier;
  const log = `log ${VKEY}`, witness = `witness w ${vkey}`;
  parsePolicy(`${log}\n${witness}\ngroup g 1 w\nquorum g`);
  const wrong: [string, string][] = [
    [log, "no line with its quorum"],
    [`${log}\nquorum w`, "Line 2"],
    [`${log}\nquorum none\nquorum none`, "Line 3"],
    [`${log}\n${log}\nquorum none`, "Line 2"],
    [`${witness}\nwitness v ${vkey}\nquorum v`, "Line 2"],
    [`log ${vkey}\nquorum none`, "Line 1"],
    [`witness w ${VKEY}\nquorum w`, "Line 1"],
    [`witness none ${vkey}\nquorum none`, "Line 1"],
    [`${witness}\ngroup g 2 w\nquorum g`, "Line 2"],
    [`${witness}\ngroup g 0 w\nquorum g`, "Line 2"],
    [`${witness}\ngroup g any\nquorum g`, "Line 2"],
    [`${witness}\ngroup g any w\ngroup h any w\nquorum g`, "Line 3"],
    [`${witness}\ngroup g any g\nquorum g`, "Line 2"],
    [`${witness}\ngroup w any w\nquorum w`, "Line 2"],
    [`loge ${VKEY}\nquorum none`, "Line 1"],
    [`log ${VKEY} a b\nquorum none`, "Line 1"],
  ];
  for (const [text, words] of wrong) {
    const error = assertThrows(() => parsePolicy(text), ProofError);
    assertEquals(error.code, "KEY_FORMAT", text);
    assert(error.message.includes(words), error.message);
  }
});
