"""A pytest plugin that writes how much CPU time the test loop took, and the peak of memory.

They go into the file that ``BENCH_TIMES`` names, under the name in ``BENCH_ROW``.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Generator

import pytest


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtestloop() -> Generator[None, None, None]:
    """Measure the loop over all tests."""
    begin = time.process_time()
    yield
    seconds = time.process_time() - begin
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with open(os.environ["BENCH_TIMES"], "w", encoding="ascii") as file:
        file.write(f"{os.environ['BENCH_ROW']} {seconds}\npeak_kib {peak_kib}\n")
