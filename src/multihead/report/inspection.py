"""What a competition's train images are, before any training: counts, statistics, and what is wrong with them.

Shard by shard, with the full images of one in memory; of each image a hash, and of each class a few small images stay.
"""

import hashlib
import textwrap
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.config.data_files import matching
from multihead.config.files import PREDICTIONS_FILE
from multihead.config.scores import LABEL, NUMBERS, PROBABILITY, ranked_classes, score_kind
from multihead.config.task import Task
from multihead.data.answers import Form, form_of_images, key_of
from multihead.data.crop import ink_mask
from multihead.data.datasets import images_to_predict, images_to_train, reader_of
from multihead.data.identity import match
from multihead.data.labels import MISSING, is_without_label, label_columns
from multihead.data.readers.reader import ImagesToPredict, ImagesToTrain
from multihead.data.shards import PixelMemory, Shard, read_shard
from multihead.data.tables import Table
from multihead.data.targets import dense, is_known, priors_of
from multihead.data.thumbnails import Image, thumbnail
from multihead.prediction.deciding import finished
from multihead.prediction.submission import Submission
from multihead.report.html import picture, render, templates
from multihead.runtime.errors import listed
from multihead.scoring.measures import images_per_class, one_hot

LONGEST = 96  # side of a sample
SHOWN_ROWS = 3  # of a submission
SAMPLES, MOST_CLASSES = 8, 100  # on the page: images of each class, and classes of each head
NAMED = 5  # of what is wrong
NO_CLASS = "none of the classes"
RANGES = 5  # of numbers on the page, with as many images each
_KINDS = {
    "softmax": "{} classes, ",
    "ordinal": "{} classes in an order, ",
    "sigmoid": "any of {} classes, ",
    "number": "a number",
}
LINE = 118
MOST_CHARACTERS = 400  # of a row of a submission
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
    statistics, tables, samples = [], [], _Samples(task, labels)
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
    out.write_text(samples.page(table, task.name), encoding="utf-8")
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
        yield from _head_lines(table, head, task)


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
        yield f"  {head}: {place}; {_KINDS[task.kind(head)].format(len(classes))}{listed(classes)}"


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
    yield f"answer: {_answer_in_words(task, form)}; {_score_in_words(task)}"
    yield f"{task.submission_file if test.form else PREDICTIONS_FILE} would begin:"
    priors = {head: np.array([values], np.float32) for head, values in priors_of(labels, task).items()}
    prior = {key: answers[0] for key, answers in finished(priors, task).items()}
    for line in Submission(Path(), form, prior, "").first_lines(SHOWN_ROWS):
        yield f"  {line[:MOST_CHARACTERS]}{'...' if len(line) > MOST_CHARACTERS else ''}"


def _answer_in_words(task: Task, form: Form) -> str:
    """Return what is answered, and how it stands in the table."""
    several = len(task.heads) > 1
    unit = "class" if task.answer == PROBABILITY else "head"
    ranked = ranked_classes(task.answer)
    what = {LABEL: "label", PROBABILITY: "probability", NUMBERS: "number"}.get(task.answer, "labels parted by spaces")
    what = f"the {ranked} likeliest labels parted by spaces, the likeliest first" if ranked else what
    if form.has_row_per_key:
        return f"{what}, a row per image and {'head and class' if several and unit == 'class' else unit}"
    keys = [key_of(head, label) for head, classes in task.heads.items() for label in classes]
    if unit == "class" and len(form.columns) < len(keys):
        last = [of_head[-1] for of_head in task.heads.values()]
        if not several:
            return f"{what}, one column, {next(iter(form.columns.values()))}, of the last of two classes, {last[0]}"
        each = [f"{column} of {label}" for column, label in zip(form.columns.values(), last, strict=True)]
        return f"{what}, a column per head, of the last of two classes, {listed(each)}"
    columns = list(dict.fromkeys(form.columns.values()))
    return f"{what}, a column per {unit}" if len(columns) > 1 else f"{what}, one column, {columns[0]}"


def _score_in_words(task: Task) -> str:
    return f"score {task.score}" + (", less is better" if score_kind(task.score).is_loss else "")


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


def _head_lines(table: pd.DataFrame, head: str, task: Task) -> Iterator[str]:
    """Yield what the labels of a head are."""
    kind = task.kind(head)
    if kind == "number":
        numbers = table[head].dropna()
        least, *quartiles, most = np.quantile(numbers, (0, 0.25, 0.5, 0.75, 1)) if len(numbers) else [np.nan] * 5
        yield f"{head}: {least:g} to {most:g}, quartiles {', '.join(f'{value:g}' for value in quartiles)}"
        return
    yield from _class_lines(table, head, task)
    if kind == "sigmoid":
        counts = table[head].dropna().map(len)
        of_an_image = f"{counts.min()} to {counts.max()}, mean {counts.mean():.2f}" if len(counts) else "none"
        yield f"classes of {head} an image: {of_an_image}; {int((counts == 0).sum()):,} images have none"


def _class_lines(table: pd.DataFrame, head: str, task: Task) -> Iterator[str]:
    """Yield the images of each class: in all shards, and in each of them in brackets."""
    classes = task.heads[head]
    columns = [column.to_numpy() for _, column in table.groupby(_SHARD, sort=False)[head]]
    shards = [images_per_class(_known(column, head, task), len(classes)) for column in columns]
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
    for head, classes in task.heads.items():
        if task.kind(head) != "number":
            counts = images_per_class(_known(table[head].to_numpy(), head, task), len(classes))
            missing = [str(label) for label, count in zip(classes, counts, strict=True) if not count]
            yield _listed(f"classes of {head} without an image", missing)
        unlabelled = table[_ID][is_without_label(table[head])].tolist()
        if unlabelled:
            yield _listed(f"images without {head}", unlabelled)
    yield _listed("blank images", table[_ID][table[_IS_BLANK]].tolist())
    copies = table[table[_HASH].duplicated(keep=False) & ~table[_IS_BLANK]]
    groups = [group for _, group in copies.groupby(_HASH, sort=False)]
    is_equal = [len(set(_labels_as_keys(group, task))) == 1 for group in groups]
    for wanted, name in ((True, "equal"), (False, "different")):
        some = [" = ".join(group[_ID][:3]) for group, equal in zip(groups, is_equal, strict=True) if equal == wanted]
        yield _listed(f"groups of images with the same pixels and {name} labels", some)


def _labels_as_keys(table: pd.DataFrame, task: Task) -> list[tuple[Any, ...]]:
    """Return the labels of each image as what is equal where they are; a missing one equals another."""
    columns = [table[head].astype(object).mask(is_without_label(table[head]), MISSING) for head in task.heads]
    return list(zip(*columns, strict=True))


def _known(labels: NDArray[Any], head: str, task: Task) -> NDArray[Any]:
    """Return the truth (targets.py) of the labels of a head that are there."""
    truth = dense(labels, task.width(head), task.kind(head))
    return truth[is_known(truth)]


def _listed(what: str, some: Sequence[str]) -> str:
    more = ", ..." if len(some) > NAMED else ""
    return f"{what}: {len(some):,}" + (f": {listed(some[:NAMED])}{more}" if some else "")


class _Samples:
    """The first few images of each class, small; of numbers, of each of a few ranges."""

    def __init__(self, task: Task, labels: pd.DataFrame) -> None:
        self._groups = {head: _groups_of(head, task, labels) for head in task.heads}
        self._images: dict[tuple[str, int], list[Image]] = {}

    def add(self, shard: Shard, table: pd.DataFrame) -> None:
        for head, groups in self._groups.items():
            of_group = groups.members(table[head].to_numpy())
            for index in range(len(groups.names)):
                kept = self._images.setdefault((head, index), [])
                rows = np.flatnonzero(of_group[:, index])[: SAMPLES - len(kept)]
                kept += [thumbnail(shard.images[row], LONGEST).copy() for row in rows.tolist()]

    def page(self, table: pd.DataFrame, title: str) -> str:
        heads = []
        for head, groups in self._groups.items():
            counts = groups.members(table[head].to_numpy()).sum(axis=0)
            rows = [
                {"name": name, "images": int(count), "pictures": list(map(picture, self._images[head, index]))}
                for index, (name, count) in enumerate(zip(groups.names, counts, strict=True))
            ]
            heads.append(
                {"name": head, "shown": min(groups.classes, MOST_CLASSES), "classes": groups.classes, "rows": rows}
            )
        return render("samples.html", title=title, heads=heads)


class _Groups(NamedTuple):
    """Of what samples are shown. members: tells of n labels whether they are in each group, bool (n, groups)."""

    names: Sequence[str]
    classes: int
    members: Callable[[NDArray[Any]], NDArray[np.bool_]]


def _groups_of(head: str, task: Task, labels: pd.DataFrame) -> _Groups:
    """Return the first MOST_CLASSES classes, of several at once also those images that have none, or ranges."""
    classes, kind = task.heads[head], task.kind(head)
    if kind == "number":
        return _ranges_of(labels[head].dropna().to_numpy())
    names = [str(label) for label in classes[:MOST_CLASSES]]

    def members(of_images: NDArray[Any]) -> NDArray[np.bool_]:
        truth = dense(of_images, len(classes), kind)
        is_there = one_hot(truth, len(names))[:, : len(names)]
        if kind != "sigmoid":
            return is_there
        return np.concatenate([is_there, (truth == 0).all(axis=1, keepdims=True)], axis=1)

    return _Groups([*names, *([NO_CLASS] if kind == "sigmoid" else [])], len(classes), members)


def _ranges_of(numbers: NDArray[np.float64]) -> _Groups:
    """Return ranges of numbers with about as many images each."""
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, RANGES + 1))) if len(numbers) else np.zeros(1)
    edges = edges if len(edges) > 1 else np.repeat(edges, 2)
    names = [f"{first:g} to {last:g}" for first, last in pairwise(edges)]

    def members(of_images: NDArray[Any]) -> NDArray[np.bool_]:
        places = np.clip(np.searchsorted(edges, of_images, side="right") - 1, 0, len(names) - 1)
        return np.asarray(one_hot(places, len(names)) & np.isfinite(of_images)[:, None])

    return _Groups(names, len(names), members)
