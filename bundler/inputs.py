"""What a rehearsal mounts: which folder for which source of a kernel, and what links in those folders lead to."""

import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bundler.errors import BundlerError
from bundler.metadata import read_metadata, without_version

MOUNTS = ("old", "new")
KINDS = {  # of sources, by the key of kernel-metadata.json: the folder below input/ that they are in since 2026
    "competition_sources": "competitions",
    "dataset_sources": "datasets",
    "kernel_sources": "notebooks",
    "model_sources": "models",
}
Source = tuple[str, str]  # its key in kernel-metadata.json, and how it is written there
MANY = 100  # folders to mount; so many take half a second
WRITTEN = ("/", "/dev", "/dev/shm", "/proc", "/sys", "/run")  # what a process needs to write to
MAX_LINKS = 40  # in a chain, as for the kernel of Linux


@dataclass(frozen=True)
class Inputs:
    """What Kaggle would mount: a competition's or data set's files, by slug or "owner/slug", and other sources.

    datasets: by "owner/slug". others: sources of any kind.
    """

    source: str
    data: Path
    datasets: Mapping[str, Path]
    others: Mapping[Source, Path] = field(default_factory=dict)

    @property
    def folders(self) -> list[Path]:
        return [self.data, *self.datasets.values(), *self.others.values()]

    def mounts(self, form: str) -> dict[str, Path]:
        """Return each folder by its mount point below input/, in a form of MOUNTS; BundlerError where two have one."""
        if form not in MOUNTS:
            raise BundlerError(f"mounts: {form!r} is not known; one of {', '.join(MOUNTS)}")
        key = "dataset_sources" if "/" in self.source else "competition_sources"
        datasets = {("dataset_sources", name): folder for name, folder in self.datasets.items()}
        found: dict[str, Path] = {}
        for (kind, source), folder in ({(key, self.source): self.data} | datasets | dict(self.others)).items():
            if not folder.is_dir():
                raise BundlerError(
                    f"{folder}: not a folder" + ("" if folder == self.data else f" to mount as {source}")
                )
            if mount_point(kind, source, form) in found:
                raise BundlerError(f"{source}: another source is mounted at {mount_point(kind, source, form)} as well")
            found[mount_point(kind, source, form)] = folder
        return found


def mount_point(key: str, source: str, form: str) -> str:
    """Return where below input/ Kaggle mounts a source of one of the KINDS."""
    if key != "model_sources":
        source = without_version(source)
    if form == "new":
        return f"{KINDS[key]}/{source}"
    return source.partition("/")[2] if key == "model_sources" else source.rpartition("/")[2]


def attached(metadata: Path, given: Mapping[str, Path], defaults: Mapping[str, Path]) -> dict[Source, Path | None]:
    """Return what a kernel attaches, in the order of its metadata file: each source's folder, None where it has none.

    given, defaults: folders by a source's name, with its version or without. Raises BundlerError for a given name that
    the kernel does not attach.
    """
    sources = _sources(metadata)
    found: dict[Source, Path | None] = dict.fromkeys(sources)
    for names in (defaults, given):
        for name, folder in names.items():
            named = [(key, source) for key, source in sources if name in (source, _without_version(key, source))]
            if not named and names is given:
                there = ", ".join(source for _, source in sources) or "nothing"
                raise BundlerError(f"--mount {name}: {metadata} attaches {there}")
            if len(named) > 1:
                raise BundlerError(f"--mount {name}: {metadata} attaches it as {' and '.join(key for key, _ in named)}")
            found |= dict.fromkeys(named, folder)
    return found


def _sources(metadata: Path) -> list[Source]:
    values = read_metadata(metadata)
    for key in KINDS:
        of_key = values.get(key, [])
        if not isinstance(of_key, list) or not all(isinstance(source, str) for source in of_key):
            raise BundlerError(f"{metadata}: expected a list of {key}")
    return [(key, source) for key in KINDS for source in values.get(key, [])]


def _without_version(key: str, source: str) -> str:
    return "/".join(source.split("/")[:4]) if key == "model_sources" else without_version(source)


def refuse_to_empty(folder: Path, option: str, reads: Mapping[str, Path]) -> None:
    """Raise BundlerError where a folder that is to be emptied and written to touches what is read.

    option: what names the folder. reads: files and folders by what names them; what links in them lead to counts.
    """
    emptied = str(folder.resolve())

    def refuse(name: str, read: str) -> None:
        if f"{read}/".startswith(f"{emptied}/"):
            raise BundlerError(f"{option}: {emptied} is emptied, but holds {name} ({read}); name another folder")
        if f"{emptied}/".startswith(f"{read.rstrip('/')}/"):
            raise BundlerError(f"{option}: {emptied} is written to, but lies in {name} ({read}); name another folder")

    for name, path in reads.items():
        refuse(name, str(path.resolve()))
        for link, end in _ends(walk([path])):
            refuse(f"what {link} leads to", end)


def state_of(folders: Iterable[Path]) -> dict[str, tuple[int, ...]]:
    """Return by path what shows that something in the folders, or behind a link in them, was changed.

    A file's own time can be put back, but not the time at which its inode was changed.
    """
    return {
        path: (of.st_mode, of.st_ino, of.st_size, of.st_mtime_ns, of.st_ctime_ns) if of else ()
        for path, of in walk(folders)
    }


def linked_to(folders: Collection[Path]) -> list[Path]:
    """Return what the links in the folders lead to outside of them, files and folders.

    Of more than MANY, the folders that hold them are returned instead, the deepest first, until they are few enough.
    """
    own = tuple(f"{folder.resolve()}/" for folder in folders)
    ends = {end for _, end in _ends(walk(folders)) if not f"{end}/".startswith(own)}
    few = _outermost(end for end in ends if stat.S_IFMT(Path(end).stat().st_mode) in (stat.S_IFREG, stat.S_IFDIR))
    while len(few) > MANY:
        deepest = max(path.count("/") for path in few)
        wider = _outermost(_parent(path) if path.count("/") == deepest else path for path in few)
        if wider == few:
            break
        few = wider
    return [Path(path) for path in few]


def _parent(path: str) -> str:
    parent = path.rpartition("/")[0] or "/"
    return path if parent in WRITTEN else parent


def _outermost(paths: Iterable[str]) -> list[str]:
    """Return the paths, sorted, without those that lie in another."""
    kept: list[str] = []
    for path in sorted({f"{path}/" for path in paths}):
        if not kept or not path.startswith(kept[-1]):
            kept.append(path)
    return [path[:-1] for path in kept]


State = os.stat_result | None  # of a path itself, not of what it links to; None where a link leads nowhere


def walk(folders: Iterable[Path]) -> Iterator[tuple[str, State]]:
    """Yield the folders, whatever is in them, and what the links in them lead to, each link before that."""
    seen: set[tuple[int, int]] = set()
    for folder in folders:
        if folder.exists():
            yield str(folder), folder.stat()
            yield from _walk(str(folder), seen)


def _walk(folder: str, seen: set[tuple[int, int]]) -> Iterator[tuple[str, State]]:
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
        yield entry.path, entry.stat(follow_symlinks=False)
        if entry.is_symlink():
            yield from _chain(entry.path)
        if entry.is_dir():
            yield from _walk(entry.path, seen)


def _chain(link: str) -> Iterator[tuple[str, State]]:
    """Yield what a link leads to, link by link."""
    for _ in range(MAX_LINKS):
        target = os.readlink(link)  # noqa: PTH115 - paths of 100,000 links take seconds
        link = target if target.startswith("/") else f"{link.rpartition('/')[0]}/{target}"
        try:
            state = os.lstat(link)
        except OSError:
            yield link, None
            return
        yield link, state
        if not stat.S_ISLNK(state.st_mode):
            return


def _ends(walked: Iterable[tuple[str, State]]) -> Iterator[tuple[str, str]]:
    """Yield each link with the path at its end, where there is anything.

    walk yields a link's chain after it: its end is the next path that is no link, but for links among its folders.
    """
    resolved: dict[str, str] = {}  # folders: even of 100,000 links' ends there are few
    link = ""
    for path, state in walked:
        if state and stat.S_ISLNK(state.st_mode):
            link = link or path
        elif link and state:
            folder, _, name = path.rpartition("/")
            if folder not in resolved:
                resolved[folder] = os.path.realpath(folder or "/")
            yield link, os.path.realpath(path) if name in ("", ".", "..") else f"{resolved[folder].rstrip('/')}/{name}"
        if not (state and stat.S_ISLNK(state.st_mode)):
            link = ""
