"""Which power of the prior is divided out of a head's probabilities (logit_adjustment.py), chosen on held-out images.

For macro recall theory has an answer. p ** (1 / T) is calibrated for a temperature T, and divided by the prior it is
the posterior of classes that are equally frequent: it has the same likeliest class as p divided by the prior to the
power of T. That holds where a network is too unsure, of the prior as of all else, as mixed images leave it. One that is
too sure is so of what it has seen, and 1 is taken for its T. A log loss tells T from few images, a recall tells an
exponent from many only: what is looked for is 1 to 1.6 times T, and each counts with its neighbours.

A study finds it on answers of single networks, or of the mean over its seeds, and divides the mean of all by it.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from multihead.data.targets import is_known
from multihead.prediction.calibration import choose_temperature
from multihead.prediction.logit_adjustment import adjusted
from multihead.scoring.measures import present_f1, present_macro_recall

EXPONENTS = tuple(round(0.1 * step, 1) for step in range(13))  # 0 to 1.2, of an F1 score
NEIGHBOURS = 4  # on each side, with which an exponent of macro recall is averaged
WINDOW = np.full(2 * NEIGHBOURS + 1, 1 / (2 * NEIGHBOURS + 1))
TIMES = tuple(round(0.1 * step, 1) for step in range(10 - NEIGHBOURS, 17 + NEIGHBOURS))  # T: 1 to 1.6, and neighbours

Measure = Callable[[NDArray[np.int64], NDArray[np.int64], int], float]  # of truth, answers, number of classes


def choose_exponent(rows: NDArray[np.float32], truth: NDArray[np.int64], counts: Sequence[int], score: str) -> float:
    """Return what best_exponent does of one network.

    rows: float32 (n, classes) with the prior in it. counts: the train images of each class.
    """

    def answers(exponent: float) -> NDArray[np.int64]:
        return np.asarray(adjusted(rows, counts, exponent).argmax(axis=1))

    return best_exponent(answers, truth, rows.shape[1], score, choose_temperature(rows, truth))


def best_exponent(
    answers: Callable[[float], NDArray[np.int64]],
    truth: NDArray[np.int64],
    classes: int,
    score: str,
    temperature: float,
) -> float:
    """Return the exponent that is best for a score, over the classes that some images show; 0 where no label is known.

    answers: returns int64 (n,), the classes that are answered with an exponent, of images that the network was not
    trained on. truth: int64 (n,) class indices, -1 where the label is missing. temperature: of what has the prior in
    it. Of equal exponents the smallest is taken.
    """
    known = is_known(truth)
    if classes < 2 or not known.any():
        return 0.0

    def reached(measure: Measure, exponents: Sequence[float]) -> list[float]:
        return [measure(truth[known], answers(exponent)[known], classes) for exponent in exponents]

    if score == "F1 macro":
        return EXPONENTS[smoothed_best(reached(present_f1, EXPONENTS))]
    exponents = [round(times * min(temperature, 1.0), 3) for times in TIMES]
    means = np.convolve(reached(present_macro_recall, exponents), WINDOW, "valid").round(9)
    return exponents[NEIGHBOURS + int(means.argmax())]


def smoothed_best(scores: Sequence[float] | NDArray[np.float64], preferred: int = 0) -> int:
    """Return the place of the best score once each is averaged with its neighbours; of equal ones the nearest to one.

    preferred: the place that they are to be near; of two as near the first.
    """
    padded = np.pad(scores, 1, mode="edge")
    smooth = np.round((padded[:-2] + padded[1:-1] + padded[2:]) / 3, 9)
    best = np.flatnonzero(smooth == smooth.max())
    return int(best[np.abs(best - preferred).argmin()])
