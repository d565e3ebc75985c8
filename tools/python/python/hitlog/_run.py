"""A run that ``pytest --hitlog`` begins, compacts and tells of."""

from __future__ import annotations

import contextlib
import json
import os
import sys

import pytest

from . import _configuration, _contexts, _files, _native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# What is in a run directory beside the logs.
_OTHER_FILES = ("run.json", "config.json", "tests.json", "process-", "notes-", "loaded-")
# How to record where the current folder takes no logs.
_ELSEWHERE = "record into another folder (hitlog run --dir DIR -- pytest)"
_ANY_HIT = "select exists (select * from line_bits), exists (select * from arc)"


class Run:
    """A run that this process began and will compact."""

    def __init__(self, output: str, sources: list[str], branch: bool) -> None:
        """Take the settings; nothing happens before :meth:`begin`."""
        self._branch = branch
        self._output = os.path.abspath(output)
        self._sources = [os.path.abspath(path) if os.path.exists(path) else path for path in sources]
        self._directory: str | None = None
        self._packages: list[str] = []
        self._process = os.getpid()
        self._has_tests = False
        # Which tests are affected, if only these are to run.
        self.answer: dict[str, Any] | None = None
        # What became of the run, in lines for people.
        self.summary = ""
        # Whether the summary holds nothing that somebody should look at.
        self.is_smooth = False
        # Whether the output was written.
        self.is_compacted = False

    @property
    def output(self) -> str:
        """The absolute path of the result."""
        return self._output

    @property
    def is_of_this_process(self) -> bool:
        """Whether this is not a forked child that came back into pytest instead of ending."""
        return self._process == os.getpid()

    @property
    def has_tests(self) -> bool:
        """Whether a test ran, or a file of tests did."""
        return self._has_tests

    def explain_unwritable(self) -> str | None:
        """Tell why the output cannot be written; None if it can."""
        try:
            _native.check_output(self._output)
        except RuntimeError as error:
            return f"--hitlog-output: {_for_pytest(error)}"
        return None

    def select(self) -> None:
        """Find out which tests are affected. Without a recording all tests run, and are recorded."""
        if os.path.exists(self._output):
            from . import _affected

            try:
                self.answer = _affected.ask(self._output)
            except RuntimeError as error:
                raise pytest.UsageError(f"--hitlog-affected: {error}") from error

    def begin(self) -> None:
        """Make the run directory and record this process and its children into it.

        What prevents it becomes the summary: the tests run all the same.
        """
        from . import _start

        directory = None
        try:
            directory = _native.create_run_directory(os.getcwd())
            self._write_run_file(directory)
            configuration = _start.start(directory)
        except Exception as error:
            self.summary = f"nothing was recorded: {_for_pytest(error)}"
            if directory is not None:
                if isinstance(error, OSError):
                    self.summary += f". Something in {directory} cannot be written; {_ELSEWHERE}"
                _remove_run(directory)
            return
        self._packages = _configuration.source_packages(configuration)
        self._directory = directory
        os.environ[_start.RUN] = directory

    def refuse_to_join(self) -> None:
        """Make the summary tell why this process is not recorded into the run it was started in."""
        from . import _start

        directory = os.environ.get(_start.RUN)
        self.summary = (
            f"nothing was recorded: {_start.RUN} names the run {directory}, which this process could "
            f"not join ({_start.refusal}). If that run is over, unset {_start.RUN}"
        )

    def _write_run_file(self, directory: str) -> None:
        here = os.getcwd()
        run = {
            "version": 1,
            "cwd": printable(here),
            "cwd_bytes": _configuration.one_byte_text(here),
            "command": [printable(word) for word in sys.argv],
            "branch": self._branch,
            "source": [printable(source) for source in self._sources],
            "source_bytes": [_configuration.one_byte_text(source) for source in self._sources],
            "context": None,
        }
        with open(os.path.join(directory, "run.json"), "w", encoding="utf-8") as file:
            json.dump(run, file)

    def test_begins(self) -> None:
        """Notice that there is something worth to be compacted."""
        self._has_tests = True

    def finish(self, exit_status: int | None = None) -> None:
        """End the recording of this process and compact the run, the first time."""
        directory = self._directory
        if directory is None or not self.is_of_this_process:
            return
        from . import _start

        self._directory = None
        _contexts.switch("")
        _files.mention_packages(self._packages)
        _native.end(exit_status)
        if os.environ.get(_start.RUN) == directory:
            del os.environ[_start.RUN]
        if self._has_tests:
            self._compact(directory)
        else:
            # A result of earlier tests is worth more than that no test ran now.
            self.summary = f"no test ran, {_short(self._output)} was not written"
            _remove_run(directory)

    def _compact(self, directory: str) -> None:
        try:
            if self.answer is None:
                self.summary, self.is_smooth = _native.compact(directory, _short(self._output))
            else:
                from . import _affected

                self.summary, self.is_smooth = _affected.update(directory, _short(self._output))
        except (RuntimeError, OSError, ValueError) as error:
            self.summary = f"the logs in {directory} were not compacted: {error}"
            return
        self.is_compacted = True
        if _has_no_hit(self._output):
            self.is_smooth = False
            self.summary = f"{self.summary.rstrip()}\n{self._explain_nothing_measured()}"

    def _explain_nothing_measured(self) -> str:
        if self._sources:
            return (
                f"nothing that ran is measured: no file belongs to {', '.join(self._sources)}; "
                "correct --hitlog-source"
            )
        return (
            f"nothing that ran is measured: by default that is what lies below {os.getcwd()} and in no "
            "environment; correct source, include and omit in the configuration, or say --hitlog-source"
        )


def _has_no_hit(output: str) -> bool:
    try:
        import sqlite3
    except ImportError:
        return False
    try:
        with contextlib.closing(sqlite3.connect(output)) as connection:
            return not any(connection.execute(_ANY_HIT).fetchone())
    except sqlite3.Error:
        return False


def _remove_run(directory: str) -> None:
    """Remove what was put into the run directory, and it too unless there is more in it."""
    with contextlib.suppress(OSError):
        for name in os.listdir(directory):
            if name.endswith(".hitlog") or name.startswith(_OTHER_FILES):
                os.unlink(os.path.join(directory, name))
        os.rmdir(directory)


def printable(text: str) -> str:
    """Write the bytes of a name that are no text as backslash escapes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _for_pytest(error: Exception) -> str:
    """Return the text of an error of the library, which names options of the command, not of pytest."""
    text = str(error).replace(" with -o", " with --hitlog-output")
    return text.replace("Record into another folder (--dir DIR)", f"Make it writable, or {_ELSEWHERE}")


def _short(path: str) -> str:
    """Write a path as people would who look at it from here."""
    here = os.path.join(os.getcwd(), "")
    return path[len(here) :] if path.startswith(here) else path
