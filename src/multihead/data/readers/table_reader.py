"""Tables of pixels, with a row per image: what their forms have in common."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.config.data_files import matching
from multihead.config.task import Task
from multihead.data.identity import match
from multihead.data.labels import read_label_table, refuse_repeated
from multihead.data.readers.reader import ImagesToPredict, ImagesToTrain, Reader, name_of_ids
from multihead.data.shards import Part
from multihead.runtime.errors import UserError, listed


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
        chosen = _chosen([name for part in parts for name in _ids_if_readable(part)], wanted)
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


def _ids_if_readable(part: TablePart) -> list[str]:
    """Return a part's ids, none of one that is damaged: which costs its own rows when it is read."""
    try:
        return part.ids().tolist()
    except UserError:
        return []
