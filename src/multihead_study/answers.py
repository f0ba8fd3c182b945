"""The answers of a study's trials, joined: an image of a fold is answered by networks that were not trained on it.

What is chosen after training is chosen cross-fitted: what is used on a fold was chosen on the other folds, so that no
image is scored with a choice that it took part in. Only whether label combinations are used at all is decided on all
images, by what such answers gain.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.config.ensemble import Combinations, Ensemble, write_ensemble
from multihead.config.task import Label, Task
from multihead.data.targets import is_known
from multihead.prediction.calibration import Calibration
from multihead.prediction.combinations import combinations_of
from multihead.runtime.errors import listed
from multihead.runtime.whole_files import whole_file
from multihead.scoring.measures import per_class
from multihead.scoring.metrics import Score, is_seen, task_score
from multihead.scoring.out_of_fold import OutOfFold, write_out_of_fold
from multihead.scoring.paired import Gain, paired_gain
from multihead_study.choices import Choice, choose, has_combinations, mixture, shown_to
from multihead_study.folds import Fold, Folds, Probabilities, concatenated, read_folds, truth_of

NO_COMBINATIONS = np.zeros((0, 0), np.int64)
ANSWERS_FILE, CHOICES_FILE, CLASSES_FILE = "answers.npz", "answers.json", "classes.csv"


class Joined(NamedTuple):
    """A study's answers to the n images of its folds.

    choices: what each fold is answered with, chosen on the others. to_predict_with: chosen on all. score: of the
    answers; heads_alone: without the combinations, with_prior: nor temperatures and exponents. is_seen: bool (n,),
    whether the network that answers was trained on an image with the same label in all heads. answers: as the score
    takes them; answers_alone: without the combinations. of_combinations: what these gain, whether they are used or not;
    None where there are none. recipes: the score of each alone, where there are several.
    """

    study: Folds
    choices: Sequence[Choice]
    to_predict_with: Choice
    score: Score
    heads_alone: Score
    with_prior: Score
    is_seen: NDArray[np.bool_]
    answers_alone: OutOfFold
    answers: OutOfFold
    of_combinations: Gain | None
    recipes: Mapping[str, Score]

    @property
    def task(self) -> Task:
        return self.study.task

    @property
    def folds(self) -> Sequence[Fold]:
        return self.study.folds

    def lines(self) -> Iterator[str]:
        """Yield what a person reads of it."""
        has_many_heads = len(self.task.heads) > 1
        trials = sum(len(names) for fold in self.folds for names in fold.trials.values())
        images = f"{len(self.answers.ids):,} images out of fold"
        others = self.study.others
        folds = f"{len(self.folds)} of {len(self.folds) + others}" if others else f"{len(self.folds)}"
        yield f"{self.task.name}: {folds} folds, {trials} trials, {images}"
        yield from (f"left out: {problem}" for problem in self.study.without)
        yield f"{self.score.name} {_with_error(self.score)}"
        if column := self.study.group_column:
            yield f"  images of one {column} are alike, so errors and intervals are too narrow"
        for head in self.task.heads if has_many_heads else ():
            yield f"  {head} {_with_error(head_score(self.task, head, self.answers))}"
        for name, score in self.recipes.items():
            yield f"  {name} alone {_with_error(score)}"
        if self.of_combinations:
            seen = f"{int(self.is_seen.sum()):,} images have one of them"
            gain = f"train's combinations gain {self.of_combinations}"
            yield f"  each head for itself {self.heads_alone.total:.4f}; {gain}; {seen}"
        if others and has_combinations(self.task):
            yield "  train's combinations are not used: those of folds without trials are not known"
        if self.with_prior.total != self.heads_alone.total:
            is_prior = any(self.to_predict_with.calibration.exponents.values())
            yield f"  with {'the prior left in' if is_prior else 'nothing chosen'} {self.with_prior.total:.4f}"
        of_them = "these folds" if others else "all folds"
        yield f"chosen on {of_them}, to predict with (in brackets: for each fold on the others, as it is scored)"
        every = [self.to_predict_with, *self.choices]
        for name in self.recipes:
            yield f"  share of {name} {_with_range([choice.recipes.get(name, 0.0) for choice in every])}"
        for head in self.task.heads:
            chosen = ", ".join(_in_words(head, [choice.calibration for choice in every]))
            yield f"  {head}: {chosen or 'nothing'}"
        if _knows_combinations(self.study):
            weight = _with_range([choice.calibration.combinations_weight for choice in every])
            yield f"  weight of train's combinations {weight}"


def join(folder: Path) -> Joined:
    """Return the joined answers of the finished trials in a study's folder, and leave them in it.

    They are in ANSWERS_FILE, the score and the choices in CHOICES_FILE, the recall of each class in CLASSES_FILE, and
    what predicting needs in ENSEMBLE_FILE. Raises UserError where a fold has no finished trial, or trials contradict
    each other.
    """
    joined = joined_folds(read_folds(folder))
    write_out_of_fold(folder / ANSWERS_FILE, joined.answers)
    with whole_file(folder / CHOICES_FILE) as new:
        new.write_text(json.dumps(_summary(joined), indent=1) + "\n", encoding="utf-8")
    _write_classes(folder / CLASSES_FILE, joined)
    chosen = (
        f"Chosen on {len(joined.answers.ids):,} images out of fold: {joined.score.name} {_with_error(joined.score)}"
    )
    write_ensemble(folder, ensemble_of(joined), [chosen])
    return joined


def joined_folds(study: Folds) -> Joined:
    """Return the answers of the folds, each with what was chosen on the others.

    A fold's combinations are those that its trials were trained on: those of the other folds. They are used only where
    the interval of what they gain is above 0: images whose combination train lacks lose by them, and stratified folds
    hold next to none. Where some folds have no trials they are not used, since a study does not know the labels of
    those. A fold's exponents divide by the counts that its trials were trained on.
    """
    joined = _joined(study, with_combinations=_knows_combinations(study))
    gain = joined.of_combinations
    if gain and gain.low <= 0:
        joined = _joined(study, with_combinations=False)._replace(of_combinations=gain)
    names = list(study.folds[0].recipes)
    alone = {name: joined_folds(study.only(name)).score for name in names} if len(names) > 1 else {}
    return joined._replace(recipes=alone)


def _joined(study: Folds, *, with_combinations: bool) -> Joined:
    """Return the same with the combinations used, or not, and nothing of single recipes."""
    task, folds = study.task, study.folds
    knows_all = _knows_combinations(study)
    seen = [shown_to(fold, folds) if knows_all else NO_COMBINATIONS for fold in folds]
    choose_on = partial(choose, task, with_combinations=with_combinations)
    choices = [choose_on([other for other in folds if other is not fold]) for fold in folds]
    plain = [mixture(fold, choice.recipes) for fold, choice in zip(folds, choices, strict=True)]
    known = list(zip(choices, plain, folds, seen, strict=True))
    kinds = task.kinds
    alone = [choice.calibration.heads_alone(rows, fold.counts, kinds) for choice, rows, fold, _ in known]
    together = [choice.calibration.answers(rows, fold.counts, shown, kinds) for choice, rows, fold, shown in known]
    truth, ids = truth_of(folds), [name for fold in folds for name in fold.ids]

    def answers_of(parts: Sequence[Probabilities], chosen: Sequence[Choice]) -> OutOfFold:
        decided = [choice.calibration.decided(rows, task) for choice, rows in zip(chosen, parts, strict=True)]
        return OutOfFold("", ids, truth, concatenated(parts), concatenated(decided))

    nothing = Choice({}, Calibration({}, {}, 0.0))
    answers = [answers_of(plain, [nothing] * len(folds)), answers_of(alone, choices), answers_of(together, choices)]
    scores = [task_score(truth, part.answers, task) for part in answers]
    gain = paired_gain(truth, answers[1].answers, answers[2].answers, task)[0] if knows_all else None
    return Joined(
        study,
        choices,
        choose_on(folds),
        *(scores[2], scores[1], scores[0]),
        np.concatenate([_is_shown(fold, shown) for fold, shown in zip(folds, seen, strict=True)]),
        *(answers[1], answers[2]),
        gain,
        {},
    )


def ensemble_of(joined: Joined) -> Ensemble:
    """Return the trials to predict with, over which each recipe's share is spread, and what was chosen on all folds."""
    recipes, calibration = joined.to_predict_with
    members: dict[str, float] = {}
    for recipe, share in recipes.items():
        names = [name for fold in joined.folds for name in fold.trials[recipe]]
        members |= {name: round(share / len(names), 6) for name in names}
    labels: tuple[tuple[Label, ...], ...] = ()
    if calibration.combinations_weight:
        classes = list(joined.task.heads.values())
        rows = combinations_of(truth_of(joined.folds)).tolist()
        labels = tuple(tuple(of_head[index] for of_head, index in zip(classes, row, strict=True)) for row in rows)
    return Ensemble(
        members,
        calibration.temperatures,
        calibration.exponents,
        Combinations(calibration.combinations_weight, labels),
        calibration.thresholds,
        calibration.cut_points,
    )


def head_score(task: Task, head: str, answers: OutOfFold) -> Score:
    """Return the score of one head alone."""
    alone = replace(task, heads={head: task.heads[head]}, score_weights={}, columns={})
    return task_score(answers.truth, answers.answers, alone)


def _knows_combinations(study: Folds) -> bool:
    """Tell whether the study has all label combinations that its trials were trained on."""
    return has_combinations(study.task) and not study.others


def _is_shown(fold: Fold, combinations: NDArray[np.int64]) -> NDArray[np.bool_]:
    if not combinations.size:
        return np.zeros(len(fold.ids), np.bool_)
    heads = list(fold.truth)
    return is_seen(pd.DataFrame(fold.truth), pd.DataFrame(combinations, columns=heads))


def _summary(joined: Joined) -> dict[str, Any]:
    """Return score and choices as plain values for JSON."""
    scores = {"score": joined.score, "heads_alone": joined.heads_alone, "with_prior": joined.with_prior}
    heads = {head: head_score(joined.task, head, joined.answers) for head in joined.task.heads}
    return {
        "task": joined.task.name,
        "images": len(joined.answers.ids),
        **{name: score.as_dict() for name, score in scores.items()},
        "head_errors": {head: score.standard_error for head, score in heads.items()},
        "recipes": {name: score.as_dict() for name, score in joined.recipes.items()},
        "folds": [_plain(choice) for choice in joined.choices],
        "to_predict_with": _plain(joined.to_predict_with),
    }


def _plain(choice: Choice) -> dict[str, Any]:
    return {"recipes": choice.recipes, **choice.calibration._asdict()}


def _write_classes(path: Path, joined: Joined) -> None:
    """Write a row per class with images: what is reached in it, and of a recall its standard error."""
    with whole_file(path) as new, new.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        rows, name = [], "recall"
        for head, classes in joined.task.heads.items():
            known = is_known(joined.answers.truth[head])
            truth, answers = joined.answers.truth[head][known], joined.answers.answers[head][known]
            found = per_class(joined.task.score, truth, answers, len(classes))
            name = found.name or name
            error = np.sqrt(found.values * (1 - found.values) / np.maximum(found.images, 1)[: len(found.values)])
            for row in np.flatnonzero((found.images > 0) & np.isfinite(found.values)).tolist():
                told = f"{error[row]:.4f}" if name == "recall" else ""
                rows.append([head, classes[row], found.images[row], f"{found.values[row]:.4f}", told])
        writer.writerow(["head", "class", "images", name, "standard_error"])
        writer.writerows(rows)


def _with_error(score: Score) -> str:
    present = f", {score.present_in_words}" if score.present_in_words else ""
    return f"{score.total:.4f} ± {score.standard_error:.4f}{present}"


def _with_range(numbers: Sequence[float]) -> str:
    """Return the first number, and in brackets the least and the greatest of the others."""
    first, *others = numbers
    return f"{first:.3g} ({min(others):.3g} to {max(others):.3g})"


def _in_words(head: str, every: Sequence[Calibration]) -> Iterator[str]:
    """Yield what is chosen for a head on all folds, and on those of each fold, as far as it is something."""
    exponents = [one.exponents[head] for one in every]
    temperatures = [one.temperatures[head] for one in every]
    if any(exponents):
        yield f"prior exponent {_with_range(exponents)}"
    if any(temperature != 1 for temperature in temperatures):
        yield f"temperature {_with_range(temperatures)}"
    for name, of_heads in (("thresholds", every[0].thresholds), ("cut points", every[0].cut_points)):
        if head in of_heads:
            yield f"{name} {listed([f'{number:.3g}' for number in of_heads[head]])}"
