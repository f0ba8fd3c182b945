"""Crops and labels to the batches of an epoch: shuffled, augmented, mixed."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multihead.config.scores import Kind
from multihead.config.settings import RunSettings
from multihead.data.augment import augmentation
from multihead.data.crop import Images
from multihead.data.draws import Draw, random_for
from multihead.data.mix import cutmix, mixup
from multihead.data.targets import Targets, targets_of


class TrainBatches:
    """The shuffled, augmented batches of one epoch over the shards that are in memory.

    Item i is (images uint8 (b, H, W, c), {head: float32 (b, outputs)}), the second as targets_of makes them. Each has
    batch_size images, so that the network is compiled for one shape only: the last is filled up with the first images
    of the epoch.

    images: one array uint8 (n, H, W, c) per shard. rows: (shard, row) pairs, int64 (m, 2), of what to
    draw from. labels: for each head, (m,), as a table has them, in the order of `rows`. classes: their number per head.
    kinds: of the heads that are not softmax. soft: of the last k of the rows, targets float32 (k, outputs) in the place
    of labels, which are of the other rows then.
    kinds: of the heads that are not softmax. row_weights: float64 (m,), by which the balanced_share of the epoch is
    drawn; None: evenly.
    epoch, shard: where in the training this is, for the random draws.
    """

    def __init__(
        self,
        images: list[Images],
        rows: NDArray[np.int64],
        labels: Mapping[str, NDArray[Any]],
        classes: Mapping[str, int],
        settings: RunSettings,
        *,
        kinds: Mapping[str, Kind] | None = None,
        soft: Targets | None = None,
        row_weights: NDArray[np.float64] | None = None,
        dark_ink: bool,
        epoch: int,
        shard: int,
    ) -> None:
        self._images = [
            np.asarray(shard_images) for shard_images in images
        ]  # a memory map indexes slowly, an array on it does not
        self._rows, self._labels, self._soft = rows, labels, soft or {}
        self._hard = len(rows) - (len(next(iter(soft.values()))) if soft else 0)
        self._classes, self._kinds, self._settings = classes, kinds or {}, settings
        self._augment = augmentation(settings.augmentation, dark_ink=dark_ink)
        self._epoch, self._shard = epoch, shard
        rng = random_for(settings.seed, Draw.ROW_ORDER, epoch, shard)
        self._order = rows_of_epoch(len(rows), settings.balanced_share, row_weights, rng)

    def images_until(self, batch: int) -> int:
        """The number of this epoch's images in all batches before one; what fills up the last does not count."""
        return min(batch * self._settings.batch_size, len(self._rows))

    def __len__(self) -> int:
        return math.ceil(len(self._rows) / self._settings.batch_size)

    def __getitem__(self, batch: int) -> tuple[Images, Targets]:
        settings = self._settings
        places = np.arange(batch * settings.batch_size, (batch + 1) * settings.batch_size)
        chosen = self._order[places % len(self._order)]
        images = np.empty((len(chosen), *self._images[0].shape[1:]), np.uint8)
        for image, (shard, row) in zip(images, self._rows[chosen].tolist(), strict=True):
            image[...] = self._images[shard][row]
        labels = self._targets(chosen)
        rng = random_for(settings.seed, Draw.BATCH, self._epoch, self._shard, batch)
        images = self._augment(images, rng)
        if self._epoch >= settings.epochs - min(settings.clean_epochs, settings.epochs // 2):
            return images, labels
        which = rng.random()
        if which < settings.mixup_share:
            return mixup(images, labels, rng, settings.mixup_alpha)
        if which < settings.mixup_share + settings.cutmix_share:
            return cutmix(images, labels, rng, settings.cutmix_alpha)
        return images, labels

    def _targets(self, chosen: NDArray[np.int64]) -> Targets:
        """Return the targets of some of the rows."""
        is_hard = chosen < self._hard
        some = {head: of_head[chosen[is_hard]] for head, of_head in self._labels.items()}
        targets = targets_of(some, self._classes, self._kinds)
        if is_hard.all():
            return targets
        mixed = {}
        for head, of_hard in targets.items():
            mixed[head] = np.empty((len(chosen), of_hard.shape[1]), np.float32)
            mixed[head][is_hard] = of_hard
            mixed[head][~is_hard] = self._soft[head][chosen[~is_hard] - self._hard]
        return mixed


def rows_of_epoch(
    count: int, balanced_share: float, weights: NDArray[np.float64] | None, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the rows of an epoch, int64 (count,), shuffled: each once, but a random share is replaced by drawn rows.

    weights: float64 (count,), of any sum, by which these are drawn, with replacement; None: evenly.
    """
    order = rng.permutation(count)
    drawn = round(balanced_share * count)
    if drawn:
        order[:drawn] = rng.choice(count, drawn, p=None if weights is None else weights / weights.sum())
        rng.shuffle(order)
    return order
