"""A task's score: the weighted mean of what each head reaches, in macro-averaged recall or in accuracy."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.config.task import Label, Task

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Score:
    """total: the weighted mean of `heads`, what each head reaches, as the competition computes it. name: what it is
    called: R, the competition's weighted macro recall, or accuracy.

    present_total, present_heads: the same over the classes that the truth shows, which is what a training chooses by: a
    class that it lacks makes a macro recall fall as soon as one image is taken for it, by chance or not.
    absent: for each head, the class labels that the truth never shows. standard_error: of present_total, by how many
    images of each class there are, as if the heads' answers were independent; the recalls of which it is made are drawn
    towards that of the whole head, or a class with one image would add nothing.
    """

    name: str
    total: float
    heads: Mapping[str, float]
    present_total: float
    present_heads: Mapping[str, float]
    absent: Mapping[str, tuple[Label, ...]]
    standard_error: float

    def as_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return {
            "name": self.name,
            "total": self.total,
            "heads": dict(self.heads),
            "present_total": self.present_total,
            "present_heads": dict(self.present_heads),
            "standard_error": self.standard_error,
        }

    def __str__(self) -> str:
        text = f"{self.name} {self.total:.4f}"
        if len(self.heads) > 1:
            text += f" ({', '.join(f'{head} {value:.4f}' for head, value in self.heads.items())})"
        return f"{text}, {self.present_in_words}" if self.present_in_words else text

    @property
    def present_in_words(self) -> str:
        """What the mean over the classes present is, where it is another."""
        return f"{self.present_total:.4f} over the classes present" if self.total != self.present_total else ""


def recall_per_class(truth: Indices, predicted: Indices, classes: int) -> NDArray[np.float64]:
    """Return float64 (classes,): the share of each class's images that were predicted so; nan where it has none."""
    hits = np.bincount(truth[truth == predicted], minlength=classes)
    images = np.bincount(truth, minlength=classes)
    recall = np.full(classes, np.nan)
    np.divide(hits, images, out=recall, where=images > 0)
    return recall


def macro_recall(truth: Indices, predicted: Indices, classes: int) -> float:
    """Return the mean recall of the classes that truth or prediction show; one that the truth lacks counts as 0.

    It is scikit-learn's recall_score(average="macro"), by which the competition scores.
    """
    present, counted = np.unique(truth), np.union1d(truth, predicted)
    return present_macro_recall(truth, predicted, classes) * (len(present) / len(counted))


def present_macro_recall(truth: Indices, predicted: Indices, classes: int) -> float:
    """Return the mean recall of the classes that the truth shows."""
    return float(np.nanmean(recall_per_class(truth, predicted, classes)))


def accuracy(truth: Indices, predicted: Indices, _classes: int) -> float:
    """Return the share of the images whose class was predicted."""
    return float((truth == predicted).mean())


Measure = Callable[[Indices, Indices, int], float]  # of one head's truth, its answers, and its number of classes
# For each of tasks.SCORES: its name, how it is measured, and how over the classes present
MEASURES: Mapping[str, tuple[str, Measure, Measure]] = {
    "macro recall": ("R", macro_recall, present_macro_recall),
    "accuracy": ("accuracy", accuracy, accuracy),
}


def is_seen(labels: pd.DataFrame, train: pd.DataFrame) -> NDArray[np.bool_]:
    """Tell of each row of labels, a column per head, whether a train image has the same labels in all heads."""
    heads = list(labels.columns)
    return np.asarray(pd.MultiIndex.from_frame(labels).isin(pd.MultiIndex.from_frame(train[heads])), np.bool_)


def task_score(truth: Mapping[str, Indices], predicted: Mapping[str, Indices], task: Task) -> Score:
    """Return the score of predicted class indices, int64 (n,) per head. Raises ValueError for an empty truth."""
    name, measure, measure_present = MEASURES[task.score]
    heads, present_heads, variances, absent = {}, {}, {}, {}
    for head, classes in task.heads.items():
        if not len(truth[head]):
            raise ValueError(f"{head}: no images to score")
        heads[head] = measure(truth[head], predicted[head], len(classes))
        present_heads[head] = measure_present(truth[head], predicted[head], len(classes))
        images = np.bincount(truth[head], minlength=len(classes))
        absent[head] = tuple(classes[i] for i in np.flatnonzero(images == 0))
        recall = recall_per_class(truth[head], predicted[head], len(classes))[images > 0]
        variances[head] = _variance(recall, images[images > 0], is_macro=task.score == "macro recall")
    weights = {head: task.weight(head) / sum(map(task.weight, task.heads)) for head in task.heads}
    total, present_total = (
        sum(weights[head] * values[head] for head in task.heads) for values in (heads, present_heads)
    )
    error = math.sqrt(sum(weights[head] ** 2 * variances[head] for head in task.heads))
    return Score(name, float(total), heads, float(present_total), present_heads, absent, error)


def _variance(recall: NDArray[np.float64], images: Indices, *, is_macro: bool) -> float:
    """Return the variance of one head's score, from the recall and the number of images of each class present."""
    whole = (recall @ images + 1) / (images.sum() + 2)
    recall = (recall * images + 2 * whole) / (images + 2)
    shares = np.full(len(images), 1 / len(images)) if is_macro else images / images.sum()
    return float((shares**2 * recall * (1 - recall) / images).sum())
