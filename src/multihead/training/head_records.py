"""What a record keeps of the held-out images of one head: counts, and which few images are shown, by the head's kind.

truth is a dense array of data/targets.py; an image without a label of the head counts nowhere. Images go by their
numbers among the held-out ones until `keep` gives those that are kept a number in Record.images.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from multihead.config.scores import PROBABILITY
from multihead.config.task import Task
from multihead.data.targets import is_known
from multihead.scoring.measures import per_class, recall_per_class

PAIRS, EXAMPLES, MISTAKES = 6, 3, 12  # shown for each head
WORST, BINS = 8, 10  # classes that are shown with images; steps of the probability in a calibration
POINTS = 400  # numbers that are drawn
BLOCK = 4_000_000  # cells of a table of images and classes that are worked on at a time

Keep = Callable[[Any], list[int]]
Counts = NDArray[np.int64]
Array = NDArray[Any]


class Confusion(NamedTuple):
    """How many held-out images of one class were taken for another.

    mistaken, others: numbers in Record.images of some of them, and of some images of that other class.
    """

    truth: int
    answer: int
    images: int
    mistaken: Sequence[int]
    others: Sequence[int]


class Mistake(NamedTuple):
    """A held-out image, by its number in Record.images, whose wrong class got so much probability, its own so much."""

    image: int
    id: str
    truth: int
    answer: int
    probability: float
    of_truth: float


class Worst(NamedTuple):
    """A class with a low recall, and some of its images that were answered wrongly: (number in Record.images, answer).

    The surest answers come first.
    """

    truth: int
    wrong: Sequence[tuple[int, int]]


class OfClasses(NamedTuple):
    """What is kept of a head of which an image has one class. counts, calibration: as Record has them."""

    counts: Counts
    confusions: Sequence[Confusion]
    mistakes: Sequence[Mistake]
    worst: Sequence[Worst]
    calibration: NDArray[np.float64]


class SetMistake(NamedTuple):
    """A held-out image, by its number in Record.images, and a class of that probability that was answered wrongly.

    is_there: whether the image has the class.
    """

    image: int
    id: str
    label: int
    probability: float
    is_there: bool


class WorstOfSets(NamedTuple):
    """A class with a low F1, and some images, by their numbers in Record.images: with it, but answered without (the
    least probable first), and without it, but answered with it (the most probable first).
    """

    label: int
    missed: Sequence[int]
    wrong: Sequence[int]


class Sets(NamedTuple):
    """What is kept of a head of which an image may have several classes.

    images: that have a label. classes: float64 (classes, 4): the images that have each class, those that are answered
    with it, those of both, and the area under a curve, NaN where it has none or the score is not of probabilities.
    area: which area that is, or nothing.
    """

    images: int
    classes: NDArray[np.float64]
    area: str
    mistakes: Sequence[SetMistake]
    worst: Sequence[WorstOfSets]


class NumberMistake(NamedTuple):
    """A held-out image, by its number in Record.images, with a large error."""

    image: int
    id: str
    truth: float
    answer: float


class Numbers(NamedTuple):
    """What is kept of a head of numbers.

    images: that have a label. mean_error, median_error: of the absolute errors. bias: the mean of answer - truth.
    of_median: the mean absolute error of always answering the truth's median. points: (truth, answer) of at most POINTS
    images, evenly over the truth in its order. bins: of each tenth of the images by their truth, the images, the mean
    truth, the mean answer and the mean absolute error.
    """

    images: int
    mean_error: float
    median_error: float
    bias: float
    of_median: float
    points: Sequence[tuple[float, float]]
    bins: Sequence[Sequence[float]]
    mistakes: Sequence[NumberMistake]


def of_classes(truth: Array, answer: Array, shares: Array, ids: Sequence[str], keep: Keep) -> OfClasses:
    """Return what is kept of n images: int64 (n,) class indices, and float32 (n, classes) probabilities."""
    known = np.flatnonzero(is_known(truth))
    pairs, images = np.unique(np.stack([truth[known], answer[known]], 1), axis=0, return_counts=True)
    counts = np.asarray(np.concatenate([pairs, images[:, None]], 1), np.int64)
    of_answer = shares[np.arange(len(shares)), answer]
    sure = known[np.argsort(-of_answer[known], kind="stable")]
    wrong = sure[truth[sure] != answer[sure]]
    right = sure[truth[sure] == answer[sure]]
    confusions = [
        Confusion(
            *pair,
            keep(wrong[(truth[wrong] == pair[0]) & (answer[wrong] == pair[1])][:EXAMPLES]),
            keep(np.concatenate([rows[truth[rows] == pair[1]] for rows in (right, wrong)])[:EXAMPLES]),
        )
        for pair in most_confused(counts)[:PAIRS]
    ]
    mistakes = [
        Mistake(
            number,
            ids[row],
            int(truth[row]),
            int(answer[row]),
            round(float(of_answer[row]), 4),
            round(float(shares[row, truth[row]]), 4),
        )
        for number, row in zip(keep(wrong[:MISTAKES]), wrong[:MISTAKES].tolist(), strict=True)
    ]
    recall, images_of = recalls(counts, shares.shape[1])
    worst = [
        Worst(i, list(zip(keep(rows := wrong[truth[wrong] == i][:EXAMPLES]), answer[rows].tolist(), strict=True)))
        for i in worst_first(recall, images_of)[:WORST]
        if recall[i] < 1
    ]
    calibration = _calibration(of_answer[known], truth[known] == answer[known])
    return OfClasses(counts, confusions, mistakes, worst, calibration)


def of_sets(
    truth: Array, answers: Array, shares: Array, ids: Sequence[str], task: Task, keep: Keep
) -> tuple[Sets, NDArray[np.float64]]:
    """Return what is kept of n images, and the calibration of all classes together.

    truth: int8 (n, classes). answers: bool (n, classes). shares: float32 (n, classes), probabilities.
    """
    known = is_known(truth)
    is_there = truth > 0
    areas, area = np.full(shares.shape[1], np.nan), ""
    if task.answer == PROBABILITY:
        of_each = per_class(task.score, truth[known], shares[known], shares.shape[1])
        areas, area = of_each.values, of_each.name
    answered = answers & known[:, None]
    classes = np.stack([is_there.sum(0), answered.sum(0), (is_there & answered).sum(0), areas], 1).astype(np.float64)
    mistakes = []
    for there in (True, False):
        rows, labels = _surest_mistakes(truth, answers, shares, there)
        mistakes += [
            SetMistake(number, ids[row], label, round(float(shares[row, label]), 4), there)
            for number, row, label in zip(keep(rows), rows.tolist(), labels.tolist(), strict=True)
        ]
    f1 = f1_per_class(classes)
    worst = []
    for label in worst_first(f1, classes[:, 0])[:WORST]:
        if f1[label] < 1:
            order = np.argsort(shares[:, label], kind="stable")
            missed = order[is_there[order, label] & ~answers[order, label]]
            wrong = order[(truth[order, label] == 0) & answers[order, label]][::-1]
            worst.append(WorstOfSets(label, keep(missed[:EXAMPLES]), keep(wrong[:EXAMPLES])))
    blocks = (rows[known[rows]] for rows in _blocks(shares))
    calibration = sum((_calibration(shares[rows].ravel(), is_there[rows].ravel()) for rows in blocks), _no_bins())
    return Sets(int(known.sum()), classes, area, mistakes, worst), calibration


def of_numbers(truth: Array, answers: Array, ids: Sequence[str], keep: Keep) -> Numbers:
    """Return what is kept of n images. truth, answers: float64 (n,)."""
    known = np.flatnonzero(is_known(truth))
    order = known[np.argsort(truth[known], kind="stable")]
    errors = np.abs(answers - truth)
    drawn = order[np.unique(np.linspace(0, len(order) - 1, POINTS).round().astype(np.int64))]
    largest = known[np.argsort(-errors[known], kind="stable")][:MISTAKES]
    tenths = [rows for rows in np.array_split(order, BINS) if len(rows)]
    return Numbers(
        len(known),
        float(errors[known].mean()),
        float(np.median(errors[known])),
        float((answers - truth)[known].mean()),
        float(np.abs(truth[known] - np.median(truth[known])).mean()),
        list(zip(truth[drawn].tolist(), answers[drawn].tolist(), strict=True)),
        [[len(rows), *(float(values[rows].mean()) for values in (truth, answers, errors))] for rows in tenths],
        [
            NumberMistake(number, ids[row], float(truth[row]), float(answers[row]))
            for number, row in zip(keep(largest), largest.tolist(), strict=True)
            if errors[row] > 0
        ],
    )


def recalls(counts: Counts, classes: int) -> tuple[NDArray[np.float64], Counts]:
    """Return each class's recall, nan where it has no image, and its images, from Record.counts."""
    truth, answer = np.repeat(counts[:, :2], counts[:, 2], axis=0).T
    return recall_per_class(truth, answer, classes), np.bincount(truth, minlength=classes)


def f1_per_class(classes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the F1 of each class, float64 (classes,), NaN where no image has it, from Sets.classes."""
    there, answered, both = classes[:, :3].T
    f1 = np.full(len(classes), np.nan)
    np.divide(2 * both, there + answered, out=f1, where=there > 0)
    return f1


def worst_first(values: NDArray[np.float64], images: Array) -> list[int]:
    """Return the classes with images by their recall or F1; of equal ones, that of the most images first."""
    return [int(i) for i in np.lexsort([-images, values]) if images[i]]


def most_confused(counts: Counts) -> list[tuple[int, int, int]]:
    """Return of Record.counts the rows of wrong answers, as plain numbers, those of the most images first."""
    wrong = counts[counts[:, 0] != counts[:, 1]]
    return [tuple(row) for row in wrong[np.lexsort([wrong[:, 1], wrong[:, 0], -wrong[:, 2]])].tolist()]


def _surest_mistakes(truth: Array, answers: Array, shares: Array, is_there: bool) -> tuple[Counts, Counts]:
    """Return the images with the surest wrong answers, and the class of each, of classes that are there or are not.

    Each image comes once.
    """
    classes, sureness = np.zeros(len(shares), np.int64), np.full(len(shares), -1.0)
    for rows in _blocks(shares):
        is_wrong = (truth[rows] == is_there) & (answers[rows] != is_there)
        distances = np.where(is_wrong, np.abs(shares[rows] - np.float32(is_there)), -1)
        classes[rows], sureness[rows] = distances.argmax(axis=1), distances.max(axis=1)
    surest = np.argsort(-sureness, kind="stable")[:MISTAKES]
    surest = surest[sureness[surest] >= 0]
    return surest, classes[surest]


def _blocks(rows: Array) -> Iterator[Counts]:
    """Yield the numbers of all rows, some at a time, so that what is made of them stays small."""
    length = max(1, BLOCK // rows.shape[1])
    yield from (np.arange(first, min(first + length, len(rows))) for first in range(0, len(rows), length))


def _calibration(probabilities: Array, is_right: NDArray[np.bool_]) -> NDArray[np.float64]:
    places = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
    columns = (None, probabilities.astype(np.float64), is_right.astype(np.float64))
    return np.stack([np.bincount(places, weights, BINS).astype(np.float64) for weights in columns], 1)


def _no_bins() -> NDArray[np.float64]:
    return np.zeros((BINS, 3))
