"""Answers to a submission, in sample_submission's rows; without a sample to predictions.csv, a row per image."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from multihead.data.answers import Form
from multihead.runtime.errors import shortened
from multihead.runtime.whole_files import whole_file

PARQUET, ZIP = ".parquet", ".zip"


class Submission:
    """The rows to answer, each key's prior answer until its prediction comes.

    form: the rows. prior: by each key, what rows without a prediction get. source: where the rows come from.
    """

    def __init__(self, path: Path, form: Form, prior: Mapping[str, Any], source: str) -> None:
        self._path, self._form, self._source = path, form, source
        self._answers = {key: _full(len(of_key), prior[key]) for key, of_key in form.places.items()}
        self._is_answered = {key: np.zeros(len(of_key), bool) for key, of_key in form.places.items()}
        self._repeated: list[str] = []

    def add(self, answers: pd.DataFrame) -> None:
        """Take in predictions: index image id, a column by each key. The first of an image counts."""
        ids = pd.Index(answers.index, dtype=str)
        for key, images in self._form.images.items():
            if not len(images):
                continue
            rows = images.get_indexer(ids)
            is_known = rows >= 0
            is_first = ~ids.duplicated() & ~(is_known & self._is_answered[key][rows])
            places = self._form.places[key][rows[is_known & ~is_first]]
            self._repeated += self._form.rows[places].tolist()
            taken = is_known & is_first
            self._answers[key][rows[taken]] = answers[key].to_numpy()[taken]
            self._is_answered[key][rows[taken]] = True

    def problems(self) -> list[str]:
        """Return what does not match the rows to answer, a line each."""
        is_missing = np.zeros(self.rows, bool)
        for key, places in self._form.places.items():
            is_missing[places] |= ~self._is_answered[key]
        found: list[tuple[Sequence[str], str]] = [
            (list(dict.fromkeys(self._repeated)), "predictions are for a row that already had one"),
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
        """Put the table in place at once, in the form that the file's name says."""
        with whole_file(self._path) as new:
            if self._path.suffix.lower() != ZIP:
                self._write(self._path, new)
                return
            inner = self._path.with_suffix("")
            inner = inner if inner.suffix else inner.with_suffix(".csv")
            with zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(inner.name, "w") as member:
                self._write(inner, member)

    def _write(self, name: Path, file: Path | IO[bytes]) -> None:
        """Write the table in the form that a name says. In parquet, ids that are whole numbers are written as such."""
        table, ids = self._table(), self._form.rows
        if name.suffix.lower() != PARQUET:
            table.to_csv(file, index=False, lineterminator="\n")
            return
        if ids.str.fullmatch(r"0|[1-9][0-9]{0,17}").all():
            table[ids.name] = table[ids.name].astype(np.int64)
        table.to_parquet(file, index=False)

    def first_lines(self, rows: int) -> list[str]:
        """Return the header and the first so many rows as they would be written in a CSV file."""
        return str(self._table()[:rows].to_csv(index=False, lineterminator="\n")).splitlines()

    def _table(self) -> pd.DataFrame:
        table = pd.DataFrame({self._form.rows.name: self._form.rows})
        columns = {}
        for column in dict.fromkeys(self._form.columns.values()):
            keys = [key for key, own in self._form.columns.items() if own == column]
            values = np.empty(self.rows, self._answers[keys[0]].dtype)
            for key in keys:
                values[self._form.places[key]] = self._answers[key]
            columns[column] = pd.Series(values).infer_objects()
        return pd.concat([table, pd.DataFrame(columns)], axis=1)[list(self._form.header)]


def _full(rows: int, value: Any) -> Any:
    """Return so many times one answer: numbers as such, which take less memory and are written as short as can be."""
    return np.full(rows, value, value.dtype if isinstance(value, np.floating) else object)
