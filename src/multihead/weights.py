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
MANIFEST_FILE = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """What the weights are.

    heads: each head's class labels. train_counts: for each head, the images of each class in the train part.
    score: of the validation part, or None. sha256: of the weights file.
    """

    model: ModelSettings
    heads: Mapping[str, tuple[int, ...]]
    train_counts: Mapping[str, tuple[int, ...]]
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


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a weights folder once the weights file beside it has proved to be the one it tells of.

    Raises UserError where a file is missing or damaged, or where heads differ from the task's.
    """
    path = folder / MANIFEST_FILE
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["format"] != FORMAT:
            raise UserError(f"{path}: format {raw['format']}; this version reads format {FORMAT}")
        manifest = Manifest(
            settings_from(ModelSettings, raw["model"], path.name),
            {head: tuple(classes) for head, classes in raw["heads"].items()},
            {head: tuple(counts) for head, counts in raw["train_counts"].items()},
            raw["score"],
            raw["epoch"],
            raw["sha256"],
        )
        found = _sha256(folder / WEIGHTS_FILE)
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a manifest of weights ({error!r})") from error
    if found != manifest.sha256:
        raise UserError(
            f"{folder / WEIGHTS_FILE}: SHA-256 is {found[:16]}..., the manifest says {manifest.sha256[:16]}..."
        )
    if manifest.heads != dict(task_by_name(manifest.model.task).heads):
        raise UserError(f"{path}: its heads are not those of task {manifest.model.task}")
    return manifest


def load_model(folder: Path, manifest: Manifest) -> Any:
    """Return the Keras model of a manifest from read_manifest, with its weights."""
    network = build_model(manifest.model, task_by_name(manifest.model.task))
    network.load_weights(folder / WEIGHTS_FILE)
    return network


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
