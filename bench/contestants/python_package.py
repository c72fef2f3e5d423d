"""The Python package's way of working, written from its description.

A save is a file write, INSERT OR REPLACE and a commit; the file is not synced.
A load reads the row, the file, and compares the SHA-256. A recovery loads
every row. Payloads by generator.mjs's definition.
"""

import asyncio
import hashlib
import json
import os
import struct
import sys
import time

try:
    import aiofiles
    import aiosqlite
except ImportError as error:
    print(json.dumps({"skipped": f"{error}: apt-get install python3-aiofiles python3-aiosqlite"}))
    sys.exit()

MASK = 0xFFFFFFFF
POOL = 1 << 20


def mix(n):
    n = ((n ^ (n >> 16)) * 0x85EBCA6B) & MASK
    n = ((n ^ (n >> 13)) * 0xC2B2AE35) & MASK
    return n ^ (n >> 16)


def id_of(i):
    return hashlib.sha256(str(i).encode()).hexdigest()


def payloads(job):
    if job.get("input"):
        real = read_corpus(job["input"])
        for i in range(job["count"]):
            yield stamped(real[i % len(real)], i)
        return
    size = job["size"]
    pool = b"".join(struct.pack("<I", mix(k)) for k in range(POOL // 4))
    pool *= 1 + (size + POOL - 1) // POOL
    for i in range(job["count"]):
        start = i * 64 % POOL
        yield stamped(pool[start : start + size], i)


def stamped(payload, i):
    return payload if len(payload) < 8 else struct.pack("<Q", i) + payload[8:]


def read_corpus(path):
    with open(path, "rb") as file:
        data = file.read()
    found, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        found.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    return found


class Store:
    def __init__(self, base, db):
        self.base, self.db = base, db

    @classmethod
    async def open(cls, job):
        os.makedirs(job["dir"], exist_ok=True)
        db = await aiosqlite.connect(os.path.join(job["dir"], "poh.db"))
        await db.execute(
            "CREATE TABLE IF NOT EXISTS txs (tx_id TEXT PRIMARY KEY,"
            " storage_hash TEXT NOT NULL, timestamp REAL NOT NULL)"
        )
        await db.commit()
        return cls(job["dir"], db)

    def path(self, tx_id):
        return os.path.join(self.base, f"{tx_id}.bin")

    async def save(self, tx_id, payload, timestamp):
        storage_hash = hashlib.sha256(payload).hexdigest()
        async with aiofiles.open(self.path(tx_id), "wb") as file:
            await file.write(payload)
        await self.db.execute(
            "INSERT OR REPLACE INTO txs (tx_id, storage_hash, timestamp) VALUES (?, ?, ?)",
            (tx_id, storage_hash, timestamp),
        )
        await self.db.commit()

    async def load(self, tx_id):
        async with self.db.execute(
            "SELECT storage_hash, timestamp FROM txs WHERE tx_id = ?", (tx_id,)
        ) as cursor:
            row = await cursor.fetchone()
        if row is None:
            return None
        async with aiofiles.open(self.path(tx_id), "rb") as file:
            payload = await file.read()
        if hashlib.sha256(payload).hexdigest() != row[0]:
            raise ValueError(f"{tx_id} is damaged")
        return payload

    async def list_ids(self):
        async with self.db.execute("SELECT tx_id FROM txs ORDER BY tx_id") as cursor:
            return [row[0] for row in await cursor.fetchall()]

    async def recover(self):
        sound = []
        for tx_id in await self.list_ids():
            try:
                await self.load(tx_id)
                sound.append(tx_id)
            except (ValueError, OSError):
                pass
        return sound


async def lanes(in_flight, count, work):
    following = iter(range(count))

    async def lane():
        for i in following:
            await work(i)

    await asyncio.gather(*(lane() for _ in range(min(in_flight, count))))


async def save(job):
    store = await Store.open(job)
    ids = [id_of(i) for i in range(job["count"])]
    if job["op"] == "saveLarge":
        source = payloads(job)
        one = next(source)
        items = [one] * job["count"]
    else:
        items = list(payloads(job))
    start = time.perf_counter()
    await lanes(job["inFlight"], job["count"], lambda i: store.save(ids[i], items[i], i))
    seconds = time.perf_counter() - start
    await store.db.close()
    return {"seconds": seconds, "ops": job["count"]}


async def load(job):
    store = await Store.open(job)
    ids = [id_of(i) for i in range(job["stored"])]
    in_order = job.get("inOrder")
    wanted = [ids[(n if in_order else mix(n)) % len(ids)] for n in range(job["count"])]
    start = time.perf_counter()
    await lanes(job["inFlight"], job["count"], lambda n: store.load(wanted[n]))
    seconds = time.perf_counter() - start
    await store.db.close()
    return {"seconds": seconds, "ops": job["count"]}


async def fill(job):
    """The same store, sooner: one commit for all."""
    store = await Store.open(job)
    for i, payload in enumerate(payloads(job)):
        tx_id = id_of(i)
        if not job.get("rowsOnly"):
            with open(store.path(tx_id), "wb") as file:
                file.write(payload)
        row = (tx_id, hashlib.sha256(payload).hexdigest(), i)
        await store.db.execute("INSERT OR REPLACE INTO txs VALUES (?, ?, ?)", row)
    await store.db.commit()
    await store.db.close()
    return {"seconds": 0, "ops": job["count"]}


async def recover(job):
    store = await Store.open(job)
    for i in job["damage"]:
        with open(store.path(id_of(i)), "wb") as file:
            file.write(bytes(1024))
    start = time.perf_counter()
    sound = await store.recover()
    seconds = time.perf_counter() - start
    await store.db.close()
    return {"seconds": seconds, "ops": job["count"], "sound": len(sound)}


async def list_all(job):
    store = await Store.open(job)
    ids = await store.list_ids()
    print("Transactions: " + ", ".join(ids))
    await store.db.close()
    return {"seconds": 0, "ops": len(ids)}


JOBS = {"save": save, "saveLarge": save, "load": load, "fill": fill, "recover": recover, "list": list_all}

job = json.loads(sys.argv[1])
print(json.dumps(asyncio.run(JOBS[job["op"]](job))))
