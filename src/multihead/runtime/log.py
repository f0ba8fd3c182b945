"""Lines of progress that read the same on a terminal and in a log, and the clock of the process."""

import resource
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

STARTED = time.monotonic()  # imported before anything slow, so budgets count from the process's start


def elapsed() -> float:
    """Return the seconds since the process started."""
    return time.monotonic() - STARTED


def memory_gb() -> float:
    """Return the memory that the process has now, in 1e9 bytes; where there is no /proc, the most that it ever had."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize() / 1e9
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak * (1 if sys.platform == "darwin" else 1024) / 1e9


def say(text: str) -> None:
    """Print one line with the elapsed time in front, at once."""
    print(f"[{elapsed():7.1f} s] {text}", flush=True)


@cache
def say_once(text: str) -> None:
    """Print a line as say does, but not again what this process has said so before."""
    say(text)


@dataclass
class Stage:
    """What went through one stage of the work: images, and the seconds that they took there."""

    images: int = 0
    seconds: float = 0.0

    def add(self, images: int, seconds: float) -> None:
        self.images += images
        self.seconds += seconds


class Pace:
    """Says that it is time for a line when `seconds` have gone by since the last one."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._last = time.monotonic()

    def is_due(self) -> bool:
        now = time.monotonic()
        if now - self._last < self.seconds:
            return False
        self._last = now
        return True
