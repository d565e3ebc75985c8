"""The cells of the endings table: programs that end in every way, and how each is told to have ended.

A program calls ``at()`` on its lines, which tells a file beside it that this process reached that line;
and ``at("end")`` in the process whose ending the cell is about. The file knows nothing of hitlog.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

# Tells which line of the caller was reached, outside of any log.
OUTSIDE = """\
import os, resource, signal, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
# A shell's background job and nohup hand down ignored signals.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
TOLD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "told")
def at(kind="line"):
    frame = sys._getframe(1)
    told = f"{os.getpid()} {kind} {os.path.basename(frame.f_code.co_filename)} {frame.f_lineno}\\n"
    file = os.open(TOLD, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, told.encode())
    os.close(file)
# In one piece, so that what two processes say does not mix.
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
"""

# What some programs start or become.
SECOND = """\
import sys
from outside import at, say
at("end"); say("second", sys.argv[1:])
at()
"""
WAITING = """\
import time
from outside import at, say
at("end"); say("ready")
time.sleep(600)
"""

HEAD = """\
import ctypes, os, signal, subprocess, sys, threading, _thread, time
from outside import at, say
"""


@dataclass(frozen=True)
class Cell:
    """One program, and what is to be seen of it."""

    name: str
    program: str
    # How the process that the cell is about may be told to have ended: state and exit status.
    ends: frozenset[tuple[str, int | None]]
    # How many processes tell of lines, at least.
    processes: int
    # Whether that process first waits for the end of its input.
    waits: bool = False
    # A module without which there is no such cell.
    needs: str | None = None


def states(*ends: tuple[str, int | None]) -> frozenset[tuple[str, int | None]]:
    return frozenset(ends)


CUT = states(("cut", None))

# How a process ends: the code that ends it, and how it is told to have ended.
ENDINGS = {
    "normal": ("pass", states(("clean", 0))),
    "exception": ("raise KeyError('the end')", states(("clean", 1))),
    "_exit": ("os._exit(3)", states(("clean", 3))),
    "SIGKILL": ("os.kill(os.getpid(), signal.SIGKILL); time.sleep(600)", CUT),
    "SIGTERM": ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(600)", CUT),
    "SIGINT": ("os.kill(os.getpid(), signal.SIGINT); time.sleep(600)", CUT),
    "SIGHUP": ("os.kill(os.getpid(), signal.SIGHUP); time.sleep(600)", CUT),
    "SIGSEGV": ("ctypes.string_at(1)", CUT),
    "abort": ("os.abort()", CUT),
    "exec of Python": (
        "os.execv(sys.executable, [sys.executable, 'second.py'])",
        states(("clean", None), ("clean", 0)),
    ),
    "exec of another program": ("os.execv('/bin/echo', ['echo', 'x'])", states(("clean", None))),
    "still running": ("sys.stdin.read()", states(("clean", 0))),
}

# Who ends so: the body of the program's main function, and how many processes there are.
SHAPES = {
    "alone": ("at(); end()\nat()", 1),
    "forked child": (
        """\
pid = os.fork()
if pid == 0:
    at(); end()
    at(); return
at(); say("child", os.waitpid(pid, 0)[1])
at()""",
        2,
    ),
    "forked parent": (
        """\
read, write = os.pipe()
if os.fork() == 0:
    os.close(write); at()
    os.read(read, 1); at()
    say("child"); at()
    return
os.close(read); at()
end(); at()""",
        2,
    ),
    "both": (
        """\
pid = os.fork()
if pid == 0:
    at(); end()
    at(); return
at(); say("child", os.waitpid(pid, 0)[1])
at(); end()
at()""",
        2,
    ),
    "grandchild": (
        """\
pid = os.fork()
if pid == 0:
    at(); pid = os.fork()
    if pid == 0:
        at(); end()
        at(); return
    at(); say("grandchild", os.waitpid(pid, 0)[1])
    at(); return
at(); say("child", os.waitpid(pid, 0)[1])
at()""",
        3,
    ),
    "daemonised": (
        """\
pid = os.fork()
if pid == 0:
    os.setsid(); at()
    if os.fork() == 0:
        at(); end()
        at(); return
    at(); os._exit(0)
at(); say("child", os.waitpid(pid, 0)[1])
at()""",
        3,
    ),
    "fork in a thread": (
        """\
def work():
    pid = os.fork()
    if pid == 0:
        at(); end()
        at(); return
    at(); say("child", os.waitpid(pid, 0)[1])
thread = threading.Thread(target=work)
thread.start(); at()
thread.join(); at()""",
        2,
    ),
}


def process_cells() -> list[Cell]:
    cells = []
    for shape, (body, processes) in SHAPES.items():
        for ending, (code, ends) in ENDINGS.items():
            in_main = textwrap.indent(body, "    ")
            # What is printed stays in a buffer, which each process writes if its end lets it.
            main = f"def main():\n    print('buffered')\n{in_main}\n"
            program = f"{HEAD}def end():\n    at('end'); {code}\n{main}main()\nat()\n"
            if shape == "fork in a thread" and ending in ("exception", "SIGINT"):
                # An exception ends the thread, and the process has no other one.
                ends = states(("clean", 0))
            waits = ending == "still running"
            cells.append(Cell(f"{shape}: {ending}", program, ends, processes, waits))
    return cells


# How multiprocessing runs a function, and how its processes are told to have ended.
MULTIPROCESSING = {
    "Process": (
        "process = context.Process(target=work, args=(1,)); process.start(); process.join(); "
        "say(process.exitcode)",
        states(("clean", 0)),
    ),
    "terminate": ("stop('terminate')", CUT),
    "kill": ("stop('kill')", CUT),
    "Pool closed": (
        "pool = context.Pool(2); say(pool.map(work, range(8))); pool.close(); pool.join()",
        states(("clean", 0)),
    ),
    # Its workers are terminated, whatever they are doing.
    "Pool as context manager": (
        "with context.Pool(2) as pool: say(pool.map(work, range(8)))",
        CUT | states(("clean", 0)),
    ),
    "ProcessPoolExecutor": (
        "with ProcessPoolExecutor(2, context) as pool: say(list(pool.map(work, range(8))))",
        states(("clean", 0)),
    ),
}

MULTIPROCESSING_PROGRAM = """\
import multiprocessing, time
from concurrent.futures import ProcessPoolExecutor
from outside import at, say
def work(number):
    at("end"); after = number + 1
    at(); return after
def wait(ready):
    at("end"); ready.set()
    time.sleep(600)
def stop(way):
    ready = context.Event(); at()
    process = context.Process(target=wait, args=(ready,)); at()
    process.start(); ready.wait(); at()
    getattr(process, way)(); process.join(); at()
    say(process.exitcode)
if __name__ == "__main__":
    context = multiprocessing.get_context({method!r}); at()
    {way}
    at()
"""


def multiprocessing_cells() -> list[Cell]:
    cells = []
    for method in ("fork", "spawn", "forkserver"):
        for way, (code, ends) in MULTIPROCESSING.items():
            program = MULTIPROCESSING_PROGRAM.format(method=method, way=code)
            cells.append(Cell(f"{method}: {way}", program, ends, 2))
    return cells


STOPPED = """\
process = subprocess.Popen([sys.executable, 'waiting.py'], stdout=subprocess.PIPE)
say(process.stdout.readline()); at()
process.{0}(); say(process.wait()); at()
"""

# How another Python is started, and how it is told to have ended.
SUBPROCESS = {
    "run": ("subprocess.run([sys.executable, 'second.py', 'x'], check=True)", states(("clean", 0))),
    "cleaned env={}": (
        "subprocess.run([sys.executable, 'second.py'], env={}, check=True)",
        states(("clean", 0)),
    ),
    "os.system": ("say(os.system(f'{sys.executable} second.py'))", states(("clean", 0))),
    "posix_spawn": (
        "pid = os.posix_spawn(sys.executable, [sys.executable, 'second.py'], os.environ)\n"
        "say(os.waitpid(pid, 0)[1])",
        states(("clean", 0)),
    ),
    "terminate": (STOPPED.format("terminate"), CUT),
    "kill": (STOPPED.format("kill"), CUT),
}


def subprocess_cells() -> list[Cell]:
    return [
        Cell(f"subprocess: {way}", f"{HEAD}at()\n{code}\nat()\n", ends, 2)
        for way, (code, ends) in SUBPROCESS.items()
    ]


# What runs side by side in one process, up to the call of end(), and the module it needs.
CONCURRENT = {
    "threads": (
        """\
def work():
    at(); time.sleep(0.001)
    at()
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start(); at()
for thread in threads: thread.join(); at()
""",
        None,
    ),
    "_thread": (
        """\
def work(lock):
    at(); time.sleep(0.001)
    at(); lock.release()
locks = [_thread.allocate_lock() for _ in range(4)]
for lock in locks: lock.acquire(); _thread.start_new_thread(work, (lock,)); at()
for lock in locks: lock.acquire(); at()
""",
        None,
    ),
    "daemon threads": (
        """\
def work(ready):
    at(); ready.set()
    time.sleep(600)
events = [threading.Event() for _ in range(4)]
for event in events: threading.Thread(target=work, args=(event,), daemon=True).start(); at()
for event in events: event.wait(); at()
""",
        None,
    ),
    "gevent": (
        """\
import gevent
def work():
    at(); gevent.sleep(0)
    at()
gevent.joinall([gevent.spawn(work) for _ in range(4)]); at()
""",
        "gevent",
    ),
    "greenlet": (
        """\
import greenlet
def work(other):
    at(); other.switch()
    at(); x = 1
    at()
def other():
    at(); first.switch()
first, second = greenlet.greenlet(work), greenlet.greenlet(other)
first.switch(second); at()
""",
        "greenlet",
    ),
    "asyncio": (
        """\
import asyncio
async def work():
    at(); await asyncio.sleep(0)
    at()
async def main():
    await asyncio.gather(*(work() for _ in range(4))); at()
asyncio.run(main()); at()
""",
        None,
    ),
}


def concurrent_cells() -> list[Cell]:
    cells = []
    for way, (code, needs) in CONCURRENT.items():
        for ending in ("normal", "exception", "SIGKILL"):
            end, ends = ENDINGS[ending]
            program = f"{HEAD}{code}at('end'); {end}\n"
            cells.append(Cell(f"{way}: {ending}", program, ends, 1, needs=needs))
    return cells


CELLS = [*process_cells(), *multiprocessing_cells(), *subprocess_cells(), *concurrent_cells()]
