/**
 * Sizes that the format of the log fixes, and that rows are reckoned by.
 *
 * @module
 */

/** Bytes of a record before the id. */
export const HEAD_BYTES = 80;

/** Larger payloads are staged files; their records name them. */
export const MAX_PAYLOAD = 64 * 1024;
