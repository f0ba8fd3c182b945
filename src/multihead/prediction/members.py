"""The networks that answer, with their weights."""

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from multihead.config.settings import RunSettings
from multihead.data.augment import copy_jitter
from multihead.model.weights import load_model
from multihead.prediction.logit_adjustment import adjusted_heads
from multihead.prediction.predictor import Member
from multihead.prediction.trained import Weights
from multihead.runtime.log import log


def load_members(weights: Weights, run: RunSettings) -> list[Member]:
    """Return the networks with their weights; they take seconds each."""
    members = [
        Member(
            load_model(folder, manifest, name, run.xla),
            manifest.model,
            partial(_shares, share=weights.ensemble.members[name])
            if weights.ensemble
            else partial(adjusted_heads, counts=manifest.train_counts, exponents=manifest.prior_exponents),
            copy_jitter(manifest.augmentation, dark_ink=manifest.task.dark_ink),
        )
        for folder, name, manifest in weights.trained
    ]
    if run.test_time_copies and not all(member.augment for member in members):
        log.warning("no test-time copies, as some weights were trained without an affine or flip step")
    return members


def _shares(probabilities: Mapping[str, NDArray[np.float32]], share: float) -> dict[str, NDArray[np.float32]]:
    return {head: rows * np.float32(share) for head, rows in probabilities.items()}
