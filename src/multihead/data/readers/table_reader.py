"""Tables of pixels, with a row per image: what their forms have in common.

Columns of pixels are told whatever a table calls them, and their values are made uint8 whatever their type.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray

from multihead.config.data_files import matching
from multihead.config.task import Task
from multihead.data.identity import match
from multihead.data.labels import read_label_table, refuse_repeated
from multihead.data.readers.reader import ImagesToPredict, ImagesToTrain, Reader, name_of_ids
from multihead.data.shards import Part
from multihead.runtime.errors import UserError, listed

NUMBERED = re.compile(r"(\D*)(\d+)(?:(\D{1,3})(\d+))?(\D?)")


@dataclass(frozen=True)
class TablePart(Part):
    """A part whose file, at `path`, is a table of pixels with a row per image.

    likely_ids, there: what tells its column of ids, as id_column takes them. is_alone: whether it is the only one, so
    that its rows may be numbered. chosen: the ids of the images to read, as a table of labels or a sample
    spells them, by its own spelling; None for all there are, as they are.
    """

    path: Path
    task: Task
    likely_ids: Sequence[str] = ()
    there: Sequence[str] | None = None
    is_alone: bool = True
    chosen: Mapping[str, str] | None = None

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def labels(self) -> pd.DataFrame:
        """Return the class indices in the file itself: index image id (str), one int64 column per head."""
        raise NotImplementedError(f"{type(self).__name__}: the labels are in a table of their own")

    def chosen_rows(self, ids: pd.Index) -> tuple[NDArray[np.int64], list[str], list[str]]:
        """Return the rows that are chosen, int64, their ids as `chosen` has them, and the ids of the others."""
        if self.chosen is None:
            return np.arange(len(ids)), ids.tolist(), []
        is_chosen = np.array([name in self.chosen for name in ids.tolist()], np.bool_)
        chosen = [self.chosen[name] for name in ids[is_chosen].tolist()]
        return np.flatnonzero(is_chosen), chosen, ids[~is_chosen].tolist()


class TableReader(Reader):
    """Reads tables of pixels, each as one part. Their tasks have test files, so no fold is left out."""

    is_table = True
    part_type: ClassVar[type[TablePart]]

    def images_to_train(self, folder: Path) -> ImagesToTrain:
        task = self.task
        likely, guess = name_of_ids(self.sample(folder)), None
        if not task.labels_file:
            parts = self._parts(folder, task.train_files, likely)
            labels = pd.concat([part.labels() for part in parts])
            refuse_repeated(labels.index, task.train_files)
            return ImagesToTrain(task, _choosing(parts, {name: name for name in labels.index}), labels)
        table = folder / task.labels_file
        with suppress(UserError):  # the table alone may not tell which column holds its ids
            guess = read_label_table(table, task, likely_ids=likely).index
            likely = [*likely, str(guess.name or "")]
        parts = self._parts(folder, task.train_files, likely, None if guess is None else guess.tolist())
        ids = pd.Index([name for part in parts for name in part.ids()], dtype=str)
        refuse_repeated(ids, task.train_files)
        labels = read_label_table(table, task, likely_ids=likely, there=ids.tolist())
        chosen = _chosen(ids.tolist(), labels.index)
        if not chosen:
            raise UserError(
                f"{task.train_files}: {listed(ids, 2)} have no labels among those of {listed(labels.index, 2)}"
            )
        has_image = labels.index.isin(list(chosen.values()))
        return ImagesToTrain(
            task,
            _choosing(parts, chosen),
            labels[has_image],
            without_label=[name for name in ids.tolist() if name not in chosen],
            without_image=labels.index[~has_image].tolist(),
        )

    def images_to_predict(self, folder: Path) -> ImagesToPredict:
        form = self.sample(folder)
        if not form:
            return ImagesToPredict(self._parts(folder, self.task.test_files), None)
        wanted = form.every_image
        parts = self._parts(folder, self.task.test_files, name_of_ids(form), wanted.tolist())
        own: list[str] = []
        for part in parts:
            with suppress(UserError):  # of one that is damaged, which costs its own rows when it is read
                own += part.ids().tolist()
        chosen = _chosen(own, wanted)
        is_there = wanted.isin(list(chosen.values()))
        return ImagesToPredict(_choosing(parts, chosen), form, without_image=wanted[~is_there].tolist())

    def labels_to_predict(self, folder: Path) -> pd.DataFrame:
        return pd.concat([part.labels() for part in self._parts(folder, self.task.test_files)])

    def _parts(
        self, folder: Path, pattern: str, likely: Sequence[str] = (), there: Sequence[str] | None = None
    ) -> list[TablePart]:
        """Return the tables that match, in the order of the numbers in their names; all of their rows are chosen."""
        names = sorted(matching(folder, pattern), key=lambda name: ([int(n) for n in re.findall(r"\d+", name)], name))
        if not names:
            raise UserError(f"no {pattern} in {folder}")
        return [self.part_type(folder / name, self.task, likely, there, len(names) == 1) for name in names]


def _choosing(parts: Sequence[TablePart], chosen: Mapping[str, str]) -> list[TablePart]:
    return [replace(part, chosen=chosen) for part in parts]


def _chosen(own: Sequence[str], wanted: pd.Index) -> dict[str, str]:
    """Return which of the wanted ids is meant by each of the ids that tables spell themselves."""
    names = list(dict.fromkeys(own))
    positions = zip(names, match(names, wanted.tolist()).tolist(), strict=True)
    return {name: str(wanted[position]) for name, position in positions if position >= 0}


def numbered_columns(names: Sequence[str], wanted: int = 0) -> dict[tuple[int, ...], str]:
    """Return those columns that are called the same but for their number or two, by those numbers.

    Of several kinds of names that of as many columns as wanted is taken, else that of the most.
    """
    found: dict[tuple[str, ...], dict[tuple[int, ...], str]] = defaultdict(dict)
    for name in names:
        if name.isdecimal():  # tens of thousands are, which no expression need look at
            found["", "", ""][(int(name),)] = name
        elif numbered := NUMBERED.fullmatch(name):
            before, first, between, second, after = (text or "" for text in numbered.groups())
            found[before, between, after][int(first), *([int(second)] if second else [])] = name
    return max(found.values(), key=lambda columns: (len(columns) == wanted, len(columns)), default={})


def pixel_columns(names: Sequence[str], image_shape: tuple[int, int, int], path: Path) -> list[str]:
    """Return the columns of pixels in row-major order, () where no column is one. path: of the file, for messages.

    They are called the same but for a number from 0 or 1 on ("0", "pixel0", "px_1"), or for two ("1x1", "r0c0": row and
    column). Raises UserError where some are missing, or there are more.
    """
    height, width, channels = image_shape
    wanted = height * width * channels
    columns = numbered_columns(names, wanted)
    if len(columns) < min(wanted, 2):
        return []
    is_by_row = len(next(iter(columns))) == 2
    start = min(min(columns)) if is_by_row else min(*min(columns), 1)
    lengths = (height, width * channels) if is_by_row else (wanted,)
    places = list(product(*(range(start, start + length) for length in lengths)))
    example = min(columns.items())[1]
    missing = next((place for place in places if place not in columns), None)
    if missing:
        numbers = map(str, missing)
        name = re.sub(r"\d+", lambda _: next(numbers), example)
        raise UserError(
            f"{path}: no column {name!r}; expected {wanted} pixels, and {len(columns)} are called like {example!r}"
        )
    if len(columns) > wanted:
        name = next(name for place, name in sorted(columns.items()) if place not in places)
        raise UserError(
            f"{path}: has a column {name!r}; expected {wanted} pixels, {example!r} to {columns[places[-1]]!r}, only"
        )
    return [columns[place] for place in places]


def columns_as_uint8(table: pl.DataFrame, path: Path) -> NDArray[np.uint8]:
    """Return k columns of n rows as (k, n), converted where that loses nothing: some copies of the data hold floats.

    path: of the file, for messages. Raises UserError for a value that is missing, or no whole number from 0 to 255.
    """
    for name, (missing,) in table.null_count().to_dict(as_series=False).items():
        if missing:
            raise UserError(f"{path}: column {name!r} has {missing} missing values")
    values = table.to_numpy(order="fortran").T
    if values.dtype == np.uint8:
        return values
    with np.errstate(invalid="ignore"):  # nan has no whole number; the comparison finds it
        converted = values.astype(np.uint8)
    is_wrong = converted != values
    if is_wrong.any():
        column, row = np.unravel_index(is_wrong.argmax(), is_wrong.shape)
        name, value = table.columns[column], values[column, row]
        raise UserError(f"{path}: column {name!r} holds {value}; expected whole numbers from 0 to 255")
    return converted
