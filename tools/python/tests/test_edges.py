"""Code that is born, kept or lost in unusual ways, and what runs beside or inside of the recording."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from conftest import Recording
from environments import run_unrecorded
from logs import all_hits

TRACED = sys.version_info < (3, 12)
monitored_only = pytest.mark.skipif(TRACED, reason="tools exclude each other before CPython 3.12")


def without_recording(recording: Recording, text: str, *arguments: str) -> str:
    """What a program prints that is not recorded."""
    path = recording.folder / "program.py"
    path.write_text(text)
    return run_unrecorded(recording.folder, str(path), *arguments)


def test_a_generator_that_lives_across_contexts(recording: Recording) -> None:
    recording.program(
        "import hitlog\n"
        "def work():\n"
        "    x = 1\n"
        "    yield x\n"
        "    y = 2\n"
        "    yield y\n"
        "    z = 3\n"
        "made = work()\n"
        "for name in ('a', 'b', 'c'):\n"
        "    with hitlog.context(name):\n"
        "        next(made, None)\n"
    )
    inside = set(range(3, 8))
    assert recording.lines("a") & inside == {3, 4}
    assert recording.lines("b") & inside == {5, 6}
    assert recording.lines("c") & inside == {7}


def test_a_coroutine_that_lives_across_contexts(recording: Recording) -> None:
    recording.program(
        "import hitlog\n"
        "class Pause:\n"
        "    def __await__(self):\n"
        "        yield\n"
        "async def work():\n"
        "    x = 1\n"
        "    await Pause()\n"
        "    y = 2\n"
        "    await Pause()\n"
        "    z = 3\n"
        "made = work()\n"
        "for name in ('a', 'b', 'c'):\n"
        "    with hitlog.context(name):\n"
        "        try:\n"
        "            made.send(None)\n"
        "        except StopIteration:\n"
        "            pass\n"
    )
    assert recording.lines("a") & {6, 7, 8, 9, 10} == {6, 7}
    assert recording.lines("b") & {6, 8, 9, 10} == {8, 9}
    assert recording.lines("c") & {6, 8, 10} == {10}


def test_a_test_that_reloads_a_changed_module(recording: Recording) -> None:
    (recording.folder / "changed.py").write_text("def work():\n    return 1\n")
    recording.program(
        "import changed, hitlog, importlib, pathlib, sys\n"
        "sys.dont_write_bytecode = True\n"
        "changed.work()\n"
        "text = 'x = 1\\n\\ndef work():\\n    y = 2\\n    return y\\n'\n"
        "pathlib.Path(changed.__file__).write_text(text)\n"
        "importlib.invalidate_caches()\n"
        "with hitlog.context('again'):\n"
        "    importlib.reload(changed).work()\n"
    )
    assert recording.lines("", "changed.py") == {1, 2}
    assert recording.lines("again", "changed.py") == {1, 3, 4, 5}


def test_modules_imported_and_frames_begun_before_the_recording(recording: Recording) -> None:
    (recording.folder / "early.py").write_text(
        "def work():\n"
        "    return 1\n"
        "class Early:\n"
        "    def method(self):\n"
        "        return [n for n in range(3) if n]\n"
        "def generate():\n"
        "    yield 1\n"
        "    yield 2\n"
    )
    program = (
        "import sys, early\n"
        "begun = early.generate()\n"
        "next(begun)\n"
        "def main():\n"
        "    from hitlog import _start\n"
        "    _start.start(sys.argv[1])\n"
        "    early.work()\n"
        "    early.Early().method()\n"
        "    next(begun)\n"
        "main()\n"
    )
    recording.begin()
    without_recording(recording, program, str(recording.directory))
    assert recording.lines(name="early.py") == {2, 5, 8}
    assert {7, 8, 9} <= recording.lines()
    assert not {1, 2, 3, 4} & recording.lines()


def test_files_that_vanish_while_they_run(recording: Recording) -> None:
    (recording.folder / "gone.py").write_text(
        "def work():\n    if work:\n        return 1\n    return 2\n"
    )
    (recording.folder / "program.py").write_text(
        "import os, gone\nos.unlink(gone.__file__)\ngone.work()\nos.chdir('/')\nx = 1\n"
    )
    recording.python("program.py")
    assert recording.lines(name="gone.py") == {1, 2, 3}
    assert recording.lines() == {1, 2, 3, 4, 5}
    output = recording.folder / "hitlog.db"
    recording.python("-m", "hitlog", "compact", recording.directory, "-o", output)
    assert output.exists()


def test_two_texts_under_one_name_in_one_context(recording: Recording) -> None:
    """Their lines are those of one file, but each goes its own ways."""
    (recording.folder / "program.py").write_text(
        "import os, hitlog\n"
        "name = os.path.abspath('text.py')\n"
        "texts = ('x = 0\\nif x:\\n    x = 1\\nx = 2\\n', 'x = 1\\nx = 2\\nif x:\\n    x = 3\\n')\n"
        "with hitlog.context('a'):\n"
        "    for text in texts * 30:\n"
        "        exec(compile(text, name, 'exec'), {})\n"
    )
    recording.begin(branch=True)
    recording.python("program.py")
    output = recording.folder / "hitlog.db"
    recording.python("-m", "hitlog", "compact", recording.directory, "-o", output)
    import sqlite3

    question = "select from_line, to_line from hitlog_arc where context = 'a' and path like '%/text.py'"
    arcs = set(sqlite3.connect(output).execute(question))
    assert {(2, 4), (3, 4)} <= arcs
    assert (2, 3) not in arcs or TRACED
    if not TRACED:
        assert recording.lines("a", "text.py") == {1, 2, 3, 4}


@pytest.mark.parametrize("branch", [False, True])
def test_recursion_ends_at_the_same_depth(recording: Recording, branch: bool) -> None:
    program = (
        "import sys\n"
        "def deeper(n):\n"
        "    global depth\n"
        "    depth = n\n"
        "    deeper(n + 1)\n"
        "def through_c(n):\n"
        "    global depth\n"
        "    depth = n\n"
        "    for _ in map(through_c, [n + 1]): pass\n"
        "for limit in (200, 1000, 3000):\n"
        "    sys.setrecursionlimit(limit)\n"
        "    for function in (deeper, through_c):\n"
        "        for _ in range(2):\n"
        "            try:\n"
        "                function(0)\n"
        "            except RecursionError as error:\n"
        "                print(function.__name__, limit, depth, error)\n"
    )
    expected = without_recording(recording, program)
    recording.begin(branch=branch)
    done = recording.python("program.py")
    assert (done.stdout, done.stderr) == (expected, "")
    assert expected.count("\n") == 12
    if not (branch and TRACED):
        assert recording.lines() == set(range(1, 18)) - {3, 7}


def test_forks_whenever_the_interpreter_calls_back(recording: Recording) -> None:
    """The collector may run inside of whatever the recorder asks the interpreter for."""
    program = (
        "import gc, os, hitlog\n"
        "children = []\n"
        "def fork(phase, _details):\n"
        "    if phase == 'start' and len(children) < 40:\n"
        "        child = os.fork()\n"
        "        if child == 0:\n"
        "            in_child()\n"
        "            os._exit(7)\n"
        "        children.append(child)\n"
        "def in_child():\n"
        "    x = 1\n"
        "    if x:\n"
        "        x = 2\n"
        "gc.callbacks.append(fork)\n"
        "gc.set_threshold(1)\n"
        "class Node:\n"
        "    def __init__(self):\n"
        "        self.own = self\n"
        "def work(n):\n"
        "    for m in range(n):\n"
        "        Node()\n"
        "        if m == n - 1:\n"
        "            return m\n"
        "for n in range(200):\n"
        "    with hitlog.context(str(n % 5)):\n"
        "        names = {}\n"
        "        text = f'def made():\\n    return {n}\\n'\n"
        "        exec(compile(text, os.path.abspath('made.py'), 'exec'), names)\n"
        "        names['made']()\n"
        "        work(n % 5 + 1)\n"
        "gc.disable()\n"
        "assert len(children) == 40, len(children)\n"
        "for child in children:\n"
        "    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7\n"
    )
    # Before 3.12 branches are transitions between lines, and lines have no records of their own.
    recording.begin(branch=not TRACED)
    (recording.folder / "program.py").write_text(program)
    recording.python("program.py")
    logs = recording.logs()
    assert len(logs) == 41
    for log in logs:
        assert log.is_clean
        lines = {line for _, path, line in all_hits([log]) if path.endswith("program.py")}
        if log.exit_code == 7:
            assert {11, 12, 13} <= lines
        else:
            assert set(range(14, 34)) - {16} <= lines
            assert not {7, 8, 11, 12, 13} & lines


def coverage_lines(folder: Path) -> set[int]:
    from coverage import CoverageData

    data = CoverageData(str(folder / "coverage.data"))
    data.read()
    return set(data.lines(str(folder / "program.py")) or ())


BESIDE = (
    "import sys, hitlog\n"
    "def work(n):\n"
    "    for m in range(n):\n"
    "        if m == 90:\n"
    "            m += 1\n"
    "    return n\n"
    "for name in ('a', 'b', 'c'):\n"
    "    with hitlog.context(name):\n"
    "        work(100)\n"
    "work(1)\n"
)


@monitored_only
@pytest.mark.parametrize("core", ["ctrace", "sysmon", "pytrace"])
@pytest.mark.parametrize("branch", [False, True])
def test_coverage_runs_beside(recording: Recording, core: str, branch: bool) -> None:
    pytest.importorskip("coverage")
    if core == "sysmon" and branch and sys.version_info < (3, 14):
        pytest.skip("coverage.py does not record branches so before CPython 3.14")
    (recording.folder / "program.py").write_text(BESIDE)
    recording.begin(branch=branch)
    options = ["--branch"] if branch else []
    recording.python(
        *["-m", "coverage", "run", *options, "--data-file=coverage.data", "program.py"],
        COVERAGE_CORE=core,
    )
    everything = set(range(1, 11))
    assert coverage_lines(recording.folder) == everything
    assert recording.lines() == everything
    for context in ("a", "b", "c"):
        assert {3, 4, 5, 6} <= recording.lines(context)


@monitored_only
def test_a_debugger_runs_beside(recording: Recording) -> None:
    commands = "import io, pdb; pdb.Pdb(stdin=io.StringIO('n\\nn\\nn\\nc\\n'), stdout=io.StringIO())"
    program = BESIDE.replace("    return n\n", f"    if n == 1: {commands}.set_trace()\n    return n\n")
    recording.program(program + "x = 1\nx = 2\nx = 3\n")
    assert recording.lines() == set(range(1, 15))
    for context in ("a", "b", "c"):
        assert {3, 4, 5, 6, 7} <= recording.lines(context)


def test_the_end_of_the_interpreter(recording: Recording) -> None:
    """What modules hold is freed after everything else; a thread waits for the end of it."""
    logs = recording.program(
        "import atexit, sys, threading, weakref\n"
        "class Kept:\n"
        "    def __del__(self):\n"
        "        self.gone = True\n"
        "sys.kept = Kept()\n"
        "class Other: pass\n"
        "def finalized():\n"
        "    x = 1\n"
        "other = Other()\n"
        "weakref.finalize(other, finalized)\n"
        "def last():\n"
        "    x = 2\n"
        "def late():\n"
        "    threading.main_thread().join()\n"
        "    x = 3\n"
        "atexit.register(last)\n"
        "threading.Thread(target=late).start()\n"
        "raise SystemExit(5)\n",
        status=5,
    )
    assert recording.lines() == set(range(1, 19))
    assert [(log.is_clean, log.exit_code) for log in logs] == [(True, 5)]
