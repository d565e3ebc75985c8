"""Files that are to be measured although nothing of them may ever run.

Where ``source`` says what shall be measured, a file that no test imports counts in coverage.py's
reports with all of its lines missing. So that it does in ours, it is taken down in the log of one
process. The rule is coverage.py's: files that could be imported by a name below the directory.
"""

from __future__ import annotations

import os
import re
import sys

from . import _native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MODULE_NAME = re.compile(r"[^.#~!$@%^&*()+=,]+\.pyw?")


def mention_below(directories: Iterable[str]) -> None:
    """Take down all modules below ``directories``, or at them."""
    for directory in directories:
        _native.mention(list(_modules(directory)))


def mention_packages(names: Iterable[str]) -> None:
    """Take down all modules of the packages that are found where imports look for them."""
    for name in names:
        mention_below(_directories(name))


def _modules(directory: str) -> Iterator[str]:
    if os.path.isfile(directory):
        yield directory
    for folder, below, names in os.walk(directory):
        if folder != directory and "__init__.py" not in names:
            below.clear()
            continue
        yield from (os.path.join(folder, name) for name in names if _MODULE_NAME.fullmatch(name))


def _directories(name: str) -> list[str]:
    """Find where a package or module lies, and import nothing."""
    from importlib.machinery import PathFinder

    places: list[str] | None = None
    spec = None
    parts = name.split(".")
    for index in range(len(parts)):
        module = sys.modules.get(".".join(parts[: index + 1]))
        try:
            spec = (module and module.__spec__) or PathFinder.find_spec(parts[index], places)
        except (AttributeError, ImportError, ValueError):
            return []
        if spec is None:
            return []
        places = list(spec.submodule_search_locations or ())
    if places:
        return places
    return [spec.origin] if spec and spec.origin and spec.has_location else []
