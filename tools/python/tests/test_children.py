"""Every child process records into a log of its own, however it was started and however it ends."""

from __future__ import annotations

import json
import signal

import pytest
from conftest import Recording
from environments import run_unrecorded

FORK = """\
import os, signal, sys
x = 1
pid = os.fork()
if pid == 0:
    y = 2
    def end():
        {end}
    end()
    sys.exit(5)
print(os.waitpid(pid, 0)[1])
"""


@pytest.mark.parametrize(
    ("end", "status", "clean"),
    [
        ("os._exit(3)", 3 << 8, True),
        ("sys.exit(4)", 4 << 8, True),
        ("pass", 5 << 8, True),
        ("raise ValueError", 1 << 8, True),
        ("os.kill(os.getpid(), signal.SIGKILL)", signal.SIGKILL, False),
        ("os.kill(os.getpid(), signal.SIGTERM)", signal.SIGTERM, False),
        ("os.execv('/bin/true', ['true'])", 0, True),
    ],
)
def test_a_forked_child_keeps_its_lines(
    recording: Recording, end: str, status: int, clean: bool
) -> None:
    logs = recording.program(FORK.format(end=end))
    assert len(logs) == 2
    child = next(log for log in logs if (5 in {line for _, _, line in log.hits}))
    lines = {line for _, _, line in child.hits}
    assert lines >= {4, 5, 6, 7, 8}
    assert child.is_clean == clean
    if clean and "exec" not in end:
        assert child.exit_code == status >> 8
    assert {1, 2, 3, 4, 10} <= recording.lines()


def test_a_child_of_a_child(recording: Recording) -> None:
    logs = recording.program(
        "import os\n"
        "def work():\n"
        "    return 1\n"
        "if os.fork() == 0:\n"
        "    work()\n"
        "    if os.fork() == 0:\n"
        "        work()\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "work()\n"
    )
    assert len(logs) == 3
    # Each log stands alone: what ran in its process is in it, although its parent has it too.
    for log in logs:
        assert 3 in {line for _, _, line in log.hits}
        assert log.is_clean


def test_a_child_that_runs_nothing_is_counted(recording: Recording) -> None:
    logs = recording.program("import os\nos.fork() or os._exit(0)\nos.wait()\n")
    assert [log.is_clean for log in logs] == [True, True]


def test_lines_seen_often_by_the_parent_are_seen_by_the_child(recording: Recording) -> None:
    program = (
        "import os, hitlog\n"
        "def work():\n"
        "    for n in range(1000):\n"
        "        n += 1\n"
        "{0}\n"
        "work()\n"
        "if os.fork() == 0:\n"
        "    work()\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    )
    for before in ("pass", "hitlog.context('c').__enter__()"):
        logs = recording.program(program.format(before))
        for log in logs[-2:]:
            assert {3, 4} <= {line for _, _, line in log.hits}


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("end", ["pass", "sys.exit(3)", "os._exit(3)", "os.kill(os.getpid(), 9)"])
def test_multiprocessing(recording: Recording, method: str, end: str) -> None:
    recording.program(
        "import multiprocessing, os, sys\n"
        "def work():\n"
        "    x = 1\n"
        f"    {end}\n"
        "if __name__ == '__main__':\n"
        f"    context = multiprocessing.get_context('{method}')\n"
        "    process = context.Process(target=work)\n"
        "    process.start()\n"
        "    process.join()\n"
        "    print(process.exitcode)\n"
    )
    child = [log for log in recording.logs() if 3 in {line for _, _, line in log.hits}]
    assert len(child) == 1
    assert 4 in {line for _, _, line in child[0].hits}
    assert child[0].is_clean == ("kill" not in end)
    assert child[0].exit_code == (None if "kill" in end else 3 if "3" in end else 0)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("way", ["with", "close", "executor"])
def test_pools(recording: Recording, method: str, way: str) -> None:
    ways = {
        "with": "with context.Pool(2) as pool: print(pool.map(work, range(4)))",
        "close": "pool = context.Pool(2); print(pool.map(work, range(4))); pool.close(); pool.join()",
        "executor": "with Executor(2, context) as pool: print(list(pool.map(work, range(4))))",
    }
    recording.program(
        "import multiprocessing\n"
        "from concurrent.futures import ProcessPoolExecutor as Executor\n"
        "def work(n):\n"
        "    m = n + 1\n"
        "    return m\n"
        "if __name__ == '__main__':\n"
        f"    context = multiprocessing.get_context('{method}')\n"
        f"    {ways[way]}\n"
    )
    assert recording.lines() == set(range(1, 9))


@pytest.mark.parametrize(
    "start",
    [
        "subprocess.run([sys.executable, 'child.py'], check=True)",
        "subprocess.run([sys.executable, 'child.py'], check=True, preexec_fn=lambda: None)",
        "assert os.system(f'{sys.executable} child.py') == 0",
        "os.waitpid(os.posix_spawn(sys.executable, [sys.executable, 'child.py'], os.environ), 0)",
        "subprocess.check_output(f'{sys.executable} child.py', shell=True)",
    ],
)
def test_programs_that_are_started(recording: Recording, start: str) -> None:
    (recording.folder / "child.py").write_text("x = 1\nimport os\nos._exit(0)\n")
    recording.program(f"import os, subprocess, sys, hitlog\nwith hitlog.context('c'):\n    {start}\n")
    assert recording.lines("c", "child.py") == {1, 2, 3}
    assert recording.lines(context="", name="child.py") == set()


IN_A_THREAD = """\
import os, subprocess, sys, threading, hitlog
command = [sys.executable, "child.py"]
def in_thread():
    with hitlog.context("it's a thread's own"):
        {start}
with hitlog.context("process"):
    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    {start}
"""


@pytest.mark.parametrize(
    "start",
    [
        "subprocess.run(command, check=True)",
        "subprocess.run(command, check=True, env=dict(os.environb))",
        "subprocess.run(command, check=True, close_fds=False)",
        "assert os.system(' '.join(command)) == 0",
        "assert os.popen(' '.join(command)).close() is None",
        "os.waitpid(os.posix_spawn(command[0], command, os.environ), 0)",
        "os.waitpid(os.posix_spawnp(command[0], command, {**os.environ, 'MORE': '1'}), 0)",
        "os.spawnv(os.P_WAIT, command[0], command)",
        "os.spawnve(os.P_WAIT, command[0], command, os.environ)",
        "os.fork() or os.execl(command[0], *command); os.wait()",
        "os.fork() or os.execve(command[0], command, env=os.environ); os.wait()",
    ],
)
def test_programs_that_a_thread_starts_have_its_context(recording: Recording, start: str) -> None:
    (recording.folder / "child.py").write_text("x = 1\nimport os\nos._exit(0)\n")
    recording.program(IN_A_THREAD.format(start=start))
    hits = [log.hits for log in recording.logs() if any("child" in hit[1] for hit in log.hits)]
    # What runs in a forked child before the other program begins is in a log of its own.
    contexts = [{context for context, file, _ in log if "child" in file} for log in hits]
    assert sorted(contexts, key=str) == [{"it's a thread's own"}, {"process"}]


@pytest.mark.parametrize(
    "start",
    ["os.execv(command[0], command)", "os.execle(command[0], *command, os.environ)"],
)
def test_a_program_that_takes_the_place_of_a_thread_has_its_context(
    recording: Recording, start: str
) -> None:
    (recording.folder / "child.py").write_text("x = 1\n")
    recording.program(IN_A_THREAD.format(start=start))
    assert recording.lines("it's a thread's own", "child.py") == {1}
    assert recording.lines("process", "child.py") == set()


def test_programs_of_a_thread_with_a_context_behave_the_same(recording: Recording) -> None:
    """They are started, refused and answered as in a process that is not recorded."""
    text = (
        "import os, pickle, subprocess, threading, hitlog\n"
        "def tell(work):\n"
        "    try:\n"
        "        print(work(), flush=True)\n"
        "    except Exception as error:\n"
        "        print(type(error).__name__, error, flush=True)\n"
        "def in_thread():\n"
        "    with hitlog.context('own'):\n"
        "        tell(lambda: os.system('echo $0 $#; exit 3'))\n"
        "        tell(lambda: os.system(b'kill -9 $$'))\n"
        "        tell(lambda: os.system('true ' + 'x' * 131000))\n"
        "        tell(lambda: os.system('true ' + 'x' * 132000))\n"
        "        tell(lambda: os.system('nul\\0'))\n"
        "        tell(lambda: os.system(7))\n"
        "        tell(lambda: os.execv('/nonexistent', ['x']))\n"
        "        tell(lambda: os.execve('/nonexistent', ['x'], 7))\n"
        "        tell(lambda: os.posix_spawn('/nonexistent', ['x'], os.environ))\n"
        "        tell(lambda: subprocess.run(['env'], env={'A': '1'}, capture_output=True).stdout)\n"
        "        tell(lambda: subprocess.run(['true'], env={7: '1'}))\n"
        "        tell(lambda: pickle.loads(pickle.dumps(os.system)) is os.system)\n"
        "thread = threading.Thread(target=in_thread)\n"
        "thread.start()\n"
        "thread.join()\n"
    )
    (recording.folder / "told.py").write_text(text)
    told = recording.python("told.py").stdout
    assert told == run_unrecorded(recording.folder, "told.py")
    assert "sh 0\n768\n9\n0\n" in told
    assert len(told.splitlines()) == 13


def test_a_forked_child_inherits_the_context(recording: Recording) -> None:
    recording.program(
        "import os, hitlog\n"
        "with hitlog.context('c'):\n"
        "    if os.fork() == 0:\n"
        "        x = 1\n"
        "        os._exit(0)\n"
        "os.wait()\n"
    )
    assert 4 in recording.lines("c")
    assert 4 not in recording.lines("")


@pytest.mark.parametrize(
    "start",
    [
        "if os.fork() == 0: work(True); os._exit(0)",
        "subprocess.run([sys.executable, 'child.py'], check=True)",
        "subprocess.run([sys.executable, 'child.py'], check=True, env={})",
        "assert os.system(f'{sys.executable} child.py') == 0",
    ],
)
def test_who_knows_what_ran_in_a_child_only(recording: Recording, start: str) -> None:
    (recording.folder / "work.py").write_text(
        "def work(in_child):\n    if in_child:\n        return 'in the child'\n    return 'here'\n"
    )
    (recording.folder / "child.py").write_text("import work\nwork.work(True)\n")
    recording.program(
        "import os, subprocess, sys, hitlog\n"
        "from work import work\n"
        "with hitlog.context('c'):\n"
        "    work(False)\n"
        f"    {start}\n"
    )
    output = recording.folder.parent / "hitlog.db"
    recording.python("-m", "hitlog", "compact", recording.directory, "-o", output)
    answer = recording.python("-m", "hitlog", "who", "work.py:2-4", "--json", "--db", output)
    tests = json.loads(answer.stdout)["tests"]
    found = [(test["test"], test["lines"], test["in_children"]) for test in tests]
    assert found == [("c", [[2, 4]], [[3, 3]])]


def test_a_fork_that_python_knows_nothing_of(recording: Recording) -> None:
    logs = recording.program(
        "import ctypes, os, hitlog\n"
        "def work():\n"
        "    x = 1\n"
        "with hitlog.context('c'):\n"
        "    work()\n"
        "    if ctypes.CDLL(None).fork() == 0:\n"
        "        work()\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
    )
    assert len(logs) == 2
    assert all(("c", str(recording.folder / "program.py"), 3) in log.hits for log in logs)


def test_a_fork_that_python_knows_nothing_of_outside_of_contexts(recording: Recording) -> None:
    logs = recording.program(
        "import ctypes, os\n"
        "def work():\n"
        "    x = 1\n"
        "work()\n"
        "if ctypes.PyDLL(None).fork() == 0:\n"
        "    y = 2\n"
        "    work()\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    )
    assert len(logs) == 2
    assert all(("", str(recording.folder / "program.py"), 3) in log.hits for log in logs)


def test_a_child_forked_in_the_context_of_a_thread_has_contexts_of_its_own(
    recording: Recording,
) -> None:
    recording.program(
        "import os, threading, hitlog\n"
        "def work():\n"
        "    with hitlog.context('thread'):\n"
        "        if os.fork() == 0:\n"
        "            x = 1\n"
        "            with hitlog.context('child'):\n"
        "                x = 2\n"
        "            x = 3\n"
        "            os._exit(0)\n"
        "        os.wait()\n"
        "thread = threading.Thread(target=work)\n"
        "thread.start()\n"
        "thread.join()\n"
        "x = 4\n"
    )
    assert recording.lines("thread") >= {4, 5, 8, 9, 10}
    assert 7 in recording.lines("child")
    assert 7 not in recording.lines("thread")
    assert 14 in recording.lines("")


def test_fork_in_a_thread_while_others_run(recording: Recording) -> None:
    logs = recording.program(
        "import os, threading\n"
        "stop = False\n"
        "def busy():\n"
        "    n = 0\n"
        "    while not stop:\n"
        "        n += 1\n"
        "def forking():\n"
        "    for _ in range(10):\n"
        "        if os.fork() == 0:\n"
        "            x = 1\n"
        "            os._exit(0)\n"
        "        os.wait()\n"
        "threads = [threading.Thread(target=busy) for _ in range(3)]\n"
        "for thread in threads: thread.start()\n"
        "forker = threading.Thread(target=forking)\n"
        "forker.start()\n"
        "forker.join()\n"
        "stop = True\n"
        "for thread in threads: thread.join()\n"
    )
    assert len(logs) == 11
    assert sum(10 in {line for _, _, line in log.hits} for log in logs) == 10
    assert all(log.is_clean for log in logs)


@pytest.mark.parametrize("kind", ["CDLL", "PyDLL"])
@pytest.mark.parametrize("context", ["", "c"])
def test_a_fork_that_python_knows_nothing_of_runs_only_what_ran_before(
    recording: Recording, kind: str, context: str
) -> None:
    """All lines of the child were disabled by its parent when it was forked."""
    logs = recording.program(
        "import ctypes, os, hitlog\n"
        "def work():\n"
        "    x = 1\n"
        "    return x\n"
        "def start(fork):\n"
        "    for turn in range(100):\n"
        "        pid = fork() if turn == 99 else 1\n"
        "        work()\n"
        "        pid or os._exit(0)\n"
        "    os.wait()\n"
        f"with hitlog.context({context!r}):\n"
        f"    start(ctypes.{kind}(None).fork)\n"
    )
    assert len(logs) == 2
    path = str(recording.folder / "program.py")
    for log in logs:
        assert {(context, path, line) for line in (3, 4, 8, 9)} <= log.hits
        assert log.is_clean


@pytest.mark.parametrize(
    ("body", "status", "reason", "exit_code"),
    [("pass", 0, 2, None), ("1 / 0", 1, 0, 255), ("os._exit(3)", 1, 0, 3)],
)
def test_what_runs_before_another_program_is_kept_and_ends_clean(
    recording: Recording, body: str, status: int, reason: int, exit_code: int | None
) -> None:
    logs = recording.program(
        "import os, subprocess, sys\n"
        "def before():\n"
        f"    {body}\n"
        "subprocess.Popen(['/bin/true'], preexec_fn=lambda: None).wait()\n"
        "sys.exit(subprocess.Popen(['/bin/true'], preexec_fn=before).wait() != 0)\n",
        status=status,
    )
    assert 3 in recording.lines()
    assert all(log.is_clean for log in logs)
    assert any((log.reason, log.exit_code) == (reason, exit_code) for log in logs)


def test_what_runs_nothing_before_another_program_has_no_log(recording: Recording) -> None:
    logs = recording.program(
        "import os, subprocess\nfor _ in range(2):\n"
        "    subprocess.run(['/bin/true'], preexec_fn=os.getpid, check=True)\n"
        "    os.fork() or os._exit(0)\n"
        "    os.wait()\n"
    )
    assert len(logs) == 3
    assert all(log.is_clean for log in logs)


def test_a_preexec_fn_sees_what_it_would_see(recording: Recording) -> None:
    done = recording.python(
        "-c",
        "import subprocess\n"
        "try:\n"
        "    subprocess.Popen(['/bin/true'], preexec_fn=7).wait()\n"
        "except subprocess.SubprocessError as error:\n"
        "    print(error, flush=True)\n"
        "subprocess.run(['/bin/echo', 'ran'], preexec_fn=lambda *more: print(more, flush=True))\n"
        "try:\n"
        "    subprocess.Popen(['/nonexistent'], preexec_fn=lambda: None)\n"
        "except FileNotFoundError as error:\n"
        "    print(error.filename)\n",
    )
    assert done.stdout.splitlines()[-3:] == ["()", "ran", "/nonexistent"]
