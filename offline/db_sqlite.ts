/**
 * Stands in for `@db/sqlite`, which has no counterpart outside JSR: importing
 * it fails, and the storage takes the runtime's own `node:sqlite` instead.
 *
 * @module
 */

throw new Error("@db/sqlite is a JSR package and JSR cannot be reached");
