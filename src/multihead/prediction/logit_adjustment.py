"""From probabilities to classes where every class counts the same: the train counts' prior is divided out.

A network learns how often a class is; macro-averaged recall asks for each as if all were as often. Dividing each
probability by its class's train count to the power e, before argmax, takes the frequency back out.

A. K. Menon et al., Long-tail Learning via Logit Adjustment, 2021 (post-hoc).
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from multihead.config.scores import ONE_OF, Kind
from multihead.data.targets import is_known
from multihead.scoring.measures import present_macro_recall

Probabilities = Mapping[str, NDArray[np.float32]]
Measure = Callable[[NDArray[np.int64], NDArray[np.int64], int], float]  # of truth, answers, number of classes
NO_KINDS: Mapping[str, Kind] = {}
EXPONENTS = tuple(round(0.1 * step, 1) for step in range(13))  # 0 to 1.2


def adjusted(probabilities: NDArray[np.float32], counts: Sequence[int], exponent: float) -> NDArray[np.float32]:
    """Return float32 (n, classes) probabilities / counts**exponent, each row summing up to 1 again.

    A class without train images keeps no probability, unless the exponent is 0: nothing was learned of it.
    """
    divisors = np.asarray(counts, np.float64) ** exponent
    factors = np.divide(1, divisors, out=np.zeros_like(divisors), where=divisors > 0)
    weighted = probabilities * (factors / factors.max()).astype(np.float32)
    return np.asarray(weighted / np.maximum(weighted.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny))


def adjusted_heads(
    probabilities: Probabilities,
    counts: Mapping[str, Sequence[int]],
    exponents: Mapping[str, float],
    kinds: Mapping[str, Kind] = NO_KINDS,
) -> dict[str, NDArray[np.float32]]:
    """Return what `adjusted` does of each head of one class an image; the others have no prior to divide out.

    kinds: Task.kinds, of the heads that are not softmax.
    """
    return {
        head: adjusted(rows, counts[head], exponents[head]) if kinds.get(head, "softmax") in ONE_OF else rows
        for head, rows in probabilities.items()
    }


def choose_exponents(
    probabilities: Probabilities,
    truth: Mapping[str, NDArray[np.int64]],
    counts: Mapping[str, Sequence[int]],
) -> dict[str, float]:
    """Return for each head the exponent with the best macro recall on images that the network was not trained on.

    truth: int64 (n,) class indices. The recall is over the classes that these images show. An exponent's is averaged
    with that of the neighbouring ones, which few images cannot tell apart; of equal ones the smallest is taken.
    """
    return {
        head: choose_exponent(rows, truth[head], counts[head], present_macro_recall)
        for head, rows in probabilities.items()
    }


def choose_exponent(
    rows: NDArray[np.float32], truth: NDArray[np.int64], counts: Sequence[int], measure: Measure
) -> float:
    """Return the exponent of one head that is best in a measure; 0 where no label is known.

    rows: float32 (n, classes). truth: int64 (n,), -1 where the label is missing.
    """
    known = is_known(truth)
    if not known.any():
        return 0.0

    def answers(exponent: float) -> NDArray[np.int64]:
        return np.asarray(adjusted(rows[known], counts, exponent).argmax(axis=1))

    return best_exponent(answers, truth[known], rows.shape[1], measure)


def best_exponent(
    answers: Callable[[float], NDArray[np.int64]],
    truth: NDArray[np.int64],
    classes: int,
    measure: Measure = present_macro_recall,
) -> float:
    """Return which of EXPONENTS is best in a measure.

    answers: returns int64 (n,), the classes that are answered with one. truth: int64 (n,), none missing.
    """
    scores = [measure(truth, answers(exponent), classes) for exponent in EXPONENTS]
    return EXPONENTS[smoothed_best(scores)]


def smoothed_best(scores: Sequence[float] | NDArray[np.float64], preferred: int = 0) -> int:
    """Return the place of the best score once each is averaged with its neighbours; of equal ones the nearest to one.

    preferred: the place that they are to be near; of two as near the first.
    """
    padded = np.pad(scores, 1, mode="edge")
    smooth = np.round((padded[:-2] + padded[1:-1] + padded[2:]) / 3, 9)
    best = np.flatnonzero(smooth == smooth.max())
    return int(best[np.abs(best - preferred).argmin()])
