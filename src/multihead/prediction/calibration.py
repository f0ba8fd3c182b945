"""What the probabilities of an ensemble go through before they are decided (deciding.py).

In this order: each head's prior is divided out (logit_adjustment.py), its temperature taken, which changes no likeliest
class, and the heads are held against the label combinations that train shows (combinations.py). All three are chosen on
answers out of fold, and cost nothing in training.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from multihead.config.scores import Kind
from multihead.config.task import Task
from multihead.data.targets import is_known
from multihead.prediction.combinations import mixed, over_combinations
from multihead.prediction.deciding import decided
from multihead.prediction.logit_adjustment import NO_KINDS, Probabilities, adjusted_heads

TEMPERATURES = tuple(round(1.1**step, 3) for step in range(-16, 14))  # 0.218 to 3.452


NONE: Mapping[str, tuple[float, ...]] = {}


class Calibration(NamedTuple):
    """temperatures, exponents: for each head. combinations_weight: 0 to 1.

    thresholds: for a head of several classes an image, one for each class, or one for all. cut_points: for a head whose
    classes have an order, where each but the first begins. A head that they do not name is decided without them
    (deciding.py).
    """

    temperatures: Mapping[str, float]
    exponents: Mapping[str, float]
    combinations_weight: float
    thresholds: Mapping[str, tuple[float, ...]] = NONE
    cut_points: Mapping[str, tuple[float, ...]] = NONE

    def heads_alone(
        self,
        probabilities: Probabilities,
        counts: Mapping[str, Sequence[int]],
        kinds: Mapping[str, Kind] = NO_KINDS,
    ) -> dict[str, NDArray[np.float32]]:
        """Return float32 (n, classes) for each head, without the prior and with the temperature.

        probabilities: float32 (n, classes), rows of any sum. counts: for each head, the train images of each class.
        kinds: Task.kinds, of the heads that are not softmax; one of numbers stays as it is.
        """
        without_prior = adjusted_heads(probabilities, counts, self.exponents, kinds)
        return {
            head: _tempered_head(rows, self.temperatures[head], kinds.get(head, "softmax"))
            for head, rows in without_prior.items()
        }

    def answers(
        self,
        probabilities: Probabilities,
        counts: Mapping[str, Sequence[int]],
        combinations: NDArray[np.int64],
        kinds: Mapping[str, Kind] = NO_KINDS,
    ) -> dict[str, NDArray[np.float32]]:
        """Return the same mixed with what the heads say together. combinations: int64 (m, heads), class indices."""
        alone = self.heads_alone(probabilities, counts, kinds)
        if not self.combinations_weight:
            return alone
        return mixed(alone, over_combinations(alone, combinations), self.combinations_weight)

    def decided(self, probabilities: Probabilities, task: Task) -> dict[str, NDArray[Any]]:
        """Return what Task.answer asks for, from what heads_alone or answers return (deciding.py)."""
        return decided(probabilities, task, self.thresholds, self.cut_points)


def _tempered_head(rows: NDArray[np.float32], temperature: float, kind: Kind) -> NDArray[np.float32]:
    if kind == "number":
        return rows
    return tempered_logits(rows, temperature) if kind == "sigmoid" else tempered(rows, temperature)


def tempered(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Return float32 (n, classes): each row to the power of 1 / temperature, with a sum of 1.

    It is the softmax of the logits divided by the temperature. C. Guo et al., On Calibration of Modern Neural
    Networks, 2017.
    """
    shares = probabilities / np.maximum(probabilities.max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    powers = shares ** np.float32(1 / temperature)
    return np.asarray(powers / np.maximum(powers.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny), np.float32)


def tempered_logits(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Return float32 (n, classes): the sigmoid of the logits of the probabilities divided by the temperature.

    A probability that float32 has as 1 is taken for the greatest below it.
    """
    if temperature == 1:
        return probabilities
    shares = np.clip(probabilities.astype(np.float64), np.finfo(np.float32).tiny, 1 - 2.0**-25)
    logits = np.log(shares) - np.log1p(-shares)
    return np.asarray(1 / (1 + np.exp(-logits / temperature)), np.float32)


def choose_temperature(probabilities: NDArray[np.float32], truth: NDArray[Any]) -> float:
    """Return which of TEMPERATURES gives the least log loss; of equal ones the smallest, 1 where no label is known.

    Beside the n images as they are, 1 / (n + 2) of each is taken to be of any class, or a few images that are all right
    would make every answer as sure as can be. J. Platt, Probabilistic Outputs for Support Vector Machines, 1999.
    probabilities: float32 (n, classes). truth: of images that the network was not trained on, int64 (n,) class indices
    or, of several classes an image, int8 (n, classes); -1 where it is missing.
    """
    known = is_known(truth)
    if not known.any():
        return 1.0
    rows, truth = probabilities[known], truth[known]
    losses = [_softened_loss(rows, truth, temperature) for temperature in TEMPERATURES]
    return TEMPERATURES[int(np.argmin(np.round(losses, 9)))]


def _softened_loss(rows: NDArray[np.float32], truth: NDArray[Any], temperature: float) -> float:
    of_any = 1 / (len(rows) + 2)
    if truth.ndim == 2:
        answers = tempered_logits(rows, temperature)
        loss, other = binary_log_loss(answers, truth), binary_log_loss(answers, 1 - truth)
        return loss + of_any * (other - loss) / 2
    answers = tempered(rows, temperature)
    loss, of_all = log_loss(answers, truth), _mean_loss(answers)
    return loss + of_any * (of_all - loss)


def log_loss(probabilities: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """Return the mean of -log of the probabilities, float32 (n, classes), of the true classes, int64 (n,)."""
    return _mean_loss(probabilities[np.arange(len(truth)), truth])


def binary_log_loss(probabilities: NDArray[np.float32], truth: NDArray[np.int8]) -> float:
    """Return the mean of -log of the probability, float32 (n, classes), of what is true, int8 (n, classes)."""
    shares = probabilities.astype(np.float64)
    return _mean_loss(np.where(truth > 0, shares, 1 - shares))


def _mean_loss(probabilities: NDArray[Any]) -> float:
    """Return the mean of -log, clipped where the score is."""
    return float(-np.log(np.maximum(probabilities.astype(np.float64), np.finfo(np.float64).eps)).mean())
