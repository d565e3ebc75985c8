"""Exception groups."""


def handle(errors):
    try:
        raise ExceptionGroup("all", errors)
    except* ValueError as group:
        found = group.exceptions
    except* (
        KeyError,
        IndexError,
    ):
        found = ()
    else:
        found = None
    finally:
        found = [found]
    return found


def case_values():
    handle([ValueError()])


def case_both():
    handle([ValueError(), KeyError()])
