"""Where Kaggle puts things: the competition's files, the weights, the working folder.

Kaggle mounts inputs at input/<slug>, a model at input/<model>/<framework>/<variation>/<version> or below
input/m/<owner>, and since 2026 also at input/competitions/<slug>, datasets/<owner>/<slug>, notebooks/<owner>/<slug> and
models/<owner>/<model>/<framework>/<variation>/<version>. So nothing here names a folder: the files are searched for.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from multihead.config.data_files import matching, packed_tables
from multihead.config.files import IMAGE_SUFFIXES, is_left_by_system
from multihead.runtime.errors import UserError, listed

MAX_DEPTH = 4  # input/datasets/<owner>/<slug>/<folder of an unpacked archive>
MODELS = ("models", "m")  # below input/: each owner's models
MODEL_DEPTH = 7  # input/models/<owner>/<model>/<framework>/<variation>/<version>/<folder of an unpacked archive>
KAGGLE = Path("/kaggle")
SETTINGS = {"competition": "data"}  # which of them names the folder of an input; "weights" that of all others


def kaggle_root() -> Path:
    """Return /kaggle, or what KAGGLE_ROOT names instead (a rehearsal)."""
    return Path(os.environ.get("KAGGLE_ROOT", KAGGLE))


def is_kernel() -> bool:
    """Tell whether this runs as a kernel, at Kaggle or in a rehearsal."""
    return bool(os.environ.get("KAGGLE_KERNEL_RUN_TYPE"))


def is_rerun() -> bool:
    """Tell whether Kaggle runs this against the hidden test set, where a fault must not cost the submission."""
    return bool(os.environ.get("KAGGLE_IS_COMPETITION_RERUN"))


def find_input(what: str, files: Sequence[str], setting: str, prefer: str = "") -> Path:
    """Return the folder that holds all of `files` (names, or glob patterns as `matching` takes them).

    setting: a folder named in the settings, the only one looked in then. prefer: of several folders that
    qualify, those whose path holds this name win; of one inside another, a data set's second copy of its files, the
    outer one. UserError says which folders were looked in, or of several that qualify, how to choose one.
    """
    if setting:
        folder = _named(setting)
        if not folder.is_dir():
            raise UserError(f"{what}: {folder} is not there, or no folder")
        missing = [name for name in files if not _holds(folder, name)]
        if missing:
            raise UserError(f"{what}: no {', no '.join(missing)} in {folder}{_zips_in([folder], missing)}")
        return folder
    top = kaggle_root() / "input"
    looked_in = _input_folders(top)
    plain_first = sorted(files, key=_is_pattern)  # a pattern lists all of a folder
    damaged: list[UserError] = []
    found = [folder for folder in looked_in if all(_may_hold(folder, name, damaged) for name in plain_first)]
    found = [folder for folder in found if prefer in folder.parts] or found
    found = [folder for folder in found if not set(folder.parents) & set(found)]
    if len(found) == 1:
        return found[0]
    if found:
        places = [str(KAGGLE / folder.relative_to(kaggle_root())) for folder in found]  # as a setting names them
        line = f"{SETTINGS.get(what, 'weights')} = {json.dumps(places[0])}"
        raise UserError(f"{what}: found in {', '.join(places)}; name one of them in [run] of the settings: {line}")
    if damaged:
        raise damaged[0]
    shown = ", ".join(map(str, looked_in[:12])) + (", ..." if len(looked_in) > 12 else "")
    shown = shown or f"{top}, which is not there"
    raise UserError(f"{what}: no folder with {' and '.join(files)}; looked in {shown}{_zips_in(looked_in, files)}")


def is_in_input(file: str, setting: str) -> bool:
    """Tell whether an input, or the folder named in the settings, holds a file of that name."""
    folders = [_named(setting)] if setting else _input_folders(kaggle_root() / "input")
    return any((folder / file).is_file() for folder in folders)


def find_everywhere(file: str, working: Path) -> list[Path]:
    """Return the paths of all files of that name: in the working folder, then in any mounted input."""
    folders = [working, *_input_folders(kaggle_root() / "input")]
    return [folder / file for folder in folders if (folder / file).is_file()]


def find_file(setting: str, working: Path) -> Path | None:
    """Return the file that a setting names: the path, or else the first of its last name in `working` or any input."""
    path = _named(setting)
    return path if path.is_file() else next(iter(find_everywhere(path.name, working)), None)


def find_folder(setting: str, working: Path) -> Path:
    """Return the folder that a setting names: the path, or else the folder of its last name in `working` or any input.

    Of one inside another, the outer one is meant. UserError where there is none, or several.
    """
    path = _named(setting)
    if path.is_dir():
        return path
    folders = [working / path.name, *(at for at in _input_folders(kaggle_root() / "input") if at.name == path.name)]
    found = [folder for folder in folders if folder.is_dir()]
    found = [folder for folder in found if not set(folder.parents) & set(found)]
    if not found:
        raise UserError(f"{setting}: no such folder, and none called {path.name} in any input")
    if len(found) > 1:
        raise UserError(f"{setting}: found as {', '.join(map(str, found))}; write the path of one of them")
    return found[0]


def working_folder(setting: str) -> Path:
    """Return the folder for what the run leaves behind; UserError if it is not there or not writable."""
    folder = _named(setting) if setting else kaggle_root() / "working"
    if not folder.is_dir():
        raise UserError(f"working folder: {folder} is not there; make it, or name another (--set working=FOLDER)")
    if not os.access(folder, os.W_OK):
        raise UserError(f"working folder: {folder} is not a folder that can be written to")
    return folder


def _named(setting: str) -> Path:
    """Return a folder that the settings name; one below /kaggle may be a rehearsal's."""
    folder = Path(setting).expanduser()
    return kaggle_root() / folder.relative_to(KAGGLE) if folder.is_relative_to(KAGGLE) else folder


def _zips_in(folders: Iterable[Path], files: Sequence[str]) -> str:
    """Return in words which zips lie in some folders where files below one were looked for: none stands for it."""
    if not any("/" in name for name in files):
        return ""
    zips = [path.name for folder in folders for path in sorted(folder.glob("*.zip"))]
    return f"; a zip stands for the folder of its name, and there is {listed(zips)}" if zips else ""


def _may_hold(folder: Path, name: str, damaged: list[UserError]) -> bool:
    """Tell whether a folder holds a file, as _holds does; keep why an archive, maybe another input's, is damaged."""
    try:
        return _holds(folder, name)
    except UserError as error:
        damaged.append(error)
        return False


def _holds(folder: Path, name: str) -> bool:
    """Tell whether a folder holds a file of that name or pattern; a folder that matches, as one does */*, is none."""
    if not _is_pattern(name) and Path(name).suffix.lower() not in IMAGE_SUFFIXES:
        # glob lists the folder even for a plain name, from Python 3.12 on
        return (folder / name).is_file() or bool(packed_tables(folder, name))
    return any(True for _ in matching(folder, name))


def _is_pattern(name: str) -> bool:
    return any(letter in name for letter in "*?[")


def _input_folders(top: Path) -> Sequence[Path]:
    """Return the folders in which inputs are looked for, each before those in it.

    Those of a kernel are listed once: its inputs are mounted before it starts, unless it is edited meanwhile.
    """
    is_mounted_for_good = os.environ.get("KAGGLE_KERNEL_RUN_TYPE") == "Batch"
    return _kept_folders(top) if is_mounted_for_good else tuple(_folders(top))


@cache
def _kept_folders(top: Path) -> Sequence[Path]:
    return tuple(_folders(top))


def _folders(top: Path) -> Iterator[Path]:
    if not top.is_dir():
        return
    yield top
    for child in _folders_in(top):
        yield from _walk(child, (MODEL_DEPTH if child.name in MODELS else MAX_DEPTH) - 1)


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    yield folder
    if depth:
        for child in _folders_in(folder):
            yield from _walk(child, depth - 1)


def _folders_in(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted. No file is asked after one by one: there may be 100,000 images."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not is_left_by_system(entry.name) and entry.is_dir())
    return [folder / name for name in names]
