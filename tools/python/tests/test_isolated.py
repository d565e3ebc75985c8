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
        return
    os.wait()
    assert left == [4]

def test_directory(tmp_path):
    (tmp_path / "left").write_text("x")

def test_directories(tmp_path):
    assert (tmp_path.parent / "test_directory0" / "left").exists()

def test_properties(record_property):
    record_property("lock", threading.Lock())
"""
COUNTS = "5 failed, 5 passed, 1 skipped, 1 xfailed"


def run(folder: Path, *options: str) -> str:
    (folder / "test_suite.py").write_text(SUITE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("options", [["--hitlog"], [], ["--hitlog", "-n", "2", "--dist", "loadfile"]])
def test_reports_are_those_of_the_tests(tmp_path: Path, options: list[str]) -> None:
    output = run(tmp_path, "--hitlog-isolate", *options)
    assert COUNTS in output, output
    assert "the process of this test was ended by SIGKILL" in output
    assert "the process of this test ended with status 7" in output
    assert "told before it failed" in output
    assert "assert [] == [3]" in output
    # Which its child passed.
    assert "assert [] == [4]" in output
    # Which cannot be handed over, and is no reason to fail silently.
    assert "cannot pickle" in output
    assert (tmp_path / "ended").read_text() == "xx"
    if "--hitlog" in options:
        assert "1 cut short" in output
        assert "test_suite.py::test_killed" in output


def test_the_first_failure_ends_the_run(tmp_path: Path) -> None:
    output = run(tmp_path, "--hitlog-isolate", "-x")
    assert "1 failed, 3 passed" in output, output


@pytest.mark.parametrize(
    ("end", "told"),
    [("pytest.exit('enough')", "enough"), ("os.kill(0, signal.SIGINT)", "KeyboardInterrupt")],
)
def test_the_end_of_the_run_ends_it(tmp_path: Path, end: str, told: str) -> None:
    """And fixtures end as always."""
    suite = f"""
import os, signal, pytest

@pytest.fixture
def resource():
    yield
    open("ended", "w").close()

def test_ends(resource):
    {end}

def test_more():
    pass
"""
    (tmp_path / "test_end.py").write_text(suite)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--hitlog-isolate", "test_end.py"],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        start_new_session=True,
    )
    assert told in done.stdout + done.stderr
    assert "passed" not in done.stdout, done.stdout
    assert (tmp_path / "ended").exists()


def test_a_debugger_is_refused(tmp_path: Path) -> None:
    output = run(tmp_path, "--hitlog-isolate", "--pdb")
    assert "--hitlog-isolate: a debugger cannot reach" in output, output
