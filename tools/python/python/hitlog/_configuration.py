"""What shall be measured in a run, resolved once by its first Python process.

``[tool.hitlog]`` of pyproject.toml in the directory of the run comes first; without that table the file
that coverage.py would read: ``COVERAGE_RCFILE``, .coveragerc, setup.cfg, tox.ini or pyproject.toml.
What ``hitlog run`` or pytest was told on the command line (``run.json``) replaces ``source``.

``config.json``, which the other processes read, holds each path and pattern as text with one character
for each byte of it, so that names that are no UTF-8 get through; so do ``cwd_bytes`` and
``source_bytes`` of run.json, which come before ``cwd`` and ``source``.
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
# All settings that say what is recorded.
_OWN = (*_LISTS, "branch", "context")
# The setting of [tool.hitlog] that names what tests read.
_DATA = "data"
_Settings = dict[str, list[str]]
# What coverage.py takes for yes.
_YES = ("1", "yes", "true", "on")


def publish(run_directory: str) -> dict[str, Any]:
    """Write config.json of the run, unless another process is faster, and return what it says.

    Raises OSError or ValueError.
    """
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
    return configuration


def resolve(run: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the settings for ``run`` (the contents of run.json) into what the recorder reads."""
    here = _from_one_byte_text(run["cwd_bytes"]) if run.get("cwd_bytes") else run.get("cwd")
    directory = os.path.realpath(here or os.getcwd())
    settings = _settings(directory)
    branch = bool(run.get("branch") or settings.pop("branch"))
    sources = [_from_one_byte_text(text) for text in run.get("source_bytes") or []] or run.get("source")
    if sources:
        settings["source"], settings["source_pkgs"] = list(sources), []
    directories, packages = [], list(settings["source_pkgs"])
    for source in settings["source"]:
        path = os.path.join(directory, source)
        if os.path.exists(path) or os.sep in source:
            directories.append(os.path.realpath(path))
        else:
            packages.append(source)
    return {
        "version": 1,
        "branch": branch,
        "context": one_byte_text("".join(settings["context"])),
        "directory": one_byte_text(directory),
        "source_directories": [one_byte_text(path) for path in directories],
        "source_packages": packages,
        "include": _patterns(settings["include"], directory),
        "omit": _patterns(settings["omit"], directory),
    }


def data_patterns(directory: str) -> list[str]:
    """Patterns of the files with data that tests read, as ``data`` of [tool.hitlog] names them."""
    path = os.path.join(directory, "pyproject.toml")
    tools = _table(path, _read_toml(path), "tool")
    patterns = _table(path, tools, "hitlog").get(_DATA, [])
    if not isinstance(patterns, list) or not all(isinstance(text, str) for text in patterns):
        raise ValueError(f"{path}: {_DATA} of [tool.hitlog] is not a list of strings; correct the file")
    return patterns


def _read_json(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            contents = json.load(file)
    except FileNotFoundError:
        return {}
    if not isinstance(contents, dict):
        raise ValueError(f"{path}: not an object; begin the run again")
    return contents


def _settings(directory: str) -> _Settings:
    path = os.path.join(directory, "pyproject.toml")
    project = _read_toml(path)
    tools = _table(path, project, "tool")
    if "hitlog" in tools:
        table = _table(path, tools, "hitlog")
        for key in table:
            if key not in (*_OWN, _DATA):
                known = ", ".join((*_OWN, _DATA))
                raise ValueError(f"{path}: {key} is no setting of [tool.hitlog]; there are {known}")
        if set(table) != {_DATA}:
            return _from_table(path, "tool.hitlog", table)
    chosen = os.environ.get("COVERAGE_RCFILE")
    if chosen:
        chosen = os.path.join(directory, os.path.expanduser(chosen))
        if not os.access(chosen, os.R_OK):
            raise ValueError(f"{chosen}: no file that can be read; correct or unset COVERAGE_RCFILE")
        return _from_file(chosen) or _nothing()
    for name in (".coveragerc", "setup.cfg", "tox.ini", "pyproject.toml", ".coveragerc.toml"):
        found = _from_file(os.path.join(directory, name))
        if found is not None:
            return found
    return _nothing()


def _nothing() -> _Settings:
    return {key: [] for key in _OWN}


def _from_file(path: str) -> _Settings | None:
    """Read coverage.py's settings; None if the file is missing or has none."""
    if path.endswith(".toml"):
        contents = _read_toml(path)
        tools, name = _table(path, contents, "tool"), "tool.coverage.run"
        if "coverage" in tools:
            table = _table(path, tools, "coverage")
        elif path.endswith(".coveragerc.toml") and contents:
            table, name = contents, "run"
        else:
            return None
        return _from_table(path, name, _table(path, table, "run"))
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
    try:
        table: dict[str, Any] = tomllib.loads(contents.decode("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}; correct the file") from error
    return table


def _table(path: str, table: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise ValueError(f"{path}: {key} is not a table; correct the file")
    return value


def _from_table(path: str, name: str, table: Mapping[str, Any]) -> _Settings:
    settings: _Settings = {}
    for key in _LISTS:
        value = table.get(key, [])
        values = re.split(r"[,\n]", value) if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(text, str) for text in values):
            raise ValueError(f"{path}: {key} of [{name}] is not a list of strings; correct the file")
        settings[key] = [_substituted(text) for text in values if text.strip()]
    branch = str(table.get("branch", "")).strip().lower()
    settings["branch"] = [branch] if branch in _YES else []
    context = table.get("context", "")
    if not isinstance(context, str):
        raise ValueError(f"{path}: context of [{name}] is not a string; correct the file")
    settings["context"] = [_with_variables(context)] if context else []
    return settings


def _from_ini(path: str) -> _Settings | None:
    import configparser

    parser = configparser.ConfigParser(interpolation=None)
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
    except OSError:
        return None
    except (configparser.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}; correct the file") from error
    own_file = not path.endswith(("setup.cfg", "tox.ini"))
    for section in ("coverage:run", "run"):
        if parser.has_section(section) and (own_file or section != "run"):
            return _from_table(path, section, dict(parser.items(section)))
    has_others = any(name.startswith("coverage:") for name in parser.sections())
    return _nothing() if own_file or has_others else None


# coverage.py's: $NAME, ${NAME}, ${NAME?}, ${NAME-default}, and $$ for a dollar.
_VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<plain>\w+)|\{(?P<braced>\w+)(?:(?P<strict>\?)|-(?P<default>[^}]*))?\})"
)


def _substituted(text: str) -> str:
    return os.path.expanduser(_with_variables(text.strip()))


def _with_variables(text: str) -> str:
    def value(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        name = match["plain"] or match["braced"]
        if match["strict"] and name not in os.environ:
            raise ValueError(f"the configuration needs the environment variable {name}; set it")
        return os.environ.get(name, match["default"] or "")

    return _VARIABLE.sub(value, text)


def source_directories(configuration: Mapping[str, Any]) -> list[str]:
    """Return the directories and files that a resolved configuration wants to be measured."""
    return [_from_one_byte_text(text) for text in configuration.get("source_directories", [])]


def source_packages(configuration: Mapping[str, Any]) -> list[str]:
    """Return the packages that a resolved configuration wants to be measured."""
    return list(configuration.get("source_packages", []))


def _patterns(patterns: list[str], directory: str) -> list[str]:
    prepared = []
    for pattern in patterns:
        prepared.append(one_byte_text(pattern))
        if not pattern.startswith(("*", "?")):
            prepared.append(one_byte_text(os.path.realpath(os.path.join(directory, pattern))))
    return prepared


def one_byte_text(path: str) -> str:
    """Write the bytes of a path as text with one character for each."""
    return os.fsencode(path).decode("latin-1")


def _from_one_byte_text(text: str) -> str:
    return os.fsdecode(text.encode("latin-1"))
