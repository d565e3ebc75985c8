"""Loops that go the same way a thousand times before they go the other way, or never do."""

import asyncio

MANY = 1000


def rare_body(n, x):
    y = 0
    for m in range(n):
        if m == x:
            y += 1
    return y


def usual_body(n, x):
    y = 0
    for m in range(n):
        if m != x:
            y += 1
    return y


def body_and_more(n, x):
    y = 0
    for m in range(n):
        if m != x:
            y += 1
        y -= 1
    return y


def inner(n, x):
    y = 0
    for m in range(1):
        for k in range(n):
            y += k
            if k == x: continue
            y -= 1
            if k == x + 1: break
    while n != x:
        n -= 1
        if n == 0: break


def either(n, x):
    y = 0
    while y < n:
        y += 1
        if y == x and n or y == x + 1: y += 2
        elif y != x + 2 and \
                y != x + 4:
            y += 0
        else:
            y += 1


def handled(n, x):
    for m in range(n):
        try:
            if m == x:
                raise ValueError
        except ValueError:
            if m: n -= 1
        finally:
            if m != x:
                n += 0


def yielding(n, x):
    for m in range(n):
        if m == x:
            yield m
        else: yield -1


async def numbers(n):
    for m in range(n):
        yield m


async def waiting(n, x):
    y = 0
    async for m in numbers(n):
        if m != x:
            y += 1
    for m in range(n):
        if m != x:
            y += 1


def work(n, x):
    for function in (rare_body, usual_body, body_and_more, inner, either, handled):
        function(n, x)
    for m in yielding(n, x):
        if m > 0: n += 1
    asyncio.run(waiting(n, x))


def case_first():
    work(MANY, MANY + 10)


def case_late():
    work(MANY, MANY - 10)


def case_never_again():
    work(MANY, -10)


def case_late_again():
    work(MANY, MANY - 10)


def case_short():
    work(3, 1)


def case_both():
    work(MANY, -10)
    work(MANY, MANY - 1)
