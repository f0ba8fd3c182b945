"""A submission against the truth: the score, seen and unseen label combinations, and each class's recall."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from multihead.errors import UserError
from multihead.metrics import Score, is_seen, recall_per_class, weighted_macro_recall
from multihead.shards import class_indices
from multihead.submission import ROW_ID, TARGET, read_column
from multihead.tasks import Task

WORST = 10


def read_answers(submission: Path, truth: Path, task: Task) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what a submission says and what is true: class indices, index image id, a column per head.

    Raises UserError where their rows differ, a row belongs to no head, or a label is no class of its head.
    """
    told, true = _read_targets(submission), _read_targets(truth)
    if len(told) != len(true) or not told.index.isin(true.index).all():
        raise UserError(f"{submission}: its {len(told)} rows are not the {len(true)} rows of {truth}")
    if not len(true):
        raise UserError(f"{truth}: no rows")
    told = told[true.index]
    columns: dict[str, list[pd.Series[int]]] = {"told": [], "true": []}
    for head, classes in task.heads.items():
        ending = task.row_id("", head)
        of_head = true.index.str.endswith(ending)
        images = true.index[of_head].str.removesuffix(ending)
        for name, labels, path in (("told", told, submission), ("true", true, truth)):
            columns[name].append(pd.Series(class_indices(labels[of_head], classes, path), images, name=head))
    images = columns["true"][0].index
    if len(images) * len(task.heads) != len(true) or not all(of.index.isin(images).all() for of in columns["true"]):
        raise UserError(f"{truth}: row ids are not <image>_<head> with the heads {', '.join(task.heads)}")
    return pd.concat(columns["told"], axis=1), pd.concat(columns["true"], axis=1)


def score(told: pd.DataFrame, true: pd.DataFrame, task: Task) -> Score:
    """Return the score of class indices, a column per head, against others with the same rows."""
    columns = [{head: table[head].to_numpy() for head in task.heads} for table in (true, told)]
    return weighted_macro_recall(columns[0], columns[1], task)


def classes_table(told: pd.DataFrame, true: pd.DataFrame, task: Task) -> pd.DataFrame:
    """Return a row per class that the truth shows: head, class label, images, recall; the worst first."""
    tables = []
    for head, classes in task.heads.items():
        recall = recall_per_class(true[head].to_numpy(), told[head].to_numpy(), len(classes))
        images = np.bincount(true[head], minlength=len(classes))
        tables.append(pd.DataFrame({"head": head, "class": classes, "images": images, "recall": recall}))
    table = pd.concat(tables, ignore_index=True)
    return table[table.images > 0].sort_values("recall", kind="stable", ignore_index=True)


def report(
    told: pd.DataFrame, true: pd.DataFrame, task: Task, train: pd.DataFrame | None, classes: pd.DataFrame
) -> Iterator[str]:
    """Yield the lines of what evaluate prints.

    train: the train labels as read_labels returns them, or None where seen and unseen cannot be told apart.
    classes: of classes_table.
    """
    whole = score(told, true, task)
    yield f"R = {whole.total:.4f}"
    for head, recall in whole.recall.items():
        absent = whole.absent[head]
        present = len(task.heads[head]) - len(absent)
        note = f"; averaged over the {present} classes present, absent: {_listed(absent)}" if absent else ""
        yield f"  {head:<20} {recall:.4f} (a constant answer: {1 / present:.4f}{note})"
    if train is not None:
        seen = is_seen(true, train)
        for name, rows in (("seen", seen), ("unseen", ~seen)):
            value = f"R = {score(told[rows], true[rows], task).total:.4f}, over the classes that these show"
            yield f"{name} label combinations: {rows.sum()} images{', ' + value if rows.any() else ''}"
    yield f"the {min(WORST, len(classes))} classes with the least recall:"
    for row in classes.head(WORST).itertuples(index=False):
        yield f"  {row[0]:<20} {row[1]:>3}: {row[3]:.4f} of {row[2]} images"


def _read_targets(path: Path) -> "pd.Series[int]":
    ids = pd.Index(read_column(path, ROW_ID))
    if ids.has_duplicates:
        raise UserError(f"{path}: {ids[ids.duplicated()][0]} stands in it more than once")
    return pd.Series(read_column(path, TARGET).to_numpy(), ids, name=TARGET)


def _listed(classes: Sequence[int]) -> str:
    return ", ".join(map(str, classes))
