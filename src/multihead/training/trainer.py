"""Shard-by-shard training with a learning-rate schedule, a moving average, a time budget, and resume.

An epoch is one pass over all shards, with validation at its end. After every shard's worth of batches a checkpoint is
left.
"""

import math
import tempfile
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np

from multihead.config.files import CHECKPOINT_FILE
from multihead.config.model_settings import ModelSettings
from multihead.config.settings import RunSettings
from multihead.config.task import Task
from multihead.data.batches import TrainBatches
from multihead.data.crop_store import CropStore
from multihead.runtime.errors import OutOfTimeError, UserError
from multihead.runtime.interrupts import interrupts_kept
from multihead.runtime.log import elapsed, log, memory_gb
from multihead.runtime.progress import Progress
from multihead.training.build import compiled_network, moving_average, start_from_pretrained
from multihead.training.images import TrainingImages
from multihead.training.keras_io import KerasBatches, Watch, has_finite_weights
from multihead.training.resume import restore_furthest, say_how_it_goes_on
from multihead.training.save import WorkingFolder
from multihead.training.schedule import TrainingState
from multihead.training.validate import Validated, Validator


class Trainer:
    """One training, from the shards of a competition folder to the weights in a working folder.

    varied: the settings in which it differs from other trials, whose checkpoints are nothing to go on from.
    """

    def __init__(
        self,
        task: Task,
        model: ModelSettings,
        run: RunSettings,
        data: Path,
        working: Path,
        varied: Collection[str] = (),
    ) -> None:
        self.model, self.run, self.working, self._varied = model, run, working, varied
        self.images = TrainingImages(data, task, model, run, working)
        self.network = compiled_network(task, model, run, self.images.units)
        self.average = moving_average(self.network, run)
        self.state = TrainingState()
        self._folder = WorkingFolder(working, self.images, model, run)
        self._validator = Validator(self.images, run.batch_size)
        self._has_fitted = False  # in this epoch, whether or not a shard was done
        self._images_per_second = 0.0  # of this epoch, as far as this process fitted it

    def train(self) -> TrainingState:
        """Train, leave the weights of the epoch to keep in the working folder, and return how far it came."""
        log.info(f"{self.model.backbone}, {self.network.count_params():,} parameters")
        trained, parts = self.images.train_count, len(self.images.parts)
        held_out = f"{self.images.count - trained:,} held out"
        steps = f"at least {math.ceil(trained / self.run.batch_size):,} steps an epoch"
        log.info(f"{trained:,} images to train on, {held_out}, in {parts} shards; {steps}")
        for folder, images in self.images.further.counts().items():
            log.info(f"and {images:,} further images in {folder}")
        if not self._resume() and self.run.pretrained:
            start = start_from_pretrained(self.network, self.images.task, self.model, self.run.pretrained, self.working)
            self.state.started_from = f"{start.path.name}, SHA-256 {start.sha256}"
            self.state.add_sources(start.further_images)
            self.average = moving_average(self.network, self.run)
        self.state.add_sources(self.images.further.origins())
        log.info("the first step compiles the network: some 10 s for narrow, 20 s for efficientnet-b0 on a CPU")
        with interrupts_kept(), tempfile.TemporaryDirectory(prefix="crops-") as scratch:
            store = CropStore(Path(scratch))
            try:
                while not self._is_over():
                    self._fit_epoch(store)
                    self._end_epoch(store)
                if not self._folder.has_weights or self._folder.lacks_answers(self.state):
                    self._save_what_is_restored(store)
            except FloatingPointError as error:
                if not self._folder.has_weights:
                    raise UserError(str(error)) from error
                log.warning(f"{error}; training stops, the weights of epoch {self.state.saved_epoch} are kept")
            except OutOfTimeError:
                self._stop_in_time(store)
            except KeyboardInterrupt as interruption:
                raise KeyboardInterrupt(self._folder.in_words()) from interruption
        return self.state

    def _resume(self) -> bool:
        """Go on from the furthest checkpoint of this training, if there is any, and bring its best weights along."""
        identity = self._folder.identity
        checkpoint = restore_furthest(self.network, self.average, identity, self.run.resume, self.working, self._varied)
        if not checkpoint:
            return False
        self.state = checkpoint.state
        self._folder.take_over(checkpoint)
        say_how_it_goes_on(checkpoint, identity)
        if not self._folder.check_weights(self.state) or not self._folder.has_checkpoint:
            self._checkpoint()
        return True

    def _is_over(self) -> bool:
        """Tell whether no further epoch follows, and say why where it ends early."""
        left = self.run.epochs - self.state.epoch
        is_stuck = self.run.schedule == "plateau" and self.state.epochs_since_best >= self.run.stop_patience
        if left > 0 and is_stuck:
            log.info(f"no better score for {self.run.stop_patience} epochs; {left} of {self.run.epochs} epochs skipped")
        return is_stuck or left <= 0

    def _fit_epoch(self, store: CropStore) -> None:
        """Fit what the epoch has left; OutOfTimeError where the time budget ends before it."""
        state = self.state
        started, images_before = elapsed(), state.images
        seen = 0
        with Progress(
            f"epoch {state.epoch + 1}/{self.run.epochs}", self.images.images_in(state.epoch) - images_before
        ) as progress:
            for group in self.images.shard_groups(store, state.epoch):
                seen += len(group)
                if seen <= state.shards_done:
                    continue
                batches = self.images.batches(store, group, seen - len(group), state.epoch)
                self._folder.keep_samples(batches, store.load(0), state.epoch + 1)
                for part in range(state.shards_done - (seen - len(group)), len(group)):
                    which = range(len(batches) * part // len(group), len(batches) * (part + 1) // len(group))
                    if which:
                        images = batches.images_until(which.stop) - batches.images_until(which.start)
                        state.add_images(images, *self._fit(batches, which, progress))
                    state.shards_done += 1
                    self._images_per_second = (state.images - images_before) / (elapsed() - started)
                    self._checkpoint()

    def _fit(self, batches: TrainBatches, which: range, progress: Progress) -> tuple[float, dict[str, float]]:
        """Fit once on those of the batches and return the mean loss, and that of each head where there are several.

        Raises FloatingPointError for a loss that is not finite, OutOfTimeError where the time budget ends before.
        """
        epoch = self.state.epoch
        images = [batches.images_until(batch + 1) - batches.images_until(batch) for batch in which]
        watch = Watch(
            self.network,
            f"epoch {epoch + 1}",
            images,
            progress,
            average=self.average,
            deadline=self.run.deadline(),
        )
        rates = self.state.learning_rates(self.run, len(which), self.images.images_in(epoch))
        source = KerasBatches(batches, which, rates)
        self._has_fitted = True
        means = self.network.fit(source, epochs=1, shuffle=False, verbose=0, callbacks=watch).history
        source.release()
        loss = float(means["loss"][0])
        if not math.isfinite(loss) or not has_finite_weights(self.network):
            raise FloatingPointError(
                f"epoch {epoch + 1}: the loss is {loss} or has made a weight infinite; "
                f"a training begun with a learning_rate below {self.run.learning_rate:g} may help"
            )
        if watch.batches_done < len(which):
            raise OutOfTimeError
        return loss, {
            head: float(means[f"{head}_loss"][0]) for head in self.images.task.heads if f"{head}_loss" in means
        }

    def _end_epoch(self, store: CropStore) -> None:
        """Validate, keep the weights if they are to be saved, and leave a checkpoint."""
        state, rate = self.state, self._images_per_second
        with self._averaged():
            validated = self._validator.validate(self.network, store, state.epoch + 1)
            is_saved = not self._folder.has_weights or state.is_to_save(validated.score, self.run)
            if is_saved:
                self._save(validated, state.epoch + 1)
        images = max(1, state.images)
        mean_loss = state.loss / images
        state.history.append(
            {"epoch": state.epoch + 1, "loss": mean_loss}
            | {f"{head}_loss": loss / images for head, loss in state.head_losses.items()}
            | {"learning_rate": float(np.asarray(self.network.optimizer.learning_rate))}
            | {"images_per_second": rate, "memory_gb": round(memory_gb(), 3)}
            | validated.columns
        )
        state.end_epoch(validated.score, self.run, is_saved=is_saved)
        self._has_fitted = False
        saved = "saved" if is_saved else f"saved: epoch {state.saved_epoch}"
        log.info(
            f"epoch {state.epoch}/{self.run.epochs}: loss {mean_loss:.3f}, {validated} [{saved}], {rate:.0f} images/s"
        )
        state.write_history(self.working)
        self._checkpoint()

    def _save_what_is_restored(self, store: CropStore) -> None:
        """Save the weights of a training that has no epoch left, where those that it had saved, or in a study their
        answers to the held-out images, are lost.
        """
        state = self.state
        log.info(f"making the weights anew from the checkpoint after epoch {state.epoch}")
        self.images.fill_if_empty(store)
        with self._averaged():
            validated = self._validator.validate(self.network, store, state.epoch + 1)
            self._save(validated, state.epoch)
        state.best_score = state.saved_score = validated.score.to_maximise
        state.saved_epoch = state.epoch
        self._checkpoint()

    def _stop_in_time(self, store: CropStore) -> None:
        """Say what the time budget skips; where no epoch was finished, keep the weights as they are now."""
        state, budget = self.state, f"time budget of {self.run.time_budget_minutes:g} minutes"
        has_checkpoint = self._folder.has_checkpoint
        if state.epoch < self.run.epochs:
            follows = f"goes on from there where it finds {CHECKPOINT_FILE}" if has_checkpoint else "begins anew"
            log.info(
                f"{budget}: stopped in epoch {state.epoch + 1} of {self.run.epochs} after {state.shards_done} of "
                f"{len(self.images.parts)} shards; the same training {follows}"
            )
        else:
            log.info(f"{budget}: over before the held-out images were read")
        if self._folder.has_weights:
            return
        if not store.numbers() and not has_checkpoint:
            raise UserError("time budget: over before the first shard was read, so there are no weights to keep")
        is_begun = self._has_fitted or state.shards_done > 0 or not state.epoch
        epoch = state.epoch + is_begun
        with self._averaged():
            validated = self._validator.validate_so_far(self.network, store, state.epoch + 1)
            self._save(validated, epoch)
        which = f"unfinished epoch {epoch}" if is_begun else f"epoch {epoch} as the checkpoint has it"
        log.info(f"{which}: {validated or 'no score, as no held-out image was read'} [saved]")

    def _save(self, validated: Validated | None, epoch: int) -> None:
        per_second = self._validator.answers_per_second
        self.state.saved_sha256 = self._folder.save_weights(self.network, self.state, validated, epoch, per_second)

    def _checkpoint(self) -> None:
        self._folder.save_checkpoint(self.network, self.state, self.average)

    def _averaged(self) -> AbstractContextManager[None]:
        """Return a context in which the network has the weights to validate and to save."""
        return self.average.in_place() if self.average else nullcontext()
