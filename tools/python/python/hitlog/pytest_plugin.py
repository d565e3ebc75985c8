"""The pytest plugin: one context per phase of each test, and ``pytest --hitlog``.

In a process that is recorded already (under ``hitlog run``, or a worker of pytest-xdist) it only
switches contexts. With ``--hitlog`` in one that is not, it begins a run, lets this process and all its
children record into it, compacts the logs at the end and prints what became of them.
"""

from __future__ import annotations

import os

import pytest

from . import _affected, _contexts, _native, _reports, _unittest
from ._run import Run, printable
from ._workers import Workers

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator
    from typing import Any

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
        "--hitlog-affected",
        action="store_true",
        help="run only the tests that changes since the recording in hitlog.db concern (and those that "
        "are new or failed last time), record them, and bring hitlog.db up to date",
    )
    group.addoption(
        "--hitlog-branch",
        action="store_true",
        help="record branches too (also: branch = true in the configuration)",
    )
    group.addoption(
        "--hitlog-isolate",
        action="store_true",
        help="run each test in a forked process of its own: slower, but what one leaves behind reaches "
        "no other test, so that --hitlog-affected selects far fewer of them later",
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
    group.addoption(
        "--hitlog-report",
        metavar="TYPE[:PATH]",
        action="append",
        default=[],
        type=_reports.parse,
        help="with --hitlog, make this report by coverage.py: term, term-missing (both may be followed "
        "by :skip-covered), html, xml, json or lcov; may be given several times",
    )
    group.addoption(
        "--hitlog-fail-under",
        metavar="MIN",
        type=_reports.percentage,
        help="with --hitlog, fail if less than MIN percent is covered (with any report also: "
        "fail_under in coverage.py's configuration)",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Begin to record before the first file of the project is imported."""
    if _native.is_recording():
        return
    from . import _start

    options = early_config.known_args_namespace
    # A worker whose start-up hook is missing has just been started by the import.
    is_wanted = options.hitlog or options.hitlog_affected
    if not is_wanted or _native.is_recording() or _runs_no_test(options):
        return
    run = Run(options.hitlog_output, options.hitlog_source, options.hitlog_branch)
    reports = _reports.Reports(options.hitlog_report, options.hitlog_fail_under)
    if os.environ.get(_start.RUN):
        run.refuse_to_join()
    else:
        _refuse_what_must_fail(run, reports)
        if options.hitlog_affected:
            run.select()
        run.begin()
        early_config.add_cleanup(run.finish)
    early_config.pluginmanager.register(Summary(run, reports), "hitlog-summary")


def _refuse_what_must_fail(run: Run, reports: _reports.Reports) -> None:
    """Say before the tests, and not after them, that their result cannot be written or reported."""
    reason = (_reports.explain_missing() if reports else None) or run.explain_unwritable()
    if reason:
        raise pytest.UsageError(reason)


def _runs_no_test(options: argparse.Namespace) -> bool:
    """Tell whether pytest was only asked for information."""
    return any(getattr(options, name, None) for name in _INFORMATION)


def pytest_configure(config: pytest.Config) -> None:
    """Switch contexts in this process if it is recorded, and name its workers."""
    if config.getoption("hitlog_isolate"):
        _isolate(config)
    if not _native.is_recording():
        return
    _unittest.leave_to_pytest()
    config.pluginmanager.register(Contexts(), "hitlog-contexts")
    summary = config.pluginmanager.getplugin("hitlog-summary")
    _affected.register(config, summary.answer if summary else None)
    run_directory = os.environ.get("HITLOG_RUN")
    if run_directory and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Workers(run_directory), "hitlog-workers")


def _isolate(config: pytest.Config) -> None:
    from . import _isolated

    reason = _isolated.explain_impossible(config)
    if reason:
        raise pytest.UsageError(reason)
    config.pluginmanager.register(_isolated.Isolated(), "hitlog-isolated")


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
        _contexts.switch(f"{_node_id(item)}|setup")
        yield

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """Begin the context of the test itself."""
        _contexts.switch(f"{_node_id(item)}|run")
        yield

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        """Begin the context of what the fixtures do at their end."""
        _contexts.switch(f"{_node_id(item)}|teardown")
        yield


def _node_id(item: pytest.Item) -> str:
    """Return the id by which pytest finds a test: without the group that pytest-xdist adds."""
    if item.nodeid.endswith(item.name):
        return item.nodeid
    name, group, _ = item.nodeid.rpartition(f"{item.name}@")
    return name + item.name if group else item.nodeid


class Summary:
    """Ends a run, makes its reports, and prints what became of it."""

    def __init__(self, run: Run, reports: _reports.Reports) -> None:
        """Take the run, and what is to be made of it."""
        self._run = run
        self._reports = reports
        self._session: pytest.Session | None = None
        self._is_over = False

    @property
    def answer(self) -> dict[str, Any] | None:
        """Which tests are affected, if only these are to run."""
        return self._run.answer

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Remember whose exit status tells that too little is covered."""
        self._session = session

    def pytest_runtest_logstart(self) -> None:
        """Notice the first test, in whichever worker."""
        self._run.test_begins()

    def pytest_runtest_logreport(self) -> None:
        """Notice a test of pytest-parallel, whose workers keep the beginning to themselves."""
        self._run.test_begins()

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Notice that a file ran, though not to its end."""
        if report.failed:
            self._run.test_begins()

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, exitstatus: int
    ) -> None:
        """Compact the run, whose other processes have ended by now, and print the summary."""
        self._end(terminalreporter, int(exitstatus))

    @pytest.hookimpl(tryfirst=True)
    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """Do the same where there was no summary: after an internal error, or without a terminal."""
        self._end(config.pluginmanager.getplugin("terminalreporter"), None)

    def _end(self, terminal: pytest.TerminalReporter | None, exit_status: int | None) -> None:
        if self._is_over or not self._run.is_of_this_process:
            return
        self._is_over = True
        # The reports may make another status of it.
        self._run.finish(None if self._reports else exit_status)
        text: list[str] = []
        if self._reports and self._run.is_compacted:
            self._reports.make(self._run.output, text.append)
        elif self._reports and self._run.has_tests:
            self._reports.refuse(text.append)
        if terminal is not None:
            self._print(terminal, "".join(text))
        if self._reports.has_failed and self._session is not None and not self._session.exitstatus:
            self._session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _print(self, terminal: pytest.TerminalReporter, reports: str) -> None:
        # Nothing but what was asked for, and what is wrong, where pytest itself says no more.
        is_silent = terminal.verbosity < -1 and self._run.is_smooth
        if is_silent and not reports:
            return
        terminal.section("hitlog")
        for line in reports.splitlines():
            is_failure = line.startswith("FAIL ")
            terminal.line(printable(line), red=is_failure, bold=is_failure)
        for line in [] if is_silent else self._run.summary.splitlines():
            terminal.line(printable(line))
