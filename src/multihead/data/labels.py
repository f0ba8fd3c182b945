"""Tables of labels, and what stands for them: of a head, a value for each image.

An image has one of a head's classes (softmax, ordinal): int64 class index, -1 where it is missing; several of them
(sigmoid): a sorted tuple of class indices, None where they are missing; or a number: float64, NaN where it is missing.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.config.task import Label, Task
from multihead.data.identity import as_number, one_form
from multihead.data.tables import Table
from multihead.runtime.errors import UserError, listed, shortened
from multihead.runtime.log import ONCE, log

MAX_UNUSABLE_SHARE = 0.05  # of the train images: without a label, or not to be read
MISSING = -1
YES, NO = {"1", "1.0", "true", "yes"}, {"0", "0.0", "", "false", "no"}  # of a column for one class


def read_label_table(
    path: Path, task: Task, *, likely_ids: Sequence[str] = (), there: Sequence[str] | None = None
) -> pd.DataFrame:
    """Return the labels in a table: index image id (str), a column per head.

    The ids are in Task.id_column, or the column that id_column finds; where no column could hold any, the rows
    are numbered from 1. likely_ids, there: names and values that it goes by. A row without any label is left out.
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
    labels = pd.DataFrame({head: _labels_of_head(table, task, head, columns[head], ids) for head in task.heads}, ids)
    is_missing = {head: is_without_label(labels[head]) for head in task.heads}
    is_empty = np.all(list(is_missing.values()), axis=0)
    if is_empty.any():
        lost = f"{int(is_empty.sum()):,} of {len(labels):,} rows have no label: {listed(ids[is_empty])}"
        if is_empty.mean() > MAX_UNUSABLE_SHARE:
            raise UserError(f"{table.path}: {lost}; at most {MAX_UNUSABLE_SHARE:.0%} are left out")
        log.warning(f"{table.path}: {lost}; they are left out", extra=ONCE)
    for head, is_without in is_missing.items():
        if (some := is_without & ~is_empty).any():
            log.warning(
                f"{table.path}: {int(some.sum()):,} of {len(labels):,} rows have no {head}; they teach it nothing",
                extra=ONCE,
            )
    return pd.DataFrame(labels[~is_empty])


def is_without_label(labels: "pd.Series[Any]") -> NDArray[np.bool_]:
    """Tell of each label of a head whether it is missing."""
    return np.asarray(labels.isna() | (labels == MISSING if labels.dtype.kind == "i" else False), np.bool_)


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
    is_enough = len(classes) > 1 or (len(classes) == 1 and not task.is_one_of(head))
    return classes if is_enough and all(classes) else []


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
    """Return the labels of a table of their texts, both with a column per head; none of one class may be missing."""
    return pd.DataFrame(
        {
            head: class_indices(table[head], task.heads[head], path)
            if task.is_one_of(head)
            else parsed(table[head], task, head, path)
            for head in task.heads
        },
        index=table.index,
    )


def parsed(texts: "pd.Series[Any]", task: Task, head: str, path: Path) -> "pd.Series[Any]":
    """Return the labels of a head from their texts; several are parted by spaces, and "" is a missing one.

    Raises UserError for what is no class or no number, naming the file and its index (its row).
    """
    classes = task.heads[head]
    is_there = (texts.astype(str) != "") | ("" in classes)
    if task.kind(head) == "number":
        return _numbers(texts, path)
    if task.is_one_of(head):
        labels = pd.Series(MISSING, texts.index, dtype=np.int64, name=texts.name)
        labels[is_there] = class_indices(texts[is_there], classes, path)
        return labels
    parts, rows = texts[is_there].astype(str).str.split(), np.flatnonzero(is_there).tolist()
    every = pd.Series([label for labels in parts for label in labels], dtype=object, name=texts.name)
    every.index = parts.index.repeat(parts.str.len())
    found = iter(class_indices(every, classes, path).tolist())
    sets = {row: tuple(sorted({next(found) for _ in labels})) for row, labels in zip(rows, parts, strict=True)}
    return pd.Series([sets.get(row) for row in range(len(texts))], texts.index, dtype=object, name=texts.name)


def _numbers(texts: "pd.Series[Any]", path: Path) -> "pd.Series[float]":
    values = pd.to_numeric(texts.where(texts.astype(str) != ""), errors="coerce").astype(np.float64)
    wrong = (texts.astype(str) != "") & ~np.isfinite(values)
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        found = shortened(texts.iloc[row])
        raise UserError(f"{path}, {shortened(texts.index[row])}: {texts.name} is {found}; expected a number")
    return values


def class_indices(labels: "pd.Series[Any]", classes: Sequence[Label], path: Path) -> NDArray[np.int64]:
    """Return int64 (n,) positions in `classes` of n class labels.

    A number may have a point, and a class 0 or 1 be False or True, as programs write them. Raises UserError for a label
    that is none of the classes, naming the file and the label's index (its row).
    """
    if not len(labels):
        return np.zeros(0, np.int64)
    indices = pd.Index(_known(classes)).get_indexer(pd.Index(_in_one_form(labels, classes)))
    outside = np.flatnonzero(indices < 0)
    if len(outside):
        row, label = labels.index[outside[0]], labels.iloc[outside[0]]
        found = "empty" if label == "" else shortened(label)
        raise UserError(f"{path}, {shortened(row)}: {labels.name} is {found}; expected {_listed(classes)}")
    return indices.astype(np.int64)


def _known(classes: Sequence[Label]) -> list[Label]:
    return [one_form(label) if isinstance(label, str) else label for label in classes]


def _in_one_form(labels: "pd.Series[Any]", classes: Sequence[Label]) -> pd.Series:
    if not isinstance(classes[0], str):
        lowered = labels.astype(str).str.lower()
        return pd.to_numeric(labels.mask(lowered == "true", 1).mask(lowered == "false", 0), errors="coerce")
    texts, known = labels.map(str).map(one_form), set(_known(classes))
    is_float = texts.str.fullmatch(r"-?\d+\.0+") & ~texts.isin(known)
    return texts.mask(is_float, texts.str.partition(".")[0])


def labels_of(ids: Sequence[str], labels: pd.DataFrame, name: str) -> Mapping[str, NDArray[Any]]:
    """Return each head's labels, (n,), of n ids; UserError where one has none. name: of where they are."""
    rows = labels.index.get_indexer(pd.Index(ids))
    unknown = np.flatnonzero(rows < 0)
    if len(unknown):
        others = f" and {len(unknown) - 1} other images have" if len(unknown) > 1 else " has"
        raise UserError(f"{name}: {shortened(ids[unknown[0]])}{others} no labels among those of {listed(labels.index)}")
    return {str(head): labels[head].to_numpy()[rows] for head in labels}


def _labels_of_head(table: Table, task: Task, head: str, columns: Sequence[str], ids: pd.Index) -> "pd.Series[Any]":
    """Return the labels of one head, from one column or from a column per class that says yes or no."""
    classes, cells = task.heads[head], table.text(columns).set_axis(ids)
    lowered = cells.apply(lambda column: column.str.lower())
    is_yes, is_no = (lowered.isin(words).to_numpy() for words in (YES, NO))
    says_yes = len(columns) > 1 or (len(classes) == 1 and bool((is_yes | is_no).all()))
    if not says_yes:
        return parsed(cells[columns[0]].rename(head), task, head, table.path)
    is_one_of = task.is_one_of(head)
    is_wrong = ~(is_yes | is_no).all(axis=1) | (is_one_of & (is_yes.sum(axis=1) > 1))
    if is_wrong.any():
        row = int(is_wrong.argmax())
        wanted = "1 for one of them" if is_one_of else "1 or 0 for each"
        raise UserError(
            f"{table.path}, row {row + 2}: {listed(cells.iloc[row])} for {listed(columns)}; expected {wanted}"
        )
    if is_one_of:
        return pd.Series(np.where(is_yes.any(axis=1), is_yes.argmax(axis=1), MISSING), ids, dtype=np.int64, name=head)
    is_empty = (cells == "").all(axis=1).to_numpy()
    sets = [None if empty else tuple(np.flatnonzero(row).tolist()) for row, empty in zip(is_yes, is_empty, strict=True)]
    return pd.Series(sets, ids, dtype=object, name=head)


def _listed(classes: Sequence[Label]) -> str:
    """Return the classes in words: a range where they are one."""
    is_range = isinstance(classes[0], int) and list(classes) == list(range(classes[0], classes[0] + len(classes)))
    return f"{classes[0]} to {classes[-1]}" if is_range else f"one of {listed(classes)}"
