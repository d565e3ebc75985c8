"""Structural pattern matching."""


class Point:
    __match_args__ = ("x", "y")

    def __init__(self, x, y):
        self.x = x
        self.y = y


def described(thing):
    match thing:
        case 0:
            return "zero"
        case [first, *rest] if rest:
            return first
        case {"key": value,
              **others}:
            return value, others
        case Point(0, y) | Point(y, 0):
            return y
        case Point(
            x=x,
        ):
            return x
        case str() as text: return text
        case _:
            return None


def case_first():
    described(0)


def case_sequences():
    described([1, 2])
    described([1])


def case_mappings():
    described({"key": 1, "b": 2})


def case_classes():
    described(Point(0, 1))
    described(Point(1, 0))
    described(Point(2, 2))
    described("text")
