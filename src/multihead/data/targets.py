"""The labels of a head as arrays: the truth that answers are held against, and the targets of a training."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.config.scores import Kind
from multihead.config.task import Task
from multihead.data.labels import MISSING, is_without_label

BINS = 10  # of numbers, to draw evenly over them

Targets = dict[str, NDArray[np.float32]]


def dense(labels: NDArray[Any], width: int, kind: Kind) -> NDArray[Any]:
    """Return the truth of n labels as they stand in a table (labels.py).

    Of a class each, int64 (n,); of several, int8 (n, width) of 1 and 0; of a number, float64 (n,). Where it is missing,
    it is MISSING, of several in the whole row, or NaN.
    """
    if kind == "number":
        return np.asarray(labels, np.float64)
    if kind != "sigmoid":
        return np.asarray(labels, np.int64)
    rows = np.zeros((len(labels), width), np.int8)
    sizes, chosen = _flat(labels)
    rows[np.repeat(np.arange(len(labels)), np.maximum(sizes, 0)), chosen] = 1
    rows[sizes < 0] = MISSING
    return rows


def _flat(sets: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the sizes of n sets of class indices, int64 (n,), MISSING where one is missing, and their members."""
    known = [chosen if isinstance(chosen, tuple) else None for chosen in sets]
    sizes = np.array([MISSING if chosen is None else len(chosen) for chosen in known], np.int64)
    return sizes, np.fromiter(chain.from_iterable(chosen for chosen in known if chosen), np.int64)


def truth_of(labels: Mapping[str, NDArray[Any]] | pd.DataFrame, task: Task) -> dict[str, NDArray[Any]]:
    """Return what dense does of each head."""
    return {head: dense(np.asarray(labels[head]), task.width(head), task.kind(head)) for head in task.heads}


def is_known(truth: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell of each row of a truth whether it is there, bool (n,)."""
    if truth.dtype.kind == "f":
        return np.asarray(np.isfinite(truth))
    return np.asarray((truth >= 0).all(axis=1) if truth.ndim > 1 else truth >= 0)


def targets_of(labels: Mapping[str, NDArray[Any]], widths: Mapping[str, int], kinds: Mapping[str, Kind]) -> Targets:
    """Return what a network is to say of n labels, float32 (n, outputs) for each head; NaN in a row without one.

    One of several classes is 1 of all; of several, each is 1; of classes in an order, 1 for each that is exceeded; a
    number stands for itself.
    """
    return {head: _targets(labels[head], widths[head], kinds.get(head, "softmax")) for head in labels}


def _targets(labels: NDArray[Any], width: int, kind: Kind) -> NDArray[np.float32]:
    truth = dense(labels, width, kind)
    if kind == "number":
        return truth[:, None].astype(np.float32)
    if kind == "sigmoid":
        targets = truth.astype(np.float32)
    elif kind == "ordinal":
        targets = (truth[:, None] > np.arange(width - 1)).astype(np.float32)
    else:
        targets = np.zeros((len(truth), width), np.float32)
        targets[np.arange(len(truth)), truth] = 1
    targets[~is_known(truth)] = np.nan
    return targets


def soft_targets_of(probabilities: Mapping[str, NDArray[np.float32]], kinds: Mapping[str, Kind]) -> Targets:
    """Return what a network is to say of n images whose labels are probabilities, {head: float32 (n, width)}."""
    above = {head: 1 - np.cumsum(rows, axis=1)[:, :-1] for head, rows in probabilities.items()}
    return {
        head: np.asarray(np.clip(above[head], 0, 1) if kinds.get(head) == "ordinal" else rows, np.float32)
        for head, rows in probabilities.items()
    }


def strata_of(labels: pd.DataFrame, task: Task) -> pd.DataFrame:
    """Return int64 numbers by which images are drawn evenly, a column per head: classes, sets of them, tenths.

    A missing label is a number of its own.
    """
    return pd.DataFrame({head: _strata(labels[head], task.kind(head)) for head in task.heads}, index=labels.index)


def _strata(labels: "pd.Series[Any]", kind: Kind) -> NDArray[np.int64]:
    if kind == "number":
        tenths = pd.qcut(labels, BINS, labels=False, duplicates="drop")
        return np.asarray(tenths.fillna(BINS).to_numpy(), np.int64)
    if kind == "sigmoid":
        known = sorted({chosen for chosen in labels if isinstance(chosen, tuple)})
        numbers = {chosen: number for number, chosen in enumerate(known)}
        return np.array([numbers.get(chosen, len(known)) for chosen in labels], np.int64)
    return np.asarray(labels + int((labels < 0).any()), np.int64)


def balancing_weights(labels: pd.DataFrame, task: Task) -> "pd.Series[float]":
    """Return by image id the weight to draw each image with, 1 / sqrt(k), where k images have its rarest label.

    The rarest is that of any head; sets of classes count as such, numbers by tenths, missing labels not at all. This is
    the square-root sampling of B. Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition,
    2020, for several heads.
    """
    images = {}
    for head, strata in strata_of(labels, task).items():
        known = strata.mask(is_without_label(labels[str(head)]))
        images[head] = known.map(known.value_counts())
    return pd.DataFrame(images).min(axis=1) ** -0.5


def counts_of(labels: pd.DataFrame, task: Task) -> dict[str, tuple[int, ...]]:
    """Return for each head how many images have each of its classes; () of numbers."""
    return {head: tuple(_counts(labels[head].to_numpy(), task, head)[0].tolist()) for head in task.heads}


def _counts(labels: NDArray[Any], task: Task, head: str) -> tuple[NDArray[np.int64], int]:
    """Return how many images have each class, and how many labels are known."""
    width = task.width(head)
    if task.kind(head) == "sigmoid":  # thousands of classes have no room in a dense array
        sizes, chosen = _flat(labels)
        return np.bincount(chosen, minlength=width), int((sizes >= 0).sum())
    truth = dense(labels, width, task.kind(head))
    known = truth[is_known(truth)]
    return (np.bincount(known, minlength=width) if task.is_one_of(head) else np.zeros(0, np.int64)), len(known)


def priors_of(labels: pd.DataFrame, task: Task) -> dict[str, tuple[float, ...]]:
    """Return for each head what is said of an image of which nothing is known, as wide as an answer.

    It is the share of the images that have each class, or the median number.
    """
    found: dict[str, tuple[float, ...]] = {}
    for head in task.heads:
        if task.kind(head) == "number":
            known = labels[head].dropna()
            found[head] = (float(known.median()) if len(known) else 0.0,)
        else:
            counts, images = _counts(labels[head].to_numpy(), task, head)
            found[head] = tuple((counts / max(1, images)).tolist())
    return found


def units_of(labels: pd.DataFrame, task: Task) -> dict[str, tuple[float, float, float, float]]:
    """Return for each head of numbers their mean and standard deviation, 1 where all are the same, least and most."""
    numbers = {head: labels[head].dropna().to_numpy(np.float64) for head in task.heads if task.kind(head) == "number"}
    return {
        head: (float(of.mean()), float(of.std()) or 1.0, float(of.min()), float(of.max()))
        for head, of in numbers.items()
        if len(of)
    }
