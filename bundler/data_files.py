"""What lies in a folder of files, without what systems and editors leave beside them."""

from collections.abc import Iterator
from pathlib import Path

LEFT_BY_SYSTEMS = ("__macosx", "thumbs.db", "desktop.ini")


def is_left_by_a_system(name: str) -> bool:
    """Tell whether a file or folder of that name is none of the data: hidden (._a.csv, .DS_Store), or a system's."""
    return name.startswith(".") or name.lower() in LEFT_BY_SYSTEMS


def matching(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield the paths in a folder that match a glob pattern, but for what a system left there and all that is in it."""
    for path in folder.glob(pattern):
        if not any(map(is_left_by_a_system, path.relative_to(folder).parts)):
            yield path
