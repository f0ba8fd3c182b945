"""What lies in a folder of data, without what systems and editors leave there, and in archives that nobody unpacked.

Patterns are those of a task: globs below the data folder, in which {head} stands for the label of a head.
"""

import csv
import glob
import gzip
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from io import StringIO
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, cast

from bundler.errors import BundlerError
from bundler.text_files import decoded

LEFT_BY_SYSTEMS = ("__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "@eadir")
PLACEHOLDER = r"\{([A-Za-z]\w*)\}"
WILDCARD = rf"{PLACEHOLDER}|\*|\?|\[[^]]+\]"


def is_left_by_a_system(name: str) -> bool:
    """Tell whether a file or folder of that name is none of the data: hidden (._a.csv, .DS_Store), or a system's."""
    return name.startswith(".") or name.lower() in LEFT_BY_SYSTEMS


def matching(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield the paths in a folder that a glob finds, but for what a system left there and all that is in it."""
    for path in folder.glob(pattern):
        if not any(map(is_left_by_a_system, path.relative_to(folder).parts)):
            yield path


def unpacked_files(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield the files that match a task's pattern and lie there on their own."""
    return (path for path in matching(folder, _glob_of(pattern)) if path.is_file())


def image_files(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield the files that match, whatever the case of their suffix; where there are none, those in an archive.

    Such an archive is named as the first folders of the pattern are, and holds what is in the last of them, or itself:
    train/*/*.jpg in train.zip. What is in it is yielded as if it lay there unpacked.
    """
    suffix = PurePosixPath(pattern).suffix
    if suffix[1:].isalnum():
        either = "".join(f"[{letter.lower()}{letter.upper()}]" for letter in suffix)
        pattern = pattern.removesuffix(suffix) + either
    unpacked = unpacked_files(folder, pattern)
    first = next(unpacked, None)
    if first is None:
        yield from _images_in_archives(folder, PurePosixPath(_glob_of(pattern)))
    else:
        yield first
        yield from unpacked


def table_files(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield the files that match; where there are none, those that lie there compressed, as if unpacked.

    train.csv may be train.csv.gz, or in train.csv.zip or train.zip.
    """
    unpacked = list(unpacked_files(folder, pattern))
    yield from unpacked or (table.path for table in _compressed_tables(folder, _glob_of(pattern)))


def read_rows(table: Path) -> Iterator[list[str]]:
    """Yield the rows of a CSV file, one of table_files; BundlerError where it cannot be read as such.

    The separator is the one that splits the header into the most fields, or that a first line names ("sep=;"). Blank
    lines are no rows, nor are those of empty cells at the end. Empty cells beyond the header are left out.
    """
    try:
        with _opened(table) as file:
            text = decoded(file.read()).strip("\n")
        said = re.match(r"sep=([,;\t|])\n", text)
        lines = (text[said.end() :] if said else text).rstrip(" ,;\t|\n").split("\n")
        separators = said[1] if said else ",;\t|"
        separator = max(separators, key=lambda one: len(next(csv.reader(lines[:1], delimiter=one), [])))
        header: list[str] = []
        for row in csv.reader(StringIO("\n".join(lines)), delimiter=separator, skipinitialspace=True):
            header = header or row
            cells = [cell.strip() for cell in row]
            if cells:
                cells += [""] * (len(header) - len(cells))
                yield cells if any(cells[len(header) :]) else cells[: len(header)]
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, UnicodeDecodeError, csv.Error) as error:
        raise BundlerError(f"{table}: cannot be read as CSV ({error})") from error


def heads_named(pattern: str) -> set[str]:
    """Return the heads whose labels a pattern has placeholders for."""
    return set(re.findall(PLACEHOLDER, pattern))


def labels_named(paths: Iterable[str], pattern: str) -> dict[str, set[str]]:
    """Return by head the labels that stand in paths, with /, where a pattern that they match has the placeholders."""
    labels: dict[str, set[str]] = {head: set() for head in heads_named(pattern)}
    named = re.compile(_regex_of(pattern), re.IGNORECASE)
    for found in filter(None, map(named.fullmatch, paths)):
        for head, label in found.groupdict().items():
            labels[head].add(label)
    return labels


def class_folders(paths: Iterable[str], pattern: str) -> set[str]:
    """Return the names of the folders that stand for classes, one for each path, with /, that matches a pattern.

    It is the last one that the pattern leaves open; where it leaves none open, the one that holds the file.
    """
    folders = PurePosixPath(pattern).parts[:-1]
    place = max((i for i, part in enumerate(folders) if re.search(WILDCARD, part)), default=len(folders) - 1)
    return {PurePosixPath(path).parts[place] for path in paths} if folders else set()


def _glob_of(pattern: str) -> str:
    """Return the glob that finds what a pattern stands for; two wildcards beside each other say no more than one."""
    return re.sub(rf"({PLACEHOLDER}|\*)+", "*", pattern)


def _regex_of(pattern: str) -> str:
    """Return the regular expression of a pattern, its placeholders as groups; a head that comes again is the same."""
    regex, end = "", 0
    for wildcard in re.finditer(WILDCARD, pattern):
        head = wildcard[1]
        regex += re.escape(pattern[end : wildcard.start()])
        if head:
            regex += f"(?P={head})" if f"(?P<{head}>" in regex else f"(?P<{head}>[^/]+?)"
        else:
            regex += "[^/]*" if wildcard[0] == "*" else "[^/]"
        end = wildcard.end()
    return regex + re.escape(pattern[end:])


def _images_in_archives(folder: Path, pattern: PurePosixPath) -> Iterator[Path]:
    fixed = takewhile(lambda part: not re.search(WILDCARD, part), pattern.parts[:-1])
    place = PurePosixPath()
    for name in fixed:
        place /= name
        if (folder / f"{place}.zip").is_file():
            inside = (place / member.removeprefix(f"{name}/") for member in _members(folder / f"{place}.zip"))
            yield from (folder / path for path in inside if _fits(path, pattern))


def _fits(path: PurePosixPath, pattern: PurePosixPath) -> bool:
    return len(path.parts) == len(pattern.parts) and all(map(fnmatchcase, path.parts, pattern.parts))


def _members(archive: Path) -> list[str]:
    """Return the names of an archive's files, but for those that a system left; BundlerError where it is none."""
    try:
        with zipfile.ZipFile(archive) as opened:
            names = [name for name in opened.namelist() if not name.endswith("/")]
    except (OSError, zipfile.BadZipFile) as error:
        raise BundlerError(f"{archive}: not a readable archive ({error})") from error
    return [name for name in names if not any(map(is_left_by_a_system, PurePosixPath(name).parts))]


class _Compressed(NamedTuple):
    """A table: its path as if unpacked, the file that holds it, and as which member, where that is an archive."""

    path: Path
    holder: Path
    member: str = ""


def _compressed_tables(folder: Path, wanted: str) -> Iterator[_Compressed]:
    for holder in unpacked_files(folder, f"{wanted}.gz"):
        yield _Compressed(holder.with_suffix(""), holder)
    for name in (f"{wanted}.zip", str(PurePosixPath(wanted).with_suffix(".zip"))):
        for holder in unpacked_files(folder, name):
            for member in _members(holder):
                path = holder.with_name(PurePosixPath(member).name)
                if fnmatchcase(path.name, PurePosixPath(wanted).name):
                    yield _Compressed(path, holder, member)


@contextmanager
def _opened(table: Path) -> Iterator[IO[bytes]]:
    """Open a table for reading, unpacked if its first bytes say that it is packed."""
    found = _Compressed(table, table)
    if not table.is_file():
        found = next(_compressed_tables(table.parent, glob.escape(table.name)), found)
    with ExitStack() as stack:
        if found.member:
            archive = stack.enter_context(zipfile.ZipFile(found.holder))
            yield stack.enter_context(archive.open(found.member))
            return
        file = stack.enter_context(found.holder.open("rb"))
        is_packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        yield cast(IO[bytes], gzip.GzipFile(fileobj=file)) if is_packed else file
