"""What is chosen on answers out of fold: how much each recipe counts, and what is done to the probabilities."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from multihead.config.scores import rule_of
from multihead.config.task import Task
from multihead.data.targets import is_known
from multihead.prediction.calibration import Calibration, choose_temperature
from multihead.prediction.combinations import WEIGHTS, combinations_of, mixed, over_combinations
from multihead.prediction.deciding import decided
from multihead.prediction.exponents import best_exponent, smoothed_best
from multihead.prediction.logit_adjustment import adjusted
from multihead.prediction.tuning import choose_decisions
from multihead.scoring.metrics import task_score
from multihead_study.folds import Fold, Probabilities, Truth, concatenated, truth_of

ROUNDS = 20  # of the greedy selection: a recipe counts in steps of 0.05


class Choice(NamedTuple):
    """recipes: the share of each, above 0 and 1 together; one that does not help is left out."""

    recipes: Mapping[str, float]
    calibration: Calibration


def choose(task: Task, folds: Sequence[Fold], *, with_combinations: bool = True) -> Choice:
    """Return what is best on some folds: what is chosen to answer others knows nothing of these.

    Recipes and temperatures have the least log loss, which few images tell better than a recall; the others are best
    for the score (prediction/tuning.py). A fold's combinations are those of the other folds given; they need an image
    to have just one class of each of several heads. with_combinations: whether they are used where they can be.
    """
    truth = truth_of(folds)
    recipes = choose_recipes(task, folds, truth)
    mixtures = [mixture(fold, recipes) for fold in folds]
    together = concatenated(mixtures)
    temperatures, exponents = dict.fromkeys(task.heads, 1.0), dict.fromkeys(task.heads, 0.0)
    for head, rows in together.items():
        rule = rule_of(task.score, task.kind(head))
        needs_temperature = rule == "temperature" or has_combinations(task)
        if needs_temperature or rule == "prior exponents":
            temperature = choose_temperature(rows, truth[head])
            temperatures[head] = temperature if needs_temperature else 1.0
        if rule == "prior exponents":
            exponents[head] = _best_exponent(task, head, folds, mixtures, truth[head], temperature)
    calibration = Calibration(temperatures, exponents, 0.0)
    alone = [calibration.heads_alone(rows, fold.counts, task.kinds) for rows, fold in zip(mixtures, folds, strict=True)]
    if with_combinations and has_combinations(task):
        by_fold = [over_combinations(rows, shown_to(fold, folds)) for rows, fold in zip(alone, folds, strict=True)]
        both = concatenated(alone), concatenated(by_fold)
        scores = [task_score(truth, decided(mixed(*both, weight), task), task).to_maximise for weight in WEIGHTS]
        weight = WEIGHTS[smoothed_best(scores)]
        calibration = calibration._replace(combinations_weight=weight)
        alone = [mixed(*rows, weight) for rows in zip(alone, by_fold, strict=True)]
    thresholds, cut_points = choose_decisions(task, concatenated(alone), truth)
    return Choice(recipes, calibration._replace(thresholds=thresholds, cut_points=cut_points))


def has_combinations(task: Task) -> bool:
    """Tell whether an image has one combination of classes, which may be one that train shows."""
    return len(task.heads) > 1 and task.is_of_classes


def _best_exponent(
    task: Task,
    head: str,
    folds: Sequence[Fold],
    mixtures: Sequence[Probabilities],
    truth: NDArray[np.int64],
    temperature: float,
) -> float:
    """Return the exponent of a head that is best on the folds, each divided by what its trials were trained on."""

    def answers(exponent: float) -> NDArray[np.int64]:
        parts = [adjusted(rows[head], fold.counts[head], exponent) for rows, fold in zip(mixtures, folds, strict=True)]
        return np.concatenate([part.argmax(axis=1) for part in parts])

    return best_exponent(answers, truth, len(task.heads[head]), task.score, temperature)


def shown_to(fold: Fold, folds: Sequence[Fold]) -> NDArray[np.int64]:
    """Return the combinations, int64 (m, heads), that the other ones of some folds have."""
    others = [other for other in folds if other is not fold]
    return combinations_of(truth_of(others)) if others else np.zeros((0, len(fold.truth)), np.int64)


def choose_recipes(task: Task, folds: Sequence[Fold], truth: Truth) -> dict[str, float]:
    """Return the share of each recipe in the mixture that a greedy selection with replacement finds.

    It begins with none and adds, ROUNDS times, the recipe with which the loss of the heads, weighted as the score
    weights them, is least: the log loss, of numbers the mean square of the error over their variance. R. Caruana et
    al., Ensemble Selection from Libraries of Models, 2004.
    """
    names = list(folds[0].recipes)
    if len(names) == 1:
        return {names[0]: 1.0}
    weights = [task.weight(head) for head in task.heads]
    said = [concatenated([fold.recipes[name] for fold in folds]) for name in names]
    # for each head float64 (recipes, ...): what is said of the truth; that of a mixture is the mixture of these
    of_truth = [np.stack([_of_truth(rows[head], truth[head]) for rows in said]) for head in task.heads]
    losses = [_square if task.kind(head) == "number" else _log for head in task.heads]
    times = np.zeros(len(names), int)
    total = [np.zeros(rows.shape[1:]) for rows in of_truth]
    for chosen in range(1, ROUNDS + 1):
        found = [
            [loss((so_far + row) / chosen) for row in rows]
            for loss, so_far, rows in zip(losses, total, of_truth, strict=True)
        ]
        best = int(np.argmin(np.average(found, axis=0, weights=weights).round(9)))
        times[best] += 1
        total = [so_far + rows[best] for so_far, rows in zip(total, of_truth, strict=True)]
    return {name: float(count / ROUNDS) for name, count in zip(names, times, strict=True) if count}


def _of_truth(rows: NDArray[np.float32], truth: NDArray[Any]) -> NDArray[np.float64]:
    """Return the probabilities of what is true, or of numbers the errors in units of their deviation, where known."""
    known = is_known(truth)
    rows, truth = rows[known].astype(np.float64), truth[known]
    if truth.dtype.kind == "f":
        return np.asarray((rows[:, 0] - truth) / (truth.std() or 1.0))
    if truth.ndim == 1:
        return np.asarray(rows[np.arange(len(truth)), truth])
    return np.where(truth > 0, rows, 1 - rows)


def _log(of_truth: NDArray[np.float64]) -> float:
    return float(-np.log(np.maximum(of_truth, np.finfo(np.float32).tiny)).mean())


def _square(errors: NDArray[np.float64]) -> float:
    return float((errors**2).mean())


def mixture(fold: Fold, recipes: Mapping[str, float]) -> dict[str, NDArray[np.float32]]:
    """Return for each head float32 (n, classes), the weighted sum of what the recipes say of a fold's images."""
    return {
        head: np.asarray(sum(share * fold.recipes[name][head] for name, share in recipes.items()), np.float32)
        for head in fold.truth
    }
