"""Which images belong together, as a column of the table of labels says: by writer, by patient, by grapheme."""

from pathlib import Path

import pandas as pd

from multihead.config.task import Task
from multihead.data.tables import Table
from multihead.runtime.errors import UserError, listed


def groups_of(folder: Path, task: Task, column: str, ids: pd.Index) -> "pd.Series[str]":
    """Return the text in a column of the table of labels for each image, index image id.

    ids: of the images, an index named as the table's column of ids. Raises UserError where the task has no such table,
    the table no such column, or a row no value in it.
    """
    source = f"group_column = {column!r}"
    if not task.labels_file:
        raise UserError(f"{source}: {task.name} has no labels_file, whose column it could be")
    table = Table(folder / task.labels_file)
    name = table.find(column)
    if not name:
        raise UserError(f"{source}: no column of {table.path}; it has {listed(table.names)}")
    if ids.name not in table.names:
        raise UserError(f"{source}: the rows of {table.path} have no ids that would tell whose they are")
    cells = table.text([str(ids.name), name])
    groups = pd.Series(cells[name].to_numpy(), pd.Index(cells[str(ids.name)], dtype=str))[ids]
    if without := groups.index[groups == ""].tolist():
        raise UserError(f"{source}: {listed(without)} have none in {table.path}")
    return groups
