"""``pytest --hitlog-affected``: runs the tests that the tree's changes concern, and no others.

What tests depend on beside the code that they run - configuration, packages, Python - is written down
at the end of each recorded run (``tests.json``), with how each test ended. What is affected is decided
once, before anything is collected, by the process that began the run; workers of pytest-xdist are told.
The recording is read then, and written when all tests are over: while they run nobody has it open.
"""

from __future__ import annotations

import json
import os
import sys
import sysconfig
import time

import pytest

from . import _configuration, _native
from ._run import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# Where pytest looks for its configuration; that such a file appears matters, too.
_CONFIGURATIONS = (
    "pytest.ini",
    ".pytest.ini",
    "pytest.toml",
    ".pytest.toml",
    "pyproject.toml",
    "tox.ini",
    "setup.cfg",
)
_INSTALLED = ("site-packages", "dist-packages")
# Which process is pytest's first one in a run: its descendants may run a pytest of their own.
_OWNER = "HITLOG_PYTEST"
# What a worker tells of its tests.
_ANSWER, _FILES, _COLLECTED = "hitlog_affected", "hitlog_files", "hitlog_collected"


def register(config: pytest.Config, answer: dict[str, Any] | None) -> None:
    """Follow the tests of this recorded process, and select those of ``answer``, if there is one."""
    if answer is not None and answer["root"] not in (None, os.path.realpath(config.rootpath)):
        answer = _everything(answer)
    workerinput = getattr(config, "workerinput", None)
    if workerinput is not None:
        config.pluginmanager.register(WorkerTests(config, workerinput), "hitlog-tests")
        answer = workerinput.get(_ANSWER)
    elif os.environ.setdefault(_OWNER, str(os.getpid())) == str(os.getpid()):
        config.pluginmanager.register(Tests(config, answer), "hitlog-tests")
    if answer is not None:
        config.pluginmanager.register(Selected(answer), "hitlog-affected")


def ask(database: str) -> dict[str, Any]:
    """Tell which tests are affected. Raises RuntimeError with a sentence."""
    answer: dict[str, Any] = json.loads(_native.affected(database, sys.version))
    return answer


def _everything(answer: dict[str, Any]) -> dict[str, Any]:
    """Select all tests: another tree was compared, as with a recording that was copied."""
    others = [{"test": test, "duration_ns": duration} for test, duration in answer["others"].items()]
    return {**answer, "tests": [*answer["tests"], *others], "others": {}}


def update(directory: str, database: str) -> tuple[str, bool]:
    """Put the run of affected tests into the recording, as ``_native.compact`` would into a file."""
    with open(os.path.join(directory, "tests.json"), encoding="utf-8") as file:
        tests = json.load(file)
    if not tests["outcomes"]:
        # The sources that ran are still those of the recording.
        return f"no test ran, {database} stays as it was", False
    return _native.update(directory, database, tests["affected"], tests["collected"])


class Selected:
    """Leaves only affected and unknown tests, the fastest files first."""

    def __init__(self, answer: dict[str, Any]) -> None:
        """Take the answer of :func:`ask`."""
        self._affected = {test["test"]: test["duration_ns"] or 0 for test in answer["tests"]}
        self._others: dict[str, int] = answer["others"]

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Select. Tests of one file stay together and in order: they may share costly fixtures."""
        selected = [item for item in items if not self._is_known_to_pass(item)]
        deselected = [item for item in items if self._is_known_to_pass(item)]
        durations: dict[str, int] = {}
        for item in selected:
            name = _file_of(item)
            durations[name] = durations.get(name, 0) + self._affected.get(item.nodeid, 0)
        selected.sort(key=lambda item: (durations[_file_of(item)], _file_of(item)))
        items[:] = selected
        if deselected:
            config.hook.pytest_deselected(items=deselected)

    def _is_known_to_pass(self, item: pytest.Item) -> bool:
        return item.nodeid in self._others

    def pytest_report_header(self) -> str:
        """Say how many there are."""
        total = len(self._affected) + len(self._others)
        seconds = sum(self._affected.values()) / 1e9
        return f"hitlog: {len(self._affected):,} of {total:,} tests are affected, about {seconds:.1f} s"

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Make it no failure that no test is affected."""
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and self._others:
            session.exitstatus = pytest.ExitCode.OK


class WorkerTests:
    """Hands what the tests of a worker of pytest-xdist depend on to the process that started it."""

    def __init__(self, config: pytest.Config, workerinput: dict[str, Any]) -> None:
        """Take what the worker was given."""
        self._config = config
        self._begin_ns = time.time_ns()
        self._is_first = workerinput.get("workerid") == "gw0"
        self._collected: list[str] = []
        self._texts: set[str] = set()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Note all tests, before any is left out. All workers find the same."""
        self._collected = [item.nodeid for item in items]
        self._texts = _text_files(items)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Hand over."""
        output: dict[str, Any] = self._config.workeroutput  # type: ignore[attr-defined]
        output[_FILES] = sorted(_project_files(self._config, self._begin_ns) | self._texts)
        if self._is_first:
            output[_COLLECTED] = self._collected


class Tests:
    """Writes how the tests of a run ended, and what else they depend on."""

    def __init__(self, config: pytest.Config, answer: dict[str, Any] | None) -> None:
        """Take what was selected, if that was asked for."""
        self._config = config
        self._answer = answer
        self._directory = os.environ.get("HITLOG_RUN")
        self._begin_ns = time.time_ns()
        self._files: set[str] = set()
        self._texts: set[str] = set()
        self._collected: list[str] = []
        self._outcomes: dict[str, str] = {}

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:  # noqa: ANN401 - of pytest-xdist
        """Tell a worker what is affected."""
        if self._answer is not None:
            node.workerinput[_ANSWER] = self._answer

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:  # noqa: ANN401 - of pytest-xdist
        """Take over what a worker tells."""
        output = getattr(node, "workeroutput", None) or {}
        self._files.update(output.get(_FILES, ()))
        self._collected = output.get(_COLLECTED) or self._collected

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Note all tests, before any is left out, and the files they are in that are not Python's."""
        self._collected = [item.nodeid for item in items]
        self._texts = _text_files(items)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how a phase of a test ended. Only one that ended after all phases has passed."""
        test, before = report.nodeid, self._outcomes.get(report.nodeid, "pending")
        if report.failed or before == "failed":
            self._outcomes[test] = "failed"
        elif report.skipped:
            self._outcomes[test] = "xfailed" if hasattr(report, "wasxfail") else "skipped"
        elif report.when == "call" and report.passed:
            self._outcomes[test] = "called"
        elif report.when == "teardown" and before == "called":
            self._outcomes[test] = "passed"
        else:
            self._outcomes.setdefault(test, "pending")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Write ``tests.json`` into the run directory, for the compactor."""
        if self._directory is None or not os.path.isdir(self._directory):
            return
        outcomes = {test: "pending" if end == "called" else end for test, end in self._outcomes.items()}
        text = _json(
            {
                "outcomes": outcomes,
                "collected": self._collected if self._is_all_collected() else [],
                "affected": [test["test"] for test in (self._answer or {}).get("tests", ())],
                "surroundings": self._surroundings(),
            }
        )
        path = os.path.join(self._directory, "tests.json")
        with open(f"{path}.part", "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        os.replace(f"{path}.part", path)

    def pytest_unconfigure(self) -> None:
        """Leave the environment as it was."""
        os.environ.pop(_OWNER, None)

    def _is_all_collected(self) -> bool:
        """Whether a test that was not found in its file is not there."""
        names_tests = any("::" in argument for argument in self._config.args)
        return not names_tests and not getattr(self._config.option, "lf", False)

    def _surroundings(self) -> dict[str, Any]:
        root = os.path.realpath(self._config.rootpath)
        paths = {os.path.join(root, name) for name in _CONFIGURATIONS}
        paths.add(os.path.join(sys.prefix, "pyvenv.cfg"))
        if self._config.inipath:
            paths.add(os.path.realpath(self._config.inipath))
        paths |= self._files | self._texts | _project_files(self._config, self._begin_ns)
        paths |= _loaded_by_children(self._directory or "")
        request = {
            "root": root,
            "interpreter": sys.executable,
            "python": sys.version,
            "paths": sorted(paths),
            "packages": sorted({path for path in sys.path if path.endswith(_INSTALLED)}),
            "data": _configuration.data_patterns(os.getcwd()),
        }
        surroundings: dict[str, Any] = json.loads(_native.look(_json(request), self._begin_ns))
        return surroundings


def _json(value: object) -> str:
    """Write ``value`` as JSON; names that are no text as the recording writes them."""
    return json.dumps(_printable(value))


def _printable(value: object) -> object:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(key): _printable(item) for key, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, (list, tuple)) else value


def _project_files(config: pytest.Config, begin_ns: int) -> set[str]:
    """All Python files that this process loaded, measured or not, but those that were installed.

    Outside of pytest's root, those that were made since ``begin_ns`` are the tests' own.
    """
    root = os.path.join(os.path.realpath(config.rootpath), "")
    modules: Iterable[object] = [*sys.modules.values(), *config.pluginmanager.get_plugins()]
    names = {getattr(module, "__file__", None) for module in modules}
    paths = {os.path.realpath(name) for name in names if isinstance(name, str) and name.endswith(".py")}
    folders = {sys.prefix} if sys.prefix != sys.base_prefix else set()
    folders.update(sysconfig.get_path(name) for name in ("stdlib", "platstdlib"))
    installed = tuple(os.path.join(os.path.realpath(folder), "") for folder in folders)
    paths = {path for path in paths if not _is_installed(path, installed)}
    return {path for path in paths if path.startswith(root) or _is_older(path, begin_ns)}


def _text_files(items: list[pytest.Item]) -> set[str]:
    """Find the files with tests that Python does not load, such as texts with doctests."""
    # Before pytest 7 an item had no `path`.
    return {
        path for path in (os.path.realpath(str(item.fspath)) for item in items) if path[-3:] != ".py"
    }


def _loaded_by_children(directory: str) -> set[str]:
    """Find what any process of the run wrote down of the files that are not measured."""
    paths: set[str] = set()
    for entry in os.scandir(directory) if directory else ():
        if entry.name.startswith("loaded-"):
            with open(entry.path, "rb") as file:
                # What was cut short by a full disk does not end with NUL.
                paths.update(os.fsdecode(path) for path in file.read().split(b"\0")[:-1])
    return paths


def _is_older(path: str, time_ns: int) -> bool:
    try:
        return os.stat(path).st_ctime_ns < time_ns
    except OSError:
        return False


def _is_installed(path: str, folders: tuple[str, ...]) -> bool:
    return path.startswith(folders) or any(f"/{name}/" in path for name in _INSTALLED)


def _file_of(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]
