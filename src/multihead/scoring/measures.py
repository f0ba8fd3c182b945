"""What the answers to one head are worth, by scikit-learn's functions where it has them.

truth is a dense array of data/targets.py without missing rows, and answers are as the score takes them: class indices
int64 (n,); probabilities float (n, classes); class indices int64 (n, k), best first, -1 for none; sets of classes bool
(n, classes); numbers float64 (n,). scikit-learn takes a second to import, so only the functions that need it do.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.config.scores import ranked_classes

Indices = NDArray[np.int64]
Array = NDArray[Any]
Pair = tuple[float, float]
CHANCE = 0.5  # the area under a ROC curve of which the images tell nothing


class Measured(NamedTuple):
    """whole: as a competition computes it. present: over the classes that the truth shows. absent: the others."""

    whole: float
    present: float
    absent: tuple[int, ...]


class PerClass(NamedTuple):
    """What is reached in each class of a head. name: of the measure. images: int64 (classes,), that the truth shows of
    it. values: float64 (classes,), NaN where there is none.
    """

    name: str
    images: Indices
    values: NDArray[np.float64]


def measured(score: str, truth: Array, answers: Array, classes: int) -> Measured:
    """Return what a head's answers reach in a score. classes: how many the head has; 0 or 1 of a number.

    A class whose column has no area under a curve, as the truth shows it nowhere or alone, is `absent` in ROC AUC and
    average precision: the mean is over the others, where a grader would fail.
    """
    ranked = ranked_classes(score)
    whole, present = _at_k(ranked, truth, answers) if ranked else MEASURES[score](truth, answers, classes)
    images = images_per_class(truth, classes)
    is_absent = (images == 0) | (images == len(truth)) if score in _OF_COLUMNS else images == 0
    return Measured(float(whole), float(present), tuple(np.flatnonzero(is_absent).tolist()))


def present_of_draw(score: str, truth: Array, answers: Array, classes: int) -> float:
    """Return `present` of measured, for hundreds of draws of the images: by plain formulas where these are much faster.

    scikit-learn checks and converts each column; of 100 classes that takes seconds for what these do in milliseconds.
    """
    if truth.ndim == 2 and score in _F1_OF_SETS:
        return _f1_of_draw(score, truth > 0, answers)
    if truth.ndim == 2 and score == "log loss":
        of_truth = np.where(truth > 0, answers, 1 - answers.astype(np.float64))
        return float(-np.log(np.maximum(of_truth, np.finfo(np.float64).eps)).mean())
    if score in ("ROC AUC", "ROC AUC weighted"):
        return _roc_auc_of_draw(truth, answers, classes, is_weighted=score == "ROC AUC weighted")
    return measured(score, truth, answers, classes).present


def _f1_of_draw(score: str, is_true: NDArray[np.bool_], answers: NDArray[np.bool_]) -> float:
    if score == "F1 macro":
        shown = is_true.any(axis=0)
        is_true, answers = is_true[:, shown], answers[:, shown]
    if not is_true.any():
        return 0.0
    axis = 1 if score == "F1 samples" else 0
    hits, counted = (is_true & answers).sum(axis=axis), is_true.sum(axis=axis) + answers.sum(axis=axis)
    if score == "F1 micro":
        return float(2 * hits.sum() / counted.sum())
    return float((2 * hits / np.maximum(counted, 1)).mean())


def _roc_auc_of_draw(truth: Array, rows: Array, classes: int, *, is_weighted: bool) -> float:
    """Return the mean area from the ranks of the images, each of equal ones with their mean rank.

    H. B. Mann, D. R. Whitney, On a Test of Whether one of Two Random Variables is Stochastically Larger, 1947.
    """
    is_true = one_hot(truth, classes)
    images = is_true.sum(axis=0)
    shown = (images > 0) & (images < len(rows)) & ((np.arange(classes) > 0) | (truth.ndim == 2) | (classes != 2))
    if not shown.any():
        return CHANCE
    images, ranks = images[shown], pd.DataFrame(rows[:, shown]).rank().to_numpy()
    above = (ranks * is_true[:, shown]).sum(axis=0) - images * (images + 1) / 2
    areas = above / (images * (len(rows) - images))
    return float(np.average(areas, weights=images if is_weighted else None))


def per_class(score: str, truth: Array, answers: Array, classes: int) -> PerClass:
    """Return what each class reaches: recall of labels, F1 of sets, the area under a curve of probabilities.

    Of a ranking it is the share of a class's images in whose ranking it stands. A number has no classes. The curve is
    the ROC unless the score is the average precision.
    """
    images = images_per_class(truth, classes)
    if truth.dtype.kind == "f":
        return PerClass("", images, np.zeros(0))
    values = np.full(classes, np.nan)
    if ranked_classes(score):
        is_true, is_ranked = one_hot(truth, classes), _is_ranked(answers, classes)
        np.divide((is_true & is_ranked).sum(axis=0), images, out=values, where=images > 0)
        return PerClass(score.replace("MAP", "recall"), images, values)
    if answers.dtype.kind == "f":
        name = score if score == "average precision" else "ROC AUC"
        for column, area in _areas(name, truth, answers, range(classes)):
            values[column] = area
        return PerClass(name, images, values)
    if answers.ndim == 1:
        return PerClass("recall", images, recall_per_class(truth, answers, classes))
    shown = np.flatnonzero(images)
    if len(shown):
        values[shown] = _f1_of(truth, answers, None, shown)
    return PerClass("F1", images, values)


def images_per_class(truth: Array, classes: int) -> Indices:
    """Return int64 (classes,): how many images have each class; of a number (0,)."""
    if truth.dtype.kind == "f":
        return np.zeros(0, np.int64)
    return np.bincount(truth, minlength=classes) if truth.ndim == 1 else (truth > 0).sum(axis=0)


def one_hot(truth: Array, classes: int) -> NDArray[np.bool_]:
    """Return bool (n, classes): whether an image has a class."""
    return truth[:, None] == np.arange(classes) if truth.ndim == 1 else truth > 0


def recall_per_class(truth: Indices, predicted: Indices, classes: int) -> NDArray[np.float64]:
    """Return float64 (classes,): the share of each class's images that were predicted so; nan where it has none."""
    hits = np.bincount(truth[truth == predicted], minlength=classes)
    images = np.bincount(truth, minlength=classes)
    recall = np.full(classes, np.nan)
    np.divide(hits, images, out=recall, where=images > 0)
    return recall


def macro_recall(truth: Indices, predicted: Indices, classes: int) -> float:
    """Return the mean recall of the classes that truth or prediction show; one that the truth lacks counts as 0.

    It is scikit-learn's recall_score(average="macro"), by which the competition scores.
    """
    present, counted = np.unique(truth), np.union1d(truth, predicted)
    return present_macro_recall(truth, predicted, classes) * (len(present) / len(counted))


def present_macro_recall(truth: Indices, predicted: Indices, classes: int) -> float:
    """Return the mean recall of the classes that the truth shows: scikit-learn's balanced_accuracy_score."""
    return float(np.nanmean(recall_per_class(truth, predicted, classes)))


def present_f1(truth: Array, answers: Array, classes: int) -> float:
    """Return the macro F1 score over the classes that the truth shows; 0 where it shows none."""
    shown = np.flatnonzero(images_per_class(truth, classes))
    return float(_f1_of(truth, answers, "macro", shown)) if len(shown) else 0.0


def _f1(truth: Array, answers: Array, classes: int, *, average: str) -> Pair:
    counted = np.union1d(truth, answers) if truth.ndim == 1 else np.arange(classes)
    whole = float(_f1_of(truth, answers, average, counted))
    if average != "macro":  # where a wrong answer counts once, of whichever class it is
        return whole, whole
    return whole, present_f1(truth, answers, classes)


def _f1_of(truth: Array, answers: Array, average: str | None, labels: Indices) -> Any:
    """Return scikit-learn's F1 score over some classes, of sets too if there is one class only."""
    from sklearn.metrics import f1_score

    if truth.ndim == 2:  # one column would be taken for two classes
        truth, answers = (np.pad(sets, ((0, 0), (0, 1))).astype(np.int8) for sets in (truth, answers))
    return f1_score(truth, answers, labels=labels, average=average, zero_division=0)


def _accuracy(truth: Indices, predicted: Indices, _classes: int) -> Pair:
    share = float((truth == predicted).mean())
    return share, share


def _macro_recalls(truth: Indices, predicted: Indices, classes: int) -> Pair:
    return macro_recall(truth, predicted, classes), present_macro_recall(truth, predicted, classes)


def _balanced_accuracy(truth: Indices, predicted: Indices, classes: int) -> Pair:
    recall = present_macro_recall(truth, predicted, classes)
    return recall, recall


def log_loss(truth: Array, probabilities: Array, classes: int) -> float:
    """Return the mean of -log of the probability of what is true, clipped to float64's precision.

    Of one class an image each row is divided by its sum first; of several it is the mean over classes of the binary
    log loss. The probabilities are taken for float64, as a grader reads them from a file.
    """
    from sklearn.metrics import log_loss as of_rows

    rows = probabilities.astype(np.float64)
    if truth.ndim == 2:
        return float(of_rows(truth.ravel(), rows.ravel(), labels=[0, 1]))
    if classes == 1:
        return 0.0
    sums = rows.sum(axis=1, keepdims=True)
    shares = np.divide(rows, sums, out=np.full_like(rows, 1 / classes), where=sums > 0)
    return float(of_rows(truth, shares, labels=np.arange(classes)))


def _log_losses(truth: Array, probabilities: Array, classes: int) -> Pair:
    loss = log_loss(truth, probabilities, classes)
    return loss, loss


def _areas(name: str, truth: Array, probabilities: Array, columns: range) -> Iterator[tuple[int, float]]:
    """Yield the area under a curve of each column that is true of some images, but not of all."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    area = average_precision_score if name == "average precision" else roc_auc_score
    is_true = one_hot(truth, probabilities.shape[1])
    for column in columns:
        if 0 < is_true[:, column].sum() < len(is_true):
            yield column, float(area(is_true[:, column], probabilities[:, column]))


def _mean_area(
    truth: Array, probabilities: Array, classes: int, *, name: str = "ROC AUC", is_weighted: bool = False, chance: float
) -> Pair:
    """Return the mean over the columns that have an area, of one of two classes that of the last; else `chance`."""
    is_binary = truth.ndim == 1 and classes == 2
    areas = dict(_areas(name, truth, probabilities, range(1 if is_binary else 0, classes)))
    images = images_per_class(truth, classes)[list(areas)] if is_weighted else None
    mean = float(np.average(list(areas.values()), weights=images)) if areas else chance
    return mean, mean


def _kappa(truth: Indices, predicted: Indices, classes: int) -> Pair:
    """Return Cohen's kappa with quadratic weights, of classes as far apart as their indices are.

    1 where truth and answers are one and the same class throughout, where it is not defined.
    """
    from sklearn.metrics import cohen_kappa_score

    if (truth == truth[0]).all() and (predicted == truth[0]).all():
        return 1.0, 1.0
    kappa = float(cohen_kappa_score(truth, predicted, labels=np.arange(classes), weights="quadratic"))
    return kappa, kappa


def _at_k(k: int, truth: Array, ranking: Indices) -> Pair:
    """Return the mean average precision at k: the sum of the precisions at each hit / min(k, classes of the image).

    Of one class an image it is 1 / its place. A class that is repeated in a ranking counts once; an image without any
    class counts as 0. The competition humpback-whale-identification scores by it.
    """
    ranking = ranking[:, :k]
    hits, total = np.zeros(len(truth)), np.zeros(len(truth))
    for place, answered in enumerate(ranking.T):
        is_new = (answered >= 0) & ~(ranking[:, :place] == answered[:, None]).any(axis=1)
        is_true = truth == answered if truth.ndim == 1 else truth[np.arange(len(truth)), answered] > 0
        hits += is_new & is_true
        total += (is_new & is_true) * hits / (place + 1)
    most = np.ones(len(truth)) if truth.ndim == 1 else np.clip((truth > 0).sum(axis=1), 1, k)
    mean = float((total / most).mean())
    return mean, mean


def _is_ranked(ranking: Indices, classes: int) -> NDArray[np.bool_]:
    """Return bool (n, classes): whether a class stands in an image's ranking."""
    is_ranked = np.zeros((len(ranking), classes + 1), np.bool_)
    is_ranked[np.arange(len(ranking))[:, None], ranking] = True  # -1, none, is the last column
    return is_ranked[:, :classes]


def _of_numbers(truth: Array, answers: Array, _classes: int, *, name: str) -> Pair:
    from sklearn import metrics

    if name == "r2_score" and len(truth) < 2:  # of one image it is not defined
        return 0.0, 0.0
    value = float(getattr(metrics, name)(truth, answers))
    return value, value


Measure = Callable[[Array, Array, int], Pair]  # of a head's truth, answers and number of classes: whole, and present
MEASURES: Mapping[str, Measure] = {
    "accuracy": _accuracy,
    "balanced accuracy": _balanced_accuracy,
    "macro recall": _macro_recalls,
    "F1 macro": partial(_f1, average="macro"),
    "F1 micro": partial(_f1, average="micro"),
    "F1 samples": partial(_f1, average="samples"),
    "log loss": _log_losses,
    "ROC AUC": partial(_mean_area, chance=CHANCE),
    "ROC AUC weighted": partial(_mean_area, is_weighted=True, chance=CHANCE),
    "average precision": partial(_mean_area, name="average precision", chance=0.0),
    "quadratic kappa": _kappa,
    "RMSE": partial(_of_numbers, name="root_mean_squared_error"),
    "MAE": partial(_of_numbers, name="mean_absolute_error"),
    "R2": partial(_of_numbers, name="r2_score"),
}
_OF_COLUMNS = {"ROC AUC", "ROC AUC weighted", "average precision"}
_F1_OF_SETS = {"F1 macro", "F1 micro", "F1 samples"}
