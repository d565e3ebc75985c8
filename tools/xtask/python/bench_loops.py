"""Small loops, each the worst case of something.

usage: bench_loops.py [contexts]

Writes the CPU time of each into the file that ``BENCH_TIMES`` names. With ``contexts`` each run of a
loop has a context of its own.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

COUNT = 200_000
ROUNDS = 5


def tight(count: int) -> int:
    """Decide, rarely otherwise."""
    total = 0
    for n in range(count):
        if n == -1:
            total = 0
        total += n
    return total


def usual(count: int) -> int:
    """Enter the body of the last statement, always."""
    total = 0
    for n in range(count):
        if n >= 0:
            total += n
    return total


def joined(count: int) -> int:
    """Enter a body before the last statement, always."""
    total = 0
    for n in range(count):
        if n >= 0:
            total += n
        total -= 1
    return total


def callee(a: int, b: int) -> int:
    """Be called."""
    if a > b:
        return a
    return b


def calls(count: int) -> None:
    """Call."""
    for n in range(count):
        callee(n, 5)


def numbers(count: int) -> Iterator[int]:
    """Yield."""
    for n in range(count):
        yield n + 1


def generator(count: int) -> int:
    """Take from a generator."""
    total = 0
    for n in numbers(count):
        total += n
    return total


def exceptions(count: int) -> None:
    """Raise and handle."""
    for n in range(count // 4):
        try:
            raise ValueError(n)
        except ValueError:
            pass


def comprehension(count: int) -> int:
    """Decide in a comprehension."""
    return len([n for n in range(count) if n % 3])


def switch(name: str) -> None:
    """Begin a context in whatever records."""
    if "coverage" in sys.modules:
        import coverage

        recording = coverage.Coverage.current()
        if recording:
            recording.switch_context(name)
    else:
        from hitlog._contexts import switch

        switch(name)


def main(has_contexts: bool) -> None:
    """Run each loop several times; the minimum counts."""
    best: dict[str, float] = {}
    for number in range(ROUNDS):
        for loop in (tight, usual, joined, calls, generator, exceptions, comprehension):
            name = loop.__name__
            if has_contexts:
                switch(f"{name} {number}")
            begin = time.process_time()
            loop(COUNT)
            seconds = time.process_time() - begin
            best[name] = min(seconds, best.get(name, seconds))
    with open(os.environ["BENCH_TIMES"], "w", encoding="ascii") as file:
        file.writelines(f"{name} {seconds}\n" for name, seconds in best.items())


if __name__ == "__main__":
    main(sys.argv[1:] == ["contexts"])
