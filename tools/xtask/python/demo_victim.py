"""A pytest plugin: one xdist worker stops inside a test in the middle of the suite, to be killed.

The worker writes its pid and its test to the file that ``HITLOG_DEMO_VICTIM`` names; `cargo xtask demo`
reads it and sends SIGKILL, as the kernel does when memory runs out.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from pathlib import Path

import pytest

WORKER = "gw1"
TESTS_BEFORE = 60
PATIENCE_S = 60

tests_run = 0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Run the test; in the victim's 61st, its lines have run but its end is never reported."""
    global tests_run
    yield
    tests_run += 1
    if os.environ.get("PYTEST_XDIST_WORKER") == WORKER and tests_run > TESTS_BEFORE:
        wait_to_be_killed(item.nodeid)


def wait_to_be_killed(test: str) -> None:
    """Say who is waiting, in one step so that nobody reads half of it, and wait."""
    victim = Path(os.environ["HITLOG_DEMO_VICTIM"])
    unfinished = victim.with_suffix(".part")
    unfinished.write_text(f"{os.getpid()}\n{test}\n", encoding="utf-8")
    unfinished.replace(victim)
    time.sleep(PATIENCE_S)
    raise RuntimeError("nobody killed this worker")
