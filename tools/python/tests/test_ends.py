"""However a process ends, its lines are there, and the log says whether it ended by itself."""

from __future__ import annotations

import signal

import pytest
from conftest import Recording
from logs import Log

CLOSED, EXEC = 0, 2


def only(logs: list[Log]) -> Log:
    assert len(logs) == 1
    return logs[0]


@pytest.mark.parametrize(
    ("last_line", "status"),
    [
        ("pass", 0),
        ("sys.exit(3)", 3),
        ("sys.exit('a sentence')", 1),
        ("raise ValueError", 1),
        ("os._exit(7)", 7),
        ("os._exit(status=8)", 8),
        ("os._exit(256 + 9)", 9),
        ("os._exit(-1)", 255),
        ("posix._exit(4)", 4),
    ],
)
def test_a_clean_end_has_its_status(recording: Recording, last_line: str, status: int) -> None:
    log = only(recording.program(f"import os, posix, sys\nx = 1\n{last_line}\n", status=status))
    assert recording.lines() == {1, 2, 3}
    assert (log.is_clean, log.reason, log.exit_code) == (True, CLOSED, status)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGSEGV", "SIGABRT", "SIGHUP", "SIGINT"])
def test_a_signal_loses_nothing_and_is_no_clean_end(recording: Recording, name: str) -> None:
    # A shell's background job and nohup hand down ignored signals.
    handled = (
        "signal.signal(signal.SIGINT, signal.default_int_handler); "
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)"
    )
    end = f"os.kill(os.getpid(), signal.{name})\nsignal.pause()\n"
    program = f"import os, signal\n{handled}\n{end}"
    log = only(recording.program(program, status=-getattr(signal, name)))
    assert {1, 2, 3} <= recording.lines()
    assert (log.is_clean, log.exit_code) == (False, None)


def test_abort_loses_nothing(recording: Recording) -> None:
    log = only(recording.program("import os\nx = 1\nos.abort()\n", status=-signal.SIGABRT))
    assert recording.lines() == {1, 2, 3}
    assert not log.is_clean


def test_exec_of_another_program_is_a_clean_end(recording: Recording) -> None:
    log = only(recording.program("import os\nos.execv('/bin/true', ['true'])\n"))
    assert recording.lines() == {1, 2}
    assert (log.is_clean, log.reason) == (True, EXEC)


def test_exec_of_python_begins_a_second_log_of_the_same_pid(recording: Recording) -> None:
    (recording.folder / "second.py").write_text("x = 1\ny = 2\n")
    first, second = recording.program(
        "import os, sys\nos.execv(sys.executable, [sys.executable, 'second.py'])\n"
    )
    assert first.pid == second.pid
    assert sorted([first.reason, second.reason]) == [CLOSED, EXEC]
    assert recording.lines() == {1, 2}
    assert recording.lines(name="second.py") == {1, 2}


def test_an_exec_that_fails_goes_on(recording: Recording) -> None:
    log = only(
        recording.program(
            "import os\ntry:\n    os.execv('/nonexistent', ['x'])\nexcept OSError:\n    x = 1\ny = 2\n"
        )
    )
    assert recording.lines() == {1, 2, 3, 4, 5, 6}
    assert (log.is_clean, log.reason, log.exit_code) == (True, CLOSED, 0)
    assert log.resumed > 0


def test_wrong_arguments_of_exit_raise_as_always(recording: Recording) -> None:
    done = recording.program(
        "import os\n"
        "for arguments in ((), (1, 2), ('x',), (None,)):\n"
        "    try:\n"
        "        os._exit(*arguments)\n"
        "    except TypeError as error:\n"
        "        print(error)\n"
        "try:\n"
        "    os._exit(other=1)\n"
        "except TypeError:\n"
        "    print('other')\n"
    )
    assert only(done).exit_code == 0
    assert recording.lines() == set(range(1, 11))


def test_exit_looks_like_the_systems_own(recording: Recording) -> None:
    program = (
        "import inspect, os, pickle\n"
        "assert str(inspect.signature(os._exit)) == '(status)'\n"
        "assert os._exit.__name__ == '_exit' and os._exit.__module__ == 'posix'\n"
        "assert pickle.loads(pickle.dumps(os._exit)) is os._exit\n"
        "assert 'Exit to the system' in os._exit.__doc__\n"
    )
    assert only(recording.program(program)).exit_code == 0


def test_a_thread_that_still_runs_does_not_hinder_the_end(recording: Recording) -> None:
    program = (
        "import threading, time\n"
        "begun = threading.Event()\n"
        "def work():\n"
        "    while begun:\n"
        "        begun.set()\n"
        "threading.Thread(target=work, daemon=True).start()\n"
        "begun.wait()\n"
    )
    log = only(recording.program(program))
    assert recording.lines() == set(range(1, 8))
    assert (log.is_clean, log.exit_code) == (True, 0)


def test_what_runs_at_the_very_end_is_recorded(recording: Recording) -> None:
    program = (
        "import atexit\n"
        "class Last:\n"
        "    def __del__(self):\n"
        "        x = 1\n"
        "last = Last()\n"
        "@atexit.register\n"
        "def end():\n"
        "    x = 2\n"
    )
    log = only(recording.program(program))
    assert recording.lines() == set(range(1, 9))
    assert (log.is_clean, log.exit_code) == (True, 0)


def test_a_process_that_still_runs_can_be_read(recording: Recording) -> None:
    recording.begin()
    path = recording.folder / "program.py"
    path.write_text("x = 1\nprint('ready', flush=True)\nimport sys\nsys.stdin.read()\n")
    process = recording.start(path)
    log = only(recording.logs())
    assert {1, 2} <= recording.lines()
    assert not log.is_clean
    process.communicate()
    assert only(recording.logs()).is_clean


def test_threads_that_still_run_record_nothing_after_the_end(recording: Recording) -> None:
    program = (
        "import threading\n"
        "from hitlog import _native\n"
        "begun, ended = threading.Event(), threading.Event()\n"
        "def late():\n"
        "    x = 1\n"
        "def work():\n"
        "    begun.set()\n"
        "    ended.wait()\n"
        "    late()\n"
        "thread = threading.Thread(target=work)\n"
        "thread.start()\n"
        "begun.wait()\n"
        "_native.end()\n"
        "ended.set()\n"
        "thread.join()\n"
    )
    log = only(recording.program(program))
    assert recording.lines() & {5, 9, 14, 15} == set()
    assert {4, 7, 12, 13} <= recording.lines()
    assert log.is_clean
