"""Ctrl-C that is not lost: Python raises it wherever it is, and where that is a callback of its own, passes over it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_COME: list[int] = []


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """Remember each Ctrl-C for as long as this lasts, besides what it does anyway.

    Nothing changes where it does nothing, as under nohup, or in a thread other than the main one, which none reaches.
    """
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield
        return

    def remember(number: int, frame: FrameType | None) -> None:
        _COME.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        _COME.clear()


def raise_interrupt() -> None:
    """Raise KeyboardInterrupt where one has come, and is still not obeyed."""
    if _COME:
        raise KeyboardInterrupt
