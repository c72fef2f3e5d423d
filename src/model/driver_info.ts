/**
 * The database driver: a SQLite binding, or a server.
 *
 * @module
 */

/** Which binding to use; see `openSqlite`. */
export type DriverChoice = "auto" | "ffi" | "builtin";

/** Which binding serves, and with what. */
export interface DriverInfo {
  /**
   * `ffi` is `@db/sqlite`, `builtin` is `node:sqlite`; `postgres` is none of
   * SQLite's, but where the metadata is on a PostgreSQL server.
   */
  name: "ffi" | "builtin" | "postgres";
  /** The library's path or name; `"built in"` for the runtime's own. */
  library: string;
  /** SQLite's version, such as `"3.53.2"`, or that of the PostgreSQL server. */
  sqliteVersion: string;
  /** Why `auto` did not take the FFI binding, where it did not. */
  fallbackReason?: string;
}
