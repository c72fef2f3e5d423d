/**
 * The icon of the Windows binary: three slabs on a blue tile. `deno compile`
 * makes the smaller sizes from this one.
 *
 * @module
 */

/** Width and height; an `.ico` file writes 256 as 0. */
const SIZE = 256;

const FILE_HEADER = 6 + 16;
const BITMAP_HEADER = 40;
const PIXELS = 4 * SIZE * SIZE;
/** The mask that icons have after the picture: one bit a pixel. */
const MASK = SIZE * SIZE / 8;

/** Blue, green, red, opacity. */
const TILE = [0x8a, 0x4f, 0x1f, 0xff];
const SLAB = [0xff, 0xff, 0xff, 0xff];
const NOTHING = [0, 0, 0, 0];

/** The icon as an `.ico` file. */
export function icon(): Uint8Array {
  const size = BITMAP_HEADER + PIXELS + MASK;
  const bytes = new Uint8Array(FILE_HEADER + size);
  const view = new DataView(bytes.buffer);
  view.setUint16(2, 1, true); // an icon, not a cursor
  view.setUint16(4, 1, true); // one picture
  view.setUint16(10, 1, true); // planes
  view.setUint16(12, 32, true); // bits per pixel
  view.setUint32(14, size, true);
  view.setUint32(18, FILE_HEADER, true);
  view.setUint32(22, BITMAP_HEADER, true);
  view.setInt32(26, SIZE, true);
  view.setInt32(30, 2 * SIZE, true); // the picture and the mask
  view.setUint16(34, 1, true);
  view.setUint16(36, 32, true);
  for (let y = 0; y < SIZE; y++) {
    for (let x = 0; x < SIZE; x++) {
      // Rows go from the bottom to the top.
      const at = FILE_HEADER + BITMAP_HEADER + 4 * ((SIZE - 1 - y) * SIZE + x);
      bytes.set(colour(x, y), at);
    }
  }
  return bytes;
}

function colour(x: number, y: number): number[] {
  const unit = SIZE / 16;
  const isEdge = (at: number) => at < unit || at >= 15 * unit;
  if (isEdge(x) && isEdge(y)) return NOTHING;
  const isWithin = (at: number) => at >= 3 * unit && at < 13 * unit;
  const isSlab = isWithin(x) && isWithin(y) && (y - 3 * unit) % (4 * unit) <
      2 * unit;
  return isSlab ? SLAB : TILE;
}
