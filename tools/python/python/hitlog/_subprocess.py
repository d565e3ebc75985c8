"""Hands a thread's own context on to the programs that it starts.

The environment belongs to the process, and so carries the context of the process. While a thread has
one of its own, as the tests of pytest-parallel have, ``subprocess.Popen`` gets an environment that
says so.
"""

from __future__ import annotations

import functools
import os

from . import _contexts, _imports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

_is_watching = False


def watch() -> None:
    """Change the module now if it is loaded, or else when it is."""
    global _is_watching
    if not _is_watching:
        _is_watching = True
        _imports.when_loaded("subprocess", _change)


def _change(module: ModuleType) -> None:
    original = module.Popen.__init__

    @functools.wraps(original)
    def __init__(self: object, *arguments: Any, **more: Any) -> None:  # noqa: ANN401, N807
        context = _contexts.of_this_thread()
        if context is not None and len(arguments) <= _BEFORE_ENV:
            env = os.environ if more.get("env") is None else more["env"]
            # One that is cleaned stays so: the child finds its context by its ancestors.
            if _RUN in env:
                more["env"] = {**env, _VARIABLE: os.fsdecode(context)}
        original(self, *arguments, **more)

    module.Popen.__init__ = __init__


_RUN, _VARIABLE = "HITLOG_RUN", os.fsdecode(_contexts.VARIABLE)
# Parameters of Popen in front of ``env``, which hardly anybody gives by position.
_BEFORE_ENV = 10
