"""From adjusted probabilities to what a task asks for: classes, sets of classes, rankings, probabilities, numbers.

The thresholds and cut points are chosen on images that the network was not trained on (tuning.py).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multihead.config.scores import LABEL, LABELS, NUMBERS, PROBABILITY, ranked_classes
from multihead.config.task import Task
from multihead.data.answers import cells_of

THRESHOLD = 0.5  # of a head for which none is chosen
PerHead = Mapping[str, Sequence[float]]
NONE: PerHead = {}


def decided(
    probabilities: Mapping[str, NDArray[np.float32]], task: Task, thresholds: PerHead = NONE, cut_points: PerHead = NONE
) -> dict[str, NDArray[Any]]:
    """Return for each head the answers to n images, as Task.answer has it and task_score takes them.

    probabilities: float32 (n, classes), or (n, 1) of a number. thresholds, cut_points: as Calibration has them.
    """
    if task.answer == LABEL:
        return {head: labels(rows, cut_points.get(head, ())) for head, rows in probabilities.items()}
    if task.answer == LABELS:
        is_one_sure = task.score == "F1 samples"
        return {
            head: sets(rows, thresholds.get(head, (THRESHOLD,)), with_likeliest=is_one_sure)
            for head, rows in probabilities.items()
        }
    if task.answer == NUMBERS:
        return {head: rows[:, 0].astype(np.float64) for head, rows in probabilities.items()}
    if task.answer == PROBABILITY:
        return dict(probabilities)
    return {head: ranking(rows, ranked_classes(task.answer)) for head, rows in probabilities.items()}


def labels(rows: NDArray[np.float32], cut_points: Sequence[float] = ()) -> NDArray[np.int64]:
    """Return int64 (n,): the likeliest classes, or those between whose cut points the expected classes lie."""
    if not len(cut_points):
        return np.asarray(rows.argmax(axis=1), np.int64)
    return np.asarray(np.searchsorted(cut_points, expected_class(rows), side="right"), np.int64)


def expected_class(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return float64 (n,): the mean class index by the probabilities, float32 (n, classes)."""
    return np.asarray(rows.astype(np.float64) @ np.arange(rows.shape[1]))


def sets(rows: NDArray[np.float32], thresholds: Sequence[float], *, with_likeliest: bool = False) -> NDArray[np.bool_]:
    """Return bool (n, classes): which probabilities are over their class's threshold, or that of all.

    with_likeliest: the likeliest class, where none is.
    """
    answers = rows > np.array(thresholds)
    if with_likeliest:
        empty = np.flatnonzero(~answers.any(axis=1))
        answers[empty, rows[empty].argmax(axis=1)] = True
    return np.asarray(answers)


def ranking(rows: NDArray[np.float32], length: int) -> NDArray[np.int64]:
    """Return int64 (n, length): the likeliest classes, the likeliest first; of equal ones the first."""
    return np.asarray(np.argsort(-rows, axis=1, kind="stable")[:, :length], np.int64)


def finished(
    probabilities: Mapping[str, NDArray[np.float32]],
    task: Task,
    thresholds: PerHead = NONE,
    cut_points: PerHead = NONE,
) -> dict[str, NDArray[Any]]:
    """Return what is written of n images by each key (data/answers.py), of what `decided` takes."""
    return cells_of(decided(probabilities, task, thresholds, cut_points), task)
