"""From probabilities to classes where every class counts the same: the train counts' prior is divided out.

A network learns how often a class is; macro-averaged recall asks for each as if all were as often. Dividing each
probability by its class's train count to the power e, before argmax, takes the frequency back out.

A. K. Menon et al., Long-tail Learning via Logit Adjustment, 2021 (post-hoc).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from multihead.scoring.metrics import present_macro_recall

Probabilities = Mapping[str, NDArray[np.float32]]
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
    probabilities: Probabilities, counts: Mapping[str, Sequence[int]], exponents: Mapping[str, float]
) -> dict[str, NDArray[np.float32]]:
    """Return what `adjusted` does of each head."""
    return {head: adjusted(rows, counts[head], exponents[head]) for head, rows in probabilities.items()}


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
        head: best_exponent(partial(_answers, rows, counts[head]), truth[head], rows.shape[1])
        for head, rows in probabilities.items()
    }


def _answers(rows: NDArray[np.float32], counts: Sequence[int], exponent: float) -> NDArray[np.int64]:
    return np.asarray(adjusted(rows, counts, exponent).argmax(axis=1))


def best_exponent(answers: Callable[[float], NDArray[np.int64]], truth: NDArray[np.int64], classes: int) -> float:
    """Return which of EXPONENTS is best. answers: returns int64 (n,), the classes that are answered with one."""
    scores = [present_macro_recall(truth, answers(exponent), classes) for exponent in EXPONENTS]
    return EXPONENTS[smoothed_best(scores)]


def smoothed_best(scores: Sequence[float]) -> int:
    """Return the place of the best score once each is averaged with its neighbours; of equal ones the first."""
    padded = np.pad(scores, 1, mode="edge")
    return int(np.argmax(np.round((padded[:-2] + padded[1:-1] + padded[2:]) / 3, 9)))
