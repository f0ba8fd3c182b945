"""Tables of class labels, and the indices that stand for them."""

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.errors import UserError
from multihead.tasks import Label, Task


def read_label_table(path: Path, task: Task) -> pd.DataFrame:
    """Return the class indices in a table of labels: index image id (str), one int64 column per head.

    Raises UserError for a missing column, a repeated id, or a label outside Task.heads, with its row.
    """
    table = read_table(path, [*filter(None, [task.id_column]), *task.heads])
    if not task.id_column:
        return label_indices(table.set_index(row_numbers(len(table))), task, path)
    repeated = table[task.id_column].duplicated()
    if repeated.any():
        row = int(repeated.argmax())
        raise UserError(f"{path}, row {row + 2}: {table[task.id_column][row]} stands here for the second time")
    return label_indices(table.set_index(task.id_column), task, path)


def row_numbers(rows: int) -> pd.Index:
    """Return the ids of a table's rows where it has no column of them: "1", "2", ..."""
    return pd.Index([str(row) for row in range(1, rows + 1)])


def refuse_repeated(ids: pd.Index, files: str) -> None:
    """Raise UserError for an id that comes twice."""
    if ids.has_duplicates:
        raise UserError(f"{files}: {ids[ids.duplicated()][0]} stands in the files more than once")


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Return columns of a CSV file as text, "" where a cell is empty; UserError where it has not all of them."""
    try:
        there = list(map(str, pd.read_csv(path, nrows=0)))
        missing = [name for name in columns if name not in there]
        if missing:
            some = ", ".join(there[:8]) + (", ..." if len(there) > 8 else "")
            raise UserError(f"{path}: no column {', '.join(missing)}; it has {some}")
        return pd.read_csv(path, usecols=list(columns), dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as CSV ({error})") from error


def label_indices(table: pd.DataFrame, task: Task, path: Path) -> pd.DataFrame:
    """Return the class indices, int64, of a table of labels with a column per head."""
    indices = {head: class_indices(table[head], classes, path) for head, classes in task.heads.items()}
    return pd.DataFrame(indices, index=table.index)


def class_indices(labels: "pd.Series[int]", classes: Sequence[Label], path: Path) -> NDArray[np.int64]:
    """Return int64 (n,) positions in `classes` of n class labels.

    Raises UserError for a label that is none of them, naming the file and the label's index (its row).
    """
    is_text = isinstance(classes[0], str)
    values = labels.map(one_form) if is_text else pd.to_numeric(labels, errors="coerce")
    known = [one_form(str(of)) for of in classes] if is_text else list(classes)
    indices = pd.Index(known).get_indexer(pd.Index(values))
    outside = np.flatnonzero(indices < 0)
    if len(outside):
        row, label = labels.index[outside[0]], labels.iloc[outside[0]]
        told = "empty" if label == "" else label
        raise UserError(f"{path}, {row}: {labels.name} is {told}; expected {_listed(classes)}")
    return indices.astype(np.int64)


def one_form(text: str) -> str:
    """Return a text with its accents as one letter each: file systems take them apart."""
    return unicodedata.normalize("NFC", text)


def labels_of(ids: Sequence[str], labels: pd.DataFrame, path: Path) -> Mapping[str, NDArray[np.int64]]:
    """Return each head's class indices, int64 (n,), of n ids; UserError where one has none, naming the file of ids."""
    rows = labels.index.get_indexer(pd.Index(ids))
    unknown = np.flatnonzero(rows < 0)
    if len(unknown):
        others = f" and {len(unknown) - 1} other images have" if len(unknown) > 1 else " has"
        raise UserError(
            f"{path}: {ids[unknown[0]]}{others} no labels among those of {', '.join(labels.index[:2])}, ..."
        )
    return {str(head): labels[head].to_numpy()[rows] for head in labels}


def _listed(classes: Sequence[Label]) -> str:
    """Return the classes in words: a range where they are one."""
    if isinstance(classes[0], int) and list(classes) == list(range(classes[0], classes[0] + len(classes))):
        return f"{classes[0]} to {classes[-1]}"
    return f"one of {', '.join(map(str, classes))}"
