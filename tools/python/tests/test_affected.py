"""`pytest --hitlog-affected` and `hitlog affected`: the tests that a change concerns, and no others."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from environments import clean_environment

SHOP = """
import os

RATE = 2

def price(n):
    return n * RATE

def discount(n):
    return n - 1

def unused():
    return 0
"""

STORE = """
import functools

class Loader:
    def __init__(self):
        self.value = compute()

def compute():
    return 7

_cache = {}

def loader():
    if "one" not in _cache:
        _cache["one"] = Loader()
    return _cache["one"]

@functools.lru_cache(maxsize=None)
def constant():
    return 3
"""

TEST_SHOP = """
import subprocess
import sys
import shop

def test_price():
    assert shop.price(2) == 4

def test_discount():
    assert shop.discount(2) == 1

def test_child():
    code = "import shop; assert shop.price(3) == 6"
    subprocess.run([sys.executable, "-c", code], check=True)
"""

TEST_STORE = """
import store

def test_before():
    assert store

def test_first():
    assert store.loader().value == 7
    assert store.constant() == 3

def test_second():
    assert store.loader().value == 7

def test_third():
    assert store.constant() == 3

def test_fixture(resource):
    assert resource == 1
"""

CONFTEST = """
import pytest

@pytest.fixture
def resource():
    return 1
"""

PROJECT = {
    "shop.py": SHOP,
    "store.py": STORE,
    "test_shop.py": TEST_SHOP,
    "test_store.py": TEST_STORE,
    "conftest.py": CONFTEST,
}
# Whatever status a command ends with.
ANY = -1
SHOP_TESTS = {"test_price", "test_discount", "test_child"}
STORE_TESTS = {"test_before", "test_first", "test_second", "test_third", "test_fixture"}


@dataclass
class Project:
    """A project with a recording."""

    folder: Path
    # How its tests are recorded.
    way: tuple[str, ...] = ("--hitlog-isolate",)

    def edit(self, name: str, before: str, after: str) -> None:
        path = self.folder / name
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after))

    def run(self, *arguments: str, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self.folder,
            env=clean_environment(HITLOG_DEBUG="1", PYTHONDONTWRITEBYTECODE="1"),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert status in (done.returncode, ANY), done.stdout + done.stderr
        return done.stdout + done.stderr

    def pytest(self, *arguments: str, status: int = 0) -> str:
        return self.run("pytest", "-p", "no:cacheprovider", "-v", *arguments, status=status)

    def record(self, *arguments: str, status: int = 0) -> None:
        self.pytest("--hitlog", *self.way, *arguments, status=status)

    def answer(self, *arguments: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.run("hitlog", "affected", "--json", *arguments))
        return answer

    def affected(self, *arguments: str) -> set[str]:
        """The affected tests, by their short names."""
        return {test["test"].partition("::")[2] for test in self.answer(*arguments)["tests"]}

    def ran(self, *arguments: str, status: int = 0) -> set[str]:
        """Run the affected tests and return which did, by their short names."""
        output = self.pytest("--hitlog-affected", *self.way, *arguments, status=status)
        # With workers, a result stands in front of the test.
        words = [line.split() for line in output.splitlines() if " PASSED" in line or " FAILED" in line]
        names = [next(word for word in line if "::" in word) for line in words]
        return {name.partition("::")[2] for name in names}

    def contexts(self, name: str, line: int) -> set[str]:
        sql = "select context from hitlog_line where path = ? and line = ?"
        path = self.folder / "hitlog.db"
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            rows = connection.execute(sql, (str(self.folder / name), line)).fetchall()
            assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
        finally:
            connection.close()
        return {str(row[0]).partition("::")[2].partition("|")[0] for row in rows}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    folder = tmp_path.resolve() / "project"
    folder.mkdir()
    for name, text in PROJECT.items():
        (folder / name).write_text(text)
    return Project(folder)


@pytest.fixture
def recorded(project: Project) -> Project:
    project.record()
    return project


def test_nothing_changed(recorded: Project) -> None:
    assert recorded.affected() == set()
    assert "nothing changed since hitlog.db\n0 of 8 tests" in recorded.run("hitlog", "affected")
    output = recorded.pytest("--hitlog-affected")
    assert "8 deselected" in output
    assert recorded.ran() == set()


def test_function(recorded: Project) -> None:
    recorded.edit("shop.py", "return n - 1", "return n - 2")
    assert recorded.affected() == {"test_discount"}
    output = recorded.run("hitlog", "affected")
    assert "1 file changed since hitlog.db: shop.py (line 10)\n1 of 8 tests" in output
    assert recorded.run("hitlog", "affected", "--list") == "test_shop.py::test_discount\n"
    assert recorded.ran(status=1) == {"test_discount"}
    recorded.edit("shop.py", "return n - 2", "return n - 1")
    assert recorded.ran() == {"test_discount"}
    assert recorded.affected() == set()


def test_child_process(recorded: Project) -> None:
    recorded.edit("shop.py", "return n * RATE", "return RATE * n")
    assert recorded.affected() == {"test_price", "test_child"}


def test_nobody_ran_it(recorded: Project) -> None:
    recorded.edit("shop.py", "return 0", "return 1")
    recorded.edit("shop.py", "def price", "# a comment\ndef price")
    assert recorded.affected() == set()


def test_import_time(recorded: Project) -> None:
    recorded.edit("shop.py", "RATE = 2", "RATE = 1 + 1")
    assert recorded.affected() >= SHOP_TESTS
    assert recorded.ran() >= SHOP_TESTS
    assert recorded.affected() == set()


@pytest.mark.parametrize("change", ["return 7", "self.value = compute()"])
def test_results_kept_by_another_test(recorded: Project, change: str) -> None:
    recorded.edit("store.py", change, f"pass; {change}")
    assert recorded.affected() == {"test_first", "test_second"}


def test_tests_in_one_process_depend_on_those_before(project: Project) -> None:
    """Any of these may have kept what the next ones use, in whatever way."""
    project.way = ()
    project.record()
    project.edit("store.py", "return 3", "return 2 + 1")
    assert project.affected() == {"test_first", "test_second", "test_third", "test_fixture"}
    project.edit("store.py", "return 2 + 1", "return 3")
    project.edit("store.py", "return 7", "return 3 + 4")
    assert project.affected() == {"test_first", "test_second", "test_third", "test_fixture"}
    assert project.ran() == {"test_first", "test_second", "test_third", "test_fixture"}
    assert project.affected() == set()


def test_result_kept_by_functools(recorded: Project) -> None:
    recorded.edit("store.py", "return 3", "return 2 + 1")
    assert recorded.affected() == {"test_first", "test_third"}


def test_fixture_for_several_tests(project: Project) -> None:
    project.edit("conftest.py", "@pytest.fixture", '@pytest.fixture(scope="session")')
    project.edit("conftest.py", "return 1", "from shop import price\n    return price(1) // 2")
    project.edit(
        "test_shop.py", "def test_price()", "def test_other(resource): pass\n\ndef test_price()"
    )
    project.record()
    project.edit("shop.py", "return n * RATE", "return RATE * n")
    assert project.affected() == {"test_price", "test_child", "test_other", "test_fixture"}


def test_new_and_deleted_tests(recorded: Project) -> None:
    more = "def test_more():\n    pass\n"
    recorded.edit("test_shop.py", "def test_price():\n    assert shop.price(2) == 4\n", more)
    (recorded.folder / "test_new.py").write_text("def test_new():\n    pass\n")
    assert recorded.answer()["new_test_files"] == [str(recorded.folder / "test_new.py")]
    assert recorded.ran() == {"test_more", "test_new", "test_discount", "test_child"}
    assert recorded.affected() == set()
    assert recorded.contexts("shop.py", 7) == {"test_child"}


def test_body_of_a_test(recorded: Project) -> None:
    recorded.edit("test_shop.py", "shop.price(2) == 4", "shop.price(1) == 2")
    assert recorded.affected() == {"test_price"}


def test_header_in_a_test_file(recorded: Project) -> None:
    recorded.edit("test_shop.py", "import sys", "import sys, os")
    assert recorded.affected() == SHOP_TESTS


def test_failed_test(project: Project) -> None:
    project.edit("test_shop.py", "shop.price(2) == 4", "shop.price(2) == 5")
    project.record(status=1)
    assert project.affected() == {"test_price"}
    assert project.ran(status=1) == {"test_price"}
    project.edit("test_shop.py", "shop.price(2) == 5", "shop.price(2) == 4")
    assert project.ran() == {"test_price"}
    assert project.affected() == set()


def test_conftest(recorded: Project) -> None:
    recorded.edit("conftest.py", "return 1", "return 2 - 1")
    assert recorded.affected() == SHOP_TESTS | STORE_TESTS


def test_conftest_that_is_added_or_removed(project: Project) -> None:
    (project.folder / "deep").mkdir()
    (project.folder / "deep" / "test_deep.py").write_text("def test_deep():\n    pass\n")
    project.record()
    (project.folder / "deep" / "conftest.py").write_text("")
    assert project.affected() == {"test_deep"}
    assert project.ran() == {"test_deep"}
    assert project.affected() == set()
    (project.folder / "deep" / "conftest.py").unlink()
    assert project.affected() == {"test_deep"}


def test_configuration_file_that_appears(recorded: Project) -> None:
    (recorded.folder / "pytest.ini").write_text("[pytest]\n")
    assert recorded.affected() == SHOP_TESTS | STORE_TESTS


def test_data_files(project: Project) -> None:
    (project.folder / "data").mkdir()
    (project.folder / "data" / "one.txt").write_text("1")
    (project.folder / "pyproject.toml").write_text('[tool.hitlog]\ndata = ["data/*.txt"]\n')
    project.record()
    assert project.affected() == set()
    (project.folder / "data" / "other.bin").write_text("1")
    assert project.affected() == set()
    (project.folder / "data" / "two.txt").write_text("2")
    assert project.affected() == SHOP_TESTS | STORE_TESTS
    assert project.ran() == SHOP_TESTS | STORE_TESTS
    (project.folder / "data" / "one.txt").unlink()
    assert project.affected() == SHOP_TESTS | STORE_TESTS


def test_installed_package(recorded: Project) -> None:
    """As after an upgrade: the recording knows another state of the installed packages."""
    path = recorded.folder / "hitlog.db"
    connection = sqlite3.connect(path)
    (text,) = connection.execute("select value from hitlog_surroundings").fetchone()
    surroundings = json.loads(text)
    assert surroundings["installed"]
    surroundings["installed"] = dict.fromkeys(surroundings["installed"], "0")
    connection.execute("update hitlog_surroundings set value = ?", (json.dumps(surroundings),))
    connection.commit()
    connection.close()
    assert recorded.affected() == SHOP_TESTS | STORE_TESTS
    assert recorded.ran() == SHOP_TESTS | STORE_TESTS
    assert recorded.affected() == set()


def test_syntax_error(recorded: Project) -> None:
    recorded.edit("shop.py", "return n - 1", "retrun n - 1")
    assert recorded.affected() >= SHOP_TESTS
    recorded.pytest("--hitlog-affected", status=2)
    recorded.edit("shop.py", "retrun n - 1", "return n - 1")
    assert recorded.affected() == set()


def test_recording_of_another_folder(recorded: Project) -> None:
    """A tree copied with its recording: the files that were compared are not those that would run."""
    copy = Project(recorded.folder.parent / "copy")
    shutil.copytree(recorded.folder, copy.folder)
    copy.edit("shop.py", "n - 1", "n - 2")
    assert copy.ran(status=1) == SHOP_TESTS | STORE_TESTS
    assert recorded.ran(status=ANY) == set()


def test_file_that_vanishes_or_is_renamed(recorded: Project) -> None:
    (recorded.folder / "shop.py").rename(recorded.folder / "market.py")
    assert recorded.affected() >= SHOP_TESTS
    recorded.edit("test_shop.py", "import shop", "import market as shop")
    assert recorded.ran() >= SHOP_TESTS
    recorded.edit("market.py", "return n - 1", "return n - 2 + 1")
    assert recorded.affected() == {"test_discount"}


def test_renamed_test_file(recorded: Project) -> None:
    (recorded.folder / "test_shop.py").rename(recorded.folder / "test_market.py")
    assert recorded.ran() == SHOP_TESTS
    tests = recorded.answer()["others"]
    assert len(tests) == 8
    assert "test_market.py::test_price" in tests


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_recording_stays_true(project: Project, workers: list[str]) -> None:
    project.record(*workers)
    assert project.contexts("shop.py", 10) == {"test_discount"}
    project.edit("shop.py", "def price(n):", "# one\n# two\n\ndef price(n):")
    project.edit("shop.py", "return n * RATE", "n = n * RATE\n    return n")
    assert project.ran(*workers) == {"test_price", "test_child"}
    assert project.affected() == set()
    # Lines of tests that did not run again have moved with the file.
    assert project.contexts("shop.py", 14) == {"test_discount"}
    assert project.contexts("shop.py", 11) == {"test_price", "test_child"}
    project.edit("shop.py", "return n - 1", "return n - 2 + 1")
    assert project.ran(*workers) == {"test_discount"}
    project.edit("store.py", "return 3", "return 2 + 1")
    assert {"test_first", "test_third"} <= project.ran(*workers) <= STORE_TESTS
    assert project.affected() == set()


def test_branches_stay_true(project: Project) -> None:
    project.edit("shop.py", "return n * RATE", "if n:\n        n += 0\n    return n * RATE")
    project.record("--hitlog-branch")
    project.edit("shop.py", "return n - 1", "n -= 1\n    return n")
    assert project.ran("--hitlog-branch") == {"test_discount"}
    connection = sqlite3.connect(project.folder / "hitlog.db")
    sql = "select context from hitlog_arc where path = ? and from_line = 7 and to_line = 8"
    rows = connection.execute(sql, (str(project.folder / "shop.py"),)).fetchall()
    connection.close()
    assert ("test_shop.py::test_price|run",) in rows


def test_what_did_not_run_is_not_forgotten(recorded: Project) -> None:
    recorded.edit("shop.py", "return n - 1", "return n - 2 + 1")
    recorded.edit("store.py", "return 3", "return 2 + 1")
    assert recorded.ran("test_shop.py") == {"test_discount"}
    assert recorded.affected() == {"test_first", "test_third"}
    assert recorded.ran("-k", "third") == {"test_third"}
    assert recorded.affected() == {"test_first"}
    assert recorded.ran() == {"test_first"}
    assert recorded.affected() == set()


def test_without_a_recording_all_tests_run(project: Project) -> None:
    assert project.ran() == SHOP_TESTS | STORE_TESTS
    assert project.affected() == set()


def test_files_that_are_not_measured(project: Project) -> None:
    (project.folder / "helper.py").write_text("VALUE = 1\n")
    project.edit("test_store.py", "import store", "import store, helper")
    project.record("--hitlog-source=shop")
    project.edit("test_shop.py", "shop.price(2) == 4", "shop.price(1) == 2")
    assert project.affected() == SHOP_TESTS
    project.edit("helper.py", "1", "2")
    assert project.affected() == SHOP_TESTS | STORE_TESTS


def test_file_outside_of_the_root(project: Project) -> None:
    other = project.folder.parent / "other"
    other.mkdir()
    (other / "helper.py").write_text("VALUE = 1\n")
    (project.folder / "pytest.ini").write_text("[pytest]\npythonpath = ../other\n")
    project.edit("test_store.py", "import store", "import store, helper")
    project.record()
    assert project.affected() == set()
    (other / "helper.py").write_text("VALUE = 2\n")
    assert project.affected() == SHOP_TESTS | STORE_TESTS
    assert project.ran() == SHOP_TESTS | STORE_TESTS
    assert project.affected() == set()


def test_modules_that_tests_write(project: Project) -> None:
    text = "def test_own(tmp_path, monkeypatch):\n    (tmp_path / 'own.py').write_text('')\n"
    text += "    monkeypatch.syspath_prepend(tmp_path)\n    import own\n"
    write(project, {"test_own.py": text})
    project.way = ()
    project.record("--basetemp=../temporary")
    shutil.rmtree(project.folder.parent / "temporary")
    assert project.affected() == set()


def test_name_that_is_no_text(project: Project) -> None:
    folder = os.fsencode(project.folder) + b"/strange\xff"
    os.mkdir(folder)
    Path(os.fsdecode(folder + b"/helper.py")).write_text("VALUE = 1\n")
    project.record()
    assert project.affected() == set()
    assert project.ran() == set()


def test_since_a_revision(recorded: Project) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=recorded.folder, check=True, timeout=60)

    git("init", "-q")
    git("add", "shop.py", "store.py")
    git("commit", "-q", "-m", "one")
    assert recorded.affected("--since", "HEAD") == set()
    recorded.edit("shop.py", "return n - 1", "return n - 2")
    assert recorded.affected("--since", "HEAD") == {"test_discount"}
    git("commit", "-q", "-a", "-m", "two")
    assert recorded.affected("--since", "HEAD") == set()
    assert recorded.affected("--since", "HEAD~1") == {"test_discount"}
    output = recorded.run("hitlog", "affected", "--since", "nosuch", status=2)
    assert "git cannot compare with nosuch" in output


@pytest.mark.parametrize(
    ("name", "line"),
    [("shop.py", 4), ("shop.py", 7), ("shop.py", 10), ("shop.py", 13)]
    + [("store.py", line) for line in (6, 9, 14, 15, 16, 20)],
)
def test_whatever_fails_is_affected(recorded: Project, name: str, line: int) -> None:
    """The short form of `cargo xtask mutate`: a line raises, and the whole suite runs."""
    lines = (recorded.folder / name).read_text().splitlines()
    indent = lines[line - 1][: len(lines[line - 1]) - len(lines[line - 1].lstrip())]
    lines.insert(line - 1, f"{indent}raise RuntimeError")
    (recorded.folder / name).write_text("\n".join(lines) + "\n")
    affected = recorded.affected()
    everything = SHOP_TESTS | STORE_TESTS
    done = recorded.pytest("-p", "no:hitlog", status=ANY)
    passed = {word.partition("::")[2] for word in done.split() if word.startswith("test_")}
    passed = {test for test in passed if f"::{test} PASSED" in done}
    assert everything - passed <= affected
    assert (affected == set()) == (line == 13)


def write(project: Project, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = project.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


# Ways in which the result of a function reaches a test that does not run it: what stands in `keep.py`.
# `compute` is what changes.
KEPT = {
    "body on the line of its header": """
import functools
from base0 import compute0

@functools.lru_cache(None)
def once0(): return compute0()
""",
    "lambda": """
import functools
from base0 import compute0

once0 = functools.lru_cache(None)(lambda: compute0())
""",
    "table of functions": """
from base0 import compute0

HANDLERS0 = {"one": compute0}
_kept0 = {}

def once0():
    if not _kept0:
        _kept0["one"] = HANDLERS0["one"]()
    return _kept0["one"]
""",
    "another name": """
import functools
from base0 import compute0

once0 = functools.lru_cache(None)(compute0)
""",
    "decorator": """
import base0

_all0 = {}
_kept0 = {}

def register0(function):
    _all0["one"] = function
    return function

@register0
def local0():
    return base0.compute0()

def once0():
    if not _kept0:
        _kept0["one"] = _all0["one"]()
    return _kept0["one"]
""",
    "computed name": """
import base0

_kept0 = {}

def once0():
    if not _kept0:
        part = "ute"
        _kept0["one"] = getattr(base0, f"comp0_{part}")()
    return _kept0["one"]
""",
    "function inside": """
from base0 import compute0

def keeping0():
    kept = []
    def inner0():
        if not kept:
            kept.append(compute0())
        return kept[-1]
    return inner0

once0 = keeping0()
""",
}
KEPT_TESTS = """
import keep0

def test_first0():
    assert keep0.once0() == 7

def test_second0():
    assert keep0.once0() == 7
"""


@pytest.mark.parametrize("way", [(), ("--hitlog-isolate",)])
@pytest.mark.parametrize("is_measured", [True, False])
def test_ways_in_which_results_are_kept(
    project: Project, is_measured: bool, way: tuple[str, ...]
) -> None:
    """Also where the tests themselves are not measured, so that nothing is known of what they ran."""
    project.way = way
    ways = dict(zip("abcdefg", KEPT))
    sources = []
    for letter, kind in ways.items():
        name = "comp0_ute" if kind == "computed name" else "compute0"
        texts = {"base0.py": f"def {name}():\n    return 7\n", "keep0.py": KEPT[kind]}
        texts["test_keep0.py"] = KEPT_TESTS
        # No two ways have a name in common.
        write(
            project,
            {path.replace("0", letter): text.replace("0", letter) for path, text in texts.items()},
        )
        sources += [f"--hitlog-source=base{letter}", f"--hitlog-source=keep{letter}"]
    project.record(*([] if is_measured else sources))
    for letter, kind in ways.items():
        project.edit(f"base{letter}.py", "return 7", "return 3 + 4")
        assert {f"test_first{letter}", f"test_second{letter}"} <= project.affected(), kind
        project.edit(f"base{letter}.py", "return 3 + 4", "return 7")


def test_encoding(project: Project) -> None:
    write(project, {"latin.py": "# one\nTEXT = 'a'\n"})
    project.edit("test_shop.py", "import shop", "import shop, latin")
    project.record()
    project.edit("latin.py", "# one", "# other")
    assert project.affected() == set()
    project.edit("latin.py", "# other", "# -*- coding: latin-1 -*-")
    assert project.affected() >= SHOP_TESTS


def test_module_without_a_line(project: Project) -> None:
    write(project, {"package/__init__.py": "", "package/part.py": "ONE = 1\n"})
    project.edit("test_shop.py", "import shop", "import shop, package.part")
    project.record()
    assert project.affected() == set()
    write(project, {"package/__init__.py": "TWO = 2\n"})
    assert project.affected() >= SHOP_TESTS
    (project.folder / "package/__init__.py").unlink()
    assert project.affected() >= SHOP_TESTS


def test_module_that_only_a_child_loads(project: Project) -> None:
    write(project, {"worker.py": "import shop\nassert shop.price(3) == 6\n"})
    project.edit("test_shop.py", 'sys.executable, "-c", code', 'sys.executable, "worker.py"')
    project.record("--hitlog-source=shop")
    assert project.affected() == set()
    project.edit("worker.py", "== 6", "== 7")
    assert "test_child" in project.affected()


def test_text_with_doctests(project: Project) -> None:
    write(project, {"guide.txt": ">>> import shop\n>>> shop.price(2)\n4\n"})
    project.record("--doctest-glob=*.txt")
    assert project.affected() == set()
    project.edit("guide.txt", "4", "5")
    assert {test["test"] for test in project.answer()["tests"]} == {"guide.txt::guide.txt"}


def test_module_that_appears(project: Project) -> None:
    write(project, {"unrelated/other.py": ""})
    project.edit(
        "shop.py", "import os", "try:\n    import fast_shop\nexcept ImportError:\n    fast_shop = None"
    )
    project.record()
    write(project, {"unrelated/more.py": ""})
    assert project.affected() == set()
    write(project, {"fast_shop/part.py": ""})
    assert project.affected() >= SHOP_TESTS
    (project.folder / "fast_shop/part.py").unlink()
    write(project, {"fast_shop/__init__.py": ""})
    assert project.affected() >= SHOP_TESTS
    assert "fast_shop/__init__.py (was added)" in project.run("hitlog", "affected")
    assert project.ran() >= SHOP_TESTS
    assert project.affected() == set()


@pytest.mark.parametrize("again", [("--hitlog-isolate",), ()])
def test_module_that_the_parent_of_forked_tests_imported(
    project: Project, again: tuple[str, ...]
) -> None:
    """The children run no line of it, and have what it made; also when others have run since."""
    write(project, {"made.py": "VALUE = 1\n"})
    write(project, {"test_made.py": "import made\n\ndef test_made():\n    assert made.VALUE\n"})
    project.record()
    project.way = again
    project.edit("shop.py", "return n - 1", "return n - 2 + 1")
    assert project.ran() == {"test_discount"}
    project.edit("made.py", "= 1", "= 2")
    assert "test_made" in project.affected()


SERVER = """
import sys

def answer():
    return "7"

for line in sys.stdin:
    print(answer(), flush=True)
"""
ASKING = """
import subprocess, sys, pytest

def start():
    return subprocess.Popen(
        [sys.executable, "server.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

def ask(process):
    process.stdin.write("x\\n")
    process.stdin.flush()
    return process.stdout.readline()
"""
SERVER_TESTS = """
def test_one(server):
    assert server() == "7\\n"

def test_two(server):
    assert server() == "7\\n"
"""


@pytest.mark.parametrize("way", [(), ("--hitlog-isolate",)])
@pytest.mark.parametrize("is_started_by_a_test", [True, False])
def test_server_that_answers_several_tests(
    project: Project, way: tuple[str, ...], is_started_by_a_test: bool
) -> None:
    project.way = way
    if is_started_by_a_test:
        fixture = "@pytest.fixture(scope='session')\ndef server():\n    process = start()\n"
        fixture += "    yield lambda: ask(process)\n    process.kill()\n"
    else:
        fixture = (
            "PROCESS = start()\n\n@pytest.fixture\ndef server():\n    return lambda: ask(PROCESS)\n"
        )
        fixture += "\ndef pytest_unconfigure():\n    PROCESS.kill()\n"
    write(project, {"deep/conftest.py": ASKING + fixture, "server.py": SERVER})
    write(project, {"deep/test_server.py": SERVER_TESTS})
    project.record("deep")
    assert project.affected() == set()
    project.edit("server.py", '"7"', '"8"')
    assert project.affected() >= {"test_one", "test_two"}


def test_helper_in_a_file_of_tests(project: Project) -> None:
    write(project, {"test_base.py": "def helper():\n    return 1\n\ndef test_base():\n    pass\n"})
    tests = "from test_base import helper\n\ndef test_user():\n    assert helper() == 1\n"
    write(project, {"test_user.py": tests})
    project.record("--hitlog-source=shop")
    project.edit("test_base.py", "return 1", "return 2")
    assert project.affected() >= {"test_base", "test_user"}


def test_answer_for_another_folder(recorded: Project) -> None:
    (recorded.folder.parent / "elsewhere").mkdir()
    elsewhere = Project(recorded.folder.parent / "elsewhere")
    output = elsewhere.run("hitlog", "affected", "--db", str(recorded.folder / "hitlog.db"))
    assert f"recorded in {recorded.folder}" in output


def test_mistakes(project: Project) -> None:
    output = project.run("hitlog", "affected", "--db", "nosuch.db", status=2)
    assert output.startswith("hitlog: nosuch.db: no such file")
    (project.folder / "hitlog.db").write_text("text")
    assert "not a file of hitlog or coverage.py" in project.pytest("--hitlog-affected", status=4)
