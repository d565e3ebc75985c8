"""Plugins that start workers or change which tests run where: the same hits every time."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from environments import python_with
from suites import HELPERS, Suite

# Whoever wants to be sure repeats what depends on chance more often: HITLOG_TEST_RUNS=30.
RUNS = int(os.environ.get("HITLOG_TEST_RUNS", "1"))

PLUGINS = (
    "coverage>=7.6",
    # pytest-forked's last version does not work with pytest 9.
    "pytest>=8,<9",
    "pytest-cov>=6",
    "pytest-xdist>=3.6",
    "pytest-forked==1.6.0; python_version < '3.10'",
    "pytest-forked==1.7.5; python_version >= '3.10'",
    "pytest-randomly==4.0.1; python_version < '3.11'",
    "pytest-randomly==5.1.0; python_version >= '3.11'",
)
# pytest-parallel itself was left behind by pytest's later versions.
PARALLEL = ("pytest==6.2.5", "pytest-parallel==0.1.1", "tblib==3.0.0", "six==1.17.0")

FIRST = """
import pytest, subprocess, sys
import helpers

@pytest.mark.parametrize("n", range(6))
@pytest.mark.xdist_group("params")
def test_param(n):
    assert helpers.helper(n) == n + 1

class TestClass:
    @pytest.fixture
    def resource(self):
        helpers.at_setup()
        yield
        helpers.at_teardown()

    def test_one(self, resource): pass
    def test_two(self, resource): pass

def test_child():
    subprocess.run([sys.executable, "-c", "import helpers; helpers.helper(1)"], check=True)
"""
SECOND = """
import unittest
import helpers

class TestUnit(unittest.TestCase):
    def setUp(self): helpers.at_setup()
    def test_unit(self): helpers.helper(1)

def test_last(): helpers.at_teardown()
"""


Hits = set[tuple[object, ...]]


def write_tests(suite: Suite) -> Suite:
    (suite.folder / "pytest.ini").write_text("[pytest]\nmarkers = xdist_group\n")
    suite.write(helpers=HELPERS, test_first=FIRST, test_second=SECOND)
    return suite


@pytest.fixture
def workers(tmp_path: Path) -> Suite:
    return write_tests(Suite(tmp_path.resolve()))


@pytest.fixture
def plugins(workers: Suite) -> Suite:
    return Suite(workers.folder, python_with("plugins", *PLUGINS))


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Hits:
    """What is recorded without any worker."""
    suite = write_tests(Suite(tmp_path_factory.mktemp("alone").resolve()))
    suite.pytest("--hitlog", "-p", "no:xdist")
    hits = suite.hits()
    assert len({context for _, _, context in hits}) > 12
    return hits


MODES = ["load", "loadscope", "loadfile", "loadgroup", "worksteal", "each", "no"]


@pytest.mark.parametrize("mode", MODES)
def test_every_way_to_distribute_tests(workers: Suite, expected: Hits, mode: str) -> None:
    number = ["--tx", "2*popen"] if mode == "each" else ["-n", "2"]
    # With a number and no way, pytest-xdist chooses one.
    output = workers.pytest("--hitlog", *number, "--dist", mode)
    assert workers.hits() == expected
    names = {row[0] for row in workers.query("select name from hitlog_log")}
    assert names == {None, "gw0", "gw1"}, output


def test_fewer_workers_than_asked_for(workers: Suite, expected: Hits) -> None:
    workers.pytest("--hitlog", "-n", "4", "--maxprocesses", "1")
    assert workers.hits() == expected
    assert workers.query("select name from hitlog_log where name is not null") == [("gw0",)]


ENDS = ["os.kill(os.getpid(), signal.SIGKILL)", "os.kill(os.getpid(), signal.SIGSEGV)"]
ENDS += ["os.kill(os.getpid(), signal.SIGTERM)", "os._exit(3)"]


@pytest.mark.parametrize("end", ENDS)
def test_a_worker_that_dies_and_is_replaced(workers: Suite, expected: Hits, end: str) -> None:
    workers.write(
        test_die=f"import os, signal, helpers\ndef test_die():\n    helpers.at_setup()\n    {end}\n"
    )
    died = {
        (name, line, f"test_die.py::test_die|{phase}")
        for name, line, phase in [
            ("test_die.py", 3, "run"),
            ("test_die.py", 4, "run"),
            ("helpers.py", 6, "run"),
        ]
    }
    imported = {("test_die.py", line, "") for line in (1, 2)}
    for _ in range(RUNS):
        workers.pytest("--hitlog", "-n", "2", status=1)
        assert workers.hits() == expected | died | imported
        ended = workers.query(
            "select state, exit_code, signal from hitlog_log where last_context like '%test_die%'"
        )
        if "SIG" in end:
            number = getattr(signal, end[end.index("SIG") : -1])
            assert ended == [("cut", None, int(number))]
        else:
            assert ended == [("clean", 3, None)]


def test_what_failed_last_alone(workers: Suite) -> None:
    workers.write(test_second=SECOND.replace("helpers.at_teardown()", "assert 0"))
    workers.run("-m", "pytest", "-n", "2", status=1)
    workers.run("-m", "pytest", "--hitlog", "--lf", status=1)
    contexts = {row[0] for row in workers.query("select context from context")}
    assert "test_second.py::test_last|run" in contexts
    assert not any("test_first" in str(context) for context in contexts)


def test_a_fork_for_each_test(plugins: Suite, expected: Hits) -> None:
    plugins.pytest("--hitlog", "--forked", "-p", "no:randomly", "-p", "no:xdist")
    assert plugins.hits() == expected
    plugins.write(
        test_die="import os, signal\ndef test_die():\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    output = plugins.pytest("--hitlog", "--forked", "-n", "2", status=1)
    assert plugins.hits() >= expected
    assert "1 cut short" in output
    assert "in test_die.py::test_die)" in output


def test_tests_in_random_order(plugins: Suite, expected: Hits) -> None:
    for seed in range(RUNS):
        plugins.pytest("--hitlog", f"--randomly-seed={seed}", "-n", "2")
        assert plugins.hits() == expected


def test_beside_pytest_cov(plugins: Suite, expected: Hits) -> None:
    more = ["-p", "no:randomly", "--cov=.", "--cov-context=test", "--cov-report=json"]
    for number in ([], ["-n", "2"]):
        output = plugins.pytest("--hitlog", *more, *number)
        assert "Coverage JSON written" in output
        if sys.version_info >= (3, 12):
            assert plugins.hits() == expected
        else:
            # One thread has one tracer there, and whoever comes last has it: that must be said.
            assert "another tool (coverage.py, a debugger)" in output


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="pytest 6 needs ast.Str, which is gone")
def test_several_tests_at_once_in_threads(workers: Suite, expected: Hits) -> None:
    threads = Suite(workers.folder, python_with("parallel", *PARALLEL))
    arguments = ["-W", "ignore", "--workers", "2", "--tests-per-worker", "3"]
    for _ in range(RUNS):
        output = threads.pytest("--hitlog", *arguments)
        assert "2 workers (processes), 3 tests per worker (threads)" in output
        assert threads.hits() == expected
