"""What the trials of a recipe are given beside the data: weights to start from, wheels, further images.

Each lies in a trial's folder by a link, where a kernel would find it among its inputs.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bundler.build.attached_wheels import attached_wheels
from bundler.build.parts import IMAGE_FILE
from bundler.errors import BundlerError
from bundler.repository import Repository
from bundler.study.trial import Trial, of_files, sha256
from multihead.config.data_files import matching
from multihead.config.files import MANIFEST_FILE, REPORT_FOLDER, glob_of, name_of_weights, named
from multihead.config.further_images import KEY, FurtherImages
from multihead.config.manifest import sha256_of
from multihead.config.settings import Settings


class Inputs(NamedTuple):
    """The files and folders of a recipe's trials, and a SHA-256 of each kind of them that it has."""

    paths: Sequence[Path]
    sha256: dict[str, str]


def find_inputs(repository: Repository, settings: Settings, *, is_here: bool = True) -> Inputs:
    """Return the inputs of a recipe; BundlerError where one is not there.

    is_here: whether trials are given further images of this machine; others find them among their own inputs.
    """
    pretrained, wheels = find_pretrained(repository, settings), find_wheels(repository, settings)
    further = [find_further(source) for source in settings.run.further_images] if is_here else []
    found = {
        "pretrained weights": sha256_of(pretrained[0]) if pretrained else "",
        "wheels": sha256("".join(map(sha256_of, wheels)).encode()) if wheels else "",
        "further images": _of_further(settings, further) if further else "",
    }
    return Inputs([*wheels, *pretrained, *further], {kind: digest for kind, digest in found.items() if digest})


def find_pretrained(repository: Repository, settings: Settings) -> list[Path]:
    """Return the file that a recipe starts from, at its path or in dataset_meta/, with the manifest of weights of ours.

    There may be none: then nothing.
    """
    setting = settings.run.pretrained
    if not setting:
        return []
    path = Path(setting).expanduser()
    path = path if path.is_file() else repository.dataset / path.name
    name = name_of_weights(path.name)
    needed, command = [path], "build_kernel.py fetch-weights"
    if name is not None:
        needed, command = (
            [path, path.with_name(named(MANIFEST_FILE, name))],
            f"build_kernel.py stage FOLDER --name {name}",
        )
    for file in needed:
        if not file.is_file():
            where = f"{repository.dataset.name}/" if file.parent == repository.dataset else file.parent
            raise BundlerError(f"pretrained = {setting!r}: no {file.name} in {where}; {command}")
    return [file.resolve() for file in needed]


def find_wheels(repository: Repository, settings: Settings) -> list[Path]:
    """Return the wheels in dataset_meta/ that a recipe's script installs."""
    attached = attached_wheels(repository.dataset, settings.run.wheels, IMAGE_FILE)
    return [path.resolve() for path in attached.paths] if attached else []


def find_further(source: FurtherImages) -> Path:
    """Return the folder of a source of further images, with its soft labels if it has some."""
    folder = Path(source.folder).expanduser()
    if not folder.is_dir():
        raise BundlerError(f"{KEY}: {source.folder}: no such folder")
    if folder.name == REPORT_FOLDER:
        raise BundlerError(f"{KEY}: {source.folder}: called as a training's report; expected another name")
    if source.soft_labels and not (folder / source.soft_labels).is_file():
        raise BundlerError(f"{KEY}: no {source.soft_labels} in {source.folder}")
    return folder.resolve()


def _of_further(settings: Settings, folders: Sequence[Path]) -> str:
    """Return a SHA-256 of the names and sizes of the further images' files, and of their labels' content."""
    found = []
    for source, folder in zip(settings.run.further_images, folders, strict=True):
        labels = source.soft_labels or settings.task.labels_file
        pattern = glob_of(source.files or settings.task.train_files)
        found.append(of_files(folder, [*matching(folder, pattern), *filter(None, [labels])], whole=labels))
    return sha256(json.dumps(found).encode())


def link_inputs(paths: Sequence[Path], trials: Sequence[Trial]) -> None:
    """Put links to files and folders into the folder of each trial."""
    for trial in trials if paths else ():
        trial.folder.mkdir(exist_ok=True)
        for path in paths:
            link = trial.folder / path.name
            link.unlink(missing_ok=True)  # the study may have been moved, or the repository
            link.symlink_to(path)
