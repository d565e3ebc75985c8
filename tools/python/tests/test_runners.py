"""Other people's runners of unittest's test cases, under `hitlog run --test-contexts`.

Their packages are big: without ``HITLOG_TEST_RUNNERS`` in the environment only one Python tries them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from environments import python_with
from suites import HELPERS, Suite

pytestmark = pytest.mark.skipif(
    sys.version_info[:2] != (3, 12) and "HITLOG_TEST_RUNNERS" not in os.environ,
    reason="other runners of tests are tried on Python 3.12, or with HITLOG_TEST_RUNNERS",
)

PACKAGES = (
    "django==4.2.*; python_version < '3.10'",
    "django==5.2.*; python_version >= '3.10'",
    "testtools==2.7.*; python_version < '3.10'",
    "testtools==2.9.*; python_version >= '3.10'",
    "twisted>=24",
)

MANAGE = """
import os, sys
from django.core.management import execute_from_command_line
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
if __name__ == "__main__":
    execute_from_command_line(sys.argv)
"""
SETTINGS = """
SECRET_KEY = "x"
INSTALLED_APPS = ["django.contrib.contenttypes"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
"""
TESTS_OF_DJANGO = """
import helpers
from django.contrib.contenttypes.models import ContentType
from django.test import SimpleTestCase, TestCase, TransactionTestCase

class Simple(SimpleTestCase):
    def setUp(self): helpers.at_setup()
    def test_simple(self): helpers.helper(1)

class WithData(TestCase):
    @classmethod
    def setUpTestData(cls): helpers.at_teardown()
    def test_data(self): helpers.helper(ContentType.objects.count())

class WithTransactions(TransactionTestCase):
    def test_transaction(self): helpers.helper(1)
"""
TESTS_OF_TRIAL = """
import sys
import helpers
from twisted.internet import reactor, task, utils
from twisted.trial.unittest import SynchronousTestCase, TestCase

class Synchronous(SynchronousTestCase):
    def setUp(self): helpers.at_setup()
    def test_synchronous(self): helpers.helper(1)

class Later(TestCase):
    def test_later(self):
        return task.deferLater(reactor, 0.01, helpers.helper, 1)
    def test_child(self):
        return utils.getProcessOutput(sys.executable, [helpers.__file__, "child"], env=None)
"""
TESTS_OF_TESTTOOLS = """
import helpers
from testtools import TestCase

class Tools(TestCase):
    def setUp(self):
        super().setUp()
        helpers.at_setup()
    def test_tools(self): helpers.helper(1)
"""


@pytest.fixture
def runners(tmp_path: Path) -> Suite:
    suite = Suite(tmp_path.resolve(), python_with("runners", *PACKAGES))
    suite.write(helpers=HELPERS + "if __name__ == '__main__':\n    helper(1)\n")
    return suite


def run(suite: Suite, *command: str) -> None:
    suite.run("-m", "hitlog", "run", "--test-contexts", "--", suite.python, *command)


def contexts(suite: Suite, text: str) -> set[str]:
    line = HELPERS.splitlines().index(f"    {text}") + 1
    return suite.contexts("helpers.py", line)


@pytest.mark.parametrize("parallel", [[], ["--parallel", "2"]])
def test_django(runners: Suite, parallel: list[str]) -> None:
    runners.write(manage=MANAGE, settings=SETTINGS, test_shop=TESTS_OF_DJANGO)
    run(runners, "manage.py", "test", *parallel)
    names = ("Simple.test_simple", "WithData.test_data", "WithTransactions.test_transaction")
    assert contexts(runners, "return n + 1") == {f"test_shop.{name}|run" for name in names}
    assert contexts(runners, "return 1") == {"test_shop.Simple.test_simple|run"}
    assert contexts(runners, "return 2") == {"test_shop.WithData.test_data|setup"}


@pytest.mark.parametrize("parallel", [[], ["-j", "2"]])
def test_trial(runners: Suite, parallel: list[str]) -> None:
    runners.write(test_shop=TESTS_OF_TRIAL)
    run(runners, "-m", "twisted.trial", *parallel, "test_shop")
    names = ("Synchronous.test_synchronous", "Later.test_later", "Later.test_child")
    assert contexts(runners, "return n + 1") == {f"test_shop.{name}|run" for name in names}
    assert contexts(runners, "return 1") == {"test_shop.Synchronous.test_synchronous|run"}


def test_testtools(runners: Suite) -> None:
    runners.write(test_shop=TESTS_OF_TESTTOOLS)
    run(runners, "-m", "testtools.run", "test_shop")
    assert contexts(runners, "return n + 1") == {"test_shop.Tools.test_tools|run"}
    assert contexts(runners, "return 1") == {"test_shop.Tools.test_tools|run"}
