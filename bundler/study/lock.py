"""One command at a time in a study's folder."""

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bundler.errors import BundlerError

LOCK_FILE = ".lock"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock, which the system takes back however the process ends.

    Raises BundlerError where another process has it, the folder takes no file, or its file system has no locks.
    """
    try:
        file = (folder / LOCK_FILE).open("a+", encoding="utf-8")
    except OSError as error:
        raise BundlerError(
            f"{folder}: a study writes into its folder, and here it cannot ({error.strerror})"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"  # which has not written yet who it is
            raise BundlerError(f"{folder}: {holder} is at work in it") from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            raise BundlerError(f"{folder}: its file system has no locks; a study needs another place") from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield
