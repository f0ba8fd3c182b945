"""Where things lie in a repository: what is built, what is pushed, and what comes back."""

from dataclasses import dataclass
from pathlib import Path

from bundler.metadata import SCRIPT, SUFFIXES, read_metadata, read_object
from multihead.config.files import (
    CHECKPOINT_FILE,
    HISTORY_FILE,
    MANIFEST_FILE,
    OUT_OF_FOLD_FILE,
    PREDICTIONS_FILE,
    REPORT_FOLDER,
    SETTINGS_FILE,
    SUBMISSION_FILE,
    TRIAL_LOG_FILE,
    WEIGHTS_FILE,
)
from multihead.config.task import Task

KERNELS = ("train", "predict")
OUTPUTS = {  # what a kernel may leave in its working folder; of predicting also what its task calls the submission
    "train": (WEIGHTS_FILE, MANIFEST_FILE, HISTORY_FILE, CHECKPOINT_FILE, OUT_OF_FOLD_FILE, REPORT_FOLDER),
    "predict": (SUBMISSION_FILE, PREDICTIONS_FILE),
}
OF_TRIAL = (*OUTPUTS["train"], TRIAL_LOG_FILE)  # what each of several trainings may leave in a folder of its own
MAX_FILES = 50  # that Kaggle takes in a dataset
SESSION_MINUTES = 12 * 60  # after which Kaggle ends a kernel
KERNEL_METADATA, DATASET_METADATA = "kernel-metadata.json", "dataset-metadata.json"


def answers_file(task: Task) -> str:
    """Return what the predict kernel's answers are called."""
    return task.submission_file if task.sample_submission else PREDICTIONS_FILE


def built_name(kernel: str, form: str) -> str:
    """Return what a kernel's built file is called, and so its code_file."""
    return f"{kernel}_kernel{SUFFIXES[form]}"


@dataclass(frozen=True)
class Repository:
    """A repository by its folder; what is called a kernel is one of KERNELS."""

    root: Path

    @property
    def package(self) -> Path:
        return self.root / "src" / "multihead"

    @property
    def dataset(self) -> Path:
        """The folder of what is pushed as a dataset."""
        return self.root / "dataset_meta"

    @property
    def dry_run(self) -> Path:
        """The folder of what a dry run or a rehearsal leaves."""
        return self.root / "dry-run"

    @property
    def dataset_id(self) -> str:
        """What Kaggle calls the dataset."""
        return str(read_metadata(self.dataset / DATASET_METADATA)["id"])

    def kernel(self, name: str) -> Path:
        """Return the folder of a kernel."""
        return self.root / "kernel" / name

    def form(self, kernel: str) -> str:
        """Return what a kernel is built as: what its metadata say, or else a script."""
        form = read_object(self.metadata(kernel)).get("kernel_type")
        return form if form in SUFFIXES else SCRIPT

    def built(self, kernel: str, form: str = "") -> Path:
        """Return the built file of a kernel, in the form that its metadata choose or in another."""
        return self.kernel(kernel) / built_name(kernel, form or self.form(kernel))

    def settings(self, kernel: str) -> Path:
        return self.kernel(kernel) / SETTINGS_FILE

    def metadata(self, kernel: str) -> Path:
        return self.kernel(kernel) / KERNEL_METADATA

    def pulled(self, kernel: str) -> Path:
        """Return the folder of what a kernel's run on Kaggle left."""
        return self.root / ("trained" if kernel == "train" else "predicted")

    def kernel_id(self, name: str) -> str:
        """Return what Kaggle calls a kernel."""
        return str(read_metadata(self.metadata(name))["id"])

    def shown(self, path: Path) -> str:
        """Return a path as messages have it: below the repository, if it lies there."""
        return str(path.relative_to(self.root) if path.is_relative_to(self.root) else path)


HERE = Repository(Path(__file__).resolve().parent.parent)  # this very copy
