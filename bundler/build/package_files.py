"""What of the package's folder travels in a script, and what stays at home."""

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from bundler.errors import BundlerError
from multihead.config.files import is_left_by_system

CACHES = ("__pycache__", "*.py[co]")  # Python makes them anew
TASKS = ("config", "tasks")  # a script carries its own, as the text TASK
LITTER = ("*~", "#*#", "*.sw[op]", "*.orig", "*.rej", "*.bak")  # what editors and patches leave


def read_package(package: Path) -> dict[str, bytes]:
    """Return {path below the package's parent, with /: content} of every file that travels, sorted by path.

    Links to files and folders are followed. Raises BundlerError for a file that cannot be read, a name that is not
    UTF-8, and a folder without modules.
    """
    files = {name: _content(path) for name, path in _entries(package) if not _stays(path)}
    if not any(name.endswith(".py") for name in files):
        raise BundlerError(f"{package}: no modules there")
    return dict(sorted(files.items()))


def data_files(package: Path) -> dict[str, int]:
    """Return {name: bytes} of the files that travel beside the modules, those that links lead to included."""
    return {name: len(content) for name, content in read_package(package).items() if not name.endswith(".py")}


def left_out(package: Path) -> list[str]:
    """Return the names of the files and folders that stay at home, but for Python's caches; a folder's name ends in /.

    They are hidden, a system's or an editor's, or no files at all, as a link that leads nowhere.
    """
    stays = ((name, path) for name, path in _entries(package) if _stays(path) and not _is_like(path.name, CACHES))
    return sorted(f"{name}/" if path.is_dir() else name for name, path in stays)


def _entries(package: Path) -> Iterator[tuple[str, Path]]:
    """Yield (name, path) of each file but for the TASKS, and of each folder that is not entered but stays at home."""
    tasks = package.joinpath(*TASKS)
    folders: list[tuple[Path, tuple[Path, ...]]] = [(package, (package.resolve(),))]
    while folders:
        folder, inside = folders.pop()
        try:
            entries = [path for path in folder.iterdir() if path != tasks]
        except OSError as error:
            raise BundlerError(f"{folder}: {error.strerror}") from error
        for path in entries:
            if not path.is_dir() or _stays(path):
                yield _name(path, package), path
            elif path.resolve() not in inside:  # a link to a folder that holds it has no end
                folders.append((path, (*inside, path.resolve())))


def _stays(path: Path) -> bool:
    is_unwanted = is_left_by_system(path.name) or _is_like(path.name, (*CACHES, *LITTER))
    return is_unwanted or not (path.is_file() or path.is_dir())


def _is_like(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _name(path: Path, package: Path) -> str:
    """Return a file's name as the script writes it: UTF-8, whatever encoding this machine takes names to have."""
    try:
        return os.fsencode(path.relative_to(package.parent).as_posix()).decode()
    except UnicodeDecodeError as error:
        raise BundlerError(f"{str(path)!a}: its name is not UTF-8") from error


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundlerError(f"{path}: {error.strerror}") from error
