"""Processes of this package that this one starts for its work, each on a GPU of its own or with its share of the cores.

A child is sent its work through a channel, and has the parent's clock, so that a time budget counts from the parent's
start. Its lines appear in the parent's log behind its name. On Linux it ends with its parent, even one that is killed.
"""

import ctypes
import math
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import wait
from contextlib import ExitStack, suppress
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_channels
from pathlib import Path
from typing import Any, NamedTuple

from multihead.runtime.background import in_background
from multihead.runtime.errors import UserError
from multihead.runtime.log import LINES, STARTED, STARTED_VARIABLE, elapsed, log
from multihead.runtime.processors import cores, visible_gpus, with_threads

COMMAND = (sys.executable, "-P", "-m", "multihead", "child")
CHANNEL_VARIABLE = "MULTIHEAD_CHANNEL"  # in a child: the number of its end of the channel, and the parent's process
PR_SET_PDEATHSIG = 1
SECONDS_TO_END = 30  # that an interrupted child has
SECONDS_TO_GO = 30  # that one has that has closed its channel
SECONDS_TO_DIE = 10  # that one has that was killed
SECONDS_OF_LINES = 10  # that the lines of a child that has ended may take to come


class Place(NamedTuple):
    """What a child computes on: what the log calls it, and the environment variables that give it that and no more."""

    name: str
    environment: Mapping[str, str]


def places(workers: int) -> list[Place]:
    """Return the places of so many children: each has one of the visible GPUs, or its share of the cores.

    workers: 0 for one per visible GPU, or else one. There are no more than GPUs: a network takes all memory of one.
    """
    gpus = visible_gpus()
    workers = workers or max(1, len(gpus))
    if gpus:
        if workers > len(gpus):
            log.warning(f"workers = {workers}, but {len(gpus)} GPUs: one process on each")
        return [Place(f"GPU {gpu}", {"CUDA_VISIBLE_DEVICES": gpu}) for gpu in gpus[:workers]]
    return [Place(f"worker {number}", with_threads(max(1, cores() // workers))) for number in range(workers)]


class Child:
    """A child and the parent's end of its channel.

    name: in front of its lines. work: the first thing that it receives. copy: a file that gets its lines as well.
    """

    def __init__(self, name: str, place: Place, work: Any, copy: Path | None = None) -> None:
        self.name, self._copy, self._last = name, copy, ""
        self.channel, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                COMMAND,
                env=_environment(theirs) | dict(place.environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        log.info(f"{name}: process {self._process.pid}{f' on {place.name}' if place.name != name else ''}")
        self._lines = in_background(self._pass_on)
        in_background(partial(self._send, work))  # which takes as long as the child takes to import what the work is of

    def end(self) -> None:
        """Kill it, if it still runs; one that a driver holds is left to the system."""
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self.wait(SECONDS_TO_DIE)
        self.channel.close()

    def ended(self) -> str:
        """Return what wait does of one that has closed its channel, and kill it if it does not go."""
        try:
            return self.wait(SECONDS_TO_GO)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._last or "it closed its channel"

    def wait(self, seconds: float | None = None) -> str:
        """Wait until it ends, and return what went wrong, "" for nothing; subprocess.TimeoutExpired after the seconds.

        It has its exit code or signal, and the last line of what it said.
        """
        code = self._process.wait(seconds)
        wait([self._lines], SECONDS_OF_LINES)  # what it started may hold its output open
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"{how}{self._last and ': '}{self._last}" if code else ""

    def interrupt(self) -> None:
        """Interrupt it, as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def _send(self, work: Any) -> None:
        with suppress(OSError):  # it has ended, which waiting for it finds out
            self.channel.send(work)

    def _pass_on(self) -> None:
        assert self._process.stdout
        with ExitStack() as files:
            lines, copy = files.enter_context(self._process.stdout), None
            with suppress(OSError):
                copy = files.enter_context(self._copy.open("ab")) if self._copy else None
            for line in lines:
                text = line.decode(errors="replace").rstrip("\n")
                self._last = text.strip() or self._last
                LINES.pass_on(f"{self.name}: {text}")
                if copy:
                    with suppress(OSError):  # a full disk costs the copy only
                        copy.write(line)
                        copy.flush()


def run_all(
    works: Mapping[str, Any], where: Sequence[Place], copies: Mapping[str, Path], deadline: float, latest: float
) -> dict[str, str]:
    """Give each of the works, by its name, to a child, one at a time at each place; return why some failed, by name.

    copies: files that get a child's lines. deadline: in seconds since the process started; none is begun after it.
    latest: when those that still run are killed. Where this is interrupted, so are the children.
    """
    waiting, free = deque(works), deque(where)
    running: dict[Child, Place] = {}
    failed: dict[str, str] = {}
    try:
        while waiting or running:
            while waiting and free and elapsed() < deadline:
                name, place = waiting.popleft(), free.popleft()
                running[Child(name, place, works[name], copies[name])] = place
            if not running:
                log.warning(f"the time budget is over; left for the next session: {', '.join(waiting)}")
                break
            left = None if math.isinf(latest) else max(0.0, latest - elapsed())
            ended = wait_for_channels([child.channel for child in running], left)
            if not ended:
                failed |= {child.name: "still ran when the time budget was over" for child in running}
                break
            for child in [child for child in running if child.channel in ended]:
                free.append(running.pop(child))
                problem = child.ended()
                child.end()
                log.info(f"{child.name}: {problem or 'done'}")
                if problem:
                    failed[child.name] = problem
    finally:
        interrupt_all([*running])
    return failed


def interrupt_all(children: Sequence[Child]) -> None:
    """Interrupt children, and kill those that do not end."""
    for child in children:
        child.interrupt()
    for child in children:
        with suppress(subprocess.TimeoutExpired):
            child.wait(SECONDS_TO_END)
        child.end()


def channel() -> Connection:
    """Return a child's end of its channel, and make it end with its parent; UserError for what is no child."""
    number, _, parent = os.environ.pop(CHANNEL_VARIABLE, "").partition(" ")
    if not parent:
        raise UserError("child: is started by train and predict only")
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != int(parent):  # which ended before
            raise UserError("child: its parent has ended")
    os.set_inheritable(int(number), False)  # what the child starts must not hold it open
    return Connection(int(number))


def _environment(theirs: Connection) -> dict[str, str]:
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),  # a script's package and wheels are in no other place
        STARTED_VARIABLE: repr(STARTED),
        CHANNEL_VARIABLE: f"{theirs.fileno()} {os.getpid()}",
    }
