"""What lies in a folder of data, by a glob: files, and by the names they would have those in a zip or packed alone."""

import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import accumulate
from pathlib import Path, PurePosixPath

from multihead.config.files import IMAGE_SUFFIXES, is_left_by_system, without_suffix
from multihead.runtime.errors import UserError, first_line, listed

GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"
TABLES, PACKED = (".csv", ".tsv", ".txt"), (".zip", ".gz")
PARQUET_SUFFIX, PARQUET = ".parquet", b"PAR1"  # what its files begin with
DAMAGES = (
    OSError,
    EOFError,
    zlib.error,
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
)  # RuntimeError: a password


def matching(folder: Path, pattern: str) -> Iterator[str]:
    """Yield the files in a folder that match a glob pattern, as paths below it, those that the system left there apart.

    The case of an image's suffix does not count. Where there is no file, those in a zip that lies in its place count,
    and a table that is packed.
    """
    suffix = Path(pattern).suffix
    in_any_case = pattern.removesuffix(suffix) + "".join(f"[{letter.lower()}{letter.upper()}]" for letter in suffix)
    is_any = False
    for path in folder.glob(in_any_case if suffix.lower() in IMAGE_SUFFIXES else pattern):
        name = path.relative_to(folder)
        is_image = path.suffix.lower() in IMAGE_SUFFIXES  # not asked after: there may be 100,000, on a slow disk
        if not any(map(is_left_by_system, name.parts)) and (is_image or path.is_file()):
            is_any = True
            yield name.as_posix()
    if not is_any:
        yield from files_in_archives(folder, pattern)
        yield from packed_tables(folder, pattern)


def files_in_archives(folder: Path, pattern: str) -> list[str]:
    """Return the files that would match a glob pattern in a folder if its zips were unpacked, as paths below it.

    A zip stands for the folder of its name: a.zip for a, whether its members' names begin with a/ or not. The case of
    an image's suffix does not count. Raises UserError for a zip that is damaged.
    """
    names = (name for archive, prefix in _archives(folder, pattern) for name in _members(archive, prefix))
    return [name for name in names if _matches(name, pattern)]


def read_file(folder: Path, name: str) -> bytes:
    """Return the content of a file by its path below a folder, from the zip that stands for a folder of its if need be.

    OSError where it is not there or cannot be read.
    """
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError:
        for archive, prefix in _archives(folder, name):
            member = _members(archive, prefix).get(name)
            if member is not None:
                return _read_member(archive, member)
        raise


def table_path(path: Path) -> Path | None:
    """Return the file that holds a table, if any: itself, or it packed, with .zip or .gz behind its name.

    It may also lie in a zip of its name, with images perhaps.
    """
    candidates = (path, *(path.with_name(path.name + suffix) for suffix in PACKED))
    found = next((candidate for candidate in candidates if candidate.is_file()), None)
    together = path.with_suffix(".zip")
    if found is None and together.is_file():
        names = (PurePosixPath(name).name for name in _members(together, "").values())
        return together if path.name in names else None
    return found


def packed_tables(folder: Path, pattern: str) -> list[str]:
    """Return the tables that match a glob pattern and lie there packed, as paths below the folder, unpacked."""
    if PurePosixPath(pattern).suffix.lower() not in TABLES:
        return []
    if not re.search(r"[*?[]", pattern):
        return [pattern] if table_path(folder / pattern) else []
    found = (path.relative_to(folder) for suffix in PACKED for path in folder.glob(pattern + suffix))
    plain = (path.with_suffix("") for path in found if not any(map(is_left_by_system, path.parts)))
    return list(dict.fromkeys(path.as_posix() for path in plain))


def read_table_bytes(path: Path) -> bytes:
    """Return a table's content, unpacked where its first bytes say that it is packed.

    Raises UserError where it is not there or damaged, or a zip holds several tables and none of its name.
    """
    file = table_path(path)
    if file is None:
        raise UserError(f"{path}: not there")
    try:
        content = file.read_bytes()
        if content.startswith(GZIP):
            content = gzip.decompress(content)
        if content.startswith(ZIP):
            content = _only_table(content, path, file)
        return content
    except DAMAGES as error:
        raise UserError(f"{file}: damaged: {first_line(error)}") from error


def _only_table(content: bytes, path: Path, file: Path) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [
            name for name in _plain_names(archive) if PurePosixPath(name).suffix.lower() in (*TABLES, PARQUET_SUFFIX)
        ]
        wanted = [name for name in names if PurePosixPath(name).name == path.name] or names
        if len(wanted) != 1:
            raise UserError(f"{file}: holds {listed(names) or 'no table'}; expected {path.name}, or one table")
        return archive.read(wanted[0])


def _archives(folder: Path, pattern: str) -> Iterator[tuple[Path, str]]:
    """Yield the zips that stand for a folder in which a pattern, or a path, lies, each with that folder's path."""
    for prefix in accumulate(PurePosixPath(pattern).parts[:-1], "{}/{}".format):
        archive = folder / f"{prefix}.zip"
        if not re.search(r"[*?[]", prefix) and archive.is_file():
            yield archive, prefix


def _members(archive: Path, prefix: str) -> Mapping[str, str]:
    """Return the names of a zip's members by the paths that they would have, unpacked into the folder `prefix`."""
    state = archive.stat()
    return _members_of(archive, prefix, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=16)
def _members_of(archive: Path, prefix: str, _size: int, _changed: int) -> Mapping[str, str]:
    own = f"{PurePosixPath(prefix).name}/"
    try:
        with zipfile.ZipFile(archive) as file:
            names = _plain_names(file)
    except DAMAGES as error:
        raise UserError(f"{archive}: not a readable zip ({first_line(error)})") from error
    names.sort(key=lambda name: name.startswith(own))  # of two with one path, that in the folder counts
    return {f"{prefix}/{name.removeprefix(own)}": name for name in names}


def _plain_names(archive: zipfile.ZipFile) -> list[str]:
    """Return the names of the files in a zip, without what the system left there and what would lead out of it."""
    names = [member.filename for member in archive.infolist() if not member.is_dir()]
    return [name for name in names if not name.startswith("/") and not any(map(is_left_by_system, name.split("/")))]


def _read_member(archive: Path, name: str) -> bytes:
    try:
        return _opened(archive, archive.stat().st_mtime_ns).read(name)
    except DAMAGES as error:
        raise OSError(f"{archive}: {name}: {first_line(error)}") from error


@lru_cache(maxsize=16)
def _opened(archive: Path, _changed: int) -> zipfile.ZipFile:
    """Return an open zip, which threads may read at once: its directory of many members takes long to read."""
    return zipfile.ZipFile(archive)


def _matches(name: str, pattern: str) -> bool:
    """Tell whether a path matches a glob pattern, folder by folder; the case of an image's suffix does not count."""
    names, patterns = (_folded(path).split("/") for path in (name, pattern))
    return len(names) == len(patterns) and all(map(fnmatchcase, names, patterns))


def _folded(path: str) -> str:
    bare = without_suffix(path)
    return bare + path[len(bare) :].lower()
