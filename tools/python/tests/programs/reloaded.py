value = 1


def function():
    return value


def case_itself():
    return function()
