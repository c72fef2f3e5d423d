"""Verifies every payload of a closed store, as docs/on-disk.md describes it.

    python3 read_packed.py BASE [DATABASE]

Prints a line for each damaged transaction and a summary. Changes nothing.
Exits with 0, with 4 if it found damage, with 5 if the store is not closed.
"""
import hashlib, pathlib, re, sqlite3, struct, sys, unicodedata, zlib

SPAN = 2**26  # a position is the number of the segment times this, plus the offset
PLAIN = re.compile(r"(?!(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|\Z))[0-9a-z_-][0-9a-z._-]{0,200}")
UNSAFE = re.compile(r'[\0-\x1f\x7f-\x9f/\\:*?"<>|%]')
DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\.|\Z)", re.I)


def file_name(tx_id, folded):
    """The name of a payload file; folded: where case does not count."""
    if PLAIN.fullmatch(tx_id):
        return tx_id + ".bin"
    encode = lambda text: "".join("%%%02X" % byte for byte in text.encode())
    is_nfc = unicodedata.normalize("NFC", tx_id) == tx_id
    has_case = lambda c: c.isupper() if c < "\x80" else c.lower() != c or c.upper() != c
    name = "".join(
        encode(c) if UNSAFE.match(c) or (c > "\x7f" and not is_nfc) or (folded and has_case(c)) else c
        for c in tx_id)
    if (tx_id.startswith(".") or DEVICE.match(tx_id)) and name.startswith(tx_id[0]):
        name = encode(tx_id[0]) + name[1:]
    if tx_id == "" or "\0" in tx_id or len(name.encode()) > 251:  # of the older package: by digest
        name = "%=" + hashlib.sha256(tx_id.encode()).hexdigest()
    return name + ".bin"


def salt_of(segment, number):
    """The salt of a segment, by whichever copy of its header is sound."""
    for copy in (segment[:80], segment[80:160]):
        if len(copy) == 80 and copy[:4] == b"POHL" and zlib.crc32(copy[:76]) == struct.unpack_from("<I", copy, 76)[0]:
            version, own = struct.unpack_from("<Id", copy, 4)
            if version == 1 and own == number:
                return copy[16:32]
    raise ValueError(f"segment {number} has no sound header of version 1")


def packed(base, place, tx_id, digest):
    """The payload of the record at a place of the log."""
    number, offset = divmod(place, SPAN)
    with open(base / ".poh/log" / f"{number:08d}.seg", "rb") as file:
        salt = salt_of(file.read(160), number)
        file.seek(offset)
        head = file.read(80)
        if len(head) < 80:
            raise ValueError("the log ends before its record")
        crc, length, position, mark, size, kind, flags, *texts = struct.unpack_from("<IId4sIBBHHH", head)
        if not 80 <= length <= 512 * 1024 or position != place or mark != salt[:4]:
            raise ValueError(f"no record at {place}")
        record = head + file.read(length - 80)
    if len(record) < length or zlib.crc32(record[4:], zlib.crc32(salt)) != crc:
        raise ValueError(f"the record at {place} does not match its checksum")
    ends = [80 + sum(texts[:n]) for n in range(4)]
    found, _, name = (record[a:b].decode() for a, b in zip(ends, ends[1:]))
    if found != tx_id or record[32:64].hex() != digest or kind not in (1, 3):
        raise ValueError(f"the record at {place} is another transaction's")
    if kind == 3:  # its payload is a staged file
        return (base / ".poh/staged" / name).read_bytes()
    at = ends[3]
    while flags & 8 and record[at]:  # extensions, none of which a reader has to know
        at += 3 + struct.unpack_from("<H", record, at + 1)[0]
    at += (flags & 8) // 8  # the zero that ends them
    return record[at:at + size]


base = pathlib.Path(sys.argv[1])
path = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else base / "poh.db"
db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
if db.execute("PRAGMA user_version").fetchone()[0] not in (5, 6, 7):
    sys.exit("The database is of a version that this program does not know")
folded = (base / ".poh/names").read_text().startswith("folded")
applied = int(db.execute("SELECT max(value) FROM settings WHERE name = 'applied'").fetchone()[0] or 0)
newest = max((base / ".poh/log").glob("*.seg"), key=lambda file: int(file.stem), default=None)
if newest and int(newest.stem) * SPAN + newest.stat().st_size != applied:
    print("The store is not closed: its log may go on behind its rows", file=sys.stderr)
    sys.exit(5)
count, damaged = {"log": 0, "files": 0}, 0
for tx_id, digest, size, place in db.execute("SELECT tx_id, storage_hash, size, place FROM txs ORDER BY rowid"):
    count["files" if place is None else "log"] += 1
    try:
        file = base / file_name(tx_id, folded)
        payload = file.read_bytes() if place is None else packed(base, place, tx_id, digest)
        if hashlib.sha256(payload).hexdigest() != digest or size not in (-1, len(payload)):
            raise ValueError("the payload does not match its row")
    except (OSError, ValueError, struct.error, IndexError) as error:
        damaged += 1
        print(f"damaged: {tx_id!r}: {error}")
print(f"{count['log']} payloads in the log, {count['files']} in files, {damaged} damaged")
sys.exit(4 if damaged else 0)
