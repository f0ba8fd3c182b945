"""Which task a kernel works on: that of its weights, or of its training."""

from collections.abc import Sequence
from pathlib import Path

from bundler.errors import BundlerError
from bundler.metadata import read_object
from bundler.repository import Repository
from multihead.config.data_files import matching
from multihead.config.files import MANIFEST_FILE, WEIGHTS_FILE
from multihead.config.known_tasks import TASKS, task_from
from multihead.config.settings_file import read_settings
from multihead.config.task import Task


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
        tasks = map(predicted_task, list(filter(has_weights, inputs)) or inputs)
        return next(filter(None, tasks), None) or read_settings(repository.settings("train")).task
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
