"""What symbolic links in folders lead to: found, compared, and reduced to few paths."""

import os
import stat
import tempfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

MANY, MOST = 100, 1000  # paths to mount
WRITTEN = ("/", "/dev", "/dev/shm", "/proc", "/sys", "/run")  # what a process needs to write to
MAX_LINKS = 40  # in a chain, as for the kernel of Linux

State = os.stat_result | None  # of a path itself, not of what it links to; None where a link leads nowhere
Walked = tuple[str, State, str]  # what walk yields


def state_of(walked: Iterable[Walked]) -> dict[str, tuple[int, ...]]:
    """Return by path what shows that something in folders, or behind a link in them, was changed.

    A file's own time can be put back, but not the time at which its inode was changed.
    """
    return {
        path: (state.st_mode, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns) if state else ()
        for path, state, _ in walked
    }


def ends_of_links(walked: Iterable[Walked], folders: Iterable[Path]) -> list[str]:
    """Return the files and folders outside of the walked folders that links in these lead to, the outermost only."""
    own = tuple(f"{folder.resolve()}/" for folder in folders)
    outside = {end for _, end in ends(walked) if not f"{end}/".startswith(own)}
    return _outermost(end for end in outside if os.path.isfile(end) or os.path.isdir(end))  # noqa: PTH112, PTH113


def links_on_the_way(walked: Iterable[Walked]) -> dict[str, str]:
    """Return {link: where it leads} for the links outside of the walked folders that a path through them meets."""
    met: dict[str, str] = {}
    folders: set[str] = set()  # even of 100,000 links' ends there are few
    for path, state, link in walked:
        folder = path.rpartition("/")[0]
        if link and folder not in folders:
            folders.add(folder)
            met |= links_in(folder)
        if link and state and stat.S_ISLNK(state.st_mode):
            met |= links_in(path)
    return met


def links_in(path: str) -> dict[str, str]:
    """Return {link: where it leads} for each symbolic link that resolving an absolute path meets."""
    met: dict[str, str] = {}
    place, parts, followed = "", path.split("/"), 0
    while parts and followed < MAX_LINKS:
        part = parts.pop(0)
        if part == "..":
            place = place.rpartition("/")[0]
        elif part not in ("", "."):
            step = f"{place}/{part}"
            try:
                target = os.readlink(step)  # noqa: PTH115 - paths of 100,000 links take seconds
            except OSError:  # a file or folder, or not there
                place = step
            else:
                met[step] = target
                followed += 1
                parts = target.split("/") + parts
                place = "" if target.startswith("/") else place
    return met


def few_to_mount(paths: list[str]) -> list[str]:
    """Return what to mount for the ends of links: themselves, or of more than MANY the folders that hold them.

    The deepest are widened first, until they are few enough, and none up to a folder that a process writes to or that
    holds a person's home. They may still be more than MOST.
    """
    few, never = paths, _never_mounted()
    while len(few) > MANY:
        deepest = max(path.count("/") for path in few)
        wider = _outermost(_parent(path, never) if path.count("/") == deepest else path for path in few)
        if wider == few:
            break
        few = wider
    return few


def _parent(path: str, never: Collection[str]) -> str:
    parent = path.rpartition("/")[0] or "/"
    return path if parent in never else parent


def _never_mounted() -> frozenset[str]:
    home = Path("~").expanduser().resolve()
    return frozenset({*WRITTEN, str(Path(tempfile.gettempdir()).resolve()), str(home), *map(str, home.parents)})


def _outermost(paths: Iterable[str]) -> list[str]:
    """Return the paths, sorted, without those that lie in another."""
    kept: list[str] = []
    for path in sorted({f"{path}/" for path in paths}):
        if not kept or not path.startswith(kept[-1]):
            kept.append(path)
    return [path[:-1] for path in kept]


def walk(folders: Iterable[Path]) -> Iterator[Walked]:
    """Yield the folders, whatever is in them, and what the links in them lead to, each link before that.

    The third is the link in the folder that leads to a path outside of it, over others or at once; else "".
    """
    seen: set[tuple[int, int]] = set()
    for folder in filter(Path.exists, folders):
        yield str(folder), folder.stat(), ""
        yield from _walk(str(folder), seen)


def _walk(folder: str, seen: set[tuple[int, int]]) -> Iterator[Walked]:
    try:
        itself = Path(folder).stat()
        with os.scandir(folder) as opened:
            entries = sorted(opened, key=lambda entry: entry.name)
    except OSError:  # a file, or what cannot be read, and so not be mounted
        return
    if (itself.st_dev, itself.st_ino) in seen:
        return
    seen.add((itself.st_dev, itself.st_ino))
    for entry in entries:
        try:
            yield entry.path, entry.stat(follow_symlinks=False), ""
        except OSError:  # it is gone
            continue
        if entry.is_symlink():
            yield from _chain(entry.path)
        if _is_folder(entry):
            yield from _walk(entry.path, seen)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle, or into what cannot be read: it leads nowhere
        return False


def _chain(first: str) -> Iterator[Walked]:
    """Yield what a link leads to, link by link."""
    link = first
    for _ in range(MAX_LINKS):
        try:
            target = os.readlink(link)  # noqa: PTH115 - paths of 100,000 links take seconds
        except OSError:  # it is gone
            return
        link = target if target.startswith("/") else f"{link.rpartition('/')[0]}/{target}"
        try:
            state = os.lstat(link)
        except OSError:
            yield link, None, first
            return
        yield link, state, first
        if not stat.S_ISLNK(state.st_mode):
            return


def ends(walked: Iterable[Walked]) -> Iterator[tuple[str, str]]:
    """Yield each link with the path at its end, where there is anything."""
    resolved: dict[str, str] = {}  # folders: even of 100,000 links' ends there are few
    for path, state, link in walked:
        if link and state and not stat.S_ISLNK(state.st_mode):
            folder, _, name = path.rpartition("/")
            if folder not in resolved:
                resolved[folder] = os.path.realpath(folder or "/")
            yield link, os.path.realpath(path) if name in ("", ".", "..") else f"{resolved[folder].rstrip('/')}/{name}"
