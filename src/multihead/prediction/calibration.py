"""What the probabilities of an ensemble go through before the likeliest class is its answer.

In this order: each head's prior is divided out (logit_adjustment.py), its temperature taken, which changes no likeliest
class, and the heads are held against the label combinations that train shows (combinations.py). All three are chosen on
answers out of fold, and cost nothing in training.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from multihead.prediction.combinations import mixed, over_combinations
from multihead.prediction.logit_adjustment import Probabilities, adjusted_heads

TEMPERATURES = tuple(round(1.1**step, 3) for step in range(-16, 14))  # 0.218 to 3.452


class Calibration(NamedTuple):
    """temperatures, exponents: for each head. combinations_weight: 0 to 1."""

    temperatures: Mapping[str, float]
    exponents: Mapping[str, float]
    combinations_weight: float

    def heads_alone(
        self, probabilities: Probabilities, counts: Mapping[str, Sequence[int]]
    ) -> dict[str, NDArray[np.float32]]:
        """Return float32 (n, classes) for each head, without the prior and with the temperature.

        probabilities: float32 (n, classes), rows of any sum. counts: for each head, the train images of each class.
        """
        without_prior = adjusted_heads(probabilities, counts, self.exponents)
        return {head: tempered(rows, self.temperatures[head]) for head, rows in without_prior.items()}

    def answers(
        self, probabilities: Probabilities, counts: Mapping[str, Sequence[int]], combinations: NDArray[np.int64]
    ) -> dict[str, NDArray[np.float32]]:
        """Return the same mixed with what the heads say together. combinations: int64 (m, heads), class indices."""
        alone = self.heads_alone(probabilities, counts)
        if not self.combinations_weight:
            return alone
        return mixed(alone, over_combinations(alone, combinations), self.combinations_weight)


def tempered(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Return float32 (n, classes): each row to the power of 1 / temperature, with a sum of 1.

    It is the softmax of the logits divided by the temperature. C. Guo et al., On Calibration of Modern Neural
    Networks, 2017.
    """
    shares = probabilities / np.maximum(probabilities.max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    powers = shares ** np.float32(1 / temperature)
    return np.asarray(powers / np.maximum(powers.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny), np.float32)


def choose_temperature(probabilities: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """Return which of TEMPERATURES gives the least log loss; of equal ones the smallest.

    probabilities: float32 (n, classes). truth: int64 (n,) class indices, of images that the network was not trained on.
    """
    losses = [log_loss(tempered(probabilities, temperature), truth) for temperature in TEMPERATURES]
    return TEMPERATURES[int(np.argmin(np.round(losses, 9)))]


def log_loss(probabilities: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """Return the mean of -log of the probabilities, float32 (n, classes), of the true classes, int64 (n,)."""
    of_truth = np.maximum(probabilities[np.arange(len(truth)), truth], np.finfo(np.float32).tiny)
    return float(-np.log(of_truth, dtype=np.float64).mean())
