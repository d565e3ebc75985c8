"""Begins the recording of this process.

``hitlog.pth`` leads here in every Python process in whose environment ``HITLOG_RUN`` is set, or whose
ancestor is recorded (see ``_hitlog_start.py``). Nothing that goes wrong here may reach the program: it
runs as if it were not recorded. With ``HITLOG_DEBUG`` set, one line on standard error says what it was.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RUN = "HITLOG_RUN"
CONTEXT = b"HITLOG_CONTEXT"


def start(run_directory: str, context: bytes | None = None) -> dict[str, Any]:
    """Record this process into ``run_directory``. Raises whatever prevents it.

    It begins in ``context``, by default the one that the environment tells. Returns the configuration
    of the run if this is its first process, and nothing otherwise.
    """
    from . import _native

    configuration: dict[str, Any] = {}
    if not _native.has_configuration(run_directory):
        from . import _configuration

        configuration = _configuration.publish(run_directory)
    excluded = [os.path.dirname(os.__file__), os.path.dirname(os.path.abspath(__file__))]
    wants_contexts = _native.begin(
        run_directory, os.environb.get(CONTEXT, b"") if context is None else context, excluded
    )
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
        from . import _contexts, _multiprocessing

        os.register_at_fork(after_in_child=_contexts.after_fork)
        _multiprocessing.watch()
        _watching = True


_watching = False
# Why this process is not recorded although it should be.
refusal: str | None = None


def start_quietly(run_directory: str, context: bytes | None = None) -> None:
    """Record this process as :func:`start` does. What prevents it is kept and not raised."""
    try:
        start(run_directory, context)
    except BaseException as error:
        global refusal
        refusal = str(error) or repr(error)
        _note(run_directory, refusal)
        if os.environ.get("HITLOG_DEBUG"):
            line = f"hitlog: process {os.getpid()} is not recorded: {refusal}\n"
            os.write(2, line.encode(errors="backslashreplace"))


def _note(run_directory: str, refusal: str) -> None:
    """Let the summary of the run tell that this process is missing, and why."""
    try:
        # In no other folder that the variable may name.
        if os.path.exists(os.path.join(run_directory, "run.json")):
            path = os.path.join(run_directory, f"notes-{os.getpid()}.txt")
            with open(path, "a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"not recorded: {' '.join(refusal.split())}\n")
    except OSError:
        pass


if os.environ.get(RUN):
    start_quietly(os.environ[RUN])
