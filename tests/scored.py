"""Tasks of one head for each score, and answers to it drawn at random."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multihead.config.scores import KINDS, ONE_OF, SCORES, Kind, score_kind
from multihead.config.task import Task
from multihead.prediction.deciding import decided
from tests.built_in import DIGITS

EVERY = [(score, kind) for score in SCORES for kind in KINDS if kind in score_kind(score).answers]


def task_of(score: str, kind: Kind, classes: int = 6) -> Task:
    labels = () if kind == "number" else tuple(range(classes))
    answer = score_kind(score).answers[kind]
    return replace(DIGITS, heads={"head": labels}, kinds={"head": kind}, score=score, answer=answer)


def drawn_truth(rng: np.random.Generator, kind: Kind, images: int, classes: int = 6) -> NDArray[Any]:
    if kind == "number":
        return rng.normal(3, 2, images)
    if kind in ONE_OF:
        return rng.integers(0, classes, images)
    return (rng.random((images, classes)) < 0.4).astype(np.int8)


def drawn_answers(rng: np.random.Generator, task: Task, truth: NDArray[Any], noise: float = 1.5) -> NDArray[Any]:
    """Return what a network that often finds the truth answers."""
    classes, kind = len(task.heads["head"]), task.kind("head")
    if kind == "number":
        return np.asarray(truth + rng.normal(0, noise, len(truth)))
    hot = truth[:, None] == np.arange(classes) if truth.ndim == 1 else truth > 0
    powers = np.exp(hot * 2 - 1 + rng.normal(0, noise, hot.shape))
    rows = powers / powers.sum(axis=1, keepdims=True) if kind in ONE_OF else powers / (1 + powers)
    return decided({"head": rows.astype(np.float32)}, task, {}, {})["head"]


def without_labels(truth: NDArray[Any], rows: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the truth with the labels of some rows missing."""
    missing = truth.copy()
    missing[rows] = np.nan if truth.dtype.kind == "f" else -1
    return missing
