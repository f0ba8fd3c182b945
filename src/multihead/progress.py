"""Lines of progress that read the same on a terminal and in a log, and the clock of the process."""

import time
from dataclasses import dataclass

STARTED = time.monotonic()  # imported before anything slow, so budgets count from the process's start


def elapsed() -> float:
    """Return the seconds since the process started."""
    return time.monotonic() - STARTED


def say(text: str) -> None:
    """Print one line with the elapsed time in front, at once."""
    print(f"[{elapsed():7.1f} s] {text}", flush=True)


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
