/**
 * The configuration of the tests' Swift.
 *
 * @module
 */

/** What keeps things, each in a server of its own. */
export const KEEPERS = ["account", "container", "object"] as const;

/** What its servers are called. */
export type SwiftServer = "proxy" | (typeof KEEPERS)[number];

/** Of the one user, known to the tests alone. */
export const CREDENTIALS = {
  accessKeyId: "poh:tester",
  secretAccessKey: "pohtestsecret",
};

/** The text of a server's file; `user` is who starts it. */
export function swiftConfig(
  server: SwiftServer,
  { dir, port, user }: { dir: string; port: number; user: string },
): string {
  return `[DEFAULT]
bind_ip = 127.0.0.1
bind_port = ${port}
user = ${user}
workers = 0
swift_dir = ${dir}
devices = ${dir}/devices
mount_check = false
${server === "proxy" ? proxy() : keeper(server)}`;
}

function keeper(server: SwiftServer): string {
  return `
[pipeline:main]
pipeline = ${server}-server

[app:${server}-server]
use = egg:swift#${server}
`;
}

/** With no more than S3 takes. The cache has to be there; it may be out of reach. */
function proxy(): string {
  const { accessKeyId, secretAccessKey } = CREDENTIALS;
  return `
[pipeline:main]
pipeline = catch_errors gatekeeper cache listing_formats s3api tempauth slo proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true

[filter:catch_errors]
use = egg:swift#catch_errors

[filter:gatekeeper]
use = egg:swift#gatekeeper

[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1

[filter:listing_formats]
use = egg:swift#listing_formats

[filter:s3api]
use = egg:swift#s3api

[filter:tempauth]
use = egg:swift#tempauth
user_${accessKeyId.replace(":", "_")} = ${secretAccessKey} .admin

[filter:slo]
use = egg:swift#slo
`;
}
