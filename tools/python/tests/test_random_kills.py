"""Processes, their threads and forked children are killed at random moments: what ran is there.

The oracle lies outside of the logs, in memory that all of them share: each line of a generated module
stores its own number there, so that the lines up to that number have run, and the next one may have
begun. The moment is a number of that function's first thread: half of the processes kill themselves
there, in whatever their other threads do just then, and half are killed from outside as soon as their
parent has seen that number, some lines later or, on a busy machine, after the last.
``HITLOG_PYTHON_KILLS`` sets how many processes are killed (on four versions of Python the usual 250 are
a thousand), ``HITLOG_SEED`` the moments.
"""

from __future__ import annotations

import json
import os

from conftest import Recording
from logs import read_log

LINES = 2000
THREADS = 2
KILLS = int(os.environ.get("HITLOG_PYTHON_KILLS", "250"))
SEED = int(os.environ.get("HITLOG_SEED", "1"))

# Of a round's processes, `pids` has the pid of each, and `counts` a number for each of its threads.
SERVER = f"""
import json, mmap, os, random, signal, sys, threading, time
import thread_0, thread_1

MODULES = [thread_0, thread_1]
random.seed({SEED})
sys.setswitchinterval(1e-5)
shared = memoryview(mmap.mmap(-1, 4096)).cast("Q")
pids, counts = shared[:2], [shared[2:4], shared[4:6]]

class Fatal:
    # Counts of one thread: storing the fatal number kills its process and all of the group.
    def __init__(self, counts, last):
        self.counts, self.last = counts, last

    def __setitem__(self, number, line):
        self.counts[number] = line
        if line == self.last:
            os.killpg(0, signal.SIGKILL)

def work(process, processes, threads):
    pids[process] = os.getpid()
    while 0 in list(pids[:processes]):
        time.sleep(0.0001)
    for number in range(1, threads):
        threading.Thread(target=MODULES[number].run, args=(counts[process], number)).start()
    thread_0.run(Fatal(counts[0], last) if kills_itself and process == 0 else counts[process], 0)
    while True:
        signal.pause()

def start(processes, threads):
    os.setpgid(0, 0)
    os.close(alive)
    if processes == 2 and os.fork() == 0:
        work(1, processes, threads)
    work(0, processes, threads)

rounds, killed = [], 0
while killed < {KILLS}:
    pids[0] = pids[1] = 0
    # The function's first line runs nowhere else than here.
    for count in counts:
        count[0] = count[1] = 1
    processes, threads = random.choice([(1, 1), (1, 2), (2, 1)])
    last, kills_itself = random.randrange(2, {LINES - 2}), random.random() < 0.5
    alive, of_children = os.pipe()
    child = os.fork()
    if child == 0:
        start(processes, threads)
    os.close(of_children)
    if not kills_itself:
        while counts[0][0] < last:
            assert os.waitpid(child, os.WNOHANG) == (0, 0), "ended by itself"
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    # The end of the file: nobody of the group is alive.
    os.read(alive, 1)
    os.close(alive)
    for process in range(processes):
        rounds.append([pids[process], list(counts[process])])
    killed += processes
print(json.dumps(rounds))
"""


def write_module(recording: Recording, number: int) -> None:
    """A function whose line n stores n, from its second line on."""
    lines = [f"    counts[number] = {line}" for line in range(2, LINES)]
    text = "\n".join(["def run(counts, number):", *lines, ""])
    (recording.folder / f"thread_{number}.py").write_text(text)


def test_every_line_that_ran_survives_sigkill(recording: Recording) -> None:
    for number in range(THREADS):
        write_module(recording, number)
    program = recording.folder / "program.py"
    program.write_text(SERVER)
    rounds = json.loads(recording.python(program).stdout)
    assert len(rounds) >= KILLS
    paths = {int(path.name.split("-")[0]): path for path in recording.directory.glob("*.hitlog")}
    cut_in_the_middle = 0
    for pid, counts in rounds:
        assert pid in paths, f"no log of {pid}, which counted to {counts}"
        log = read_log(paths[pid])
        assert not log.is_clean
        for number, count in enumerate(counts):
            path = str(recording.folder / f"thread_{number}.py")
            read = {line for _, file, line in log.hits if file == path}
            last = max(read, default=1)
            assert read - {1} == set(range(2, last + 1)), f"{pid}, {number}: no gap"
            assert last in (count, count + 1), f"{pid}, {number}: {counts}"
            cut_in_the_middle += 1 < count < LINES - 1
    assert cut_in_the_middle > KILLS / 10, "killed too early or too late"
