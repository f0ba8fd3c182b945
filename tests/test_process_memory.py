import os
import subprocess
import sys
import time

import pytest

from bundler.rehearse import process_memory
from bundler.rehearse.process_memory import (
    OF_THE_LARGEST,
    OF_THE_TREE,
    OF_THE_TREE_RESIDENT,
    TreeMemory,
    oom_kills,
    tree,
)


def test_a_tree_is_all_that_descends_or_shares_the_session() -> None:
    parents = {1: (0, 1), 10: (1, 10), 30: (20, 10), 20: (10, 20), 25: (20, 25), 40: (1, 10), 50: (1, 50), 60: (50, 50)}
    assert tree({10}, parents) == {10, 20, 25, 30, 40}
    assert tree({99}, parents) == {99}


HOLD = (
    "import os\n"
    "print(os.getpid(), flush=True)\n"
    "input()\n"
    "kept = bytearray(b'x') * 200_000_000\n"
    "print(flush=True)\n"
    "input()\n"
)
START = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"


@pytest.mark.parametrize("how", [OF_THE_TREE, OF_THE_TREE_RESIDENT])
def test_memory_of_a_child_counts(how: str) -> None:
    if how == OF_THE_TREE and TreeMemory(os.getpid()).how != how:
        pytest.skip("this machine does not tell what processes share")
    # A small process starts the child: what pytest's shares with others like it may change meanwhile by as much
    command = [sys.executable, "-c", START, HOLD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as starting:
        assert starting.stdin
        assert starting.stdout
        child = int(starting.stdout.readline())
        memory = TreeMemory(starting.pid)
        memory.how = how
        assert memory.processes() == {starting.pid, child}
        before = memory.sample()
        starting.stdin.write("\n")
        starting.stdin.flush()
        starting.stdout.readline()
        after = memory.sample()
        starting.communicate("\n")
    assert 190e6 < after - before < 210e6
    assert memory.peak == after


def test_what_two_processes_share_counts_once() -> None:
    memory = TreeMemory(os.getpid())
    if memory.how != OF_THE_TREE:
        pytest.skip("this machine does not tell what processes share")
    code = (
        "import os, sys\n"
        "kept = bytearray(b'x') * 200_000_000\n"
        "children = [os.fork() for _ in range(2)]\n"
        "print(flush=True)\n"
        "os.read(0, 1)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as forking:
        assert forking.stdout
        for _ in range(4):
            forking.stdout.readline()
        of_all = TreeMemory(forking.pid)
        assert len(of_all.processes()) == 4
        assert 200e6 < of_all.sample() < 300e6
        forking.communicate(b"1234")


def test_a_machine_that_tells_nothing_is_said_to() -> None:
    memory = TreeMemory(os.getpid())
    memory.how = OF_THE_TREE_RESIDENT
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "")
        assert memory.sample() == 0
    assert memory.how == OF_THE_LARGEST


def test_a_process_that_has_ended_has_no_memory() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert TreeMemory(ended.pid).sample() == 0


def test_a_sample_costs_little_beside_a_kernel() -> None:
    memory = TreeMemory(os.getpid())
    started = time.process_time()
    for _ in range(5):
        memory.sample()
    assert (time.process_time() - started) / 5 < 0.1


def test_the_kernel_s_count_of_kills_is_read(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert oom_kills() is None or oom_kills() >= 0  # type: ignore[operator]
    monkeypatch.setattr(process_memory, "PROC", tmp_path)
    assert oom_kills() is None
