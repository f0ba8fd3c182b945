"""Where Kaggle puts things: the competition's files, the weights, the working folder.

Kaggle mounts inputs at input/<slug>, and since 2026 also at input/competitions/<slug> and
input/datasets/<owner>/<slug>. So nothing here names a folder: the files are searched for.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from multihead.errors import UserError

IMAGE_SUFFIXES = {  # of what OpenCV decodes
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".png", ".bmp", ".gif", ".webp"),
    *(".avif", ".tif", ".tiff", ".pgm", ".ppm"),
}
MAX_DEPTH = 4  # input/datasets/<owner>/<slug>/<folder of an unpacked archive>


def kaggle_root() -> Path:
    """Return /kaggle, or what KAGGLE_ROOT names instead (a rehearsal)."""
    return Path(os.environ.get("KAGGLE_ROOT", "/kaggle"))


def is_kernel() -> bool:
    """Tell whether this runs as a kernel, at Kaggle or in a rehearsal."""
    return bool(os.environ.get("KAGGLE_KERNEL_RUN_TYPE"))


def is_rerun() -> bool:
    """Tell whether Kaggle runs this against the hidden test set, where a fault must not cost the submission."""
    return bool(os.environ.get("KAGGLE_IS_COMPETITION_RERUN"))


def find_input(what: str, files: Sequence[str], given: str, prefer: str = "") -> Path:
    """Return the folder that holds all of `files` (names, or glob patterns as `matching` takes them).

    given: a folder named in the settings, the only one looked in then. prefer: of several folders that
    qualify, those whose path holds this name win; of one inside another, a data set's second copy of its files, the
    outer one. UserError says which folders were looked in.
    """
    if given:
        folder = Path(given).expanduser()
        missing = [name for name in files if not _holds(folder, name)]
        if missing:
            raise UserError(f"{what}: no {', no '.join(missing)} in {folder}")
        return folder
    top = kaggle_root() / "input"
    looked_in = list(_folders(top, MAX_DEPTH))
    found = [folder for folder in looked_in if all(_holds(folder, name) for name in files)]
    found = [folder for folder in found if prefer in folder.parts] or found
    found = [folder for folder in found if not set(folder.parents) & set(found)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(f"{what}: found in {', '.join(map(str, found))}; name one of them in the settings")
    shown = ", ".join(map(str, looked_in[:12])) + (", ..." if len(looked_in) > 12 else "")
    raise UserError(f"{what}: no folder with {' and '.join(files)}; looked in {shown or f'{top}, which is not there'}")


def matching(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield the paths in a folder that match a glob pattern; the case of an image's suffix does not count."""
    suffix = Path(pattern).suffix
    if suffix.lower() in IMAGE_SUFFIXES:
        either = "".join(f"[{letter.lower()}{letter.upper()}]" for letter in suffix)
        pattern = pattern.removesuffix(suffix) + either
    return folder.glob(pattern)


def find_everywhere(file: str, working: Path) -> list[Path]:
    """Return the paths of all files of that name: in the working folder, then in any mounted input."""
    folders = [working, *_folders(kaggle_root() / "input", MAX_DEPTH)]
    return [folder / file for folder in folders if (folder / file).is_file()]


def working_folder(given: str) -> Path:
    """Return the folder for what the run leaves behind; UserError if it is not there or not writable."""
    folder = Path(given).expanduser() if given else kaggle_root() / "working"
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UserError(f"working folder: {folder} is not a folder that can be written to")
    return folder


def _holds(folder: Path, name: str) -> bool:
    """Tell whether a folder holds a file of that name or pattern; a folder that matches, as one does */*, is none."""
    return any(path.is_file() for path in matching(folder, name))


def _folders(top: Path, depth: int) -> Iterator[Path]:
    if not top.is_dir():
        return
    yield top
    if depth:
        for child in sorted(top.iterdir()):
            yield from _folders(child, depth - 1)
