"""Where a training is, and what follows from its scores: learning rate, which epoch is saved, when to stop."""

import csv
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from multihead.config.files import HISTORY_FILE
from multihead.config.settings import RunSettings
from multihead.runtime.whole_files import whole_file
from multihead.scoring.metrics import Score

WORST = -sys.float_info.max  # of any score; plain JSON has no infinity
TOLERANCE = 1.96 * math.sqrt(2)  # standard errors; two scores of other images differ by more in one case of 20


@dataclass
class TrainingState:
    """The counters of a training, plain values that a checkpoint keeps.

    A score is Score.to_maximise: that over the classes present, of a loss with a minus.
    epoch: epochs finished. shards_done, images, loss, head_losses: as many shards and images as the next epoch has been
    through, and the sums of the images' losses, of all heads as they are weighted and of each alone. best_score: the
    highest in validation. saved_*: of the epoch whose weights are kept; the SHA-256 is their file's. epochs_since_best,
    epochs_at_rate: for early stopping, and for the plateau; plateau_factor: what it has made of the learning rate.
    history: a row per finished epoch. started_from: the file of weights that it started from, with its SHA-256.
    further_images: what the manifest says of each source of images that it was trained on, in any session, or that
    these weights were.
    """

    plateau_factor: float = 1.0
    epoch: int = 0
    shards_done: int = 0
    images: int = 0
    loss: float = 0.0
    head_losses: dict[str, float] = field(default_factory=dict)
    best_score: float = WORST
    saved_score: float = WORST
    saved_epoch: int = 0
    saved_sha256: str = ""
    epochs_since_best: int = 0
    epochs_at_rate: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    started_from: str = ""
    further_images: list[dict[str, Any]] = field(default_factory=list)

    def add_sources(self, sources: Sequence[Mapping[str, Any]]) -> None:
        """Take in sources of further images; of one that is known, what is said now counts."""
        known = {(source["folder"], source["origin"]): dict(source) for source in (*self.further_images, *sources)}
        self.further_images = list(known.values())

    def add_images(self, images: int, mean_loss: float, mean_head_losses: Mapping[str, float]) -> None:
        """Take in what was fitted."""
        self.images += images
        self.loss += mean_loss * images
        for head, loss in mean_head_losses.items():
            self.head_losses[head] = self.head_losses.get(head, 0.0) + loss * images

    def learning_rate(self, run: RunSettings, epochs: float) -> float:
        """Return the rate of the batch that is so many epochs after the start: a linear warm-up, then the rest.

        Of a cosine that is half of one, down to the floor (I. Loshchilov, F. Hutter, SGDR: Stochastic Gradient Descent
        with Warm Restarts, 2017, with no restart). Of a plateau it is what the scores so far have made of the rate.
        """
        warmup, floor = min(run.warmup_epochs, run.epochs / 2), min(run.min_learning_rate, run.learning_rate)
        highest = run.learning_rate * (self.plateau_factor if run.schedule == "plateau" else 1.0)
        if epochs < warmup:
            return highest * epochs / warmup
        if run.schedule == "plateau":
            return max(highest, floor)
        done = (epochs - warmup) / (run.epochs - warmup)
        return floor + (highest - floor) * (1 + math.cos(math.pi * min(done, 1.0))) / 2

    def learning_rates(self, run: RunSettings, batches: int, epoch_images: int) -> list[float]:
        """Return the learning rates of this epoch's next batches; epoch_images: how many images the epoch has."""
        images = self.images + run.batch_size * np.arange(1, batches + 1)
        epochs = self.epoch + np.minimum(images / epoch_images, 1.0)
        return [self.learning_rate(run, begun) for begun in epochs.tolist()]

    def is_to_save(self, score: Score, run: RunSettings) -> bool:
        """Tell whether an epoch's weights take the place of those that are kept.

        Under a cosine the later epoch has learned longer, at a lower rate, and the best of many noisy scores is luck:
        it does unless its score is TOLERANCE standard errors worse. Under a plateau it does unless its score is lower.
        In a study the held-out images choose nothing: it always does.
        """
        if run.study_folds:
            return True
        tolerance = TOLERANCE * score.standard_error if run.schedule == "cosine" else 0.0
        return score.to_maximise >= self.best_score - tolerance

    def forget_saved(self) -> None:
        """Have no epoch's weights kept, and no score to be compared with."""
        self.best_score, self.saved_score, self.saved_epoch, self.saved_sha256 = WORST, WORST, 0, ""

    def end_epoch(self, score: Score, run: RunSettings, *, is_saved: bool) -> None:
        """Take in one epoch's validation score, one plateau for all heads, and whether its weights were saved."""
        self.epoch += 1
        self.shards_done, self.images, self.loss, self.head_losses = 0, 0, 0.0, {}
        if is_saved:
            self.saved_score, self.saved_epoch = score.to_maximise, self.epoch
        if score.to_maximise > self.best_score:
            self.best_score = score.to_maximise
            self.epochs_since_best = self.epochs_at_rate = 0
            return
        self.epochs_since_best += 1
        self.epochs_at_rate += run.schedule == "plateau"
        if self.epochs_at_rate >= run.plateau_patience:
            self.plateau_factor *= run.plateau_factor
            self.epochs_at_rate = 0

    def write_history(self, folder: Path) -> None:
        """Write one line of CSV per finished epoch."""
        with whole_file(folder / HISTORY_FILE) as new, new.open("w", encoding="utf-8", newline="") as file:
            columns = dict.fromkeys(key for row in self.history for key in row)  # a session before may have had fewer
            writer = csv.DictWriter(file, list(columns), lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.history)
