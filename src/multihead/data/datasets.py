"""What a data folder holds for a task: the images to train on, and those to predict.

The tables choose: with a table of labels the images to train on are those that it names, with a sample those to
predict are its. What lies beside is counted, and said.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from multihead.config.task import Task
from multihead.data.readers.image_reader import ImageReader
from multihead.data.readers.reader import ImagesToPredict, ImagesToTrain, Reader
from multihead.runtime.errors import UserError


def _wide_parquet(task: Task, fold: int) -> Reader:
    from multihead.data.readers.wide_parquet import WideParquetReader

    return WideParquetReader(task, fold)


def _pixel_csv(task: Task, fold: int) -> Reader:
    from multihead.data.readers.pixel_csv import PixelCsvReader

    return PixelCsvReader(task, fold)


# Those of tables need polars, which is imported where there is one to read
READERS: dict[str, Callable[[Task, int], Reader]] = {
    "wide parquet": _wide_parquet,
    "pixel csv": _pixel_csv,
    "image files": ImageReader,
}


def reader_of(task: Task, fold: int = 0) -> Reader:
    """Return the reader for the form of file that a task's images are in."""
    return READERS[task.reader](task, fold)


def images_to_train(folder: Path, task: Task, fold: int = 0) -> ImagesToTrain:
    """Return what there is to train on.

    fold: of a task without test files, the fifth that is left out. Raises UserError for a missing column, an id that
    comes twice, a label outside Task.heads, or where there is nothing.
    """
    return reader_of(task, fold).images_to_train(folder)


def images_to_predict(folder: Path, task: Task, fold: int = 0) -> ImagesToPredict:
    """Return what there is to predict: the test files, or of a task without any the fifth that its training left out.

    Raises UserError where there is nothing, or the sample is of a form that cannot be answered.
    """
    return reader_of(task, fold).images_to_predict(folder)


def labels_to_predict(folder: Path, task: Task, fold: int = 0) -> pd.DataFrame:
    """Return the class indices of the images to predict, as far as the data folder tells: index image id.

    A table of train labels tells nothing of test files: an image of theirs may bear the name of a train image.
    Raises UserError where it does not tell.
    """
    if task.test_files and task.labels_file:
        raise UserError(f"{task.labels_file} is of the train images")
    return reader_of(task, fold).labels_to_predict(folder)


def all_to_read(task: Task, pattern: str) -> Task:
    """Return a task by which all images of a pattern are read, to train on or to predict; no sample or fold chooses."""
    return replace(task, train_files=pattern, test_files=pattern, sample_submission="", has_hidden_test=False)
