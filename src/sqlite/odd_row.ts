/**
 * Rows that are no transactions: another program, or a hand, has left them.
 *
 * @module
 */

/** A row of which a part cannot be that of a transaction. */
export interface OddRow {
  /** The row's id, as SQL writes it where it is no text. */
  id: string;
  /** What is wrong with it. */
  reason: string;
  /**
   * Whether lists have it all the same. Not where its id is what is wrong: no
   * call could name it.
   */
  listed: boolean;
}

/** As many are told; more say nothing that these do not. */
export const MOST_ODD_ROWS = 1_000;
