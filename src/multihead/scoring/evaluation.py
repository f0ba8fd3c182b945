"""A submission against the truth: the score, seen and unseen label combinations, and each class's recall."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from multihead.config.files import TRUTH_FILE
from multihead.config.task import FOLDS, Task
from multihead.data.answers import read_answers
from multihead.data.datasets import labels_to_predict, reader_of
from multihead.data.identity import match
from multihead.data.labels import label_indices, read_label_table
from multihead.runtime.errors import UserError, listed
from multihead.scoring.metrics import Score, is_seen, recall_per_class, task_score

WORST = 10


def read_both(submission: Path, truth: Path, task: Task) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what a submission says and what is true: class indices, index image id, a column per head.

    truth: a table in the submission's form, a labelled file of test images, or the data folder that holds either.
    Raises UserError where their images differ, a row belongs to no head, or a label is no class of its head.
    """
    answers = label_indices(read_answers(submission, task), task, submission)
    for true in _truths(truth, task, answers.index.tolist()):
        if not len(true):
            raise UserError(f"{truth}: no rows")
        rows = match(answers.index.tolist(), true.index.tolist())
        if len(answers) == len(true) == len(set(rows[rows >= 0].tolist())):
            return answers.set_axis(true.index[rows]).loc[true.index], true
    raise UserError(f"{submission}: its {len(answers)} images are not the {len(true)} images of {truth}")


def read_train_labels(path: Path, task: Task) -> pd.DataFrame:
    """Return the class indices in a table of train labels or a labelled file of pixels: index image id."""
    own = None if task.labels_file else reader_of(task).labels_in(path)
    return read_label_table(path, task) if own is None else own


def _truths(path: Path, task: Task, there: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Yield the class indices of the images to predict; of a task without test files, those of each fold.

    there: the images of the submission.
    """
    if (path / TRUTH_FILE).is_file():
        path = path / TRUTH_FILE
    if path.is_dir():
        for fold in range(1 if task.test_files else FOLDS):
            try:
                yield labels_to_predict(path, task, fold)
            except UserError as error:
                missing = f"no {TRUTH_FILE}, and {error}" if task.test_files and task.labels_file else error
                raise UserError(f"{path}: holds no labels of its test images ({missing})") from error
    else:
        is_test_file = bool(task.test_files) and path.match(task.test_files)
        own = reader_of(task).labels_in(path, there) if is_test_file else None
        yield label_indices(read_answers(path, task, there), task, path) if own is None else own


def score(answers: pd.DataFrame, true: pd.DataFrame, task: Task) -> Score:
    """Return the score of class indices, a column per head, against others with the same rows."""
    truth, predicted = ({head: table[head].to_numpy() for head in task.heads} for table in (true, answers))
    return task_score(truth, predicted, task)


def classes_table(answers: pd.DataFrame, true: pd.DataFrame, task: Task) -> pd.DataFrame:
    """Return a row per class that the truth shows: head, class label, images, recall; the worst first."""
    tables = [
        pd.DataFrame(
            {
                "head": head,
                "class": classes,
                "images": np.bincount(true[head], minlength=len(classes)),
                "recall": recall_per_class(true[head].to_numpy(), answers[head].to_numpy(), len(classes)),
            }
        )
        for head, classes in task.heads.items()
    ]
    table = pd.concat(tables, ignore_index=True)
    return table[table.images > 0].sort_values("recall", kind="stable", ignore_index=True)


def score_lines(
    answers: pd.DataFrame, true: pd.DataFrame, task: Task, train: pd.DataFrame | None, classes: pd.DataFrame
) -> Iterator[str]:
    """Yield the lines of what evaluate prints.

    train: the train labels as read_train_labels returns them, or None where seen and unseen cannot be told apart.
    classes: of classes_table.
    """
    whole = score(answers, true, task)
    yield f"{whole.name} = {whole.total:.4f}" + (f" ({whole.present_in_words})" if whole.present_in_words else "")
    constant = pd.DataFrame({head: true[head].mode()[:1].repeat(len(true)).to_numpy() for head in task.heads})
    constants = score(constant, true, task).heads
    for head, value in whole.heads.items():
        absent = whole.absent[head]
        present = f"over the {len(task.heads[head]) - len(absent)} classes present"
        note = f"; {whole.present_heads[head]:.4f} {present}, absent: {listed(absent)}" if absent else ""
        yield f"  {head:<20} {value:.4f} (a constant answer: {constants[head]:.4f}{note})"
    if train is not None:
        seen = is_seen(true, train)
        for name, rows in (("seen", seen), ("unseen", ~seen)):
            reached = ""
            if rows.any():
                note = ", over the classes that these show" if task.score == "macro recall" else ""
                reached = f", {whole.name} = {score(answers[rows], true[rows], task).present_total:.4f}{note}"
            yield f"{name} label combinations: {rows.sum()} images{reached}"
    yield f"the {min(WORST, len(classes))} classes with the least recall:"
    for row in classes.head(WORST).itertuples(index=False):
        yield f"  {row[0]:<20} {row[1]:>3}: {row[3]:.4f} of {row[2]} images"
