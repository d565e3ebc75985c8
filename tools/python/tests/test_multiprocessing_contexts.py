"""A process of multiprocessing begins in the context in which it was started, whatever the method."""

from __future__ import annotations

import pytest
from conftest import Recording

METHODS = ["fork", "spawn", "forkserver"]

PROGRAM = """\
{imports}
def work(name):
    import os
    assert os.environ.get('HITLOG_CONTEXT') == name, os.environ.get('HITLOG_CONTEXT')
    if name == 'a':
        x = 'a'
    elif name == 'b':
        x = 'b'
    else:
        x = 'none'
def start(name):
    import multiprocessing
    process = multiprocessing.get_context({method!r}).Process(target=work, args=(name,))
    process.start()
    process.join()
    assert process.exitcode == 0
if __name__ == '__main__':
    import hitlog
    for name in ('a', 'b'):
        with hitlog.context(name):
            start(name)
    start(None)
"""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("imports", ["", "import multiprocessing.spawn"])
def test_each_process_has_the_context_of_its_start(
    recording: Recording, method: str, imports: str
) -> None:
    logs = recording.program(PROGRAM.format(method=method, imports=imports))
    assert len(logs) >= 4
    branches = {6, 8, 10}
    assert recording.lines("a") & branches == {6}
    assert recording.lines("b") & branches == {8}
    assert recording.lines("") & branches == {10}


def test_the_module_of_the_program_is_imported_in_the_context(recording: Recording) -> None:
    """The server has another context, and the child imports the module before it does anything."""
    recording.program(
        "import multiprocessing, hitlog\n"
        "def work(): pass\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('forkserver')\n"
        "    context.set_forkserver_preload(['os'])\n"
        "    for name in ('a', 'b'):\n"
        "        with hitlog.context(name):\n"
        "            process = context.Process(target=work)\n"
        "            process.start()\n"
        "            process.join()\n"
    )
    assert {1, 2, 3} <= recording.lines("a")
    assert {1, 2, 3} <= recording.lines("b")


def test_a_child_without_hitlog_is_not_disturbed(recording: Recording) -> None:
    """As with another interpreter, set by multiprocessing.set_executable."""
    (recording.folder / "nothing" / "hitlog").mkdir(parents=True)
    (recording.folder / "nothing" / "hitlog" / "__init__.py").write_text("raise KeyError\n")
    recording.program(
        "import multiprocessing, os\n"
        "def work(): pass\n"
        "if __name__ == '__main__':\n"
        "    os.environ['PYTHONPATH'] = 'nothing'\n"
        "    del os.environ['HITLOG_RUN']\n"
        "    process = multiprocessing.get_context('spawn').Process(target=work)\n"
        "    process.start()\n"
        "    process.join()\n"
        "    assert process.exitcode == 0\n"
    )
    assert 9 in recording.lines()
