"""A folder's files as a dataset at Kaggle."""

from pathlib import Path

from bundler.errors import BundlerError
from bundler.kaggle import client
from bundler.kaggle.client import Status
from bundler.metadata import read_metadata
from bundler.repository import DATASET_METADATA
from multihead.config.files import is_left_by_system


def push_dataset(folder: Path, notes: str, hours: float = 1) -> None:
    """Make a folder's files a dataset, or its new version, and wait until Kaggle can mount it.

    notes: what is new in this version. Raises BundlerError where a file did not arrive or Kaggle refuses it.
    """
    dataset = read_metadata(folder / DATASET_METADATA)["id"]
    files = [f.name for f in sorted(folder.iterdir()) if f.is_file() and f.name != DATASET_METADATA]
    names = [name for name in files if not is_left_by_system(name)]
    if not names:
        commands = "stage, fetch-weights or fetch-wheels"
        raise BundlerError(f"{folder}: holds nothing to push; expected what build_kernel.py {commands} puts there")
    before = _version_of(dataset) if client.knows("dataset_status", dataset=dataset) else None
    print(f"{dataset}: a new {'dataset' if before is None else 'version'} of {', '.join(names)}", flush=True)
    ignored = [".*", *(set(files) - set(names))]
    message = None if before is None else notes
    printed = client.ask("new_dataset", client.TRANSFER_SECONDS, folder=str(folder), ignored=ignored, message=message)
    lost = [name for name in names if f"Upload successful: {name} (" not in printed]  # what only 2.2.5 makes an error
    if lost:
        raise BundlerError(f"{dataset}: Upload unsuccessful: {', '.join(lost)}; Kaggle may have a version without it")

    def question() -> Status:
        now = dataset_status(dataset)
        is_old = now.done and before and _version_of(dataset) <= before
        return Status(False, f"still version {before}") if is_old else now

    client.wait_for(dataset, question, hours)


def dataset_status(dataset: str) -> Status:
    """Return how a dataset is doing, done once it can be mounted; raises BundlerError where it failed."""
    status = client.ask("dataset_status", dataset=dataset)
    if status in client.FAILED:
        raise BundlerError(f"{dataset}: {status}; Kaggle could not process what was uploaded")
    return Status(status == "ready", status)


def _version_of(dataset: str) -> int:
    """Return the number of a dataset's current version, 0 where Kaggle does not tell it."""
    return int(client.ask("dataset_version", dataset=dataset))
