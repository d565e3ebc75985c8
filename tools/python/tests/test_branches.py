"""The branches that reports show are those of coverage.py's C tracer, line by line."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TESTS, Recording, clean_environment
from test_lines import programs

coverage = pytest.importorskip("coverage")

# A context and two lines.
Arc = tuple[str, int, int]
KEYS = ("executed_lines", "missing_lines", "executed_branches", "missing_branches")
# What one file says: for each key, lines or pairs of lines.
Said = dict[str, list[object]]


def report(data_file: Path, folder: Path) -> dict[str, Said]:
    """What coverage.py reports about the files of a folder."""
    output = data_file.with_suffix(".json")
    command = [sys.executable, "-m", "coverage", "json", "-q", "--ignore-errors"]
    command += [f"--data-file={data_file}", f"--include={folder}/*.py", "-o", str(output)]
    subprocess.run(command, cwd=folder, env=clean_environment(), check=True, timeout=120)
    files = json.loads(output.read_text())["files"]
    return {Path(name).name: {key: said[key] for key in KEYS} for name, said in files.items()}


def with_coverage(folder: Path, program: Path) -> dict[str, Said]:
    data_file = folder.parent / "coverage.data"
    command = [sys.executable, str(TESTS / "driver.py"), "coverage", str(program), str(data_file)]
    environment = clean_environment(COVERAGE_CORE="ctrace", DRIVER_BRANCH="1")
    subprocess.run(command, cwd=folder, env=environment, check=True, timeout=120)
    return report(data_file, folder)


def with_hitlog(recording: Recording, *command: str | Path) -> dict[str, Said]:
    recording.begin(branch=True)
    recording.python(*command)
    output = recording.folder.parent / "hitlog.db"
    recording.python("-m", "hitlog", "compact", recording.directory, "-o", output)
    return report(output, recording.folder)


@pytest.mark.parametrize("name", programs())
def test_branches_are_those_of_coverage(recording: Recording, name: str) -> None:
    shutil.copytree(TESTS / "programs", recording.folder, dirs_exist_ok=True)
    program = recording.folder / f"{name}.py"
    expected = with_coverage(recording.folder, program)
    found = with_hitlog(recording, TESTS / "driver.py", "hitlog", program)
    assert found == expected
    if name == "branches":
        said = expected["branches.py"]
        assert len(said["executed_branches"]) > 60
        assert len(said["missing_branches"]) > 10


def arcs_of_coverage(data_file: Path, program: Path) -> set[Arc]:
    data = coverage.CoverageData(str(data_file))
    data.read()
    arcs: set[Arc] = set()
    for context in data.measured_contexts():
        data.set_query_context(context)
        arcs.update((context, *arc) for arc in data.arcs(str(program)) or ())
    return arcs


def arcs_of_hitlog(database: Path, program: Path) -> set[Arc]:
    question = "select context, from_line, to_line from hitlog_arc where path = ?"
    return set(sqlite3.connect(database).execute(question, [str(program)]))


@pytest.mark.parametrize("name", programs())
def test_each_context_has_the_branches_that_coverage_sees(recording: Recording, name: str) -> None:
    shutil.copytree(TESTS / "programs", recording.folder, dirs_exist_ok=True)
    program = recording.folder / f"{name}.py"
    said = with_coverage(recording.folder, program)[program.name]
    with_hitlog(recording, TESTS / "driver.py", "hitlog", program)
    branches = {tuple(arc) for key in KEYS[2:] for arc in said[key] if isinstance(arc, list)}
    folder = recording.folder.parent
    expected = arcs_of_coverage(folder / "coverage.data", program)
    found = arcs_of_hitlog(folder / "hitlog.db", program)
    assert sorted(arc for arc in expected - found if arc[1:] in branches) == []
    assert sorted(arc for arc in found - expected if arc[1:] in branches) == []


def test_branches_may_be_asked_for_in_the_configuration(recording: Recording) -> None:
    (recording.folder / ".coveragerc").write_text("[run]\nbranch = yes\n")
    (recording.folder / "program.py").write_text("import sys\nif sys:\n    x = 1\ny = 2\n")
    recording.python("program.py")
    output = recording.folder.parent / "hitlog.db"
    recording.python("-m", "hitlog", "compact", recording.directory, "-o", output)
    said = report(output, recording.folder)["program.py"]
    assert said["executed_branches"] == [[2, 3]]
    assert said["missing_branches"] == [[2, 4]]


def test_each_context_has_its_branches(recording: Recording) -> None:
    (recording.folder / "program.py").write_text(
        "from hitlog._contexts import switch\n"
        "def work(n, x):\n"
        "    for m in range(n):\n"
        "        if m == x:\n"
        "            m += 1\n"
        "for name, x in (('both', 250), ('one', -1), ('again', 250)):\n"
        "    switch(name)\n"
        "    work(300, x)\n"
        "    switch('')\n"
    )
    said = with_hitlog(recording, "program.py")["program.py"]
    assert said["missing_branches"] == []
    database = sqlite3.connect(recording.folder.parent / "hitlog.db")
    question = "select to_line from hitlog_arc where context = ? and from_line = 4 order by 1"
    taken = {
        context: database.execute(question, [context]).fetchall()
        for context in ("both", "one", "again")
    }
    assert taken == {"both": [(3,), (5,)], "one": [(3,)], "again": [(3,), (5,)]}


def test_branches_of_a_forked_child(recording: Recording) -> None:
    (recording.folder / "program.py").write_text(
        "import os\n"
        "def work(x):\n"
        "    if x:\n"
        "        return 1\n"
        "    return 2\n"
        "for _ in range(100): work(0)\n"
        "if os.fork() == 0:\n"
        "    work(1)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    )
    said = with_hitlog(recording, "program.py")["program.py"]
    assert said["missing_branches"] == [[6, -1]] or said["missing_branches"] == []
    assert [3, 4] in said["executed_branches"]
    assert [3, 5] in said["executed_branches"]
