"""A reader of logs for these tests: enough of the format to see what one process recorded."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

LINE, FILE_NAME, CONTEXT_NAME, TRAILER, RESUMED, SAMPLE = 1, 3, 4, 5, 6, 0x85
EXIT_CODE_KNOWN, NAME_LAST = 0x80, 0x80
SLOTS_BEGIN = 8192

# A context, a file and a line.
Hit = tuple[str, str, int]


@dataclass
class Log:
    """What one process recorded."""

    pid: int
    hits: set[Hit] = field(default_factory=set)
    # Times of the latest trailer and of the latest resumption; 0: none.
    ended: int = 0
    resumed: int = 0
    reason: int = 0
    exit_code: int | None = None
    samples: list[tuple[str, int]] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return self.ended > self.resumed


def read_log(path: Path) -> Log:
    log = Log(int(path.name.split("-")[0]))
    names: dict[tuple[int, int], dict[int, tuple[bytes, bool]]] = {}
    lines: list[tuple[int, int, int]] = []
    for slot in struct.iter_unpack("<BBHI8s8sII", _slots(path)):
        kind, flags, aux, _place, first, second, last, _crc = slot
        if kind == LINE:
            context, file = struct.unpack("<II", first)
            lines.append((context, file, struct.unpack("<Q", second)[0]))
        elif kind in (FILE_NAME, CONTEXT_NAME):
            (number,) = struct.unpack("<I", first[:4])
            chunk = (first[4:] + second + struct.pack("<I", last))[: flags & 0x1F]
            names.setdefault((kind, number), {})[aux] = (chunk, bool(flags & NAME_LAST))
        elif kind == TRAILER:
            (time,) = struct.unpack("<Q", first)
            # Where a trailer lies says nothing about when it was written.
            if time >= log.ended:
                log.ended, log.reason = time, flags & 0x0F
                log.exit_code = aux if flags & EXIT_CODE_KNOWN else None
        elif kind == RESUMED:
            log.resumed = max(log.resumed, *struct.unpack("<Q", first))
        elif kind == SAMPLE:
            log.samples.append((str(aux), struct.unpack("<Q", second)[0]))
    known = {key: _joined(chunks) for key, chunks in names.items()}
    for context, file, line in lines:
        name = known[CONTEXT_NAME, context] if context else ""
        log.hits.add((name, known[FILE_NAME, file], line))
    return log


def _slots(path: Path) -> bytes:
    """The slots with a right checksum: none that is blank or whose writer was killed in it."""
    contents = path.read_bytes()[SLOTS_BEGIN:]
    slots = (contents[at : at + 32] for at in range(0, len(contents) - 31, 32))
    return b"".join(slot for slot in slots if zlib.crc32(slot[:28]).to_bytes(4, "little") == slot[28:])


def _joined(chunks: dict[int, tuple[bytes, bool]]) -> str:
    assert chunks[max(chunks)][1], f"a name without its end: {chunks}"
    assert sorted(chunks) == list(range(len(chunks)))
    name = b"".join(chunks[index][0] for index in sorted(chunks))
    return name.decode("utf-8", "surrogateescape")


def read_run(directory: Path) -> list[Log]:
    """All logs of a run, in the order of their pids."""
    return sorted((read_log(path) for path in directory.glob("*.hitlog")), key=lambda log: log.pid)


def all_hits(logs: list[Log]) -> set[Hit]:
    return set().union(*(log.hits for log in logs)) if logs else set()
