"""A store in the form of the older Python package, with the standard library.

    python3 python_store.py BASE DB < commands.json > outcome.json

The commands are {"save": [{"tx_id", "timestamp", "payload" in base64}, ...],
"remove": [tx_id, ...]}; both may be missing. The outcome is every transaction
that the package would load afterwards: {tx_id: [timestamp, payload in base64]},
with null in place of the payload where its file is missing or has another
digest than its row.
"""

import base64
import hashlib
import json
import os
import sqlite3
import sys


class PythonStore:
    def __init__(self, base, db):
        self.base = base
        os.makedirs(base, exist_ok=True)
        self.rows = sqlite3.connect(db)
        self.rows.execute(
            "CREATE TABLE IF NOT EXISTS txs (tx_id TEXT PRIMARY KEY,"
            " storage_hash TEXT NOT NULL, timestamp REAL NOT NULL)"
        )
        self.rows.commit()

    def path(self, tx_id):
        return os.path.join(self.base, f"{tx_id}.bin")

    def save(self, tx_id, timestamp, payload):
        with open(self.path(tx_id), "wb") as file:
            file.write(payload)
        self.rows.execute(
            "INSERT OR REPLACE INTO txs (tx_id, storage_hash, timestamp)"
            " VALUES (?, ?, ?)",
            (tx_id, hashlib.sha256(payload).hexdigest(), timestamp),
        )
        self.rows.commit()

    def remove(self, tx_id):
        os.remove(self.path(tx_id))
        self.rows.execute("DELETE FROM txs WHERE tx_id = ?", (tx_id,))
        self.rows.commit()

    def load(self, tx_id, storage_hash):
        try:
            with open(self.path(tx_id), "rb") as file:
                payload = file.read()
        except FileNotFoundError:
            return None
        is_sound = hashlib.sha256(payload).hexdigest() == storage_hash
        return base64.b64encode(payload).decode() if is_sound else None

    def all(self):
        rows = self.rows.execute(
            "SELECT tx_id, storage_hash, timestamp FROM txs"
        ).fetchall()
        return {
            tx_id: [timestamp, self.load(tx_id, storage_hash)]
            for tx_id, storage_hash, timestamp in rows
        }


def main():
    base, db = sys.argv[1:]
    # Not the terminal's encoding: the commands are UTF-8 everywhere.
    commands = json.loads(sys.stdin.buffer.read())
    store = PythonStore(base, db)
    for tx in commands.get("save", []):
        payload = base64.b64decode(tx["payload"])
        store.save(tx["tx_id"], tx["timestamp"], payload)
    for tx_id in commands.get("remove", []):
        store.remove(tx_id)
    sys.stdout.write(json.dumps(store.all()))
    store.rows.close()


if __name__ == "__main__":
    main()
