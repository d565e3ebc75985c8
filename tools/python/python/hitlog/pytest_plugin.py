"""The pytest plugin: one context per phase of each test, and ``pytest --hitlog``.

In a process that is recorded already (under ``hitlog run``, or a worker of pytest-xdist) it only
switches contexts. With ``--hitlog`` in one that is not, it begins a run, lets this process and all its
children record into it, compacts the logs at the end and prints what became of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys

import pytest

from . import _configuration, _contexts, _native

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator

# Where pytest keeps the options with which it runs no test.
_INFORMATION = (
    "help",
    "version",
    "collectonly",
    "markers",
    "showfixtures",
    "show_fixtures_per_test",
    "setupplan",
    "cacheshow",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options."""
    group = parser.getgroup("hitlog", "which test ran which line, in every process (hitlog)")
    group.addoption(
        "--hitlog",
        action="store_true",
        help="record which test ran which line, here and in every child process",
    )
    group.addoption(
        "--hitlog-branch",
        action="store_true",
        help="record branches too (also: branch = true in the configuration)",
    )
    group.addoption(
        "--hitlog-output",
        metavar="FILE",
        default="hitlog.db",
        help="where the result goes, a coverage.py data file with more in it (default: %(default)s)",
    )
    group.addoption(
        "--hitlog-source",
        metavar="PATH",
        action="append",
        default=[],
        help="measure this directory or package, instead of what the configuration files say; "
        "may be given several times",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Begin to record before the first file of the project is imported."""
    if _native.is_recording():
        return
    from . import _start

    options = early_config.known_args_namespace
    # A worker whose start-up hook is missing has just been started by the import.
    if not options.hitlog or _native.is_recording() or _runs_no_test(options):
        return
    run = Run(options.hitlog_output, options.hitlog_source, options.hitlog_branch)
    if os.environ.get(_start.RUN):
        run.refuse_to_join()
    else:
        run.begin()
        early_config.add_cleanup(run.finish)
    early_config.pluginmanager.register(Summary(run), "hitlog-summary")


def _runs_no_test(options: argparse.Namespace) -> bool:
    """Tell whether pytest was only asked for information."""
    return any(getattr(options, name, None) for name in _INFORMATION)


def pytest_configure(config: pytest.Config) -> None:
    """Switch contexts in this process if it is recorded."""
    if _native.is_recording():
        config.pluginmanager.register(Contexts(), "hitlog-contexts")


class Contexts:
    """Gives each phase of each test its context; outside of tests the one before holds."""

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, None, None]:
        """Go back to the context before when a test is over."""
        before = _contexts.switch("")
        yield
        _contexts.switch(before)

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, None, None]:
        """Begin the context of the fixtures of a test."""
        _contexts.switch(f"{item.nodeid}|setup")
        yield

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """Begin the context of the test itself."""
        _contexts.switch(f"{item.nodeid}|run")
        yield

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        """Begin the context of what the fixtures do at their end."""
        _contexts.switch(f"{item.nodeid}|teardown")
        yield


class Run:
    """A run that this process began and will compact."""

    def __init__(self, output: str, sources: list[str], branch: bool) -> None:
        """Take the settings; nothing happens before :meth:`begin`."""
        self._branch = branch
        self._output = os.path.abspath(output)
        self._sources = [os.path.abspath(path) if os.path.exists(path) else path for path in sources]
        self._directory: str | None = None
        self._process = os.getpid()
        self._has_tests = False
        self.summary: str | None = None

    @property
    def is_of_this_process(self) -> bool:
        """Whether this is not a forked child that came back into pytest instead of ending."""
        return self._process == os.getpid()

    def begin(self) -> None:
        """Make the run directory and record this process and its children into it.

        What prevents it becomes the summary: the tests run all the same.
        """
        from . import _start

        try:
            directory = _native.create_run_directory(os.getcwd())
            self._write_run_file(directory)
            _start.start(directory)
        except Exception as error:
            self.summary = f"nothing was recorded: {error}"
            return
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
            "cwd": _printable(here),
            "cwd_bytes": _configuration.one_byte_text(here),
            "command": [_printable(word) for word in sys.argv],
            "branch": self._branch,
            "source": [_printable(source) for source in self._sources],
            "source_bytes": [_configuration.one_byte_text(source) for source in self._sources],
            "context": None,
        }
        with open(os.path.join(directory, "run.json"), "w", encoding="utf-8") as file:
            json.dump(run, file)

    def test_begins(self) -> None:
        """Notice that there is something to compact."""
        self._has_tests = True

    def finish(self, exit_status: int | None = None) -> None:
        """End the recording of this process and compact the run, the first time."""
        directory = self._directory
        if directory is None or not self.is_of_this_process:
            return
        from . import _start

        self._directory = None
        _contexts.switch("")
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
            self.summary = _native.compact(directory, _short(self._output))
        except RuntimeError as error:
            self.summary = f"the logs in {directory} were not compacted: {error}"
            return
        if _has_no_file(self._output):
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


def _has_no_file(output: str) -> bool:
    try:
        import sqlite3
    except ImportError:
        return False
    try:
        with contextlib.closing(sqlite3.connect(output)) as connection:
            return connection.execute("select 1 from file limit 1").fetchone() is None
    except sqlite3.Error:
        return False


def _remove_run(directory: str) -> None:
    """Remove what was put into the run directory, and it too unless there is more in it."""
    with contextlib.suppress(OSError):
        for name in os.listdir(directory):
            if name.endswith(".hitlog") or name in ("run.json", "config.json"):
                os.unlink(os.path.join(directory, name))
        os.rmdir(directory)


def _printable(text: str) -> str:
    """Write the bytes of a name that are no text as backslash escapes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _short(path: str) -> str:
    """Write a path as people would who look at it from here."""
    here = os.path.join(os.getcwd(), "")
    return path[len(here) :] if path.startswith(here) else path


class Summary:
    """Prints what became of a run."""

    def __init__(self, run: Run) -> None:
        """Take the run."""
        self._run = run

    def pytest_runtest_logstart(self) -> None:
        """Notice the first test, in whichever worker."""
        self._run.test_begins()

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, exitstatus: int
    ) -> None:
        """Compact the run, whose other processes have ended by now, and print the summary."""
        if not self._run.is_of_this_process:
            return
        self._run.finish(int(exitstatus))
        terminalreporter.section("hitlog")
        for line in (self._run.summary or "").splitlines():
            terminalreporter.line(_printable(line))
