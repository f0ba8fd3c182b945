"""What is chosen for the score on answers of a network that was not trained on the images: config/scores.py's rules.

Few images decide little: what is chosen is best together with its neighbours on a grid. Of equal thresholds and cut
points it is the nearest to what is done without.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multihead.config.scores import rule_of
from multihead.config.task import Task
from multihead.data.targets import is_known
from multihead.prediction.calibration import Calibration, choose_temperature
from multihead.prediction.deciding import expected_class, sets
from multihead.prediction.exponents import choose_exponent, smoothed_best
from multihead.prediction.logit_adjustment import Probabilities

THRESHOLDS = tuple(round(1 / (1 + math.exp(-step / 5)), 4) for step in range(-25, 16))  # 0.0067 to 0.9526, 0.5 amidst
DEFAULT = THRESHOLDS.index(0.5)
PRIOR_IMAGES = 5  # of a class, as which all classes together count in the choice of its threshold
EDGES_PER_CLASS = 20  # where cut points may lie
ROUNDS = 20  # over all cut points, at most

Truth = Mapping[str, NDArray[Any]]


def choose(task: Task, probabilities: Probabilities, truth: Truth, counts: Mapping[str, Sequence[int]]) -> Calibration:
    """Return what is best for the task's score on n images that the network was not trained on.

    probabilities: for each head, float32 (n, classes), or (n, 1) of a number. truth: for each head, a dense array of
    data/targets.py; where a label is missing, an image chooses nothing for that head. counts: for each head of one
    class an image, the train images of each class. A head for which the score has nothing to choose has temperature 1
    and exponent 0, and is in neither thresholds nor cut_points.
    """
    temperatures, exponents = dict.fromkeys(task.heads, 1.0), dict.fromkeys(task.heads, 0.0)
    for head, rows in probabilities.items():
        rule = rule_of(task.score, task.kind(head))
        if rule == "temperature":
            temperatures[head] = choose_temperature(rows, truth[head])
        elif rule == "prior exponents":
            exponents[head] = choose_exponent(rows, truth[head], counts[head], task.score)
    calibration = Calibration(temperatures, exponents, 0.0)
    thresholds, cut_points = choose_decisions(task, calibration.heads_alone(probabilities, counts, task.kinds), truth)
    return calibration._replace(thresholds=thresholds, cut_points=cut_points)


def choose_decisions(
    task: Task, adjusted: Probabilities, truth: Truth
) -> tuple[dict[str, tuple[float, ...]], dict[str, tuple[float, ...]]]:
    """Return thresholds and cut points of the heads that have such, chosen on what Calibration.heads_alone returns."""
    thresholds, cut_points = {}, {}
    for head, all_rows in adjusted.items():
        rule, known = rule_of(task.score, task.kind(head)), is_known(truth[head])
        rows, of_known = all_rows[known], truth[head][known]
        if not known.any():
            continue
        if rule == "thresholds":
            thresholds[head] = choose_thresholds(task.score, rows, of_known)
        elif rule == "cut points" and (chosen := choose_cut_points(rows, of_known)):
            cut_points[head] = chosen
    return thresholds, cut_points


def choose_thresholds(score: str, rows: NDArray[np.float32], truth: NDArray[np.int8]) -> tuple[float, ...]:
    """Return which of THRESHOLDS are best in an F1 score: macro one for each class, micro and samples one for all.

    rows: float32 (n, classes). truth: int8 (n, classes), none missing. A class's is chosen by its own images and, as if
    they were PRIOR_IMAGES of it, by those of all classes: one with few images gets nearly what is best for all.
    """
    if score == "F1 samples":
        return (_best_threshold(np.array([_f1_of_samples(rows, truth, threshold) for threshold in THRESHOLDS])),)
    hits, answered, images = _counted(rows, truth)
    if score == "F1 micro":
        return (_best_threshold(_f1(hits.sum(axis=0), answered.sum(axis=0), images.sum())),)
    share = PRIOR_IMAGES / max(int(images.sum()), 1)
    return tuple(
        _best_threshold(_f1(of_class[0] + share * hits.sum(axis=0), of_class[1] + share * answered.sum(axis=0), total))
        for *of_class, total in zip(hits, answered, images + share * images.sum(), strict=True)
    )


def _best_threshold(scores: NDArray[np.float64]) -> float:
    return THRESHOLDS[smoothed_best(scores, DEFAULT)]


def _counted(
    rows: NDArray[np.float32], truth: NDArray[np.int8]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return hits and answers of each class with each threshold, int64 (classes, thresholds), and images (classes,)."""

    def over(column: NDArray[np.float32]) -> NDArray[np.int64]:
        below = np.searchsorted(THRESHOLDS, column.astype(np.float64), side="left")  # thresholds that it is over
        return np.cumsum(np.bincount(below, minlength=len(THRESHOLDS) + 1)[::-1])[::-1][1:]

    is_true = truth > 0
    hits = np.array([over(column[of_class]) for column, of_class in zip(rows.T, is_true.T, strict=True)])
    return hits, np.array([over(column) for column in rows.T]), is_true.sum(axis=0)


def _f1(hits: NDArray[Any], answered: NDArray[Any], images: Any) -> NDArray[np.float64]:
    """Return the F1 score, 0 where no image has the class and none is answered with it."""
    return np.asarray(2 * hits / np.maximum(answered + images, 1e-9), np.float64)


def _f1_of_samples(rows: NDArray[np.float32], truth: NDArray[np.int8], threshold: float) -> float:
    answers, is_true = sets(rows, (threshold,), with_likeliest=True), truth > 0
    return float(_f1((answers & is_true).sum(axis=1), answers.sum(axis=1), is_true.sum(axis=1)).mean())


def choose_cut_points(rows: NDArray[np.float32], truth: NDArray[np.int64]) -> tuple[float, ...]:
    """Return where in the expected class each class but the first begins, for the best quadratic kappa; () for argmax.

    rows: float32 (n, classes). truth: int64 (n,), none missing. From k + 0.5 on, one point after the other goes where
    the kappa of a histogram is best, until none does. On the images given it is worse than neither argmax nor the
    start.
    """
    classes = rows.shape[1]
    if classes < 2:
        return ()
    histogram = _Histogram(expected_class(rows), truth, classes)
    start = [EDGES_PER_CLASS * place + EDGES_PER_CLASS // 2 for place in range(classes - 1)]
    places = list(start)
    for _ in range(ROUNDS):
        before = list(places)
        for moved in range(classes - 1):
            places[moved] = histogram.best_place(places, moved)
        if places == before:
            break
    likeliest = kappa_of(truth, rows.argmax(axis=1))
    if histogram.kappa(places) <= likeliest:
        return ()
    return tuple(histogram.edges[place] for place in places)


class _Histogram:
    """How many images there are between two edges, and the sum of their classes: all that a kappa needs.

    edges: the places where a class may begin, EDGES_PER_CLASS for each class but the last.
    """

    def __init__(self, expected: NDArray[np.float64], truth: NDArray[np.int64], classes: int) -> None:
        self.edges = [round(place / EDGES_PER_CLASS, 4) for place in range(EDGES_PER_CLASS * (classes - 1) + 1)]
        bins = np.searchsorted(self.edges, expected, side="right")  # the places of edges that are not above it
        self._images = np.bincount(bins, minlength=len(self.edges) + 1)
        self._classes = np.bincount(bins, truth, minlength=len(self.edges) + 1)
        self._truth = truth

    def kappa(self, places: Sequence[int]) -> float:
        """Return the quadratic kappa where the classes begin at the edges in these places, in order."""
        answered = np.searchsorted(places, np.arange(len(self._images)) - 1, side="right")
        sums = answered @ self._classes, answered @ self._images, answered**2 @ self._images
        return _kappa(self._truth, *map(float, sums))

    def best_place(self, places: Sequence[int], moved: int) -> int:
        """Return the place to which one of some places goes, between those beside it; its own if none is better."""
        low = places[moved - 1] if moved else 0
        high = places[moved + 1] if moved + 1 < len(places) else len(self.edges) - 1
        kappas = [self.kappa([*places[:moved], place, *places[moved + 1 :]]) for place in range(low, high + 1)]
        own = places[moved] - low
        best = smoothed_best(kappas, own)
        return low + best if kappas[best] > kappas[own] + 1e-9 else places[moved]


def kappa_of(truth: NDArray[np.int64], answered: NDArray[np.int64]) -> float:
    """Return the quadratic kappa of answers, as scikit-learn's cohen_kappa_score; 1 where it is not defined."""
    return _kappa(truth, *map(float, (answered @ truth, answered.sum(), answered @ answered)))


def _kappa(truth: NDArray[np.int64], products: float, answers: float, squares: float) -> float:
    """Return 1 - the mean squared difference / that of truth and answers paired at random.

    products, answers, squares: the sums of truth * answer, of the answers and of their squares.
    """
    images, of_truth, squared = len(truth), float(truth.sum()), float(truth @ truth)
    by_chance = squared + squares - 2 * of_truth * answers / images
    return 1 - (squared + squares - 2 * products) / by_chance if by_chance else 1.0
