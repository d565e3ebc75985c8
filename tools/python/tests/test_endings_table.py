"""The endings table: whatever ends a process, every line that ran is there, and nothing else changes.

Each cell runs a program twice, with and without hitlog, and compares. Cells run side by side.
``HITLOG_ENDINGS_REPETITIONS`` says how often each is repeated (1 by default).
"""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import clean_environment
from endings import CELLS, OUTSIDE, SECOND, WAITING, Cell
from hitlog import _native
from logs import read_run

REPETITIONS = int(os.environ.get("HITLOG_ENDINGS_REPETITIONS", "1"))
# A process that hangs is ended after this time, and its cell fails.
HANG_SECONDS = 120


@dataclass(frozen=True)
class Told:
    """A line that a process reached, as it told outside of its log."""

    pid: int
    kind: str
    file: str
    line: int


@dataclass
class Outcome:
    """What a program left."""

    folder: Path
    status: int = 0
    stdout: list[str] = field(default_factory=list)
    stderr: list[str] = field(default_factory=list)

    def told(self) -> list[Told]:
        lines = (self.folder / "told").read_text().split("\n")[:-1]
        fields = (line.split() for line in lines)
        return [Told(int(pid), kind, file, int(line)) for pid, kind, file, line in fields]

    def pids(self, kind: str) -> set[int]:
        return {told.pid for told in self.told() if told.kind == kind}

    def reached(self) -> Counter[tuple[str, str, int]]:
        """How many times each line was reached, in whichever process."""
        return Counter((told.kind, told.file, told.line) for told in self.told())

    @property
    def run(self) -> Path:
        return self.folder / "run"

    def states(self) -> dict[int, set[tuple[str, int | None]]]:
        """How each process is told to have ended; one that became another Python has two logs."""
        database = self.folder / "hitlog.db"
        _native.compact(str(self.run), str(database))
        with sqlite3.connect(database) as connection:
            rows = connection.execute("select pid, state, exit_code, damaged, lost from hitlog_log")
            states: dict[int, set[tuple[str, int | None]]] = {}
            for pid, state, exit_code, damaged, lost in rows:
                assert (damaged, lost) == (0, 0)
                states.setdefault(pid, set()).add((state, exit_code))
        connection.close()
        return states

    def missing(self) -> set[Told]:
        """What was reached but is not in a log of the process that reached it."""
        # First: processes may go on while the logs are read.
        told = self.told()
        hits = {
            (log.pid, os.path.basename(file), line)
            for log in read_run(self.run)
            for _, file, line in log.hits
        }
        return {line for line in told if (line.pid, line.file, line.line) not in hits}


@dataclass
class Pair:
    """A cell's program without and with hitlog, and how its process was told to be while it ran."""

    plain: Outcome
    recorded: Outcome
    while_running: set[tuple[str, int | None]]


def run(cell: Cell, folder: Path, is_recorded: bool) -> tuple[Outcome, set[tuple[str, int | None]]]:
    folder.mkdir()
    outcome = Outcome(folder)
    texts = {"program": cell.program, "outside": OUTSIDE, "second": SECOND, "waiting": WAITING}
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    outcome.run.mkdir(mode=0o700)
    environment = clean_environment(HITLOG_RUN=str(outcome.run) if is_recorded else "")
    # Messages of two processes may mix by the line, but not by the word.
    environment.pop("PYTHONUNBUFFERED", None)
    process = subprocess.Popen(
        [sys.executable, "program.py"],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while_running = set()
    try:
        if cell.waits and is_recorded:
            while_running = look(outcome)
        # The streams end when the last process that has them does.
        stdout, stderr = process.communicate(timeout=HANG_SECONDS)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    await_all(outcome)
    outcome.status = process.returncode
    outcome.stdout, outcome.stderr = words(stdout, folder), words(stderr, folder)
    return outcome, while_running


def look(outcome: Outcome) -> set[tuple[str, int | None]]:
    """Tell how a process that waits for its input is told to have ended, when it has its lines."""
    deadline = time.monotonic() + HANG_SECONDS
    while not ((outcome.folder / "told").exists() and outcome.pids("end")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert outcome.missing() == set()
    (pid,) = outcome.pids("end")
    return outcome.states()[pid]


def await_all(outcome: Outcome) -> None:
    """Wait for those that closed their streams but are not gone yet, and whose parents did not wait."""
    deadline = time.monotonic() + HANG_SECONDS
    while any(is_alive(told.pid) for told in outcome.told()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def words(text: str, folder: Path) -> list[str]:
    """Take out what differs from run to run: where it was, pids, and who of two wrote first."""
    text = text.replace(str(folder), "FOLDER")
    return sorted(re.sub(r"\(pid=\d+\)", "(pid)", text).split())


def run_both(cell: Cell, folder: Path) -> list[Pair]:
    pairs = []
    for number in range(REPETITIONS):
        plain, _ = run(cell, folder / f"plain-{number}", is_recorded=False)
        recorded, while_running = run(cell, folder / f"recorded-{number}", is_recorded=True)
        pairs.append(Pair(plain, recorded, while_running))
    return pairs


@pytest.fixture(scope="module")
def table(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[list[Pair]]]]:
    """All cells that were asked for, under way."""
    folder = tmp_path_factory.mktemp("table").resolve()
    # Not those that were deselected.
    names = {item.name for item in request.session.items}
    wanted = {
        cell for cell in CELLS if f"{test_an_ending_loses_nothing.__name__}[{cell.name}]" in names
    }
    with ThreadPoolExecutor(max_workers=4) as pool:
        futures = {}
        for number, cell in enumerate(cell for cell in CELLS if cell in wanted):
            (folder / str(number)).mkdir()
            futures[cell.name] = pool.submit(run_both, cell, folder / str(number))
        yield futures


def skipped_without(cell: Cell) -> list[pytest.MarkDecorator]:
    is_missing = cell.needs is not None and importlib.util.find_spec(cell.needs) is None
    return [pytest.mark.skip(f"{cell.needs} is not installed")] if is_missing else []


@pytest.mark.parametrize(
    "cell", [pytest.param(cell, id=cell.name, marks=skipped_without(cell)) for cell in CELLS]
)
def test_an_ending_loses_nothing(table: dict[str, Future[list[Pair]]], cell: Cell) -> None:
    pairs = table[cell.name].result()
    assert len(pairs) == REPETITIONS
    for pair in pairs:
        plain, recorded = pair.plain, pair.recorded
        assert (recorded.status, recorded.stdout) == (plain.status, plain.stdout)
        assert recorded.stderr == plain.stderr
        assert recorded.reached() == plain.reached()
        assert len(recorded.pids("line") | recorded.pids("end")) >= cell.processes

        assert recorded.missing() == set()
        assert _native.main(["hitlog", "check", str(recorded.run)]) == 0
        states = recorded.states()
        assert all(state != "running" for ends in states.values() for state, _ in ends)
        ends = [states[pid] for pid in recorded.pids("end")]
        assert ends
        for end in ends:
            assert end <= cell.ends
        if cell.waits:
            assert pair.while_running == {("running", None)}


def test_a_lost_line_would_be_seen(tmp_path: Path) -> None:
    """Without this the table could not fail."""
    cell = next(cell for cell in CELLS if cell.name == "forked child: SIGKILL")
    (pair,) = run_both(cell, tmp_path)[:1]
    assert pair.recorded.missing() == set()
    (pid,) = pair.recorded.pids("end")
    (log,) = pair.recorded.run.glob(f"{pid}-*.hitlog")
    log.unlink()
    missing = pair.recorded.missing()
    assert missing
    assert {told.pid for told in missing} == {pid}
