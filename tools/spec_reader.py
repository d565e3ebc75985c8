"""A second reader of hitlog's logs, written from format-spec.md alone.

Prints byte for byte what ``hitlog dump --json LOG...`` prints, for good and for damaged logs, with
the same exit code: two programs that agree prove the document. Python 3.9 or later, standard
library only. Section numbers in comments are those of format-spec.md.

    python3 tools/spec_reader.py LOG...
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import stat
import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

MAGIC = b"\x89HIT\r\n\x1a\n"
VERSION = 1
COPY_SIZE = 4096
HEADER_SIZE = 8192
RECORD_SIZE = 32
BLOCK_SIZE = 262144
LOG_BYTES_MAX = 17179869184
LINE_MAX = 4194303
NAME_ID_MAX = 16777215
SAMPLE_NAME_ID_MAX = 65535
CHUNK_BYTES = 16
CHUNKS_MAX = 4096
NAME_CHUNKS_KEPT_MAX = 2097152
CONTEXT_EVENTS_KEPT_MAX = 1048576
SAMPLES_KEPT_MAX = 1048576
FILES_KEPT_MAX = 524288
LISTED_MAX = 1000

# Section 3, from offset 8: version to argv_length.
HEADER = struct.Struct("<HHIII16s16s16sIII4xQQ16sqQHHI")
TEXT_AT = 144
CRC_AT = 4092

NAME_KINDS = {0x03: "file_name", 0x04: "context_name", 0x84: "sample_name"}
SPACES = {"file_name": "file", "context_name": "context", "sample_name": "sample"}
REASONS = ("closed", "continued", "exec")

JsonObject = dict[str, Any]


class Copy(NamedTuple):
    """One copy of the header: its state, and its fields if it is whole."""

    state: str
    fields: JsonObject | None


class NotReadableError(Exception):
    """Why a log cannot be read at all."""


def shown(text: bytes) -> str:
    r"""Return text as it is shown: bytes that are not valid UTF-8 as ``\xNN`` (section 1)."""
    return text.decode("utf-8", "backslashreplace")


def parse_copy(copy: bytes) -> Copy:
    """Return the state of one copy of the header, and its fields if it is whole (section 3)."""
    if len(copy) < COPY_SIZE:
        return Copy("short", None)
    if copy[:8] != MAGIC:
        return Copy("magic", None)
    if zlib.crc32(copy[:CRC_AT]) != int.from_bytes(copy[CRC_AT:], "little"):
        return Copy("checksum", None)
    values = HEADER.unpack_from(copy, 8)
    version, record_size, header_size, compatible, incompatible = values[:5]
    lengths = values[-3:]
    if version != VERSION:
        return Copy("version", None)
    if incompatible != 0:
        return Copy("incompatible", None)
    room = CRC_AT - TEXT_AT
    if record_size != RECORD_SIZE or header_size != HEADER_SIZE or sum(lengths) > room:
        return Copy("content", None)
    return Copy("whole", header_fields(copy, values, bool(compatible & 1)))


def header_fields(copy: bytes, values: tuple[Any, ...], argv_cut: bool) -> JsonObject:
    """Return the fields of a whole copy; ``log_id`` and ``raw`` are not printed with them."""
    log_id, parent, first, segment, pid, ppid, ticks, namespace, boot, wall, monotonic = values[5:16]
    texts = []
    at = TEXT_AT
    for length in values[16:]:
        texts.append(copy[at : at + length])
        at += length
    run_id, host, argv = texts
    arguments = argv.split(b"\0")
    if arguments[-1] == b"":
        arguments.pop()
    return {
        "log_id": log_id,
        "parent_log_id": parent.hex() if any(parent) else None,
        "first_log_id": first.hex(),
        "segment": segment,
        "pid": pid,
        "ppid": ppid,
        "process_start_ticks": ticks,
        "pid_namespace": namespace,
        "boot_id": boot.hex() if any(boot) else None,
        "wall_start_ns": wall,
        "monotonic_start_ns": monotonic,
        "run_id": shown(run_id),
        "host": shown(host),
        "argv": [shown(argument) for argument in arguments],
        "argv_cut": argv_cut,
        "raw": (run_id, host, argv),
    }


def choose(first: Copy, second: Copy, name_id: bytes | None) -> tuple[Copy, list[str]]:
    """Return the copy that counts, and the states of both (section 3)."""
    states = [first.state, second.state]
    if first.fields is None or second.fields is None:
        return (first if second.fields is None else second), states
    if first.fields == second.fields:
        return first, states
    if second.fields["log_id"] == name_id != first.fields["log_id"]:
        return second, ["different", states[1]]
    return first, [states[0], "different"]


def log_id_of_name(path: str) -> bytes | None:
    """Return the log id in a file's name, if it is one of a log (section 2)."""
    name = os.path.basename(path)
    found = re.fullmatch(r"([0-9]+)-([0-9a-f]{32})\.hitlog", name)
    if found is None or int(found[1]) > 0xFFFFFFFF:
        return None
    return bytes.fromhex(found[2])


def is_writer_alive(path: str, header: JsonObject | None) -> bool:
    """Ask the lock and the process (section 8)."""
    process = process_state(header)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        locked: bool | None = False
    except BlockingIOError:
        locked = True
    except OSError:
        locked = None
    finally:
        os.close(descriptor)
    if locked is None:
        return process == "present"
    return locked and process != "gone"


def process_state(header: JsonObject | None) -> str:
    """Tell whether the process that the header names is unknown, gone or present."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            own_boot = file.read().strip().replace("-", "")
    except OSError:
        return "unknown"
    if header is None or header["boot_id"] is None:
        return "unknown"
    if header["boot_id"] != own_boot:
        return "gone"
    try:
        own_namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return "unknown"
    if header["pid_namespace"] == 0 or header["pid_namespace"] != own_namespace:
        return "unknown"
    try:
        with open(f"/proc/{header['pid']}/stat", "rb") as process:
            fields = process.read().rpartition(b")")[2].split()
    except OSError:
        return "gone"
    start = int(fields[19])
    if fields[0] in (b"Z", b"X") or header["process_start_ticks"] not in (0, start):
        return "gone"
    return "present"


def decode(kind: int, slot: bytes) -> JsonObject | None:
    """Decode a slot with right checksum and place; None if out of range (section 5)."""
    flags = slot[1]
    aux = int.from_bytes(slot[2:4], "little")
    if kind == 0:
        return None
    if kind in NAME_KINDS:
        return decode_name(NAME_KINDS[kind], flags, aux, slot)
    if kind == 0x01:
        context, file, line = struct.unpack_from("<III", slot, 8)
        fine = context <= NAME_ID_MAX and 1 <= file <= NAME_ID_MAX and 1 <= line <= LINE_MAX
        return {"record": "line", "context": context, "file": file, "line": line} if fine else None
    if kind == 0x02:
        context, file, start, end = struct.unpack_from("<IIii", slot, 8)
        fine = context <= NAME_ID_MAX and 1 <= file <= NAME_ID_MAX
        fine = fine and abs(start) <= LINE_MAX and abs(end) <= LINE_MAX
        return (
            {"record": "arc", "context": context, "file": file, "from": start, "to": end}
            if fine
            else None
        )
    if kind == 0x05:
        return decode_trailer(flags, aux, slot)
    if kind == 0x06:
        return {"record": "resumed", "time_ns": struct.unpack_from("<Q", slot, 8)[0]}
    if kind == 0x07:
        time_ns, lost = struct.unpack_from("<QQ", slot, 8)
        return {"record": "loss", "lost": lost, "errno": aux, "time_ns": time_ns}
    if kind == 0x81:
        size, mtime_ns, file = struct.unpack_from("<QqI", slot, 8)
        facts = {"record": "file_facts", "file": file, "size": size, "mtime_ns": mtime_ns}
        return facts if 1 <= file <= NAME_ID_MAX else None
    if kind in (0x82, 0x83):
        return decode_context(kind, flags, slot)
    if kind == 0x85:
        time_ns, value, context = struct.unpack_from("<QQI", slot, 8)
        sample = {
            "record": "sample",
            "name": aux,
            "context": context,
            "time_ns": time_ns,
            "value": value,
        }
        return sample if aux != 0 and context <= NAME_ID_MAX else None
    return {"record": "unknown", "kind": kind, "skippable": bool(kind & 0x80)}


def decode_name(record: str, flags: int, index: int, slot: bytes) -> JsonObject | None:
    """Decode a chunk of a name. ``raw`` is not printed: ``text`` is its shown form."""
    length, last = flags & 0x7F, bool(flags & 0x80)
    number = int.from_bytes(slot[8:12], "little")
    highest = SAMPLE_NAME_ID_MAX if record == "sample_name" else NAME_ID_MAX
    if not (length == CHUNK_BYTES or (last and length < CHUNK_BYTES)):
        return None
    if index >= CHUNKS_MAX or not 1 <= number <= highest:
        return None
    raw = slot[12 : 12 + length]
    return {
        "record": record,
        "id": number,
        "index": index,
        "last": last,
        "text": shown(raw),
        "raw": raw,
    }


def decode_trailer(flags: int, aux: int, slot: bytes) -> JsonObject | None:
    """Decode an end of the log."""
    time_ns, records, lost = struct.unpack_from("<QQI", slot, 8)
    reason = flags & 0x0F
    if reason >= len(REASONS):
        return None
    exit_code = aux if flags & 0x80 else None
    return {
        "record": "trailer",
        "reason": REASONS[reason],
        "exit_code": exit_code,
        "time_ns": time_ns,
        "records": records,
        "lost": lost,
    }


def decode_context(kind: int, flags: int, slot: bytes) -> JsonObject | None:
    """Decode a start or a stop of a context."""
    time_ns, context, thread = struct.unpack_from("<QII", slot, 8)
    if context > NAME_ID_MAX:
        return None
    record = "context_start" if kind == 0x82 else "context_stop"
    event = {"record": record, "context": context, "thread": thread, "time_ns": time_ns}
    if kind == 0x82:
        event["inherited"] = bool(flags & 1)
    return event


@dataclass
class Log:
    """A log that is open: what its header and its name say."""

    path: str
    descriptor: int
    size: int
    log_id: bytes
    header: JsonObject | None
    states: list[str]
    is_beginning_fine: bool
    alive: bool

    @property
    def tag(self) -> int:
        """The place of slot 0."""
        return int.from_bytes(self.log_id[:4], "little")

    @property
    def slots(self) -> int:
        """How many whole slots there are (section 2)."""
        return max(0, min(self.size, LOG_BYTES_MAX) - HEADER_SIZE) // RECORD_SIZE

    @property
    def trailing_bytes(self) -> int:
        """How many bytes follow the last slot."""
        return max(0, self.size - HEADER_SIZE - RECORD_SIZE * self.slots)


def open_log(path: str) -> Log:
    """Open a log; NotReadableError if it is none, or one of another version."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise NotReadableError("not a regular file")
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise NotReadableError(str(error)) from error
    start = os.pread(descriptor, HEADER_SIZE, 0)
    name_id = log_id_of_name(path)
    copies = parse_copy(start[:COPY_SIZE]), parse_copy(start[COPY_SIZE:])
    (_, header), states = choose(*copies, name_id)
    log_id = name_id if header is None else header["log_id"]
    if header is None and {"version", "incompatible"} & set(states):
        raise NotReadableError("a log of another version")
    if log_id is None:
        raise NotReadableError(f"not a log (copies of the header: {states})")
    alive = is_writer_alive(path, header)
    size = os.fstat(descriptor).st_size
    copies_fine = [
        state == "whole" or not any(copy)
        for state, copy in zip(states, (start[:COPY_SIZE], start[COPY_SIZE:]))
    ]
    return Log(path, descriptor, size, log_id, header, states, all(copies_fine), alive)


def classify(log: Log, number: int, slot: bytes) -> JsonObject | None:
    """Tell what a slot holds; None if it is simply blank (section 4)."""
    if not any(slot):
        return None
    place = int.from_bytes(slot[4:8], "little")
    if zlib.crc32(slot[:28]) == int.from_bytes(slot[28:], "little"):
        if place != (log.tag + number) % 2**32:
            own = (place - log.tag) % 2**32
            return {"foreign": {"place": place, "slot": own if own < log.slots else None}}
        return decode(slot[0], slot) or {"damaged": "content"}
    if not any(slot[24:]):
        return {"blank": "unfinished"}
    return {"damaged": "checksum"}


def read_or_nothing(log: Log, offset: int, size: int) -> bytes:
    """Return the bytes at an offset, as far as they can be read; none if the medium fails."""
    try:
        return os.pread(log.descriptor, size, offset)
    except OSError as error:
        if error.errno in (errno.EIO, errno.EUCLEAN, errno.EBADMSG, errno.ENODATA, errno.EILSEQ):
            return b""
        raise NotReadableError(str(error)) from error


def next_data(log: Log, offset: int) -> int:
    """Return the offset at which data goes on after a blank block."""
    try:
        return os.lseek(log.descriptor, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return min(log.size, os.fstat(log.descriptor).st_size)
        return offset


def walk(log: Log) -> Iterator[tuple[int, JsonObject]]:
    """Yield each slot that is not simply blank, with what it holds."""
    number = 0
    while number < log.slots:
        offset = HEADER_SIZE + RECORD_SIZE * number
        wanted = min(BLOCK_SIZE // RECORD_SIZE, log.slots - number)
        block = read_or_nothing(log, offset, wanted * RECORD_SIZE)
        if len(block) < wanted * RECORD_SIZE:
            wanted = min(wanted, COPY_SIZE // RECORD_SIZE)  # only what cannot be read is to be lost
            block = read_or_nothing(log, offset, wanted * RECORD_SIZE)
        elif not any(block):
            number += wanted
            data = next_data(log, HEADER_SIZE + RECORD_SIZE * number)
            number = max(number, min(log.slots, (data - HEADER_SIZE) // RECORD_SIZE))
            continue
        for index in range(wanted):
            slot = block[RECORD_SIZE * index : RECORD_SIZE * (index + 1)]
            found = examine(log, number + index, slot)
            if found is not None:
                yield number + index, found
        number += wanted


def examine(log: Log, number: int, slot: bytes) -> JsonObject | None:
    """Tell what a slot holds, reading it again if a living writer may just be storing it."""
    if len(slot) < RECORD_SIZE:
        return {"damaged": "unreadable"}
    found = classify(log, number, slot)
    if log.alive and found is not None and "record" not in found:
        again = read_or_nothing(log, HEADER_SIZE + RECORD_SIZE * number, RECORD_SIZE)
        if len(again) == RECORD_SIZE:
            return classify(log, number, again)
    return found


@dataclass
class Digest:
    """What the slots of a log say together."""

    valid: int = 0
    unfinished: int = 0
    damaged: int = 0
    foreign: int = 0
    trailers: int = 0
    promised: int = 0
    lines: int = 0
    arcs: int = 0
    loss: tuple[int, int] = (0, 0)
    end: tuple[int, bool, int] = (-1, False, -1)
    trailer: JsonObject | None = None
    unknown: dict[int, int] = field(default_factory=dict)
    chunks: dict[str, dict[tuple[int, int], JsonObject]] = field(
        default_factory=lambda: {"file": {}, "context": {}, "sample": {}}
    )
    used: dict[str, set[int]] = field(
        default_factory=lambda: {"file": set(), "context": set(), "sample": set()}
    )
    events: list[tuple[int, int, bool, int, int]] = field(default_factory=list)
    facts: set[int] = field(default_factory=set)
    samples: int = 0

    def add(self, number: int, found: JsonObject) -> None:
        """Take note of one slot."""
        if "record" in found:
            self.valid += 1
            self.record(number, found)
        self.unfinished += "blank" in found
        self.damaged += "damaged" in found
        self.foreign += "foreign" in found

    def record(self, number: int, record: JsonObject) -> None:
        """Take note of one record."""
        kind = record["record"]
        if kind in SPACES:
            key = record["id"], record["index"]
            self.chunks[SPACES[kind]].setdefault(key, record)
        elif kind in ("line", "arc"):
            self.lines += kind == "line"
            self.arcs += kind == "arc"
            self.used["file"].add(record["file"])
        elif kind in ("context_start", "context_stop"):
            if len(self.events) <= CONTEXT_EVENTS_KEPT_MAX:
                is_start = kind == "context_start"
                event = record["thread"], record["time_ns"], is_start, number, record["context"]
                self.events.append(event)
        elif kind == "sample":
            self.samples += 1
            self.used["sample"].add(record["name"])
        elif kind == "file_facts":
            self.facts.add(record["file"])
        elif kind == "unknown":
            self.unknown[record["kind"]] = self.unknown.get(record["kind"], 0) + 1
        if "context" in record:
            self.used["context"].add(record["context"])
        self.note_end(number, record)

    def note_end(self, number: int, record: JsonObject) -> None:
        """Take note of trailers, resumptions and losses (section 8)."""
        kind = record["record"]
        if kind == "trailer":
            self.trailers += 1
            self.promised = max(self.promised, record["records"])
            self.loss = max(self.loss, (record["lost"], 0))
        elif kind == "loss":
            self.loss = max(self.loss, (record["lost"], record["errno"]))
        if kind in ("trailer", "resumed"):
            order = record["time_ns"], kind == "resumed", number
            if order > self.end:
                self.end = order
                self.trailer = record if kind == "trailer" else None

    def names(self) -> tuple[dict[str, dict[int, bytes]], bool]:
        """Return the whole names of each space, and whether chunks were left out (sections 6 and 9)."""
        names: dict[str, dict[int, bytes]] = {"file": {}, "context": {}, "sample": {}}
        left = NAME_CHUNKS_KEPT_MAX
        for space, chunks in self.chunks.items():
            kept = sorted(chunks)[:left]
            left -= len(kept)
            for number, name in join(kept, chunks):
                names[space][number] = name
        return names, sum(map(len, self.chunks.values())) > NAME_CHUNKS_KEPT_MAX

    def last_context(self) -> tuple[int, int, int] | None:
        """Return the open context, its thread and its start (section 7)."""
        is_open: dict[int, tuple[int, int]] = {}
        for thread, time_ns, is_start, _, context in sorted(self.events[:CONTEXT_EVENTS_KEPT_MAX]):
            if is_start:
                is_open[thread] = context, time_ns
            elif thread in is_open and is_open[thread][0] == context:
                del is_open[thread]
        if not is_open:
            return None
        thread = min(is_open, key=lambda thread: (-is_open[thread][1], thread))
        return is_open[thread][0], thread, is_open[thread][1]


def join(
    kept: list[tuple[int, int]], chunks: dict[tuple[int, int], JsonObject]
) -> Iterator[tuple[int, bytes]]:
    """Yield the names whose chunks 0, 1, 2, ... to the last one are all there."""
    name = b""
    expected: tuple[int, int] | None = None
    for number, index in kept:
        if index == 0:
            name, expected = b"", (number, 0)
        if expected != (number, index):
            expected = None
            continue
        name += chunks[number, index]["raw"]
        expected = number, index + 1
        if chunks[number, index]["last"]:
            yield number, name
            expected = None


def print_line(out: IO[bytes], line: JsonObject) -> None:
    """Print one line of JSON (section 13)."""
    text = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
    out.write(text.encode("utf-8") + b"\n")


def printed(fields: JsonObject) -> JsonObject:
    """Return the fields without those that are only for this program."""
    return {name: value for name, value in fields.items() if name not in ("log_id", "raw")}


def dump(log: Log, out: IO[bytes]) -> None:
    """Print all lines of one log."""
    print_line(
        out,
        {
            "log": shown(os.fsencode(os.path.basename(log.path))),
            "log_id": log.log_id.hex(),
            "size": log.size,
            "slots": log.slots,
            "trailing_bytes": log.trailing_bytes,
            "header_copies": log.states,
            "header": None if log.header is None else printed(log.header),
        },
    )
    digest = Digest()
    for number, found in walk(log):
        digest.add(number, found)
        print_line(out, {"slot": number, **printed(found)})
    names, chunks_left_out = digest.names()
    lost = {space: sorted(digest.used[space] - set(names[space]) - {0}) for space in names}
    for space, whole in names.items():
        for number, name in sorted(whole.items()):
            print_line(out, {"name": space, "id": number, "text": shown(name)})
        for number in lost[space][:LISTED_MAX]:
            print_line(out, {"name": space, "id": number, "text": None})
    names_lost = sum(map(len, lost.values()))
    print_line(out, summary(log, digest, names["context"], names_lost, chunks_left_out))


def summary(
    log: Log, digest: Digest, contexts: dict[int, bytes], names_lost: int, chunks_left_out: bool
) -> JsonObject:
    """Return the last line."""
    state = "clean" if digest.trailer else "running" if log.alive else "cut"
    blank = log.slots - digest.valid - digest.damaged - digest.foreign
    records = digest.valid - digest.trailers
    missing = max(0, digest.promised - records)
    over_limits = (
        chunks_left_out
        or len(digest.events) > CONTEXT_EVENTS_KEPT_MAX
        or digest.samples > SAMPLES_KEPT_MAX
        or len(digest.facts) > FILES_KEPT_MAX
    )
    header_fine = log.states == ["whole", "whole"] or (log.is_beginning_fine and blank == log.slots)
    harm = log.trailing_bytes + digest.damaged + digest.foreign + missing + digest.loss[0] + names_lost
    critical = any(kind < 0x80 for kind in digest.unknown)
    return {
        "state": state,
        "exit_code": digest.trailer["exit_code"] if digest.trailer else None,
        "slots": log.slots,
        "valid": digest.valid,
        "blank": blank,
        "unfinished": digest.unfinished,
        "damaged": digest.damaged,
        "foreign": digest.foreign,
        "records": records,
        "lines": digest.lines,
        "arcs": digest.arcs,
        "missing": missing,
        "lost": digest.loss[0],
        "lost_errno": digest.loss[1],
        "names_lost": names_lost,
        "unknown_kinds": [[kind, count] for kind, count in sorted(digest.unknown.items())],
        "last_context": context_fields(digest.last_context(), contexts),
        "over_limits": over_limits,
        "whole": header_fine and harm == 0 and not critical and not over_limits,
    }


def context_fields(found: tuple[int, int, int] | None, contexts: dict[int, bytes]) -> JsonObject | None:
    """Return the last context as an object."""
    if found is None:
        return None
    number, thread, start_ns = found
    name = b"" if number == 0 else contexts.get(number)
    text = None if name is None else shown(name)
    return {"id": number, "name": text, "thread": thread, "start_ns": start_ns}


def main(paths: list[str]) -> int:
    """Print every log; 2 if one could not be read."""
    code = 0
    for path in paths:
        try:
            log = open_log(path)
            try:
                dump(log, sys.stdout.buffer)
            finally:
                os.close(log.descriptor)
        except NotReadableError as error:
            print(f"{path}: {error}", file=sys.stderr)
            code = 2
    sys.stdout.flush()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
