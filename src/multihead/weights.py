"""Weights and their manifest: everything that predicting needs, in two files of one folder.

The folder that training leaves is ready to become a Kaggle dataset.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from multihead.errors import UserError
from multihead.model import build_model
from multihead.settings import ModelSettings, settings_dict, settings_from
from multihead.tasks import task_by_name
from multihead.whole_files import whole_file

WEIGHTS_FILE = "model.weights.h5"
MANIFEST_FILE = "manifest.json"  # those of an ensemble have their name before it: NAME.model.weights.h5
FORMAT = 2


@dataclass(frozen=True)
class Manifest:
    """What the weights are.

    heads: each head's class labels. train_counts: for each head, the images of each class in the train part.
    prior_exponents: for each head, the power of these counts that its probabilities are divided by
    (logit_adjustment.py). score: of the validation part, or None. sha256: of the weights file.
    """

    model: ModelSettings
    heads: Mapping[str, tuple[int, ...]]
    train_counts: Mapping[str, tuple[int, ...]]
    prior_exponents: Mapping[str, float]
    score: Mapping[str, Any] | None
    epoch: int
    sha256: str

    @property
    def prior(self) -> dict[str, int]:
        """Each head's most frequent class label in the train part."""
        return {head: classes[int(np.argmax(self.train_counts[head]))] for head, classes in self.heads.items()}


def save_weights(
    folder: Path,
    network: Any,
    model: ModelSettings,
    *,
    train_counts: Mapping[str, tuple[int, ...]],
    score: Mapping[str, Any] | None,
    epoch: int,
    prior_exponents: Mapping[str, float] | None = None,
) -> None:
    """Write weights and manifest; a failure leaves the pair before, a kill just between the two is named by reading."""
    with whole_file(folder / WEIGHTS_FILE) as new, whole_file(folder / MANIFEST_FILE) as new_manifest:
        # as a model of its own, without the optimizer
        keras.Model(network.input, network.output).save_weights(new)
        manifest = {
            "format": FORMAT,
            "model": settings_dict(model),
            "heads": {head: list(classes) for head, classes in task_by_name(model.task).heads.items()},
            "train_counts": {head: list(counts) for head, counts in train_counts.items()},
            "prior_exponents": dict(prior_exponents or dict.fromkeys(train_counts, 0.0)),
            "score": score,
            "epoch": epoch,
            "keras": keras.__version__,
            "sha256": _sha256(new),
        }
        new_manifest.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def copy_weights(source: Path, folder: Path) -> None:
    """Copy weights and manifest, if there are any, from one folder into another."""
    if not (source / MANIFEST_FILE).is_file() or not (source / WEIGHTS_FILE).is_file():
        return
    with whole_file(folder / WEIGHTS_FILE) as new, whole_file(folder / MANIFEST_FILE) as new_manifest:
        shutil.copyfile(source / WEIGHTS_FILE, new)
        shutil.copyfile(source / MANIFEST_FILE, new_manifest)


def named(file: str, name: str) -> str:
    """Return how one of the two files is called where weights have a name."""
    return f"{name}.{file}" if name else file


def read_manifest(folder: Path, name: str = "") -> Manifest:
    """Return the manifest of a weights folder once the weights file beside it has proved to be the one it tells of.

    name: of one of several weights in the folder.
    Raises UserError where a file is missing or damaged, or where heads differ from the task's.
    """
    path, weights = folder / named(MANIFEST_FILE, name), folder / named(WEIGHTS_FILE, name)
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["format"] != FORMAT:
            raise UserError(f"{path}: format {raw['format']}; this version reads format {FORMAT}")
        manifest = Manifest(
            settings_from(ModelSettings, raw["model"], path.name),
            {head: tuple(classes) for head, classes in raw["heads"].items()},
            {head: tuple(counts) for head, counts in raw["train_counts"].items()},
            {head: float(exponent) for head, exponent in raw["prior_exponents"].items()},
            raw["score"],
            raw["epoch"],
            raw["sha256"],
        )
        found = _sha256(weights)
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a manifest of weights ({error!r})") from error
    if found != manifest.sha256:
        raise UserError(f"{weights}: SHA-256 is {found[:16]}..., the manifest says {manifest.sha256[:16]}...")
    if manifest.heads != dict(task_by_name(manifest.model.task).heads):
        raise UserError(f"{path}: its heads are not those of task {manifest.model.task}")
    if not manifest.train_counts.keys() == manifest.prior_exponents.keys() == manifest.heads.keys():
        raise UserError(f"{path}: its train_counts or prior_exponents are not of each of its heads")
    return manifest


def load_model(folder: Path, manifest: Manifest, name: str = "") -> Any:
    """Return the Keras model of a manifest from read_manifest, with its weights."""
    network = build_model(manifest.model, task_by_name(manifest.model.task))
    network.load_weights(folder / named(WEIGHTS_FILE, name))
    return network


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
