"""The images of a training: which are held out, and the crops of the others as the batches of an epoch.

The first epoch reads the files, shard by shard, and fills the crop store; each later one goes through the stored shards
in a shuffled order, SHARDS_IN_MEMORY at a time, drawing batches across those. The further images of an epoch are spread
evenly over its shards.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.config.model_settings import ModelSettings
from multihead.config.settings import RunSettings
from multihead.config.task import Task
from multihead.data.batches import TrainBatches
from multihead.data.crop_store import CropStore, crops_ahead, say_blank
from multihead.data.datasets import images_to_predict, images_to_train
from multihead.data.draws import Draw, random_for
from multihead.data.groups import groups_of
from multihead.data.labels import is_without_label
from multihead.data.split import choose_validation
from multihead.data.targets import counts_of, priors_of, strata_of, units_of
from multihead.runtime.errors import UserError
from multihead.runtime.log import log
from multihead.training.further import FurtherSources

SHARDS_IN_MEMORY = 2
FURTHER = "further"  # the store of further images, below that of the shards


class TrainingImages:
    """All images that a training has labels for.

    task: with what the images say of themselves. parts: what they are read from, one per shard. count: how many there
    are; train_count: those that are not held out. labels: theirs, as a table has them (labels.py),
    without those that have turned out unreadable. held_out: True, by image id, for those to validate with. first_full:
    of the first shard, once it is read, the first images in full, for the report: uint8 (k, h, w, c). further: the
    sources of further images, which may lie in the working folder.
    """

    def __init__(self, data: Path, task: Task, model: ModelSettings, run: RunSettings, working: Path) -> None:
        """Find them in a data folder; UserError for a damaged table: it shows now, not in an hour."""
        found = images_to_train(data, model.as_read(task), model.fold)
        for warning in found.warnings():
            log.warning(warning)
        self.task = replace(task, bits=found.task.bits)
        self.parts, self.labels, self.count = found.parts, found.labels, len(found.labels)
        groups = groups_of(data, self.task, run.group_column, self.labels.index) if run.group_column else None
        self.held_out = choose_validation(strata_of(self.labels, self.task), run, groups)
        self.train_count = int((~self.held_out).sum())
        self._refuse_heads_without_labels()
        held_out = self.held_out.index[self.held_out].tolist()
        if run.further_images and not task.test_files:
            to_predict = images_to_predict(data, model.as_read(self.task), model.fold)
            held_out += [name for part in to_predict.parts for name in part.ids()]
        self.further = FurtherSources(data, self.task, model, run, held_out, working)
        self.first_full = np.zeros((0, 1, 1, 1), np.uint8)
        self._model, self._run = model, run

    def _refuse_heads_without_labels(self) -> None:
        """Raise UserError where a head has no label to learn from, or none to be validated by."""
        is_held_out = self.is_held_out(self.labels.index)
        for part, rows in (("to train on", ~is_held_out), ("held out", is_held_out)):
            for head in self.task.heads:
                if is_without_label(self.labels[head][rows]).all():
                    raise UserError(f"none of the {int(rows.sum()):,} images {part} has a label of {head}")

    def is_held_out(self, ids: Any) -> NDArray[np.bool_]:
        """Tell of each of n ids whether its image is held out, bool (n,)."""
        return np.asarray(self.held_out.loc[ids], dtype=np.bool_)

    @property
    def train_labels(self) -> pd.DataFrame:
        """The labels of the images that are trained on."""
        return self.labels[~self.is_held_out(self.labels.index)]

    @property
    def train_counts(self) -> dict[str, tuple[int, ...]]:
        """For each head, the images of each class that are trained on; () of numbers."""
        return counts_of(self.train_labels, self.task)

    @property
    def priors(self) -> dict[str, tuple[float, ...]]:
        """For each head, the shares of the classes or the median number among the images that are trained on."""
        return priors_of(self.train_labels, self.task)

    @property
    def units(self) -> dict[str, tuple[float, float, float, float]]:
        """For each head of numbers, mean, standard deviation, least and most of the images that are trained on."""
        return units_of(self.train_labels, self.task)

    def fill(self, store: CropStore) -> Iterator[int]:
        """Read, crop and store each shard, the next one while the caller works; yield its number.

        Raises UserError where one is damaged or blank, OutOfTimeError where the time budget ends before.
        """
        deadline = self._run.deadline()
        crops = crops_ahead(self.parts, self.task, [self._model], self.labels, deadline=deadline, show=self._show)
        for number, ((shard,), _) in enumerate(crops):
            say_blank(self.parts[number], shard)
            store.save(number, shard)
            self.labels = self.labels.drop(list(shard.unreadable), errors="ignore")
            yield number

    def _show(self, images: NDArray[np.uint8]) -> None:
        self.first_full = images

    def fill_if_empty(self, store: CropStore) -> None:
        """Store all shards where none is stored, as in a session that goes on."""
        if not store.numbers():
            for _ in self.fill(store):
                pass

    def images_in(self, epoch: int) -> int:
        """Return how many images an epoch goes through, the further ones among them."""
        return self.train_count + self.further.images_in(epoch)

    def shard_groups(self, store: CropStore, epoch: int) -> Iterator[list[int]]:
        """Yield the numbers of the shards to draw an epoch's batches from together, storing those that are not yet."""
        self.further.fill(store.below(FURTHER), epoch)
        if epoch == 0:
            yield from ([number] for number in self.fill(store))
            return
        self.fill_if_empty(store)
        order = random_for(self._run.seed, Draw.SHARD_ORDER, epoch).permutation(len(self.parts)).tolist()
        yield from (order[start : start + SHARDS_IN_MEMORY] for start in range(0, len(order), SHARDS_IN_MEMORY))

    def batches(self, store: CropStore, group: Sequence[int], before: int, epoch: int) -> TrainBatches:
        """Return an epoch's batches of a group's train images, and of as great a share of the further images.

        before: how many shards the groups before it have.
        """
        shards = [store.load(number) for number in group]
        kept = [np.flatnonzero(~self.is_held_out(shard.ids)) for shard in shards]
        rows = np.concatenate([np.stack([np.full_like(k, i), k], 1) for i, k in enumerate(kept)])
        labels = [shard.labels or {} for shard in shards]
        start, stop = (place / len(self.parts) for place in (before, before + len(group)))
        further = self.further.draw(store.below(FURTHER), epoch, start, stop)
        of_heads = {
            head: [indices[head][k] for indices, k in zip(labels, kept, strict=True)] for head in self.task.heads
        }
        return TrainBatches(
            [*(shard.images for shard in shards), *further.images],
            np.concatenate([rows, further.rows + np.array([len(shards), 0])]),
            {head: np.concatenate([*parts, *further.labels[head]]) for head, parts in of_heads.items()},
            {head: self.task.width(head) for head in self.task.heads},
            self._run,
            kinds=self.task.kinds,
            soft=further.soft,
            dark_ink=self.task.dark_ink,
            epoch=epoch,
            shard=group[0],
        )
