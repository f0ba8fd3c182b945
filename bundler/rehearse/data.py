"""What a rehearsal asks of its data: whether the files of a task are there, and whether their labels are known."""

import math
from collections.abc import Collection
from pathlib import Path

from bundler.errors import BundlerError
from bundler.rehearse.outputs import read_rows
from multihead.config.data_files import matching
from multihead.config.files import TRUTH_FILE, glob_of, path_names
from multihead.config.task import Task


def check_data(task: Task, data: Path, kernel: str, *, is_whole: bool = True) -> None:
    """Raise BundlerError for a folder that lacks what a kernel reads, before anything is emptied for it.

    is_whole: whether all of it has to be there, and not only a folder.
    """
    if not data.is_dir():
        raise BundlerError(f"{data}: not there, or no folder")
    patterns = task.files_to_predict if kernel == "predict" else task.files_to_train
    missing = [pattern for pattern in patterns if not any(matching(data, pattern))]
    if missing and is_whole:
        raise BundlerError(f"{data}: not the files of {task.name}, it holds no {' and no '.join(missing)}")


def has_truth(data: Path, task: Task) -> bool:
    """Tell whether a data folder holds the labels of the images to predict: in a truth.csv, with them, in their paths.

    What stands in their paths are labels where all of it are names of classes.
    """
    if (data / TRUTH_FILE).is_file() or not task.test_files:
        return True
    if task.labels_file or task.sample_submission:
        return False
    paths = matching(data, glob_of(task.test_files))
    if task.reader != "image files":
        headers = [{name.casefold() for name in next(read_rows(data / path), [])} for path in paths]
        return all(_has_columns(header, head, task) for header in headers for head in task.heads)
    names = {head: (*task.class_folders, *map(str, classes)) if classes else () for head, classes in task.heads.items()}
    named = path_names(task.test_files, names)
    found = [named.fullmatch(path) for path in paths]
    return named.groupindex.keys() == task.heads.keys() and all(
        match and all(_is_number(match[head]) for head, classes in task.heads.items() if not classes) for match in found
    )


def _has_columns(header: Collection[str], head: str, task: Task) -> bool:
    """Tell whether a table has a head's column, or one for each class; its header in small letters."""
    classes = {str(label).casefold() for label in task.heads[head] if isinstance(label, str)}
    is_of_classes = len(classes) > 1 or (len(classes) == 1 and not task.is_one_of(head))
    return task.columns.get(head, head).casefold() in header or (is_of_classes and classes.issubset(header))


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
