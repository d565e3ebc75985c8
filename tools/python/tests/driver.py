"""Runs the cases of one program, each in a context of its own.

usage: driver.py TOOL PROGRAM [DATA FILE]
"""

from __future__ import annotations

import importlib.util
import os
import sys
from types import ModuleType
from typing import Callable


def load(path: str) -> ModuleType:
    name = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def run(path: str, switch: Callable[[str], object]) -> None:
    module = load(path)
    for name in sorted(vars(module)):
        if name.startswith("case_"):
            function = getattr(module, name)
            switch(name)
            function()
            switch("")


def main(tool: str, path: str, data_file: str | None = None) -> None:
    if tool == "hitlog":
        from hitlog._contexts import switch

        run(path, switch)
        return
    import coverage

    recording = coverage.Coverage(
        data_file=data_file,
        config_file=False,
        include=[os.path.dirname(path) + "/*"],
        branch="DRIVER_BRANCH" in os.environ,
    )
    recording.start()
    run(path, recording.switch_context)
    recording.stop()
    recording.save()


if __name__ == "__main__":
    main(*sys.argv[1:])
