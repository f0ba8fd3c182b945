"""Files that appear whole or not at all, whatever ends the process."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give the name to write to; what was written there takes the path's place in one step at the end.

    Where the writing fails, the path stays as it was.
    """
    new = path.with_name(f"new-{path.name}")
    try:
        yield new
        with new.open("rb") as written:
            os.fsync(written.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
