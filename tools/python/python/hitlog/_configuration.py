"""What shall be measured in a run, resolved once by its first Python process.

``[tool.hitlog]`` of pyproject.toml in the directory of the run comes first; without that table the file
that coverage.py would read: ``COVERAGE_RCFILE``, .coveragerc, setup.cfg, tox.ini or pyproject.toml.
What ``hitlog run`` or pytest was told on the command line (``run.json``) replaces ``source``.

``config.json``, which the other processes read, holds each path and pattern as text with one character
for each byte of it, so that names that are no UTF-8 get through.
"""

from __future__ import annotations

import json
import os
import re
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# The settings of ours and of coverage.py's that say what is measured.
_LISTS = ("source", "source_pkgs", "include", "omit")
_Settings = dict[str, list[str]]
# What coverage.py takes for yes.
_YES = ("1", "yes", "true", "on")


def publish(run_directory: str) -> None:
    """Write config.json of the run, unless another process is faster. Raises OSError or ValueError."""
    run = _read_json(os.path.join(run_directory, "run.json"))
    configuration = resolve(run)
    final = os.path.join(run_directory, "config.json")
    # Not an ending that anybody looks for, and of no other process.
    temporary = f"{final}.{os.getpid()}"
    with open(temporary, "w", encoding="ascii") as file:
        json.dump(configuration, file, indent=1)
    try:
        os.link(temporary, final)
    except FileExistsError:
        pass
    finally:
        os.unlink(temporary)


def resolve(run: Mapping[str, Any]) -> dict[str, object]:
    """Turn the settings for ``run`` (the contents of run.json) into what the recorder reads."""
    directory = os.path.realpath(run.get("cwd") or os.getcwd())
    table = _table(directory)
    settings = _lists(table)
    if run.get("source"):
        settings["source"], settings["source_pkgs"] = list(run["source"]), []
    directories, packages = [], list(settings["source_pkgs"])
    for source in settings["source"]:
        path = os.path.join(directory, source)
        if os.path.exists(path) or os.sep in source:
            directories.append(os.path.realpath(path))
        else:
            packages.append(source)
    return {
        "version": 1,
        "branch": bool(run.get("branch")) or str(table.get("branch", "")).lower() in _YES,
        "directory": _one_byte_text(directory),
        "source_directories": [_one_byte_text(path) for path in directories],
        "source_packages": packages,
        "include": _patterns(settings["include"], directory),
        "omit": _patterns(settings["omit"], directory),
    }


def _read_json(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            contents = json.load(file)
    except FileNotFoundError:
        return {}
    if not isinstance(contents, dict):
        raise ValueError(f"{path}: not an object; begin the run again")
    return contents


def _table(directory: str) -> Mapping[str, Any]:
    """Find the settings of the project in `directory`, ours or coverage.py's."""
    project = _read_toml(os.path.join(directory, "pyproject.toml"))
    ours = project.get("tool", {}).get("hitlog")
    if isinstance(ours, dict):
        return ours
    chosen = os.environ.get("COVERAGE_RCFILE")
    if chosen:
        return _from_file(os.path.join(directory, os.path.expanduser(chosen))) or {}
    for name in (".coveragerc", "setup.cfg", "tox.ini", "pyproject.toml", ".coveragerc.toml"):
        found = _from_file(os.path.join(directory, name))
        if found is not None:
            return found
    return {}


def _from_file(path: str) -> Mapping[str, Any] | None:
    """Read coverage.py's settings; None if the file is missing or has none."""
    if path.endswith(".toml"):
        contents = _read_toml(path)
        table = contents.get("tool", {}).get("coverage")
        if table is None and path.endswith(".coveragerc.toml") and contents:
            table = contents
        return None if table is None else table.get("run", {})
    return _from_ini(path)


def _read_toml(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            contents = file.read()
    except OSError:
        return {}
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]
    table: dict[str, Any] = tomllib.loads(contents.decode("utf-8"))
    return table


def _lists(table: Mapping[str, Any]) -> _Settings:
    settings: _Settings = {}
    for key in _LISTS:
        value = table.get(key, [])
        values = re.split(r"[,\n]", value) if isinstance(value, str) else value
        settings[key] = [_substituted(text) for text in values if text.strip()]
    return settings


def _from_ini(path: str) -> Mapping[str, Any] | None:
    import configparser

    parser = configparser.ConfigParser(interpolation=None)
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
    except OSError:
        return None
    own_file = not path.endswith(("setup.cfg", "tox.ini"))
    for section in ("coverage:run", "run"):
        if parser.has_section(section) and (own_file or section != "run"):
            return dict(parser.items(section))
    has_others = any(name.startswith("coverage:") for name in parser.sections())
    return {} if own_file or has_others else None


# coverage.py's: $NAME, ${NAME}, ${NAME?}, ${NAME-default}, and $$ for a dollar.
_VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<plain>\w+)|\{(?P<braced>\w+)(?:(?P<strict>\?)|-(?P<default>[^}]*))?\})"
)


def _substituted(text: str) -> str:
    def value(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        name = match["plain"] or match["braced"]
        if match["strict"] and name not in os.environ:
            raise ValueError(f"the configuration needs the environment variable {name}; set it")
        return os.environ.get(name, match["default"] or "")

    return os.path.expanduser(_VARIABLE.sub(value, text.strip()))


def _patterns(patterns: list[str], directory: str) -> list[str]:
    prepared = []
    for pattern in patterns:
        prepared.append(_one_byte_text(pattern))
        if not pattern.startswith(("*", "?")):
            prepared.append(_one_byte_text(os.path.realpath(os.path.join(directory, pattern))))
    return prepared


def _one_byte_text(path: str) -> str:
    return os.fsencode(path).decode("latin-1")
