"""The train kernel's recipe on the kit's crops for the time that is left, and its score on the test images."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from benchmarks.gpu.bench import GENERATED_FIT
from benchmarks.gpu.data import lay_out_train_images, read_part
from benchmarks.gpu.figures import Figures, read_figures
from benchmarks.gpu.rows import Network
from benchmarks.gpu.training import Training, prepare_training
from multihead.data.crop import crop_resize
from multihead.data.crop_store import CropStore
from multihead.prediction.logit_adjustment import adjusted_heads
from multihead.prediction.predictor import predict_probabilities
from multihead.runtime.log import elapsed
from multihead.scoring.metrics import Score, task_score
from multihead.training.trainer import Trainer
from multihead.training.validate import Validated

CLOSING_SECONDS = 12  # to predict the test images
START_SECONDS = 35  # to build the network, and to trace what is compiled already
EPOCH_SECONDS = 2.0  # beside its steps: the start of each shard's fit, and the validation
STEP_SECONDS = 0.02  # where none was measured
TINY_IMAGES = {"train": 192, "test": 64}


class TrainerWithoutFiles(Trainer):
    """The Trainer, which keeps in memory what it would save: nobody goes on with this training.

    The probe of the first weights to be saved, computed operation by operation, takes 40 s of a fresh process.
    """

    kept: tuple[list[Any], Validated | None]

    def __init__(self, training: Training, folder: Path, figures: Figures) -> None:
        """Train on the image files in a folder; each epoch becomes a figure."""
        super().__init__(*training, folder, folder)
        self._figures = figures

    def _end_epoch(self, store: CropStore) -> None:
        super()._end_epoch(store)
        self._figures.add("epoch", history={key: round(value, 5) for key, value in self.state.history[-1].items()})

    def _save(self, validated: Validated | None, epoch: int) -> None:  # noqa: ARG002
        self.kept = [keras.ops.copy(weight) for weight in self.network.weights], validated
        self._folder.has_weights = True

    def _checkpoint(self) -> None:
        """Nothing."""


def measure_recipe(network: Network, figures: Figures, kit: Path, limit: float, out: Path, *, is_tiny: bool) -> None:
    """Train until `limit` seconds after the start of the process are nearly over, and add the score that it reaches."""
    training = prepare_training(kit, network, (limit - CLOSING_SECONDS) / 60, is_tiny=is_tiny)
    crops, labels = _images(kit, "train", is_tiny=is_tiny)
    folder = Path(tempfile.mkdtemp(prefix="recipe-"))
    lay_out_train_images(folder, crops, labels)
    images = round(len(crops) * (1 - training.run.validation_share))
    epochs = 2 if is_tiny else _epochs(images / network.batch_size, limit, out)
    training = training._replace(run=replace(training.run, epochs=epochs))
    named = ("batch_size", "learning_rate", "precision", "xla", "cutmix_share", "ema_decay")
    figures.add("recipe", epochs=epochs, limit=round(limit), **{key: getattr(training.run, key) for key in named})
    trainer = TrainerWithoutFiles(training, folder, figures)
    state = trainer.train()
    figures.add("trained", epochs=state.epoch, images=state.epoch * images, seconds=round(elapsed()))
    reached, count = _score_on_test_images(trainer, kit, is_tiny=is_tiny)
    figures.add("test images", **reached.as_dict(), images=count, seconds=round(elapsed()))


def _epochs(steps: float, limit: float, out: Path) -> int:
    """Return the epochs of so many steps that fit into the limit, for the cosine to come to its end."""
    fits = [figure for figure in read_figures(out) if figure["figure"] == GENERATED_FIT]
    step_seconds = min(fits[0]["ms_per_step"]) / 1000 if fits else STEP_SECONDS
    seconds = 0.9 * (limit - CLOSING_SECONDS) - START_SECONDS
    return max(3, min(90, int(seconds / (steps * step_seconds + EPOCH_SECONDS))))


def _score_on_test_images(trainer: TrainerWithoutFiles, kit: Path, *, is_tiny: bool) -> tuple[Score, int]:
    """Return the score of the weights that were kept, the prior divided out, and the number of images."""
    weights, validated = trainer.kept
    for weight, value in zip(trainer.network.weights, weights, strict=True):
        weight.assign(value)
    images, task = trainer.images, trainer.images.task
    exponents = validated.chosen.exponents if validated else dict.fromkeys(task.heads, 0.0)
    crops, labels = _images(kit, "test", is_tiny=is_tiny)
    crops = crop_resize(crops, trainer.model.image_size, "none", task.dark_ink)
    probabilities = predict_probabilities(trainer.network, crops, trainer.run.batch_size)
    adjusted = adjusted_heads(probabilities, images.train_counts, exponents)
    answers = {head: np.asarray(rows.argmax(axis=1), np.int64) for head, rows in adjusted.items()}
    return task_score({head: labels[head].to_numpy() for head in task.heads}, answers, task), len(crops)


def _images(kit: Path, part: str, *, is_tiny: bool) -> tuple[Any, Any]:
    crops, labels = read_part(kit / "data", part)
    count = TINY_IMAGES[part] if is_tiny else len(crops)
    return crops[:count], labels[:count]
