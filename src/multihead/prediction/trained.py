"""The weights to predict with: found in the inputs, and held against the settings. No network is built here."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from multihead.config.ensemble import Ensemble, check_heads, read_ensemble
from multihead.config.files import ENSEMBLE_FILE, MANIFEST_FILE, WEIGHTS_FILE, named
from multihead.config.manifest import Manifest, read_manifest
from multihead.config.settings import Settings
from multihead.config.task import Task, what_answers_depend_on
from multihead.data.locate import find_input, is_in_input
from multihead.prediction.calibration import Calibration
from multihead.prediction.deciding import THRESHOLD, finished
from multihead.runtime.errors import UserError

Probabilities = dict[str, NDArray[np.float32]]


class Trained(NamedTuple):
    """Weights that a training left: their folder, their name in an ensemble or nothing, and what they are."""

    folder: Path
    name: str
    manifest: Manifest


class Weights(NamedTuple):
    """What is predicted with. ensemble: of a study; None where the members count the same, each with its own prior."""

    trained: Sequence[Trained]
    ensemble: Ensemble | None = None

    @property
    def task(self) -> Task:
        return self.trained[0].manifest.task

    def __str__(self) -> str:
        return ", ".join(f"{folder / name}, epoch {manifest.epoch}" for folder, name, manifest in self.trained)


def find_weights(settings: Settings) -> Weights:
    """Return the weights that the settings name, or else those of a study's ensemble, or else those without a name.

    Raises UserError where a setting contradicts the weights, or the members answer different questions.
    """
    folder, ensemble = None, None
    if not settings.run.ensemble and is_in_input(ENSEMBLE_FILE, settings.run.weights):
        folder = find_input("ensemble", [ENSEMBLE_FILE], settings.run.weights)
        ensemble = read_ensemble(folder)
    names = settings.run.ensemble or (list(ensemble.members) if ensemble else [""])
    trained = [_find(name, settings.run.weights) for name in names]
    for _, _, manifest in trained:
        for key in sorted(settings.given_model_keys):
            value, trained_value = getattr(settings.model, key), getattr(manifest.model, key)
            if value != trained_value:
                raise UserError(
                    f"{key} = {value!r}, but the weights were trained with {trained_value!r}; leave it out to predict"
                )
    questions = [(what_answers_depend_on(manifest.task), manifest.model.fold) for _, _, manifest in trained]
    for name, question in zip(names, questions, strict=True):
        if question != questions[0]:
            raise UserError(f"ensemble: {name} has another task or fold than {names[0]}")
    if folder and ensemble:
        check_heads(ensemble, trained[0].manifest.task, str(folder / ENSEMBLE_FILE))
    return Weights(trained, ensemble)


def _find(name: str, setting: str) -> Trained:
    what = f"weights {name} (build_kernel.py stage FOLDER --name {name})" if name else "weights"
    folder = find_input(what, [named(MANIFEST_FILE, name), named(WEIGHTS_FILE, name)], setting)
    return Trained(folder, name, read_manifest(folder, name))


def own_calibration(manifest: Manifest) -> Calibration:
    """Return what a training chose on the images that it held out."""
    temperatures = dict.fromkeys(manifest.task.heads, 1.0) | dict(manifest.temperatures)
    return Calibration(temperatures, manifest.prior_exponents, 0.0, manifest.thresholds, manifest.cut_points)


def finish_of(weights: Weights) -> Callable[[Probabilities], Mapping[str, NDArray[Any]]]:
    """Return what makes the answers by each key of the average of the members' probabilities.

    It takes float32 (n, width) per head. Without an ensemble the members' own thresholds and cut points are averaged.
    """
    ensemble, task = weights.ensemble, weights.task
    if not ensemble:
        own = [own_calibration(trained.manifest) for trained in weights.trained]
        thresholds = _averaged([one.thresholds for one in own], dict.fromkeys(task.heads, (THRESHOLD,)))
        between = {head: tuple(place + 0.5 for place in range(task.width(head) - 1)) for head in task.heads}
        cut_points = _averaged([one.cut_points for one in own], between)
        return partial(finished, task=task, thresholds=thresholds, cut_points=cut_points)
    counts = {
        head: np.sum([trained.manifest.train_counts[head] for trained in weights.trained], axis=0).tolist()
        for head in task.heads
    }
    rows = [
        [classes.index(label) for label, classes in zip(labels, task.heads.values(), strict=True)]
        for labels in ensemble.combinations.labels
    ]
    combinations = np.array(rows, np.int64).reshape(-1, len(task.heads))
    calibration = Calibration(
        ensemble.temperatures,
        ensemble.prior_exponents,
        ensemble.combinations.weight,
        ensemble.thresholds,
        ensemble.cut_points,
    )

    def finish(probabilities: Probabilities) -> Mapping[str, NDArray[Any]]:
        rows = calibration.answers(probabilities, counts, combinations, task.kinds)
        return finished(rows, task, calibration.thresholds, calibration.cut_points)

    return finish


def _averaged(
    own: Sequence[Mapping[str, Sequence[float]]], default: Mapping[str, Sequence[float]]
) -> dict[str, Sequence[float]]:
    """Return for each head that some members name the mean of their numbers, those of others being the default."""
    heads = {head for numbers in own for head in numbers}
    found = {head: np.broadcast_arrays(*[numbers.get(head, default[head]) for numbers in own]) for head in heads}
    return {head: np.mean(numbers, axis=0).tolist() for head, numbers in found.items()}


def prior_of(weights: Weights) -> dict[str, Any]:
    """Return what is written by each key of an image of which nothing is known."""
    said = {head: np.array([values], np.float32) for head, values in weights.trained[0].manifest.prior.items()}
    ensemble = weights.ensemble
    if ensemble:
        cells = finished(said, weights.task, ensemble.thresholds, ensemble.cut_points)
    else:
        cells = dict(finish_of(weights)(said))
    return {key: values[0] for key, values in cells.items()}
