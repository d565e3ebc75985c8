"""`pytest --hitlog`: contexts, workers, what is written and what is printed."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from suites import Suite, assert_contexts


@pytest.mark.parametrize(
    "workers", [["-p", "no:xdist"], [], ["-n", "2"], ["-n", "1", "--dist=loadfile"]]
)
def test_contexts(suite: Suite, workers: list[str]) -> None:
    output = suite.pytest("--hitlog", *workers)
    assert_contexts(suite)
    assert " hitlog " in output
    states = suite.query("select state, count(*) from hitlog_log group by state")
    workers_there = int(workers[1]) if "-n" in workers else 0
    assert states == [("clean", 2 + workers_there)]
    assert len(list((suite.folder / ".hitlog").glob("20*"))) == 1


def test_without_the_option_nothing_happens(suite: Suite) -> None:
    output = suite.pytest()
    assert "= hitlog =" not in output
    assert not (suite.folder / ".hitlog").exists()
    assert not (suite.folder / "hitlog.db").exists()


def test_under_hitlog_run_contexts_need_no_option(suite: Suite) -> None:
    output = suite.run(
        "-m", "hitlog", "run", "-o", "x.db", "--", sys.executable, "-m", "pytest", "-n", "2"
    )
    (suite.folder / "x.db").rename(suite.folder / "hitlog.db")
    assert_contexts(suite)
    assert "= hitlog =" not in output


def test_the_option_does_nothing_in_a_run(suite: Suite) -> None:
    command = [sys.executable, "-m", "pytest", "--hitlog", "--hitlog-output", "y.db"]
    suite.run("-m", "hitlog", "run", "--", *command)
    assert_contexts(suite)
    assert not (suite.folder / "y.db").exists()
    assert len(list((suite.folder / ".hitlog").glob("20*"))) == 1


def test_static_context_comes_first(suite: Suite) -> None:
    command = [sys.executable, "-m", "pytest", "-k", "test_last or test_child"]
    suite.run("-m", "hitlog", "run", "--context", "nightly", "--", *command)
    assert suite.contexts("test_it.py", 24) == {"nightly|test_it.py::test_last|run"}
    assert suite.contexts("helpers.py", 3) == {"nightly|test_it.py::test_child|run"}
    assert suite.contexts("test_it.py", 2) == {"nightly"}


def test_output_and_source(suite: Suite) -> None:
    suite.pytest("--hitlog", "--hitlog-output", "other.db", "--hitlog-source", "helpers")
    files = suite.query("select path from file", "other.db")
    assert files == [(str(suite.folder / "helpers.py"),)]
    assert not (suite.folder / "hitlog.db").exists()


def test_a_failing_suite_keeps_its_status(suite: Suite) -> None:
    suite.write(test_fail="def test_fail():\n    assert 0\n")
    output = suite.pytest("--hitlog", status=1)
    assert "1 failed" in output
    exit_codes = suite.query("select exit_code from hitlog_log where argv like '%hitlog%'")
    assert (1,) in exit_codes


def test_usage_errors_are_pytests(suite: Suite) -> None:
    assert "nosuchoption" in suite.pytest("--hitlog", "--nosuchoption", status=4)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["--collect-only"], 0),
        (["--fixtures"], 0),
        (["--nosuchoption"], 4),
        (["nosuchfile.py"], 4),
        (["-k", "nothing"], 5),
    ],
)
def test_a_result_is_kept_when_no_test_runs(suite: Suite, arguments: list[str], status: int) -> None:
    suite.pytest("--hitlog", "-k", "test_last")
    earlier = (suite.folder / "hitlog.db").read_bytes()
    suite.pytest("--hitlog", *arguments, status=status)
    assert (suite.folder / "hitlog.db").read_bytes() == earlier
    assert len(list((suite.folder / ".hitlog").glob("20*"))) == 1


def test_a_forked_child_that_comes_back_publishes_nothing(suite: Suite) -> None:
    suite.write(
        test_it="import os, sys, helpers\n"
        "def test_fork():\n"
        "    if os.fork() == 0:\n"
        "        helpers.helper(1)\n"
        "        sys.exit(0)\n"
        "    os.wait()\n"
        "    assert not os.path.exists('hitlog.db')\n"
        "    helpers.at_setup()\n"
    )
    output = suite.pytest("--hitlog")
    assert output.count("= hitlog =") == 1
    assert suite.contexts("helpers.py", 3) == {"test_it.py::test_fork|run"}
    assert suite.contexts("helpers.py", 6) == {"test_it.py::test_fork|run"}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("pyproject.toml", "[tool.hitlog]\nsource = 5\n", "source of [tool.hitlog] is not a list"),
        ("pyproject.toml", "[tool]\nhitlog = 5\n", "hitlog is not a table"),
        ("pyproject.toml", "[tool.coverage]\nrun = 3\n", "run is not a table"),
        (".coveragerc", "[run]\nsource = a\nsource = b\n", "option 'source'"),
        (".coveragerc", "source = a\n", "no section headers"),
    ],
)
def test_wrong_settings_are_told(suite: Suite, name: str, text: str, said: str) -> None:
    (suite.folder / name).write_text(text)
    output = suite.pytest("--hitlog", "-c", "/dev/null", "--rootdir=.")
    assert "5 passed" in output
    assert "nothing was recorded: " in output
    assert name in output
    assert said in output


def test_a_configuration_file_that_is_not_there_is_told(suite: Suite) -> None:
    output = suite.pytest("--hitlog", COVERAGE_RCFILE="nosuch.toml")
    assert "5 passed" in output
    assert f"nothing was recorded: {suite.folder}/nosuch.toml: no file that can be read" in output
    assert "unset COVERAGE_RCFILE" in output


def test_a_run_that_cannot_be_joined_is_told(suite: Suite) -> None:
    gone = str(suite.folder / "gone")
    output = suite.pytest("--hitlog", HITLOG_RUN=gone)
    assert "5 passed" in output
    assert f"nothing was recorded: HITLOG_RUN names the run {gone}" in output
    assert "unset HITLOG_RUN" in output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--hitlog-source", "nosuch"], "nosuch; correct --hitlog-source"), ([], "lies below")],
)
def test_that_nothing_is_measured_is_explained(suite: Suite, arguments: list[str], said: str) -> None:
    (suite.folder / "elsewhere").mkdir()
    where = Suite(suite.folder / "elsewhere")
    output = where.pytest("--hitlog", "../test_it.py", "-k", "not child", *arguments)
    assert "nothing that ran is measured" in output
    assert said in output
    assert "nothing that ran is measured" not in suite.pytest("--hitlog")


def test_a_folder_whose_name_is_not_utf_8(suite: Suite) -> None:
    folder = suite.folder / "caf\udce9"
    folder.mkdir()
    (folder / "test_it.py").write_text("def test_it():\n    x = 1\n")
    inside = Suite(folder)
    output = inside.pytest("--hitlog", "--hitlog-source", "../caf\udce9", "--hitlog-output", "../x.db")
    assert "nothing was recorded" not in output
    assert suite.query("select count(*) from file", "x.db") == [(1,)]


def test_a_run_directory_that_cannot_be_made_is_told(suite: Suite) -> None:
    (suite.folder / ".hitlog").write_text("a file is in the way")
    output = suite.pytest("--hitlog")
    assert "5 passed" in output
    assert f"nothing was recorded: {suite.folder}/.hitlog: " in output
    # pytest has no such option.
    assert "or record into another folder (hitlog run --dir DIR -- pytest)" in output


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("only root can make a file system that is full")
    try:
        suite = Suite(tmp_path)
        suite.write(test_it="def test_it(): pass\n")
        with contextlib.suppress(OSError), (tmp_path / "fill").open("wb") as file:
            file.write(bytes(128 * 1024))
        output = suite.pytest("--hitlog", PYTHONDONTWRITEBYTECODE="1")
        assert "1 passed" in output
        assert "nothing was recorded: [Errno 28] No space left on device" in output
        assert f"Something in {tmp_path}/.hitlog/" in output
        assert list((tmp_path / ".hitlog").glob("2*")) == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_process_that_cannot_record_is_told_in_the_summary(suite: Suite) -> None:
    suite.write(
        test_it="import os, subprocess, sys\n"
        "def test_it():\n"
        "    settings = os.path.join(os.environ['HITLOG_RUN'], 'config.json')\n"
        "    with open(settings, 'w') as file: file.write('x')\n"
        "    subprocess.run([sys.executable, '-c', ''], check=True)\n"
    )
    output = suite.pytest("--hitlog")
    assert "1 passed" in output
    assert "1 process: 1 ended clean" in output
    assert re.search(r"pid \d+: not recorded: .*config.json", output)


def test_broken_settings_are_told_by_hitlog_run(suite: Suite) -> None:
    (suite.folder / "pyproject.toml").write_text("[tool.hitlog\n")
    output = suite.run("-m", "hitlog", "run", "--", sys.executable, "-c", "print('ran')")
    assert output.startswith("ran\n")
    assert f"no process recorded anything: not recorded: {suite.folder}/pyproject.toml: " in output
    assert "correct the file" in output


def test_that_nothing_is_measured_is_explained_by_hitlog_run(suite: Suite) -> None:
    command = ("-m", "hitlog", "run", "--source", "nosuch", "--", sys.executable, "helpers.py")
    explained = "hitlog: no line that ran is measured. If one should be, correct --source"
    assert explained in suite.run(*command)
    assert explained not in suite.run(*command[:3], *command[5:])


def test_the_environment_is_as_before(suite: Suite) -> None:
    suite.write(
        outer="import os, pytest, sys\n"
        "before = dict(os.environ)\n"
        "assert pytest.main(['--hitlog', '-q', 'test_it.py']) == 0\n"
        "after = dict(os.environ)\n"
        "after.pop('PYTEST_VERSION', None)\n"
        "assert after == before, set(after) ^ set(before)\n"
        "import hitlog\n"
        "assert not hitlog.is_recording()\n"
        "assert pytest.main(['--hitlog', '-q', 'test_it.py']) == 0\n"
    )
    suite.run("outer.py")
    assert suite.contexts("helpers.py", 6) == {"test_it.py::TestClass::test_resource|setup"}
    assert len(list((suite.folder / ".hitlog").glob("20*"))) == 2


KILLER = """
import os, signal, time
import helpers

def test_before():
    helpers.helper(1)

def test_killed():
    helpers.at_setup()
    {end}

def test_after():
    helpers.at_teardown()
"""


@pytest.mark.parametrize(
    ("end", "state"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "cut"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "cut"),
        ("os.kill(os.getpid(), signal.SIGTERM)", "cut"),
        ("os._exit(3)", "clean"),
    ],
)
def test_a_worker_that_ends_early_loses_nothing(suite: Suite, end: str, state: str) -> None:
    suite.write(test_it=KILLER.format(end=end))
    output = suite.pytest("--hitlog", "-n", "1", status=1)
    assert suite.contexts("helpers.py", 3) == {"test_it.py::test_before|run"}
    assert suite.contexts("helpers.py", 6) == {"test_it.py::test_killed|run"}
    assert suite.contexts("helpers.py", 9) == {"test_it.py::test_after|run"}
    states = suite.query("select state, count(*) from hitlog_log group by state order by state")
    assert states == ([("clean", 2), ("cut", 1)] if state == "cut" else [("clean", 3)])
    if state == "cut":
        last = suite.query("select last_context from hitlog_log where state = 'cut'")
        assert last == [("test_it.py::test_killed|run",)]
        name = "SIG" + end.rpartition("SIG")[2].rstrip(")")
        assert f"1 cut short (gw0, {name}, in test_it.py::test_killed)" in output
    else:
        assert ("gw0", 3) in suite.query("select name, exit_code from hitlog_log")


def test_a_killed_run_can_be_compacted_later(suite: Suite) -> None:
    suite.write(test_it=KILLER.format(end="os.kill(os.getpid(), signal.SIGKILL)"))
    suite.pytest("--hitlog", "-p", "no:xdist", status=-9)
    suite.run("-m", "hitlog", "compact")
    assert suite.contexts("helpers.py", 6) == {"test_it.py::test_killed|run"}
    assert suite.query("select state from hitlog_log") == [("cut",)]


def test_beside_pytest_cov(suite: Suite) -> None:
    pytest.importorskip("pytest_cov")
    if sys.version_info < (3, 12):
        pytest.skip("before 3.12 only one tool at a time can trace a thread")
    output = suite.pytest("--hitlog", "--cov=.", "--cov-context=test")
    assert_contexts(suite)
    assert "helpers.py" in output


def test_pytest_inside_of_pytest(suite: Suite) -> None:
    suite.write(
        conftest="pytest_plugins = ['pytester']\n",
        test_it="import helpers\n"
        "def test_outer(pytester):\n"
        "    helpers.helper(1)\n"
        "    pytester.makepyfile('def test_inner(): pass')\n"
        "    pytester.inline_run()\n"
        "    helpers.at_setup()\n",
    )
    suite.pytest("--hitlog")
    assert suite.contexts("helpers.py", 3) == {"test_it.py::test_outer|run"}
    assert suite.contexts("helpers.py", 6) == {"test_it.py::test_outer|run"}


def test_kinds_of_tests(suite: Suite) -> None:
    suite.write(
        test_it="import unittest, helpers\n"
        "class Case(unittest.TestCase):\n"
        "    def setUp(self): helpers.at_setup()\n"
        "    def test_unit(self):\n"
        "        helpers.helper(1)\n"
        "    def tearDown(self): helpers.at_teardown()\n"
        "def documented():\n"
        "    '''\n"
        "    >>> helpers.helper(2)\n"
        "    3\n"
        "    '''\n"
        "def test_after_doctest(): helpers.helper(3)\n"
    )
    suite.pytest("--hitlog", "--doctest-modules")
    assert suite.contexts("helpers.py", 3) == {
        "test_it.py::Case::test_unit|run",
        "test_it.py::test_it.documented|run",
        "test_it.py::test_after_doctest|run",
    }
    # unittest's own fixtures run as part of the test.
    assert suite.contexts("helpers.py", 6) == {"test_it.py::Case::test_unit|run"}


@pytest.mark.parametrize("where", [".coveragerc", "pyproject.toml"])
def test_a_static_context_in_the_configuration(suite: Suite, where: str) -> None:
    texts = {
        ".coveragerc": "[run]\ncontext = night-${JOB}\n",
        "pyproject.toml": "[tool.hitlog]\ncontext = 'night-$JOB'\n",
    }
    (suite.folder / where).write_text(texts[where])
    suite.pytest("--hitlog", "-n", "2", JOB="7")
    assert suite.contexts("test_it.py", 24) == {"night-7|test_it.py::test_last|run"}
    assert suite.contexts("test_it.py", 2) == {"night-7"}
    assert suite.contexts("helpers.py", 3) > {"night-7|test_it.py::test_child|run"}
    if where == ".coveragerc":
        # Its core for sys.monitoring, the default from 3.14 on, knows no contexts.
        suite.pytest("--cov=.", "--cov-context=test", "-p", "no:xdist", JOB="7", COVERAGE_CORE="ctrace")
        theirs = set(suite.query("select context from context", ".coverage"))
        assert theirs == set(suite.query("select distinct context from hitlog_line"))


def test_empty_modules_are_listed_as_coverage_lists_them(suite: Suite) -> None:
    package = suite.folder / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "comment.py").write_text("# nothing\n")
    (package / "never.py").write_text("x = 1\n")
    suite.write(test_it="import package.comment\ndef test_it(): pass\n")
    suite.pytest("--hitlog")
    suite.pytest("--cov")
    ours = set(suite.query("select path from file"))
    theirs = set(suite.query("select path from file", ".coverage"))
    assert ours == theirs
    assert len(ours) == 3


def test_a_note_of_a_child_is_in_the_summary(suite: Suite) -> None:
    take = "import sys, helpers\nhelpers.helper(1)\n"
    if sys.version_info >= (3, 12):
        take += "for tool in range(6): sys.monitoring.free_tool_id(tool)\n"
    else:
        take += "sys.settrace(lambda *arguments: None)\n"
    take += (
        "import hitlog\nwith hitlog.context('own'):\n    helpers.at_setup()\nhelpers.at_teardown()\n"
    )
    suite.write(child=take)
    suite.write(
        test_it="import subprocess, sys\n"
        "def test_child(): subprocess.run([sys.executable, 'child.py'], check=True)\n"
    )
    output = suite.pytest("--hitlog")
    assert re.search(r"^note: pid \d+: ", output, re.MULTILINE), output


END_EARLY = """
import os, signal, helpers, pytest
def test_first(): helpers.at_setup()
def test_middle():
    helpers.helper(1)
    {end}
def test_never(): helpers.at_teardown()
"""


@pytest.mark.parametrize(
    ("end", "arguments", "status"),
    [
        ("raise KeyboardInterrupt", [], 2),
        ("os.kill(os.getpid(), signal.SIGINT); signal.pause()", [], 2),
        ("assert 0", ["-x"], 1),
        ("assert 0", ["--exitfirst", "-n", "1"], 2),
        ("pytest.exit('enough', 7)", [], 7),
        ("pytest.exit('enough', 0)", [], 0),
    ],
)
def test_a_session_that_ends_early(suite: Suite, end: str, arguments: list[str], status: int) -> None:
    suite.write(test_it=END_EARLY.format(end=end))
    output = suite.pytest("--hitlog", *arguments, status=status)
    assert output.count("= hitlog =") == 1
    assert suite.contexts("helpers.py", 3) == {"test_it.py::test_middle|run"}
    assert suite.contexts("helpers.py", 6) == {"test_it.py::test_first|run"}


def test_an_internal_error_has_a_summary(suite: Suite) -> None:
    suite.write(conftest="def pytest_runtest_logfinish(nodeid):\n    assert 'last' not in nodeid\n")
    output = suite.pytest("--hitlog", status=3)
    assert "INTERNALERROR" in output
    assert output.count("= hitlog =") == 1
    assert suite.contexts("test_it.py", 24) == {"test_it.py::test_last|run"}


def test_errors_of_collection_are_a_result(suite: Suite) -> None:
    suite.write(test_it="import helpers\nhelpers.helper(1)\nraise ValueError\n")
    for number in ([], ["-n", "1"]):
        suite.pytest("--hitlog", *number, status=1 if number else 2)
        assert suite.contexts("helpers.py", 3) == {""}
        (suite.folder / "hitlog.db").unlink()


@pytest.mark.parametrize(
    ("arguments", "is_told"),
    [(["-q"], True), (["-qq"], False), (["-p", "no:terminal"], False), (["-v"], True)],
)
def test_how_much_is_said(suite: Suite, arguments: list[str], is_told: bool) -> None:
    output = suite.pytest("--hitlog", *arguments)
    assert ("= hitlog =" in output) == is_told
    assert_contexts(suite)


def test_what_is_wrong_is_said_even_quietly(suite: Suite) -> None:
    suite.write(test_it=KILLER.format(end="os.kill(os.getpid(), signal.SIGKILL)"))
    assert "1 cut short" in suite.pytest("--hitlog", "-qq", "-n", "1", status=1)


@pytest.mark.parametrize(
    ("output", "said"),
    [("nosuch/hitlog.db", "nosuch"), (".", "directory"), ("helpers.py", "not a file of hitlog")],
)
def test_a_wrong_output_ends_it_before_the_tests(suite: Suite, output: str, said: str) -> None:
    text = suite.pytest("--hitlog", "--hitlog-output", output, status=4)
    assert "--hitlog-output: " in text
    assert said in text
    assert "passed" not in text
    assert (suite.folder / "helpers.py").read_text().startswith("\ndef helper")


def test_a_setting_that_there_is_not_is_told(suite: Suite) -> None:
    (suite.folder / "pyproject.toml").write_text("[tool.hitlog]\nsources = ['.']\n")
    assert "sources is no setting of [tool.hitlog]" in suite.pytest("--hitlog")
