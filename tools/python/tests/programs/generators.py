"""Generators, also ones that live across contexts."""


def simple():
    yield 1
    yield (
        2
    )


def on_one_line(): yield 1


def with_docstring():
    """Begins late."""
    yield


def receiving():
    got = None
    while got != "end":
        got = yield got
    return "done"


def delegating():
    result = yield from receiving()
    yield result


def cleaning():
    try:
        yield 1
        yield 2
    finally:
        closed.append(1)


def endless():
    n = 0
    while True:
        n += 1
        yield n
        if n % 2:
            n += 0


closed = []
living = endless()


def case_simple():
    list(simple())
    list(on_one_line())
    list(with_docstring())


def case_sending():
    generator = delegating()
    next(generator)
    generator.send("x")
    generator.send("end")
    try:
        next(generator)
    except StopIteration:
        pass


def case_closing():
    generator = cleaning()
    next(generator)
    generator.close()
    generator = cleaning()
    next(generator)
    try:
        generator.throw(ValueError)
    except ValueError:
        pass
    next(cleaning())


def case_living():
    next(living)


def case_living_on():
    next(living)


def case_living_longer():
    next(living)
    next(living)


def case_expressions():
    total = sum(
        n
        for n in range(5)
        if n % 2
    )
    return total, any(n > 2 for n in range(5))
