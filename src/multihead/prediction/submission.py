"""Class labels to submission.csv, in sample_submission's rows; without a sample to predictions.csv, a row per image."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from multihead.config.task import Label
from multihead.data.answers import Form
from multihead.runtime.errors import shortened
from multihead.runtime.whole_files import whole_file


class Submission:
    """The rows to answer, each head's prior class until its prediction comes.

    form: the rows. prior: for each head, the class label that rows without a prediction get. source: where the rows
    come from.
    """

    def __init__(self, path: Path, form: Form, prior: Mapping[str, Label], source: str) -> None:
        self._path, self._form, self._source = path, form, source
        self._answers = {head: np.full(len(of_head), prior[head], object) for head, of_head in form.places.items()}
        self._is_answered = {head: np.zeros(len(of_head), bool) for head, of_head in form.places.items()}
        self._repeated: list[str] = []

    def add(self, labels: pd.DataFrame) -> None:
        """Take in predictions: index image id, one column of class labels per head. The first of an image counts."""
        ids = pd.Index(labels.index, dtype=str)
        for head, images in self._form.images.items():
            if not len(images):
                continue
            rows = images.get_indexer(ids)
            is_known = rows >= 0
            is_first = ~ids.duplicated() & ~(is_known & self._is_answered[head][rows])
            places = self._form.places[head][rows[is_known & ~is_first]]
            self._repeated += self._form.rows[places].tolist()
            taken = is_known & is_first
            self._answers[head][rows[taken]] = labels[head].to_numpy()[taken]
            self._is_answered[head][rows[taken]] = True

    def problems(self) -> list[str]:
        """Return what does not match the rows to answer, a line each."""
        is_missing = np.zeros(self.rows, bool)
        for head, places in self._form.places.items():
            is_missing[places] |= ~self._is_answered[head]
        found: list[tuple[Sequence[str], str]] = [
            (self._repeated, "predictions are for a row that already had one"),
            (self._form.rows[is_missing].tolist(), f"rows of {self._source} have no prediction"),
        ]
        return [
            f"{len(rows)} {problem}: {shortened(rows[0])}{', ...' if len(rows) > 1 else ''}"
            for rows, problem in found
            if len(rows)
        ]

    @property
    def images(self) -> int:
        """How many images the rows are of."""
        return len(self._form.every_image)

    @property
    def answered_share(self) -> float:
        """The share of the rows that have a prediction."""
        answered = np.concatenate(list(self._is_answered.values()))
        return float(answered.mean()) if len(answered) else 1.0

    @property
    def rows(self) -> int:
        return len(self._form.rows)

    def write(self) -> None:
        """Put the table in place at once."""
        with whole_file(self._path) as new:
            self._table().to_csv(new, index=False, lineterminator="\n")

    def first_lines(self, rows: int) -> list[str]:
        """Return the header and the first so many rows as they would be written."""
        return str(self._table()[:rows].to_csv(index=False, lineterminator="\n")).splitlines()

    def _table(self) -> pd.DataFrame:
        table = pd.DataFrame({self._form.rows.name: self._form.rows})
        for column in set(self._form.columns.values()):
            values = np.empty(self.rows, object)
            for head in (head for head, own in self._form.columns.items() if own == column):
                values[self._form.places[head]] = self._answers[head]
            table[column] = pd.Series(values).infer_objects()
        return table[list(self._form.header)]
