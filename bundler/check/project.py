"""What the preflight looks at: a project's metadata and settings, as far as they can be read, and a finding in them."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bundler.kaggle.staging import members_of_study
from bundler.metadata import DATASET_FILE, PREDICT_FILE, TRAIN_FILE, read_object, without_version
from bundler.repository import Repository
from multihead.config import UserError
from multihead.config.files import is_left_by_system
from multihead.config.known_tasks import task_beside, task_by_name
from multihead.config.task import Task

KERNEL_FILES = {"train": TRAIN_FILE, "predict": PREDICT_FILE}
DATASET_FOLDER = DATASET_FILE.split("/", maxsplit=1)[0]
MISSING = "(missing)"


@dataclass(frozen=True)
class Finding:
    """One thing that Kaggle would not take: the file below the repository, key and value in it, and the rule.

    Without a key, the rule is another tool's message that says all of it. A note may be meant as it stands: it is said
    before a push, and stops none.
    """

    file: str
    key: str
    value: str
    rule: str
    is_note: bool = False

    def __str__(self) -> str:
        return f"{self.file}: {self.key} = {self.value}: {self.rule}" if self.key else f"{self.file}: {self.rule}"


class Project(NamedTuple):
    """Metadata by file without the keys that are findings, those keys, and settings by kernel, defaults included."""

    repository: Repository
    action: str
    metadata: Mapping[str, Mapping[str, Any]]
    refused: frozenset[tuple[str, str]]
    settings: Mapping[str, Mapping[str, Mapping[str, Any]]]

    def value(self, file: str, key: str, default: Any = None) -> Any:
        return self.metadata.get(file, {}).get(key, default)

    def sources(self, file: str, key: str) -> list[str] | None:
        """Return the sources of one kind that a kernel attaches; None where what it says of them is not known."""
        if file not in self.metadata or (file, key) in self.refused:
            return None
        return list(self.value(file, key, []))

    def address(self, file: str) -> str:
        """Return what the id in a metadata file is compared by, "" where it is not known."""
        return address(self.value(file, "id", ""))

    def kernels_with_settings(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        """Yield name, settings file and [run] settings of each kernel whose settings could be read."""
        return ((name, settings_file(name), settings["run"]) for name, settings in self.settings.items())

    def task(self) -> Task | None:
        """Return the task of the train kernel's settings; None where they could not be read."""
        if "train" not in self.settings:
            return None
        return task_by_name(self.settings["train"]["model"]["task"], task_beside(self.repository.settings("train")))

    def holders(self, kernel: str) -> set[str] | None:
        """Return the addresses of what a kernel attaches that could hold weights; None where that is not known.

        Competitions and the data of the task hold none, nor does the predict kernel's own output.
        """
        file, task = KERNEL_FILES[kernel], self.task()
        kinds = [self.sources(file, key) for key in ("dataset_sources", "kernel_sources", "model_sources")]
        found = {address(source) for sources in kinds for source in sources or ()}
        none = {address(task.source)} if task else set()
        none |= {self.address(file)} if kernel == "predict" else set()
        return None if None in kinds else found - none

    def members(self) -> list[str]:
        """Return the names of the weights that the predict kernel looks for; "" is the one without a name.

        Where its settings name none, a study's ensemble in the dataset folder does. There are none where they could
        not be read.
        """
        if "predict" not in self.settings:
            return []
        return self.named_members() or members_of_study(self.repository.dataset) or [""]

    def named_members(self) -> list[str]:
        """Return the names of weights in the settings of the predict kernel."""
        return list(self.settings["predict"]["run"]["ensemble"]) if "predict" in self.settings else []

    def entries(self) -> list[Path]:
        """Return what lies in the dataset folder beside its metadata."""
        if not self.repository.dataset.is_dir():
            return []
        return sorted(entry for entry in self.repository.dataset.iterdir() if entry.name != Path(DATASET_FILE).name)

    def files(self) -> list[Path]:
        """Return the dataset's own files: no folders, no broken links, nothing that a system left there."""
        return [entry for entry in self.entries() if entry.is_file() and not is_left_by_system(entry.name)]

    def manifest(self, file: str) -> Mapping[str, Any]:
        """Return what a manifest in the dataset folder says, or nothing where it cannot be read."""
        try:
            return read_object(self.repository.dataset / file)
        except UserError:
            return {}

    def task_of_weights(self, manifest: str) -> Mapping[str, Any]:
        """Return what a manifest in the dataset folder says of its weights' task, or nothing."""
        task = self.manifest(manifest).get("task")
        return task if isinstance(task, dict) else {}


def address(source: str) -> str:
    """Return what a source is compared by: Kaggle's addresses know no upper case, and a version is the same source."""
    return without_version(source).lower()


def settings_file(kernel: str) -> str:
    """Return the path of a kernel's settings below the repository."""
    return f"kernel/{kernel}/settings.toml"


def shown(value: Any) -> str:
    """Return a value as a finding shows it: as JSON, 80 characters at most."""
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def one_line(key: str) -> str:
    """Return a key as it is, or as JSON where it is no plain word."""
    return key if re.fullmatch(r"[\w.-]+", key) else json.dumps(key)


def finding_of(repository: Path, file: str, error: UserError) -> Finding:
    """Return an error about a file as a finding, without the file's name, which the finding has."""
    return Finding(file, "", "", str(error).removeprefix(f"{repository / file}: "))
