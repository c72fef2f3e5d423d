/**
 * The configuration of the tests' Ceph.
 *
 * @module
 */

/** The text of `ceph.conf`. */
export function cephConfig(dir: string, port: number, monPort: number): string {
  return `[global]
fsid = ${crypto.randomUUID()}
mon host = [v2:127.0.0.1:${monPort}]
mon initial members = a
public addr = 127.0.0.1
public network = 127.0.0.0/8
ms bind msgr1 = false
ms bind msgr2 = true
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
keyring = ${dir}/keyring
run dir = ${dir}/run
admin socket = ${dir}/run/$name.asok
pid file = ${dir}/run/$name.pid
log file = ${dir}/log/$name.log
mon cluster log file = ${dir}/log/cluster.log
crash dir = ${dir}/log
osd pool default size = 3
osd pool default min size = 2
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
# Three OSDs on one machine are to count as three.
osd crush chooseleaf type = 0
mon max pg per osd = 2000
# A full disk is the machine's concern.
mon data avail crit = 1
mon data avail warn = 2
paxos propose interval = 0.05

[mon]
mon data = ${dir}/mon/$name
mon osd down out interval = 3600

[osd]
osd data = ${dir}/osd.$id
osd objectstore = memstore
memstore device bytes = 4294967296
osd memory target = 939524096
osd class dir = ${classDir()}
osd heartbeat grace = 8
osd op num shards = 2
osd op num threads per shard = 1

[client.rgw]
rgw data = ${dir}/rgw
rgw frontends = beast endpoint=127.0.0.1:${port} tcp_nodelay=1
rgw thread pool size = 64
rgw gc obj min wait = 5
rgw gc processor period = 5
rgw gc processor max time = 5
rgw enable usage log = false
rgw enable ops log = false
rgw dns name = localhost
`;
}

/** Where the OSDs' plug-ins are: Debian has it that Ceph does not find them. */
function classDir(): string {
  const dirs = [
    `/usr/lib/${Deno.build.arch}-linux-gnu`,
    "/usr/lib64",
    "/usr/lib",
  ]
    .map((dir) => `${dir}/rados-classes`);
  return dirs.find((dir) => isDirectory(dir)) ?? dirs[0]!;
}

function isDirectory(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}
