"""What the package says of its tasks, read as text: where their files come from, and which those are."""

import ast
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from bundler.check.metadata import read_object
from bundler.data_files import (
    class_folders,
    heads_named,
    image_files,
    labels_named,
    matching,
    read_rows,
    table_files,
    unpacked_files,
)
from bundler.errors import BundlerError
from bundler.kaggle.staging import MANIFEST_FILE
from bundler.text_files import read_toml, text_of

TASK_FILE = "task.toml"
TRUTH_FILE = "truth.csv"
LEADS_OUT = r"^[/~]|^[A-Za-z]:|\\|(^|/)\.\.(/|$)"  # of the data folder, on any system
PATTERNS = ("train_files", "labels_file", "test_files", "sample_submission")


class TaskFacts(NamedTuple):
    """A task's name, where Kaggle has its files, which those are, its images' shape, and what a submission is held to.

    The names, and their defaults, are those of the package's Task. competition, dataset: a slug or owner/slug, one of
    the two. heads: only their names; columns: those of them whose column has another name.
    """

    name: str
    reader: str
    image_shape: tuple[int, int, int]
    heads: tuple[str, ...]
    train_files: str
    competition: str = ""
    dataset: str = ""
    labels_file: str = ""
    test_files: str = ""
    sample_submission: str = ""
    columns: Mapping[str, str] = MappingProxyType({})
    has_hidden_test: bool = False
    hidden_images: int = 0
    gpu_minutes: float = 720
    cpu_minutes: float = 720

    @property
    def source(self) -> str:
        return self.competition or self.dataset

    @property
    def image_bytes(self) -> int:
        return math.prod(self.image_shape)

    def submission_minutes(self, device: str) -> float:
        """Return how long Kaggle lets a submission run on a "GPU" or "CPU"; without a competition there is none."""
        if not self.competition:
            return math.inf
        return {"GPU": self.gpu_minutes, "CPU": self.cpu_minutes}.get(device, math.inf)

    def matching(self, data: Path, name: str) -> Iterator[Path]:
        """Yield the files that match one of the task's names; where there are none, those in archives, as if unpacked.

        The case of an image's suffix does not count. Parquet is looked for in no archive.
        """
        if name not in (self.train_files, self.test_files) or self.reader == "pixel csv":
            return table_files(data, name)
        if self.reader == "image files":
            return image_files(data, name)
        return unpacked_files(data, name)

    def image_paths(self, data: Path, name: str) -> list[str]:
        """Return the paths below the data folder, with /, that match one of the task's names."""
        return [path.relative_to(data).as_posix() for path in self.matching(data, name)]

    def check_data(self, data: Path, kernel: str) -> None:
        """Raise BundlerError for a folder that lacks what the kernel reads, before anything is emptied for it."""
        if not data.is_dir():
            raise BundlerError(f"{data}: not there, or no folder")
        files = [self.train_files, self.labels_file]
        if kernel == "predict":
            images = [self.test_files] if self.test_files else files  # a fifth is drawn by their labels
            files = [*images, self.sample_submission]
        missing = [name for name in files if name and not any(self.matching(data, name))]
        if missing:
            raise BundlerError(f"{data}: not the files of {self.name}, it holds no {' and no '.join(missing)}")


def built_in_tasks(package: Path) -> dict[str, TaskFacts]:
    """Return the tasks by name that the package builds in, in its order."""
    found = re.search(r"^BUILT_IN = (.*)$", text_of(package / "config" / "task.py"), re.MULTILINE)
    paths = [package / "config" / "tasks" / f"{name}.toml" for name in ast.literal_eval(found[1] if found else "()")]
    return {path.stem: _facts(read_toml(path), path) for path in paths}


def own_task(folder: Path) -> TaskFacts | None:
    """Return the task of the task.toml in a settings file's folder; None where there is none."""
    path = folder / TASK_FILE
    return _facts(read_toml(path), path) if path.is_file() else None


def trained_task(package: Path, settings: Path, overrides: Iterable[str] = ()) -> TaskFacts:
    """Return the task of a training with a settings file and `key=value` overrides."""
    given = [of.partition("=")[2].strip() for of in overrides if of.partition("=")[0].strip() == "task"]
    model = read_toml(settings).get("model", {})
    if not isinstance(model, dict):
        raise BundlerError(f"{settings}: model = {model!r}; expected a line [model] with keys below it")
    return task_named(package, settings, str(given[-1] if given else model.get("task", "")))


def task_named(package: Path, settings: Path, name: str) -> TaskFacts:
    """Return a task that is built in, or the one beside a settings file; without a name that one, or else the first."""
    own, built_in = own_task(settings.parent), built_in_tasks(package)
    if own and name in ("", own.name):
        return own
    name = name or next(iter(built_in))
    if name not in built_in:
        raise BundlerError(f"task: {name!r} is not known; one of {', '.join(built_in)}, or that of a {TASK_FILE}")
    return built_in[name]


def predicted_task(weights: Path, built_in: Mapping[str, TaskFacts]) -> TaskFacts | None:
    """Return the task of the weights in a folder, as their manifests say; None where there is none to tell.

    One that is built in is as this version has it: the manifest may be older.
    """
    for path in sorted(matching(weights, f"*{MANIFEST_FILE}")):
        manifest = read_object(path)
        if "task" in manifest:
            task = _facts(manifest["task"], path)
            return built_in.get(task.name, task)
    return None


def has_truth(data: Path, task: TaskFacts) -> bool:
    """Tell whether a data folder holds the labels of the images to predict: in a truth.csv, with them, in their paths.

    What stands in their paths are labels where it is in those of the train images as well.
    """
    if (data / TRUTH_FILE).is_file() or not task.test_files:
        return True
    if task.labels_file or task.sample_submission:
        return False
    if task.reader != "image files":
        headers = [next(read_rows(file), []) for file in task.matching(data, task.test_files)]
        wanted = {task.columns.get(head, head).casefold() for head in task.heads}
        return all(wanted <= {name.casefold() for name in header} for header in headers)
    patterns = task.train_files, task.test_files
    if not heads_named(task.train_files):
        classes, found = (class_folders(task.image_paths(data, pattern), pattern) for pattern in patterns)
        return found <= classes
    if not set(task.heads) <= heads_named(task.test_files):
        return False
    labels, told = (labels_named(task.image_paths(data, pattern), pattern) for pattern in patterns)
    return all(told[head] <= labels.get(head, set()) for head in task.heads)


def _facts(values: Any, source: Path) -> TaskFacts:
    """Return what a task's keys and values say; BundlerError where one is missing or of another kind."""
    if not isinstance(values, Mapping):
        raise BundlerError(f"{source}: task = {values!r}; expected a table of its keys")
    kinds: dict[str, tuple[Any, str]] = {
        "heads": (Mapping, "a table"),
        "columns": (Mapping, "a table"),
        "image_shape": (list | tuple, "a list of whole numbers"),
        "has_hidden_test": (bool, "true or false"),
        "hidden_images": (int, "a whole number"),
        "gpu_minutes": (int | float, "a number"),
        "cpu_minutes": (int | float, "a number"),
    }
    for key in TaskFacts._fields:
        kind, expected = kinds.get(key, (str, "a text"))
        if key not in values and key not in TaskFacts._field_defaults:
            raise BundlerError(f"{source}: no {key}; expected {expected}")
        if key in values and not isinstance(values[key], kind):
            raise BundlerError(f"{source}: {key} = {values[key]!r}; expected {expected}")
        if key in PATTERNS and re.search(LEADS_OUT, values.get(key, "")):
            raise BundlerError(f"{source}: {key} = {values[key]!r}; expected a pattern below the data folder")
    known = {key: of for key, of in values.items() if key in TaskFacts._fields}
    tables = {head: of for head, of in values["heads"].items() if isinstance(of, Mapping)}
    known["columns"] = dict(values.get("columns", {})) | {head: of.get("column", head) for head, of in tables.items()}
    of_a_code_competition = all(values.get(key) for key in ("competition", "test_files", "sample_submission"))
    has_hidden_test = bool(values.get("hidden_images")) or of_a_code_competition
    tuples = {key: tuple(values[key]) for key in ("heads", "image_shape")}
    return TaskFacts(**{"has_hidden_test": has_hidden_test} | known | tuples)
