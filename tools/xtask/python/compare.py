"""Compare the (context, file, line) sets of two data files in coverage.py's schema.

usage: compare.py OURS THEIRS

Prints every difference with its explanation, in groups. Fails if one has no explanation, or if there is
more than one difference in a thousand. Standard library only.
"""

from __future__ import annotations

import linecache
import sqlite3
import sys
from collections import Counter

Hit = tuple[str, str, int]

# One in this many may differ.
TOLERANCE = 1000

# How many differences of a group are shown.
EXAMPLES = 5


def lines_of(numbits: bytes) -> list[int]:
    """Return the line numbers whose bits are set: bit 0 of byte 0 is line 0."""
    return [
        8 * index + bit for index, byte in enumerate(numbits) for bit in range(8) if byte & 1 << bit
    ]


def read(file: str) -> set[Hit]:
    """Return everything that the file says about lines."""
    database = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    question = """
        SELECT context.context, file.path, line_bits.numbits
        FROM line_bits JOIN context ON context.id = context_id JOIN file ON file.id = file_id
    """
    rows = database.execute(question)
    return {(context, path, line) for context, path, numbits in rows for line in lines_of(numbits)}


def explanation(hit: Hit) -> str | None:
    """Return why only coverage.py reports `hit`; None if that is not known."""
    _, path, line = hit
    if line == 0:
        return "CPython runs an empty module at line 0, which is no line of it"
    if "yield from" in linecache.getline(path, line):
        return (
            "CPython from 3.13 may report the line of a `yield from` once more when its generator is "
            "closed by the collector, but only if the code it yields from is traced, too"
        )
    return None


def group_of(hit: Hit) -> tuple[str, str]:
    """Return the file and the phase of the test."""
    context, path, _ = hit
    return path, context.rpartition("|")[2] or "outside tests"


def print_differences(title: str, hits: set[Hit]) -> None:
    """Print `hits` by file and phase of the test."""
    for group, count in sorted(Counter(map(group_of, hits)).items()):
        print(f"  {title}: {count} in {group[0]}, {group[1]}")
        examples = sorted(hit for hit in hits if group_of(hit) == group)
        for context, _, line in examples[:EXAMPLES]:
            print(f"      line {line} in {context!r}")


def print_explained(hits: set[Hit]) -> None:
    """Print why only coverage.py reports `hits`."""
    for reason, count in Counter(map(explanation, hits)).items():
        print(f"  only coverage.py, explained: {count}: {reason}")


def main(ours: str, theirs: str) -> None:
    """Compare two files; exit 1 if they differ too much."""
    our_hits, their_hits = read(ours), read(theirs)
    only_ours, only_theirs = our_hits - their_hits, their_hits - our_hits
    explained = {hit for hit in only_theirs if explanation(hit)}
    print_explained(explained)
    print_differences("only hitlog", only_ours)
    print_differences("only coverage.py", only_theirs - explained)
    differences = len(only_ours) + len(only_theirs)
    unexplained = differences - len(explained)
    print(
        f"{len(our_hits):,} hits of lines by hitlog, {len(their_hits):,} by coverage.py; "
        f"{differences:,} differences, {unexplained:,} of them unexplained"
    )
    if not their_hits or unexplained or differences * TOLERANCE >= len(their_hits):
        sys.exit("compare: the two do not say the same")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: compare.py OURS THEIRS")
    main(*sys.argv[1:])
