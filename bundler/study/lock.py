"""One command at a time in a study's folder, one process in a trial's."""

import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from bundler.errors import BundlerError

LOCK_FILE = ".lock"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
SECONDS_BETWEEN_LOOKS = 0.1


@contextmanager
def locked(folder: Path, seconds: float = 0) -> Iterator[IO[str]]:
    """Hold a folder's lock, which the system takes back however the process ends; yield the file that holds it.

    A process that inherits the file has the lock as well, until it ends. seconds: to wait for it, before the
    BundlerError that another has it. Raises BundlerError too where the folder takes no file, or its file system has no
    locks.
    """
    latest = time.monotonic() + seconds
    try:
        file = (folder / LOCK_FILE).open("a+", encoding="utf-8")
    except OSError as error:
        raise BundlerError(
            f"{folder}: a study writes into its folder, and here it cannot ({error.strerror})"
        ) from error
    with file:
        while not _has(file, folder):
            if time.monotonic() >= latest:
                file.seek(0)
                holder = file.read().strip() or "another process"  # which has not written yet who it is
                raise BundlerError(f"{folder}: {holder} is at work in it")
            time.sleep(SECONDS_BETWEEN_LOOKS)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield file


def _has(file: IO[str], folder: Path) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        raise BundlerError(f"{folder}: its file system has no locks; a study needs another place") from error
    return True
