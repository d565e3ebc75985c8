"""Begins the recording of this process.

``hitlog.pth`` imports this module in every Python process in whose environment ``HITLOG_RUN`` is set.
Nothing that goes wrong here may reach the program: it runs as if it were not recorded. With
``HITLOG_DEBUG`` set, one line on standard error says what went wrong.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RUN = "HITLOG_RUN"
CONTEXT = b"HITLOG_CONTEXT"


def start(run_directory: str) -> dict[str, Any]:
    """Record this process into ``run_directory``. Raises whatever prevents it.

    Returns the configuration of the run if this is its first process, and nothing otherwise.
    """
    from . import _native

    configuration: dict[str, Any] = {}
    if not _native.has_configuration(run_directory):
        from . import _configuration

        configuration = _configuration.publish(run_directory)
    excluded = [os.path.dirname(os.__file__), os.path.dirname(os.path.abspath(__file__))]
    wants_contexts = _native.begin(run_directory, os.environb.get(CONTEXT, b""), excluded)
    _watch_children()
    if wants_contexts:
        from . import _unittest

        _unittest.watch()
    if configuration:
        from . import _configuration, _files

        _files.mention_below(_configuration.source_directories(configuration))
    return configuration


def _watch_children() -> None:
    # Once per process: a second recording in this process (pytest inside of pytest) uses the same.
    global _watching
    if not _watching:
        from . import _multiprocessing, _native

        os.register_at_fork(after_in_child=_native.after_fork)
        _multiprocessing.watch()
        _watching = True


_watching = False
# Why this process is not recorded although it should be.
refusal: str | None = None


def _start_quietly() -> None:
    run_directory = os.environ.get(RUN)
    if not run_directory:
        return
    try:
        start(run_directory)
    except BaseException as error:
        global refusal
        refusal = str(error) or repr(error)
        if os.environ.get("HITLOG_DEBUG"):
            line = f"hitlog: process {os.getpid()} is not recorded: {refusal}\n"
            os.write(2, line.encode(errors="backslashreplace"))


_start_quietly()
