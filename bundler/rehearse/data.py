"""What a rehearsal asks of its data: the task of weights, whether files are there, whether labels are told."""

from collections.abc import Sequence
from pathlib import Path

from bundler.errors import BundlerError
from bundler.metadata import read_object
from bundler.rehearse.outputs import read_rows
from bundler.repository import Repository
from multihead.config.data_files import matching
from multihead.config.files import MANIFEST_FILE, TRUTH_FILE, WEIGHTS_FILE, glob_of, path_names
from multihead.config.settings import read_settings
from multihead.config.task import TASKS, Task, task_from


def task_of_kernel(
    repository: Repository,
    kernel: str,
    inputs: Sequence[Path],
    settings: Path | None = None,
    overrides: Sequence[str] = (),
) -> Task:
    """Return the task that a kernel works on: that of the weights in its inputs, or of the training.

    settings: a file in place of the train kernel's own; overrides: of it, as `key=value`.
    """
    if kernel == "predict":
        with_weights = [folder for folder in inputs if has_weights(folder)]
        found = (predicted_task(folder) for folder in with_weights or inputs)
        return next(filter(None, found), None) or read_settings(repository.settings("train")).task
    return read_settings(settings or repository.settings("train"), overrides).task


def has_weights(folder: Path) -> bool:
    """Tell whether a folder holds weights, with a name or without."""
    return any(matching(folder, f"*{WEIGHTS_FILE}"))


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
