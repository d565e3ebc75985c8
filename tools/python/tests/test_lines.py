"""The lines that hitlog records are those that coverage.py's C tracer records, per context."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TESTS, Recording, clean_environment
from logs import Hit

coverage = pytest.importorskip("coverage")


def programs() -> list[str]:
    """The programs that this Python can run; a name may end with the version it needs."""
    found = []
    for path in sorted((TESTS / "programs").glob("*.py")):
        version = tuple(int(part) for part in path.stem.split("_")[1:])
        if not version or sys.version_info >= version:
            found.append(path.stem)
    return found


def coverage_hits(data_file: Path) -> set[Hit]:
    data = coverage.CoverageData(str(data_file))
    data.read()
    hits: set[Hit] = set()
    for file in data.measured_files():
        for line, contexts in data.contexts_by_lineno(file).items():
            hits.update((context, file, line) for context in contexts)
    return hits


def with_coverage(folder: Path, program: Path) -> set[Hit]:
    data_file = folder.parent / "coverage.data"
    command = [sys.executable, str(TESTS / "driver.py"), "coverage", str(program), str(data_file)]
    environment = clean_environment(COVERAGE_CORE="ctrace")
    subprocess.run(command, cwd=folder, env=environment, check=True, timeout=120)
    return coverage_hits(data_file)


@pytest.mark.parametrize("name", programs())
def test_lines_are_those_of_coverage(recording: Recording, name: str) -> None:
    shutil.copytree(TESTS / "programs", recording.folder, dirs_exist_ok=True)
    program = recording.folder / f"{name}.py"
    expected = with_coverage(recording.folder, program)
    recording.python(TESTS / "driver.py", "hitlog", program)
    hits = recording.hits()
    assert len(expected) >= 5
    assert sorted(hits - expected) == []
    assert sorted(expected - hits) == []


def test_a_line_counts_in_every_context_in_which_it_runs(recording: Recording) -> None:
    recording.program(
        "import hitlog\n"
        "def work():\n"
        "    for n in range(100):\n"
        "        n += 1\n"
        "for name in ('a', 'b', 'a', 'c'):\n"
        "    context = hitlog.context(name)\n"
        "    context.__enter__()\n"
        "    work()\n"
        "    context.__exit__(None, None, None)\n"
        "work()\n"
    )
    for context in ("a", "b", "c"):
        assert recording.lines(context) == {3, 4, 8, 9}
    assert recording.lines("") == {1, 2, 3, 4, 5, 6, 7, 10}


def test_contexts_may_change_in_the_middle_of_a_hot_loop(recording: Recording) -> None:
    recording.program(
        "from hitlog._contexts import switch\n"
        "def count(n):\n"
        "    for m in range(n):\n"
        "        yield m\n"
        "def work():\n"
        "    for n in count(300):\n"
        "        if n % 100 == 50:\n"
        "            switch(f'c{n}')\n"
        "        x = n\n"
        "work()\n"
    )
    for context in ("c50", "c150", "c250"):
        assert recording.lines(context) - {8} == {3, 4, 6, 7, 9}
    assert 8 in recording.lines("c150")


def test_threads_that_only_the_system_knows_are_recorded(recording: Recording) -> None:
    """coverage.py sees none of these, since nothing but `threading` tells it of threads."""
    recording.program(
        "import _thread\n"
        "def work(lock, *extra, **named):\n"
        "    n = len(extra) + len(named)\n"
        "    lock.release()\n"
        "lock = _thread.allocate_lock()\n"
        "for more in ((), ({'a': 1},)):\n"
        "    lock.acquire()\n"
        "    _thread.start_new_thread(work, (lock, 1), *more)\n"
        "lock.acquire()\n"
        "try:\n"
        "    _thread.start_new_thread(1, ())\n"
        "except TypeError:\n"
        "    pass\n"
        "else:\n"
        "    raise AssertionError\n"
    )
    assert recording.lines() == set(range(1, 14))


def test_lines_for_which_there_is_no_memory_to_filter_are_recorded(recording: Recording) -> None:
    program = (
        "import resource, os\n"
        "text = '\\n' * 200_000 + 'def late():\\n    x = 1\\n    return x\\n'\n"
        "code = compile(text, os.path.abspath('late.py'), 'exec')\n"
        "names = {}\n"
        "with open('/proc/self/statm') as file:\n"
        "    used = int(file.read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used, used))\n"
        "exec(code, names)\n"
        "names['late']()\n"
    )
    recording.program(program)
    assert recording.lines(name="late.py") == {200_001, 200_002, 200_003}


def test_code_that_runs_once_in_a_long_context_is_freed(recording: Recording) -> None:
    program = (
        "import hitlog, os, weakref\n"
        "text = 'for n in range(100):\\n    n += 1\\n'\n"
        "codes = []\n"
        "with hitlog.context('a'):\n"
        "    pass\n"
        "with hitlog.context('b'):\n"
        "    for n in range(5000):\n"
        "        code = compile(text, os.path.abspath('text.py'), 'exec')\n"
        "        exec(code, {})\n"
        "        codes.append(weakref.ref(code))\n"
        "    del code\n"
        "    assert sum(code() is not None for code in codes) == 0\n"
    )
    recording.program(program)
    assert recording.lines("b", "text.py") == {1, 2}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring came with CPython 3.12")
@pytest.mark.parametrize("branch", [False, True])
def test_dear_reports_of_long_code_are_few(recording: Recording, branch: bool) -> None:
    shutil.copy(TESTS / "programs" / "lengthy.py", recording.folder)
    recording.begin(branch=branch)
    recording.program(
        "import collections, sys\n"
        "import hitlog, lengthy\n"
        "reports = collections.Counter()\n"
        "def count(code, line):\n"
        "    reports[code.co_name, line - code.co_firstlineno] += 1\n"
        "    return before(code, line)\n"
        "line_event = sys.monitoring.events.LINE\n"
        "before = sys.monitoring.register_callback(4, line_event, count)\n"
        "for name in ('a', 'b'):\n"
        "    reports.clear()\n"
        "    with hitlog.context(name):\n"
        "        lengthy.case_loop()\n"
        "    assert reports['long', 3] == int(sys.argv[1]), reports\n"
        "    assert reports['short', 2] == 20, reports\n",
        "2" if sys.version_info < (3, 14) else "20",
    )
    lines = recording.lines("a", "lengthy.py")
    assert len(lines) > 15
    assert recording.lines("b", "lengthy.py") == lines
