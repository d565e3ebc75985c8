"""Three recorded runs at once in one folder, 20 times: each must find exactly what ran in it.

coverage.py's runs share one data file, and each erases what it finds when it begins. Here every run has
a directory of its own; nothing is shared but the folder.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

ROUNDS = 20
TESTS = 8
TIMEOUT_S = 120

HITLOG = str(Path(sys.executable).with_name("hitlog"))

TARGET = "".join(f"def function_{number}():\n    return {number}\n" for number in range(TESTS))

TEST_FILE = f"""
import pytest, target

@pytest.mark.parametrize("number", range({TESTS}))
def test_function(number):
    assert getattr(target, "function_" + str(number))() == number
"""

# One function in this process, one in a forked child that ends at once, one in a child of its own.
PROGRAM = """
import os, subprocess, sys
import target
target.function_0()
pid = os.fork()
if pid == 0:
    target.function_1()
    os._exit(0)
os.waitpid(pid, 0)
subprocess.run([sys.executable, "-c", "import target; target.function_2()"], check=True)
"""


def body_line(number: int) -> int:
    """Return the line of target.py that only `function_<number>` runs."""
    return 2 * number + 2


def body_lines_by_context(database: Path) -> dict[str, set[int]]:
    """Return which bodies of target.py's functions ran, and where."""
    question = "SELECT context, line FROM hitlog_line WHERE path LIKE '%/target.py' AND line % 2 = 0"
    found: dict[str, set[int]] = {}
    for context, line in sqlite3.connect(database).execute(question):
        found.setdefault(context, set()).add(line)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a small suite and a small program."""
    (tmp_path / "target.py").write_text(TARGET)
    (tmp_path / "test_target.py").write_text(TEST_FILE)
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


def start(folder: Path, command: list[str]) -> subprocess.Popen[str]:
    """Start a run in `folder`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HITLOG_")}
    environment["PYTHONPATH"] = str(folder)
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True)


def commands(number: int) -> dict[str, list[str]]:
    """Return the three runs of a round by the file that each writes."""
    suite = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_target.py"]
    plugin, runner, program = (f"{kind}-{number}.db" for kind in ("plugin", "runner", "program"))
    return {
        plugin: [*suite, "--hitlog", "--hitlog-output", plugin],
        runner: [HITLOG, "run", "-o", runner, "--", *suite],
        program: [HITLOG, "run", "-o", program, "--", sys.executable, "program.py"],
    }


def wanted(file: str) -> dict[str, set[int]]:
    """Return what must be found in `file`, no more and no less."""
    if file.startswith("program"):
        return {"": {body_line(number) for number in (0, 1, 2)}}
    return {
        f"test_target.py::test_function[{number}]|run": {body_line(number)} for number in range(TESTS)
    }


def end(run: subprocess.Popen[str]) -> str | None:
    """Wait for a run; return what it said if it failed."""
    stdout, stderr = run.communicate(timeout=TIMEOUT_S)
    return None if run.returncode == 0 else f"{run.args!r}: {run.returncode}\n{stdout}\n{stderr}"


def test_three_runs_at_once_are_complete_every_time(folder: Path) -> None:
    """Nothing of a run is missing, nothing of another is in it, and no run directory is erased."""
    for number in range(ROUNDS):
        runs = [start(folder, command) for command in commands(number).values()]
        assert [end(run) for run in runs] == [None, None, None]
        for file in commands(number):
            assert body_lines_by_context(folder / file) == wanted(file), f"round {number}, {file}"
    directories = [path for path in (folder / ".hitlog").iterdir() if path.is_dir()]
    assert len(directories) == 3 * ROUNDS
    assert all(list(directory.glob("*.hitlog")) for directory in directories)
