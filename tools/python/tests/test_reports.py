"""`--hitlog-report` and `--hitlog-fail-under` beside what pytest-cov says of the same suite."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from environments import python_with
from suites import Suite

USED = """
def half(n):
    if n % 2:
        return None
    return n // 2

def debug():  # for humans
    print("never")
"""
TEST = "import pkg.used\ndef test_half():\n    assert pkg.used.half(4) == 2\ndef test_other(): pass\n"
# A pytest-cov that is told nothing of hitlog's options must not see those of one for the other.
COVERAGERC = "[report]\nprecision = 2\nexclude_also = for humans\nshow_missing = true\n"


@pytest.fixture
def project(tmp_path: Path) -> Suite:
    suite = Suite(tmp_path.resolve())
    package = suite.folder / "pkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "used.py").write_text(USED)
    (package / "unused.py").write_text("x = 1\ny = 2\n")
    suite.write(test_it=TEST)
    return suite


def table(output: str) -> list[str]:
    """Coverage.py's table in what pytest printed."""
    lines = output.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("Name  "))
    last = next(index for index, line in enumerate(lines) if line.startswith("TOTAL"))
    return lines[first : last + 1]


@pytest.mark.parametrize("kind", ["term", "term-missing", "term-missing:skip-covered"])
@pytest.mark.parametrize("configuration", ["", COVERAGERC])
def test_the_table_is_that_of_pytest_cov(project: Suite, configuration: str, kind: str) -> None:
    (project.folder / ".coveragerc").write_text(configuration)
    theirs = table(project.pytest("--cov=pkg", f"--cov-report={kind}"))
    assert any("pkg/unused.py" in line and " 0" in line for line in theirs)
    for number in ([], ["-n", "2"]):
        output = project.pytest("--hitlog", "--hitlog-source=pkg", f"--hitlog-report={kind}", *number)
        assert table(output) == theirs
        assert output.count("TOTAL") == 1


@pytest.mark.parametrize("number", [[], ["-n", "2"]])
def test_a_package_that_is_found_by_its_name(project: Suite, number: list[str]) -> None:
    (project.folder / "src").mkdir()
    (project.folder / "pkg").rename(project.folder / "src" / "pkg")
    (project.folder / "pytest.ini").write_text("[pytest]\npythonpath = src\n")
    (project.folder / ".coveragerc").write_text("[run]\nsource = pkg\n")
    theirs = table(project.pytest("--cov", "--cov-report=term-missing", *number))
    ours = table(project.pytest("--hitlog", "--hitlog-report=term-missing", *number))
    assert ours == theirs


def test_branches_in_the_table(project: Suite) -> None:
    cov = ["--cov=pkg", "--cov-branch", "--cov-report=term-missing"]
    theirs = table(project.pytest(*cov, COVERAGE_CORE="ctrace"))
    ours = ["--hitlog", "--hitlog-branch", "--hitlog-source=pkg", "--hitlog-report=term-missing"]
    assert table(project.pytest(*ours)) == theirs


def test_files(project: Suite) -> None:
    kinds = ["html:made/html", "xml:made/c.xml", "json", "lcov:made/c.lcov", "xml"]
    output = project.pytest("--hitlog", "--hitlog-source=pkg", *(f"--hitlog-report={k}" for k in kinds))
    at = project.folder
    assert "unused.py" in (at / "made" / "html" / "index.html").read_text()
    assert 'filename="pkg/unused.py"' in (at / "made" / "c.xml").read_text()
    assert (at / "coverage.xml").exists()
    assert "SF:pkg/unused.py" in (at / "made" / "c.lcov").read_text()
    ours = json.loads((at / "coverage.json").read_text())["totals"]
    project.pytest("--cov=pkg", "--cov-report=json:theirs.json")
    assert ours == json.loads((at / "theirs.json").read_text())["totals"]
    for made in ("html report: made/html/index.html", "lcov report: made/c.lcov"):
        assert made in output


@pytest.mark.parametrize(
    ("arguments", "configuration", "status", "said"),
    [
        (["--hitlog-fail-under=40"], "", 0, "Required test coverage of 40% reached. Total coverage: "),
        (["--hitlog-fail-under=90"], "", 1, "FAIL Required test coverage of 90% not reached."),
        (["--hitlog-fail-under=90", "-n2"], "", 1, "FAIL Required test coverage of 90% not reached."),
        (["--hitlog-report=term"], "fail_under = 90", 1, "FAIL Required test coverage of 90%"),
        (["--hitlog-fail-under=40"], "fail_under = 90", 0, "Required test coverage of 40% reached"),
        (["--hitlog-fail-under=0"], "fail_under = 90", 0, ""),
        ([], "fail_under = 90", 0, ""),
        (["--hitlog-fail-under=40", "-p", "no:terminal"], "", 0, ""),
        (["--hitlog-fail-under=90", "-p", "no:terminal"], "", 1, ""),
    ],
)
def test_required_coverage(
    project: Suite, arguments: list[str], configuration: str, status: int, said: str
) -> None:
    (project.folder / ".coveragerc").write_text(f"[report]\n{configuration}\n")
    output = project.pytest("--hitlog", "--hitlog-source=pkg", *arguments, status=status)
    assert said in output
    assert ("Required" in output) == bool(said)


def test_failed_tests_stay_failed_tests(project: Suite) -> None:
    project.write(test_fail="def test_fail(): assert 0\n")
    output = project.pytest("--hitlog", "--hitlog-report=term", "--hitlog-fail-under=1", status=1)
    assert "TOTAL" in output
    assert "% reached" in output


@pytest.mark.parametrize(
    "argument",
    [
        "--hitlog-report=pdf",
        "--hitlog-report=term:x",
        "--hitlog-report=html:",
        "--hitlog-fail-under=101",
    ],
)
def test_wrong_values_end_it_before_the_tests(project: Suite, argument: str) -> None:
    assert "passed" not in project.pytest("--hitlog", argument, status=4)


def test_a_report_that_cannot_be_written_leaves_the_others(project: Suite) -> None:
    (project.folder / "taken").write_text("a file where html needs a folder")
    wanted = [
        f"--hitlog-report={report}" for report in ("html:taken", "xml:/dev/null/x", "json:x.json")
    ]
    output = project.pytest("--hitlog", *wanted)
    assert "2 passed" in output
    for kind in ("html", "xml"):
        assert f"the {kind} report could not be made: " in output
        assert f"(--hitlog-report={kind}:PATH)" in output
    assert (project.folder / "x.json").exists()


def test_without_coverage_py_there_is_a_sentence(project: Suite) -> None:
    bare = Suite(project.folder, python_with("bare", "pytest>=8"))
    output = bare.pytest("--hitlog", "--hitlog-report=term", status=4)
    assert "need coverage.py 7 or later, and it is not installed" in output
    assert "pip install 'hitlog[report]'" in output
    assert "2 passed" in bare.pytest("--hitlog")


def test_an_old_coverage_py_is_refused(project: Suite) -> None:
    old = project.folder / "old" / "coverage-6.5.0.dist-info"
    old.mkdir(parents=True)
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: coverage\nVersion: 6.5.0\n")
    output = project.pytest("--hitlog", "--hitlog-fail-under=1", status=4, PYTHONPATH=str(old.parent))
    assert "version 6.5.0 is too old" in output


def test_nonsense_in_the_configuration_of_reports(project: Suite) -> None:
    (project.folder / ".coveragerc").write_text("[report]\nprecision = many\n")
    output = project.pytest("--hitlog", "--hitlog-report=term")
    assert "a report could not be made: " in output
    assert "many" in output
    # What is required and cannot be known is not fulfilled.
    project.pytest("--hitlog", "--hitlog-fail-under=1", status=1)


def test_warnings_as_errors_are_for_the_tests(project: Suite) -> None:
    (project.folder / "gone.py").write_text("x = 1\n")
    project.write(test_gone="import gone, os\ndef test_gone(): os.unlink(gone.__file__)\n")
    output = project.pytest("--hitlog", "--hitlog-report=term", "-W", "error")
    assert "TOTAL" in output


def test_nothing_recorded_fulfils_no_requirement(project: Suite) -> None:
    (project.folder / ".hitlog").write_text("a file is in the way")
    output = project.pytest("--hitlog", "--hitlog-fail-under=1", "--hitlog-report=term", status=1)
    assert "nothing was recorded" in output
    assert "no report was made" in output
