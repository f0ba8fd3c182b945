"""What only the bundler asks of a task: whose it is, whether its files are there, whether labels are told."""

import math
from collections.abc import Iterable
from pathlib import Path

from bundler.check.metadata import read_object
from bundler.errors import BundlerError
from bundler.rehearse.outputs import read_rows
from multihead.config.data_files import matching
from multihead.config.files import MANIFEST_FILE, TRUTH_FILE
from multihead.config.patterns import glob_of, path_names
from multihead.config.settings import read_settings
from multihead.config.task import TASKS, Task, task_from


def source_of(task: Task) -> str:
    """Return where on Kaggle a task's files come from: a competition's slug, or a data set's owner/slug."""
    return task.competition or task.dataset


def image_bytes(task: Task) -> int:
    """Return how many bytes the pixels of one image take."""
    return math.prod(task.image_shape)


def submission_minutes(task: Task, device: str) -> float:
    """Return how long Kaggle lets a submission run on a "GPU" or "CPU"; without a competition there is none."""
    if not task.competition:
        return math.inf
    return {"GPU": task.gpu_minutes, "CPU": task.cpu_minutes}.get(device, math.inf)


def trained_task(settings: Path, overrides: Iterable[str] = ()) -> Task:
    """Return the task of a training with a settings file and `key=value` overrides."""
    return read_settings(settings, overrides).task


def predicted_task(weights: Path) -> Task | None:
    """Return the task of the weights in a folder, as their manifests say; None where there is none to tell.

    One that is built in is as this version has it: the manifest may be older.
    """
    for name in sorted(matching(weights, f"*{MANIFEST_FILE}")):
        values = read_object(weights / name).get("task")
        if values is not None:
            if not isinstance(values, dict):
                raise BundlerError(f"{weights / name}: task = {values!r}; expected a table of its keys")
            return TASKS.get(str(values.get("name"))) or task_from(values, str(weights / name))
    return None


def check_data(task: Task, data: Path, kernel: str) -> None:
    """Raise BundlerError for a folder that lacks what a kernel reads, before anything is emptied for it."""
    if not data.is_dir():
        raise BundlerError(f"{data}: not there, or no folder")
    patterns = task.files_to_predict if kernel == "predict" else task.files_to_train
    missing = [pattern for pattern in patterns if not any(matching(data, pattern))]
    if missing:
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
        headers = [next(read_rows(data / path), []) for path in paths]
        wanted = {task.columns.get(head, head).casefold() for head in task.heads}
        return all(wanted <= {name.casefold() for name in header} for header in headers)
    named = path_names(
        task.test_files, {head: (*task.class_folders, *map(str, task.heads[head])) for head in task.heads}
    )
    return named.groupindex.keys() == task.heads.keys() and all(map(named.fullmatch, paths))
