"""Weights and their manifest: everything that predicting needs, in two files of one folder.

The folder that training leaves is ready to become a Kaggle dataset. The manifest holds what the network says of two
fixed images, its probe: a network that says something else is not the one that was trained. A probe is always
computed in float32 on the CPU, so that no device and no precision makes a difference.
"""

import platform
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import efficientnet
import keras
import numpy as np
from numpy.typing import NDArray

from multihead.config.backbones import EFFICIENTNETS
from multihead.config.files import MANIFEST_FILE, WEIGHTS_FILE, named
from multihead.config.manifest import PROBE_IMAGES, Manifest, manifest_text, sha256_of
from multihead.config.model_settings import ModelSettings
from multihead.config.setting_types import Xla
from multihead.config.steps import Step
from multihead.config.task import Task
from multihead.model.devices import device_name
from multihead.model.heads import probabilities_of
from multihead.model.network import build_model
from multihead.runtime.errors import UserError
from multihead.runtime.whole_files import whole_file

PROBE_TOLERANCE = 1e-3  # of a probability: CPUs and versions of the backend round differently, and by far less
PROBE_DECIMALS = 5


def save_weights(
    folder: Path,
    network: Any,
    model: ModelSettings,
    task: Task,
    *,
    train_counts: Mapping[str, tuple[int, ...]],
    score: Mapping[str, Any] | None,
    epoch: int,
    train_images: int = 0,
    priors: Mapping[str, tuple[float, ...]] | None = None,
    chosen: Mapping[str, Any] | None = None,
    device: str = "",
    images_per_second: float | None = None,
    augmentation: Sequence[Step] = (),
    further_images: Sequence[Mapping[str, Any]] = (),
    started_from: str = "",
) -> str:
    """Write weights and manifest, and return the weights' SHA-256.

    chosen: prior_exponents, temperatures, thresholds, cut_points of the manifest.
    A failure leaves the pair before, a kill just between the two is named by reading.
    """
    with whole_file(folder / WEIGHTS_FILE) as new, whole_file(folder / MANIFEST_FILE) as new_manifest:
        # as a model of its own, without the optimizer; Keras writes its name, and would number those of a process
        keras.Model(network.input, network.output, name=network.name).save_weights(new)
        probe = answer_probe(network, model, task)
        manifest = Manifest(
            model=model,
            task=task,
            train_counts=train_counts,
            train_images=train_images,
            priors=priors or {},
            **{"prior_exponents": dict.fromkeys(train_counts, 0.0)} | dict(chosen or {}),
            score=score,
            epoch=epoch,
            device=device,
            images_per_second=images_per_second,
            augmentation=tuple(augmentation),
            further_images=tuple(further_images),
            started_from=started_from,
            versions=_versions(model),
            probe={head: answers.round(PROBE_DECIMALS).tolist() for head, answers in probe.items()},
            sha256=sha256_of(new),
        )
        new_manifest.write_text(manifest_text(manifest), encoding="utf-8")
    return manifest.sha256


def copy_weights(source: Path, folder: Path) -> None:
    """Copy weights and manifest, if there are any, from one folder into another."""
    if (source / MANIFEST_FILE).is_file() and (source / WEIGHTS_FILE).is_file():
        with whole_file(folder / WEIGHTS_FILE) as new, whole_file(folder / MANIFEST_FILE) as new_manifest:
            shutil.copyfile(source / WEIGHTS_FILE, new)
            shutil.copyfile(source / MANIFEST_FILE, new_manifest)


def load_model(folder: Path, manifest: Manifest, name: str = "", xla: Xla = "off") -> Any:
    """Return the Keras model of a manifest from read_manifest, with its weights.

    xla: whether it is compiled by XLA, resolved by prepare_devices.
    Raises UserError where its answer to the probe is off by more than PROBE_TOLERANCE, with both values.
    """
    path = folder / named(WEIGHTS_FILE, name)
    network = build_model(manifest.model, manifest.task)
    network.load_weights(path)
    network.jit_compile = xla == "on"
    for head, found in answer_probe(network, manifest.model, manifest.task).items():
        expected = np.array(manifest.probe[head])
        off = np.abs(found - expected)
        place = image, label = np.unravel_index(off.argmax(), off.shape)  # the first that is no number, if there is one
        if not off[place] <= PROBE_TOLERANCE * max(1.0, float(np.abs(expected[place]))):
            versions = ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
            raise UserError(
                f"{path}: probe of {head}: the network says {found[place]:.4f} for class {label} of image {image}, "
                f"the manifest says {expected[place]:.4f}; it was trained with {versions}"
            )
    return network


def answer_probe(network: Any, model: ModelSettings, task: Task) -> dict[str, NDArray[np.float64]]:
    """Return what a network of these settings says of probe_images, {head: (n, width)}.

    They are computed in float32 on the CPU.

    Under mixed precision, or on a GPU that rounds float32 for its convolutions, the network itself would answer
    otherwise than at the place where it is compared: a copy of it is asked then.
    """
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        with keras.device("cpu:0"):
            probed = network
            if network.dtype_policy.name != "float32" or device_name() != "CPU":
                probed = build_model(model, task)
                probed.set_weights(network.get_weights())
            logits = probed(probe_images(model, task), training=False)  # not compiled, which would take longer
            return {head: rows.astype(np.float64) for head, rows in probabilities_of(logits, task.kinds).items()}
    finally:
        keras.config.set_dtype_policy(policy)


def probe_images(model: ModelSettings, task: Task) -> NDArray[np.uint8]:
    """Return stripes as uint8 (PROBE_IMAGES, height, width, c): whole numbers only, so the same on every machine."""
    image, row, column, channel = np.indices((PROBE_IMAGES, *model.image_size, task.image_shape[2]))
    return np.asarray((3 + image) * row + (5 - 2 * image) * column + 64 * channel).astype(np.uint8)


def _versions(model: ModelSettings) -> dict[str, str]:
    backend = keras.config.backend()
    return {
        "python": platform.python_version(),
        "keras": keras.__version__,
        backend: sys.modules[backend].__version__,
        **({"efficientnet": efficientnet.__version__} if model.backbone in EFFICIENTNETS else {}),
    }
