"""Runs programs, recorded by hitlog or by coverage.py, and reads what they left."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from environments import clean_environment as clean_environment
from logs import Hit, Log, all_hits, read_run
from suites import HELPERS, TESTS_OF_IT, Suite

TESTS = Path(__file__).parent


@pytest.fixture(scope="session", autouse=True)
def sigint_is_not_ignored() -> None:
    """Tests end children by SIGINT, which a background job of a shell ignores, and so its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass
class Recording:
    """A run directory, and the folder that is measured."""

    folder: Path
    directory: Path
    run: dict[str, object] = field(default_factory=dict)

    def begin(self, **run: object) -> None:
        """Make the run directory, with ``run`` in its run.json."""
        self.directory.mkdir(parents=True)
        self.run = {"version": 1, "cwd": str(self.folder), "branch": False, "source": [], **run}
        (self.directory / "run.json").write_text(json.dumps(self.run))

    def python(
        self, *arguments: str | Path, status: int = 0, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run Python in the folder, recorded, and check its exit status."""
        if not self.directory.exists():
            self.begin()
        environment = clean_environment(HITLOG_RUN=str(self.directory), HITLOG_DEBUG="1", **more)
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == status, done.stderr
        return done

    def start(self, *arguments: str | Path) -> subprocess.Popen[bytes]:
        """Start Python in the folder, recorded, and wait for its first line; its input is open."""
        process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            cwd=self.folder,
            env=clean_environment(HITLOG_RUN=str(self.directory)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.readline()
        return process

    def program(self, text: str, *arguments: str, status: int = 0, **more: str) -> list[Log]:
        """Write a program into the folder, run it recorded, and read the logs of the run."""
        path = self.folder / "program.py"
        path.write_text(text)
        self.python(path, *arguments, status=status, **more)
        return self.logs()

    def logs(self) -> list[Log]:
        return read_run(self.directory)

    def hits(self) -> set[Hit]:
        return all_hits(self.logs())

    def lines(self, context: str | None = None, name: str = "program.py") -> set[int]:
        """The lines of a file that ran, in one context or in any."""
        path = str(self.folder / name)
        hits = self.hits()
        return {line for c, file, line in hits if file == path and context in (None, c)}


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    folder = tmp_path / "project"
    folder.mkdir()
    return Recording(folder.resolve(), tmp_path / "run")


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    suite = Suite(tmp_path.resolve())
    suite.write(helpers=HELPERS, test_it=TESTS_OF_IT)
    return suite
