"""Short ways to read what a data folder holds, for tests."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from multihead.config.task import Label, Task
from multihead.data import shards
from multihead.data.answers import form_of_images, read_form
from multihead.data.datasets import images_to_predict, images_to_train, reader_of
from multihead.data.readers.table_reader import TablePart, TableReader
from multihead.data.shards import Part, PixelMemory, Shard
from multihead.prediction.submission import Submission


def part_of(path: Path, task: Task) -> TablePart:
    """Return one table of pixels as a part of which every row is chosen."""
    reader = reader_of(task)
    assert isinstance(reader, TableReader)
    return reader.part_type(path, task)


def shards_to_train(folder: Path, task: Task, fold: int = 0) -> Sequence[Part]:
    return images_to_train(folder, task, fold).parts


def shards_to_predict(folder: Path, task: Task, fold: int = 0) -> Sequence[Part]:
    return images_to_predict(folder, task, fold).parts


def read_labels(folder: Path, task: Task, fold: int = 0) -> pd.DataFrame:
    return images_to_train(folder, task, fold).labels


def read_shard(
    part: Part | Path, task: Task, labels: pd.DataFrame | None = None, memory: PixelMemory | None = None
) -> Shard:
    return shards.read_shard(part_of(part, task) if isinstance(part, Path) else part, task.image_shape, labels, memory)


def part_ids(part: Part | Path, task: Task) -> list[str]:
    return [str(name) for name in (part_of(part, task) if isinstance(part, Path) else part).ids()]


def submission_of_sample(path: Path, sample: Path, task: Task, prior: Mapping[str, Label]) -> Submission:
    return Submission(path, read_form(sample, task), prior, sample.name)


def submission_of_images(path: Path, images: Sequence[str], task: Task, prior: Mapping[str, Label]) -> Submission:
    return Submission(path, form_of_images(images, task), prior, "the test files")
