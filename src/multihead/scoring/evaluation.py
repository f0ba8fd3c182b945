"""A submission against the truth: the score, seen and unseen label combinations, and what each class reaches."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.config.files import TRUTH_FILE
from multihead.config.scores import LABEL, NUMBERS, PROBABILITY, ranked_classes
from multihead.config.task import FOLDS, Task
from multihead.data.answers import NO_CLASS, Answers, answers_in, read_answers, truth_in
from multihead.data.datasets import labels_to_predict, reader_of
from multihead.data.identity import match
from multihead.data.labels import label_columns_there, read_label_table
from multihead.data.tables import Table
from multihead.data.targets import is_known, truth_of
from multihead.runtime.errors import UserError, listed
from multihead.scoring.measures import images_per_class, per_class
from multihead.scoring.metrics import Score, is_seen, task_score

WORST = 10

Truth = dict[str, NDArray[Any]]  # of each head, as targets.py has it


class Graded(NamedTuple):
    """The answers to n images, and what is true of these. ids: of the images."""

    ids: Sequence[str]
    answers: Answers
    truth: Truth

    def only(self, rows: NDArray[np.bool_]) -> "Graded":
        """Return those of some images."""
        answers, truth = ({head: of_head[rows] for head, of_head in part.items()} for part in self[1:])
        return Graded(pd.Index(self.ids)[rows].tolist(), answers, truth)

    def score(self, task: Task) -> Score:
        return task_score(self.truth, self.answers, task)


def read_both(submission: Path, truth: Path, task: Task) -> Graded:
    """Return what a submission says and what is true, in the order of the truth.

    truth: a table in the submission's form or of labels, a labelled file of test images, or the data folder that holds
    either. Raises UserError where their images differ, a row belongs to no head, or a label is no class of its head.
    """
    cells = read_answers(submission, task)
    answers, ids = answers_in(cells, task, submission), cells.index.tolist()
    for names, true in _truths(truth, task, ids):
        if not len(names):
            raise UserError(f"{truth}: no rows")
        rows = match(ids, names)
        if len(ids) == len(names) == len(set(rows[rows >= 0].tolist())):
            order = np.argsort(rows)
            refuse_unlabelled(true, str(truth))
            return Graded(names, {head: of_head[order] for head, of_head in answers.items()}, true)
    raise UserError(f"{submission}: its {len(ids)} images are not the {len(names)} images of {truth}")


def refuse_unlabelled(truth: Mapping[str, NDArray[Any]], source: str) -> None:
    """Raise UserError for a head of which nothing is known."""
    for head, of_head in truth.items():
        if not is_known(of_head).any():
            raise UserError(f"{source}: none of the {len(of_head):,} images has a label of {head}")


def read_train_labels(path: Path, task: Task) -> pd.DataFrame:
    """Return the labels in a table of train labels or a labelled file of pixels: index image id."""
    own = None if task.labels_file else reader_of(task).labels_in(path)
    return read_label_table(path, task) if own is None else own


def _truths(path: Path, task: Task, there: Sequence[str]) -> Iterator[tuple[list[str], Truth]]:
    """Yield the ids and the truth of the images to predict; of a task without test files, those of each fold.

    there: the images of the submission.
    """
    if (path / TRUTH_FILE).is_file():
        path = path / TRUTH_FILE
    if path.is_dir():
        for fold in range(1 if task.test_files else FOLDS):
            try:
                yield _of_labels(labels_to_predict(path, task, fold), task)
            except UserError as error:
                missing = f"no {TRUTH_FILE}, and {error}" if task.test_files and task.labels_file else error
                raise UserError(f"{path}: holds no labels of its test images ({missing})") from error
        return
    is_test_file = bool(task.test_files) and path.match(task.test_files)
    own = reader_of(task).labels_in(path, there) if is_test_file else None
    yield _of_table(path, task, there) if own is None else _of_labels(own, task)


def _of_labels(labels: pd.DataFrame, task: Task) -> tuple[list[str], Truth]:
    return labels.index.tolist(), truth_of(labels, task)


def _of_table(path: Path, task: Task, there: Sequence[str]) -> tuple[list[str], Truth]:
    """Return the truth in a table of labels, or in one of the submission's form: what only one of them can be read as.

    Of probabilities a table with all labels is one of labels, else one in the submission's form comes first.
    """

    def of_labels() -> tuple[list[str], Truth]:
        return _of_labels(read_label_table(path, task, there=there), task)

    def of_answers() -> tuple[list[str], Truth]:
        cells = read_answers(path, task, there)
        return cells.index.tolist(), truth_in(answers_in(cells, task, path), task)

    has_labels = len(label_columns_there(Table(path), task)) >= len(task.heads)
    ways = [of_labels, of_answers] if task.answer == PROBABILITY and has_labels else [of_answers, of_labels]
    try:
        return ways[0]()
    except UserError:
        if not has_labels:
            raise
        try:
            return ways[1]()
        except UserError:
            pass
        raise


def classes_table(graded: Graded, task: Task) -> pd.DataFrame:
    """Return a row per class that the truth shows: head, class label, images, and what is reached; the worst first.

    The last column is called as what it measures (measures.per_class).
    """
    tables = []
    for head, classes in task.heads.items():
        known = is_known(graded.truth[head])
        found = per_class(task.score, graded.truth[head][known], graded.answers[head][known], len(classes))
        if len(found.values):
            columns = {"head": head, "class": classes, "images": found.images, found.name: found.values}
            tables.append(pd.DataFrame(columns))
    if not tables:
        return pd.DataFrame({"head": [], "class": [], "images": []})
    table = pd.concat(tables, ignore_index=True)
    table = table[(table.images > 0) & table[table.columns[-1]].notna()]
    return table.sort_values(str(table.columns[-1]), kind="stable", ignore_index=True)


def score_lines(graded: Graded, task: Task, train: pd.DataFrame | None, classes: pd.DataFrame) -> Iterator[str]:
    """Yield the lines of what evaluate prints.

    train: the train labels as read_train_labels returns them, or None where seen and unseen cannot be told apart.
    classes: of classes_table.
    """
    whole = graded.score(task)
    present = f" ({whole.present_in_words})" if whole.present_in_words else ""
    yield f"{whole.name} = {whole.total:.4f}{present}{'; less is better' if whole.is_loss else ''}"
    constants = Graded(graded.ids, _constant(graded.truth, task), graded.truth).score(task).heads
    for head, value in whole.heads.items():
        absent = whole.absent[head]
        shown = f"over the {len(task.heads[head]) - len(absent)} classes present"
        note = f"; {whole.present_heads[head]:.4f} {shown}, absent: {listed(absent)}" if absent else ""
        yield f"  {head:<20} {value:.4f} (a constant answer: {constants[head]:.4f}{note})"
    if train is not None and task.is_of_classes:
        is_whole = np.all([is_known(of_head) for of_head in graded.truth.values()], axis=0)
        seen = is_seen(pd.DataFrame(graded.truth), train)
        for name, rows in (("seen", is_whole & seen), ("unseen", is_whole & ~seen)):
            reached = ""
            if rows.any():
                note = ", over the classes that these show" if task.score == "macro recall" else ""
                reached = f", {whole.name} = {graded.only(rows).score(task).present_total:.4f}{note}"
            yield f"{name} label combinations: {rows.sum()} images{reached}"
    if len(classes):
        what = classes.columns[-1]
        yield f"the {min(WORST, len(classes))} classes with the least {what}:"
    for row in classes.head(WORST).itertuples(index=False):
        yield f"  {row[0]:<20} {row[1]:>3}: {row[3]:.4f} of {row[2]} images"


def _constant(truth: Truth, task: Task) -> dict[str, NDArray[Any]]:
    """Return the one answer to all images that is made of the truth: its most frequent classes, shares, or its mean."""
    answers: dict[str, NDArray[Any]] = {}
    for head, of_head in truth.items():
        known = of_head[is_known(of_head)]
        if task.answer == NUMBERS:
            middle = np.median(known) if task.score == "MAE" else known.mean()
            answers[head] = np.full(len(of_head), middle)
            continue
        counts = images_per_class(known, len(task.heads[head]))
        if task.answer == LABEL:
            answer: Any = counts.argmax()
        elif task.answer == PROBABILITY:
            answer = counts / max(1, len(known))
        elif ranked := ranked_classes(task.answer):
            order = np.argsort(-counts, kind="stable")[:ranked]
            answer = np.where(counts[order] > 0, order, NO_CLASS)
        else:
            answer = (counts > len(known) / 2) | (counts == counts.max())
        answers[head] = np.repeat(np.asarray(answer)[None], len(of_head), axis=0)
    return answers
