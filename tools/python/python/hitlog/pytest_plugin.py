"""The pytest plugin: one context per phase of each test, and ``pytest --hitlog``.

In a process that is recorded already (under ``hitlog run``, or a worker of pytest-xdist) it only
switches contexts. With ``--hitlog`` in one that is not, it begins a run, lets this process and all its
children record into it, compacts the logs at the end and prints what became of them.
"""

from __future__ import annotations

import json
import os
import sys

import pytest

from . import _contexts, _native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator


_TAKEN_OVER = (
    "another tool (coverage.py, a debugger) took over the tracing of the main thread, so lines are "
    "missing: only one tool can trace before Python 3.12"
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
    if options.hitlog and not os.environ.get(_start.RUN) and not _native.is_recording():
        run = Run(options.hitlog_output, options.hitlog_source, options.hitlog_branch)
        run.begin()
        early_config.add_cleanup(run.finish)
        early_config.pluginmanager.register(Summary(run), "hitlog-summary")


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
        self.summary: str | None = None

    def begin(self) -> None:
        """Make the run directory and record this process and its children into it.

        What prevents it becomes the summary: the tests run all the same.
        """
        from . import _start

        try:
            directory = _native.create_run_directory(os.getcwd())
            self._write_run_file(directory)
            _start.start(directory)
        except (OSError, RuntimeError, ValueError) as error:
            self.summary = f"nothing was recorded: {error}"
            return
        self._directory = directory
        os.environ[_start.RUN] = directory

    def _write_run_file(self, directory: str) -> None:
        run = {
            "version": 1,
            "cwd": os.getcwd(),
            "command": sys.argv,
            "branch": self._branch,
            "source": self._sources,
            "context": None,
        }
        with open(os.path.join(directory, "run.json"), "w", encoding="utf-8") as file:
            json.dump(run, file)

    def finish(self, exit_status: int | None = None) -> None:
        """End the recording of this process and compact the run, the first time."""
        directory, self._directory = self._directory, None
        if directory is None:
            return
        from . import _start

        _contexts.switch("")
        remark = "" if _native.is_observing() else f"\n{_TAKEN_OVER}"
        _native.end(exit_status)
        if os.environ.get(_start.RUN) == directory:
            del os.environ[_start.RUN]
        try:
            self.summary = _native.compact(directory, _short(self._output)).rstrip() + remark
        except RuntimeError as error:
            self.summary = f"the logs in {directory} were not compacted: {error}"


def _short(path: str) -> str:
    """Write a path as people would who look at it from here."""
    here = os.path.join(os.getcwd(), "")
    return path[len(here) :] if path.startswith(here) else path


class Summary:
    """Prints what became of a run."""

    def __init__(self, run: Run) -> None:
        """Take the run."""
        self._run = run

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, exitstatus: int
    ) -> None:
        """Compact the run, whose other processes have ended by now, and print the summary."""
        self._run.finish(int(exitstatus))
        terminalreporter.section("hitlog")
        for line in (self._run.summary or "").splitlines():
            terminalreporter.line(line)
