"""Run a command with its log passed on, its memory sampled, and ended as soon as it breaks a limit."""

import contextlib
import math
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TextIO

from bundler.errors import RehearsalError
from bundler.rehearse.events import read_events
from bundler.rehearse.process_memory import OF_THE_LARGEST, TreeMemory, adopts_orphans, children_of, oom_kills
from multihead.config import EVENTS_VARIABLE, FILE_PREDICTED

SECONDS_BETWEEN_SAMPLES = 0.2
SECONDS_TO_END = 10  # that killed processes have; one that waits for a disk may need more, and gets none
SECONDS_BETWEEN_KILLS = 0.01
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    code: its exit code; below 0, the signal that ended it. peak_bytes: the most memory that it had, as `measured` says
    it was found. file_bytes: its usual memory from each test file's end to the next one's, nan where there was no time
    for a sample. log: what it said. end: when that was, in words.
    was_oom: whether the kernel's OOM killer was at work meanwhile, if that is known.
    """

    code: int
    seconds: float
    peak_bytes: int
    measured: str
    file_bytes: Sequence[float]
    log: str
    end: str
    was_oom: bool | None


class Limits(NamedTuple):
    """What a run is ended for: memory in bytes, time in minutes, and a file in which something that it did is told."""

    memory_bytes: float = math.inf
    minutes: float = math.inf
    refused: Path | None = None


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    working: Path,
    log: Path,
    limits: Limits,
    *,
    is_supervised: bool = False,
) -> Ended:
    """Run a command in the working folder, its output into the log and from there to the terminal.

    environment: where it names a file of events, the run tells there which test files are done. is_supervised: the
    command and its child only watch over the run. Whatever it started and left running is ended with it. Raises
    RehearsalError as soon as it breaks a limit.
    """
    kills_before = oom_kills()
    others = children_of(os.getpid())
    with log.open("wb") as out, log.open(encoding="utf-8", errors="replace") as shown, adopts_orphans():
        process = subprocess.Popen(
            command,
            cwd=working,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        memory = TreeMemory(process.pid, others, is_supervised=is_supervised)
        watch = _Watch(memory, shown, Path(environment.get(EVENTS_VARIABLE, os.devnull)))
        try:
            while True:
                ended, status, usage = os.wait4(process.pid, os.WNOHANG)
                watch.look(is_running=not ended)
                if ended:
                    break
                watch.check(limits)
                time.sleep(SECONDS_BETWEEN_SAMPLES)
        finally:
            _end(process, memory)
        shown.seek(0)
        whole_log = shown.read()  # even if the file is gone
    process.returncode = os.waitstatus_to_exitcode(status)
    kills = oom_kills()
    return Ended(
        code=process.returncode,
        seconds=watch.seconds,
        peak_bytes=watch.memory.peak if watch.memory.how != OF_THE_LARGEST else usage.ru_maxrss * MAXRSS_UNIT,
        measured=watch.memory.how,
        file_bytes=watch.file_bytes,
        log=whole_log,
        end=watch.now(),
        was_oom=None if kills is None or kills_before is None else kills > kills_before,
    )


class _Watch:
    """Follows a run's log, its events and its memory, and so knows how far it was when."""

    def __init__(self, memory: TreeMemory, log: TextIO, events: Path) -> None:
        self.memory = memory
        self._log, self._events, self._started = log, events, time.monotonic()
        self._lines, self._last, self._begun = 0, "", ""
        self._samples: list[list[int]] = [[]]  # between one file's end and the next one's

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    @property
    def file_bytes(self) -> list[float]:
        """The median of the memory from each file's end to the next one's; before the first, it is still growing."""
        return [statistics.median(samples) if samples else math.nan for samples in self._samples[1:]]

    def look(self, *, is_running: bool) -> None:
        """Pass on what the log has got, line by line, and sample the memory."""
        *lines, self._begun = (self._begun + self._log.read()).split("\n")
        for line in lines if is_running or not self._begun else [*lines, self._begun]:
            self._lines, self._last = self._lines + 1, line.strip() or self._last
            _show(f"  {line}\n")
        files_done = len(read_events(self._events, FILE_PREDICTED))
        self._samples += [[] for _ in range(1 + files_done - len(self._samples))]
        if is_running:
            self._samples[-1].append(self.memory.sample())

    def check(self, limits: Limits) -> None:
        """Raise RehearsalError, with how far the run was, where it broke a limit."""
        if self.memory.peak > limits.memory_bytes:
            had, allowed = self.memory.peak / 1e9, limits.memory_bytes / 1e9
            raise RehearsalError(f"had {had:.2f} GB of memory {self.now()}; at most {allowed:g} GB (--memory)")
        if self.seconds > limits.minutes * 60:
            raise RehearsalError(f"had not ended after {limits.minutes:g} minutes (--timeout), {self.now()}")
        if limits.refused and (refused := first_line(limits.refused)):
            raise RehearsalError(f"{refused}, {self.now()}")

    def now(self) -> str:
        """Return at which second and line of the log it is."""
        return f"at second {self.seconds:.1f}, line {self._lines} of its log ({self._last or 'it has said nothing'})"


def _show(text: str) -> None:
    """Write to the terminal, where there is one, what its encoding can."""
    if sys.stdout:
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()


def first_line(file: Path) -> str:
    """Return the first line of a file that another process may be writing, nothing as long as there is none."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    except OSError:
        return ""
    return lines[0].strip() if lines and lines[0].endswith("\n") else ""


def _end(process: "subprocess.Popen[bytes]", memory: TreeMemory) -> None:
    """Kill whatever is left of a run, what has a session of its own too, and return when it has ended."""
    left = memory.processes() - {process.pid}
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    latest = time.monotonic() + SECONDS_TO_END
    while left:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(SECONDS_BETWEEN_KILLS)
        left = memory.living() - {process.pid} if time.monotonic() < latest else set()
    process.wait()
    for pid in memory.adopted():
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
