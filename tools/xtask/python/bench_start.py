"""What starting a Python costs more when it is recorded, and when hitlog is only installed.

usage: bench_start.py ROUNDS

Prints CPU time: of a whole recorded `python -c pass` less that of one that is not recorded, and of the
interpreter's own work with hitlog.pth. Minima of starts in turn.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

STARTS_PER_ROUND = 8
# What the interpreter does with the file at its start.
READ_PTH = """
import site, sys, time
begin = time.process_time()
site.addpackage(sys.argv[1], "hitlog.pth", set())
print(time.process_time() - begin)
"""


def cpu_seconds(environment: dict[str, str]) -> float:
    """Start a Python that does nothing; return its CPU time."""
    process = subprocess.Popen([sys.executable, "-c", "pass"], env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"bench_start: a Python that does nothing ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def hook_seconds(environment: dict[str, str]) -> float:
    """Return the CPU time of the start-up hook in a process that is not recorded."""
    command = [sys.executable, "-c", READ_PTH, sysconfig.get_path("platlib")]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout)


def main(starts: int) -> None:
    """Measure in turn and print the differences of the minima."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HITLOG")}
    with tempfile.TemporaryDirectory() as folder:
        run = {"version": 1, "cwd": folder, "branch": False, "source": []}
        Path(folder, "run.json").write_text(json.dumps(run))
        recorded = {**kept, "HITLOG_RUN": folder}
        cpu_seconds(recorded)
        if not list(Path(folder).glob("*.hitlog")):
            sys.exit("bench_start: nothing was recorded")
        times = [(cpu_seconds(kept), cpu_seconds(recorded), hook_seconds(kept)) for _ in range(starts)]
    plain, recorded_time, hook = (min(column) for column in zip(*times))
    print(
        f"start-up: {1000 * plain:.1f} ms; recorded {1000 * (recorded_time - plain):+.1f} ms; "
        f"not recorded, hitlog installed {1000 * hook:+.3f} ms"
    )


if __name__ == "__main__":
    main(STARTS_PER_ROUND * int(sys.argv[1]))
