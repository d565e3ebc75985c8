"""Which files are measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from conftest import Recording

IMPORTS = """
import sys, importlib
sys.path[:0] = ["src", "env/lib/python3/site-packages", "other"]
for name in ("inside", "package.module", "installed", "own.tool"):
    importlib.import_module(name)
sys.path.insert(0, "..")
import outside
import json.decoder
"""

FILES = {
    "src/inside.py",
    "src/package/__init__.py",
    "src/package/module.py",
    "env/lib/python3/site-packages/installed.py",
    "env/pyvenv.cfg",
    "env/script.py",
    "other/own/__init__.py",
    "other/own/tool.py",
    "../outside.py",
}


@pytest.fixture
def project(recording: Recording) -> Recording:
    for name in FILES:
        path = recording.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n")
    (recording.folder / "main.py").write_text(IMPORTS)
    return recording


def measured(recording: Recording, **run: object) -> set[str]:
    """The names of the files with lines, relative to the folder of the project."""
    recording.begin(**run)
    recording.python("main.py")
    return {os.path.relpath(file, recording.folder) for _, file, _ in recording.hits()}


MINE = {
    "main.py",
    "src/inside.py",
    "src/package/__init__.py",
    "src/package/module.py",
    "other/own/__init__.py",
    "other/own/tool.py",
}
PACKAGE = {"src/package/__init__.py", "src/package/module.py"}


def test_by_default_all_of_the_project_and_no_environment(project: Recording) -> None:
    assert measured(project) == MINE


def configure(project: Recording, name: str, text: str) -> None:
    (project.folder / name).write_text(textwrap.dedent(text))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pyproject.toml", '[tool.hitlog]\nsource = ["src/package"]\n'),
        ("pyproject.toml", '[tool.hitlog]\nsource = ["package"]\n'),
        ("pyproject.toml", '[tool.hitlog]\nsource_pkgs = ["package"]\n'),
        ("pyproject.toml", '[tool.hitlog]\ninclude = ["src/package/*"]\n'),
        ("pyproject.toml", '[tool.hitlog]\ninclude = ["*/package/*"]\n'),
        ("pyproject.toml", '[tool.hitlog]\ninclude = ["src/**/module.py", "**/package/__init__.py"]\n'),
        ("pyproject.toml", '[tool.hitlog]\nsource = ["src"]\nomit = ["inside.py"]\n'),
        ("pyproject.toml", '[tool.hitlog]\nomit = ["*/inside.py", "other/*", "main.py"]\n'),
        ("pyproject.toml", '[tool.coverage.run]\nsource = ["src/package"]\n'),
        (".coveragerc", "[run]\nsource = src/package\n"),
        (".coveragerc", "[run]\nsource =\n    src/package\n"),
        (".coveragerc", "[run]\ninclude = src/package/__init__.py, src/package/mod*\n"),
        (".coveragerc", "[run]\ninclude = src/package/[_m]*.py\n"),
        (".coveragerc", "[run]\nsource = ${NOWHERE-src}/package\n"),
        ("setup.cfg", "[coverage:run]\nsource = src/package\n"),
        ("tox.ini", "[coverage:run]\nsource_pkgs = package\n"),
    ],
)
def test_settings(project: Recording, name: str, text: str) -> None:
    configure(project, name, text)
    assert measured(project) == PACKAGE


def test_our_own_table_comes_before_coverages(project: Recording) -> None:
    configure(project, ".coveragerc", "[run]\nsource = nosuch\n")
    configure(project, "pyproject.toml", '[tool.hitlog]\nsource = ["src/package"]\n')
    assert measured(project) == PACKAGE


def test_other_sections_of_shared_files_do_not_count(project: Recording) -> None:
    configure(project, "setup.cfg", "[run]\nsource = nosuch\n[metadata]\nname = x\n")
    configure(project, "tox.ini", "[tox]\n[run]\nsource = nosuch\n")
    assert measured(project) == MINE


def test_the_command_line_comes_before_all_files(project: Recording) -> None:
    configure(project, "pyproject.toml", '[tool.hitlog]\nsource = ["other"]\n')
    assert measured(project, source=[str(project.folder / "src" / "package")]) == PACKAGE


def test_a_source_may_be_an_installed_package(project: Recording) -> None:
    found = measured(project, source=["installed"])
    assert found == {"env/lib/python3/site-packages/installed.py"}


def test_a_source_may_lie_outside(project: Recording) -> None:
    assert measured(project, source=[str(project.folder.parent / "outside.py")]) == {"../outside.py"}


def test_part_of_a_package_is_a_source_too(project: Recording) -> None:
    assert measured(project, source=["package.module"]) == {"src/package/module.py"}


def test_symbolic_links_are_followed(project: Recording) -> None:
    (project.folder / "link.py").symlink_to("src/inside.py")
    (project.folder / "linked").symlink_to("src/package")
    (project.folder / "main.py").write_text("import link, linked.module\n")
    assert measured(project) == {"main.py", "src/inside.py", *PACKAGE}


def test_the_working_directory_may_change(project: Recording) -> None:
    (project.folder / "main.py").write_text(
        "import os, sys\n"
        "sys.path.insert(0, '')\n"
        "os.chdir('src')\n"
        "import inside\n"
        "os.chdir('/')\n"
        "inside.x\n"
    )
    assert measured(project) == {"main.py", "src/inside.py"}


def test_names_that_are_no_files_are_not_measured(project: Recording) -> None:
    (project.folder / "main.py").write_text(
        "for name in ('<string>', '<template x>', '', '?'):\n    exec(compile('x = 1', name, 'exec'))\n"
    )
    assert measured(project) == {"main.py", "?"}


def test_names_that_are_not_utf_8(project: Recording) -> None:
    (project.folder / "main.py").write_text(
        "import os\n"
        "name = os.fsdecode(b'caf\\xe9.py')\n"
        "open(name, 'w').write('x = 1\\ny = 2\\n')\n"
        "exec(compile(open(name).read(), name, 'exec'))\n"
        "exec(compile('x = 1', 'lone\\udfff.py', 'exec'))\n"
    )
    assert measured(project) == {"main.py", "caf\udce9.py", "lone\udced\udcbf\udcbf.py"}


def test_a_file_in_an_archive(project: Recording) -> None:
    import zipfile

    with zipfile.ZipFile(project.folder / "code.zip", "w") as archive:
        archive.writestr("zipped.py", "x = 1\n")
    (project.folder / "main.py").write_text(
        "import sys\nsys.path.insert(0, 'code.zip')\nimport zipped\n"
    )
    assert measured(project) == {"main.py", "code.zip/zipped.py"}


def test_a_program_that_is_all_in_an_archive(recording: Recording) -> None:
    import zipfile

    files = {
        "__main__.py": "import package.part\nif package.part.work(0):\n    x = 1\n",
        "package/__init__.py": "from . import part\n",
        "package/part.py": "def work(n):\n    if n:\n        n = 1\n    return n\n",
    }
    archive = recording.folder / "program.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for name, text in files.items():
            packed.writestr(name, text)
    recording.python(archive)
    hits = {(path.replace(f"{archive}/", ""), line) for _, path, line in recording.hits()}
    main = {("__main__.py", 1), ("__main__.py", 2)}
    part = {("package/part.py", 1), ("package/part.py", 2), ("package/part.py", 4)}
    assert hits == main | part | {("package/__init__.py", 1)}


def test_the_configuration_is_resolved_once(project: Recording) -> None:
    configure(project, "pyproject.toml", '[tool.hitlog]\nsource = ["src/package"]\n')
    assert measured(project) == PACKAGE
    config = json.loads((project.directory / "config.json").read_text())
    assert config["source_directories"] == [str(project.folder / "src" / "package")]
    configure(project, "pyproject.toml", "not toml at all")
    project.python("main.py")
    assert {os.path.relpath(f, project.folder) for _, f, _ in project.hits()} == PACKAGE


def test_many_first_processes_agree(project: Recording) -> None:
    configure(project, "pyproject.toml", '[tool.hitlog]\nsource = ["src/package"]\n')
    project.begin()
    from conftest import clean_environment

    environment = clean_environment(HITLOG_RUN=str(project.directory), HITLOG_DEBUG="1")
    processes = [
        subprocess.Popen(
            [sys.executable, "main.py"], cwd=project.folder, env=environment, stderr=subprocess.PIPE
        )
        for _ in range(8)
    ]
    assert [process.communicate()[1] for process in processes] == [b""] * 8
    logs = project.logs()
    assert len(logs) == 8
    assert all(len(log.hits) == 2 for log in logs)
    left = {path.name for path in Path(project.directory).iterdir() if path.suffix != ".hitlog"}
    # Each names the program that it ran and that is not measured.
    loaded = {name for name in left if name.startswith("loaded-")}
    assert len(loaded) == 8
    assert left - loaded == {"run.json", "config.json"}
