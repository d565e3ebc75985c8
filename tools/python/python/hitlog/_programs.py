"""Hands a thread's own context on to the programs that it starts.

The environment belongs to the process, and so carries the context of the process. While a thread has
one of its own, as the tests of pytest-parallel have, what starts a program gets an environment that
says so: ``subprocess.Popen``, ``os.posix_spawn`` and ``os.exec*`` take one, and ``os.system`` lets its
shell set it. (``os.spawn*`` fork, and a forked child has the context of its thread as its own.)
"""

from __future__ import annotations

import functools
import os
import posix

from . import _contexts, _imports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType
    from typing import Any, Callable

_RUN = b"HITLOG_RUN"
# Places of ``env`` among the arguments; those of a method begin with its object.
_ENV_OF_POPEN, _ENV_OF_OTHERS = 11, 2
# The system starts no program with an argument that is longer, in bytes.
_LONGEST_ARGUMENT = 128 * 1024 - 1

_is_watching = False


def watch() -> None:
    """Change what starts programs, once: subprocess now if it is loaded, or else when it is."""
    global _is_watching
    if _is_watching:
        return
    _is_watching = True
    _imports.when_loaded("subprocess", _change_subprocess)
    for name in ("execve", "posix_spawn", "posix_spawnp"):
        _replace(name, _with_environment(getattr(posix, name), _ENV_OF_OTHERS))
    _replace("execv", _with_variable(posix.execv))
    _replace("system", _with_setting(posix.system))


def _change_subprocess(module: ModuleType) -> None:
    module.Popen.__init__ = _with_environment(module.Popen.__init__, _ENV_OF_POPEN, is_optional=True)


def _replace(name: str, function: Callable[..., object]) -> None:
    for module in (posix, os):
        setattr(module, name, function)


def _with_environment(
    original: Callable[..., object], place: int, *, is_optional: bool = False
) -> Callable[..., object]:
    @functools.wraps(original)
    def start(*arguments: Any, **more: Any) -> object:  # noqa: ANN401
        context = _contexts.of_this_thread()
        if context is not None:
            if len(arguments) > place:
                env = _environment(arguments[place], context)
                arguments = (*arguments[:place], env, *arguments[place + 1 :])
            elif is_optional or "env" in more:
                more["env"] = _environment(more.get("env"), context)
        return original(*arguments, **more)

    return start


def _environment(given: Any, context: bytes) -> Any:  # noqa: ANN401
    """Return the environment with the context. One that is cleaned stays so (``_hitlog_start.py``)."""
    try:
        env: Mapping[Any, Any] = os.environ if given is None else given
        names = {name: os.fsencode(name) for name in env}
        if _RUN not in names.values():
            return given
        kept = {name: env[name] for name, encoded in names.items() if encoded != _contexts.VARIABLE}
    except Exception:
        # Whoever gets it will say what is wrong with it.
        return given
    return {**kept, os.fsdecode(_contexts.VARIABLE): os.fsdecode(context)}


def _with_variable(original: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(original)
    def execv(*arguments: Any) -> object:  # noqa: ANN401
        context, name = _contexts.of_this_thread(), _contexts.VARIABLE
        if context is None or _RUN not in os.environb:
            return original(*arguments)
        # No other thread outlives it, unless it fails.
        before = os.environb.get(name)
        os.environb[name] = context
        try:
            return original(*arguments)
        finally:
            if before is None:
                del os.environb[name]
            else:
                os.environb[name] = before

    return execv


def _with_setting(original: Callable[..., int]) -> Callable[..., int]:
    @functools.wraps(original)
    def system(command: Any) -> int:  # noqa: ANN401
        context = _contexts.of_this_thread()
        if context is not None and _RUN in os.environb and isinstance(command, (str, bytes)):
            name, value = _contexts.VARIABLE, context.replace(b"'", b"'\\''")
            with_setting = b"%b='%b'; export %b; %b" % (name, value, name, os.fsencode(command))
            if len(with_setting) <= _LONGEST_ARGUMENT:
                command = with_setting
        return original(command)

    return system
