"""What reports of lines cost in long code (CPython 3.12 and later).

usage: bench_long_code.py [recorded]

Prints how long the interpreter itself takes for each line of longer and longer functions: where the
reports go to a function that does nothing, and where it disables each line. ``recorded`` is for
``hitlog run``: prints how long a function of 2,000 lines takes that runs 30 times in each context.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import FunctionType

LENGTHS = (200, 2_000, 10_000)
RUNS = 30
CONTEXTS = 5


def made(length: int) -> FunctionType:
    """Make a function of so many lines, in this file."""
    text = "def long():\n" + "    n = 1\n" * length
    names: dict[str, FunctionType] = {}
    exec(compile(text, __file__, "exec"), names)
    return names["long"]


def seconds(work: Callable[[], object]) -> float:
    """CPU time of a call."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def reported(length: int, is_last: bool) -> float:
    """CPU time of the function when each line is reported; ``is_last``: and then disabled."""
    if sys.version_info < (3, 12):
        sys.exit("sys.monitoring came with CPython 3.12")
    long = made(length)
    long()
    monitoring = sys.monitoring
    tool, event = monitoring.PROFILER_ID, monitoring.events.LINE
    answer = monitoring.DISABLE if is_last else None
    monitoring.use_tool_id(tool, "bench")
    monitoring.register_callback(tool, event, lambda _code, _line: answer)
    monitoring.set_local_events(tool, long.__code__, event)
    took = seconds(long)
    monitoring.set_local_events(tool, long.__code__, 0)
    monitoring.free_tool_id(tool)
    return took


def recorded() -> float:
    """CPU time of the runs in one context, the minimum of several."""
    import hitlog

    long = made(2_000)
    took = []
    for number in range(CONTEXTS):
        with hitlog.context(f"context {number}"):
            took.append(seconds(lambda: [long() for _ in range(RUNS)]))
    return min(took)


if __name__ == "__main__":
    if sys.argv[1:] == ["recorded"]:
        print(f"2,000 lines, {RUNS} times in a context: {1e3 * recorded():.0f} ms")
    else:
        for length in LENGTHS:
            kept, disabled = (1e6 * reported(length, is_last) / length for is_last in (False, True))
            print(f"{length:,} lines: {kept:.2f} us each; disabled, {disabled:.2f} us each")
