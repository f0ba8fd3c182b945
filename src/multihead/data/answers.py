"""Tables of answers: a sample submission, a submission, the truth in their form.

A table of answers has a column of ids. Either an image has one row, with a column per head, or, where several heads
share one column, a row for each head, named <image>_<head>.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.config.task import Task
from multihead.data.labels import refuse_repeated
from multihead.data.tables import UNNAMED, Table
from multihead.runtime.errors import UserError, listed, shortened

ID = "id"


@dataclass(frozen=True)
class Form:
    """The rows that answers stand in.

    rows: their ids as the table spells them, in its order, an index with the name of their column. columns: for each
    head, the column of its answers. header: those columns in the table's order. places: for each head, int64 (n,), the
    rows that answer it; images: for each head, the image of each of those rows.
    """

    rows: pd.Index
    columns: Mapping[str, str]
    header: Sequence[str]
    places: Mapping[str, NDArray[np.int64]]
    images: Mapping[str, pd.Index]

    @property
    def has_row_per_head(self) -> bool:
        return len(self.header) <= len(self.columns)

    @property
    def every_image(self) -> pd.Index:
        """The images, each once, in the order in which they come first."""
        if not self.has_row_per_head:
            return next(iter(self.images.values()))
        places = np.concatenate([self.places[head] for head in self.images])
        names = np.concatenate([images.to_numpy() for images in self.images.values()])
        return pd.Index(names[np.argsort(places, kind="stable")], dtype=str).unique()


def form_of_images(images: Sequence[str], task: Task) -> Form:
    """Return the form where no sample asks for another: a row per image, id and a column per head.

    Raises UserError for an image that comes twice.
    """
    rows = pd.Index(images, dtype=str, name=ID)
    refuse_repeated(rows, task.test_files)
    return _one_row_per_image(rows, {head: head for head in task.heads}, [ID, *task.heads])


def read_form(path: Path, task: Task, there: Sequence[str] | None = None) -> Form:
    """Return the form of a table of answers.

    there: the images, where they are known. Raises UserError for a table that has neither form, a row that belongs to
    no head, or an id that is empty or comes twice.
    """
    return _form_of(Table(path), task, there)


def read_answers(path: Path, task: Task, there: Sequence[str] | None = None) -> pd.DataFrame:
    """Return a table of answers as class labels: index image id (str), a column per head.

    there: the images, where they are known. Raises UserError as read_form does, and where an image lacks one of its
    heads.
    """
    table = Table(path)
    form = _form_of(table, task, there)
    cells = table.text(list(dict.fromkeys(form.columns.values())))
    heads = {
        head: pd.Series(cells[column].to_numpy()[form.places[head]], index=form.images[head], name=head)
        for head, column in form.columns.items()
    }
    images = form.images[next(iter(task.heads))]
    if not all(len(answers) == len(images) and answers.index.isin(images).all() for answers in heads.values()):
        raise UserError(f"{path}: row ids are not <image>_<head> with the heads {listed(task.heads)}")
    return pd.DataFrame({head: heads[head][images] for head in task.heads})


def _form_of(table: Table, task: Task, there: Sequence[str] | None = None) -> Form:
    columns, ids = _columns(table, task, there)
    header = [name for name in table.names if name in (ids.name, *columns.values())]
    if len(header) > len(columns):
        return _one_row_per_image(ids, columns, header)
    ends = {head: np.asarray(ids.str.endswith(task.row_id("", head)), np.bool_) for head in task.heads}
    is_known = np.any(list(ends.values()), axis=0)
    if not is_known.all():
        raise UserError(
            f"{table.path}: {shortened(ids[int(is_known.argmin())])} ends in none of {listed(task.heads)}; "
            "expected a row per image and head, <image>_<head>, or a column per head"
        )
    places = {head: np.flatnonzero(of_head) for head, of_head in ends.items()}
    images = {head: ids[places[head]].str.removesuffix(task.row_id("", head)) for head in task.heads}
    return Form(ids, columns, header, places, images)


def _one_row_per_image(ids: pd.Index, columns: Mapping[str, str], header: Sequence[str]) -> Form:
    return Form(ids, columns, header, dict.fromkeys(columns, np.arange(len(ids))), dict.fromkeys(columns, ids))


def _columns(table: Table, task: Task, there: Sequence[str] | None) -> tuple[dict[str, str], pd.Index]:
    """Return the column of each head's answers, named as the head or else the one beside the ids, and the ids."""
    answers = {head: table.find(head) or table.find(task.columns.get(head, head)) for head in task.heads}
    named = [name for name in table.names if not name.startswith(UNNAMED)]
    if len(table.names) < 2:
        raise UserError(f"{table.path}: has one column, {listed(table.names)}; expected an id and answers")
    if not all(answers.values()) and len(table.names) > 2 and len(named) != 2:
        raise UserError(f"{table.path}: columns {listed(table.names)}; expected an id and {listed(task.heads)}")
    candidates = [name for name in table.names if name not in answers.values()]
    if not candidates:
        raise UserError(f"{table.path}: columns {listed(table.names)}; expected an id beside them")
    name = table.ids_among(candidates, task.id_column, (), there) or candidates[0]
    ids = pd.Index(table.text([name])[name], dtype=str, name=name)
    if ids.has_duplicates:
        raise UserError(f"{table.path}: {shortened(ids[ids.duplicated()][0])} stands in it more than once")
    if (ids == "").any():
        raise UserError(f"{table.path}, row {int((ids == '').argmax()) + 2}: {name} is empty")
    beside = next((column for column in (*named, *table.names) if column != name), "")
    return {head: column or beside for head, column in answers.items()}, ids
