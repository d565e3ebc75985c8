"""Other tools observe the same process: none of them loses anything, and what we lose is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Recording, clean_environment
from environments import run_unrecorded

TRACED = sys.version_info < (3, 12)
traced_only = pytest.mark.skipif(not TRACED, reason="tools exclude each other before CPython 3.12 only")
monitored_only = pytest.mark.skipif(TRACED, reason="sys.monitoring came with CPython 3.12")

PROGRAM = """\
import sys, hitlog
def work():
    return 1
for name in ("a", "b", "c"):
    with hitlog.context(name):
        for _ in range(50): work()
    if name == "a":
        {between}
"""


def pytest_in(folder: Path, *options: str, **files: str) -> subprocess.CompletedProcess[str]:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )


@traced_only
def test_a_tool_that_traces_already_goes_on_and_we_say_so(tmp_path: Path) -> None:
    pytest.importorskip("pytest_cov")
    done = pytest_in(
        tmp_path,
        "--cov=.",
        "--hitlog",
        test_it="def test_it():\n    x = 1\n    assert x\n",
    )
    assert done.returncode == 0, done.stderr
    assert "test_it.py       3      0   100%" in done.stdout
    assert "nothing was recorded: " in done.stdout
    assert "another tool (coverage.py, a debugger) traces this process" in done.stdout


@traced_only
def test_a_tool_that_begins_to_trace_later_is_told_of(tmp_path: Path) -> None:
    test = (
        "import sys\n"
        "def test_it():\n"
        "    sys.settrace(lambda *arguments: None)\n"
        "def test_other():\n"
        "    assert sys.gettrace().__name__ == '<lambda>'\n"
    )
    done = pytest_in(tmp_path, "--hitlog", test_it=test)
    assert done.returncode == 0, done.stdout
    assert ": another tool (coverage.py, a debugger) began to trace this process" in done.stdout


@traced_only
@pytest.mark.parametrize(
    "between",
    [
        "sys.settrace(None)",
        "import io, pdb; pdb.Pdb(stdin=io.StringIO('c\\n'), stdout=io.StringIO()).set_trace()",
    ],
)
def test_tracing_that_was_switched_off_begins_again(recording: Recording, between: str) -> None:
    path = recording.folder / "program.py"
    path.write_text(PROGRAM.format(between=between))
    done = recording.python(path)
    assert "tracing was switched off" in done.stderr
    for context in ("a", "b", "c"):
        assert {3, 6} <= recording.lines(context)


@monitored_only
def test_a_tool_id_that_was_taken_away_is_taken_again(recording: Recording) -> None:
    path = recording.folder / "program.py"
    path.write_text(PROGRAM.format(between="[sys.monitoring.free_tool_id(n) for n in range(6)]"))
    done = recording.python(path)
    assert "hitlog's tool id of sys.monitoring" in done.stderr
    for context in ("a", "b", "c"):
        assert {3, 6} <= recording.lines(context)


@monitored_only
def test_a_tool_id_that_another_tool_has_now_is_left_to_it(recording: Recording) -> None:
    between = "m = sys.monitoring; m.free_tool_id(4); m.use_tool_id(4, 'mine')"
    path = recording.folder / "program.py"
    path.write_text(PROGRAM.format(between=between) + "assert sys.monitoring.get_tool(4) == 'mine'\n")
    recording.python(path)
    for context in ("a", "b", "c"):
        assert {3, 6} <= recording.lines(context)


@monitored_only
def test_tests_that_free_all_tool_ids_pass(tmp_path: Path) -> None:
    test = (
        "import sys\n"
        "def test_free():\n"
        "    for tool in range(100):\n"
        "        tool += 1\n"
        "    for tool in range(6):\n"
        "        sys.monitoring.free_tool_id(tool)\n"
        "def test_take():\n"
        "    for tool in range(6):\n"
        "        sys.monitoring.free_tool_id(tool)\n"
        "        sys.monitoring.use_tool_id(tool, 'mine')\n"
        "def test_after():\n"
        "    x = 1\n"
    )
    done = pytest_in(tmp_path, "--hitlog", test_it=test)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
    assert ": the program gave back or took hitlog's tool id" in done.stdout
    assert ": no line is recorded any more: " in done.stdout


@monitored_only
def test_the_ids_that_other_tools_have_by_convention_are_left_to_them(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "for tool in (3, 4):\n"
        "    sys.monitoring.use_tool_id(tool, f'tool{tool}')\n"
        "from hitlog import _start\n"
        "try:\n"
        "    _start.start(sys.argv[1])\n"
        "except RuntimeError as error:\n"
        "    print(error)\n"
        "print([sys.monitoring.get_tool(tool) for tool in range(6)])\n"
    )
    assert begun(tmp_path, program).splitlines() == [
        "this Python cannot be recorded (the tool ids of sys.monitoring that have no use by convention "
        "are taken: 4 by tool4, 3 by tool3); see the README of hitlog",
        "[None, None, None, 'tool3', 'tool4', None]",
    ]


@pytest.mark.parametrize("error", ["RuntimeError", "ValueError"])
def test_a_refused_audit_hook_leaves_nothing_behind(tmp_path: Path, error: str) -> None:
    program = (
        "import sys\n"
        "refusing = True\n"
        "def hook(event, arguments):\n"
        "    if refusing and event == 'sys.addaudithook':\n"
        f"        raise {error}\n"
        "sys.addaudithook(hook)\n"
        "from hitlog import _native, _start\n"
        "try:\n"
        "    _start.start(sys.argv[1])\n"
        "except RuntimeError as error:\n"
        "    print('refuses further hooks' in str(error))\n"
        "monitoring = getattr(sys, 'monitoring', None)\n"
        "print(monitoring and monitoring.get_tool(4), sys.gettrace(), _native.is_recording())\n"
        "refusing = False\n"
        "_start.start(sys.argv[1])\n"
        "print(_native.is_recording())\n"
    )
    assert begun(tmp_path, program).splitlines() == ["True", "None None False", "True"]


def begun(folder: Path, program: str) -> str:
    """What a program prints that begins the recording into its argument by itself."""
    recording = Recording(folder, folder / "run")
    recording.begin()
    return run_unrecorded(folder, "-c", program, str(recording.directory))
