"""What is kept of a row of the ruler (score.py): its answers out of fold, in a file small enough for the repository.

It holds no image, id or label of the competition: only the answered class of every image and head, in the order of the
sorted ids, and a SHA-256 of ids and labels, so that answers to other images are refused. Classes are uint8, since the
168 roots do not fit int8.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from multihead.config.task import Task
from multihead.data.datasets import images_to_train
from multihead.runtime.errors import UserError
from multihead.runtime.whole_files import whole_file
from multihead.scoring.out_of_fold import OutOfFold

FORMAT = 1

Classes = Mapping[str, NDArray[np.int64]]  # for each head, the class of n images in the order of their sorted ids


class Images(NamedTuple):
    """The train images of a competition: their labels, and the SHA-256 of their ids and labels."""

    truth: Classes
    sha256: str


class KeptRow(NamedTuple):
    """A row as it was measured.

    images: their SHA-256. settings: what decided the weights, in full. cpu_seconds: of the study's trainings, joining
    included; shared_cpu_seconds: of what the trainings start from. is_measured: whether cpu_seconds are; otherwise
    they are the seconds that the trainings ran, with one thread each. score: of the answers.
    """

    images: str
    settings: Mapping[str, Any]
    cpu_seconds: float
    shared_cpu_seconds: float
    is_measured: bool
    score: float
    answers: Classes

    @property
    def all_cpu_seconds(self) -> float:
        return self.cpu_seconds + self.shared_cpu_seconds


def read_images(data: Path, task: Task) -> Images:
    """Return the train images of a competition's folder; UserError where it has none."""
    labels = images_to_train(data, task).labels.sort_index()
    truth = {head: labels[head].to_numpy() for head in task.heads}
    return Images(truth, _sha256(labels.index.tolist(), truth))


def answers_of(out_of_fold: OutOfFold, images: Images, source: Path) -> Classes:
    """Return answers out of fold in the order of the sorted ids; UserError where they are not to these images."""
    order = np.argsort(np.array(out_of_fold.ids, dtype=str))
    truth = {head: classes[order] for head, classes in out_of_fold.truth.items()}
    if _sha256([out_of_fold.ids[row] for row in order], truth) != images.sha256:
        raise UserError(f"{source}: answers other images than the train images of the data given")
    return {head: classes[order] for head, classes in out_of_fold.answers.items()}


def write_row(path: Path, row: KeptRow) -> None:
    """Write a row into a file, whole or not at all. Its heads have at most 256 classes."""
    header = {"format": FORMAT, "heads": list(row.answers)} | row._asdict()
    del header["answers"]
    arrays: dict[str, Any] = {
        f"answers_{number}": classes.astype(np.uint8) for number, classes in enumerate(row.answers.values())
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as new, new.open("wb") as file:
        np.savez_compressed(file, header=np.array(json.dumps(header)), **arrays)


def read_row(path: Path, images: Images) -> KeptRow:
    """Return the row in a file; UserError for a damaged one, or one that answers other images."""
    try:
        with path.open("rb") as file, np.load(file) as stored:
            header = json.loads(str(stored["header"]))
            if (version := header.pop("format")) != FORMAT:
                raise ValueError(f"format {version}; this version reads format {FORMAT}")
            heads = enumerate(header.pop("heads"))
            row = KeptRow(**header, answers={head: stored[f"answers_{n}"].astype(np.int64) for n, head in heads})
    except Exception as error:  # a damaged archive makes zipfile, zlib and numpy raise many kinds
        raise UserError(f"{path}: not a row of the ruler ({error})") from error
    if row.images != images.sha256:
        raise UserError(f"{path}: answers other images than the train images of the data given")
    return row


def changed_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return in words which settings were others before, "" for none."""
    changed = {key: value for key, value in now.items() if before[key] != value}
    return ", ".join(f"{key} = {json.dumps(before[key])}, here {json.dumps(value)}" for key, value in changed.items())


def _sha256(ids: Sequence[str], truth: Classes) -> str:
    plain = [list(ids), {head: classes.tolist() for head, classes in truth.items()}]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()
