"""A pytest plugin that lets a suite run the same lines every time, so that two runs can be compared.

Chance is taken out: random numbers begin anew in each test. And so is the garbage collector, which runs
callbacks and ends generators in whichever test happens to be running.
"""

from __future__ import annotations

import gc
import random

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_configure() -> None:
    """Collect nothing until the end."""
    gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Begin the random numbers anew."""
    random.seed(0)
