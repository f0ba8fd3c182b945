"""Ctrl-C that is not lost: Python raises it wherever it is, and where that is a callback of its own, passes over it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_COME: list[int] = []


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """Remember each Ctrl-C for as long as this lasts, besides what it does anyway; for the main thread."""
    try:
        before = signal.signal(signal.SIGINT, _remember)
    except ValueError:  # another thread, which none reaches
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        _COME.clear()


def raise_interrupt() -> None:
    """Raise KeyboardInterrupt where one has come, and is still not obeyed."""
    if _COME:
        raise KeyboardInterrupt


def _remember(number: int, frame: FrameType | None) -> None:
    _COME.append(number)
    signal.default_int_handler(number, frame)
