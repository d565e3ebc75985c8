"""Comprehensions on one line and on many."""

at_import = [n for n in range(3)]
lines_at_import = {
    n: n
    for n in range(3)
}


class Holder:
    values = [1, 2]
    doubled = [2 * n for n in
               (1, 2)]


def case_list():
    a = [x
         for x in range(3)
         if x]
    b = {x for x in
         range(2)}
    c = {x: y for x,
         y in zip(a, a)}
    return a, b, c


def case_nested():
    return [
        [
            inner * outer
            for inner in range(2)
        ]
        for outer in range(2)
    ]


def case_captured(limit=3):
    return [lambda: n + limit for n in range(limit)][0]()


def case_lambda_inside():
    return sorted(
        [
            (lambda n: n)(n) for n in range(3)
        ],
        key=lambda n: -n,
    )


def case_walrus():
    if (n := 3) and [y := n, y ** 2]:
        return y
