"""Contexts: what the lines that run from now on belong to."""

from __future__ import annotations

import _thread
import os

from . import _native

# Carries the context of the moment to processes that are started in it.
VARIABLE = b"HITLOG_CONTEXT"
# A log holds no longer name, in bytes; a longer variable would keep the system from starting programs.
_LONGEST = 64 * 1024

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


def switch(name: str | None) -> str | None:
    """Make ``name`` the context and return the one before, to be given back later.

    In the main thread this is the context of the process: of all threads without one of their own and
    of every child started meanwhile. In another thread it is the context of that thread alone, and None
    means that it has none of its own.
    """
    before = _native.switch_context(name)
    if _native.is_recording():
        if _native.is_main_thread():
            _set_variable(name)
        else:
            _own.name = name
            if name:
                from . import _programs

                _programs.watch()
    return before


# The context of a thread that has one of its own.
_own = _thread._local()


def of_this_thread() -> bytes | None:
    """Return the calling thread's own context as an environment carries it, if there is one."""
    name = getattr(_own, "name", None)
    return None if name is None or _native.is_main_thread() else _variable(name)


def after_fork() -> None:
    """Prepare a forked child, whose only thread is its main thread, in the context of that thread."""
    _native.after_fork()
    name = getattr(_own, "name", None)
    if name is not None:
        _own.name = None
        _set_variable(name)


def _set_variable(name: str | None) -> None:
    if name:
        os.environb[VARIABLE] = _variable(name)
    else:
        os.environb.pop(VARIABLE, None)


def _variable(name: str) -> bytes:
    try:
        encoded = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        encoded = name.encode("utf-8", "surrogatepass")
    return encoded.replace(b"\0", b"")[:_LONGEST]


class context:  # noqa: N801 - used like a function
    """Give the lines that run in a ``with`` block to the context ``name``.

    In the main thread the context holds for the whole process, for all threads that have none of their
    own, and for the child processes that are started in the block. In any other thread it holds for
    that thread alone, and for the child processes that it starts. Blocks may be nested, also those of
    one object: afterwards the one before holds again. Where nothing is recorded nothing happens.

    >>> with context("import of the big file"):
    ...     pass
    """

    __slots__ = ("_before", "_name")

    def __init__(self, name: str) -> None:
        """Take the name; nothing happens before the block begins."""
        self._name = name
        # One for each block that has not ended.
        self._before: list[str | None] = []

    def __enter__(self) -> None:
        """Begin the context."""
        self._before.append(switch(self._name))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Go back to the context before."""
        switch(self._before.pop())
