"""Code that is compiled at run time, and modules that are loaded again."""

import importlib
import os
import sys
import types

HERE = os.path.dirname(os.path.abspath(__file__))
TEMPLATE = os.path.join(HERE, "page.template")
SOURCE = """
def render(name):
    return (
        "hello " +
        name
    )

result = render("x")
"""


def case_exec():
    exec(compile(SOURCE, TEMPLATE, "exec"), {})


def case_exec_again():
    exec(compile(SOURCE, TEMPLATE, "exec"), {})


def case_eval():
    return eval(compile("1 + \\\n 2", TEMPLATE, "eval"))


def case_anonymous():
    exec("x = 1\ny = 2", {})
    return eval("1 + 1")


def case_function_of_code():
    module = compile(SOURCE, TEMPLATE, "exec")
    code = next(c for c in module.co_consts if isinstance(c, types.CodeType))
    return types.FunctionType(code, {})("y")


def case_replaced_code():
    def victim(name): return name
    module = compile("\n" * 20 + SOURCE, TEMPLATE, "exec")
    code = next(c for c in module.co_consts if isinstance(c, types.CodeType))
    victim.__code__ = code.replace(co_name="other")
    return victim("z")


def case_a_reload():
    sys.path.insert(0, HERE)
    try:
        import reloaded
        importlib.reload(reloaded)
        reloaded.function()
    finally:
        sys.path.remove(HERE)


def case_z_reloaded():
    return sys.modules["reloaded"].function()
