"""Decides whether this process is recorded, as every Python process does when it starts.

It is if ``HITLOG_RUN`` names a run. Without that variable, as in a child that was started with
``env={}``, it is if an ancestor left a marker (``src/run_marker.rs`` describes them); an empty variable
means no. ``hitlog.pth`` comes here only if there is a variable or a directory for markers, and not by
an import, which would search all of ``sys.path``. Where somebody else's run is under way, each Python
process pays for what is done here, so it imports nothing.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

# Ancestors to look at; where there are more, something is wrong.
_ANCESTORS_MAX = 1000
# A directory with mode 0700, and a file with mode 0600.
_PRIVATE_DIRECTORY, _PRIVATE_FILE = 0o040700, 0o100600


def start() -> None:
    """Begin the recording of this process if there is one."""
    if os.environ.get("HITLOG_RUN"):
        import hitlog._start  # noqa: F401 - begins by itself
    elif "HITLOG_RUN" not in os.environ:
        found = find()
        if found:
            from hitlog import _start

            _start.start_quietly(*found)


def find() -> "Optional[tuple[str, bytes]]":
    """Find the run that an ancestor records into, and the context in which it started this process."""
    markers = _markers()
    if not markers:
        return None
    oldest = min(start for _, start in markers)
    process, child_start = os.getpid(), 0
    for _ in range(_ANCESTORS_MAX):
        parent, start = _parent_and_start(process)
        # This process itself is there, too, if it was recorded before an exec.
        if (process, start) in markers:
            return _read(markers[process, start], child_start)
        # Those above are older still.
        if parent == 0 or start < oldest:
            break
        process, child_start = parent, start
    return None


def _markers() -> "dict[tuple[int, int], str]":
    """Return the path of each marker of this user, under pid and start of its process."""
    user = os.geteuid()
    markers = {}
    namespace = None
    for directory in (f"/run/user/{user}/hitlog", f"/tmp/hitlog-{user}"):
        try:
            found = os.lstat(directory)
            # What another user could have put there is left alone.
            if found.st_mode != _PRIVATE_DIRECTORY or found.st_uid != user:
                continue
            for name in os.listdir(directory):
                namespace = namespace or str(os.stat("/proc/self/ns/pid").st_ino)
                process, _, rest = name.partition("-")
                start, _, of = rest.partition("-")
                if of == namespace:
                    markers[int(process), int(start)] = f"{directory}/{name}"
        except OSError:
            pass
    return markers


def _parent_and_start(process: int) -> "tuple[int, int]":
    """Return the pid of a process's parent, and its own start in clock ticks since boot."""
    stat = _contents(f"/proc/{process}/stat")
    # The command stands in parentheses and may hold anything, also blanks and parentheses.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return int(fields[1]), int(fields[19])


def _read(path: str, child_start: int) -> "Optional[tuple[str, bytes]]":
    """Read the run from a marker, and the context of the time at which a child was started."""
    # What follows the last NUL is just being written.
    version, boot, run, *notes = _contents(path, is_marker=True).split(b"\0")[:-1]
    if version != b"hitlog 1" or boot != _contents("/proc/sys/kernel/random/boot_id").strip():
        return None
    context = notes[1]
    for time, noted in zip(notes[::2], notes[1::2]):
        if child_start == 0 or int(time) <= child_start:
            context = noted
    return os.fsdecode(run), context


def _contents(path: str, is_marker: bool = False) -> bytes:
    """Read a file of the system, which comes in one piece, or a marker, which is this user's alone."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        size = 4096
        if is_marker:
            facts = os.fstat(file)
            size = facts.st_size
            if facts.st_mode != _PRIVATE_FILE or facts.st_uid != os.geteuid():
                raise PermissionError(f"{path} is not a file of this user alone")
        return os.read(file, size)
    finally:
        os.close(file)


start()
