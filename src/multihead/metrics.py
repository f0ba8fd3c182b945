"""A task's score: the weighted mean of what each head reaches, in macro-averaged recall or in accuracy."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.tasks import Label, Task

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Score:
    """total: the weighted mean of `heads`, what each head reaches. name: what it is called: R, as the competition calls
    its weighted macro recall, or accuracy.

    absent: for each head, the class labels that the truth never shows; they count for nothing. standard_error: of the
    total, by how many images of each class there are, as if the heads' answers were independent; the recalls of which
    it is made are drawn towards that of the whole head, or a class with one image would add nothing.
    """

    name: str
    total: float
    heads: Mapping[str, float]
    absent: Mapping[str, tuple[Label, ...]]
    standard_error: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"name": self.name, "total": self.total, "heads": dict(self.heads)}

    def __str__(self) -> str:
        told = f"{self.name} {self.total:.4f}"
        if len(self.heads) == 1:
            return told
        return f"{told} ({', '.join(f'{head} {value:.4f}' for head, value in self.heads.items())})"


def recall_per_class(truth: Indices, predicted: Indices, classes: int) -> NDArray[np.float64]:
    """Return float64 (classes,): the share of each class's images that were predicted so; nan where it has none."""
    hits = np.bincount(truth[truth == predicted], minlength=classes)
    images = np.bincount(truth, minlength=classes)
    recall = np.full(classes, np.nan)
    np.divide(hits, images, out=recall, where=images > 0)
    return recall


def macro_recall(truth: Indices, predicted: Indices, classes: int) -> float:
    """Return the mean recall of the classes that the truth shows."""
    return float(np.nanmean(recall_per_class(truth, predicted, classes)))


def accuracy(truth: Indices, predicted: Indices, _classes: int) -> float:
    """Return the share of the images whose class was predicted."""
    return float((truth == predicted).mean())


# For each of tasks.SCORES: its name, and what it is of one head's truth, answers and number of classes
MEASURES: Mapping[str, tuple[str, Callable[[Indices, Indices, int], float]]] = {
    "macro recall": ("R", macro_recall),
    "accuracy": ("accuracy", accuracy),
}


def is_seen(labels: pd.DataFrame, train: pd.DataFrame) -> NDArray[np.bool_]:
    """Tell of each row of labels, a column per head, whether a train image has the same labels in all heads."""
    heads = list(labels.columns)
    return np.asarray(pd.MultiIndex.from_frame(labels).isin(pd.MultiIndex.from_frame(train[heads])), np.bool_)


def task_score(truth: Mapping[str, Indices], predicted: Mapping[str, Indices], task: Task) -> Score:
    """Return the score of predicted class indices, int64 (n,) per head.

    A class that the truth lacks is left out of a macro recall. Raises ValueError for an empty truth.
    """
    name, measure = MEASURES[task.score]
    values, variances, absent = {}, {}, {}
    for head, classes in task.heads.items():
        if not len(truth[head]):
            raise ValueError(f"{head}: no images to score")
        values[head] = measure(truth[head], predicted[head], len(classes))
        images = np.bincount(truth[head], minlength=len(classes))
        absent[head] = tuple(classes[i] for i in np.flatnonzero(images == 0))
        recall = recall_per_class(truth[head], predicted[head], len(classes))[images > 0]
        images = images[images > 0]
        of_all = (recall @ images + 1) / (images.sum() + 2)
        recall = (recall * images + 2 * of_all) / (images + 2)
        shares = np.full(len(images), 1 / len(images)) if task.score == "macro recall" else images / images.sum()
        variances[head] = float((shares**2 * recall * (1 - recall) / images).sum())
    weights = {head: task.weight(head) / sum(map(task.weight, task.heads)) for head in task.heads}
    total = sum(weights[head] * values[head] for head in task.heads)
    error = math.sqrt(sum(weights[head] ** 2 * variances[head] for head in task.heads))
    return Score(name, float(total), values, absent, error)
