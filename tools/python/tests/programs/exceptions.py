"""Exceptions and clean-up."""

import contextlib


def returning():
    try:
        return 1
    finally:
        a = 1


def raising(kind):
    try:
        raise kind
    except ValueError as error:
        return error
    except (
        KeyError,
        IndexError,
    ):
        pass
    else:
        return 2
    finally:
        for _ in range(2):
            continue
        while True:
            break
    return 3


def chained():
    try:
        try:
            1 / 0
        except ZeroDivisionError as error:
            raise ValueError from error
    except ValueError:
        return 1


def escaping():
    with contextlib.suppress(LookupError):
        [][
            1
        ]
    return 2


@contextlib.contextmanager
def managed(swallow):
    try:
        yield 1
    except ValueError:
        if not swallow:
            raise


class Manager:
    def __enter__(self): return self
    def __exit__(self, *details):
        return True


def case_returning():
    returning()


def case_raising():
    raising(ValueError)


def case_raising_other():
    raising(IndexError)
    chained()
    escaping()


def case_with():
    with managed(True):
        raise ValueError
    with open(
        "/dev/null"
    ) as first, open("/dev/null"
    ) as second:
        pass
    with open("/dev/null"): pass
    with Manager(): raise KeyError
    with managed(False) as a, \
         Manager() as b:
        return a, b


def case_assert():
    try:
        assert (
            1 ==
            2
        ), "message " \
           "on lines"
    except AssertionError:
        pass


def case_loop_with_try():
    for n in range(3):
        try:
            if n == 1:
                continue
            if n == 2:
                break
        finally:
            n += 1
    else:
        n = 9
    return n
