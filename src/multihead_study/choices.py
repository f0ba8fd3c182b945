"""What is chosen on answers out of fold: how much each recipe counts, and what is done to the probabilities."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from multihead.config.task import Task
from multihead.prediction.calibration import Calibration, choose_temperature
from multihead.prediction.combinations import WEIGHTS, combinations_of, mixed, over_combinations
from multihead.prediction.logit_adjustment import adjusted, best_exponent, smoothed_best
from multihead.scoring.metrics import Score, task_score
from multihead_study.folds import Fold, Probabilities, Truth, concatenated, truth_of

ROUNDS = 20  # of the greedy selection: a recipe counts in steps of 0.05


class Choice(NamedTuple):
    """recipes: the share of each, above 0 and 1 together; one that does not help is left out."""

    recipes: Mapping[str, float]
    calibration: Calibration


def choose(task: Task, folds: Sequence[Fold]) -> Choice:
    """Return what is best on some folds: what is chosen to answer others knows nothing of these.

    Recipes and temperatures have the least log loss, which few images tell better than a recall; exponents and
    the weight of the combinations the best score. Of accuracy the likeliest class is the best answer, so that no prior
    is divided out. A fold's combinations are those of the other folds given.
    """
    truth = truth_of(folds)
    recipes = choose_recipes(task, folds, truth)
    mixtures = [mixture(fold, recipes) for fold in folds]
    together = concatenated(mixtures)
    temperatures = {head: choose_temperature(rows, truth[head]) for head, rows in together.items()}
    exponents = dict.fromkeys(task.heads, 0.0)
    if task.score == "macro recall":
        exponents = {head: _best_exponent(head, folds, mixtures, truth[head]) for head in task.heads}
    calibration = Calibration(temperatures, exponents, 0.0)
    if len(task.heads) == 1:
        return Choice(recipes, calibration)
    alone = [calibration.heads_alone(rows, fold.counts) for rows, fold in zip(mixtures, folds, strict=True)]
    by_combination = [over_combinations(rows, shown_to(fold, folds)) for rows, fold in zip(alone, folds, strict=True)]
    both = concatenated(alone), concatenated(by_combination)
    scores = [score_of(task, truth, mixed(*both, weight)).present_total for weight in WEIGHTS]
    return Choice(recipes, calibration._replace(combinations_weight=WEIGHTS[smoothed_best(scores)]))


def _best_exponent(
    head: str, folds: Sequence[Fold], mixtures: Sequence[Probabilities], truth: NDArray[np.int64]
) -> float:
    """Return the exponent of a head that is best on the folds, each divided by what its trials were trained on."""

    def answers(exponent: float) -> NDArray[np.int64]:
        parts = [adjusted(rows[head], fold.counts[head], exponent) for rows, fold in zip(mixtures, folds, strict=True)]
        return np.concatenate([part.argmax(axis=1) for part in parts])

    return best_exponent(answers, truth, mixtures[0][head].shape[1])


def shown_to(fold: Fold, folds: Sequence[Fold]) -> NDArray[np.int64]:
    """Return the combinations, int64 (m, heads), that the other ones of some folds have."""
    others = [other for other in folds if other is not fold]
    return combinations_of(truth_of(others)) if others else np.zeros((0, len(fold.truth)), np.int64)


def choose_recipes(task: Task, folds: Sequence[Fold], truth: Truth) -> dict[str, float]:
    """Return the share of each recipe in the mixture that a greedy selection with replacement finds.

    It begins with none and adds, ROUNDS times, the recipe with which the log loss of the heads, weighted as the
    score weights them, is least. R. Caruana et al., Ensemble Selection from Libraries of Models, 2004.
    """
    names = list(folds[0].recipes)
    weights = [task.weight(head) for head in task.heads]
    # float64 (recipes, heads, n): of the true classes; that of a mixture is the mixture of these
    of_truth = np.array(
        [
            [
                np.concatenate([fold.recipes[name][head] for fold in folds])[np.arange(len(truth[head])), truth[head]]
                for head in task.heads
            ]
            for name in names
        ],
        np.float64,
    )
    times, total = np.zeros(len(names), int), np.zeros(of_truth.shape[1:])
    for chosen in range(1, ROUNDS + 1):
        shares = np.maximum((total + of_truth) / chosen, np.finfo(np.float32).tiny)
        best = int(np.argmin(np.average(-np.log(shares).mean(axis=2), axis=1, weights=weights).round(9)))
        times[best] += 1
        total += of_truth[best]
    return {name: float(count / ROUNDS) for name, count in zip(names, times, strict=True) if count}


def mixture(fold: Fold, recipes: Mapping[str, float]) -> dict[str, NDArray[np.float32]]:
    """Return for each head float32 (n, classes), the weighted sum of what the recipes say of a fold's images."""
    return {
        head: np.asarray(sum(share * fold.recipes[name][head] for name, share in recipes.items()), np.float32)
        for head in fold.truth
    }


def score_of(task: Task, truth: Truth, probabilities: Probabilities) -> Score:
    """Return the score of the likeliest classes. probabilities: for each head, float32 (n, classes)."""
    return task_score(truth, {head: rows.argmax(axis=1) for head, rows in probabilities.items()}, task)
