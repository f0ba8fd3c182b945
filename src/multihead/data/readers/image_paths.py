"""The paths of image files: which there are, and what they say of ids and classes."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from multihead.config.data_files import matching
from multihead.config.files import IMAGE_SUFFIXES, without_suffix
from multihead.config.patterns import glob_of, path_names
from multihead.config.task import Task
from multihead.data.labels import label_indices, one_form
from multihead.runtime.errors import UserError, listed
from multihead.runtime.log import say_once

BESIDE_IMAGES = {".csv", ".tsv", ".txt", ".json", ".xml", ".md", ".html", ".py", ".ini"}  # passed over unsaid


def find_images(folder: Path, pattern: str) -> list[str]:
    """Return the paths below the folder of the images that match, sorted; the case of a suffix does not count.

    Where none does, those in a zip that lies in place of their folder count (config/data_files.py). Says once how many
    files are passed over for their suffix: those that are not in BESIDE_IMAGES.
    Raises UserError if there are no images, or for a name that is not UTF-8.
    """
    files = sorted(matching(folder, glob_of(pattern)))
    found = [name for name in files if Path(name).suffix.lower() in IMAGE_SUFFIXES]
    others = [name for name in files if Path(name).suffix.lower() not in IMAGE_SUFFIXES | BESIDE_IMAGES]
    if others:
        say_once(
            f"warning: {len(others)} files {pattern} in {folder} are passed over, for they do not end in one of "
            f"{', '.join(sorted(IMAGE_SUFFIXES))}: {listed(others)}"
        )
    if not found:
        raise UserError(f"no images {pattern} in {folder}")
    for path in found:
        if any("\ud800" <= letter <= "\udfff" for letter in path):
            raise UserError(f"{folder}: the name {path!a} is not UTF-8")
    return found


def own_ids(paths: Sequence[str], task: Task) -> list[str]:
    """Return the ids of images that no table names: their files' names where tables hold those, else their paths.

    Where two names are the same, the paths are taken: there is no table that could not tell them apart.
    """
    if not task.id_column:
        return list(paths)
    names = [Path(path).name if task.id_has_suffix else without_suffix(Path(path).name) for path in paths]
    return names if len(set(names)) == len(names) else list(paths)


def names_in_paths(paths: Sequence[str], pattern: str, task: Task) -> pd.DataFrame:
    """Return what paths call their images' classes: a row per path, a column per head, "" where they call them nothing.

    A pattern has a head's name in braces where its class stands; in one without, it is the last folder left open.
    """
    known = {head: list(map(one_form, (*task.class_folders, *map(str, task.heads[head])))) for head in task.heads}
    of_known, of_any = (path_names(one_form(pattern), names) for names in (known, dict.fromkeys(known, ())))
    matched = [of_known.fullmatch(one_form(path)) or of_any.fullmatch(one_form(path)) for path in paths]
    rows = [found.groupdict() if found else {} for found in matched]
    names = {head: [row.get(head) or "" for row in rows] for head in task.heads}
    return pd.DataFrame(names, index=list(paths), dtype=str)


def labels_by_path(paths: Sequence[str], pattern: str, task: Task, folder: Path) -> pd.DataFrame:
    """Return the class indices of images whose paths name their classes, a row per path: index path, a column per head.

    Task.class_folders is what a name stands for, if not the class. UserError for one that is no class.
    """
    classes = {one_form(name): label for name, label in task.class_folders.items()}
    names = names_in_paths(paths, pattern, task)
    return label_indices(names.apply(lambda column: column.map(lambda name: classes.get(name, name))), task, folder)
