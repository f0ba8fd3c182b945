"""Class labels to submission.csv, in sample_submission's rows; without a sample to predictions.csv, a row per image.

A table of answers has an id in its first column. Either an image has one row, with a column per head, or, where several
heads share one column, a row for each head, named <image>_<head>.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from multihead.errors import UserError
from multihead.labels import read_table, refuse_repeated
from multihead.tasks import Label, Task
from multihead.whole_files import whole_file

SUBMISSION_FILE, PREDICTIONS_FILE = "submission.csv", "predictions.csv"
ID = "id"


class Submission:
    """The rows to answer, each head's prior class until its prediction comes.

    rows: the ids of the rows, in order, an index with the table's name for them. answers: for each head, its column.
    prior: for each head, the class label that rows without a prediction get. source: where the rows come from.
    """

    def __init__(
        self,
        path: Path,
        rows: pd.Index,
        answers: Mapping[str, str],
        prior: Mapping[str, Label],
        task: Task,
        source: str,
    ) -> None:
        self._path, self._rows, self._columns, self._task, self._source = path, rows, answers, task, source
        self._is_long = len(set(answers.values())) < len(answers)
        self._head_rows = {head: np.arange(len(rows)) for head in task.heads}
        if self._is_long:
            self._head_rows = {head: np.flatnonzero(_are_of(rows, head, task)) for head in task.heads}
        self._answers = {head: np.full(len(of), prior[head], object) for head, of in self._head_rows.items()}
        self._wanted = {head: rows[of] for head, of in self._head_rows.items()}
        self._is_answered = {head: np.zeros(len(of), bool) for head, of in self._head_rows.items()}
        self._extra: list[str] = []
        self._repeated: list[str] = []

    def add(self, labels: pd.DataFrame) -> None:
        """Take in predictions: index image id, one column of class labels per head. The first of an image counts."""
        for head, wanted in self._wanted.items():
            if not len(wanted):
                continue
            ids = pd.Index([self._key(image, head) for image in labels.index], dtype=str)
            rows = wanted.get_indexer(ids)
            is_known = rows >= 0
            is_first = ~ids.duplicated() & ~(self._is_answered[head][rows] & is_known)
            self._extra += ids[~is_known].tolist()
            self._repeated += ids[is_known & ~is_first].tolist()
            taken = is_known & is_first
            self._answers[head][rows[taken]] = labels[head].to_numpy()[taken]
            self._is_answered[head][rows[taken]] = True

    def _key(self, image: str, head: str) -> str:
        return self._task.row_id(image, head) if self._is_long else image

    def problems(self) -> list[str]:
        """Return what does not match the rows to answer, a line each."""
        is_missing = np.zeros(len(self._rows), bool)
        for head, rows in self._head_rows.items():
            is_missing[rows] |= ~self._is_answered[head]
        found: list[tuple[Sequence[str], str]] = [
            (self._extra, f"predictions have no row in {self._source}"),
            (self._repeated, "predictions are for a row that already had one"),
            (self._rows[is_missing].tolist(), f"rows of {self._source} have no prediction"),
        ]
        return [f"{len(rows)} {told}: {rows[0]}{', ...' if len(rows) > 1 else ''}" for rows, told in found if len(rows)]

    @property
    def images(self) -> int:
        """How many images the rows are of."""
        return len(self._rows) // (len(self._task.heads) if self._is_long else 1)

    @property
    def answered_share(self) -> float:
        """The share of the rows that have a prediction."""
        answered = np.concatenate(list(self._is_answered.values()))
        return float(answered.mean()) if len(answered) else 1.0

    @property
    def rows(self) -> int:
        return len(self._rows)

    def write(self) -> None:
        """Put the table in place at once."""
        table = pd.DataFrame({self._rows.name: self._rows})
        for column in dict.fromkeys(self._columns.values()):
            values = np.empty(len(self._rows), object)
            for head in (head for head, of in self._columns.items() if of == column):
                values[self._head_rows[head]] = self._answers[head]
            table[column] = pd.Series(values).infer_objects()
        with whole_file(self._path) as new:
            table.to_csv(new, index=False, lineterminator="\n")


def submission_of_sample(path: Path, sample: Path, task: Task, prior: Mapping[str, Label]) -> Submission:
    """Return the submission that a sample asks for; UserError where read_form has one."""
    ids, answers = read_form(sample, task)
    return Submission(path, ids, answers, prior, task, sample.name)


def submission_of_images(path: Path, images: Sequence[str], task: Task, prior: Mapping[str, Label]) -> Submission:
    """Return a table with a row per image, id and a column per head, where no sample asks for another form.

    Raises UserError for an image that comes twice.
    """
    rows = pd.Index(images, dtype=str, name=ID)
    refuse_repeated(rows, task.test_files)
    return Submission(path, rows, {head: head for head in task.heads}, prior, task, "the test files")


def read_form(path: Path, task: Task) -> tuple[pd.Index, dict[str, str]]:
    """Return the row ids of a table of answers, named as their column is, and each head's column.

    Raises UserError for a table that has neither form, a row that belongs to no head, or an id that comes twice.
    """
    header = list(_header(path))
    heads = list(task.heads)
    if len(header) < 2:
        raise UserError(f"{path}: has one column, {', '.join(header)}; expected an id and answers")
    if len(header) == 2:
        answers = dict.fromkeys(heads, header[1])
    elif set(heads) <= set(header[1:]):
        answers = {head: head for head in header[1:] if head in heads}
    else:
        raise UserError(f"{path}: columns {', '.join(header[:8])}; expected an id and {', '.join(heads)}")
    ids = pd.Index(read_table(path, header[:1])[header[0]], dtype=str, name=header[0])
    if ids.has_duplicates:
        raise UserError(f"{path}: {ids[ids.duplicated()][0]} stands in it more than once")
    if len(header) == 2 < len(heads) + 1:
        is_known = np.any([_are_of(ids, head, task) for head in heads], axis=0)
        if not is_known.all():
            raise UserError(
                f"{path}: {ids[int(is_known.argmin())]} ends in none of {', '.join(heads)}; "
                "expected a row per image and head, <image>_<head>, or a column per head"
            )
    return ids, answers


def read_answers(path: Path, task: Task) -> pd.DataFrame:
    """Return a table of answers as class labels: index image id (str), a column per head.

    Raises UserError as read_form does, and where an image lacks one of its heads.
    """
    ids, columns = read_form(path, task)
    table = read_table(path, [str(ids.name), *dict.fromkeys(columns.values())]).set_index(ids)
    if len(set(columns.values())) == len(columns):
        return pd.DataFrame({head: table[column] for head, column in columns.items()})
    heads = {}
    for head, column in columns.items():
        of_head = table[column][_are_of(ids, head, task)]
        heads[head] = of_head.set_axis(of_head.index.str.removesuffix(task.row_id("", head)))
    images = next(iter(heads.values())).index
    if not all(len(of) == len(images) and of.index.isin(images).all() for of in heads.values()):
        raise UserError(f"{path}: row ids are not <image>_<head> with the heads {', '.join(task.heads)}")
    return pd.DataFrame({head: of[images] for head, of in heads.items()})


def _are_of(ids: pd.Index, head: str, task: Task) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    return np.asarray(ids.str.endswith(task.row_id("", head)), np.bool_)


def _header(path: Path) -> list[str]:
    try:
        return list(map(str, pd.read_csv(path, nrows=0)))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as CSV ({error})") from error
