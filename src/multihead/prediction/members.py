"""The networks that answer, with their weights."""

from collections.abc import Callable
from functools import partial

from multihead.config.manifest import Manifest
from multihead.config.settings import RunSettings
from multihead.data.augment import copy_jitter
from multihead.model.weights import load_model
from multihead.prediction.predictor import Member, Probabilities
from multihead.prediction.trained import Weights, own_calibration
from multihead.runtime.log import log


def load_members(weights: Weights, run: RunSettings) -> list[Member]:
    """Return the networks with their weights; they take seconds each."""
    members = [
        Member(
            load_model(folder, manifest, name, run.xla),
            manifest.model,
            dict if weights.ensemble else _own_way(manifest),
            copy_jitter(manifest.augmentation, dark_ink=manifest.task.dark_ink),
            weights.ensemble.members[name] if weights.ensemble else 1.0,
        )
        for folder, name, manifest in weights.trained
    ]
    if run.test_time_copies and not all(member.augment for member in members):
        log.warning("no test-time copies, as some weights were trained without an affine or flip step")
    return members


def _own_way(manifest: Manifest) -> Callable[[Probabilities], Probabilities]:
    calibration, task = own_calibration(manifest), manifest.task
    return partial(calibration.heads_alone, counts=manifest.train_counts, kinds=task.kinds)
