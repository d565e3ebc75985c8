"""Branches of every kind, taken both ways, one way, or not at all."""

import asyncio


def decisions(a, b):
    if a:
        x = 1
    if a and b:
        x = 2
    elif a or b:
        x = 3
    else:
        x = 4
    if not a: x = 5
    if a: return x
    y = a if b else x
    while a:
        a -= 1
        if a == 1: break
    else:
        y = 2
    while True:
        y += 1
        if y > 3:
            break
    return y


def loops(xs):
    for x in xs:
        if x == 2:
            continue
        if x == 3:
            break
    else:
        x = 0
    for x in xs:
        pass
    for x in xs: x += 1
    while xs and \
            xs[0]:
        xs = xs[1:]


def ends_with_if(a):
    if a:
        a += 1


def ends_with_loop(xs):
    for x in xs:
        if x:
            x += 1


def with_finally(a):
    try:
        if a == 1:
            return 1
        if a == 2:
            raise ValueError
        if a == 3:
            raise LookupError
    except ValueError:
        if a:
            a = 0
    finally:
        if a:
            a += 1
    return a


def handlers(kind):
    try:
        if kind:
            raise kind
    except (KeyError, IndexError):
        return 1
    except ValueError as error:
        if error.args:
            return 2
    else:
        if not kind:
            return 3
    return 4


def managed(path, a):
    with open(path) as file:
        if a:
            return file.name
    with open(path): a = 1
    return a


def generated(n):
    while n:
        n -= 1
        got = yield n
        if got:
            return
    else:
        yield -1


def comprehended(xs):
    return [
        x if x else -x
        for x in xs
        if x != 1
    ]


def asserted(a):
    assert a, "message"
    assert (
        a
    )
    return a


def chained(a, b, c):
    if a < b < c:
        return 1
    if (a and
            b and
            c):
        return 2
    if a is None:
        return 3
    return 4


async def numbers(n):
    for i in range(n):
        yield i


async def asynchronous(n):
    async for x in numbers(n):
        if x == 1:
            break
        if x == 5:
            continue
    else:
        n = 0
    async for x in numbers(n):
        pass
    return [x async for x in numbers(n) if x]


class Choice:
    if asyncio:
        x = 1
    else:
        x = 2
    for y in range(2):
        if y: z = y


def deep(n):
    if n > 0:
        return deep(n - 1)
    return 0


def many(x, limit=300):
    n = 0
    for i in range(limit):
        if i == x:
            n += 1
        elif i > 10 and i % 7 == 0:
            n += 2
    return n


def case_decisions():
    decisions(0, 0)
    decisions(2, 0)


def case_loops():
    loops([1, 2])
    loops([])
    ends_with_if(0)
    ends_with_loop([1])


def case_exceptions():
    for a in (1, 2, 0):
        with_finally(a)
    try:
        with_finally(3)
    except LookupError:
        pass
    for kind in (None, KeyError, ValueError):
        handlers(kind)
    managed("/dev/null", 0)
    try:
        asserted(0)
    except AssertionError:
        pass


def case_generators():
    list(generated(2))
    generator = generated(5)
    next(generator)
    try:
        generator.send(1)
    except StopIteration:
        pass
    comprehended([0, 1, 2])


def case_asynchronous():
    asyncio.run(asynchronous(1))
    asyncio.run(asynchronous(3))


def case_chains():
    chained(1, 2, 3)
    chained(1, 2, 0)


def case_many():
    many(250)
    deep(5)


def case_many_again():
    many(-1)
