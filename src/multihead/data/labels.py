"""Tables of class labels, and the indices that stand for them."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.config.task import Label, Task
from multihead.data.identity import as_number, one_form
from multihead.data.tables import Table
from multihead.runtime.errors import UserError, listed, shortened
from multihead.runtime.log import ONCE, log

MAX_UNUSABLE_SHARE = 0.05  # of the train images: without a label, or not to be read
YES, NO = {"1", "1.0", "true", "yes"}, {"0", "0.0", "", "false", "no"}  # of a column for one class


def read_label_table(
    path: Path, task: Task, *, likely_ids: Sequence[str] = (), there: Sequence[str] | None = None
) -> pd.DataFrame:
    """Return the class indices in a table of labels: index image id (str), one int64 column per head.

    The ids are in Task.id_column, or the column that id_column finds; where no column could hold any, the rows
    are numbered from 1. likely_ids, there: names and values that it goes by. A row without a label is left out.
    Raises UserError for a missing column, a repeated id, more than MAX_UNUSABLE_SHARE of rows without a label, or a
    label outside Task.heads, with its row.
    """
    table = Table(path)
    ids = ids_in(table, label_columns_there(table, task), task.id_column, likely_ids, there)
    return labels_in(table, task, ids)


def labels_in(table: Table, task: Task, ids: pd.Index) -> pd.DataFrame:
    """Return what read_label_table does, of a table whose rows have these ids."""
    if ids.has_duplicates:
        row = int(ids.duplicated().argmax())
        raise UserError(f"{table.path}, row {row + 2}: {shortened(ids[row])} stands here for the second time")
    columns = label_columns(table, task)
    texts = pd.DataFrame({head: _texts_of(table, task.heads[head], columns[head]) for head in task.heads}).set_axis(ids)
    is_empty = np.any([(texts[head] == "").to_numpy() & ("" not in task.heads[head]) for head in task.heads], axis=0)
    if is_empty.any():
        lost = f"{int(is_empty.sum()):,} of {len(texts):,} rows have no label: {listed(ids[is_empty])}"
        if is_empty.mean() > MAX_UNUSABLE_SHARE:
            raise UserError(f"{table.path}: {lost}")
        log.warning(f"{table.path}: {lost}; they are left out", extra=ONCE)
    return label_indices(texts[~is_empty], task, table.path)


def label_columns(table: Table, task: Task) -> dict[str, list[str]]:
    """Return the columns that hold each head's labels: one, or one per class, named after it, that says yes or no.

    Raises UserError where a head has none.
    """
    columns = {head: _columns_of_head(table, head, task) for head in task.heads}
    missing = [task.columns.get(head, head) for head, found in columns.items() if not found]
    if missing:
        raise UserError(f"{table.path}: no column {listed(missing)}; it has {listed(table.names)}")
    return columns


def label_columns_there(table: Table, task: Task) -> set[str]:
    """Return all columns that hold labels, where there are any."""
    return {name for head in task.heads for name in _columns_of_head(table, head, task)}


def _columns_of_head(table: Table, head: str, task: Task) -> list[str]:
    found = table.find(task.columns.get(head, head))
    if found:
        return [found]
    classes = [table.find(label) if isinstance(label, str) else "" for label in task.heads[head]]
    return classes if len(classes) > 1 and all(classes) else []


def ids_in(
    table: Table,
    others: Collection[str],
    named: str,
    likely: Sequence[str] = (),
    there: Sequence[str] | None = None,
) -> pd.Index:
    """Return the ids of a table's rows, str, an index named as the column that holds them (id_column).

    Where no column could hold any it has no name, and the rows are numbered from 1, or as `there` are. others: columns
    that hold none. Raises UserError for an id that is empty, with its row, or rows that cannot be numbered.
    """
    column = table.ids_among([name for name in table.names if name not in others], named, likely, there)
    if not column:
        return row_numbers(len(table.text(table.names[:1])), table.path, there)
    ids = pd.Index(table.text([column])[column], dtype=str, name=column)
    if (ids == "").any():
        raise UserError(f"{table.path}, row {int((ids == '').argmax()) + 2}: {column} is empty")
    return ids


def row_numbers(rows: int, path: Path, there: Sequence[str] | None = None) -> pd.Index:
    """Return the ids of a table's rows where it has no column of them: "1", "2", ...

    there: the ids that the rows are meant to have. Raises UserError where these are not as many numbers in a row: which
    row is whose would be a guess.
    """
    first = 1
    if there is not None:
        numbers = sorted(int(name) for name in map(as_number, there) if name.isdecimal())
        first = numbers[0] if numbers else 1
        if len(there) != rows or numbers != list(range(first, first + rows)):
            raise UserError(
                f"{path}: its {rows:,} rows have no ids and {len(there):,} are wanted ({listed(there, 3)}); "
                "expected a column of ids"
            )
    return pd.Index([str(row) for row in range(first, first + rows)], dtype=str)


def refuse_repeated(ids: pd.Index, files: str) -> None:
    """Raise UserError for an id that comes twice."""
    if ids.has_duplicates:
        raise UserError(f"{files}: {shortened(ids[ids.duplicated()][0])} stands in the files more than once")


def label_indices(table: pd.DataFrame, task: Task, path: Path) -> pd.DataFrame:
    """Return the class indices, int64, of a table of labels with a column per head."""
    return pd.DataFrame(
        {head: class_indices(table[head], classes, path) for head, classes in task.heads.items()}, index=table.index
    )


def class_indices(labels: "pd.Series[int]", classes: Sequence[Label], path: Path) -> NDArray[np.int64]:
    """Return int64 (n,) positions in `classes` of n class labels.

    A number may have a point, and a class 0 or 1 be False or True, as programs write them. Raises UserError for a label
    that is none of the classes, naming the file and the label's index (its row).
    """
    indices = pd.Index(_known(classes)).get_indexer(pd.Index(_in_one_form(labels, classes)))
    outside = np.flatnonzero(indices < 0)
    if len(outside):
        row, label = labels.index[outside[0]], labels.iloc[outside[0]]
        found = "empty" if label == "" else shortened(label)
        raise UserError(f"{path}, {shortened(row)}: {labels.name} is {found}; expected {_listed(classes)}")
    return indices.astype(np.int64)


def _known(classes: Sequence[Label]) -> list[Label]:
    return [one_form(label) if isinstance(label, str) else label for label in classes]


def _in_one_form(labels: "pd.Series[int]", classes: Sequence[Label]) -> pd.Series:
    if not isinstance(classes[0], str):
        lowered = labels.astype(str).str.lower()
        return pd.to_numeric(labels.mask(lowered == "true", 1).mask(lowered == "false", 0), errors="coerce")
    texts, known = labels.map(str).map(one_form), set(_known(classes))
    is_float = texts.str.fullmatch(r"-?\d+\.0+") & ~texts.isin(known)
    return texts.mask(is_float, texts.str.partition(".")[0])


def labels_of(ids: Sequence[str], labels: pd.DataFrame, name: str) -> Mapping[str, NDArray[np.int64]]:
    """Return each head's class indices, int64 (n,), of n ids; UserError where one has none. name: of where they are."""
    rows = labels.index.get_indexer(pd.Index(ids))
    unknown = np.flatnonzero(rows < 0)
    if len(unknown):
        others = f" and {len(unknown) - 1} other images have" if len(unknown) > 1 else " has"
        raise UserError(f"{name}: {shortened(ids[unknown[0]])}{others} no labels among those of {listed(labels.index)}")
    return {str(head): labels[head].to_numpy()[rows] for head in labels}


def _texts_of(table: Table, classes: Sequence[Label], columns: Sequence[str]) -> "pd.Series[str]":
    """Return the labels of one head as text; of a column per class, the class whose column says yes."""
    cells = table.text(columns)
    if len(columns) == 1:
        return cells[columns[0]]
    lowered = cells.apply(lambda column: column.str.lower())
    is_yes, is_no = lowered.isin(YES).to_numpy(), lowered.isin(NO).to_numpy()
    is_wrong = ~(is_yes | is_no).all(axis=1) | (is_yes.sum(axis=1) > 1)
    if is_wrong.any():
        row = int(is_wrong.argmax())
        raise UserError(
            f"{table.path}, row {row + 2}: {listed(cells.iloc[row])} for {listed(columns)}; expected 1 for one of them"
        )
    labels = pd.Series([str(label) for label in classes], dtype=object).to_numpy()[is_yes.argmax(axis=1)]
    return pd.Series(np.where(is_yes.any(axis=1), labels, ""), index=cells.index, dtype=object)


def _listed(classes: Sequence[Label]) -> str:
    """Return the classes in words: a range where they are one."""
    is_range = isinstance(classes[0], int) and list(classes) == list(range(classes[0], classes[0] + len(classes)))
    return f"{classes[0]} to {classes[-1]}" if is_range else f"one of {listed(classes)}"
