"""One command at a time in a study's folder, one process in a trial's."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from bundler.errors import BundlerError

LOCK_FILE = ".lock"
SECONDS_BETWEEN_LOOKS = 0.1


@contextmanager
def locked(folder: Path, seconds: float = 0) -> Iterator[IO[str]]:
    """Hold a folder's lock, which the system takes back however the process ends; yield the file that holds it.

    A process that inherits the file has the lock as well, until it ends. seconds: to wait for it, before the
    BundlerError that another has it.
    """
    latest = time.monotonic() + seconds
    with (folder / LOCK_FILE).open("a+") as file:
        while not _has(file):
            if time.monotonic() >= latest:
                file.seek(0)
                raise BundlerError(f"{folder}: process {file.read().strip()} is at work in it")
            time.sleep(SECONDS_BETWEEN_LOOKS)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield file


def _has(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
