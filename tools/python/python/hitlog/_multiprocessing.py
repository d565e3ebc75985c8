"""Hands the context on to the processes that multiprocessing starts.

A fork server was started in the context of whoever needed it first, and so its children would all begin
in that one. Before anything else each child is sent a dictionary that tells how to prepare itself: what
is put in here switches the context while it is read. The module is watched for and not imported, since
most programs never need it.
"""

from __future__ import annotations

from . import _imports, _native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Callable

_MODULE = "multiprocessing.spawn"
# Uses nothing that a child without us, or with one of another version, could miss.
_IN_CHILD = """
try:
    from hitlog._contexts import switch
    switch(name)
except BaseException:
    pass
"""


def watch() -> None:
    """Change the module now if it is loaded, or else when it is."""
    _imports.when_loaded(_MODULE, _change)


class _Carrier:
    """Something that makes ``name`` the context of the process that unpickles it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __reduce__(self) -> tuple[Callable[..., None], tuple[object, ...]]:
        return exec, (_IN_CHILD, {"name": self._name})


def _change(module: ModuleType) -> None:
    original = module.get_preparation_data

    def get_preparation_data(*arguments: object, **more: object) -> dict[str, Any]:
        data: dict[str, Any] = original(*arguments, **more)
        if _native.is_recording():
            name = _native.child_starts()
            data["hitlog"] = _Carrier(name.decode("utf-8", "surrogateescape"))
        return data

    module.get_preparation_data = get_preparation_data  # type: ignore[attr-defined]
