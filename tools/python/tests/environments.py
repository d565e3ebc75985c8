"""The environment of a test's processes, and virtual environments with the plugins of others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

# Kept beside the packages under test, and made again when that environment is.
ENVIRONMENTS = Path(sys.prefix) / "test-environments"


def clean_environment(**more: str) -> dict[str, str]:
    """The environment without anything that a run or another tool put there."""
    others = ("HITLOG", "COVERAGE", "COV_", "PYTEST", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    return {**kept, **more}


def run_unrecorded(folder: Path, *arguments: str) -> str:
    """What Python prints in a folder, without a run that would record it."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def python_with(name: str, *requirements: str) -> str:
    """A Python with hitlog and these packages from PyPI; skips the test where pip cannot get them."""
    folder = ENVIRONMENTS / name
    stamp = folder / "installed"
    python = folder / "bin" / "python"
    wanted = "\n".join(requirements)
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, symlinks=True)
        _install(python, requirements)
        stamp.write_text(wanted)
    _copy_hitlog(
        Path(sysconfig.get_path("platlib", vars={"base": str(folder), "platbase": str(folder)}))
    )
    return str(python)


def _install(python: Path, requirements: tuple[str, ...]) -> None:
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    # What a test imports is compiled then; most of Django is not.
    command = [*pip, "--disable-pip-version-check", "--no-compile", *requirements]
    done = subprocess.run(command, capture_output=True, text=True, env=clean_environment())
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        pytest.skip(f"pip cannot install {' '.join(requirements)} for this Python: {last}")


def _copy_hitlog(target: Path) -> None:
    source = Path(sysconfig.get_path("platlib"))
    for path in (*source.glob("hitlog*"), *source.glob("_hitlog*")):
        copy = target / path.name
        if path.is_dir():
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(path, copy)
        else:
            shutil.copyfile(path, copy)
