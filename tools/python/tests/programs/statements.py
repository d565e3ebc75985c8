"""Statements over several lines, loops and jumps."""

import os, \
    sys

total = (
    1 +
    2 +
    3
)
text = """one
two
three"""
table = {
    "a": 1,
    "b": [
        2,
        3,
    ],
}
if total > 100:
    unreachable = 1
elif total == 6:
    reached = 1
else:
    unreachable = 2
for n in range(2): last = n
while total < 10: total += 3
try: import nosuchmodule
except ImportError: nosuchmodule = None


def call(*arguments, **named):
    return arguments, named


def case_calls():
    return call(
        1,
        call(
            2,
            x=call(3),
        ),
        *[
            4,
        ],
        y=5,
    )


def case_loops():
    n = 0
    while n < 3:
        n += 1
        if n == 2:
            continue
        for m in range(n):
            if m: break
        else:
            n += 0
    else:
        n = 10
    while 1:
        break
    return n


def case_conditions(a=1, b=0):
    x = (
        a
        if a
        else b
    )
    if a and \
       not b:
        x += 1
    if a or (
        b
    ):
        x += 1
    if 0:
        x = 2
    return x if x else \
        a


def case_many_times():
    n = 0
    for _ in range(100):
        n += 1
        if n == 99:
            n += 1
    return n


def case_many_times_again():
    return case_many_times()


def case_assignments():
    a = b = 1
    a, b = (
        b,
        a,
    )
    a += (
        b
    )
    del a, \
        b
    c = "{}".format(
        total
    ) if sys.version_info < (3, 0) else os.sep
    return c


def case_dead_code():
    return 1
    return 2
