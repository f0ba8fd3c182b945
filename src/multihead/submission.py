"""Class labels to submission.csv, in sample_submission's rows."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from multihead.errors import UserError
from multihead.tasks import Task
from multihead.whole_files import whole_file

ROW_ID, TARGET = "row_id", "target"


class Submission:
    """sample_submission's rows, each head's prior class until its prediction comes.

    prior: for each head, the class label that rows without a prediction get. Raises UserError for a sample
    with a row that belongs to no head.
    """

    def __init__(self, path: Path, sample: Path, task: Task, prior: Mapping[str, int]) -> None:
        self._path, self._sample, self._task = path, sample, task
        self._wanted = pd.Index(read_column(sample, ROW_ID))
        if self._wanted.has_duplicates:
            raise UserError(f"{sample}: {self._wanted[self._wanted.duplicated()][0]} stands in it more than once")
        self._targets = np.full(len(self._wanted), -1, np.int64)
        for head in task.heads:
            self._targets[self._wanted.str.endswith(task.row_id("", head))] = prior[head]
        if (self._targets < 0).any():
            raise UserError(
                f"{sample}: {self._wanted[int(self._targets.argmin())]} ends in none of {', '.join(task.heads)}"
            )
        self._is_answered = np.zeros(len(self._wanted), bool)
        self._extra: list[str] = []
        self._repeated: list[str] = []

    def add(self, labels: pd.DataFrame) -> None:
        """Take in predictions: index image id, one column of class labels per head. The first of an image counts."""
        for head in self._task.heads:
            row_ids = pd.Index([self._task.row_id(image, head) for image in labels.index], dtype=str)
            rows = self._wanted.get_indexer(row_ids)
            is_known = rows >= 0
            is_first = ~row_ids.duplicated() & ~(self._is_answered[rows] & is_known)
            self._extra += row_ids[~is_known].tolist()
            self._repeated += row_ids[is_known & ~is_first].tolist()
            taken = is_known & is_first
            self._targets[rows[taken]] = labels[head].to_numpy()[taken]
            self._is_answered[rows[taken]] = True

    def problems(self) -> list[str]:
        """Return what does not match the sample's rows, a line each."""
        name, missing = self._sample.name, self._wanted[~self._is_answered].tolist()
        found: list[tuple[list[str], str]] = [
            (self._extra, f"predictions have no row in {name}"),
            (self._repeated, "predictions are for a row that already had one"),
            (missing, f"rows of {name} have no prediction"),
        ]
        return [f"{len(rows)} {told}: {rows[0]}{', ...' if len(rows) > 1 else ''}" for rows, told in found if len(rows)]

    @property
    def images(self) -> int:
        """How many images the sample's rows are of."""
        return len(self._wanted) // len(self._task.heads)

    @property
    def unanswered_share(self) -> float:
        return float((~self._is_answered).mean()) if len(self._is_answered) else 0.0

    def write(self) -> int:
        """Put row_id,target in the sample's order in place at once, and return the number of rows."""
        table = pd.DataFrame({ROW_ID: self._wanted, TARGET: self._targets})
        with whole_file(self._path) as new:
            table.to_csv(new, index=False, lineterminator="\n")
        return len(table)


def read_column(path: Path, name: str) -> "pd.Series[str]":
    """Return one column of a submission's file; UserError where it has none."""
    try:
        table = pd.read_csv(path, dtype={ROW_ID: str})
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as CSV ({error})") from error
    if name not in table:
        raise UserError(f"{path}: no column {name}; it has {', '.join(map(str, table.columns))}")
    return table[name]
