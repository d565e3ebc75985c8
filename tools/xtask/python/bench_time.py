"""A pytest plugin that writes how much CPU time the test loop took, and the peak of memory.

They go into the file that ``BENCH_TIMES`` names, under the name in ``BENCH_ROW``. With
``BENCH_EMPTY_TRACE`` in the environment a function in C that does nothing is called for each line: what
that costs is what the interpreter itself takes for tracing.
"""

from __future__ import annotations

import ctypes
import os
import resource
import time
from collections.abc import Generator

import pytest


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtestloop() -> Generator[None, None, None]:
    """Measure the loop over all tests."""
    if "BENCH_EMPTY_TRACE" in os.environ:
        # It says at once that nothing is not callable.
        ctypes.pythonapi.PyEval_SetTrace(ctypes.pythonapi.PyCallable_Check, None)
    begin = time.process_time()
    yield
    seconds = time.process_time() - begin
    if "BENCH_EMPTY_TRACE" in os.environ:
        ctypes.pythonapi.PyEval_SetTrace(None, None)
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with open(os.environ["BENCH_TIMES"], "w", encoding="ascii") as file:
        file.write(f"{os.environ['BENCH_ROW']} {seconds}\npeak_kib {peak_kib}\n")
