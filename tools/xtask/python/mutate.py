"""Changes single lines of a project, and checks that every test that then fails counts as affected.

usage: mutate.py PROJECT --package FOLDER --count N --seed N --hitlog COMMAND --results FILE
                 [--testmon PYTHON]

Two recordings are made once: of the usual run, and of one in which each test has a process of its own
(`--hitlog-isolate`). For each change (a constant, an operator, a condition, a deleted statement,
a statement that raises) the whole suite runs without any recording, and what no longer passes is
compared with the answers of `hitlog affected`, and with the selection of pytest-testmon where that is
given. Where all of them select all tests, none can be missed, and the suite does not run. Changes with
which it does not end are passed over. Results are kept, so that a run that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
HANG_GUARD = 180.0
# The recordings that are asked, by what they are called in the results.
RECORDINGS = {"hitlog": "hitlog.db", "isolated": "isolated.db"}
COMPARISONS = {
    "==": "!=",
    "!=": "==",
    "<": "<=",
    "<=": "<",
    ">": ">=",
    ">=": ">",
    " is ": " is not ",
    " in ": " not in ",
}
CALCULATIONS = {" + ": " - ", " - ": " + ", " * ": " + ", " and ": " or ", " or ": " and "}


@dataclass(frozen=True)
class Mutation:
    """Another text for some lines of a file."""

    path: str
    first: int
    last: int
    kind: str
    text: str

    def apply(self, project: Path) -> str:
        """Change the file and return what it was."""
        file = project / self.path
        before = file.read_text(encoding="utf-8")
        lines = before.splitlines(keepends=True)
        lines[self.first - 1 : self.last] = [self.text]
        file.write_text("".join(lines), encoding="utf-8")
        return before


def mutations(project: Path, package: str) -> list[Mutation]:
    """All changes that can be made in a package."""
    found: list[Mutation] = []
    for file in sorted((project / package).rglob("*.py")):
        source = file.read_text(encoding="utf-8")
        path, lines = str(file.relative_to(project)), source.splitlines(keepends=True)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.stmt) and node.end_lineno is not None:
                found += _of_statement(path, lines, node)
            elif isinstance(node, ast.Constant) and node.lineno == node.end_lineno:
                found += _of_constant(path, lines, node)
    return sorted(set(found), key=lambda change: (change.path, change.first, change.kind, change.text))


def _of_statement(path: str, lines: list[str], node: ast.stmt) -> list[Mutation]:
    line, indent = lines[node.lineno - 1], " " * node.col_offset
    if line[: node.col_offset].strip() or isinstance(node, (ast.ImportFrom, ast.Import)):
        return []
    last = node.end_lineno or node.lineno
    found = [Mutation(path, node.lineno, node.lineno, "raise", f"{indent}raise RuntimeError\n{line}")]
    if isinstance(node, (ast.Assign, ast.AugAssign, ast.Return, ast.Raise, ast.Expr)) and not _is_text(
        node
    ):
        found.append(Mutation(path, node.lineno, last, "delete", f"{indent}pass\n"))
    if (
        isinstance(node, (ast.If, ast.While))
        and node.test.lineno == node.test.end_lineno == node.lineno
    ):
        start, end = node.test.col_offset, node.test.end_col_offset or 0
        raw = line.encode()
        text = (raw[:start] + b"not (" + raw[start:end] + b")" + raw[end:]).decode()
        found.append(Mutation(path, node.lineno, node.lineno, "condition", text))
    if last == node.lineno and not _is_text(node):
        for kind, table in (("comparison", COMPARISONS), ("operator", CALCULATIONS)):
            for old, new in table.items():
                if line.count(old) == 1:
                    found.append(Mutation(path, last, last, kind, line.replace(old, new)))
    return found


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _of_constant(path: str, lines: list[str], node: ast.Constant) -> list[Mutation]:
    raw = lines[node.lineno - 1].encode()
    start, end = node.col_offset, node.end_col_offset or 0
    value = node.value
    if isinstance(value, bool) or value is None:
        text = {True: "False", False: "True", None: "0"}[value]
    elif isinstance(value, int):
        text = str(value + 1)
    elif (
        isinstance(value, str)
        and raw[start : start + 1] in (b"'", b'"')
        and raw[end - 1 : end] in (b"'", b'"')
    ):
        text = repr(value + "x")
    else:
        return []
    changed = (raw[:start] + text.encode() + raw[end:]).decode()
    return [Mutation(path, node.lineno, node.lineno, "constant", changed)]


def is_python(mutation: Mutation, project: Path) -> bool:
    """Whether the file can still be compiled. What cannot is found by any editor."""
    before = mutation.apply(project)
    try:
        compile((project / mutation.path).read_text(encoding="utf-8"), mutation.path, "exec")
    except (SyntaxError, ValueError):
        return False
    finally:
        (project / mutation.path).write_text(before, encoding="utf-8")
    return True


@dataclass
class Suite:
    """A project's tests, under one interpreter."""

    project: Path
    python: str

    def pytest(self, *options: str, outcomes: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run pytest; TimeoutExpired if it does not end."""
        # No compiled files: a change within one second and of no more bytes would not be seen.
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        environment["PYTHONPATH"] = f"{self.project / 'src'}:{HERE}"
        if outcomes:
            environment["HITLOG_OUTCOMES"] = str(outcomes)
            options = ("-p", "mutate_outcomes", *options)
        # Warnings of a later pytest are no failures of the project.
        command = [
            self.python,
            "-m",
            "pytest",
            "-q",
            "--tb=no",
            "-o",
            "filterwarnings=default",
            *options,
        ]
        return subprocess.run(
            command,
            cwd=self.project,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=HANG_GUARD,
        )

    def passing(self, *tests: str, is_isolated: bool = False) -> set[str]:
        """Return which of the tests pass, of all if none are named."""
        outcomes = self.project / "outcomes.json"
        outcomes.unlink(missing_ok=True)
        way = ["--hitlog-isolate"] if is_isolated else ["-p", "no:hitlog"]
        self.pytest(*way, *tests, outcomes=outcomes)
        return set(json.loads(outcomes.read_text())) if outcomes.exists() else set()

    def testmon(self) -> set[str]:
        """Return the tests that pytest-testmon selects."""
        done = self.pytest("--testmon", "--testmon-nocollect", "--collect-only")
        return {line.strip() for line in done.stdout.splitlines() if "::" in line}


def affected(hitlog: list[str], project: Path, database: str) -> set[str]:
    """Return the tests that hitlog calls affected."""
    command = [*hitlog, "affected", "--json", "--db", database]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    return {test["test"] for test in json.loads(done.stdout)["tests"]}


def judge(
    mutation: Mutation, options: argparse.Namespace, suites: list[Suite], usual: set[str]
) -> dict[str, Any]:
    """Make one change and compare what fails with what was selected."""
    result: dict[str, Any] = {"kind": mutation.kind, "place": f"{mutation.path}:{mutation.first}"}
    before = [mutation.apply(suite.project) for suite in suites]
    try:
        answers = {
            name: affected(options.hitlog.split(), suites[0].project, database)
            for name, database in RECORDINGS.items()
        }
        if len(suites) > 1:
            answers["testmon"] = suites[1].testmon()
        # If all are selected, none can be missed.
        is_open = any(usual - selected for selected in answers.values())
        failing = usual - suites[0].passing() if is_open else set()
        result["failing"] = len(failing)
        for name, selected in answers.items():
            missed = failing - selected
            if name == "isolated" and missed:
                # Who runs tests alone does not see what a failure before them does to them.
                missed -= suites[0].passing(*sorted(missed), is_isolated=True)
            result[name] = len(selected & usual)
            result[f"{name}_missed"] = sorted(missed)
    except subprocess.TimeoutExpired:
        result["hangs"] = True
    finally:
        for suite, text in zip(suites, before):
            (suite.project / mutation.path).write_text(text, encoding="utf-8")
    return result


def timed(suite: Suite, *options: str) -> float:
    """How much processor time a command takes, in seconds."""
    before = os.times()
    suite.pytest(*options)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def summary(results: list[dict[str, Any]], total: int) -> str:
    """Make the lines that people read."""
    judged = [result for result in results if "hangs" not in result]
    failing = sum(result["failing"] > 0 for result in judged)
    lines = [f"{len(judged)} changes, {failing} of them seen to fail a test; {total} tests"]
    for name in (*RECORDINGS, "testmon"):
        of_tool = [result for result in judged if name in result]
        if of_tool:
            sizes = [result[name] / total for result in of_tool]
            tests = sum(len(result[f"{name}_missed"]) for result in of_tool)
            mean, median = statistics.mean(sizes), statistics.median(sizes)
            lines.append(
                f"{name}: {mean:.1%} of the tests selected (median {median:.1%}), {tests} missed"
            )
    return "\n".join(lines)


def main() -> int:
    """Do as the arguments say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("project", type=lambda text: Path(text).resolve())
    parser.add_argument("--package", required=True)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hitlog", required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--testmon")
    options = parser.parse_args()
    suites = [Suite(options.project, sys.executable)]
    if options.testmon:
        copy = options.project.with_name(options.project.name + "-testmon")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(options.project, copy)
        suites.append(Suite(copy, options.testmon))
        print(f"testmon records in {timed(suites[1], '--testmon'):.1f} s", flush=True)
        print(f"and without a change runs {timed(suites[1], '--testmon'):.1f} s", flush=True)
    for name, database in RECORDINGS.items():
        options_of = ["--hitlog", "--hitlog-output", database]
        options_of += ["--hitlog-isolate"] if name == "isolated" else []
        print(f"{name} records in {timed(suites[0], *options_of):.1f} s", flush=True)
        unchanged = ["--hitlog-affected", "--hitlog-output", database]
        print(f"and without a change runs {timed(suites[0], *unchanged):.1f} s", flush=True)
    print(f"without a recording the suite runs {timed(suites[0], '-p', 'no:hitlog'):.1f} s", flush=True)
    usual = suites[0].passing() & suites[0].passing()
    chosen = mutations(options.project, options.package)
    random.Random(options.seed).shuffle(chosen)
    results = _known(options.results)
    for mutation in chosen:
        if len(results) >= options.count:
            break
        place = f"{mutation.path}:{mutation.first}"
        if any(result["place"] == place for result in results) or not is_python(
            mutation, options.project
        ):
            continue
        results.append(judge(mutation, options, suites, usual))
        with options.results.open("a") as file:
            file.write(json.dumps(results[-1]) + "\n")
        print(json.dumps(results[-1])[:300], flush=True)
    print(summary(results, len(usual)))
    return int(any(result.get(f"{name}_missed") for result in results for name in RECORDINGS))


def _known(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    sys.exit(main())
