"""The further images of a training: where they are read from, and which of them an epoch draws.

A weight is how often an image comes in an epoch, beside once each train image: 2.5 is twice, and a third time for half
of them, drawn anew in each epoch. So the loss is weighted as it says, and an image that has faded costs no time.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.config.further_images import KEY, FurtherImages
from multihead.config.model_settings import ModelSettings
from multihead.config.settings import RunSettings
from multihead.config.task import Task
from multihead.data.crop import Images
from multihead.data.crop_store import CropStore, crops_ahead, say_blank
from multihead.data.datasets import all_to_read, images_to_predict, images_to_train, reader_of
from multihead.data.draws import Draw, random_for
from multihead.data.identity import NONE, match
from multihead.data.labels import refuse_repeated
from multihead.data.locate import find_folder
from multihead.data.shards import Part
from multihead.data.targets import Targets, soft_targets_of
from multihead.runtime.errors import UserError, listed
from multihead.runtime.log import log
from multihead.scoring.out_of_fold import OutOfFold, read_out_of_fold


class Source(NamedTuple):
    """One source, found.

    rows: index image id as the files spell it, int64: its row among the labels. labels: as a table has them; None where
    they are soft. soft: for each head, targets float32 (m, outputs); none where they are hard.
    """

    settings: FurtherImages
    parts: Sequence[Part]
    rows: "pd.Series[int]"
    labels: pd.DataFrame | None
    soft: Targets

    def images_in(self, epoch: int) -> int:
        """Return how many images an epoch draws."""
        return round(self.settings.weight_in(epoch) * len(self.rows))


class Drawn(NamedTuple):
    """Further images among an epoch's batches.

    images: uint8 (n, H, W, c) of each part. rows: (part, row) pairs, int64 (m, 2), those with hard labels first.
    labels: of these, for each head arrays of k together. soft: of the others, for each head float32 (m - k, outputs).
    """

    images: list[Images]
    rows: NDArray[np.int64]
    labels: Mapping[str, Sequence[NDArray[Any]]]
    soft: Targets | None


class FurtherSources:
    """All further sources of a training on `data`. held_out: ids there of images that it must not be trained on."""

    def __init__(
        self, data: Path, task: Task, model: ModelSettings, run: RunSettings, held_out: Sequence[str], working: Path
    ) -> None:
        """Find them; UserError where one is not there, damaged, or has no image to train on."""
        self._task, self._model, self._run = task, model, run
        self._sources = [_find(settings, data, task, model, held_out, working) for settings in run.further_images]
        self._places: dict[int, NDArray[np.int64]] = {}  # of a stored source, int64 (n, 3): part, row, row of the label

    def counts(self) -> dict[str, int]:
        """Return how many images each source has, by its folder."""
        return {source.settings.folder: len(source.rows) for source in self._sources}

    def origins(self) -> list[dict[str, Any]]:
        """Return what the manifest says of each source."""
        return [
            {key: getattr(source.settings, key) for key in ("folder", "origin", "licence")}
            | {"images": len(source.rows)}
            for source in self._sources
        ]

    def images_in(self, epoch: int) -> int:
        """Return how many images an epoch draws of all sources."""
        return sum(source.images_in(epoch) for source in self._sources)

    def fill(self, store: CropStore, epoch: int) -> None:
        """Read and crop what this epoch or a later one draws from, and is not stored yet."""
        for number, source in enumerate(self._sources):
            is_drawn = any(source.images_in(later) for later in range(epoch, self._run.epochs))
            if number in self._places or not is_drawn:
                continue
            places, own = [], store.below(str(number))
            deadline = self._run.deadline()
            crops = crops_ahead(source.parts, self._task, [self._model], source.labels, deadline=deadline)
            for part, ((shard,), _) in enumerate(crops):
                say_blank(source.parts[part], shard)
                own.save(part, shard)
                row_of_label = source.rows.reindex(list(shard.ids), fill_value=-1).to_numpy()
                row = np.flatnonzero(row_of_label >= 0)
                places.append(np.stack([np.full_like(row, part), row, row_of_label[row]], 1))
            self._places[number] = np.concatenate(places)

    def draw(self, store: CropStore, epoch: int, start: float, stop: float) -> Drawn:
        """Return an epoch's further images between two shares, 0 to 1, of all that it draws, shuffled, of each source.

        Those that can be drawn are stored.
        """
        images: list[Images] = []
        rows: dict[bool, list[NDArray[np.int64]]] = {True: [], False: []}  # by whether the labels are hard
        targets: dict[bool, list[Mapping[str, NDArray[Any]]]] = {True: [], False: []}
        for number, every in self._places.items():
            source, own = self._sources[number], store.below(str(number))
            chosen = every[_draw(len(every), source.settings.weight_in(epoch), self._rng(epoch, number))]
            part, row, row_of_label = chosen[round(start * len(chosen)) : round(stop * len(chosen))].T
            is_hard = source.labels is not None
            rows[is_hard].append(np.stack([len(images) + part, row], 1))
            of_heads = source.soft if source.labels is None else source.labels
            targets[is_hard].append({head: np.asarray(of_heads[head])[row_of_label] for head in self._task.heads})
            images += [own.load(part).images for part in own.numbers()]
        hard = {head: [of_heads[head] for of_heads in targets[True]] for head in self._task.heads}
        soft = (
            {head: np.concatenate([of_heads[head] for of_heads in targets[False]]) for head in self._task.heads}
            if targets[False]
            else None
        )
        return Drawn(images, np.concatenate([np.zeros((0, 2), np.int64), *rows[True], *rows[False]]), hard, soft)

    def _rng(self, epoch: int, source: int) -> np.random.Generator:
        return random_for(self._run.seed, Draw.FURTHER_IMAGES, epoch, source)


def _draw(images: int, weight: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return which of so many images come in an epoch, shuffled, each as often as `weight` says, int64."""
    some = rng.permutation(images)[: round(weight * images) - int(weight) * images]
    return rng.permutation(np.concatenate([np.repeat(np.arange(images), int(weight)), some]))


def _find(
    settings: FurtherImages, data: Path, task: Task, model: ModelSettings, held_out: Sequence[str], working: Path
) -> Source:
    folder, pattern = find_folder(settings.folder, working), settings.files or task.train_files
    read = all_to_read(model.as_read(task), pattern)
    if settings.soft_labels:
        parts: Sequence[Part] = images_to_predict(folder, read).parts
        ids = [part.ids() for part in parts]
        own = pd.Index([name for of_part in ids for name in of_part], dtype=str, name=ids[0].name)
        refuse_repeated(own, f"{folder}: {pattern}")
        answers = _soft_labels(folder / settings.soft_labels, task)
        rows = pd.Series(match(own.tolist(), list(answers.ids)), own)
        if (rows < 0).any():
            without = f"{int((rows < 0).sum()):,} of {len(rows):,} images have no soft label"
            log.warning(f"{folder}: {without}, and are passed over: {listed(rows.index[rows < 0])}")
        rows, labels, soft = rows[rows >= 0], None, soft_targets_of(answers.probabilities, task.kinds)
    else:
        found = images_to_train(folder, read)
        for warning in found.warnings():
            log.warning(f"{folder}: {warning}")
        parts, labels, soft = found.parts, found.labels, {}
        rows = pd.Series(np.arange(len(labels)), labels.index)
    is_numbered = reader_of(task).is_table and rows.index.name is None  # row 1 of another table is another image
    if not is_numbered or folder.resolve() == data.resolve():
        is_held_out = match(rows.index.tolist(), held_out) != NONE
        if is_held_out.any():
            which = f"{int(is_held_out.sum()):,} of {len(rows):,} images are held out here"
            log.warning(f"{folder}: {which}, and left out: {listed(rows.index[is_held_out])}")
        rows = rows[~is_held_out]
    if rows.empty:
        raise UserError(f"{KEY}: {folder}: none of its images has a label, or all are held out here")
    return Source(settings, parts, rows, labels, soft)


def _soft_labels(path: Path, task: Task) -> OutOfFold:
    """Return the probabilities in a file; UserError where it is not there, or of other heads."""
    if not path.is_file():
        raise UserError(f"{KEY}: no {path.name} in {path.parent}; `multihead label` leaves one")
    answers = read_out_of_fold(path)
    widths = {head: task.width(head) for head in task.heads}
    found = {head: rows.shape[1] for head, rows in answers.probabilities.items()}
    if {head: found.get(head) for head in widths} != widths:
        raise UserError(f"{path}: probabilities of {found}; expected {widths}")
    if not all(np.isfinite(answers.probabilities[head]).all() for head in widths):
        raise UserError(f"{path}: has probabilities that are no finite numbers")
    return answers
