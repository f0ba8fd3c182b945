"""The log: lines that read the same on a terminal and in a file, with levels, and the clock of the process."""

import logging
import os
import resource
import sys
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STARTED_VARIABLE = "MULTIHEAD_STARTED"  # in a process that another one started for its work: when that began
# Imported before anything slow, so budgets count from the process's start
STARTED = float(os.environ.get(STARTED_VARIABLE) or time.monotonic())
ONCE = {"is_said_once": True}  # the extra of a record that is left out where this process has said the same before


def elapsed() -> float:
    """Return the seconds since the process started, or the one that it works for."""
    return time.monotonic() - STARTED


def memory_gb() -> float:
    """Return the memory that the process has now, in 1e9 bytes; where there is no /proc, the most that it ever had."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize() / 1e9
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak * (1 if sys.platform == "darwin" else 1024) / 1e9


class Lines(logging.Handler):
    """Prints each record at once as a line, with the elapsed time and, from a warning on, its level in front.

    live: the console of a live line, while there is one (progress.py): lines go above it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live: Any = None
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if getattr(record, "is_said_once", False):
            if text in self._said:
                return
            self._said.add(text)
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        line = f"[{elapsed():7.1f} s] {level}{text}"
        if self.live:
            self.live.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, flush=True)

    def pass_on(self, line: str) -> None:
        """Print a line of another process as it is, between two lines of this one; nothing where no output takes it."""
        with self.lock or nullcontext(), suppress(OSError, ValueError):
            print(line, flush=True)


log, LINES = logging.getLogger("multihead"), Lines()
log.addHandler(LINES)
log.setLevel(logging.INFO)
log.propagate = False


@dataclass
class Stage:
    """What went through one stage of the work: images, and the seconds that they took there."""

    images: int = 0
    seconds: float = 0.0

    def add(self, images: int, seconds: float) -> None:
        self.images += images
        self.seconds += seconds
