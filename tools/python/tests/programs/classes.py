"""Class bodies and what is in them."""

import dataclasses
import enum
import functools


class Empty: pass


class OnlyDocstring:
    """Nothing else."""


class WithBody:
    """More."""

    number: int = 1
    text = (
        "a"
        "b"
    )

    def method(self): ...

    @property
    def value(self):
        return self.number

    @staticmethod
    def static(): return 1

    @classmethod
    def of(cls):
        return cls()

    class Inner:
        x = 1


class Meta(type):
    def __new__(meta, name, bases, namespace):
        return super().__new__(meta, name, bases, namespace)


class Made(metaclass=Meta):
    def __init_subclass__(cls):
        super().__init_subclass__()


@dataclasses.dataclass
class Point:
    x: int
    y: int = 2

    def __post_init__(self):
        self.x += 1


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@functools.lru_cache(maxsize=None)
def cached(n):
    return n


def make(base):
    class Local(base):
        def method(self):
            return super().method()
    return Local


def case_methods():
    thing = WithBody.of()
    thing.method()
    return thing.value, thing.static()


def case_points():
    return Point(1), Colour(2)


def case_local():
    class Late(Made): pass
    return make(WithBody)().method(), Late


def case_cached():
    return cached(1), cached(1)


def case_cached_again():
    return cached(1), cached(2)


def case_type():
    return type("Dynamic", (WithBody,), {"extra": lambda self: 1})().extra()
