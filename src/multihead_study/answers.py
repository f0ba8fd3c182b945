"""The answers of all trials of a study, joined: every image is answered by networks that were not trained on it.

What is chosen after training is chosen cross-fitted: what is used on a fold was chosen on the other folds, so that no
image is scored with a choice that it took part in.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bundler.study.study import read_study
from bundler.study.trial import TRIAL_FILE, read_state
from multihead.config.files import OUT_OF_FOLD_FILE
from multihead.config.manifest import read_manifest
from multihead.config.task import Task
from multihead.prediction.logit_adjustment import adjusted_heads, choose_exponents, smoothed_best
from multihead.runtime.errors import UserError
from multihead.runtime.whole_files import whole_file
from multihead.scoring.metrics import Score, recall_per_class, task_score
from multihead.scoring.out_of_fold import OutOfFold, read_out_of_fold, write_out_of_fold
from multihead_study.combinations import WEIGHTS, combinations_of, mixed, over_combinations

ANSWERS_FILE, CHOICES_FILE, CLASSES_FILE = "answers.npz", "answers.json", "classes.csv"

Truth = Mapping[str, NDArray[np.int64]]
Probabilities = Mapping[str, NDArray[np.float32]]


class Fold(NamedTuple):
    """What the trials that held a fold out say of its n images.

    ids: of the images. truth: for each head, int64 (n,) class indices. probabilities: for each head, float32
    (n, classes), the mean over the seeds, before the prior is divided out. counts: for each head, the images of each
    class that they were trained on. seeds: how many trials there are.
    """

    ids: Sequence[str]
    truth: Truth
    probabilities: Probabilities
    counts: Mapping[str, Sequence[int]]
    seeds: int


class Choice(NamedTuple):
    """What is chosen on answers: for each head the exponent of the prior, and the weight of train's combinations."""

    exponents: Mapping[str, float]
    combinations: float


class Joined(NamedTuple):
    """A study's answers to all images.

    choices: what each fold is answered with, chosen on the others. to_predict_with: chosen on all. score: of the
    answers; heads_alone, with_prior: without the combinations, and without the exponents either. answers: as the score
    takes them.
    """

    task: Task
    folds: Sequence[Fold]
    choices: Sequence[Choice]
    to_predict_with: Choice
    score: Score
    heads_alone: Score
    with_prior: Score
    answers: OutOfFold

    def lines(self) -> Iterator[str]:
        """Yield what a person reads of it."""
        seeds = sum(fold.seeds for fold in self.folds)
        yield f"{self.task.name}: {len(self.folds)} folds, {seeds} trials, {len(self.answers.ids):,} images out of fold"
        yield f"{self.score.name} {_with_error(self.score)}"
        for head in self.task.heads if len(self.task.heads) > 1 else ():
            yield f"  {head} {_with_error(head_score(self.task, head, self.answers))}"
        if len(self.task.heads) > 1:
            yield f"  heads alone {self.heads_alone.total:.4f}"
        yield f"  with the prior left in {self.with_prior.total:.4f}"
        for number, (fold, choice) in enumerate(zip(self.folds, self.choices, strict=True)):
            yield f"fold {number}: {len(fold.ids):,} images, {_in_words(choice)}"
        yield f"to predict with, chosen on all folds: {_in_words(self.to_predict_with)}"


def join(folder: Path) -> Joined:
    """Return the joined answers of the finished trials in a study's folder, and leave them in it.

    They are in ANSWERS_FILE, the score and the choices in CHOICES_FILE, the recall of each class in CLASSES_FILE.
    Raises UserError where a fold has no finished trial, or trials contradict each other.
    """
    task, folds = read_folds(folder)
    joined = joined_folds(task, folds)
    write_out_of_fold(folder / ANSWERS_FILE, joined.answers)
    with whole_file(folder / CHOICES_FILE) as new:
        new.write_text(json.dumps(_summary(joined), indent=1) + "\n", encoding="utf-8")
    _write_classes(folder / CLASSES_FILE, joined)
    return joined


def read_folds(folder: Path) -> tuple[Task, list[Fold]]:
    """Return the task of a study and its folds in order, from the finished trials in its folder."""
    trials: dict[int, list[Path]] = {number: [] for number in range(read_study(folder).folds)}
    for path in sorted(folder.glob(f"*/{TRIAL_FILE}")):
        state = read_state(path)
        if state.is_finished:
            trials[state.fold].append(path.parent)
    if missing := [str(fold) for fold, of_fold in trials.items() if not of_fold]:
        raise UserError(f"{folder}: no finished trial of fold {', '.join(missing)}")
    task = read_manifest(trials[0][0]).task
    return task, [_read_fold(of_fold) for of_fold in trials.values()]


def _read_fold(trials: Sequence[Path]) -> Fold:
    """Return what the trials of one fold say; UserError where they are not of the same images."""
    manifests = [read_manifest(trial) for trial in trials]
    every = [read_out_of_fold(trial / OUT_OF_FOLD_FILE) for trial in trials]
    ids = sorted(every[0].ids)
    for trial, manifest, answers in zip(trials, manifests, every, strict=True):
        if answers.sha256 != manifest.sha256:
            raise UserError(f"{trial / OUT_OF_FOLD_FILE}: is not of the weights beside it")
        if sorted(answers.ids) != ids:
            raise UserError(f"{trial / OUT_OF_FOLD_FILE}: is of other images than that of {trials[0]}")
    rows = [pd.Index(answers.ids).get_indexer(pd.Index(ids)) for answers in every]
    heads = every[0].truth
    return Fold(
        ids,
        {head: heads[head][rows[0]] for head in heads},
        {
            head: np.mean([answers.probabilities[head][at] for answers, at in zip(every, rows, strict=True)], axis=0)
            for head in heads
        },
        manifests[0].train_counts,
        len(trials),
    )


def joined_folds(task: Task, folds: Sequence[Fold]) -> Joined:
    """Return the answers of all folds, each with what was chosen on the others.

    A fold's combinations are those that its trials were trained on: those of the other folds. Its exponents divide by
    the counts that they were trained on.
    """
    seen = [combinations_of(_truth([other for other in folds if other is not fold])) for fold in folds]
    choices, alone, together = [], [], []
    for number, fold in enumerate(folds):
        others = [(other, seen[place]) for place, other in enumerate(folds) if place != number]
        choices.append(choose(task, others, fold.counts))
        alone.append(adjusted_heads(fold.probabilities, fold.counts, choices[-1].exponents))
        together.append(_answered(alone[-1], seen[number], choices[-1].combinations))
    truth = _truth(folds)
    counts = {head: np.bincount(truth[head], minlength=len(task.heads[head])).tolist() for head in task.heads}
    ids = [name for fold in folds for name in fold.ids]
    answers = OutOfFold("", ids, truth, _concatenated(together))
    return Joined(
        task,
        folds,
        choices,
        choose(task, list(zip(folds, seen, strict=True)), counts),
        score_of(task, truth, answers.probabilities),
        score_of(task, truth, _concatenated(alone)),
        score_of(task, truth, _concatenated([fold.probabilities for fold in folds])),
        answers,
    )


def choose(task: Task, folds: Sequence[tuple[Fold, NDArray[np.int64]]], counts: Mapping[str, Sequence[int]]) -> Choice:
    """Return what scores best on some folds, each with the combinations, int64 (m, heads), that it may be answered by.

    counts: for each head, the images of each class that the exponents divide by. Of accuracy the likeliest class is the
    best answer, so no prior is divided out.
    """
    truth = _truth([fold for fold, _ in folds])
    exponents = dict.fromkeys(task.heads, 0.0)
    if task.score == "macro recall":
        exponents = choose_exponents(_concatenated([fold.probabilities for fold, _ in folds]), truth, counts)
    if len(task.heads) == 1:
        return Choice(exponents, 0.0)
    alone = [adjusted_heads(fold.probabilities, counts, exponents) for fold, _ in folds]
    together = [over_combinations(of_fold, seen) for of_fold, (_, seen) in zip(alone, folds, strict=True)]
    both = _concatenated(alone), _concatenated(together)
    scores = [score_of(task, truth, mixed(*both, weight)).present_total for weight in WEIGHTS]
    return Choice(exponents, WEIGHTS[smoothed_best(scores)])


def score_of(task: Task, truth: Truth, probabilities: Probabilities) -> Score:
    """Return the score of the likeliest classes. probabilities: for each head, float32 (n, classes)."""
    return task_score(truth, {head: rows.argmax(axis=1) for head, rows in probabilities.items()}, task)


def head_score(task: Task, head: str, answers: OutOfFold) -> Score:
    """Return the score of one head alone."""
    alone = replace(task, heads={head: task.heads[head]}, score_weights={}, columns={})
    return score_of(alone, answers.truth, {head: answers.probabilities[head]})


def _answered(alone: Probabilities, seen: NDArray[np.int64], weight: float) -> Probabilities:
    return mixed(alone, over_combinations(alone, seen), weight) if weight else alone


def _truth(folds: Sequence[Fold]) -> Truth:
    return {head: np.concatenate([fold.truth[head] for fold in folds]) for head in folds[0].truth}


def _concatenated(parts: Sequence[Probabilities]) -> Probabilities:
    return {head: np.concatenate([part[head] for part in parts]) for head in parts[0]}


def _summary(joined: Joined) -> dict[str, Any]:
    """Return score and choices as plain values for JSON."""
    scores = {"score": joined.score, "heads_alone": joined.heads_alone, "with_prior": joined.with_prior}
    of_heads = {head: head_score(joined.task, head, joined.answers) for head in joined.task.heads}
    return {
        "task": joined.task.name,
        "images": len(joined.answers.ids),
        **{name: score.as_dict() for name, score in scores.items()},
        "head_errors": {head: score.standard_error for head, score in of_heads.items()},
        "folds": [choice._asdict() for choice in joined.choices],
        "to_predict_with": joined.to_predict_with._asdict(),
    }


def _write_classes(path: Path, joined: Joined) -> None:
    """Write a row per class with images: its recall, and that recall's standard error."""
    with whole_file(path) as new, new.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["head", "class", "images", "recall", "standard_error"])
        for head, classes in joined.task.heads.items():
            truth = joined.answers.truth[head]
            images = np.bincount(truth, minlength=len(classes))
            recall = recall_per_class(truth, joined.answers.probabilities[head].argmax(axis=1), len(classes))
            error = np.sqrt(recall * (1 - recall) / np.maximum(images, 1))
            for row in np.flatnonzero(images).tolist():
                writer.writerow([head, classes[row], images[row], f"{recall[row]:.4f}", f"{error[row]:.4f}"])


def _with_error(score: Score) -> str:
    present = f", {score.present_in_words}" if score.present_in_words else ""
    return f"{score.total:.4f} ± {score.standard_error:.4f}{present}"


def _in_words(choice: Choice) -> str:
    exponents = ", ".join(f"{head} {exponent:g}" for head, exponent in choice.exponents.items())
    combinations = f"; weight of train's combinations {choice.combinations:g}" if len(choice.exponents) > 1 else ""
    return f"prior exponents {exponents}{combinations}"
