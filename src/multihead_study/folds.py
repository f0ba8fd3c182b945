"""What the trials of a study say of the images that they held out, fold by fold."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bundler.study.study import read_study
from bundler.study.trial import TRIAL_FILE, read_state
from multihead.config.files import OUT_OF_FOLD_FILE
from multihead.config.manifest import Manifest, read_manifest
from multihead.config.task import Task, what_answers_depend_on
from multihead.runtime.errors import UserError
from multihead.scoring.out_of_fold import read_out_of_fold

Truth = Mapping[str, NDArray[Any]]
Probabilities = Mapping[str, NDArray[np.float32]]


class Fold(NamedTuple):
    """What the trials that held a fold out say of its n images.

    ids: of the images. truth: for each head, as data/targets.py has it. recipes: for each recipe the probabilities of
    each head, float32 (n, width), the mean over the seeds, before the prior is divided out. counts: for each head,
    the images of each class that the trials were trained on. trials: for each recipe, the names of its trials.
    """

    ids: Sequence[str]
    truth: Truth
    recipes: Mapping[str, Probabilities]
    counts: Mapping[str, Sequence[int]]
    trials: Mapping[str, Sequence[str]]

    def only(self, recipe: str) -> "Fold":
        """Return the fold as if there were no other recipe."""
        return self._replace(recipes={recipe: self.recipes[recipe]}, trials={recipe: self.trials[recipe]})


class Folds(NamedTuple):
    """Those of a study's folds that have trials, in order.

    group_column: by which they were drawn. without: why some recipes are left out. others: how many folds have no
    trials, and so their images no answers.
    """

    task: Task
    folds: Sequence[Fold]
    group_column: str = ""
    without: Sequence[str] = ()
    others: int = 0

    def only(self, recipe: str) -> "Folds":
        """Return the study as if there were no other recipe."""
        return self._replace(folds=[fold.only(recipe) for fold in self.folds])


def read_folds(folder: Path) -> Folds:
    """Return what the finished trials in a study's folder say, of those recipes that have one of each fold trained on.

    Raises UserError where there is no such recipe, or trials contradict each other.
    """
    study = read_study(folder)
    trials: dict[str, dict[int, list[Path]]] = {
        name: {fold: [] for fold in range(study.trained)} for name in study.recipes
    }
    parts: dict[str, Mapping[str, str]] = {}
    for path in sorted(folder.glob(f"*/{TRIAL_FILE}")):
        state = read_state(path)
        if not state.is_finished or state.fold not in trials.get(state.recipe, {}):
            continue
        trials[state.recipe][state.fold].append(path.parent)
        first = parts.setdefault(state.recipe, state.parts)
        for part in ("code", "data"):
            if state.parts.get(part) != first.get(part):
                raise UserError(f"{path.parent}: was trained with other {part} than another trial; delete one of them")
    missing = {name: [str(fold) for fold, found in of.items() if not found] for name, of in trials.items()}
    without = [f"no finished trial of {name} for fold {', '.join(folds)}" for name, folds in missing.items() if folds]
    complete = [name for name in trials if not missing[name]]
    if not complete:
        raise UserError(f"{folder}: {'; '.join(without)}")
    task = read_manifest(trials[complete[0]][0][0]).task
    folds = [_read_fold(task, {name: trials[name][number] for name in complete}) for number in range(study.trained)]
    ids = pd.Index([name for fold in folds for name in fold.ids])
    if ids.has_duplicates:
        image = ids[ids.duplicated()][0]
        raise UserError(f"{folder}: image {image} is in two folds; its trials are of different studies")
    return Folds(task, folds, study.group_column, without, study.folds - study.trained)


def _read_fold(task: Task, trials: Mapping[str, Sequence[Path]]) -> Fold:
    """Return what the trials of one fold say, for each recipe those of it."""
    first = next(iter(trials.values()))[0]
    answers = read_out_of_fold(first / OUT_OF_FOLD_FILE)
    ids = pd.Index(sorted(answers.ids))
    manifests = {trial: read_manifest(trial) for of_recipe in trials.values() for trial in of_recipe}
    read = {trial: read_trial(trial, manifest, task, ids) for trial, manifest in manifests.items()}
    for trial, manifest in manifests.items():
        if (manifest.train_counts, manifest.priors) != (manifests[first].train_counts, manifests[first].priors):
            raise UserError(f"{trial}: was trained on other images than {first}")
    rows = pd.Index(answers.ids).get_indexer(ids)
    return Fold(
        ids.tolist(),
        {head: answers.truth[head][rows] for head in task.heads},
        {
            recipe: {head: np.mean([read[trial][head] for trial in of_recipe], axis=0) for head in task.heads}
            for recipe, of_recipe in trials.items()
        },
        manifests[first].train_counts,
        {recipe: [trial.name for trial in of_recipe] for recipe, of_recipe in trials.items()},
    )


def read_trial(trial: Path, manifest: Manifest, task: Task, ids: pd.Index) -> Probabilities:
    """Return a trial's probabilities of these images, in their order; UserError where they are not those it has."""
    path = trial / OUT_OF_FOLD_FILE
    answers = read_out_of_fold(path)
    if answers.sha256 != manifest.sha256:
        rule = f"without {TRIAL_FILE} beside it, the same command makes it anew"
        raise UserError(f"{path}: is not of the weights beside it; {rule}")
    if what_answers_depend_on(manifest.task) != what_answers_depend_on(task):
        raise UserError(f"{trial}: is of another task than the other trials")
    if sorted(answers.ids) != ids.tolist():
        raise UserError(f"{path}: is of other images than the other trials of its fold")
    rows = pd.Index(answers.ids).get_indexer(ids)
    return {head: answers.probabilities[head][rows] for head in task.heads}


def truth_of(folds: Sequence[Fold]) -> dict[str, NDArray[Any]]:
    """Return the truth of all images of some folds, fold after fold."""
    return {head: np.concatenate([fold.truth[head] for fold in folds]) for head in folds[0].truth}


def concatenated(parts: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Return what several parts have of each head, one after the other."""
    return {head: np.concatenate([part[head] for part in parts]) for head in parts[0]}
