"""What the package says of its tasks, read as text: where their files come from, and which those are."""

import ast
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bundler.errors import BundlerError
from bundler.staging import MANIFEST_FILE

TASK_FILE = "task.toml"
TRUTH_FILE = "truth.csv"


class TaskFacts(NamedTuple):
    """A task's name, where Kaggle has its files, which those are, and how many images its hidden test set has.

    The names are those of the package's Task. competition, dataset: a slug or owner/slug, one of the two.
    """

    name: str
    train_files: str
    competition: str = ""
    dataset: str = ""
    labels_file: str = ""
    test_files: str = ""
    sample_submission: str = ""
    hidden_images: int = 0

    @property
    def source(self) -> str:
        return self.competition or self.dataset

    def check_data(self, data: Path, kernel: str) -> None:
        """Raise BundlerError for a folder that lacks what the kernel reads, before anything is emptied for it."""
        files = [self.train_files, self.labels_file]
        if kernel == "predict":
            files = [self.test_files or self.train_files, self.sample_submission]
        missing = [name for name in files if name and not any(data.glob(name))]
        if missing:
            raise BundlerError(f"{data}: not the files of {self.name}, it holds no {' and no '.join(missing)}")


def built_in_tasks(package: Path) -> dict[str, TaskFacts]:
    """Return the tasks by name that the package's tasks.py builds in."""
    tree = ast.parse((package / "tasks.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    keywords = [
        {str(k.arg): k.value.value for k in call.keywords if isinstance(k.value, ast.Constant)} for call in calls
    ]
    return {str(of["name"]): _facts(of) for of in keywords if {"name", "train_files"} <= of.keys()}


def own_task(folder: Path) -> TaskFacts | None:
    """Return the task of the task.toml in a settings file's folder; None where there is none."""
    path = folder / TASK_FILE
    if not path.is_file():
        return None
    try:
        return _facts(tomllib.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise BundlerError(f"{path}: {error}") from error


def trained_task(package: Path, settings: Path, overrides: Iterable[str] = ()) -> TaskFacts:
    """Return the task of a training with a settings file and `key=value` overrides; the package has checked them."""
    given = [of.partition("=")[2].strip() for of in overrides if of.partition("=")[0].strip() == "task"]
    named = tomllib.loads(settings.read_text(encoding="utf-8")).get("model", {}).get("task")
    return task_named(package, settings, str(given[-1] if given else named or ""))


def task_named(package: Path, settings: Path, name: str) -> TaskFacts:
    """Return a task that is built in, or the one beside a settings file; without a name that one, or else the first."""
    own, built_in = own_task(settings.parent), built_in_tasks(package)
    if own and name in ("", own.name):
        return own
    name = name or next(iter(built_in))
    if name not in built_in:
        raise BundlerError(f"task: {name!r} is not known; one of {', '.join(built_in)}, or that of a {TASK_FILE}")
    return built_in[name]


def predicted_task(weights: Path) -> TaskFacts | None:
    """Return the task of the weights in a folder, as their manifests say; None where there is none to tell."""
    for path in sorted(weights.glob(f"*{MANIFEST_FILE}")):
        try:
            return _facts(json.loads(path.read_text(encoding="utf-8"))["task"])
        except (ValueError, TypeError, KeyError):  # predicting names what is wrong with it
            continue
    return None


def has_truth(data: Path, task: TaskFacts) -> bool:
    """Tell whether a data folder holds the test images' labels: in a truth.csv, or where no sample asks for them."""
    return (data / TRUTH_FILE).is_file() or not task.sample_submission


def _facts(values: Mapping[str, Any]) -> TaskFacts:
    return TaskFacts(**{key: of for key, of in values.items() if key in TaskFacts._fields})
