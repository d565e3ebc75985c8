"""Ask a compacted file of the demo, in plain SQL, and check that the answers are there.

usage: demo_questions.py FILE SUITE PID TEST

PID and TEST are of the worker that was killed, as it said itself before. Standard library only.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from pathlib import Path

Row = tuple[object, ...]

# A line of jinja2 that guards against injected attributes: which tests would notice its loss?
SOURCE = "src/jinja2/filters.py"
LINE_TEXT = '            raise ValueError(f"Invalid character in attribute name: {key!r}")'

TESTS_OF_LINE = "SELECT context FROM hitlog_line WHERE path = ? AND line = ? ORDER BY context"
LINES_OF_TEST = "SELECT path, count(*) FROM hitlog_line WHERE context = ? GROUP BY path ORDER BY path"
CUT_SHORT = "SELECT pid, last_context, records, lost FROM hitlog_log WHERE state = 'cut'"


def ask(database: sqlite3.Connection, question: str, *values: object) -> list[Row]:
    """Print the question, the answer and how long it took; return the answer."""
    start = time.perf_counter()
    rows = database.execute(question, values).fetchall()
    milliseconds = (time.perf_counter() - start) * 1000
    print(f"sql> {question};")
    if values:
        print(f"     {values}")
    for row in rows:
        print("  " + " | ".join(str(value) for value in row))
    print(f"  ({len(rows)} rows, {milliseconds:.2f} ms)\n")
    return rows


def require(holds: bool, sentence: str) -> None:
    """End with `sentence` if something of the demo is not true."""
    if not holds:
        sys.exit(f"demo: {sentence}")


def main(file: str, suite: str, pid: str, test: str) -> None:
    """Ask who was killed, what its last test ran, and which tests ran one line."""
    database = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    context = f"{test}|run"

    cut = ask(database, CUT_SHORT)
    require(len(cut) == 1, f"one process was killed, but {len(cut)} are cut short")
    found_pid, found_context, *_ = cut[0]
    require(str(found_pid) == pid, f"{pid} was killed, but {found_pid} is cut short")
    require(found_context == context, f"it was killed in {context}, not in {found_context}")

    lines = ask(database, LINES_OF_TEST, context)
    test_file = str(Path(suite, test.split("::")[0]).resolve())
    require(test_file in [path for path, _ in lines], "no line of the killed test's own file is there")

    path = Path(suite, SOURCE).resolve()
    number = path.read_text(encoding="utf-8").splitlines().index(LINE_TEXT) + 1
    print(f"{SOURCE}:{number}  {LINE_TEXT.strip()}")
    tests = ask(database, TESTS_OF_LINE, str(path), number)
    require(bool(tests), "no test ran that line")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit("usage: demo_questions.py FILE SUITE PID TEST")
    main(*sys.argv[1:])
