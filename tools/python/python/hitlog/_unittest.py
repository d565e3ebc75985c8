"""One context per test of unittest, for ``hitlog run --test-contexts``.

Whatever runs its tests through ``unittest.TestCase.run`` is served: ``python -m unittest``, Django's
runner, ``unittest.main``; and so are Twisted's trial and testtools, whose test cases have a ``run`` of
their own. A test's context is its id with ``|run`` behind it, as in
``test_shop.CartTest.test_add|run``, and holds for setUp and tearDown too. What setUpModule and
setUpClass do belongs to ``|setup`` of the test before which they run, what the tearDowns do to
``|teardown`` of the test after which they run, as it does under pytest. There, pytest's plugin names
the contexts.
"""

from __future__ import annotations

import functools

from . import _contexts, _imports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Callable

# The classes whose ``run`` runs a test, with their modules.
_CASES = (
    ("unittest.case", "TestCase"),
    ("twisted.trial._synctest", "SynchronousTestCase"),
    ("testtools.testcase", "TestCase"),
)
# Whether pytest runs the tests of this process.
_is_left_to_pytest = False
# The test that ran last.
_last = ""


def watch() -> None:
    """Change unittest, and what has a way of its own, now if it is loaded, or else when it is."""
    for module, case in _CASES:
        _imports.when_loaded(module, functools.partial(_change_case, case))
    _imports.when_loaded("unittest.suite", _change_suite)


def leave_to_pytest() -> None:
    """Name no more contexts in this process."""
    global _is_left_to_pytest
    _is_left_to_pytest = True


def _change_case(name: str, module: ModuleType) -> None:
    case = getattr(module, name)
    case.run = _in_context(case.run, _of_test)


def _change_suite(module: ModuleType) -> None:
    suite = module.TestSuite
    for name, context in (
        ("_handleModuleFixture", _before_test),
        ("_handleClassSetUp", _before_test),
        ("_tearDownPreviousClass", _after_test),
        ("_handleModuleTearDown", _after_test),
    ):
        if hasattr(suite, name):
            setattr(suite, name, _in_context(getattr(suite, name), context))


def _in_context(
    method: Callable[..., object], context: Callable[[tuple[Any, ...]], str]
) -> Callable[..., object]:
    @functools.wraps(method)
    def run(*arguments: Any, **more: Any) -> object:  # noqa: ANN401
        name = "" if _is_left_to_pytest else context(arguments)
        if not name:
            return method(*arguments, **more)
        with _contexts.context(name):
            return method(*arguments, **more)

    return run


def _of_test(arguments: tuple[Any, ...]) -> str:
    global _last
    _last = _id(arguments[0])
    return _last and f"{_last}|run"


def _before_test(arguments: tuple[Any, ...]) -> str:
    _suite, test, result = arguments
    # Nothing is set up before a further test of one class.
    if type(test) is getattr(result, "_previousTestClass", None):
        return ""
    identity = _id(test)
    return identity and f"{identity}|setup"


def _after_test(arguments: tuple[Any, ...]) -> str:
    if type(arguments[1]) is getattr(arguments[-1], "_previousTestClass", None):
        return ""
    return _last and f"{_last}|teardown"


def _id(test: Any) -> str:  # noqa: ANN401
    """Return the id of a test; none of one that has no usable id, which must not end the run."""
    try:
        return str(test.id())
    except Exception:
        return ""
