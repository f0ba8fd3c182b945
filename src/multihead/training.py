"""Shard-by-shard training with one learning-rate plateau, early stopping and a time budget.

An epoch is one pass over all shards, with validation at its end. The first reads the files, shard by
shard, and fills the crop store; each later one goes through the stored shards in a shuffled order,
SHARDS_IN_MEMORY at a time, drawing batches across those.
"""

import csv
import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.crop_store import CropStore, crops_ahead
from multihead.errors import UserError
from multihead.generator import Draw, TrainBatches, random_for
from multihead.inference import predict_probabilities
from multihead.metrics import Score, weighted_macro_recall
from multihead.model import build_model
from multihead.progress import Pace, elapsed, say
from multihead.settings import ModelSettings, RunSettings
from multihead.shards import find_shards, read_labels
from multihead.tasks import Task
from multihead.weights import save_weights

SHARDS_IN_MEMORY = 2
HISTORY_FILE = "history.csv"
HISTORY_COLUMNS = ("epoch", "loss", "learning_rate", "images_per_second", "score")
OPTIMIZERS = {"adamw": keras.optimizers.AdamW, "rmsprop": keras.optimizers.RMSprop}


@dataclass
class Schedule:
    """The learning rate and the best epoch so far, decided by the validation score alone."""

    learning_rate: float
    best_score: float = -math.inf
    best_epoch: int = -1
    epochs_since_best: int = 0
    epochs_at_rate: int = 0

    def update(self, epoch: int, score: float, run: RunSettings) -> bool:
        """Take in one epoch's score and return True where it is the best so far."""
        if score > self.best_score:
            self.best_score, self.best_epoch = score, epoch
            self.epochs_since_best = self.epochs_at_rate = 0
            return True
        self.epochs_since_best += 1
        self.epochs_at_rate += 1
        if self.epochs_at_rate >= run.plateau_patience:
            self.learning_rate = max(self.learning_rate * run.plateau_factor, run.min_learning_rate)
            self.epochs_at_rate = 0
        return False


@dataclass
class Totals:
    """What one epoch has done so far."""

    started: float = field(default_factory=elapsed)
    images: int = 0
    loss: float = 0.0

    def add(self, images: int, mean_loss: float) -> None:
        self.images += images
        self.loss += mean_loss * images

    @property
    def mean_loss(self) -> float:
        return self.loss / max(1, self.images)

    @property
    def images_per_second(self) -> float:
        return self.images / max(1e-9, elapsed() - self.started)


class Trainer:
    """One training run, from the shards of a competition folder to the weights in a working folder."""

    def __init__(self, task: Task, model: ModelSettings, run: RunSettings, data: Path, working: Path) -> None:
        self.task, self.model, self.run, self.working = task, model, run, working
        self.files = find_shards(data, task.train_files)
        self.labels = read_labels(data / task.labels_file, task)
        self.held_out = choose_validation(self.labels, run)
        self.network = build_model(model, task)
        self.network.compile(
            optimizer=OPTIMIZERS[run.optimizer](run.learning_rate),
            loss={head: keras.losses.CategoricalCrossentropy() for head in task.heads},
        )
        self.schedule = Schedule(run.learning_rate)
        self.deadline = run.time_budget_minutes * 60 or math.inf

    def train(self) -> Score:
        """Train, leave the weights of the best epoch in the working folder, and return its score."""
        say(f"{self.model.backbone}, {self.network.count_params():,} parameters; {len(self.files)} shards")
        say("the first step compiles the network: some 10 s for narrow, 40 s for efficientnet-b0 on a CPU")
        best: Score | None = None
        history: list[dict[str, Any]] = []
        with tempfile.TemporaryDirectory(prefix="crops-") as scratch:
            store = CropStore(Path(scratch))
            for epoch in range(self.run.epochs):
                totals = self._fit_epoch(store, epoch)
                score = self._validate(store)
                improved = self.schedule.update(epoch, score.total, self.run)
                history.append(self._report(epoch, totals, score, improved))
                write_history(self.working / HISTORY_FILE, history)
                if improved:
                    best = score
                    self._save(score, epoch)
                reason = self._reason_to_stop(epoch, totals)
                if reason:
                    say(f"{reason}; {self.run.epochs - epoch - 1} of {self.run.epochs} epochs skipped")
                    break
        assert best is not None
        return best

    def _fit_epoch(self, store: CropStore, epoch: int) -> Totals:
        totals = Totals()
        self.network.optimizer.learning_rate = self.schedule.learning_rate
        for group in self._shard_groups(store, epoch):
            if elapsed() > self.deadline and totals.images:
                say(f"  time budget: the rest of epoch {epoch + 1} skipped")
                continue  # in the first epoch the shards still have to be stored, for validation
            self._fit_shards(store, group, epoch, totals)
        return totals

    def _shard_groups(self, store: CropStore, epoch: int) -> Iterator[list[int]]:
        """Yield the numbers of the shards to draw batches from together; the first epoch also stores them."""
        if epoch == 0:
            for number, shard in enumerate(crops_ahead(self.files, self.task, self.model, self.labels)):
                store.save(number, shard)
                del shard
                yield [number]
            return
        order = random_for(self.run.seed, Draw.SHARD_ORDER, epoch).permutation(len(self.files)).tolist()
        for start in range(0, len(order), SHARDS_IN_MEMORY):
            yield order[start : start + SHARDS_IN_MEMORY]

    def _fit_shards(self, store: CropStore, group: list[int], epoch: int, totals: Totals) -> None:
        shards = [store.load(number) for number in group]
        kept = [np.flatnonzero(~self._is_held_out(shard.ids)) for shard in shards]
        rows = np.concatenate([np.stack([np.full_like(k, i), k], 1) for i, k in enumerate(kept)])
        if not len(rows):
            return
        labels = [shard.labels or {} for shard in shards]
        batches = TrainBatches(
            [shard.images for shard in shards],
            rows,
            {
                head: np.concatenate([of[head][k] for of, k in zip(labels, kept, strict=True)])
                for head in self.task.heads
            },
            {head: len(classes) for head, classes in self.task.heads.items()},
            self.run,
            dark_ink=self.task.dark_ink,
            epoch=epoch,
            shard=group[0],
        )
        watch = _Watch(f"epoch {epoch + 1}", len(batches), self.deadline)
        fitted = self.network.fit(_KerasBatches(batches), epochs=1, shuffle=False, verbose=0, callbacks=[watch])
        loss = fitted.history["loss"][0]
        if not math.isfinite(loss):
            raise UserError(
                f"epoch {epoch + 1}: the loss is {loss}; learning_rate {self.schedule.learning_rate} is too high"
            )
        totals.add(min(watch.batches_done * self.run.batch_size, len(rows)), loss)

    def _validate(self, store: CropStore) -> Score:
        predicted: dict[str, list[NDArray[np.int64]]] = {head: [] for head in self.task.heads}
        truth: dict[str, list[NDArray[np.int64]]] = {head: [] for head in self.task.heads}
        for number in range(len(self.files)):
            shard = store.load(number)
            rows = np.flatnonzero(self._is_held_out(shard.ids))
            probabilities = predict_probabilities(self.network, shard.images[rows], self.run.batch_size)
            for head in self.task.heads:
                predicted[head].append(probabilities[head].argmax(axis=1))
                truth[head].append((shard.labels or {})[head][rows])
        return weighted_macro_recall(_joined(truth), _joined(predicted), self.task)

    def _is_held_out(self, ids: Any) -> NDArray[np.bool_]:
        return np.asarray(self.held_out.loc[ids], dtype=np.bool_)

    def _save(self, score: Score, epoch: int) -> None:
        kept = self.labels[~self.held_out.loc[self.labels.index]]
        counts = {
            head: tuple(np.bincount(kept[head], minlength=len(classes)).tolist())
            for head, classes in self.task.heads.items()
        }
        save_weights(
            self.working, self.network, self.model, train_counts=counts, score=score.as_dict(), epoch=epoch + 1
        )

    def _report(self, epoch: int, totals: Totals, score: Score, improved: bool) -> dict[str, Any]:
        """Say how the epoch went and return its row of the history."""
        best = "best so far, saved" if improved else f"best: epoch {self.schedule.best_epoch + 1}"
        rate = totals.images_per_second
        say(f"epoch {epoch + 1}/{self.run.epochs}: loss {totals.mean_loss:.3f}, {score} [{best}], {rate:.0f} images/s")
        learning_rate = float(np.asarray(self.network.optimizer.learning_rate))
        values = (epoch + 1, totals.mean_loss, learning_rate, rate, score.total)
        return dict(zip(HISTORY_COLUMNS, values, strict=True)) | dict(score.recall)

    def _reason_to_stop(self, epoch: int, totals: Totals) -> str:
        """Return why no further epoch follows, or nothing; another one must fit into the time budget whole."""
        if epoch + 1 == self.run.epochs:
            return ""
        if self.schedule.epochs_since_best >= self.run.stop_patience:
            return f"no better score for {self.run.stop_patience} epochs"
        if elapsed() + (elapsed() - totals.started) > self.deadline:
            return f"time budget of {self.run.time_budget_minutes:g} minutes"
        return ""


def choose_validation(labels: pd.DataFrame, run: RunSettings) -> "pd.Series[bool]":
    """Return True, by image id, for the share of the images that is held out.

    Drawn evenly over the label combinations: in an order sorted by the labels, shuffled within each
    combination, every (1 / validation_share)-th image from a random start is held out. The draw depends on
    ids and seed only, not on how the images are split into files. Raises UserError where none is left to
    train on or to validate with.
    """
    ordered = labels.sort_index()
    shuffled = random_for(run.seed, Draw.SPLIT).permutation(len(ordered))
    order = np.lexsort([shuffled, *(ordered[head].to_numpy() for head in reversed(ordered.columns))])
    start = random_for(run.seed, Draw.SPLIT, 1).random()
    marks = np.floor(np.arange(len(order) + 1) * run.validation_share + start)
    held_out = pd.Series(False, ordered.index)
    held_out.iloc[order] = np.diff(marks) > 0
    if not held_out.any() or held_out.all():
        raise UserError(
            f"validation_share = {run.validation_share}: {int(held_out.sum())} of {len(labels)} images would be "
            "held out; at least one must be, and at least one not"
        )
    return held_out


def write_history(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write one line of CSV per epoch."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _joined(parts: Mapping[str, list[NDArray[np.int64]]]) -> dict[str, NDArray[np.int64]]:
    return {head: np.concatenate(of) for head, of in parts.items()}


class _KerasBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """TrainBatches as fit takes them, made in order ahead of the network by two threads."""

    def __init__(self, batches: TrainBatches) -> None:
        super().__init__(workers=2, max_queue_size=8)
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> Any:
        return self._batches[index]


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Says a line every ten seconds, counts batches, and ends the fit where the time budget does."""

    def __init__(self, name: str, batches: int, deadline: float) -> None:
        super().__init__()
        self._name, self._batches, self._deadline = name, batches, deadline
        self._pace = Pace(10)
        self.batches_done = 0

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self.batches_done = batch + 1
        if self._pace.is_due():
            say(f"  {self._name}: batch {batch + 1}/{self._batches}, loss {(logs or {}).get('loss', math.nan):.3f}")
        if elapsed() > self._deadline:
            self.model.stop_training = True
