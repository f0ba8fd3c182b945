"""Where a training is, and what follows from its scores: learning rate, best epoch, when to stop."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from multihead.settings import RunSettings
from multihead.whole_files import whole_file

HISTORY_FILE = "history.csv"


@dataclass
class TrainingState:
    """The counters of a training, plain values that a checkpoint keeps.

    epoch: epochs finished. shards_done, images, loss, head_losses: as many shards and images as the next epoch has been
    through, and the sums of the images' losses, of all heads as they are weighted and of each alone. best_*: of the
    validation score. epochs_since_best, epochs_at_rate: for early stopping, and for the plateau; plateau_factor: what
    it has made of the learning rate. history: a row per finished epoch.
    """

    plateau_factor: float = 1.0
    epoch: int = 0
    shards_done: int = 0
    images: int = 0
    loss: float = 0.0
    head_losses: dict[str, float] = field(default_factory=dict)
    best_score: float = -1.0
    best_epoch: int = 0
    epochs_since_best: int = 0
    epochs_at_rate: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    def add_images(self, images: int, mean_loss: float, mean_head_losses: Mapping[str, float]) -> None:
        """Take in what was fitted."""
        self.images += images
        self.loss += mean_loss * images
        for head, loss in mean_head_losses.items():
            self.head_losses[head] = self.head_losses.get(head, 0.0) + loss * images

    @property
    def mean_loss(self) -> float:
        return self.loss / max(1, self.images)

    @property
    def mean_head_losses(self) -> dict[str, float]:
        return {head: loss / max(1, self.images) for head, loss in self.head_losses.items()}

    def learning_rate(self, run: RunSettings, epochs: float) -> float:
        """Return the learning rate of the batch that is so many epochs after the start.

        Cosine: I. Loshchilov, F. Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, 2017, with no restart.
        """
        warmup = min(run.warmup_epochs, run.epochs / 2)
        if epochs < warmup:
            return run.learning_rate * self.plateau_factor * epochs / warmup
        floor = min(run.min_learning_rate, run.learning_rate)
        if run.schedule == "plateau":
            return max(run.learning_rate * self.plateau_factor, floor)
        done = (epochs - warmup) / (run.epochs - warmup)
        return floor + (run.learning_rate - floor) * (1 + math.cos(math.pi * min(done, 1.0))) / 2

    def is_over(self, run: RunSettings) -> bool:
        """Tell whether the score has stayed for as long as ends a training with a plateau."""
        return run.schedule == "plateau" and self.epochs_since_best >= run.stop_patience

    def is_best(self, score: float) -> bool:
        """Tell whether no epoch before scored more: of equal ones the later has learned longer."""
        return score >= self.best_score

    def end_epoch(self, score: float, run: RunSettings) -> None:
        """Take in one epoch's validation score: one plateau for all heads."""
        self.epoch += 1
        self.shards_done, self.images, self.loss, self.head_losses = 0, 0, 0.0, {}
        is_better = score > self.best_score
        if self.is_best(score):
            self.best_score, self.best_epoch = score, self.epoch
        if is_better:
            self.epochs_since_best = self.epochs_at_rate = 0
            return
        self.epochs_since_best += 1
        self.epochs_at_rate += 1
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
