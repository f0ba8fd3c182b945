"""What a data folder holds for a task: the images to train on, and those to predict.

The tables choose: with a table of labels the images to train on are those that it names, with a sample those to
predict are its. What lies beside is counted, and said.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.config.data_files import matching
from multihead.config.patterns import glob_of, path_names
from multihead.config.task import Task
from multihead.data.answers import Form, read_form
from multihead.data.identity import SEVERAL, match
from multihead.data.labels import read_label_table, refuse_repeated
from multihead.data.readers import image_files
from multihead.data.readers.pixel_csv import PixelCsv
from multihead.data.readers.wide_parquet import WideParquet
from multihead.data.shards import Part, TablePart
from multihead.runtime.errors import UserError, listed, shortened
from multihead.runtime.log import say_once


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


def images_to_train(folder: Path, task: Task, fold: int = 0) -> ImagesToTrain:
    """Return what there is to train on.

    fold: of a task without test files, the fifth that is left out. Raises UserError for a missing column, an id that
    comes twice, a label outside Task.heads, or where there is nothing.
    """
    if task.reader == "image files":
        paths, labels, without_label, without_image = _labelled_files(folder, task)
        task = _with_bits(task, folder, paths)
        if not task.test_files:
            is_left_out = image_files.fold_of(_groups(task, paths, labels)) == fold
            paths, labels = _some(paths, ~is_left_out), labels[~is_left_out]
        _refuse_none(paths, task, folder, fold)
        parts = image_files.in_shards(folder, paths, labels.index, task)
        return ImagesToTrain(task, parts, labels, without_label, without_image)
    return _tables_to_train(folder, task)


def images_to_predict(folder: Path, task: Task, fold: int = 0) -> ImagesToPredict:
    """Return what there is to predict: the test files, or of a task without any the fifth that its training left out.

    Raises UserError where there is nothing, or the sample is of a form that cannot be answered.
    """
    if task.reader == "image files":
        return _files_to_predict(folder, task, fold)
    form = sample_form(folder, task)
    if not form:
        return ImagesToPredict(_tables(folder, task, task.test_files), None)
    wanted = form.every_image
    parts = _tables(folder, task, task.test_files, _name_of_ids(form), wanted.tolist())
    chosen = _chosen([name for part in parts for name in _ids_if_readable(part)], wanted)
    without_image = wanted[~wanted.isin(list(chosen.values()))].tolist()
    return ImagesToPredict([replace(part, chosen=chosen) for part in parts], form, without_image)


def sample_form(folder: Path, task: Task, there: Sequence[str] | None = None) -> Form | None:
    """Return the form of the sample, None where there is none. there: the images to predict, where they are known."""
    if not task.sample_submission or not any(True for _ in matching(folder, task.sample_submission)):
        return None
    return read_form(folder / task.sample_submission, task, there)


def labels_to_predict(folder: Path, task: Task, fold: int = 0) -> pd.DataFrame:
    """Return the class indices of the images to predict, as far as the data folder tells: index image id.

    A table of train labels tells nothing of test files: an image of theirs may bear the name of a train image.
    Raises UserError where it does not tell.
    """
    if task.test_files and task.labels_file:
        raise UserError(f"{task.labels_file} is of the train images")
    if task.reader == "image files":
        if not task.test_files:
            paths, labels, *_ = _labelled_files(folder, task)
            return pd.DataFrame(labels[image_files.fold_of(_groups(task, paths, labels)) == fold])
        if len(path_names(task.test_files, dict.fromkeys(task.heads, ())).groupindex) < len(task.heads):
            raise UserError(f"the paths {task.test_files} name no classes")
        paths = image_files.find_images(folder, task.test_files)
        labels = image_files.labels_by_path(paths, task.test_files, task, folder)
        return labels.set_index(pd.Index(image_files.own_ids(paths, task), dtype=str))
    return _own_labels(_tables(folder, task, task.test_files))


def _labelled_files(folder: Path, task: Task) -> tuple[list[str], pd.DataFrame, list[str], list[str]]:
    """Return the paths of images with labels, sorted, and those labels; paths without one, and ids without a path."""
    paths = image_files.find_images(folder, task.train_files)
    if not task.labels_file:
        labels = image_files.labels_by_path(paths, task.train_files, task, folder)
        return paths, labels.set_index(pd.Index(image_files.own_ids(paths, task), dtype=str)), [], []
    form = sample_form(folder, task)
    labels = read_label_table(folder / task.labels_file, task, likely_ids=_name_of_ids(form), there=paths)
    rows = match(labels.index.tolist(), paths)
    problem = _ambiguity(rows, labels.index, paths, task.labels_file)
    if problem:
        raise UserError(problem)
    _refuse_no_match(rows, labels.index, paths, task.labels_file, task.train_files)
    order = np.argsort(rows, kind="stable")[int((rows < 0).sum()) :]
    named = set(rows.tolist())
    without_label = [path for row, path in enumerate(paths) if row not in named]
    if form and glob_of(task.train_files) == glob_of(task.test_files):  # one folder for both
        is_to_predict = set(match(form.every_image.tolist(), without_label).tolist())
        without_label = [path for row, path in enumerate(without_label) if row not in is_to_predict]
    return (
        [paths[row] for row in rows[order].tolist()],
        labels.iloc[order],
        without_label,
        labels.index[rows < 0].tolist(),
    )


def _files_to_predict(folder: Path, task: Task, fold: int) -> ImagesToPredict:
    if task.test_files:
        paths = image_files.find_images(folder, task.test_files)
        ids = pd.Index(image_files.own_ids(paths, task), dtype=str)
    else:
        paths, labels, *_ = _labelled_files(folder, task)
        is_left_out = image_files.fold_of(_groups(task, paths, labels)) == fold
        paths, ids = _some(paths, is_left_out), labels.index[is_left_out]
    _refuse_none(paths, task, folder, fold)
    form = sample_form(folder, task, paths)
    without_row: list[str] = []
    without_image: list[str] = []
    if form:
        rows = match(form.every_image.tolist(), paths)
        problem = _ambiguity(rows, form.every_image, paths, task.sample_submission)
        if problem:
            say_once(f"warning: {problem}")
        files = task.test_files or f"{task.train_files}, of which a fifth is predicted for there are no test_files"
        _refuse_no_match(rows, form.every_image, paths, task.sample_submission, files)
        without_image = form.every_image[rows < 0].tolist()
        named = set(rows.tolist())
        without_row = [path for row, path in enumerate(paths) if row not in named]
        order = np.argsort(rows, kind="stable")[int((rows < 0).sum()) :]
        paths, ids = [paths[row] for row in rows[order].tolist()], form.every_image[order]
    if not task.bits and image_files.bits_of(folder, paths):
        say_once("warning: images to predict have 16 bits, which those that were trained on had not: all 16 are taken")
    return ImagesToPredict(image_files.in_shards(folder, paths, ids, task), form, without_image, without_row)


def _tables_to_train(folder: Path, task: Task) -> ImagesToTrain:
    likely, guess = _name_of_ids(sample_form(folder, task)), None
    if not task.labels_file:
        parts = _tables(folder, task, task.train_files, likely)
        labels = _own_labels(parts)
        refuse_repeated(labels.index, task.train_files)
        return ImagesToTrain(
            task, [replace(part, chosen={name: name for name in labels.index}) for part in parts], labels
        )
    table = folder / task.labels_file
    with suppress(UserError):  # the table alone may not tell which column holds its ids
        guess = read_label_table(table, task, likely_ids=likely).index
        likely = [*likely, str(guess.name or "")]
    parts = _tables(folder, task, task.train_files, likely, None if guess is None else guess.tolist())
    ids = pd.Index([name for part in parts for name in part.ids()], dtype=str)
    refuse_repeated(ids, task.train_files)
    labels = read_label_table(table, task, likely_ids=likely, there=ids.tolist())
    chosen = _chosen(ids.tolist(), labels.index)
    if not chosen:
        raise UserError(f"{task.train_files}: {listed(ids, 2)} have no labels among those of {listed(labels.index, 2)}")
    has_image = labels.index.isin(list(chosen.values()))
    without_label = [name for name in ids.tolist() if name not in chosen]
    parts = [replace(part, chosen=chosen) for part in parts]
    return ImagesToTrain(task, parts, labels[has_image], without_label, labels.index[~has_image].tolist())


def _chosen(own: Sequence[str], wanted: pd.Index) -> dict[str, str]:
    """Return which of the wanted ids is meant by each of the ids that tables spell themselves."""
    names = list(dict.fromkeys(own))
    rows = match(names, wanted.tolist())
    return {name: str(wanted[row]) for name, row in zip(names, rows.tolist(), strict=True) if row >= 0}


def _ids_if_readable(part: TablePart) -> list[str]:
    """Return a part's ids, none of one that is damaged: which costs its own rows when it is read."""
    try:
        return part.ids().tolist()
    except UserError:
        return []


def _tables(
    folder: Path, task: Task, pattern: str, likely: Sequence[str] = (), there: Sequence[str] | None = None
) -> list[TablePart]:
    """Return the tables of pixels that match, in the order of the numbers in their names; all of their rows are chosen.

    likely, there: as tables.id_column takes them.
    """
    names = sorted(matching(folder, pattern), key=lambda name: ([int(n) for n in re.findall(r"\d+", name)], name))
    if not names:
        raise UserError(f"no {pattern} in {folder}")
    paths = [folder / name for name in names]
    if task.reader == "wide parquet":
        return [WideParquet(None, path, task.id_column, likely, there) for path in paths]
    return [PixelCsv(None, path, task, likely, there, is_alone=len(paths) == 1) for path in paths]


def _own_labels(parts: Sequence[TablePart]) -> pd.DataFrame:
    """Return the class indices that tables of pixels hold themselves."""
    tables: list[pd.DataFrame] = [part.labels() for part in parts if isinstance(part, PixelCsv)]
    return pd.concat(tables)


def _name_of_ids(form: Form | None) -> list[str]:
    """Return what a sample calls its column of images."""
    return [str(form.rows.name)] if form and not form.has_row_per_head else []


def _groups(task: Task, paths: Sequence[str], labels: pd.DataFrame) -> pd.Index:
    """Return what a fold is drawn evenly over: the labels in a table, all heads together, or else what paths name."""
    if task.labels_file:
        return image_files.groups_by_labels(labels)
    names = image_files.names_in_paths(paths, task.train_files, task)
    return pd.Index(["/".join(map(str, row)) for row in names.itertuples(index=False)])


def _ambiguity(rows: NDArray[np.int64], ids: pd.Index, paths: Sequence[str], table: str) -> str:
    """Return what is wrong with the first id of a table that could mean two files, "" where none does.

    rows: what match says of the ids.
    """
    if not (rows == SEVERAL).any():
        return ""
    name = str(ids[int((rows == SEVERAL).argmax())])
    could_be = [path for path in paths if match([name], [path])[0] == 0]
    return f"{table}: {shortened(name)} could be each of {listed(could_be)}; name their paths in it"


def _refuse_no_match(rows: NDArray[np.int64], ids: pd.Index, paths: Sequence[str], table: str, files: str) -> None:
    if not (rows >= 0).any():
        raise UserError(f"{table}: none of its ids ({listed(ids, 2)}) is a file of {files} ({listed(paths, 2)})")


def _some(paths: Sequence[str], is_wanted: NDArray[np.bool_]) -> list[str]:
    return [path for path, wanted in zip(paths, is_wanted.tolist(), strict=True) if wanted]


def _refuse_none(paths: Sequence[str], task: Task, folder: Path, fold: int) -> None:
    if not paths:
        raise UserError(f"too few images {glob_of(task.train_files)} in {folder} for fold {fold}")


def _with_bits(task: Task, folder: Path, paths: Sequence[str]) -> Task:
    """Return the task with how many bits its 16-bit images use, where there are any and it does not say."""
    bits = task.bits or image_files.bits_of(folder, paths)
    if bits and not task.bits:
        say_once(f"16-bit images: {bits} bits are in use, so their values are divided by {2 ** (bits - 8)}")
    return replace(task, bits=bits)
