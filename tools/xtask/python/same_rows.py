"""Compare two data files of coverage.py row by row: python same_rows.py ONE OTHER.

Numbers of files and contexts differ between files; their names, lines and arcs must not.
"""

from __future__ import annotations

import hashlib
import sqlite3
import sys

LINES = """
    SELECT file.path, context.context, line_bits.numbits
    FROM line_bits JOIN file ON file.id = file_id JOIN context ON context.id = context_id
    WHERE numbits <> x'' ORDER BY 1, 2
"""
ARCS = """
    SELECT file.path, context.context, arc.fromno, arc.tono
    FROM arc JOIN file ON file.id = file_id JOIN context ON context.id = context_id
    ORDER BY 1, 2, 3, 4
"""


def digest(path: str) -> tuple[int, str]:
    """How many rows there are, and what they hold."""
    connection = sqlite3.connect(path)
    rows, held = 0, hashlib.sha256()
    for question in (LINES, ARCS):
        for row in connection.execute(question):
            rows += 1
            held.update(repr(row).encode())
    return rows, held.hexdigest()


def main() -> int:
    """Print the number of rows; 1 if the files differ."""
    (rows, one), (others, other) = digest(sys.argv[1]), digest(sys.argv[2])
    print(rows)
    if rows and one == other:
        return 0
    print(f"{sys.argv[1]} and {sys.argv[2]} differ: {rows} and {others} rows", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
