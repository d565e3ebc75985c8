"""What only pytest-xdist's controller knows of a worker: its name, and how its process ended.

A file in the run directory says it for each worker: the name from the worker's start on, so that it is
known whatever becomes of the controller, and the exit status or the signal once that is known.
"""

from __future__ import annotations

import contextlib
import json
import os

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Workers:
    """Writes what the compactor cannot know of the workers that this process starts."""

    def __init__(self, run_directory: str) -> None:
        """Take the directory into which the workers record."""
        self._run_directory = run_directory
        # The processes of which the end is not known, with what is written of each.
        self._running: list[tuple[Any, dict[str, object]]] = []

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:  # noqa: ANN401 - of pytest-xdist
        """Take down the name of a worker that was just started."""
        # A gateway to another host has no process here, or that of its ssh.
        process = getattr(getattr(node.gateway, "_io", None), "popen", None)
        if process is None or not hasattr(process, "poll"):
            return
        known = {"pid": process.pid, "process_start_ticks": _start_ticks(process.pid)}
        known["name"] = node.gateway.id
        self._write(known)
        self._running.append((process, known))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self) -> None:
        """Look which worker ended."""
        self.look()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Look once more: pytest-xdist has ended all workers by now."""
        self.look()

    def look(self) -> None:
        """Take down how those workers ended that have ended."""
        for process, known in list(self._running):
            status = process.poll()
            if status is not None:
                known["signal" if status < 0 else "exit_code"] = abs(status)
                self._write(known)
                self._running.remove((process, known))

    def _write(self, known: dict[str, object]) -> None:
        path = os.path.join(self._run_directory, f"process-{known['pid']}.json")
        unfinished = f"{path}.part"
        # Without it, only a name or a signal is missing in the summary.
        with contextlib.suppress(OSError):
            with open(unfinished, "w", encoding="ascii") as file:
                json.dump(known, file)
            os.replace(unfinished, path)


def _start_ticks(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 if that cannot be known any more."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # Behind its name, in which there may be anything, the start is the 20th field.
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0
