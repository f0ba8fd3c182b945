"""The competition's score: a weighted mean of each head's macro-averaged recall."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.tasks import Task

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Score:
    """total: the weighted mean of `recall`, each head's macro recall over the classes present in the truth.

    absent: for each head, the class labels that the truth never shows; they count for nothing.
    """

    total: float
    recall: Mapping[str, float]
    absent: Mapping[str, tuple[int, ...]]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"total": self.total, "recall": dict(self.recall)}

    def __str__(self) -> str:
        return f"R {self.total:.4f} ({', '.join(f'{head} {value:.4f}' for head, value in self.recall.items())})"


def recall_per_class(truth: Indices, predicted: Indices, classes: int) -> NDArray[np.float64]:
    """Return float64 (classes,): the share of each class's images that were predicted so; nan where it has none."""
    hits = np.bincount(truth[truth == predicted], minlength=classes)
    images = np.bincount(truth, minlength=classes)
    recall = np.full(classes, np.nan)
    np.divide(hits, images, out=recall, where=images > 0)
    return recall


def is_seen(labels: pd.DataFrame, train: pd.DataFrame) -> NDArray[np.bool_]:
    """Tell of each row of labels, a column per head, whether a train image has the same labels in all heads."""
    heads = list(labels.columns)
    return np.asarray(pd.MultiIndex.from_frame(labels).isin(pd.MultiIndex.from_frame(train[heads])), np.bool_)


def weighted_macro_recall(truth: Mapping[str, Indices], predicted: Mapping[str, Indices], task: Task) -> Score:
    """Return the score of predicted class indices, int64 (n,) per head.

    A class that the truth lacks is left out of its head's mean. Raises ValueError for an empty truth.
    """
    recall, absent = {}, {}
    for head, classes in task.heads.items():
        if not len(truth[head]):
            raise ValueError(f"{head}: no images to score")
        each = recall_per_class(truth[head], predicted[head], len(classes))
        recall[head] = float(np.nanmean(each))
        absent[head] = tuple(classes[i] for i in np.flatnonzero(np.isnan(each)))
    weights = [task.score_weights[head] for head in task.heads]
    return Score(float(np.average(list(recall.values()), weights=weights)), recall, absent)
