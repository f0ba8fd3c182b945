"""Work in threads that never hold up the end of the process, as those of an executor would."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock, Thread
from typing import Any, TypeVar

T = TypeVar("T")

_begun: list["Future[Any]"] = []
_begun_lock = Lock()  # a file's reader starts readers of its own while the caller starts the next file's


def in_background(work: Callable[[], T]) -> "Future[T]":
    """Start the work in a thread of its own and return its future."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    with _begun_lock:
        _begun[:] = [*(other for other in _begun if not other.done()), future]
    Thread(target=run, daemon=True).start()
    return future


def is_busy() -> bool:
    """Tell whether any such work is not done yet.

    Python must not end then: it stops each thread as soon as that asks for Python's lock, and one that is inside of
    polars takes the process with it, by SIGABRT or SIGSEGV in place of the exit code.
    """
    with _begun_lock:
        return not all(future.done() for future in _begun)
