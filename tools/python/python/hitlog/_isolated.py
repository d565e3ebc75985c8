"""``pytest --hitlog-isolate``: each test in a forked process of its own.

What a test leaves behind (a cache that is filled, a fixture for a whole session) reaches no other one:
the recording tells for each test all that it depends on. Only the reports of a test come back from its
process, which ends without cleaning up what it took over from this one.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import tempfile
import traceback

import pytest
from _pytest.runner import runtestprotocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, NoReturn


class Isolated:
    """Runs each test in a forked child, and hands its reports to the other plugins."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool:
        """Run a test. Fixtures of all scopes are made for it and end with it."""
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in _reports(item):
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True


def explain_impossible(config: pytest.Config) -> str | None:
    """Tell why tests cannot run in processes of their own; None if they can."""
    if config.getoption("usepdb", False) or config.getoption("trace", False):
        return (
            "--hitlog-isolate: a debugger cannot reach into a test's own process; leave one of them out"
        )
    return None


def _reports(item: pytest.Item) -> list[pytest.TestReport]:
    sys.stdout.flush()
    sys.stderr.flush()
    # Not a pipe: what the test starts and leaves running would hold it open.
    with tempfile.TemporaryFile() as file:
        child = os.fork()
        if child == 0:
            _run_and_exit(item, file)
        try:
            _, status = os.waitpid(child, 0)
        except KeyboardInterrupt:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise
        file.seek(0)
        text = file.read()
    if status != 0 or not text:
        return [_failure(item, f"the process of this test {_end(status)}")]
    data = pickle.loads(text)
    if isinstance(data, str):
        return [_failure(item, data)]
    hook = item.config.hook
    return [hook.pytest_report_from_serializable(config=item.config, data=report) for report in data]


def _run_and_exit(item: pytest.Item, file: IO[bytes]) -> NoReturn:
    """Run the test in the child. Nothing that pytest does at its end may happen here, too."""
    status = 1
    try:
        try:
            hook = item.config.hook
            reports = runtestprotocol(item, log=False, nextitem=None)
            data = [
                hook.pytest_report_to_serializable(config=item.config, report=report)
                for report in reports
            ]
            text = pickle.dumps(data)
        except BaseException:
            text = pickle.dumps(traceback.format_exc())
        file.write(text)
        file.flush()
        sys.stdout.flush()
        sys.stderr.flush()
        status = 0
    finally:
        os._exit(status)


def _end(status: int) -> str:
    if not os.WIFSIGNALED(status):
        return f"ended with status {os.WEXITSTATUS(status)}"
    names = {known.value: known.name for known in signal.Signals}
    number = os.WTERMSIG(status)
    return f"was ended by {names.get(number, f'signal {number}')}"


def _failure(item: pytest.Item, text: str) -> pytest.TestReport:
    """Make the report of a test that could not make its own."""
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords=dict.fromkeys(item.keywords, 1),
        outcome="failed",
        longrepr=text,
        when="call",
    )
