"""What a rehearsal mounts: which folder for which source of a kernel."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from bundler.errors import BundlerError
from bundler.metadata import read_metadata, without_version
from bundler.rehearse.links import ends, walk

MOUNTS = ("old", "new")
KINDS = {  # of sources, by the key of kernel-metadata.json: the folder below input/ that they are in since 2026
    "competition_sources": "competitions",
    "dataset_sources": "datasets",
    "kernel_sources": "notebooks",
    "model_sources": "models",
}
Source = tuple[str, str]  # its key in kernel-metadata.json, and how it is written there


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
        """Return each folder by its mount point below input/, in a form of MOUNTS.

        Raises BundlerError for a folder that is not there, and for a mount point that is another's or lies in it.
        """
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
            point = mount_point(kind, source, form)
            for other in found:
                if f"{point}/".startswith(f"{other}/") or f"{other}/".startswith(f"{point}/"):
                    raise BundlerError(f"{source}: would be mounted at {point}, another source at {other} as well")
            found[point] = folder
        return found


def mount_point(key: str, source: str, form: str) -> str:
    """Return where below input/ Kaggle mounts a source of one of the KINDS; a model's framework in lower case."""
    if key == "model_sources":
        source = "/".join(part.lower() if place == 2 else part for place, part in enumerate(source.split("/")))
    else:
        source = without_version(source)
    if form == "new":
        return f"{KINDS[key]}/{source}"
    return source.partition("/")[2] if key == "model_sources" else source.rpartition("/")[2]


def attached(metadata: Path, mounts: Mapping[str, Path], defaults: Mapping[str, Path]) -> dict[Source, Path | None]:
    """Return what a kernel attaches, in the order of its metadata file: each source's folder, None where it has none.

    mounts, defaults: folders by a source's name, with its version or without; the defaults are of datasets. Raises
    BundlerError for a mount of what the kernel does not attach, or attaches as sources of two kinds.
    """
    found: dict[Source, Path | None] = dict.fromkeys(_sources(metadata))
    for name, folder in defaults.items():
        found |= {source: folder for source in _named(name, found) if source[0] == "dataset_sources"}
    chosen: dict[Source, str] = {}
    for name, folder in mounts.items():
        named = _named(name, found)
        if not named:
            there = ", ".join(source for _, source in found) or "nothing"
            raise BundlerError(f"--mount {name}: {metadata} attaches {there}; add it to the sources there")
        if len(named) > 1:
            raise BundlerError(f"--mount {name}: {metadata} attaches it as {' and '.join(key for key, _ in named)}")
        if named[0] in chosen:
            raise BundlerError(f"--mount {name}: {chosen[named[0]]} is the same source")
        chosen[named[0]] = name
        found[named[0]] = folder
    return found


def _named(name: str, sources: Iterable[Source]) -> list[Source]:
    """Return the sources of that name, with its version or without."""
    return [(key, source) for key, source in sources if name in (source, _without_version(key, source))]


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

    option: what names the folder. reads: files and folders by what names them. What links in them lead to counts, and
    where these links lie on the way. Folders are compared as the system tells them apart: one may have several names.
    """
    emptied = str(folder.resolve())
    identity = cache(_identity)
    above = {identity(str(path)) for path in (folder.resolve(), *folder.resolve().parents)} - {None}

    @cache  # even of 100,000 links the folders are few
    def is_in_it(path: str) -> bool:
        is_it = path == emptied or identity(path) == identity(emptied) is not None
        return is_it or (path != "/" and is_in_it(path.rpartition("/")[0] or "/"))

    def refuse(name: str, read: str) -> None:
        if is_in_it(read):
            raise BundlerError(f"{option}: {emptied} is emptied, but holds {name} ({read}); name another folder")
        if identity(read) in above:
            raise BundlerError(f"{option}: {emptied} is written to, but lies in {name} ({read}); name another folder")

    for name, path in reads.items():
        for read in dict.fromkeys((os.path.abspath(path), str(path.resolve()))):  # noqa: PTH100 - links stay
            refuse(name, read)
        walked = list(walk([path]))
        for place, _, link in walked:
            if link:
                refuse(f"what {link} leads to", os.path.normpath(place))
        for link, end in ends(walked):
            refuse(f"what {link} leads to", end)


def _identity(path: str) -> tuple[int, int] | None:
    """Return what the system tells a file or folder by, whatever it is called; None where there is none."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
