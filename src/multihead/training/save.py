"""What a training leaves in its working folder, and takes over from a session before.

Weights, record, checkpoint, and its answers to the images that it held out.
"""

import shutil
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from multihead.config.files import CHECKPOINT_FILE, MANIFEST_FILE, OUT_OF_FOLD_FILE, WEIGHTS_FILE
from multihead.config.manifest import Manifest, read_manifest
from multihead.config.model_settings import ModelSettings
from multihead.config.settings import RunSettings, settings_dict
from multihead.config.task import what_answers_depend_on
from multihead.data.batches import TrainBatches
from multihead.data.shards import Shard
from multihead.model.devices import device_name
from multihead.model.weights import copy_weights, save_weights
from multihead.prediction.calibration import Calibration
from multihead.runtime.errors import UserError
from multihead.runtime.log import log
from multihead.runtime.whole_files import whole_file
from multihead.scoring.out_of_fold import OutOfFold, is_of_weights, write_out_of_fold
from multihead.training.checkpoint import Checkpoint, save_checkpoint
from multihead.training.images import TrainingImages
from multihead.training.moving_average import MovingAverage
from multihead.training.record import Samples, copy_record, make_record, no_harm, save_record, take_samples
from multihead.training.resume import identity_of
from multihead.training.schedule import TrainingState
from multihead.training.validate import Validated


class WorkingFolder:
    """The working folder of one training.

    identity: what decides what the training becomes, which its checkpoints carry. has_weights, has_checkpoint: whether
    those of this training are there.
    """

    def __init__(self, folder: Path, images: TrainingImages, model: ModelSettings, run: RunSettings) -> None:
        self._folder, self._images, self._model, self._run = folder, images, model, run
        parts = [part.name for part in images.parts]
        self.identity = identity_of(images.task, model, run, parts, images.count, images.further.counts())
        self.has_weights = self.has_checkpoint = False
        self._samples: Samples | None = None  # for the report

    def keep_samples(self, batches: TrainBatches, first: Shard, epoch: int) -> None:
        """Keep samples of the first batches that this process makes, and of the first shard, for the record."""
        if not self._samples:
            with no_harm("samples for the report"):
                self._samples = take_samples(
                    batches, first, self._images.first_full, self._images.task, self._model, epoch
                )

    def save_weights(
        self, network: Any, state: TrainingState, validated: Validated | None, epoch: int, per_second: float | None
    ) -> str:
        """Save weights, manifest, record and answers, and return the weights' SHA-256.

        per_second: images that the network answers, where it was measured.
        """
        sha256 = save_weights(
            self._folder,
            network,
            self._model,
            self._images.task,
            train_counts=self._images.train_counts,
            score=validated.score.as_dict() if validated else None,
            epoch=epoch,
            train_images=self._images.train_count,
            priors=self._images.priors,
            chosen=_chosen(validated.chosen) if validated else None,
            device=device_name(),
            images_per_second=per_second and round(per_second, 1),
            augmentation=self._run.augmentation,
            further_images=state.further_images,
            started_from=state.started_from,
        )
        self.has_weights = True
        if validated:
            ids, truth = validated.held_out.ids, validated.held_out.truth
            answers = OutOfFold(sha256, ids, truth, validated.probabilities)
            with self._harmless_answers():
                write_out_of_fold(self._folder / OUT_OF_FOLD_FILE, answers)
        with no_harm("record for the report"):
            held_out = validated.held_out if validated else None
            save_record(self._folder, make_record(sha256, settings_dict(self._run), held_out, self._samples))
        return sha256

    def save_checkpoint(self, network: Any, state: TrainingState, average: MovingAverage | None) -> None:
        """Put a checkpoint in place of the one before."""
        save_checkpoint(self._folder, network, self.identity, state, average)
        self.has_checkpoint = True

    def take_over(self, checkpoint: Checkpoint) -> None:
        """Put what lies beside a checkpoint into this folder, so that a session that comes no further hands it on."""
        folder = checkpoint.path.parent
        if folder != self._folder:
            copy_weights(folder, self._folder)
            with no_harm("report of the epochs before"):
                copy_record(folder, self._folder)
            if (folder / OUT_OF_FOLD_FILE).is_file():
                with self._harmless_answers(), whole_file(self._folder / OUT_OF_FOLD_FILE) as new:
                    shutil.copyfile(folder / OUT_OF_FOLD_FILE, new)
        if checkpoint.state.history:
            checkpoint.state.write_history(self._folder)
        self.has_checkpoint = folder == self._folder

    def check_weights(self, state: TrainingState) -> bool:
        """Find out whether the weights that the counters tell of are there; return whether the counters are as before.

        Where they are not there, the next epoch's are saved, whatever its score.
        """
        try:
            manifest = read_manifest(self._folder)
            self.has_weights = self._is_saved(manifest, state)
            problem = f"those in {self._folder} are others, of epoch {manifest.epoch}"
            is_of_next = manifest.epoch == state.epoch + 1
        except UserError as error:
            problem = str(error)
            is_of_next = all((self._folder / name).is_file() for name in (MANIFEST_FILE, WEIGHTS_FILE))
        if self.has_weights or not state.saved_epoch:
            return True
        log.warning(f"the weights of epoch {state.saved_epoch} are lost ({problem})")
        if is_of_next:  # a kill came after these were saved, or between the two files: that epoch is done again
            return True
        state.forget_saved()
        return False

    def _is_saved(self, manifest: Manifest, state: TrainingState) -> bool:
        """Tell whether these are the weights that the counters tell of; older ones tell the epoch only."""
        if state.saved_sha256:
            return manifest.sha256 == state.saved_sha256
        tasks = [what_answers_depend_on(task) for task in (manifest.task, self._images.task)]
        return manifest.epoch == state.saved_epoch and manifest.model == self._model and tasks[0] == tasks[1]

    def lacks_answers(self, state: TrainingState) -> bool:
        """Tell whether this is a training in a study without the answers of the weights that the counters tell of."""
        return bool(self._run.study_folds) and not is_of_weights(self._folder / OUT_OF_FOLD_FILE, state.saved_sha256)

    def _harmless_answers(self) -> AbstractContextManager[None]:
        """Return what makes a warning of answers that cannot be written, but in a study, which consists of them."""
        return nullcontext() if self._run.study_folds else no_harm("answers to the held-out images")

    def in_words(self) -> str:
        """Return what a training that is broken off leaves, and how it goes on."""
        if not self.has_checkpoint:
            return "no shard was done, so nothing is kept"
        how = " with --set resume=auto" if self._run.resume == "off" else ""
        return f"the same command{how} goes on from {self._folder / CHECKPOINT_FILE}"


def _chosen(calibration: Calibration) -> dict[str, Any]:
    """Return what was chosen by the keys of a manifest."""
    return {
        "prior_exponents": calibration.exponents,
        "temperatures": {head: value for head, value in calibration.temperatures.items() if value != 1},
        "thresholds": calibration.thresholds,
        "cut_points": calibration.cut_points,
    }
