"""What a competition's train images are, before any training: counts, statistics, and what is wrong with them.

Shard by shard, with the full images of one in memory; of each image a hash, and of each class a few small images stay.
"""

import hashlib
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.config.data_files import matching
from multihead.config.files import PREDICTIONS_FILE, SUBMISSION_FILE
from multihead.config.task import Task
from multihead.data.answers import form_of_images
from multihead.data.crop import ink_mask
from multihead.data.datasets import images_to_predict, images_to_train, reader_of
from multihead.data.identity import match
from multihead.data.labels import label_columns
from multihead.data.readers.reader import ImagesToPredict, ImagesToTrain
from multihead.data.shards import PixelMemory, Shard, read_shard
from multihead.data.tables import Table
from multihead.data.thumbnails import Image, thumbnail
from multihead.prediction.submission import Submission
from multihead.report.html import picture, render, templates
from multihead.runtime.errors import listed

LONGEST = 96  # side of a sample
SHOWN_ROWS = 3  # of a submission
SAMPLES, MOST_CLASSES = 8, 100  # on the page: images of each class, and classes of each head
NAMED = 5  # of what is wrong
LINE = 118
# columns beside the heads: none's names
_SHARD, _IS_BLANK, _HASH, _ID = ("of shard", "is blank", "of pixels", "of image")


class Statistics(NamedTuple):
    """Of n images: mean and variance of the pixels, and the share of them that is ink (nan in colour), each (n,)."""

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    ink: NDArray[np.float64]

    def __str__(self) -> str:
        mean = self.mean.mean()
        deviation = np.sqrt((self.variance + self.mean**2).mean() - mean**2)  # of all pixels together
        ink = "" if np.isnan(self.ink).any() else f", ink {self.ink.mean():.1%}"
        return f"mean {mean:.1f}, deviation {deviation:.1f}{ink}"


def inspect(data: Path, task: Task, out: Path, fold: int = 0) -> Iterator[str]:
    """Yield the lines that tell what the train files hold, and write a page of samples.

    fold: of a task without test files, the fifth that is left out. Raises UserError where a file cannot be read, or a
    label is not the task's.
    """
    templates()  # or what it lacks would show only after all files are read
    train, memory = images_to_train(data, task, fold), PixelMemory()
    task, labels = train.task, train.labels
    yield from train_lines(data, train)
    if all(any(True for _ in matching(data, name)) for name in task.files_to_predict):
        yield from test_lines(images_to_predict(data, task, fold), task, labels)
    else:
        yield f"test: {' or '.join(task.files_to_predict)} is not in {data}"
    statistics, tables, samples = [], [], _Samples(task)
    unreadable: list[str] = []
    for part in train.parts:
        shard = read_shard(part, task.image_shape, memory=memory)
        unreadable += shard.unreadable
        if not len(shard.ids):
            yield f"{part.name}: no images"
            continue
        table = labels.loc[list(shard.ids)]
        samples.add(shard, table)
        statistics.append(measure(shard, task))
        tables.append(_with_findings(table, shard, part.name))
        yield f"{part.name}: {len(shard.ids):,} images, {statistics[-1]}"
    if not tables:
        return
    table = pd.concat(tables, ignore_index=True)
    yield from _lines_of_all(table, Statistics(*map(np.concatenate, zip(*statistics, strict=True))), task)
    if unreadable:
        yield _listed("image files that cannot be read", unreadable)
    yield from _problems(table, task)
    yield _listed("images without a label", train.without_label)
    yield _listed("labels without an image", train.without_image)
    out.write_text(samples.page(table), encoding="utf-8")
    yield f"samples of each class: {out}"


def _with_findings(labels: pd.DataFrame, shard: Shard, name: str) -> pd.DataFrame:
    """Return the labels of a shard's images with columns for what is found of each beside."""
    pixels = shard.images.reshape(len(shard.ids), -1)
    return labels.assign(
        **{
            _SHARD: name,
            _IS_BLANK: pixels.max(axis=1) == pixels.min(axis=1),
            _HASH: [hashlib.blake2b(image, digest_size=16).hexdigest() for image in shard.images],
            _ID: shard.ids,
        }
    )


def _lines_of_all(table: pd.DataFrame, statistics: Statistics, task: Task) -> Iterator[str]:
    """Yield what is found of all images together, and of each class."""
    yield f"all: {len(table):,} images of {' x '.join(map(str, task.image_shape))}, {statistics}"
    if not np.isnan(statistics.ink).any():
        yield f"ink of an image: {statistics.ink.min():.1%} to {statistics.ink.max():.1%}"
    for head in task.heads:
        yield from _class_lines(table, head, task)


def train_lines(data: Path, train: ImagesToTrain) -> Iterator[str]:
    """Yield what was understood of the train images: which they are, and where their ids and labels stand."""
    task, labels = train.task, train.labels
    height, width, channels = task.image_shape
    yield f"task {task.name}: {task.reader}, read as {height} x {width} x {channels}"
    table = task.labels_file or (task.train_files if reader_of(task).is_table else "")
    named = f" that {task.labels_file} names" if task.labels_file else ""
    yield f"train: {len(labels):,} images of {task.train_files}{named}; {_ids_in_words(labels.index, bool(table))}"
    columns = label_columns(Table(data / next(matching(data, table))), task) if table else {}
    for head, classes in task.heads.items():
        place = f"column {listed(columns[head])}" if table else f"the path, {task.train_files}"
        yield f"  {head}: {place}; {len(classes)} classes, {listed(classes)}"


def test_lines(test: ImagesToPredict, task: Task, labels: pd.DataFrame) -> Iterator[str]:
    """Yield what was understood of the images to predict, and how a submission would begin, with the prior classes."""
    files = task.test_files or f"{task.train_files}, the fifth that is left out"
    held = pd.Index([image for part in test.parts for image in part.ids()], dtype=str, name=test.parts[0].ids().name)
    form = test.form or form_of_images(held.tolist(), task)
    if test.form:
        missing = test.without_image
        yield f"test: {len(form.every_image) - len(missing):,} images of {files} that {task.sample_submission} names"
        yield f"  {_ids_in_words(form.rows, is_table=True)}"
        if missing:
            yield _listed(f"images of {task.sample_submission} that are in no test file", missing)
        beside = [*test.without_row, *held[match(held.tolist(), form.every_image.tolist()) < 0]]
        yield _listed(f"images that have no row in {task.sample_submission}", beside)
    else:
        yield f"test: {len(held):,} images of {files}; {_ids_in_words(held, reader_of(task).is_table)}"
    prior = {head: classes[int(labels[head].mode()[0])] for head, classes in task.heads.items()}
    yield f"{SUBMISSION_FILE if test.form else PREDICTIONS_FILE} would begin:"
    yield from (f"  {line}" for line in Submission(Path(), form, prior, "").first_lines(SHOWN_ROWS))


def _ids_in_words(ids: pd.Index, is_table: bool) -> str:
    unnamed = "rows without ids are numbered" if is_table else "ids are the files' paths or names"
    how = unnamed if ids.name is None else f"ids in column {ids.name}"
    return f"{how} ({listed(ids[:3])}{', ...' if len(ids) > 3 else ''})"


def measure(shard: Shard, task: Task) -> Statistics:
    """Return the statistics of a shard's images."""
    mean, variance = np.empty(len(shard.ids)), np.empty(len(shard.ids))
    ink = np.full(len(shard.ids), np.nan)
    for row, image in enumerate(shard.images):
        means, deviations = cv2.meanStdDev(image.reshape(len(image), -1))
        mean[row], variance[row] = means[0, 0], deviations[0, 0] ** 2
        if task.image_shape[2] == 1:
            ink[row] = cv2.countNonZero(ink_mask(image[:, :, 0], task.dark_ink)) / image.size
    return Statistics(mean, variance, ink)


def _class_lines(table: pd.DataFrame, head: str, task: Task) -> Iterator[str]:
    """Yield the images of each class: in all shards, and in each of them in brackets."""
    classes = task.heads[head]
    indices = [column.to_numpy() for _, column in table.groupby(_SHARD, sort=False)[head]]
    shards = [np.bincount(column[column >= 0], minlength=len(classes)) for column in indices]
    counts = np.sum(shards, axis=0)
    least, most = counts.min(), counts.max()
    images = f"{least:,} to {most:,}" if least < most else f"{least:,}"
    yield f"{head}: {len(classes)} classes of {images} images; in brackets, those of each shard"
    order = np.argsort(-counts, kind="stable").tolist()
    entries = [f"{classes[i]}: {counts[i]} ({'+'.join(str(shard[i]) for shard in shards)})" for i in order]
    text = "  ".join(entry.replace(" ", "\0") for entry in entries)  # no line ends within an entry
    yield from (f"  {line}".replace("\0", " ") for line in textwrap.wrap(text, LINE, break_long_words=False))


def _problems(table: pd.DataFrame, task: Task) -> Iterator[str]:
    """Yield a line for each kind of thing that may be wrong, with how many there are and the first of them."""
    heads = list(task.heads)
    for head, classes in task.heads.items():
        present = set(table[head])
        missing = [str(label) for index, label in enumerate(classes) if index not in present]
        yield _listed(f"classes of {head} without an image", missing)
    yield _listed("blank images", table[_ID][table[_IS_BLANK]].tolist())
    copies = table[table[_HASH].duplicated(keep=False) & ~table[_IS_BLANK]]
    groups = [group for _, group in copies.groupby(_HASH, sort=False)]
    is_equal = [not group[heads].ne(group[heads].iloc[0]).to_numpy().any() for group in groups]
    for wanted, name in ((True, "equal"), (False, "different")):
        some = [" = ".join(group[_ID][:3]) for group, equal in zip(groups, is_equal, strict=True) if equal == wanted]
        yield _listed(f"groups of images with the same pixels and {name} labels", some)


def _listed(what: str, some: Sequence[str]) -> str:
    more = ", ..." if len(some) > NAMED else ""
    return f"{what}: {len(some):,}" + (f": {listed(some[:NAMED])}{more}" if some else "")


class _Samples:
    """The first few images of each class, small."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._images: dict[tuple[str, int], list[Image]] = {}

    def add(self, shard: Shard, table: pd.DataFrame) -> None:
        for head, classes in self._task.heads.items():
            for index in range(min(len(classes), MOST_CLASSES)):
                kept = self._images.setdefault((head, index), [])
                rows = np.flatnonzero(table[head] == index)[: SAMPLES - len(kept)]
                kept += [thumbnail(shard.images[row], LONGEST).copy() for row in rows.tolist()]

    def page(self, table: pd.DataFrame) -> str:
        heads = []
        for head, classes in self._task.heads.items():
            counts = table[head].value_counts()
            rows = [
                {
                    "name": str(label),
                    "images": int(counts.get(index, 0)),
                    "pictures": list(map(picture, self._images[head, index])),
                }
                for index, label in enumerate(classes[:MOST_CLASSES])
            ]
            heads.append({"name": head, "classes": len(classes), "rows": rows})
        return render("samples.html", title=self._task.name, heads=heads)
