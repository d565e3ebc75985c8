"""`pytest --hitlog-isolate`: each test in a forked process of its own, with reports as always."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from environments import clean_environment

SUITE = """
import os
import signal
import sys
import threading
import pytest

left = []

@pytest.fixture(scope="session")
def resource():
    yield len(left)
    with open("ended", "a") as file:
        file.write("x")

@pytest.mark.parametrize("number", [1, 2])
def test_alone(resource, number):
    left.append(number)
    assert left == [number]
    assert resource == 0

def test_output(capsys):
    print("captured")
    assert capsys.readouterr().out == "captured\\n"

def test_fails():
    print("told before it failed")
    assert left == [3]

@pytest.mark.skip(reason="not now")
def test_skipped():
    pass

@pytest.mark.xfail
def test_expected():
    assert False

def test_killed():
    os.kill(os.getpid(), signal.SIGKILL)

def test_exits():
    os._exit(7)

def test_leaves_a_child():
    if os.fork() == 0:
        import time
        time.sleep(600)

def test_properties(record_property):
    record_property("lock", threading.Lock())
"""
COUNTS = "4 failed, 4 passed, 1 skipped, 1 xfailed"


def run(folder: Path, *options: str) -> str:
    (folder / "test_suite.py").write_text(SUITE.replace("time.sleep(600)", "os._exit(0)"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("options", [["--hitlog"], [], ["--hitlog", "-n", "2"]])
def test_reports_are_those_of_the_tests(tmp_path: Path, options: list[str]) -> None:
    output = run(tmp_path, "--hitlog-isolate", *options)
    assert COUNTS in output, output
    assert "the process of this test was ended by SIGKILL" in output
    assert "the process of this test ended with status 7" in output
    assert "told before it failed" in output
    assert "assert [] == [3]" in output
    # Which cannot be handed over, and is no reason to fail silently.
    assert "cannot pickle" in output
    assert (tmp_path / "ended").read_text() == "xx"
    if "--hitlog" in options:
        assert "1 cut short" in output
        assert "test_suite.py::test_killed" in output


def test_the_first_failure_ends_the_run(tmp_path: Path) -> None:
    output = run(tmp_path, "--hitlog-isolate", "-x")
    assert "1 failed, 3 passed" in output, output


def test_a_debugger_is_refused(tmp_path: Path) -> None:
    output = run(tmp_path, "--hitlog-isolate", "--pdb")
    assert "--hitlog-isolate: a debugger cannot reach" in output, output
