"""Answers by the label combinations that train shows: most of those that it does not show do not exist."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from multihead.prediction.logit_adjustment import Probabilities

SHARES = 2**22  # at a time, an image's share of a combination each, float64
WEIGHTS = tuple(round(0.1 * step, 1) for step in range(11))  # 0 to 1


def combinations_of(truth: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the different label combinations of n images, int64 (m, heads), of those that lack no label.

    truth: for each head, int64 (n,) class indices, below 0 where one is missing.
    """
    rows = np.stack(list(truth.values()), axis=1)
    return np.asarray(np.unique(rows[(rows >= 0).all(axis=1)], axis=0))


def over_combinations(probabilities: Probabilities, combinations: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
    """Return for each head float32 (n, classes): what the heads say together if only the combinations can be.

    A combination's share is the product of its classes' probabilities, divided by the sum of all shares; a class has
    the sum of those that it is in. probabilities: float32 (n, classes), as the score takes them. combinations: int64
    (m, heads). Where every share is 0, the heads stand as they are.
    """
    answers = {head: np.array(rows, np.float32) for head, rows in probabilities.items()}
    at_a_time = max(1, SHARES // max(1, len(combinations)))
    for start in range(0, len(next(iter(answers.values()))), at_a_time):
        rows = slice(start, start + at_a_time)
        shares = np.ones((), np.float64)
        for of_head, classes in zip(probabilities.values(), combinations.T, strict=True):
            shares = shares * of_head[rows, classes].astype(np.float64)
        total = shares.sum(axis=1, keepdims=True)
        shares = np.divide(shares, total, out=np.zeros_like(shares), where=total > 0)
        for (head, of_head), classes in zip(answers.items(), combinations.T, strict=True):
            is_in = classes[:, None] == np.arange(of_head.shape[1])
            answers[head][rows] = np.where(total > 0, shares @ is_in, of_head[rows])
    return answers


def mixed(alone: Probabilities, together: Probabilities, weight: float) -> dict[str, NDArray[np.float32]]:
    """Return (1 - weight) * what the heads say alone + weight * what they say together, float32 (n, classes) each."""
    return {head: np.float32(1 - weight) * rows + np.float32(weight) * together[head] for head, rows in alone.items()}
