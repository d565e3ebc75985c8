"""Functions of every shape."""


def only_docstring():
    """Nothing else."""


def on_one_line(): pass


def several_on_one_line(): x = 1; return x


def only_pass():
    pass


def arguments_on_lines(first,
                       second=2,
                       *rest,
                       **named): return (first,
                                         second,
                                         rest,
                                         named)


def defaults(a=lambda: 1,
             b=lambda: 2):
    return a(), b()


def decorator(function): return function


def decorator_with(*_arguments):
    def inner(function):
        return function

    return inner


@decorator
@decorator_with(
    1,
    2,
)
def decorated(
    x,
): return x


@decorator
def decorated_on_lines(x):
    return x


short = lambda: None
long = lambda x: (
    x
)


def nested():
    def first(): pass

    def second():
        return first()

    second()
    return lambda: first()


def closures():
    x = 1

    def inner(): return x

    def changing():
        nonlocal x
        x += 1

    def nothing():
        nonlocal x

    changing()
    return inner(), nothing()


def declares_global():
    global counter
    counter = 1


def only_declares():
    global counter


def returns(): return


def ellipsis(): ...


def recursion(n):
    if n == 0:
        return 0
    return 1 + recursion(n - 1)


def case_short():
    only_docstring()
    on_one_line()
    several_on_one_line()
    only_pass()
    returns()
    ellipsis()
    only_declares()
    short()


def case_short_again():
    only_docstring()
    on_one_line()
    short()
    ellipsis()


def case_long():
    arguments_on_lines(1)
    defaults()
    decorated(1)
    decorated_on_lines(1)
    long(2)
    declares_global()


def case_nested():
    nested()()
    closures()


def case_deep():
    recursion(50)


def case_from_a_callback():
    sorted([3, 1, 2], key=lambda n: -n)
    list(map(short.__class__, [], []))
    return max([1, 2], key=lambda n: (
        n
    ))
