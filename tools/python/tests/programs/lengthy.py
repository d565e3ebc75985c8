"""A loop in code so long that CPython 3.12 and 3.13 take their time to say which line runs."""


def long(count):
    a = 0
    for n in range(count):
        a = n.real.real.real.real.real.real.real.real.real.real.real.real.real.real.real.real.real
        a = n.real.real.real.real.real.real.real.real.real.real.real.real.real.real.real.real.real
        a = n.real.real.real.real.real.real.real.real.real.real.real.real.real.real.real.real.real
        a = n.real.real.real.real.real.real.real.real.real.real.real.real.real.real.real.real.real
        a = n.real.real.real.real.real.real.real.real.real.real.real.real.real.real.real.real.real
        a = n.real.real.real.real.real.real.real.real.real.real.real.real.real.real.real.real.real
        a = n.real.real.real.real.real.real.real.real.real.real.real.real.real.real.real.real.real
        if n == 3:
            a += 1
        if n % 2:
            continue
        while a > 25:
            a -= 1
            if a == 27:
                break
        else:
            a -= 1
    return a


def short(count):
    for n in range(count):
        n += 1


def case_again():
    long(30)


def case_few():
    long(2)


def case_loop():
    long(30)
    short(30)


def case_none():
    long(0)
