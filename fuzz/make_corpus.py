"""Makes the seed corpus of every fuzz target: `python3 fuzz/make_corpus.py` writes fuzz/corpus/TARGET/.

A fuzzer that begins with nothing needs long to find a record's kinds; here it begins with one of each,
with the names that belong to them, and with every kind of damage.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

FUZZ = Path(__file__).parent
LOG_ID = bytes([7]) * 16

# Kind, and the range of what its fields may be is in format-spec.md, section 5.
KINDS = [*range(0x08), *range(0x80, 0x86), 0x7F, 0xFF]


def content(kind: int, flags: int, aux: int, payload: bytes) -> bytes:
    """Return the 24 bytes of a record that a target makes a slot of: head, then payload."""
    return struct.pack("<BBH", kind, flags, aux) + payload.ljust(20, b"\0")


def contents() -> list[bytes]:
    """Return records of each kind, alone and together with a name."""
    name = content(0x03, 0x80 | 9, 0, struct.pack("<I", 1) + b"/a/b/c.py")
    context = content(0x04, 0x80 | 4, 0, struct.pack("<I", 1) + b"test")
    line = content(0x01, 0, 0, struct.pack("<III", 1, 1, 88))
    arc = content(0x02, 0, 0, struct.pack("<IIii", 1, 1, -1, 7))
    trailer = content(0x05, 0x80, 0, struct.pack("<QQI", 9, 4, 0))
    singles = [content(kind, 0, 1, struct.pack("<IIIII", 1, 1, 1, 1, 1)) for kind in KINDS]
    return [*singles, name + context + line + arc + trailer, name * 2 + line * 50, b"".join(singles)]


def header() -> bytes:
    """Return both copies of a header."""
    copy = bytearray(4092)
    struct.pack_into("<8sHHI", copy, 0, bytes.fromhex("894849540d0a1a0a"), 1, 32, 8192)
    copy[24:40] = copy[56:72] = LOG_ID
    return (bytes(copy) + struct.pack("<I", zlib.crc32(copy))) * 2


def slot(number: int, record: bytes) -> bytes:
    """Return a valid slot that holds `record`."""
    place = (int.from_bytes(LOG_ID[:4], "little") + number) & 0xFFFFFFFF
    bytes_ = record[:4] + struct.pack("<I", place) + record[4:]
    return bytes_ + struct.pack("<I", zlib.crc32(bytes_))


def seeds() -> dict[str, list[bytes]]:
    """Return all seeds by target."""
    records = contents()
    whole = header() + b"".join(slot(number, record[:24]) for number, record in enumerate(records))
    raw = [
        b"\0" + whole,
        b"\0" + whole[:8200],
        b"\0" + whole[:-5],
        *(b"\1" + record for record in records),
    ]
    logs = [struct.pack("<H", len(record) + 1) + b"\1" + record for record in records]
    operations = [bytes([what, 3, 5, 1]) for what in range(8)]
    hosts = [operation * 40 for operation in operations] + [b"".join(operations) * 30]
    plans = [
        struct.pack("<HBBB", nth, nth % 8, nth % 2, nth // 2 % 2) for nth in (1, 2, 3, 5, 8, 50, 700)
    ]
    return {
        "read_raw": raw,
        "read_structured": [bytes([what, 3, 9, 0x41]) for what in range(4)] + [bytes(range(64))],
        "compact_raw": [*logs, b"".join(logs[-3:]), struct.pack("<H", 9000) + b"\0" + whole],
        "write_faults": [plan + host for plan in plans for host in hosts],
        "roundtrip": hosts,
    }


def main() -> None:
    """Write the seeds."""
    for target, inputs in seeds().items():
        folder = FUZZ / "corpus" / target
        folder.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(inputs):
            (folder / f"seed-{number:02}").write_bytes(data)


if __name__ == "__main__":
    main()
