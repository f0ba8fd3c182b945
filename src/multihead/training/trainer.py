"""Shard-by-shard training with a learning-rate schedule, a moving average, a time budget, and resume.

An epoch is one pass over all shards, with validation at its end. The first reads the files, shard by
shard, and fills the crop store; each later one goes through the stored shards in a shuffled order,
SHARDS_IN_MEMORY at a time, drawing batches across those. After every shard's worth of batches a checkpoint
is left.
"""

import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.config.files import CHECKPOINT_FILE, MANIFEST_FILE, WEIGHTS_FILE
from multihead.config.manifest import Manifest, read_manifest
from multihead.config.settings import ModelSettings, RunSettings, settings_dict
from multihead.config.task import Task, what_answers_depend_on
from multihead.data.batches import TrainBatches
from multihead.data.crop_store import CropStore, crops_ahead
from multihead.data.datasets import images_to_train
from multihead.data.draws import Draw, random_for
from multihead.data.locate import find_everywhere
from multihead.data.shards import Shard
from multihead.data.split import choose_validation
from multihead.model.devices import device_name
from multihead.model.network import build_model, freeze_up_to, load_pretrained
from multihead.model.weights import copy_weights, save_weights
from multihead.prediction.logit_adjustment import adjusted_heads, choose_exponents
from multihead.prediction.predictor import images_per_second, predict_probabilities
from multihead.runtime.errors import OutOfTimeError, UserError, listed
from multihead.runtime.log import Pace, elapsed, memory_gb, say
from multihead.scoring.metrics import Score, is_seen, task_score
from multihead.training.checkpoint import Checkpoint, restore, save_checkpoint, versions
from multihead.training.moving_average import MovingAverage
from multihead.training.record import HeldOut, Samples, copy_record, make_record, no_harm, save_record, take_samples
from multihead.training.resume import checkpoints_to_go_on_from, differing, identity_of, in_words
from multihead.training.schedule import TrainingState

SHARDS_IN_MEMORY = 2


class Validated(NamedTuple):
    """What the held-out images say of the network.

    score: with the prior divided out (logit_adjustment.py) to the power of `exponents`, chosen on the same images.
    plain: without. unseen: of those whose label combination is in no train image; None where there are none. Few have
    every class, so it is told over the classes present.
    held_out: the images, and what it says of each.
    """

    score: Score
    plain: Score
    unseen: Score | None
    exponents: Mapping[str, float]
    held_out: HeldOut

    def __str__(self) -> str:
        unseen = f", {self.unseen.present_total:.4f} unseen" if self.unseen else ""
        prior = f", {self.plain.total:.4f} with the prior left in" if any(self.exponents.values()) else ""
        return f"{self.score}{prior}{unseen}"


class Trainer:
    """One training, from the shards of a competition folder to the weights in a working folder."""

    def __init__(self, task: Task, model: ModelSettings, run: RunSettings, data: Path, working: Path) -> None:
        images = images_to_train(data, model.as_read(task), model.fold)  # a damaged table shows now, not in an hour
        for warning in images.warnings():
            say(f"warning: {warning}")
        self.task, self.model, self.run, self.working = replace(task, bits=images.task.bits), model, run, working
        self.files, self.labels, self.images = images.parts, images.labels, len(images.labels)
        self.held_out = choose_validation(self.labels, run)
        self.train_images = int((~self.held_out).sum())
        self.network = build_model(model, task)
        if run.frozen_up_to:
            freeze_up_to(self.network, model, run.frozen_up_to)
        weights = {head: task.weight(head) if run.loss_weights == "score" else 1.0 for head in task.heads}
        self.network.compile(
            optimizer=_optimizer(run),
            loss={
                head: keras.losses.CategoricalCrossentropy(label_smoothing=run.label_smoothing) for head in task.heads
            },
            loss_weights={head: weight * len(weights) / sum(weights.values()) for head, weight in weights.items()},
        )
        _create_variables(self.network)
        self.average = self._new_average()
        self.state = TrainingState()
        self._has_weights = self._has_checkpoint = False  # of this training, in the working folder
        self._has_fitted = False  # in this epoch, whether or not a shard was done
        self._images_per_second = 0.0  # of this epoch, as far as this process fitted it
        self._answers_per_second: float | None = None  # of the network alone, on this device
        self._samples: Samples | None = None  # for the report
        self.deadline = run.deadline()

    def train(self) -> TrainingState:
        """Train, leave the weights of the epoch to keep in the working folder, and return how far it came."""
        say(f"{self.model.backbone}, {self.network.count_params():,} parameters")
        say(f"{self.images:,} images in {len(self.files)} shards")
        if not self._resume() and self.run.pretrained:
            self._start_from_pretrained()
        say("the first step compiles the network: some 10 s for narrow, 20 s for efficientnet-b0 on a CPU")
        with tempfile.TemporaryDirectory(prefix="crops-") as scratch:
            store = CropStore(Path(scratch))
            try:
                while not self._is_over():
                    self._fit_epoch(store)
                    self._end_epoch(store)
                if not self._has_weights:
                    self._save_what_is_restored(store)
            except FloatingPointError as error:
                self._stop_at_last_good(error)
            except OutOfTimeError:
                self._stop_in_time(store)
            except KeyboardInterrupt as interruption:
                raise KeyboardInterrupt(self._left_in_words()) from interruption
        return self.state

    def _left_in_words(self) -> str:
        """Return what a training that is broken off leaves, and how it goes on."""
        if not self._has_checkpoint:
            return "no shard was done, so nothing is kept"
        how = " with --set resume=auto" if self.run.resume == "off" else ""
        return f"the same command{how} goes on from {self.working / CHECKPOINT_FILE}"

    def _is_over(self) -> bool:
        """Tell whether no further epoch follows, and say why where it ends early."""
        left = self.run.epochs - self.state.epoch
        if left > 0 and self.state.is_over(self.run):
            say(f"no better score for {self.run.stop_patience} epochs; {left} of {self.run.epochs} epochs skipped")
            return True
        return left <= 0

    @property
    def _identity(self) -> dict[str, Any]:
        return identity_of(self.task, self.model, self.run, [file.name for file in self.files], self.images)

    def _start_from_pretrained(self) -> None:
        found = find_everywhere(self.run.pretrained, self.working)
        if not found:
            raise UserError(f"pretrained = {self.run.pretrained!r}: in no input; is its dataset among dataset_sources?")
        load_pretrained(self.network, self.model, found[0])
        self.average = self._new_average()
        say(f"starting from {found[0]}")

    def _new_average(self) -> MovingAverage | None:
        return MovingAverage(self.network, self.run.ema_decay) if self.run.ema_decay else None

    def _resume(self) -> bool:
        """Go on from the furthest checkpoint of this training, if there is any, and bring its best weights along."""
        checkpoints = checkpoints_to_go_on_from(self._identity, self.run.resume, self.working)
        for number, checkpoint in enumerate(checkpoints, 1):
            try:
                restore(self.network, checkpoint, self.average)
            except UserError as error:
                if number == len(checkpoints):
                    raise
                say(f"warning: not used: {error}")
                continue
            self._take_over(checkpoint)
            return True
        return False

    def _take_over(self, checkpoint: Checkpoint) -> None:
        """Take the counters of a checkpoint that was restored, and put into the working folder what lies beside it.

        So a session that comes no further hands on what it was given.
        """
        self.state = checkpoint.state
        folder = checkpoint.path.parent
        if folder != self.working:
            copy_weights(folder, self.working)
            with no_harm("report of the epochs before"):
                copy_record(folder, self.working)
        if self.state.history:
            self.state.write_history(self.working)
        epoch, shards = checkpoint.progress
        say(f"going on from {checkpoint.path}: {epoch} epochs and {shards} shards of the next are done")
        changed = differing(checkpoint.identity, self._identity)
        changed |= {what: (there, versions()[what]) for what, there in checkpoint.versions.items()}
        changed = {key: values for key, values in changed.items() if values[0] != values[1]}
        if changed:
            say(f"changed from here on: {in_words(changed)}")
        self._has_checkpoint = folder == self.working
        if not self._check_weights() or not self._has_checkpoint:
            self._checkpoint()

    def _check_weights(self) -> bool:
        """Find out whether the weights that the counters tell of are there; return whether the counters are as before.

        Where they are not there, the next epoch's are saved, whatever its score.
        """
        state = self.state
        try:
            manifest = read_manifest(self.working)
            self._has_weights = self._is_saved(manifest)
            problem = f"those in {self.working} are others, of epoch {manifest.epoch}"
            is_of_next = manifest.epoch == state.epoch + 1
        except UserError as error:
            problem = str(error)
            is_of_next = all((self.working / name).is_file() for name in (MANIFEST_FILE, WEIGHTS_FILE))
        if self._has_weights or not state.saved_epoch:
            return True
        say(f"warning: the weights of epoch {state.saved_epoch} are lost ({problem})")
        if is_of_next:  # a kill came after these were saved, or between the two files: that epoch is done again
            return True
        state.forget_saved()
        return False

    def _is_saved(self, manifest: Manifest) -> bool:
        """Tell whether these are the weights that the counters tell of; older ones tell the epoch only."""
        state = self.state
        if state.saved_sha256:
            return manifest.sha256 == state.saved_sha256
        tasks = [what_answers_depend_on(task) for task in (manifest.task, self.task)]
        return manifest.epoch == state.saved_epoch and manifest.model == self.model and tasks[0] == tasks[1]

    def _save_what_is_restored(self, store: CropStore) -> None:
        """Save the weights of a training that has no epoch left, where those that it had saved are lost."""
        state = self.state
        say(f"making the weights anew from the checkpoint after epoch {state.epoch}")
        if not store.numbers():
            for _ in self._fill(store):
                pass
        with self._averaged():
            validated = self._validate(store)
            self._save(validated, state.epoch)
        state.best_score = state.saved_score = validated.score.present_total
        state.saved_epoch = state.epoch
        self._checkpoint()

    def _checkpoint(self) -> None:
        save_checkpoint(self.working, self.network, self._identity, self.state, self.average)
        self._has_checkpoint = True

    def _fit_epoch(self, store: CropStore) -> None:
        """Fit what the epoch has left; OutOfTimeError where the time budget ends before it."""
        started, images_before = elapsed(), self.state.images
        seen = 0
        for group in self._shard_groups(store):
            seen += len(group)
            if seen <= self.state.shards_done:
                continue
            batches = self._batches_of([store.load(shard) for shard in group], group[0])
            self._show(batches, store.load(group[0]))
            for part in range(self.state.shards_done - (seen - len(group)), len(group)):
                which = range(len(batches) * part // len(group), len(batches) * (part + 1) // len(group))
                if which:
                    images = batches.images_until(which.stop) - batches.images_until(which.start)
                    self.state.add_images(images, *self._fit(batches, which))
                self.state.shards_done += 1
                self._images_per_second = (self.state.images - images_before) / (elapsed() - started)
                self._checkpoint()

    def _shard_groups(self, store: CropStore) -> Iterator[list[int]]:
        """Yield the numbers of the shards to draw batches from together, storing those that are not stored yet."""
        if self.state.epoch == 0:
            yield from ([number] for number in self._fill(store))
            return
        if not store.numbers():
            for _ in self._fill(store):
                pass
        order = random_for(self.run.seed, Draw.SHARD_ORDER, self.state.epoch).permutation(len(self.files)).tolist()
        for start in range(0, len(order), SHARDS_IN_MEMORY):
            yield order[start : start + SHARDS_IN_MEMORY]

    def _fill(self, store: CropStore) -> Iterator[int]:
        """Read, crop and store each shard, the next one while the caller works; yield its number."""
        crops = crops_ahead(self.files, self.task, [self.model], self.labels, deadline=self.deadline)
        for number, ((shard,), _) in enumerate(crops):
            _refuse_blank(shard, self.files[number].name, self.task)
            store.save(number, shard)
            self.labels = self.labels.drop(list(shard.unreadable), errors="ignore")
            yield number

    def _batches_of(self, shards: Sequence[Shard], first: int) -> TrainBatches:
        """Return this epoch's batches of the shards' train images; `first` is the number of the first of them."""
        kept = [np.flatnonzero(~self._is_held_out(shard.ids)) for shard in shards]
        rows = np.concatenate([np.stack([np.full_like(k, i), k], 1) for i, k in enumerate(kept)])
        labels = [shard.labels or {} for shard in shards]
        return TrainBatches(
            [shard.images for shard in shards],
            rows,
            {
                head: np.concatenate([of[head][k] for of, k in zip(labels, kept, strict=True)])
                for head in self.task.heads
            },
            {head: len(classes) for head, classes in self.task.heads.items()},
            self.run,
            dark_ink=self.task.dark_ink,
            epoch=self.state.epoch,
            shard=first,
        )

    def _show(self, batches: TrainBatches, shard: Shard) -> None:
        """Keep samples of the first batches that this process makes."""
        if not self._samples:
            with no_harm("samples for the report"):
                self._samples = take_samples(batches, shard, self.task, self.model, self.state.epoch + 1)

    def _fit(self, batches: TrainBatches, which: range) -> tuple[float, dict[str, float]]:
        """Fit once on those of the batches and return the mean loss, and that of each head where there are several.

        Raises FloatingPointError for a loss that is not finite, OutOfTimeError where the time budget ends before.
        """
        epoch = self.state.epoch
        watch = _Watch(f"epoch {epoch + 1}", len(which), self.deadline)
        steps = _Steps(self._learning_rates(len(which)), self.average)
        source = KerasBatches(batches, which)
        self._has_fitted = True
        fitted = self.network.fit(source, epochs=1, shuffle=False, verbose=0, callbacks=[watch, steps])
        source.release()
        loss = float(fitted.history["loss"][0])
        if not math.isfinite(loss) or not all(np.isfinite(np.asarray(v)).all() for v in self.network.weights):
            raise FloatingPointError(
                f"epoch {epoch + 1}: the loss is {loss} or has made a weight infinite; "
                f"a training begun with a learning_rate below {self.run.learning_rate:g} may help"
            )
        if watch.batches_done < len(which):
            raise OutOfTimeError
        of_heads = {head: fitted.history.get(f"{head}_loss") for head in self.task.heads}
        return loss, {head: float(of[0]) for head, of in of_heads.items() if of}

    def _learning_rates(self, batches: int) -> list[float]:
        """Return the learning rates of the next batches of this epoch."""
        images = self.state.images + self.run.batch_size * np.arange(1, batches + 1)
        epochs = self.state.epoch + np.minimum(images / self.train_images, 1.0)
        return [self.state.learning_rate(self.run, of) for of in epochs.tolist()]

    def _end_epoch(self, store: CropStore) -> None:
        """Validate, keep the weights if they are to be saved, and leave a checkpoint."""
        state = self.state
        with self._averaged():
            validated = self._validate(store)
            score = validated.score
            is_saved = not self._has_weights or state.is_to_save(score, self.run)
            if is_saved:
                self._save(validated, state.epoch + 1)
        rate = self._images_per_second
        losses = {f"{head}_loss": loss for head, loss in state.mean_head_losses.items()}
        learning_rate = float(np.asarray(self.network.optimizer.learning_rate))
        row = {"epoch": state.epoch + 1, "loss": state.mean_loss} | losses | {"learning_rate": learning_rate}
        row |= {"images_per_second": rate, "memory_gb": round(memory_gb(), 3)}
        row |= {"score": score.total} | dict(score.heads)
        row |= {"score_with_prior": validated.plain.total}
        if any(score.absent.values()):
            row |= {"score_present": score.present_total}
        state.history.append(row | ({"score_unseen": validated.unseen.present_total} if validated.unseen else {}))
        loss = state.mean_loss
        state.end_epoch(score, self.run, is_saved=is_saved)
        self._has_fitted = False
        told = "saved" if is_saved else f"saved: epoch {state.saved_epoch}"
        say(f"epoch {state.epoch}/{self.run.epochs}: loss {loss:.3f}, {validated} [{told}], {rate:.0f} images/s")
        state.write_history(self.working)
        self._checkpoint()

    def _averaged(self) -> AbstractContextManager[None]:
        """Return a context in which the network has the weights to validate and to save."""
        return self.average.in_place() if self.average else nullcontext()

    def _stop_at_last_good(self, error: FloatingPointError) -> None:
        """End with the best weights so far; UserError where there are none."""
        if not self._has_weights:
            raise UserError(str(error)) from error
        say(f"warning: {error}; training stops, the weights of epoch {self.state.saved_epoch} are kept")

    def _stop_in_time(self, store: CropStore) -> None:
        """Say what the time budget skips; where no epoch was finished, keep the weights as they are now."""
        state, budget = self.state, f"time budget of {self.run.time_budget_minutes:g} minutes"
        if state.epoch < self.run.epochs:
            follows = f"goes on from there where it finds {CHECKPOINT_FILE}" if self._has_checkpoint else "begins anew"
            say(
                f"{budget}: stopped in epoch {state.epoch + 1} of {self.run.epochs} after {state.shards_done} of "
                f"{len(self.files)} shards; the same training {follows}"
            )
        else:
            say(f"{budget}: over before the held-out images were read")
        if self._has_weights:
            return
        if not store.numbers() and not self._has_checkpoint:
            raise UserError("time budget: over before the first shard was read, so there are no weights to keep")
        is_begun = self._has_fitted or state.shards_done > 0 or not state.epoch
        epoch = state.epoch + is_begun
        with self._averaged():
            validated = self._validated_so_far(store)
            self._save(validated, epoch)
        which = f"unfinished epoch {epoch}" if is_begun else f"epoch {epoch} as the checkpoint has it"
        say(f"{which}: {validated or 'no score, as no held-out image was read'} [saved]")

    def _validated_so_far(self, store: CropStore) -> Validated | None:
        if not any(self._is_held_out(store.load(number).ids).any() for number in store.numbers()):
            return None
        try:
            return self._validate(store)
        except FloatingPointError as error:
            say(f"warning: {error}")
            return None

    def _validate(self, store: CropStore) -> Validated:
        held_out = self._answer_held_out(store)
        truth, probabilities = held_out.truth, held_out.probabilities
        if not all(np.isfinite(of).all() for of in probabilities.values()):
            raise FloatingPointError(f"epoch {self.state.epoch + 1}: the network's answers are not finite")
        counts = self._train_counts
        exponents = dict.fromkeys(self.task.heads, 0.0)  # of accuracy the likeliest class is the best answer
        if self.task.score == "macro recall":
            exponents = choose_exponents(probabilities, truth, counts)
        plain = {head: of.argmax(axis=1) for head, of in probabilities.items()}
        adjusted = adjusted_heads(probabilities, counts, exponents)
        predicted = {head: of.argmax(axis=1) for head, of in adjusted.items()}
        is_unseen = ~is_seen(pd.DataFrame(truth), self.labels[~self._is_held_out(self.labels.index)])
        unseen = None
        if is_unseen.any():
            unseen = task_score(
                {head: of[is_unseen] for head, of in truth.items()},
                {head: of[is_unseen] for head, of in predicted.items()},
                self.task,
            )
        return Validated(
            task_score(truth, predicted, self.task),
            task_score(truth, plain, self.task),
            unseen,
            exponents,
            held_out._replace(probabilities=adjusted),
        )

    def _answer_held_out(self, store: CropStore) -> HeldOut:
        """Return the held-out images that are stored, and what the network says of them."""
        ids: list[str] = []
        places: list[tuple[int, int]] = []
        parts, truth = [], []
        for number in store.numbers():
            shard = store.load(number)
            rows = np.flatnonzero(self._is_held_out(shard.ids))
            ids += [shard.ids[row] for row in rows.tolist()]
            places += [(number, row) for row in rows.tolist()]
            parts.append(predict_probabilities(self.network, shard.images[rows], self.run.batch_size))
            truth.append({head: (shard.labels or {})[head][rows] for head in self.task.heads})
            if len(rows) and not self._answers_per_second:
                self._answers_per_second = images_per_second(self.network, shard.images[rows], self.run.batch_size)
        if not sum(len(of[next(iter(of))]) for of in truth):
            raise UserError("none of the images to validate with is in the train files; are some files missing?")

        def crop(number: int) -> NDArray[np.uint8]:
            shard, row = places[number]
            return np.asarray(store.load(shard).images[row])

        return HeldOut(
            ids,
            {head: np.concatenate([part[head] for part in truth]) for head in self.task.heads},
            {head: np.concatenate([part[head] for part in parts]) for head in self.task.heads},
            crop,
        )

    def _is_held_out(self, ids: Any) -> NDArray[np.bool_]:
        return np.asarray(self.held_out.loc[ids], dtype=np.bool_)

    @property
    def _train_counts(self) -> dict[str, tuple[int, ...]]:
        """For each head, the images of each class that are trained on."""
        kept = self.labels[~self._is_held_out(self.labels.index)]
        return {
            head: tuple(np.bincount(kept[head], minlength=len(classes)).tolist())
            for head, classes in self.task.heads.items()
        }

    def _save(self, validated: Validated | None, epoch: int) -> None:
        self.state.saved_sha256 = save_weights(
            self.working,
            self.network,
            self.model,
            self.task,
            train_counts=self._train_counts,
            score=validated.score.as_dict() if validated else None,
            epoch=epoch,
            prior_exponents=validated.exponents if validated else None,
            device=device_name(),
            images_per_second=self._answers_per_second and round(self._answers_per_second, 1),
            augmentation=self.run.augmentation,
        )
        self._has_weights = True
        with no_harm("record for the report"):
            held_out = validated.held_out if validated else None
            save_record(
                self.working, make_record(self.state.saved_sha256, settings_dict(self.run), held_out, self._samples)
            )


def _refuse_blank(shard: Shard, name: str, task: Task) -> None:
    """Raise UserError where most of a shard's images have one value all over: there is nothing to learn from them."""
    if not shard.blank:
        return
    problem = f"{name}: {len(shard.blank)} of {len(shard.ids)} images are blank: {listed(shard.blank)}"
    if 2 * len(shard.blank) > len(shard.ids):
        if task.reader == "image files":
            ground = "white" if task.background_value else "black"
            problem += f"; if they are transparent, they were laid on {ground}: background in the task says on what"
        raise UserError(problem)
    say(f"warning: {problem}")


def _create_variables(network: Any) -> None:
    """Create the variables of a compiled network's optimizer and loss.

    Left to the first step, they make TensorFlow trace it twice: half of the time that it takes.
    """
    network.optimizer.build(network.trainable_variables)
    answers = {head: keras.ops.ones((1, output.shape[1])) for head, output in network.output.items()}
    network.compute_loss(y=answers, y_pred=answers)


def _optimizer(run: RunSettings) -> Any:
    if run.optimizer == "rmsprop":
        return keras.optimizers.RMSprop(run.learning_rate)
    optimizer = keras.optimizers.AdamW(run.learning_rate, weight_decay=run.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return optimizer


class KerasBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Some of TrainBatches as fit takes them, made in order ahead of the network by so many threads."""

    def __init__(self, batches: TrainBatches, which: range, workers: int = min(os.cpu_count() or 1, 8)) -> None:
        super().__init__(workers=workers, max_queue_size=4 * workers)
        self._batches, self._which = batches, which

    def release(self) -> None:
        """Let go of the crops: Keras keeps every data set that it was ever given."""
        del self._batches

    def __len__(self) -> int:
        return len(self._which)

    def __getitem__(self, index: int) -> Any:
        return self._batches[self._which[index]]


class _Steps(keras.callbacks.Callback):  # type: ignore[misc]
    """Gives each batch its learning rate, and the moving average its updates."""

    def __init__(self, learning_rates: Sequence[float], average: MovingAverage | None) -> None:
        super().__init__()
        self._learning_rates, self._average = learning_rates, average

    def on_train_batch_begin(self, batch: int, **_: Any) -> None:
        self.model.optimizer.learning_rate = self._learning_rates[batch]

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        if self._average and self.model:  # under JAX, the weights are where the network says only once it is asked for
            self._average.step()


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Says a line every ten seconds, and ends the fit where the time budget does."""

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
