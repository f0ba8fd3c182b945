"""The memory of a process and of all that it started, while it runs.

What a process only mapped from a file does not count: where memory is short, the system drops it. Files in /dev/shm and
those of memfd_create(2) are memory.
"""

import contextlib
import ctypes
import math
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
OF_THE_TREE = "all its processes, what they share counted once"
OF_THE_TREE_RESIDENT = "all its processes, what they share counted in each"
SHARED = Path("/dev/shm")
PR_SET_CHILD_SUBREAPER = 36
TRIES = 4  # of processes that come and go all the time, the least sum of so many
ENDED = ("Z", "X")  # the states that proc(5) calls zombie and dead
# Files of proc(5), and what in them is a process's own, swapped, and of files in memory: with its share of what it has
# in common with others, or with all of that
PROPORTIONAL = ("smaps_rollup", "Pss_Anon", "SwapPss", "Pss_Shmem")
RESIDENT = ("status", "RssAnon", "VmSwap", "RssShmem")
OF_THE_LARGEST = "its largest process; for want of /proc and ps, no limit is kept"


class Process(NamedTuple):
    """What a process belongs to, its parent and its session, when it was started, in ticks, and its state."""

    parent: int
    session: int
    started: int
    state: str


class TreeMemory:
    """Samples the memory of a process, of its descendants, and of whatever else is in its session.

    What was once seen to belong to the tree does so for good, though its parent ends and it has a session of its own.
    So does what this process adopts meanwhile (adopts_orphans): all its children but `others`. is_supervised: the
    process and its children only watch over what is theirs, and their memory does not count.

    peak: the most that a sample found, in bytes. how: what a sample is the memory of.
    """

    def __init__(self, pid: int, others: set[int] | None = None, *, is_supervised: bool = False) -> None:
        self.pid, self.peak = pid, 0
        self._others, self._is_supervised = others, is_supervised
        self._shared_before = _bytes_in(SHARED)
        self._seen: dict[int, int] = {}  # when each was started: another may get its number later
        self.how = OF_THE_TREE if (PROC / "self" / "smaps_rollup").is_file() else OF_THE_TREE_RESIDENT

    def sample(self) -> int:
        """Return the bytes of memory that the tree has now; 0 where the machine does not tell."""
        found = self._stable() if self.how == OF_THE_TREE else self._resident()
        self.peak = max(self.peak, found)
        return found

    def _stable(self) -> int:
        """Return a sum during which no process ended: what it shared with others would count more than once."""
        found = math.inf
        for _ in range(TRIES):
            before = self.processes()
            found = min(found, self._proportional())
            if found <= self.peak or before <= self.living():
                break
        return int(found)

    def processes(self) -> set[int]:
        """Return the ids of the tree's processes."""
        if self.how != OF_THE_TREE:
            return {self.pid, *self._sizes(_processes_by_ps())}
        return self._members(_processes_by_proc())

    def living(self) -> set[int]:
        """Return the ids of those that have not ended; of one that has, a number may stay until its parent asks."""
        if self.how != OF_THE_TREE:
            return {pid for pid, size in self._sizes(_processes_by_ps()).items() if size}  # what has ended has none
        now = _processes_by_proc()
        return {pid for pid in self._members(now) if pid in now and now[pid].state not in ENDED}

    def _members(self, now: Mapping[int, Process]) -> set[int]:
        seen = {pid for pid, started in self._seen.items() if pid in now and now[pid].started == started}
        members = tree(
            {self.pid} | seen | self.adopted(now),
            {pid: (process.parent, process.session) for pid, process in now.items()},
        )
        self._seen = {pid: now[pid].started for pid in members if pid in now}
        return members

    def adopted(self, now: Mapping[int, Process] | None = None) -> set[int]:
        """Return the ids of the processes that this one adopted."""
        if self._others is None or self.how != OF_THE_TREE:
            return set()
        return children_of(os.getpid(), now) - self._others - {self.pid}

    def _proportional(self) -> int:
        """Sum up the processes' proportional set sizes; of a single process its resident one, which costs no time.

        A shared page is both its file's and that of those who mapped it: the larger sum of the two is surely used.
        """
        now = _processes_by_proc()
        processes = self._members(now)
        if self._is_supervised:
            processes -= {self.pid, *children_of(self.pid, now)}
        sources = [RESIDENT] if len(processes) == 1 else [PROPORTIONAL, RESIDENT]
        sizes = [_size(pid, sources) for pid in processes]
        files = self._shared_growth(processes) + _bytes_of_memory_files(processes)
        return sum(own for own, _ in sizes) + max(files, sum(shared for _, shared in sizes))

    def _shared_growth(self, processes: Iterable[int]) -> int:
        """Return the bytes of files in the processes' /dev/shm; where it is this process's too, by how much it grew."""
        for pid in processes:
            theirs = PROC / str(pid) / "root" / SHARED.relative_to("/")
            with contextlib.suppress(OSError):
                if theirs.stat().st_dev != SHARED.stat().st_dev:
                    return _bytes_in(theirs)
                return max(0, _bytes_in(theirs) - self._shared_before)
        return 0

    def _resident(self) -> int:
        processes = _processes_by_ps()
        if not processes:
            self.how = OF_THE_LARGEST
        return sum(self._sizes(processes).values())

    def _sizes(self, processes: Mapping[int, tuple[tuple[int, int], int]]) -> dict[int, int]:
        """Return the resident bytes of the tree's processes, by what ps tells of all."""
        members = tree({self.pid}, {pid: parents for pid, (parents, _) in processes.items()})
        return {pid: processes[pid][1] for pid in members if pid in processes}


def tree(roots: set[int], parents: Mapping[int, Iterable[int]]) -> set[int]:
    """Return the roots and those that descend from them; parents: for each process, what it belongs to."""
    members, before = set(roots), 0
    while len(members) > before:
        before = len(members)
        members |= {pid for pid, belongs_to in parents.items() if not members.isdisjoint(belongs_to)}
    return members


def children_of(pid: int, now: Mapping[int, Process] | None = None) -> set[int]:
    """Return the ids of a process's children, none where there is no /proc. now: what is there, if that is known."""
    if now is None:
        now = _processes_by_proc() if PROC.is_dir() else {}
    return {child for child, process in now.items() if process.parent == pid}


@contextlib.contextmanager
def adopts_orphans() -> Iterator[None]:
    """Have this process adopt what its descendants leave behind, where the system can (prctl(2) of Linux).

    Else it would become a child of the system's first process, and nobody could tell whose it was.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", lambda *_: None)
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def oom_kills() -> int | None:
    """Return how many processes this machine's OOM killer has ended since it started, or None where it doesn't tell."""
    try:
        counters = (PROC / "vmstat").read_text(encoding="ascii")
        return next(int(line.split()[1]) for line in counters.splitlines() if line.startswith("oom_kill "))
    except (OSError, StopIteration):
        return None


def _processes_by_proc() -> dict[int, Process]:
    found = {}
    for name in os.listdir(PROC):  # noqa: PTH208 - ten times a second, and a Path for each takes longer than the rest
        if name.isdecimal():
            try:
                status = (PROC / name / "stat").read_bytes()
            except OSError:  # it has ended
                continue
            fields = status.rpartition(b")")[2].split()  # a name may hold spaces and brackets
            found[int(name)] = Process(int(fields[1]), int(fields[3]), int(fields[19]), fields[0].decode())
    return found


def _size(pid: int, sources: Iterable[tuple[str, str, str, str]]) -> tuple[int, int]:
    """Return the bytes of a process that are its own, and those that it mapped of files in memory.

    sources: PROPORTIONAL, RESIDENT; the first that tells counts. Of a process that has ended, none does.
    """
    for file, own, swapped, shared in sources:
        with contextlib.suppress(OSError, KeyError):  # another user's, an old kernel, or it has ended
            fields = _kilobytes(PROC / str(pid) / file)
            return (fields[own] + fields.get(swapped, 0)) * 1024, fields[shared] * 1024
    return 0, 0


def _kilobytes(path: Path) -> dict[str, int]:
    """Return the fields of one of proc(5)'s files that are in kB."""
    lines = (line.split() for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    return {line[0].removesuffix(":"): int(line[1]) for line in lines if line[-1:] == ["kB"]}


def _bytes_in(folder: Path) -> int:
    """Return the bytes that are used on a folder's file system, 0 where there is none."""
    try:
        state = os.statvfs(folder)
    except OSError:
        return 0
    return (state.f_blocks - state.f_bfree) * state.f_frsize


def _bytes_of_memory_files(processes: Iterable[int]) -> int:
    """Return the bytes of the files of memfd_create(2) that processes hold open, each counted once."""
    found = {}
    for pid in processes:
        with contextlib.suppress(OSError), os.scandir(PROC / str(pid) / "fd") as handles:
            for handle in handles:
                with contextlib.suppress(OSError):
                    if os.readlink(handle.path).startswith("/memfd:"):  # noqa: PTH115 - ten times a second
                        state = os.stat(handle.path)  # noqa: PTH116
                        found[state.st_dev, state.st_ino] = state.st_blocks * 512
    return sum(found.values())


def _processes_by_ps() -> dict[int, tuple[tuple[int, int], int]]:
    """Return parent, group and resident bytes of every process, as macOS's and Linux's ps tell them."""
    try:
        command = ["ps", "-A", "-o", "pid=,ppid=,pgid=,rss="]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return {}
    rows = (map(int, line.split()) for line in printed.splitlines())
    return {pid: ((parent, group), kilobytes * 1024) for pid, parent, group, kilobytes in rows}
