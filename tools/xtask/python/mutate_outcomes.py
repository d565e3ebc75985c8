"""A pytest plugin for `mutate.py`: writes the names of the tests that passed."""

from __future__ import annotations

import json
import os

import pytest

_passed: set[str] = set()
_failed: set[str] = set()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note how a phase of a test ended."""
    if report.failed:
        _failed.add(report.nodeid)
    elif report.when == "call" and report.passed:
        _passed.add(report.nodeid)


def pytest_sessionfinish() -> None:
    """Write the names."""
    with open(os.environ["HITLOG_OUTCOMES"], "w", encoding="utf-8") as file:
        json.dump(sorted(_passed - _failed), file)
