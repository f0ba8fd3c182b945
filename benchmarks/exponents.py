"""How well prior exponents are chosen on few images (prediction/exponents.py), on the answers of studies.

    PYTHONPATH=src .venv/bin/python -m benchmarks.exponents STUDY...

Of a study's answers out of fold, before a prior is divided out, a random share chooses the exponents of all heads, and
the rest is scored with them: 25 times for each share. The mean of R is printed, over the classes present, and what it
gains over a plainer choice, in brackets the middle half of the 25. That takes the exponent of 0 to 1.2 with the best
recall, each averaged with one neighbour on each side.

Of a study with several seeds, whose answers are means of networks, it also prints what these gain where exponents are
chosen on means, as they are used, over such of single networks, with its 95 % interval; each fold's are chosen on the
other folds.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.programs import printed
from multihead.config.manifest import read_manifest
from multihead.config.task import Task
from multihead.data.targets import is_known
from multihead.prediction.calibration import choose_temperature
from multihead.prediction.exponents import EXPONENTS, best_exponent, smoothed_best
from multihead.prediction.logit_adjustment import adjusted
from multihead.runtime.errors import UserError
from multihead.scoring.measures import present_macro_recall
from multihead.scoring.metrics import task_score
from multihead.scoring.paired import paired_gain
from multihead_study.choices import choose, choose_recipes, mixture
from multihead_study.folds import Fold, concatenated, read_folds, read_trial, truth_of

SHARES, DRAWS = (0.08, 1 / 3, 3 / 4), 25
SCORES = ("macro recall", "balanced accuracy")

Answers = Callable[[float], NDArray[np.int64]]
Choose = Callable[[Answers, NDArray[np.int64], int, str, float], float]


def main() -> None:
    """Print a line for each study and share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path, nargs="+", metavar="STUDY")
    printed(line for study in parser.parse_args().studies for line in (*compared(study), *of_means(study)))


def compared(study: Path) -> Iterator[str]:
    """Yield what is reached on a study's answers, for each share; UserError where its score is no macro recall."""
    task, folds, *_ = read_folds(study)
    if task.score not in SCORES:
        raise UserError(f"{study}: its score is {task.score}; expected {' or '.join(SCORES)}")
    truth = truth_of(folds)
    recipes = choose_recipes(task, folds, truth)
    mixtures = [mixture(fold, recipes) for fold in folds]
    rows, images = concatenated(mixtures), sum(len(fold.ids) for fold in folds)

    def answers_to(of: NDArray[np.int64], head: str, exponent: float) -> NDArray[np.int64]:
        parts = zip(mixtures, folds, strict=True)
        without_prior = [adjusted(part[head], fold.counts[head], exponent) for part, fold in parts]
        return np.concatenate([part.argmax(axis=1) for part in without_prior])[of]

    def chosen(choice: Choose, on: NDArray[np.int64]) -> Mapping[str, float]:
        return {
            head: choice(
                partial(answers_to, on, head),
                truth[head][on],
                len(classes),
                task.score,
                choose_temperature(rows[head][on], truth[head][on]),
            )
            for head, classes in task.heads.items()
        }

    def score(exponents: Mapping[str, float], on: NDArray[np.int64]) -> float:
        answers = {head: answers_to(on, head, exponents[head]) for head in task.heads}
        return task_score({head: truth[head][on] for head in task.heads}, answers, task).present_total

    yield f"{study}: {images:,} images"
    for share in SHARES:
        orders = [np.random.default_rng(draw).permutation(images) for draw in range(DRAWS)]
        halves = [np.split(order, [round(share * images)]) for order in orders]
        scores = [
            [score(chosen(choice, shown), others) for shown, others in halves] for choice in (plainly, best_exponent)
        ]
        gains = np.subtract(scores[1], scores[0])
        low, high = np.quantile(gains, [0.25, 0.75])
        yield f"  {share:.0%} choose: {np.mean(scores[1]):.4f}, {gains.mean():+.4f} ({low:+.4f} to {high:+.4f})"


def of_means(study: Path) -> Iterator[str]:
    """Yield what it gains to choose on means of a study's networks; nothing where it has one network for each fold."""
    task, folds, *_ = read_folds(study)
    seeds = min(len(names) for fold in folds for names in fold.trials.values())
    if seeds < 2:
        return

    def answers(*, single: bool) -> dict[str, NDArray[np.int64]]:
        parts = []
        for fold in folds:
            others = [other for other in folds if other is not fold]
            if single:
                others = [of_seed(study, task, other, seed) for other in others for seed in range(seeds)]
            recipes, calibration = choose(task, others, with_combinations=False)
            rows = calibration.heads_alone(mixture(fold, recipes), fold.counts, task.kinds)
            parts.append({head: of_head.argmax(axis=1) for head, of_head in rows.items()})
        return concatenated(parts)

    gain, _ = paired_gain(truth_of(folds), answers(single=True), answers(single=False), task)
    yield f"  chosen on means of {seeds} networks, over single ones: {gain.before:.4f} -> {gain.after:.4f}, {gain}"


def of_seed(study: Path, task: Task, fold: Fold, seed: int) -> Fold:
    """Return a fold as if it had no trials but those of one seed, counted from 0."""
    trials = {recipe: study / names[seed] for recipe, names in fold.trials.items()}
    ids = pd.Index(fold.ids)
    return fold._replace(
        recipes={recipe: read_trial(trial, read_manifest(trial), task, ids) for recipe, trial in trials.items()}
    )


def plainly(answers: Answers, truth: NDArray[np.int64], classes: int, _score: str, _temperature: float) -> float:
    """Return the exponent with the best recall, each averaged with one neighbour on each side."""
    known = is_known(truth)
    recalls = [present_macro_recall(truth[known], answers(exponent)[known], classes) for exponent in EXPONENTS]
    return EXPONENTS[smoothed_best(recalls)]


if __name__ == "__main__":
    main()
