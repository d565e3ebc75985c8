"""Children that are started without the environment find their ancestor's run; nobody else does."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hitlog
import pytest
from conftest import Recording, clean_environment
from logs import all_hits, read_run

CHILD = "import os\nassert dict(os.environ).keys() <= {'LC_CTYPE', 'PWD', 'SHLVL', '_'}, os.environ\n"
SEES_NO_RUN = "import os\nassert 'HITLOG_RUN' not in os.environ\n"


def markers() -> set[str]:
    """The paths of all markers of this user."""
    user = os.geteuid()
    found = set()
    for directory in (f"/run/user/{user}/hitlog", f"/tmp/hitlog-{user}"):
        if os.path.isdir(directory):
            found |= {f"{directory}/{name}" for name in os.listdir(directory)}
    return found


def markers_of(process: int) -> set[str]:
    return {path for path in markers() if os.path.basename(path).startswith(f"{process}-")}


def without_run() -> dict[str, str]:
    """An environment that does not say that this process is not to be recorded."""
    return clean_environment(HITLOG_DEBUG="1")


START = {
    "subprocess": "subprocess.run([sys.executable, 'child.py'], env={}, check=True)",
    "isolated": "subprocess.run([sys.executable, '-I', 'child.py'], env={}, check=True)",
    "posix_spawn": "assert os.waitpid(os.posix_spawn(python[0], python, {}), 0)[1] == 0",
    "os.system": "assert os.system(f'env -i {sys.executable} child.py') == 0",
    "spawnve": "assert os.spawnve(os.P_WAIT, python[0], python, {}) == 0",
    "shell": "subprocess.run(['sh', '-c', f'{sys.executable} child.py; true'], env={}, check=True)",
    "preexec_fn": "subprocess.run(python, env={}, preexec_fn=lambda: None, check=True)",
    "exec in a child": "os.fork() or os.execve(python[0], python, {}); assert os.wait()[1] == 0",
    "child of a forked child": (
        "os.fork() or os._exit(subprocess.run(python, env={}).returncode); assert os.wait()[1] == 0"
    ),
}


@pytest.mark.parametrize("way", START)
def test_a_child_without_environment_is_recorded_in_its_context(recording: Recording, way: str) -> None:
    (recording.folder / "child.py").write_text(CHILD)
    recording.program(
        "import os, subprocess, sys, hitlog\n"
        "python = [sys.executable, 'child.py']\n"
        "with hitlog.context('a'):\n"
        f"    {START[way]}\n"
        "with hitlog.context('b'):\n"
        "    pass\n"
    )
    assert recording.lines(name="child.py") == {1, 2}
    assert recording.lines("a", "child.py") == {1, 2}


def test_a_process_that_becomes_another_python_is_recorded(recording: Recording) -> None:
    (recording.folder / "child.py").write_text(CHILD)
    recording.program(
        "import os, sys, hitlog\n"
        "with hitlog.context('a'):\n"
        "    os.execve(sys.executable, [sys.executable, 'child.py'], {})\n"
    )
    assert recording.lines("a", "child.py") == {1, 2}


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_multiprocessing_without_environment(recording: Recording, method: str) -> None:
    recording.program(
        "import multiprocessing, os\n"
        "def work():\n"
        "    x = 1\n"
        "if __name__ == '__main__':\n"
        "    import hitlog\n"
        "    os.environ.clear()\n"
        "    with hitlog.context('a'):\n"
        f"        process = multiprocessing.get_context('{method}').Process(target=work)\n"
        "        process.start()\n"
        "        process.join()\n"
    )
    assert 3 in recording.lines("a")


def test_a_late_grandchild_has_the_context_of_the_start(recording: Recording) -> None:
    """As a server that a fixture starts by a script: its Python begins when tests run."""
    (recording.folder / "child.py").write_text(SEES_NO_RUN)
    recording.program(
        "import os, subprocess, sys, time, hitlog\n"
        "read, write = os.pipe()\n"
        "script = f'read line <&{read}; {sys.executable} child.py; true'\n"
        "with hitlog.context('a'):\n"
        "    process = subprocess.Popen(['/bin/sh', '-c', script], env={}, pass_fds=[read])\n"
        # Starts are told apart by the hundredth of a second.
        "time.sleep(0.05)\n"
        "with hitlog.context('b'):\n"
        "    subprocess.run(['/bin/true'], env={})\n"
        "    os.write(write, b'go\\n')\n"
        "    assert process.wait() == 0\n"
    )
    assert recording.lines("a", "child.py") == {1, 2}
    assert recording.lines("b", "child.py") == set()


def test_a_thread_starts_a_child_in_its_own_context(recording: Recording) -> None:
    (recording.folder / "child.py").write_text(CHILD)
    recording.program(
        "import subprocess, sys, threading, hitlog\n"
        "def work():\n"
        "    with hitlog.context('thread'):\n"
        "        subprocess.run([sys.executable, 'child.py'], env={}, check=True)\n"
        "with hitlog.context('process'):\n"
        "    thread = threading.Thread(target=work)\n"
        "    thread.start()\n"
        "    thread.join()\n"
    )
    assert recording.lines("thread", "child.py") == {1, 2}


def test_the_command_itself_is_an_ancestor(recording: Recording) -> None:
    (recording.folder / "child.py").write_text(CHILD)
    command = ["-m", "hitlog", "run", "-o", "x.db", "--context", "c", "--", "env", "-i"]
    done = subprocess.run(
        [sys.executable, *command, sys.executable, "child.py"],
        cwd=recording.folder,
        env=without_run(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "1 process: 1 ended clean" in done.stdout + done.stderr


def test_the_context_of_a_whole_run_is_there_once(recording: Recording) -> None:
    recording.begin(context="whole")
    (recording.folder / "child.py").write_text(CHILD)
    program = (
        "import subprocess, sys, hitlog\n"
        "python = [sys.executable, 'child.py']\n"
        "subprocess.run(python, env={}, check=True)\n"
        "with hitlog.context('a'):\n"
        "    subprocess.run(python, env={}, check=True)\n"
    )
    recording.program(program, HITLOG_CONTEXT="whole")
    contexts = {context for context, _, _ in recording.hits()}
    assert contexts == {"whole", "whole|a"}


@pytest.mark.parametrize(("option", "is_recorded"), [("-I", 1), ("-E", 1), ("-s", 1), ("-S", 0)])
def test_isolated_pythons_are_recorded_and_those_without_site_are_not(
    recording: Recording, option: str, is_recorded: int
) -> None:
    recording.python(option, "-c", "pass")
    assert len(recording.logs()) == is_recorded


def test_an_empty_variable_says_no(recording: Recording) -> None:
    (recording.folder / "child.py").write_text("x = 1\n")
    recording.program(
        "import subprocess, sys\n"
        "subprocess.run([sys.executable, 'child.py'], env={'HITLOG_RUN': ''}, check=True)\n"
    )
    assert recording.lines(name="child.py") == set()
    assert len(recording.logs()) == 1


@pytest.fixture
def run_beside(recording: Recording) -> Iterator[subprocess.Popen[bytes]]:
    """A recorded process of the same user that still runs, and that is nobody's ancestor here."""
    recording.begin()
    process = recording.start("-c", "import sys; print(flush=True); sys.stdin.read()")
    yield process
    end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    assert process.wait() == 0


def test_no_other_process_of_the_user_joins(
    recording: Recording, run_beside: subprocess.Popen[bytes]
) -> None:
    assert len(markers_of(run_beside.pid)) == 1
    program = "import sys; print(sorted(name for name in sys.modules if 'hitlog' in name))"
    for environment in ({}, without_run()):
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")
        # Unless this test itself is recorded by somebody; but into that run it is not.
        assert hitlog.is_recording() or done.stdout == "[]\n"
    assert len(recording.logs()) == 1


def test_a_marker_goes_with_its_process(
    recording: Recording, run_beside: subprocess.Popen[bytes]
) -> None:
    assert len(markers_of(run_beside.pid)) == 1
    end(run_beside)
    assert markers_of(run_beside.pid) == set()


def test_a_marker_of_a_killed_process_is_swept(recording: Recording) -> None:
    program = "import os; print(os.getpid(), flush=True); os.kill(os.getpid(), 9)"
    killed = int(recording.python("-c", program, status=-signal.SIGKILL).stdout)
    assert len(markers_of(killed)) == 1
    recording.python("-c", "pass")
    assert markers_of(killed) == set()


def test_a_marker_with_the_pid_of_another_process_is_not_followed(
    recording: Recording, run_beside: subprocess.Popen[bytes]
) -> None:
    """As when the pid of a killed process was given away: here to the parent of the child."""
    (path,) = markers_of(run_beside.pid)
    directory, name = os.path.split(path)
    _, start, namespace = name.split("-")
    program = (
        "import os, shutil, subprocess, sys\n"
        f"path = '{directory}/%d-{start}-{namespace}' % os.getpid()\n"
        f"shutil.copy2({path!r}, path)\n"
        "code = subprocess.run([sys.executable, '-c', 'pass'], env={}).returncode\n"
        # A recording that began meanwhile has swept it: there is no such process.
        "if os.path.exists(path): os.unlink(path)\n"
        "sys.exit(code)\n"
    )
    subprocess.run([sys.executable, "-c", program], env=without_run(), check=True)
    assert len(recording.logs()) == 1


@pytest.mark.parametrize("mount", ["", "--mount-proc"])
def test_in_another_container_nobody_is_found(recording: Recording, mount: str) -> None:
    """Where pids mean other processes, whether the child sees those or the ones outside."""
    enter = ["unshare", "--pid", "--fork", *mount.split()]
    if (
        not shutil.which("unshare")
        or subprocess.run([*enter, "true"], stderr=subprocess.DEVNULL).returncode
    ):
        pytest.skip("this user may not make a pid namespace")
    (recording.folder / "child.py").write_text("import os\nassert os.getpid() < 10\n")
    recording.program(
        "import subprocess, sys\n"
        f"subprocess.run([*{enter}, 'env', '-i', sys.executable, 'child.py'], check=True)\n"
    )
    assert len(recording.logs()) == 1


def test_the_nearest_ancestor_counts(recording: Recording, tmp_path: Path) -> None:
    (recording.folder / "child.py").write_text(CHILD)
    inner = tmp_path / "inner"
    inner.mkdir()
    recording.program(
        "import os, subprocess, sys\n"
        "script = f'{sys.executable} -m hitlog run --dir $INNER -o $INNER/x.db -- '\n"
        "script += f'env -i {sys.executable} child.py'\n"
        f"environment = {{'INNER': {str(inner)!r}}}\n"
        "subprocess.run(['sh', '-c', script], env=environment, check=True)\n"
    )
    assert recording.lines(name="child.py") == set()
    (run,) = (inner / ".hitlog").glob("20*")
    assert (str(recording.folder / "child.py"), 2) in {hit[1:] for hit in all_hits(read_run(run))}


# --- what other users can do: plant something in the place of the directory

PLANTED = {
    "a directory of another user": "mkdir -m 700 {0} && chown 4711 {0}",
    "a directory that others can write to": "mkdir -m 777 {0}",
    "a symbolic link": "mkdir -m 700 {1} && ln -s {1} {0}",
    "a symbolic link of another user": "mkdir -m 700 {1} && ln -s {1} {0} && chown -h 4711 {0}",
    "a file": "touch {0}",
}


def planted(script: str, folder: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a script where ``/tmp`` and ``/run`` are empty, with no process outside noticing."""
    if os.geteuid() != 0:
        pytest.skip("only root can make what another user would")
    if sys.prefix.startswith(("/tmp/", "/run/")):
        pytest.skip("Python is installed below /tmp or /run, which this test hides")
    private = "mount -t tmpfs none /tmp && mount -t tmpfs none /run || exit 99\n"
    command = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", private + script]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120
        )
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if done.returncode == 99 or "unshare" in done.stderr:
        pytest.skip(f"nothing can be mounted here: {done.stderr}")
    return done


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder that is not below ``/tmp``."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        yield Path(folder).resolve()


def run_planted(elsewhere: Path, plant: str, environment: str = "{}") -> tuple[int, str]:
    """Record a program whose child gets no environment; return the number of logs, and the messages."""
    (elsewhere / "child.py").write_text("x = 1\n")
    (elsewhere / "program.py").write_text(
        "import subprocess, sys\n"
        f"subprocess.run([sys.executable, 'child.py'], env={environment}, check=True)\n"
    )
    (elsewhere / "run.json").write_text("{}")
    plant = plant.format(f"/tmp/hitlog-{os.geteuid()}", "/tmp/elsewhere")
    done = planted(
        f"{plant} && {sys.executable} program.py && ls -A /tmp/hitlog-* /tmp/elsewhere/ >&2; true",
        str(elsewhere),
        clean_environment(HITLOG_RUN=str(elsewhere), HITLOG_DEBUG="1"),
    )
    assert done.returncode == 0, done.stderr
    return len(list(elsewhere.glob("*.hitlog"))), done.stderr


@pytest.mark.parametrize("plant", PLANTED)
def test_what_another_user_planted_is_not_used(elsewhere: Path, plant: str) -> None:
    logs, messages = run_planted(elsewhere, PLANTED[plant])
    assert logs == 1
    assert "without the environment are not recorded" in messages
    # Neither there nor where the link leads lies a marker.
    assert not re.search(r"^\d+-\d+-\d+$", messages, re.MULTILINE), messages


# Leaves a marker that names this process, as another user would who wants its children.
BAIT = """\
import os, subprocess, sys
stat = open("/proc/self/stat").read().rpartition(")")[2].split()
name = f"{os.getpid()}-{stat[19]}-{os.stat('/proc/self/ns/pid').st_ino}"
boot = open("/proc/sys/kernel/random/boot_id").read().strip()
fields = ["hitlog 1", boot, os.path.abspath("bait"), "0", "", ""]
file = os.open(f"/tmp/hitlog-{os.geteuid()}/{name}", os.O_WRONLY | os.O_CREAT, 0o600)
os.write(file, "\\0".join(fields).encode())
os.close(file)
subprocess.run([sys.executable, "child.py"], env={}, check=True)
"""


@pytest.mark.parametrize(
    ("plant", "is_taken"),
    [("mkdir -m 700 {0}", True), *((PLANTED[plant], False) for plant in PLANTED if plant != "a file")],
)
def test_a_bait_of_another_user_is_not_taken(elsewhere: Path, plant: str, is_taken: bool) -> None:
    (elsewhere / "child.py").write_text("x = 1\n")
    (elsewhere / "program.py").write_text(BAIT)
    (elsewhere / "bait").mkdir()
    plant = plant.format(f"/tmp/hitlog-{os.geteuid()}", "/tmp/elsewhere")
    done = planted(f"{plant} && {sys.executable} program.py", str(elsewhere), without_run())
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list((elsewhere / "bait").glob("*.hitlog"))) == int(is_taken)


def test_without_anything_planted_the_child_is_found(elsewhere: Path) -> None:
    """Without this the test above could not fail."""
    assert run_planted(elsewhere, "true")[0] == 2


def test_the_directory_of_the_session_comes_first(elsewhere: Path) -> None:
    """Where the system keeps a directory for the user, nobody else can be there before."""
    user = os.geteuid()
    prepare = f"mkdir -p /run/user/{user} && chmod 700 /run/user/{user} && mkdir -m 777 {{0}}"
    logs, messages = run_planted(elsewhere, prepare)
    assert logs == 2
    assert "not recorded" not in messages


@pytest.mark.parametrize(
    "change", ["chown 4711 {0}", "chmod 666 {0}", "mv {0} {1} && ln -s {1} {0}", "rm {0}; mkfifo {0}"]
)
def test_a_marker_that_is_not_ours_alone_is_not_followed(elsewhere: Path, change: str) -> None:
    """Nobody could have put it there, but for root."""
    change = change.format("$marker", "/tmp/other")
    script = f"marker=$(echo /tmp/hitlog-*/*-*); {change}; env -i {sys.executable} child.py; true"
    (elsewhere / "child.py").write_text("x = 1\n")
    (elsewhere / "run.json").write_text("{}")
    (elsewhere / "program.py").write_text(f"import os\nassert os.system({script!r}) == 0\n")
    environment = clean_environment(HITLOG_RUN=str(elsewhere))
    done = planted(f"{sys.executable} program.py", str(elsewhere), environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(list(elsewhere.glob("*.hitlog"))) == 1
