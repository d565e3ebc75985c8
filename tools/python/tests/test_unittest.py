"""One context per test of unittest, without pytest: `hitlog run --test-contexts`."""

from __future__ import annotations

import sys

import pytest
from suites import Suite

CASES = """
import asyncio, subprocess, sys, unittest
import helpers

def setUpModule():
    helpers.at_setup()

def tearDownModule():
    helpers.at_teardown()

class First(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        helpers.in_class()

    def setUp(self):
        helpers.before_each()

    def test_a(self):
        for n in (1, 2):
            with self.subTest(n=n):
                helpers.helper(n)

    def test_b(self):
        subprocess.run([sys.executable, "-c", "import helpers; helpers.helper(1)"], check=True)

class Second(unittest.IsolatedAsyncioTestCase):
    async def test_async(self):
        await asyncio.sleep(0)
        helpers.helper(1)

    @unittest.skip("no reason")
    def test_skipped(self):
        helpers.helper(1)

    @unittest.expectedFailure
    def test_fails(self):
        helpers.helper(1)
        self.fail()
"""
MORE_HELPERS = """

def in_class():
    return 3

def before_each():
    return 4
"""


@pytest.fixture
def cases(suite: Suite) -> Suite:
    helpers = suite.folder / "helpers.py"
    helpers.write_text(helpers.read_text() + MORE_HELPERS)
    (suite.folder / "test_it.py").unlink()
    suite.write(test_cases=CASES)
    return suite


def run(suite: Suite, *command: str, options: tuple[str, ...] = ("--test-contexts",)) -> str:
    return suite.run("-m", "hitlog", "run", *options, "--", sys.executable, *command)


def line(suite: Suite, text: str) -> int:
    return (suite.folder / "helpers.py").read_text().splitlines().index(f"    {text}") + 1


@pytest.mark.parametrize("command", [["-m", "unittest"], ["-m", "unittest", "-q", "test_cases"]])
def test_each_test_has_its_context(cases: Suite, command: list[str]) -> None:
    run(cases, *command)
    first, second = "test_cases.First.test_", "test_cases.Second.test_"

    def contexts(text: str) -> set[str]:
        return cases.contexts("helpers.py", line(cases, text))

    both = {f"{first}a|run", f"{first}b|run"}
    assert contexts("return n + 1") == both | {f"{second}async|run", f"{second}fails|run"}
    assert contexts("return 4") == both
    assert contexts("return 3") == {f"{first}a|setup"}
    assert contexts("return 1") == {f"{first}a|setup"}
    assert contexts("return 2") == {f"{second}skipped|teardown"}
    assert cases.contexts("test_cases.py", 3) == {""}


def test_without_the_option_there_is_one_context(cases: Suite) -> None:
    run(cases, "-m", "unittest", options=())
    assert cases.query("select distinct context from hitlog_line") == [("",)]


def test_under_pytest_its_names_hold(cases: Suite) -> None:
    run(cases, "-m", "pytest", "-p", "no:cacheprovider")
    assert "test_cases.py::First::test_a|run" in cases.contexts("helpers.py", 3)
    assert not any("test_cases.First" in context for context in cases.contexts("helpers.py", 3))


def test_the_static_context_comes_first(cases: Suite) -> None:
    run(cases, "-m", "unittest", options=("--test-contexts", "--context", "nightly"))
    assert "nightly|test_cases.First.test_a|run" in cases.contexts("helpers.py", 3)


def test_a_program_that_needs_no_unittest_does_not_get_it(cases: Suite) -> None:
    cases.write(
        program="import sys\n"
        "assert not {'unittest', 'subprocess', 'typing', 'inspect'} & set(sys.modules)\n"
        "import hitlog\nassert hitlog.is_recording()\n"
    )
    run(cases, "program.py")


def test_failures_and_output_are_as_ever(cases: Suite) -> None:
    cases.write(
        test_cases="import unittest\n"
        "class Case(unittest.TestCase):\n"
        "    def test_wrong(self): self.assertEqual(1, 2)\n"
        "    def id(self): raise RuntimeError('no name')\n"
        "    def __str__(self): return 'case'\n"
    )
    command = ["-m", "hitlog", "run", "--test-contexts", "--", sys.executable, "-m", "unittest"]
    output = cases.run(*command, status=1)
    assert "AssertionError: 1 != 2" in output
    assert "functools" not in output
    assert "_unittest.py" not in output
