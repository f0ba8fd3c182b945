"""Weights and their manifest: everything that predicting needs, in two files of one folder.

The folder that training leaves is ready to become a Kaggle dataset. The manifest holds what the network says of two
fixed images, its probe: a network that says something else is not the one that was trained. A probe is always
computed in float32 on the CPU, so that no device and no precision makes a difference.
"""

import hashlib
import json
import platform
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import efficientnet
import keras
import numpy as np
from numpy.typing import NDArray

from multihead.config.backbones import EFFICIENTNETS
from multihead.config.settings import ModelSettings, Step, checked_steps, settings_dict, settings_from
from multihead.config.task import TASKS, Label, Task, task_dict, task_from, what_answers_depend_on
from multihead.model.devices import device_name
from multihead.model.network import build_model
from multihead.runtime.errors import UserError
from multihead.runtime.text_files import read_text
from multihead.runtime.whole_files import whole_file

WEIGHTS_FILE = "model.weights.h5"
MANIFEST_FILE = "manifest.json"  # those of an ensemble have their name before it: NAME.model.weights.h5
FORMAT = 4
PROBE_IMAGES = 2
PROBE_TOLERANCE = 1e-3  # of a probability: CPUs and versions of the backend round differently, and by far less
PROBE_DECIMALS = 5


@dataclass(frozen=True)
class Manifest:
    """What the weights are.

    task: whose images and class labels. train_counts: for each head, the images of each class in the train part.
    prior_exponents: for each head, the power of these counts that its probabilities are divided by
    (logit_adjustment.py). score: of the validation part, or None. sha256: of the weights file. versions: of Python and
    of the packages that the network was trained with. probe: for each head, PROBE_IMAGES rows of a probability per
    class. device, images_per_second: what it was trained on, and how many images it answered there; None where no image
    was held out to measure it with. augmentation: the steps that it was trained with.
    """

    model: ModelSettings
    task: Task
    train_counts: Mapping[str, tuple[int, ...]]
    prior_exponents: Mapping[str, float]
    score: Mapping[str, Any] | None
    epoch: int
    sha256: str
    versions: Mapping[str, str]
    probe: Mapping[str, NDArray[np.float64]]
    device: str
    images_per_second: float | None
    augmentation: tuple[Step, ...]

    @property
    def prior(self) -> dict[str, Label]:
        """Each head's most frequent class label in the train part."""
        return {head: classes[int(np.argmax(self.train_counts[head]))] for head, classes in self.task.heads.items()}


def save_weights(
    folder: Path,
    network: Any,
    model: ModelSettings,
    task: Task,
    *,
    train_counts: Mapping[str, tuple[int, ...]],
    score: Mapping[str, Any] | None,
    epoch: int,
    prior_exponents: Mapping[str, float] | None = None,
    device: str = "",
    images_per_second: float | None = None,
    augmentation: Sequence[Step] = (),
) -> str:
    """Write weights and manifest, and return the weights' SHA-256.

    A failure leaves the pair before, a kill just between the two is named by reading.
    """
    with whole_file(folder / WEIGHTS_FILE) as new, whole_file(folder / MANIFEST_FILE) as new_manifest:
        # as a model of its own, without the optimizer
        keras.Model(network.input, network.output).save_weights(new)
        probe = answer_probe(network, model, task)
        manifest = {
            "format": FORMAT,
            "model": settings_dict(model),
            "task": task_dict(task),
            "train_counts": {head: list(counts) for head, counts in train_counts.items()},
            "prior_exponents": dict(prior_exponents or dict.fromkeys(train_counts, 0.0)),
            "score": score,
            "epoch": epoch,
            "device": device,
            "images_per_second": images_per_second,
            "augmentation": list(augmentation),
            "versions": _versions(model),
            "probe": {head: of.round(PROBE_DECIMALS).tolist() for head, of in probe.items()},
            "sha256": _sha256(new),
        }
        new_manifest.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return str(manifest["sha256"])


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
    Raises UserError where a file is missing or damaged, or where the task that is built in has changed.
    """
    path, weights = folder / named(MANIFEST_FILE, name), folder / named(WEIGHTS_FILE, name)
    try:
        raw = json.loads(read_text(path))
        if raw["format"] != FORMAT:
            raise UserError(f"{path}: format {raw['format']}; this version reads format {FORMAT}")
        manifest = Manifest(
            settings_from(ModelSettings, raw["model"], path.name),
            task_from(raw["task"], path.name),
            {head: tuple(counts) for head, counts in raw["train_counts"].items()},
            {head: float(exponent) for head, exponent in raw["prior_exponents"].items()},
            raw.get("score"),
            raw["epoch"],
            raw["sha256"],
            raw["versions"],
            {head: np.array(rows, np.float64) for head, rows in raw["probe"].items()},
            raw.get("device", ""),
            raw.get("images_per_second"),
            checked_steps(raw["augmentation"], path.name),
        )
        found = _sha256(weights)
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from error
    except KeyError as error:
        raise UserError(f"{path}: not a manifest of weights: no {error.args[0]}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a manifest of weights ({error!r})") from error
    if found != manifest.sha256:
        raise UserError(f"{weights}: SHA-256 is {found[:16]}..., the manifest says {manifest.sha256[:16]}...")
    built_in = TASKS.get(manifest.task.name)
    if built_in:
        built_in = replace(built_in, bits=manifest.task.bits)  # which the train images decide
        if what_answers_depend_on(manifest.task) != what_answers_depend_on(built_in):
            raise UserError(f"{path}: its task {manifest.task.name} is not what this version calls so")
        manifest = replace(manifest, task=built_in)
    if manifest.model.task != manifest.task.name:
        raise UserError(f"{path}: its model is of {manifest.model.task}, its task {manifest.task.name}")
    heads = manifest.task.heads
    if not manifest.train_counts.keys() == manifest.prior_exponents.keys() == heads.keys():
        raise UserError(f"{path}: its train_counts or prior_exponents are not of each of its heads")
    answers = {head: (PROBE_IMAGES, len(classes)) for head, classes in heads.items()}
    if {head: rows.shape for head, rows in manifest.probe.items()} != answers:
        raise UserError(f"{path}: its probe is not {PROBE_IMAGES} rows of a number per class for each of its heads")
    return manifest


def load_model(folder: Path, manifest: Manifest, name: str = "") -> Any:
    """Return the Keras model of a manifest from read_manifest, with its weights.

    Raises UserError where its answer to the probe is off by more than PROBE_TOLERANCE, with both values.
    """
    path = folder / named(WEIGHTS_FILE, name)
    network = build_model(manifest.model, manifest.task)
    network.load_weights(path)
    for head, found in answer_probe(network, manifest.model, manifest.task).items():
        expected = manifest.probe[head]
        off = np.abs(found - expected)
        place = image, label = np.unravel_index(off.argmax(), off.shape)  # the first that is no number, if there is one
        if not off[place] <= PROBE_TOLERANCE:
            versions = ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
            raise UserError(
                f"{path}: probe of {head}: the network says {found[place]:.4f} for class {label} of image {image}, "
                f"the manifest says {expected[place]:.4f}; it was trained with {versions}"
            )
    return network


def answer_probe(network: Any, model: ModelSettings, task: Task) -> dict[str, NDArray[np.float64]]:
    """Return what a network of these settings says of probe_images in float32 on the CPU: {head: (n, classes)}.

    Under mixed precision, or on a GPU that rounds float32 for its convolutions, the network itself would answer
    otherwise than at the place where it is compared: a copy of it is asked then.
    """
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        with keras.device("cpu:0"):
            asked = network
            if network.dtype_policy.name != "float32" or device_name() != "CPU":
                asked = build_model(model, task)
                asked.set_weights(network.get_weights())
            answers = asked(probe_images(model, task), training=False)  # not compiled, which would take longer
            return {head: np.array(of, np.float64) for head, of in answers.items()}
    finally:
        keras.config.set_dtype_policy(policy)


def probe_images(model: ModelSettings, task: Task) -> NDArray[np.uint8]:
    """Return stripes as uint8 (PROBE_IMAGES, height, width, c): whole numbers only, so the same on every machine."""
    channels = task.image_shape[2]
    image, row, column, channel = np.indices((PROBE_IMAGES, *model.image_size, channels))
    return np.asarray((3 + image) * row + (5 - 2 * image) * column + 64 * channel).astype(np.uint8)


def _versions(model: ModelSettings) -> dict[str, str]:
    backend = keras.config.backend()
    versions = {"python": platform.python_version(), "keras": keras.__version__}
    versions[backend] = sys.modules[backend].__version__
    return versions | ({"efficientnet": efficientnet.__version__} if model.backbone in EFFICIENTNETS else {})


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
