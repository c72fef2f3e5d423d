/**
 * Finds and damages chosen pages of a SQLite database file.
 *
 * @module
 */

/** A leaf page of an index b-tree, by its first byte. */
const INDEX_LEAF = 0x0a;

/**
 * Overwrites a leaf page of an index that holds `text` and that the
 * write-ahead log has no newer copy of.
 */
export function damageOneIndex(db: string, text: string): void {
  const bytes = Deno.readFileSync(db);
  const size = pageSize(bytes);
  const inLog = pagesInLog(`${db}-wal`, size);
  for (let at = size; at < bytes.length; at += size) {
    const page = bytes.subarray(at, at + size);
    const isTarget = page[0] === INDEX_LEAF && !inLog.has(at / size + 1) &&
      new TextDecoder("latin1").decode(page).includes(text);
    if (!isTarget) continue;
    page.fill(0xff, 8, 200);
    Deno.writeFileSync(db, bytes);
    return;
  }
  throw new Error("no index page fits");
}

function pageSize(db: Uint8Array): number {
  const size = new DataView(db.buffer).getUint16(16);
  return size === 1 ? 65_536 : size;
}

function pagesInLog(wal: string, pageSize: number): Set<number> {
  const bytes = Deno.readFileSync(wal);
  const view = new DataView(bytes.buffer);
  const pages = new Set<number>();
  for (let at = 32; at + 24 < bytes.length; at += 24 + pageSize) {
    pages.add(view.getUint32(at));
  }
  return pages;
}
