"""Compare the branches of two data files in coverage.py's schema.

usage: compare_branches.py OURS THEIRS

Each name stands for NAME.db and for NAME.json, what `coverage json` says about it. Prints each branch
of which the two reports do not say the same, with the cause; fails if one has none, or if there is more
than one in two hundred. Then the same of each (context, file, branch), by cause, up to one in a
thousand. Standard library only.
"""

from __future__ import annotations

import json
import linecache
import os
import sqlite3
import sys
from collections import Counter
from pathlib import Path

# A file and two lines.
Branch = tuple[str, int, int]
# A context before that.
Hit = tuple[str, str, int, int]

# One in this many branches may differ.
TOLERANCE = 200
# One in this many branches of a context may.
CONTEXT_TOLERANCE = 1000
# How many of a context's differences are shown of each cause.
EXAMPLES = 5
UNEXPLAINED = "UNEXPLAINED"


def reported(name: str) -> tuple[set[Branch], set[Branch]]:
    """Return the branches that are reported as taken, and those as missing, of files that ran."""
    said = json.loads(Path(f"{name}.json").read_text())["files"]
    files = {path: about for path, about in said.items() if about["executed_lines"]}
    found: list[set[Branch]] = []
    for key in ("executed_branches", "missing_branches"):
        found.append({(os.path.abspath(path), *arc) for path in files for arc in files[path][key]})
    return found[0], found[1]


def hits(name: str, table: str) -> set[Hit]:
    """Return the arcs of each context."""
    database = sqlite3.connect(f"file:{name}.db?mode=ro", uri=True)
    if table == "hitlog_arc":
        return set(database.execute("SELECT context, path, from_line, to_line FROM hitlog_arc"))
    question = """
        SELECT context.context, file.path, fromno, tono
        FROM arc JOIN context ON context.id = context_id JOIN file ON file.id = file_id
    """
    return set(database.execute(question))


def cause(branch: Branch, only_theirs: bool) -> str | None:
    """Return why only one of the two tools sees that `branch` was taken; None if that is not known."""
    path, line, to = branch
    if to < 0 and only_theirs and sys.version_info >= (3, 12):
        return (
            "coverage.py takes an exception that leaves the function for the end of the function, "
            "which is one way of the branch on that line"
        )
    text = linecache.getline(path, line)
    if "yield from" in text:
        return (
            "CPython from 3.13 may report the line of a `yield from` once more when its generator is "
            "closed by the collector, but only if the code it yields from is traced, too"
        )
    return None


def show(title: str, branches: set[Branch], only_theirs: bool) -> int:
    """Print `branches` one by one; return how many have no cause."""
    causes = {branch: cause(branch, only_theirs) for branch in branches}
    for (path, line, to), reason in sorted(causes.items()):
        print(f"  {title}: {os.path.relpath(path)}:{line} -> {to}: {reason or UNEXPLAINED}")
    return sum(reason is None for reason in causes.values())


def main(ours: str, theirs: str) -> None:
    """Compare two files; exit 1 if they differ too much."""
    (our_taken, our_missing), (their_taken, their_missing) = reported(ours), reported(theirs)
    different = (our_taken ^ their_taken) | (our_missing ^ their_missing)
    unexplained = show("only hitlog says it was taken", our_taken - their_taken, False)
    unexplained += show("only coverage.py says it was taken", their_taken - our_taken, True)
    unexplained += show("only one knows it", different - (our_taken ^ their_taken), False)
    branches = their_taken | their_missing
    print(
        f"{len(branches):,} branches, of which coverage.py reports {len(their_missing):,} as missing "
        f"and hitlog {len(our_missing):,}; {len(different):,} differences, "
        f"{unexplained:,} of them unexplained"
    )

    our_hits = {hit for hit in hits(ours, "hitlog_arc") if hit[1:] in branches}
    their_hits = {hit for hit in hits(theirs, "arc") if hit[1:] in branches}
    differences = our_hits ^ their_hits
    counts: Counter[str] = Counter()
    for hit in sorted(differences, key=lambda hit: hit[1:]):
        context, path, line, to = hit
        only_theirs = hit in their_hits
        reason = cause(hit[1:], only_theirs) or UNEXPLAINED
        counts[reason] += 1
        if counts[reason] <= EXAMPLES:
            who = "coverage.py" if only_theirs else "hitlog"
            print(f"  only {who}: {os.path.relpath(path)}:{line} -> {to} in {context!r}")
    for reason, count in counts.items():
        print(f"  {count}: {reason}")
    print(
        f"{len(our_hits):,} branches of contexts by hitlog, {len(their_hits):,} by coverage.py; "
        f"{len(differences):,} differences, {counts[UNEXPLAINED]:,} of them unexplained"
    )
    too_many = len(different) * TOLERANCE > len(branches)
    too_many |= len(differences) * CONTEXT_TOLERANCE > len(their_hits)
    if not branches or not their_hits or too_many or unexplained or counts[UNEXPLAINED]:
        sys.exit("compare: the two do not say the same")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: compare_branches.py OURS THEIRS")
    main(*sys.argv[1:])
