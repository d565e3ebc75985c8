"""What the interpreter itself takes for reports of one branch (CPython 3.12 and 3.13).

usage: bench_branch.py

Prints how much longer ``joined`` of bench_loops.py takes when its ``if`` is reported each time, to a
function in C that returns at once. No recorder that gets these reports can take less.
"""

from __future__ import annotations

import dis
import sys
import time

from bench_loops import COUNT, ROUNDS, joined


def best() -> float:
    """CPU time of the loop, the minimum of several runs."""
    seconds = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        joined(COUNT)
        seconds.append(time.process_time() - begin)
    return min(seconds)


def report_the_if() -> None:
    """Let the ``if`` be reported, and not the loop."""
    if sys.version_info < (3, 12):
        sys.exit("sys.monitoring came with CPython 3.12")
    monitoring = sys.monitoring
    code = joined.__code__
    ends = [at.offset for at in dis.get_instructions(code) if at.opname == "FOR_ITER"]
    tool, event = monitoring.PROFILER_ID, monitoring.events.BRANCH

    def disable_loop(_code: object, at: int, _to: int) -> object:
        return monitoring.DISABLE if at in ends else None

    monitoring.use_tool_id(tool, "bench")
    monitoring.register_callback(tool, event, disable_loop)
    monitoring.set_local_events(tool, code, event)
    joined(2)
    # Finds the code object at the first place where it looks.
    monitoring.register_callback(tool, event, ([code] * (2 * len(code.co_code))).index)


if __name__ == "__main__":
    unreported = best()
    report_the_if()
    print(f"joined, its `if` reported and nothing done: {best() / unreported:.2f}x")
