"""The networks to predict with: what was trained, and each as a member whose answers are averaged."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from multihead.config.manifest import Manifest
from multihead.config.settings import RunSettings
from multihead.runtime.log import log

if TYPE_CHECKING:
    from multihead.prediction.predictor import Member


class Trained(NamedTuple):
    """Weights that a training left: their folder, their name in an ensemble or nothing, and what they are."""

    folder: Path
    name: str
    manifest: Manifest


def load_members(ensemble: Sequence[Trained], run: RunSettings) -> "list[Member]":
    """Return the networks with their weights; UserError where one does not answer as it did after training."""
    from multihead.data.augment import copy_jitter
    from multihead.model.weights import load_model
    from multihead.prediction.logit_adjustment import adjusted_heads
    from multihead.prediction.predictor import Member

    members = [
        Member(
            load_model(folder, manifest, name, run.xla),
            manifest.model,
            partial(adjusted_heads, counts=manifest.train_counts, exponents=manifest.prior_exponents),
            copy_jitter(manifest.augmentation, dark_ink=manifest.task.dark_ink),
        )
        for folder, name, manifest in ensemble
    ]
    if run.test_time_copies and not all(member.augment for member in members):
        log.warning("no test-time copies, as some weights were trained without an affine or flip step")
    return members
