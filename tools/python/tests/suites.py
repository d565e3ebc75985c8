"""A folder with tests, what runs them, and questions to what a recorded run of them left."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from environments import clean_environment

HELPERS = """
def helper(n):
    return n + 1

def at_setup():
    return 1

def at_teardown():
    return 2
"""

TESTS_OF_IT = """
import os, signal, subprocess, sys
import pytest
import helpers

@pytest.fixture
def resource():
    helpers.at_setup()
    yield 1
    helpers.at_teardown()

@pytest.mark.parametrize("n", [1, 2])
def test_param(n):
    assert helpers.helper(n) == n + 1

class TestClass:
    def test_resource(self, resource):
        assert resource == 1

def test_child():
    subprocess.run([sys.executable, "-c", "import helpers; helpers.helper(1)"], check=True)

def test_last():
    pass
"""

Context = str


@dataclass
class Suite:
    """A folder with tests, and what a recorded run of them left."""

    folder: Path
    python: str = sys.executable

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.folder / f"{name}.py").write_text(text)

    def pytest(self, *arguments: str, status: int = 0, **more: str) -> str:
        return self.run("-m", "pytest", "-p", "no:cacheprovider", *arguments, status=status, **more)

    def run(self, *arguments: str, status: int = 0, **more: str) -> str:
        done = subprocess.run(
            [self.python, *arguments],
            cwd=self.folder,
            env=clean_environment(HITLOG_DEBUG="1", **more),
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=120,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def query(self, sql: str, file: str = "hitlog.db") -> list[tuple[object, ...]]:
        connection = sqlite3.connect(f"file:{self.folder / file}?mode=ro", uri=True)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def hits(self) -> set[tuple[object, ...]]:
        """All that was recorded: paths below the folder, lines, and contexts."""
        rows = self.query("select path, line, context from hitlog_line")
        return {(str(row[0]).replace(f"{self.folder}/", ""), *row[1:]) for row in rows}

    def contexts(self, name: str, line: int) -> set[str]:
        """The contexts in which a line ran."""
        path = str(self.folder / name)
        rows = self.query(f"select context from hitlog_line where path = '{path}' and line = {line}")
        return {str(row[0]) for row in rows}


def assert_contexts(suite: Suite) -> None:
    params = {f"test_it.py::test_param[{n}]|run" for n in (1, 2)}
    assert suite.contexts("helpers.py", 3) == params | {"test_it.py::test_child|run"}
    assert suite.contexts("helpers.py", 6) == {"test_it.py::TestClass::test_resource|setup"}
    assert suite.contexts("helpers.py", 9) == {"test_it.py::TestClass::test_resource|teardown"}
    assert suite.contexts("test_it.py", 24) == {"test_it.py::test_last|run"}
    assert suite.contexts("helpers.py", 2) == {"", "test_it.py::test_child|run"}
