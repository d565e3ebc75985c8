"""``pytest --hitlog-isolate``: each test in a forked process of its own.

What a test leaves behind (a cache that is filled, a fixture for a whole session) reaches no other one:
the recording tells for each test all that it depends on. Only the reports of a test come back from its
process, which ends without cleaning up what it took over from this one.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import tempfile
import time
import traceback
import warnings

import pytest
from _pytest.runner import pytest_sessionfinish, runtestprotocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any, NoReturn


# How often an interrupted child is looked for before it is interrupted, every tenth of a second.
_PATIENCE = 10


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
    _make_base_of_tmp_path(item.config)
    _flush()
    # Not a pipe: what the test starts and leaves running would hold it open.
    with tempfile.TemporaryFile() as file:
        with warnings.catch_warnings():
            # That other threads are not in the child is what is wanted.
            warnings.simplefilter("ignore")
            child = os.fork()
        if child == 0:
            _run_and_exit(item, file)
        status = _wait(child)
        file.seek(0)
        text = file.read()
    if status or not text:
        return [_failure(item, f"the process of this test {_end(status)}")]
    try:
        data = pickle.loads(text)
    except Exception:
        return [_failure(item, traceback.format_exc())]
    if isinstance(data, BaseException):
        # KeyboardInterrupt, or pytest.exit(): the run ends.
        raise data
    if isinstance(data, str):
        return [_failure(item, data)]
    hook = item.config.hook
    return [hook.pytest_report_from_serializable(config=item.config, data=report) for report in data]


def _make_base_of_tmp_path(config: pytest.Config) -> None:
    """Let all tests share one, as always: each child would remove what those before it made."""
    factory: Any = getattr(config, "_tmp_path_factory", None)
    if factory is not None:
        factory.getbasetemp()


def _wait(child: int) -> int | None:
    """Wait for the child; its status, None if nobody knows. Whatever ends the wait ends the child."""
    try:
        try:
            return os.waitpid(child, 0)[1]
        except KeyboardInterrupt:
            _interrupt(child)
            raise
    except ChildProcessError:
        # The program ignores SIGCHLD, so that the system keeps no status.
        return None
    except BaseException:
        with contextlib.suppress(OSError):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        raise


def _interrupt(child: int) -> None:
    """Let the child end its fixtures. From a terminal it got the signal, too."""
    for _ in range(_PATIENCE):
        if os.waitpid(child, os.WNOHANG)[0]:
            return
        time.sleep(0.1)
    os.kill(child, signal.SIGINT)
    os.waitpid(child, 0)


def _run_and_exit(item: pytest.Item, file: IO[bytes]) -> NoReturn:
    """Run the test in the child. Nothing that pytest does at its end may happen here, too."""
    status, process = 1, os.getpid()
    try:
        try:
            hook = item.config.hook
            reports = runtestprotocol(item, log=False, nextitem=None)
            data = [
                hook.pytest_report_to_serializable(config=item.config, report=report)
                for report in reports
            ]
            text = pickle.dumps(data)
        except (KeyboardInterrupt, pytest.exit.Exception) as end:
            text = pickle.dumps(end)
            # The fixtures are left for the end of the session.
            with contextlib.suppress(BaseException):
                pytest_sessionfinish(item.session)
        except BaseException:
            text = pickle.dumps(traceback.format_exc())
        # A child of the test that came back to here has nothing to tell.
        if os.getpid() == process:
            file.write(text)
            file.flush()
            status = 0
        _flush()
    finally:
        os._exit(status)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # A test may have closed or replaced it.
        with contextlib.suppress(Exception):
            stream.flush()


def _end(status: int | None) -> str:
    if status is None:
        return "ended, and nobody knows how"
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
