"""Files to shards: (ids, uint8 images, labels), one at a time, whatever the files are."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead import image_files, pixel_csv, wide_parquet
from multihead.errors import UserError
from multihead.image_files import ImageFiles
from multihead.labels import labels_of, read_label_table, refuse_repeated
from multihead.progress import say
from multihead.tasks import Task
from multihead.wide_parquet import PixelMemory

Part = Path | ImageFiles  # what one shard is read from


@dataclass(frozen=True)
class Shard:
    """Images that belong together, full or cropped.

    ids: n image ids. images: uint8 (n, H, W, c). labels: for each head, int64 (n,) indices into
    Task.heads[head]; None for test images. shown: of crops, the first few full images, which a report shows;
    photographs that are taken whole as squares with a margin.
    unreadable: the ids of image files that could not be read; they are not among the n. blank: of crops, the ids of
    those whose full image has one value all over.
    """

    ids: Sequence[str]
    images: NDArray[np.uint8]
    labels: Mapping[str, NDArray[np.int64]] | None
    shown: NDArray[np.uint8] | None = None
    unreadable: Sequence[str] = ()
    blank: Sequence[str] = ()


def shards_to_train(folder: Path, task: Task, fold: int = 0) -> list[Part]:
    """Return what the train images are read from, a part per shard; UserError if there is nothing.

    fold: of a task without test files, the fifth that is left out.
    """
    return _find_shards(folder, task, task.train_files, None if task.test_files else (fold, False))


def shards_to_predict(folder: Path, task: Task, fold: int = 0) -> list[Part]:
    """Return what the images to predict are read from; of a task without test files, the fifth that is left out."""
    return _find_shards(folder, task, task.test_files or task.train_files, None if task.test_files else (fold, True))


def _find_shards(folder: Path, task: Task, pattern: str, fold: tuple[int, bool] | None) -> list[Part]:
    if task.reader == "image files":
        paths = image_files.find_images(folder, pattern)
        image_files.refuse_repeated(paths, task)
        if fold is not None:
            is_in_fold = image_files.fold_of(_groups(paths, task, folder)) == fold[0]
            paths = [path for path, inside in zip(paths, is_in_fold.tolist(), strict=True) if inside == fold[1]]
        if not paths:
            raise UserError(f"too few images {pattern} in {folder} for fold {(fold or (0,))[0]}")
        return list(image_files.in_shards(folder, paths, task))
    files = sorted(folder.glob(pattern), key=lambda f: ([int(n) for n in re.findall(r"\d+", f.name)], f))
    if not files:
        raise UserError(f"no {pattern} in {folder}")
    if len(files) > 1 and not task.id_column:
        raise UserError(f"{pattern}: {len(files)} files in {folder}; without an id_column there may be one")
    return list(files)


def _groups(paths: Sequence[str], task: Task, folder: Path) -> pd.Index:
    """Return what a fold is drawn evenly over: the rows of the table of labels, or else the folders of the images."""
    if not task.labels_file:
        return image_files.groups_by_folder(paths)
    return image_files.groups_by_labels(paths, task, read_label_table(folder / task.labels_file, task))


def read_labels(folder: Path, task: Task, fold: int = 0) -> pd.DataFrame:
    """Return the train labels: index image id (str), one int64 column of class indices per head.

    fold: of a task without test files, the fifth that is left out. Raises UserError for a missing column, a repeated
    id, or a label outside Task.heads, with its row.
    """
    if task.labels_file:
        labels = read_label_table(folder / task.labels_file, task)
        left_out = [] if task.test_files else shards_to_predict(folder, task, fold)
        return labels.drop([image for part in left_out for image in part_ids(part, task)], errors="ignore")
    labels = pd.concat([part_labels(part, task, folder) for part in shards_to_train(folder, task, fold)])
    refuse_repeated(labels.index, task.train_files)
    return labels


def labels_with_images(parts: Sequence[Part], task: Task, labels: pd.DataFrame) -> pd.DataFrame:
    """Return those of read_labels' labels whose image is in the parts to train on, and say what others there are.

    Raises UserError for an image without labels, or an id that comes twice.
    """
    ids = pd.Index([image for part in parts for image in part_ids(part, task)], dtype=str)
    refuse_repeated(ids, task.train_files)
    labels_of(ids.tolist(), labels, Path(task.train_files))  # an image without labels shows now
    has_image = labels.index.isin(ids)
    if not has_image.all():
        lost = labels.index[~has_image]
        some = ", ".join(lost[:5]) + (", ..." if len(lost) > 5 else "")
        say(f"warning: {len(lost):,} of {len(labels):,} labels have no image: {some}")
    return labels[has_image]


def part_labels(part: Part, task: Task, folder: Path) -> pd.DataFrame:
    """Return the labels that the files of one shard hold themselves, as read_labels does."""
    if isinstance(part, ImageFiles):
        return image_files.labels_by_folder(part.paths, task, folder)
    return read_label_table(part, task)


def count_rows(part: Part, task: Task) -> int:
    """Return the number of images in a shard, reading as little as tells it."""
    if isinstance(part, ImageFiles):
        return len(part.paths)
    return pixel_csv.count_rows(part) if task.reader == "pixel csv" else wide_parquet.count_rows(part)


def read_shard(part: Part, task: Task, labels: pd.DataFrame | None = None, memory: PixelMemory | None = None) -> Shard:
    """Return one part as a Shard of full images, labelled from the table of read_labels if given.

    memory: where the images of a parquet file are put, over those of the shard before. Raises UserError for what is
    damaged, or an id without a label.
    """
    unreadable: list[str] = []
    if isinstance(part, ImageFiles):
        ids, images, unreadable = image_files.read_images(part, task, is_train=labels is not None)
    elif task.reader == "pixel csv":
        ids, images = pixel_csv.read_images(part, task)
    else:
        ids, images = wide_parquet.read_images(part, task, memory or PixelMemory())
    path = part.folder if isinstance(part, ImageFiles) else part
    return Shard(ids, images, None if labels is None else labels_of(ids, labels, path), unreadable=unreadable)


def part_ids(part: Part, task: Task) -> list[str]:
    """Return the ids of a shard's images, without reading those."""
    if isinstance(part, ImageFiles):
        return [image_files.image_id(path, task) for path in part.paths]
    return pixel_csv.read_ids(part, task) if task.reader == "pixel csv" else wide_parquet.read_ids(part, task)
