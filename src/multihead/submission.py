"""Class labels to submission.csv, in sample_submission's rows; and a submission against the truth."""

from pathlib import Path

import pandas as pd

from multihead.errors import UserError
from multihead.metrics import Score, weighted_macro_recall
from multihead.shards import class_indices
from multihead.tasks import Task

ROW_ID, TARGET = "row_id", "target"


def write_submission(path: Path, sample: Path, predicted: pd.DataFrame, task: Task) -> int:
    """Write row_id,target in the order of sample_submission and return the number of rows.

    predicted: index image id, one column of class labels per head. Raises UserError where the two do not
    hold the same rows; the file appears whole or not at all.
    """
    repeated = predicted.index[predicted.index.duplicated()]
    if len(repeated):
        raise UserError(f"test files: {repeated[0]} is in them {(predicted.index == repeated[0]).sum()} times")
    rows = [
        pd.Series(predicted[head].to_numpy(), [task.row_id(i, head) for i in predicted.index]) for head in task.heads
    ]
    targets = pd.concat(rows)
    wanted = pd.Index(_read_column(sample, ROW_ID))
    missing, extra = wanted.difference(targets.index, sort=False), targets.index.difference(wanted, sort=False)
    if len(missing) or len(extra):
        first = f"{missing[0]} is not in the test files" if len(missing) else f"{extra[0]} is not in {sample.name}"
        raise UserError(
            f"{sample}: {len(missing)} rows without a prediction, {len(extra)} predictions without a row; {first}"
        )
    new = path.with_name(f"new-{path.name}")
    pd.DataFrame({ROW_ID: wanted, TARGET: targets[wanted].to_numpy()}).to_csv(new, index=False, lineterminator="\n")
    new.replace(path)
    return len(wanted)


def score_submission(submission: Path, truth: Path, task: Task) -> Score:
    """Return the score of a submission against a file of the same form that holds the truth.

    Raises UserError where their rows differ, a row belongs to no head, or a label is no class of its head.
    """
    told, true = _read_targets(submission), _read_targets(truth)
    if len(told) != len(true) or not told.index.isin(true.index).all():
        raise UserError(f"{submission}: its {len(told)} rows are not the {len(true)} rows of {truth}")
    told = told[true.index]
    truth_of, told_of, rows = {}, {}, 0
    for head, classes in task.heads.items():
        of_head = true.index.str.endswith(task.row_id("", head))
        truth_of[head] = class_indices(true[of_head], classes, truth)
        told_of[head] = class_indices(told[of_head], classes, submission)
        rows += int(of_head.sum())
    if rows != len(true) or not all(len(of) for of in truth_of.values()):
        raise UserError(f"{truth}: row ids are not <image>_<head> with the heads {', '.join(task.heads)}")
    return weighted_macro_recall(truth_of, told_of, task)


def _read_targets(path: Path) -> "pd.Series[int]":
    ids = pd.Index(_read_column(path, ROW_ID))
    if ids.has_duplicates:
        raise UserError(f"{path}: {ids[ids.duplicated()][0]} stands in it more than once")
    return pd.Series(_read_column(path, TARGET).to_numpy(), ids, name=TARGET)


def _read_column(path: Path, name: str) -> "pd.Series[str]":
    try:
        table = pd.read_csv(path, dtype={ROW_ID: str})
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as CSV ({error})") from error
    if name not in table:
        raise UserError(f"{path}: no column {name}; it has {', '.join(map(str, table.columns))}")
    return table[name]
