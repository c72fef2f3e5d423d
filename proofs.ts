/**
 * Checks proofs of a store's log, without the store: no database, no files, no
 * permissions. It runs in Deno, Node.js, Bun and browsers.
 *
 * A node that keeps a log signs _checkpoints_: how many entries the log has, and the
 * root of the Merkle tree over them. What follows from a checkpoint can be shown to
 * anybody who has pinned the node's key:
 *
 * - {@linkcode checkInclusion}: it committed to a transaction;
 * - {@linkcode checkConsistency}: its log continues what it was, nothing was altered;
 * - {@linkcode checkHolding}: it produced chunks that were drawn at random;
 * - {@linkcode checkPossession}: it computed over every byte of a payload;
 * - {@linkcode LogAudit}: its entries are the log that the checkpoint stands for;
 * - {@linkcode Auditor}: it does so again and again, and nothing was rewritten.
 *
 * The formats are those of C2SP (tlog-tiles, tlog-checkpoint, tlog-proof,
 * signed-note, tlog-cosignature, tlog-policy), so other programs read them, too.
 *
 * @module
 */

export {
  isConsistent,
  leafHash,
  MerkleTree,
  nodeHash,
  rootOfInclusion,
} from "./src/proofs/merkle.ts";
export {
  entriesOf,
  type ReadTile,
  TileBuilder,
  TiledTree,
  type TileEdge,
  type TileLevel,
  tilePath,
  type TileSink,
  tileWidth,
} from "./src/proofs/tiles.ts";
export {
  type BeginEntry,
  encodeEntry,
  encodeRecord,
  type LogEntry,
  parseEntry,
  parseRecord,
  type PutEntry,
  type PutReason,
  type RemoveEntry,
  type RemoveReason,
  sealOf,
  type TxRecord,
} from "./src/proofs/entry.ts";
export { LogAudit, type LogAuditState } from "./src/proofs/log_audit.ts";
export {
  Auditor,
  type AuditReport,
  type Misbehaviour,
  type PublicLog,
} from "./src/proofs/auditor.ts";
export {
  type HashedPayload,
  hashPayload,
  PayloadHasher,
} from "./src/proofs/chunk_tree.ts";
export {
  type Checkpoint,
  formatCheckpoint,
  parseCheckpoint,
} from "./src/proofs/checkpoint.ts";
export {
  generateKey,
  type KeyKind,
  type KeyPair,
  type Signer,
  signerOf,
  type Verifier,
  verifierOf,
} from "./src/proofs/keys.ts";
export {
  addSignature,
  type Note,
  type NoteSignature,
  type OpenedNote,
  openNote,
  parseNote,
  type SignedBy,
  signNote,
} from "./src/proofs/note.ts";
export {
  openCheckpoint,
  parsePolicy,
  type Policy,
  policyOf,
  type SignedCheckpoint,
  type WitnessGroup,
} from "./src/proofs/policy.ts";
export {
  checkConsistency,
  checkInclusion,
  type ConsistencyProof,
  formatConsistencyProof,
  formatInclusionProof,
  type InclusionProof,
  parseConsistencyProof,
  parseInclusionProof,
  type ProofKind,
  proofKind,
  type ProvenConsistency,
  type ProvenInclusion,
} from "./src/proofs/proof_files.ts";
export {
  type Challenge,
  drawChunks,
  drawEntries,
  formatChallenge,
  parseChallenge,
} from "./src/proofs/challenge.ts";
export {
  answerChallenge,
  type Held,
  type HoldingFault,
  type HoldingSource,
  type PlacedEntry,
} from "./src/proofs/answer.ts";
export { checkHolding, type HoldingReport } from "./src/proofs/holding.ts";
export {
  checkPossession,
  parsePossession,
  type PayloadSource,
  type Possession,
  type PossessionChallenge,
  possessionDigest,
  provePossession,
} from "./src/proofs/possession.ts";
export { ProofError, type ProofErrorCode } from "./src/proofs/proof_error.ts";
