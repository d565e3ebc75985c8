"""pytest-xdist with a worker that dies in the midst of a test: nothing of what ran is missing.

``HITLOG_KILLED_WORKERS_REPETITIONS`` says how often each way to die is repeated (1 by default).
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import clean_environment

pytest.importorskip("xdist")

REPETITIONS = int(os.environ.get("HITLOG_KILLED_WORKERS_REPETITIONS", "1"))
TESTS_COUNT = 24

# Lines tell outside of the logs that they were reached, and in which context.
SHOP = """\
import json, os, sys
def told(context):
    frame = sys._getframe(1)
    line = json.dumps([context, os.path.basename(frame.f_code.co_filename), frame.f_lineno])
    file = os.open(os.environ["SHOP_TOLD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{line}\\n".encode())
    os.close(file)
def price(context, number):
    told(context); total = 0
    for step in range(number):
        told(context); total += step
    if total > 100:
        told(context); total -= 10
    told(context); return total
"""

TESTS = """\
import os, signal
import pytest
import shop

def is_first_time():
    try:
        os.mkdir(os.environ["SHOP_TOLD"] + "-died")
    except FileExistsError:
        return False
    return True

@pytest.fixture
def context(request):
    name = request.node.nodeid
    shop.told(f"{name}|setup")
    shop.price(f"{name}|setup", 1)
    yield f"{name}|run"
    shop.told(f"{name}|teardown")
    shop.price(f"{name}|teardown", 20)

@pytest.mark.parametrize("number", range(COUNT))
def test_price(context, number):
    shop.told(context)
    assert shop.price(context, number) >= 0
    if number == 12 and is_first_time():
        shop.told(context); DIE
    shop.told(context)
"""

# How a worker dies.
DEATHS = {
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "SIGSEGV": "import ctypes; ctypes.string_at(1)",
    "_exit": "os._exit(3)",
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM); signal.pause()",
}


@pytest.mark.parametrize("repetition", range(REPETITIONS))
@pytest.mark.parametrize("death", DEATHS)
def test_a_run_with_a_dead_worker_is_complete(tmp_path: Path, death: str, repetition: int) -> None:
    folder = tmp_path.resolve()
    (folder / "shop.py").write_text(SHOP)
    tests = TESTS.replace("COUNT", str(TESTS_COUNT)).replace("DIE", DEATHS[death])
    (folder / "test_shop.py").write_text(tests)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "2", "--hitlog"],
        cwd=folder,
        env=clean_environment(SHOP_TOLD=str(folder / "told"), HITLOG_DEBUG="1"),
        capture_output=True,
        text=True,
        timeout=300,
    )
    # One test fails because its worker died; another worker took its place.
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{TESTS_COUNT - 1} passed" in done.stdout
    assert "1 failed" in done.stdout

    told = {tuple(json.loads(line)) for line in (folder / "told").read_text().splitlines()}
    with_lines = {context for context, _, _ in told}
    assert len(with_lines) == 3 * TESTS_COUNT - 1, "all but the teardown of the dead worker's test"
    with sqlite3.connect(folder / "hitlog.db") as database:
        rows = database.execute("select context, path, line from hitlog_line").fetchall()
        states = dict(database.execute("select state, count(*) from hitlog_log group by state"))
        last = database.execute("select last_context from hitlog_log where state = 'cut'").fetchall()
        harm = database.execute("select sum(damaged), sum(lost) from hitlog_log").fetchone()
    database.close()
    recorded = {(context, os.path.basename(path), line) for context, path, line in rows}
    telling = telling_lines("shop.py", SHOP) | telling_lines("test_shop.py", tests)
    assert {hit for hit in recorded if hit[1:] in telling} == told
    assert harm == (0, 0)
    if death == "_exit":
        assert states == {"clean": 4}
    else:
        assert states == {"clean": 3, "cut": 1}
        assert last == [("test_shop.py::test_price[12]|run",)]


def telling_lines(file: str, text: str) -> set[tuple[str, int]]:
    """The lines that tell that they were reached."""
    lines = enumerate(text.splitlines(), 1)
    return {(file, number) for number, line in lines if re.search(r"(?<!def )told\(", line)}
