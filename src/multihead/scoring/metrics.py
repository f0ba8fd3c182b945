"""A task's score: the weighted mean of what each head reaches (measures.py)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.config.scores import score_kind, score_name
from multihead.config.task import Label, Task
from multihead.data.targets import is_known
from multihead.scoring.measures import Measured, measured, present_of_draw, recall_per_class

GROUPS = 20  # of images, each of which the jackknife leaves out once

Indices = NDArray[np.int64]
PerHead = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Score:
    """total: the weighted mean of `heads`, what each head reaches, as the competition computes it. name: what it is
    called: R, the competition's weighted macro recall, or that of config/scores.py.

    present_total, present_heads: the same over the classes that the truth shows, which is what a training chooses by: a
    class that it lacks makes a macro recall fall as soon as one image is taken for it, by chance or not.
    absent: for each head, the class labels that the truth never shows; of an area under a curve, those that it shows
    alone, too. standard_error: of present_total. Of accuracy and macro recall it is by how many images of each class
    there are, as if the heads' answers were independent; the recalls of which it is made are drawn towards that of the
    whole head, or a class with one image would add nothing. Of the others it is a delete-a-group jackknife's.
    is_loss: whether less is better.
    """

    name: str
    total: float
    heads: Mapping[str, float]
    present_total: float
    present_heads: Mapping[str, float]
    absent: Mapping[str, tuple[Label, ...]]
    standard_error: float
    is_loss: bool = False

    @property
    def to_maximise(self) -> float:
        """What a training compares: present_total, negative of a loss."""
        return -self.present_total if self.is_loss else self.present_total

    def as_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return {
            "name": self.name,
            "total": self.total,
            "heads": dict(self.heads),
            "present_total": self.present_total,
            "present_heads": dict(self.present_heads),
            "standard_error": self.standard_error,
            "is_loss": self.is_loss,
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


def is_seen(labels: pd.DataFrame, train: pd.DataFrame) -> NDArray[np.bool_]:
    """Tell of each row of labels, a column per head, whether a train image has the same labels in all heads."""
    heads = list(labels.columns)
    return np.asarray(pd.MultiIndex.from_frame(labels).isin(pd.MultiIndex.from_frame(train[heads])), np.bool_)


def task_score(truth: PerHead, answers: PerHead, task: Task) -> Score:
    """Return the score of the answers to n images.

    truth: for each head, a dense array of data/targets.py; images whose label is missing do not count for that head.
    answers: for each head, as Task.answer has it: class indices int64 (n,), probabilities float (n, classes), class
    indices int64 (n, k) best first, sets bool (n, classes), or numbers float64 (n,). Raises ValueError where no label
    of a head is known.
    """
    of_heads = {head: _of_head(truth[head], answers[head], task, head) for head in task.heads}
    heads = {head: of_head.whole for head, of_head in of_heads.items()}
    present_heads = {head: of_head.present for head, of_head in of_heads.items()}
    absent = {head: tuple(task.heads[head][i] for i in of_head.absent) for head, of_head in of_heads.items()}
    weights = weights_of(task)
    total, present_total = (
        sum(weights[head] * values[head] for head in task.heads) for values in (heads, present_heads)
    )
    error = (_binomial_error if task.score in _OF_HITS else _jackknife_error)(truth, answers, task)
    is_loss = score_kind(task.score).is_loss
    name = score_name(task.score)
    return Score(name, float(total), heads, float(present_total), present_heads, absent, error, is_loss)


def weights_of(task: Task) -> dict[str, float]:
    """Return the share of each head in the score, 1 together."""
    return {head: task.weight(head) / sum(map(task.weight, task.heads)) for head in task.heads}


_OF_HITS = {"accuracy", "macro recall"}  # an image is right or not, and so is an error known without a jackknife


def _of_head(truth: NDArray[Any], answers: NDArray[Any], task: Task, head: str) -> Measured:
    """Return what a head's answers reach. Raises ValueError where none of its labels is known."""
    known = is_known(truth)
    if not known.any():
        raise ValueError(f"{head}: no images to score")
    return measured(task.score, truth[known], answers[known], len(task.heads[head]))


def _binomial_error(truth: PerHead, answers: PerHead, task: Task) -> float:
    weights, variances = weights_of(task), {}
    for head, classes in task.heads.items():
        known = is_known(truth[head])
        images = np.bincount(truth[head][known], minlength=len(classes))
        recall = recall_per_class(truth[head][known], answers[head][known], len(classes))[images > 0]
        variances[head] = _variance(recall, images[images > 0], is_macro=task.score == "macro recall")
    return math.sqrt(sum(weights[head] ** 2 * variances[head] for head in task.heads))


def _jackknife_error(truth: PerHead, answers: PerHead, task: Task) -> float:
    """Return the standard error of present_total by a delete-a-group jackknife; 0 of fewer than two images.

    The groups are drawn with a fixed seed. A head of which a group holds all known labels keeps its value without it.
    P. S. Kott, The Delete-a-Group Jackknife, Journal of Official Statistics 17, 2001.
    """
    images = len(next(iter(truth.values())))
    groups = min(GROUPS, images)
    if groups < 2:
        return 0.0
    group = np.random.default_rng(0).permutation(images) % groups
    weights = weights_of(task)

    def total(left_out: int) -> float:
        value = 0.0
        for head in task.heads:
            rows = (group != left_out) & is_known(truth[head])
            if not rows.any():
                rows = is_known(truth[head])
            value += weights[head] * present_of_draw(
                task.score, truth[head][rows], answers[head][rows], len(task.heads[head])
            )
        return value

    return math.sqrt((groups - 1) * np.var([total(left_out) for left_out in range(groups)]))


def _variance(recall: NDArray[np.float64], images: Indices, *, is_macro: bool) -> float:
    """Return the variance of one head's score, from the recall and the number of images of each class present."""
    whole = (recall @ images + 1) / (images.sum() + 2)
    recall = (recall * images + 2 * whole) / (images + 2)
    shares = np.full(len(images), 1 / len(images)) if is_macro else images / images.sum()
    return float((shares**2 * recall * (1 - recall) / images).sum())
