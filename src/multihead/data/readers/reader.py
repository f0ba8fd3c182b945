"""What each form of file offers: the images to train on, and those to predict, in parts that are read as shards."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pandas as pd

from multihead.config.data_files import matching
from multihead.config.task import Task
from multihead.data.answers import Form, read_form
from multihead.data.shards import Part
from multihead.runtime.errors import listed


@dataclass(frozen=True)
class ImagesToTrain:
    """The images to train on.

    task: with what the images say of themselves. parts: what they are read from, one per shard. labels: index image id
    (str), one int64 column of class indices per head; every one of these images is in the parts. without_label,
    without_image: the ids of images that no table names, and of labels whose image is not there.
    """

    task: Task
    parts: Sequence[Part]
    labels: pd.DataFrame
    without_label: Sequence[str] = ()
    without_image: Sequence[str] = ()

    def warnings(self) -> Iterator[str]:
        """Yield a line for each kind of thing that is passed over."""
        if self.without_label:
            yield f"{len(self.without_label):,} images have no label, and are passed over: {listed(self.without_label)}"
        if self.without_image:
            number, of_all = len(self.without_image), len(self.without_image) + len(self.labels)
            yield f"{number:,} of {of_all:,} labels have no image: {listed(self.without_image)}"


@dataclass(frozen=True)
class ImagesToPredict:
    """The images to predict.

    parts: what they are read from, one per shard. form: the rows of the sample, if there is one. without_image: the
    images of the sample that no part is known to hold. without_row: the paths of image files that the sample has no row
    for.
    """

    parts: Sequence[Part]
    form: Form | None
    without_image: Sequence[str] = ()
    without_row: Sequence[str] = ()


class Reader(ABC):
    """One form of file, of which a task's images are.

    is_table: whether the files are tables, where ids and labels stand in columns; else paths hold them. fold: of a task
    without test files, the fifth that is left out.
    """

    is_table: ClassVar[bool]

    def __init__(self, task: Task, fold: int) -> None:
        self.task, self.fold = task, fold

    @abstractmethod
    def images_to_train(self, folder: Path) -> ImagesToTrain:
        """Return what there is to train on in a data folder, as datasets.images_to_train does."""

    @abstractmethod
    def images_to_predict(self, folder: Path) -> ImagesToPredict:
        """Return what there is to predict in a data folder, as datasets.images_to_predict does."""

    @abstractmethod
    def labels_to_predict(self, folder: Path) -> pd.DataFrame:
        """Return the class indices that the images to predict bear themselves: index image id, a column per head."""

    def labels_in(self, path: Path, there: Sequence[str] | None = None) -> pd.DataFrame | None:  # noqa: ARG002
        """Return the class indices of the images in a file as it holds them; None where the form has no place for them.

        there: the images that are known to be in it.
        """
        return None

    def sample(self, folder: Path, there: Sequence[str] | None = None) -> Form | None:
        """Return the form of the sample, None where there is none. there: the images to predict, if they are known."""
        name = self.task.sample_submission
        return read_form(folder / name, self.task, there) if name and any(map(bool, matching(folder, name))) else None


def name_of_ids(form: Form | None) -> list[str]:
    """Return what a sample calls its column of images."""
    return [str(form.rows.name)] if form and not form.has_row_per_key else []
