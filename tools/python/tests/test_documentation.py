"""What the documents say of options holds, and the examples in docstrings run."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from environments import clean_environment
from hitlog import _native

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "from-pytest-cov.md"


def words_of(*command: str) -> set[str]:
    """The long options in what a program says of itself."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        capture_output=True,
        text=True,
        env=clean_environment(),
        check=True,
    )
    return set(re.findall(r"--[a-z][a-z-]*[a-z]", done.stdout))


def page_words() -> set[str]:
    return set(re.findall(r"--[a-z][a-z-]*[a-z]", PAGE.read_text(encoding="utf-8")))


def test_every_option_of_pytest_cov_is_explained() -> None:
    theirs = {word for word in words_of("pytest", "--help") if re.match(r"--(no-)?cov\b", word)}
    assert len(theirs) > 8
    assert theirs - page_words() == set()


def test_every_option_of_coverage_run_is_explained() -> None:
    theirs = words_of("coverage", "run", "--help") - {"--help"}
    assert len(theirs) > 8
    assert theirs - page_words() == set()


def test_every_option_of_ours_that_is_named_is_there() -> None:
    named = {word for word in page_words() if word.startswith("--hitlog")}
    ours = {word for word in words_of("pytest", "--help") if word.startswith("--hitlog")}
    assert named <= ours
    assert {"--test-contexts", "--output", "--dir", "--context"} <= words_of("hitlog", "run", "--help")


def test_the_stub_is_that_of_the_extension_module() -> None:
    stub = ast.parse(Path(_native.__file__).with_name("_native.pyi").read_text(encoding="utf-8"))
    functions = {node.name: node for node in stub.body if isinstance(node, ast.FunctionDef)}
    assert set(functions) == {name for name in vars(_native) if not name.startswith("_")}
    for name, function in functions.items():
        real = getattr(_native, name)
        written = [argument.arg for argument in function.args.args]
        assert written == list(inspect.signature(real).parameters)
        optional = [p for p in inspect.signature(real).parameters.values() if p.default is not p.empty]
        assert len(function.args.defaults) == len(optional)
        assert real.__doc__


@pytest.mark.parametrize("name", ["hitlog", "hitlog._contexts", "hitlog._reports"])
def test_examples_in_docstrings(name: str) -> None:
    module = importlib.import_module(name)
    results = doctest.testmod(module)
    assert results.failed == 0
    assert results.attempted > 0
