"""``--hitlog-report`` and ``--hitlog-fail-under``: coverage.py's own reporters on the result of a run.

coverage.py is optional, and loaded after the tests only. Its configuration holds as in ``coverage
report``: precision, exclude_lines, skip_covered, ``[paths]`` and all others.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import io
import os
import warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, NamedTuple

    from coverage import Coverage

    class Report(NamedTuple):
        """A report that is asked for: its kind, and ``skip-covered`` or the path behind the colon."""

        kind: str
        rest: str | None
else:
    from collections import namedtuple

    Report = namedtuple("Report", "kind rest")

IN_TERMINAL = ("term", "term-missing")
IN_FILES = ("html", "xml", "json", "lcov")
SKIP_COVERED = "skip-covered"
# The first version that reads what the compactor writes, and makes all these reports.
_OLDEST = 7


def parse(text: str) -> Report:
    """Read one value of ``--hitlog-report``.

    >>> parse("html:build/coverage")
    Report(kind='html', rest='build/coverage')
    >>> parse("term-missing:skip-covered")
    Report(kind='term-missing', rest='skip-covered')
    """
    kind, colon, rest = text.partition(":")
    if kind not in (*IN_TERMINAL, *IN_FILES):
        kinds = ", ".join((*IN_TERMINAL, *IN_FILES))
        raise argparse.ArgumentTypeError(f"{text!r}: there is no such report; choose from {kinds}")
    if kind in IN_TERMINAL and colon and rest != SKIP_COVERED:
        raise argparse.ArgumentTypeError(
            f"{text!r}: {kind} goes to the terminal; it may be followed by :{SKIP_COVERED}"
        )
    if colon and not rest:
        raise argparse.ArgumentTypeError(f"{text!r}: a path is missing behind the colon")
    return Report(kind, rest or None)


def percentage(text: str) -> float:
    """Read the value of ``--hitlog-fail-under``.

    >>> percentage("87.5")
    87.5
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 100")
    return value


def explain_missing() -> str | None:
    """Tell why no report can be made here; None if nothing is known to be in the way."""
    try:
        version = importlib.metadata.version("coverage")
    except importlib.metadata.PackageNotFoundError:
        found = "it is not installed"
    else:
        if not version.partition(".")[0].isdigit() or int(version.partition(".")[0]) >= _OLDEST:
            return None
        found = f"version {version} is too old"
    return (
        f"--hitlog-report and --hitlog-fail-under need coverage.py {_OLDEST} or later, and {found}. "
        "Install it (pip install 'hitlog[report]') or leave these options out"
    )


class Reports:
    """The reports that are asked for, and the coverage that is required."""

    def __init__(self, wanted: list[Report], fail_under: float | None) -> None:
        """Take what is asked for; nothing happens before :meth:`make`."""
        self._wanted = wanted
        self._fail_under = fail_under
        # Whether the run must count as failed although all tests passed.
        self.has_failed = False

    def __bool__(self) -> bool:
        """Whether anything is asked for."""
        return bool(self._wanted) or self._fail_under is not None

    def refuse(self, write: Callable[[str], None]) -> None:
        """Without a result no report is made, and no requirement is fulfilled."""
        write("no report was made: there is no result to make it of")
        self.has_failed = self._fail_under is not None

    def make(self, data_file: str, write: Callable[[str], None]) -> None:
        """Make the reports of ``data_file``; ``write`` gets the text for the terminal.

        What prevents a report becomes a sentence there. Required coverage that is not reached, or
        cannot be known, sets :attr:`has_failed`.
        """
        from coverage import Coverage
        from coverage.exceptions import ConfigError, CoverageException

        try:
            # Warnings that are errors for the tests are none here.
            with warnings.catch_warnings():
                warnings.simplefilter("default")
                coverage = Coverage(data_file=data_file)
                coverage.load()
                self._check(coverage, self._make_all(coverage, write), write)
        except (ConfigError, CoverageException, OSError) as error:
            write(f"a report could not be made: {error}\n")
            self.has_failed = self.has_failed or self._fail_under is not None

    def _make_all(self, coverage: Coverage, write: Callable[[str], None]) -> list[float]:
        totals = []
        for report in self._wanted:
            try:
                totals.append(_make(coverage, report, write))
            except OSError as error:
                # The others can be made all the same.
                write(
                    f"the {report.kind} report could not be made: {error}. "
                    f"Choose another place for it (--hitlog-report={report.kind}:PATH)\n"
                )
        return totals

    def _check(self, coverage: Coverage, totals: list[float], write: Callable[[str], None]) -> None:
        required = self._fail_under
        if required is None:
            required = float(coverage.config.fail_under)
        if not required:
            return
        from coverage.results import should_fail_under

        total = totals[0] if totals else coverage.report(file=io.StringIO(), ignore_errors=True)
        self.has_failed = should_fail_under(total, required, coverage.config.precision)
        result = "not reached" if self.has_failed else "reached"
        write(
            f"{'FAIL ' if self.has_failed else ''}Required test coverage of {required:g}% {result}. "
            f"Total coverage: {total:.2f}%\n"
        )


def _make(coverage: Coverage, report: Report, write: Callable[[str], None]) -> float:
    """Make one report and return the total in percent."""
    if report.kind in IN_TERMINAL:
        text = io.StringIO()
        total = coverage.report(
            file=text,
            ignore_errors=True,
            show_missing=report.kind == "term-missing" or None,
            skip_covered=report.rest == SKIP_COVERED or None,
        )
        write(text.getvalue())
        return total
    if report.rest:
        folder = os.path.dirname(os.path.abspath(report.rest))
        os.makedirs(folder, exist_ok=True)
    if report.kind == "html":
        total = coverage.html_report(directory=report.rest, ignore_errors=True)
        made = os.path.join(report.rest or coverage.config.html_dir, "index.html")
    elif report.kind == "xml":
        total = coverage.xml_report(outfile=report.rest, ignore_errors=True)
        made = report.rest or coverage.config.xml_output
    elif report.kind == "json":
        total = coverage.json_report(outfile=report.rest, ignore_errors=True)
        made = report.rest or coverage.config.json_output
    else:
        total = coverage.lcov_report(outfile=report.rest, ignore_errors=True)
        made = report.rest or coverage.config.lcov_output
    write(f"{report.kind} report: {made}\n")
    return total
