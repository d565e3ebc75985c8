"""Type parameters and formatted strings of 3.12."""

type Pair[T] = tuple[T, T]


class Box[T]:
    def __init__(self, value: T):
        self.value = value

    def get(self) -> T: return self.value


def first[T](
    values: list[T],
) -> T:
    return values[0]


def case_generic():
    return Box(1).get(), first([1, 2])


def case_alias():
    return Pair.__value__


def case_formatted(x=1):
    return f"{x} {
        x + 1
    } {"nested"}"
