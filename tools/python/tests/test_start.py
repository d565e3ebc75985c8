"""The start of a recording: what it needs, what it changes, and what it never disturbs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Recording, clean_environment
from logs import read_run

# Prints what a program could notice of us.
LOOK = """
import json, os, sys
modules = sorted(name for name in sys.modules if "hitlog" in name)
tools = [sys.monitoring.get_tool(n) for n in range(6)] if hasattr(sys, "monitoring") else []
# Not even our library is there, which has a function in the place of os._exit that looks the same.
is_loaded = "hitlog/_native" in open("/proc/self/maps").read()
print(json.dumps([modules, is_loaded, sys.gettrace() is None, [t for t in tools if t]]))
"""


def look(folder: Path, **environment: str) -> list[object]:
    command = [sys.executable, "-c", LOOK]
    done = subprocess.run(
        command, cwd=folder, env=clean_environment(**environment), capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    return list(json.loads(done.stdout))


def test_a_python_that_is_not_recorded_is_untouched(tmp_path: Path) -> None:
    assert look(tmp_path) == [[], False, True, []]
    assert list(tmp_path.iterdir()) == []


def test_what_is_untouched_can_be_seen(tmp_path: Path) -> None:
    """Without this the test above could not fail."""
    modules, is_loaded, *_ = look(tmp_path, HITLOG_RUN=str(tmp_path))
    assert modules
    assert is_loaded


def test_an_empty_variable_means_not_recorded(tmp_path: Path) -> None:
    assert look(tmp_path, HITLOG_RUN="") == [[], False, True, []]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text", [None, "import nosuch", "raise SystemExit(3)", "raise KeyError('\\udc80')"]
)
def test_a_stranger_of_our_name_does_no_harm(tmp_path: Path, text: str | None) -> None:
    """Such as a project's own package on PYTHONPATH, or an installation whose library does not fit."""
    package = tmp_path / "hitlog"
    package.mkdir()
    (package / "__init__.py").write_text("")
    if text is not None:
        (package / "_start.py").write_text(text)
    for debug in ("", "1"):
        environment = {"HITLOG_RUN": str(tmp_path), "HITLOG_DEBUG": debug}
        done = subprocess.run(
            [sys.executable, "-c", "print('ran')"],
            env=clean_environment(PYTHONPATH=str(tmp_path), **environment),
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout) == (0, "ran\n")
        lines = done.stderr.splitlines()
        # An environment's .pth files are read twice.
        assert bool(lines) == bool(debug)
        assert all(line.startswith("hitlog: process ") for line in lines)


BAD = {
    "no run directory and no way to make one": "/proc/nothing/here",
    "a file instead of a directory": "{folder}/file",
}


@pytest.mark.parametrize("name", BAD)
def test_what_prevents_the_recording_stays_quiet(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    directory = BAD[name].format(folder=tmp_path)
    command = [sys.executable, "-c", "print('ran')"]
    for debug in (False, True):
        environment = clean_environment(HITLOG_RUN=directory)
        if debug:
            environment["HITLOG_DEBUG"] = "1"
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "ran\n")
        lines = done.stderr.splitlines()
        assert len(lines) == int(debug)
        assert all(line.startswith("hitlog: process ") for line in lines)


def test_a_run_directory_without_write_permission_is_quiet(recording: Recording) -> None:
    if os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    recording.begin()
    recording.directory.chmod(0o500)
    done = subprocess.run(
        [sys.executable, "-c", "print('ran')"],
        env=clean_environment(HITLOG_RUN=str(recording.directory)),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n", "")


def quiet_failure(recording: Recording) -> str:
    done = recording.python("-c", "print('ran')")
    assert done.stdout == "ran\n"
    assert recording.logs() == []
    return done.stderr


@pytest.mark.parametrize(
    ("file", "text"), [("run.json", "{"), ("run.json", "[]"), ("config.json", "x")]
)
def test_damaged_settings_of_a_run_are_quiet(recording: Recording, file: str, text: str) -> None:
    recording.begin()
    (recording.directory / file).write_text(text)
    assert "is not recorded" in quiet_failure(recording)


def test_damaged_settings_of_the_project_are_quiet(recording: Recording) -> None:
    (recording.folder / "pyproject.toml").write_text("[tool.hitlog\n")
    assert "is not recorded" in quiet_failure(recording)


def test_a_recorded_python_behaves_the_same(recording: Recording) -> None:
    program = (
        "import sys, threading, warnings\n"
        "print(sys.argv[1:], __name__, len(warnings.filters), threading.active_count())\n"
        "try:\n"
        "    def deep(): return deep()\n"
        "    deep()\n"
        "except RecursionError:\n"
        "    print('deep')\n"
        "print(len({n for n in range(10)}), file=sys.stderr)\n"
        "1/0\n"
    )
    (recording.folder / "program.py").write_text(program)
    plain = subprocess.run(
        [sys.executable, "program.py", "a"],
        cwd=recording.folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
    )
    recorded = recording.python("program.py", "a", status=1)
    assert (recorded.stdout, recorded.stderr) == (plain.stdout, plain.stderr)
    assert recording.lines() == {1, 2, 3, 4, 5, 6, 7, 8, 9}


def test_programs_that_trace_themselves_still_can(recording: Recording) -> None:
    """A debugger's own tracing works, and it gets what it asks for."""
    recording.program(
        "import sys\n"
        "seen = []\n"
        "def tracer(frame, event, argument):\n"
        "    seen.append((event, frame.f_lineno))\n"
        "    return tracer\n"
        "def work():\n"
        "    x = 1\n"
        "before = sys.gettrace()\n"
        "sys.settrace(tracer)\n"
        "work()\n"
        "sys.settrace(before)\n"
        "def later():\n"
        "    return 1\n"
        "later()\n"
        "assert ('line', 7) in seen, seen\n"
    )
    assert recording.lines() >= {13, 15}


def test_interpreters_inside_the_process_run(recording: Recording) -> None:
    """They are not recorded, and nothing breaks."""
    names = ("_interpreters", "_xxsubinterpreters")
    inner = "import os, json; x = 1; exec(compile('y = 1', 'z.py', 'exec'))"
    program = (
        "import importlib\n"
        f"for name in {names}:\n"
        "    try:\n"
        "        interpreters = importlib.import_module(name)\n"
        "        break\n"
        "    except ImportError:\n"
        "        pass\n"
        "number = interpreters.create()\n"
        f"interpreters.run_string(number, {inner!r})\n"
        "interpreters.destroy(number)\n"
        "done = 1\n"
    )
    recording.begin()
    (recording.folder / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=recording.folder,
        env=clean_environment(HITLOG_RUN=str(recording.directory)),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (log,) = recording.logs()
    assert log.is_clean
    assert 11 in recording.lines()
    assert recording.lines(name="z.py") == set()


def test_samples_and_contexts_may_be_used_anywhere(tmp_path: Path, recording: Recording) -> None:
    program = (
        "import hitlog\n"
        "hitlog.sample('bytes', 2**64 - 1)\n"
        "with hitlog.context('outer'):\n"
        "    with hitlog.context('inner \\udc80 \\ud800 \\0'):\n"
        "        hitlog.sample('seconds', 0)\n"
        "for wrong, error in ((-1, OverflowError), (2**64, OverflowError), ('1', TypeError)):\n"
        "    try:\n"
        "        hitlog.sample('x', wrong)\n"
        "    except error:\n"
        "        continue\n"
        "    raise AssertionError(wrong)\n"
        "import sys\n"
        "sys.exit(3 if hitlog.is_recording() else 4)\n"
    )
    (log,) = recording.program(program, status=3)
    assert [value for _, value in log.samples] == [2**64 - 1, 0]
    plain = subprocess.run(
        [sys.executable, str(recording.folder / "program.py")], cwd=tmp_path, env=clean_environment()
    )
    assert plain.returncode == 4


def test_one_context_object_may_be_entered_again(recording: Recording) -> None:
    recording.program(
        "import hitlog\n"
        "again = hitlog.context('again')\n"
        "with again:\n"
        "    with again:\n"
        "        x = 1\n"
        "    x = 2\n"
        "x = 3\n"
    )
    assert 7 in recording.lines("")
    assert 7 not in recording.lines("again")


def test_a_context_in_a_thread_is_its_own(recording: Recording) -> None:
    recording.program(
        "import threading, hitlog\n"
        "def shared(n):\n"
        "    return n\n"
        "def only_thread(): shared(1)\n"
        "def work():\n"
        "    with hitlog.context('of the thread'):\n"
        "        only_thread()\n"
        "        go.set()\n"
        "        come.wait()\n"
        "        only_thread()\n"
        "go, come = threading.Event(), threading.Event()\n"
        "thread = threading.Thread(target=work)\n"
        "thread.start()\n"
        "go.wait()\n"
        "shared(2)\n"
        "with hitlog.context('of the process'):\n"
        "    shared(3)\n"
        "come.set()\n"
        "thread.join()\n"
    )
    assert recording.lines("of the thread") - {6} == {3, 4, 7, 8, 9, 10}
    assert 3 in recording.lines("")
    assert recording.lines("of the process") - {16} == {3, 17}


def test_the_environment_of_children_follows_the_context(recording: Recording) -> None:
    recording.program(
        "import os, hitlog\n"
        "with hitlog.context('a'):\n"
        "    assert os.environ['HITLOG_CONTEXT'] == 'a'\n"
        "    with hitlog.context('b'):\n"
        "        assert os.environ['HITLOG_CONTEXT'] == 'b'\n"
        "    assert os.environ['HITLOG_CONTEXT'] == 'a'\n"
        "assert 'HITLOG_CONTEXT' not in os.environ\n"
    )
    assert len(read_run(recording.directory)) == 1
