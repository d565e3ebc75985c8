"""Records which context (a test, a request, a benchmark) ran which line, in every process of a run.

A process is recorded when it was started by ``hitlog run`` or ``pytest --hitlog``, or is a child of
such a process. Everything here may be called in any process at any time: in one that is not recorded it
does nothing and costs next to nothing.

>>> import hitlog
>>> with hitlog.context("load the catalogue"):
...     hitlog.sample("entries", 1733)

PYTEST_DONT_REWRITE: this module is imported before pytest starts, and a pytest whose warnings are
errors would end because it cannot rewrite its assertions, of which there are none.
"""

from __future__ import annotations

from . import _native
from ._contexts import context

__all__ = ["context", "is_recording", "sample"]


def is_recording() -> bool:
    """Tell whether this process is being recorded."""
    return _native.is_recording()


def sample(name: str, value: int) -> None:
    """Record a measurement with the time of the call and the context of the moment.

    ``value`` is a whole number from 0 to 2**64 - 1 in the unit that ``name`` tells; any other raises
    OverflowError or TypeError. May be called from any thread; a forked child records into its own log.
    """
    _native.sample(name, value)
