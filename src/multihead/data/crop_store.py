"""Crops of each shard: read ahead from the files once, then kept on disk and memory-mapped."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from multihead.config.model_settings import ModelSettings
from multihead.config.task import Task
from multihead.data.crop import Images, crop_resize
from multihead.data.shards import Part, PixelMemory, Shard, read_shard
from multihead.runtime.background import in_background
from multihead.runtime.errors import OutOfTimeError, UserError, listed
from multihead.runtime.log import elapsed, log

LARGE_FILE = 5e8  # bytes, above which somebody would wonder what goes on
SHOWN = 8  # full images that are kept of each shard


def read_crops(
    part: Part,
    task: Task,
    models: Sequence[ModelSettings],
    labels: pd.DataFrame | None = None,
    memory: PixelMemory | None = None,
    show: Callable[[Images], None] | None = None,
) -> tuple[list[Shard], float]:
    """Return one part as a Shard of crops for each model, uint8 (n, height, width, c), and the seconds that it took.

    models: one at least; with labels, one. Photographs that they see at several sizes are read once for each.
    memory: where the full images may be meanwhile. show: is given the first SHOWN full images; photographs that are
    taken whole as squares with a margin.
    """
    started = elapsed()
    if part.size > LARGE_FILE:
        log.info(f"{part.name}: reading {part.size / 1e6:.0f} MB")
    cropped: dict[int, Shard] = {}
    for as_read in {model.as_read(task).image_shape: model.as_read(task) for model in models}.values():
        full = read_shard(part, as_read.image_shape, labels, memory)
        if show:
            few = full.images[:SHOWN]
            show(few.copy() if as_read == task else part.whole_images(task.image_shape[2], len(few)))
        for number, model in enumerate(models):
            if model.as_read(task) == as_read:
                crops = crop_resize(full.images, model.image_size, model.crop_of(task), task.dark_ink)
                cropped[number] = replace(full, images=crops, blank=_blank_ids(full, crops))
        del full  # those of one size are in memory at a time
    shards = _of_the_same_images([cropped[number] for number in range(len(models))])
    seconds = elapsed() - started
    log.info(f"{part.name}: {len(shards[0].ids)} images read and cropped in {seconds:.1f} s")
    return shards, seconds


def _blank_ids(full: Shard, crops: Images) -> list[str]:
    """Return the ids of the images of one value; a speck of ink, which fills its crop, is none of them."""
    suspects = np.flatnonzero(crops.max(axis=(1, 2, 3)) == crops.min(axis=(1, 2, 3)))
    return [full.ids[row] for row in suspects.tolist() if full.images[row].max() == full.images[row].min()]


def say_blank(part: Part, shard: Shard) -> None:
    """Warn of a part's images that are blank; UserError where most are, and there is nothing to learn from them."""
    if not shard.blank:
        return
    problem = f"{part.name}: {len(shard.blank)} of {len(shard.ids)} images are blank: {listed(shard.blank)}"
    if 2 * len(shard.blank) > len(shard.ids):
        raise UserError(problem + part.why_blank)
    log.warning(problem)


def _of_the_same_images(shards: list[Shard]) -> list[Shard]:
    """Leave out what could not be read every time."""
    if all(list(shard.ids) == list(shards[0].ids) for shard in shards):
        return shards
    kept = set(shards[0].ids).intersection(*(shard.ids for shard in shards))
    lost = sorted(set().union(*(shard.ids for shard in shards), *(shard.unreadable for shard in shards)) - kept)
    rows = [[row for row, name in enumerate(shard.ids) if name in kept] for shard in shards]
    return [
        replace(shard, ids=[shard.ids[row] for row in chosen], images=shard.images[chosen], unreadable=lost)
        for shard, chosen in zip(shards, rows, strict=True)
    ]


def crops_ahead(
    files: Iterable[Part],
    task: Task,
    models: Sequence[ModelSettings],
    labels: pd.DataFrame | None = None,
    *,
    deadline: float = math.inf,
    on_error: Callable[[Exception], None] | None = None,
    show: Callable[[Images], None] | None = None,
) -> Iterator[tuple[list[Shard], float]]:
    """Return what read_crops does of each file, reading the next while the caller works: two shards are alive.

    Reading begins at once; the next file is asked for when one is read. A file that cannot be read raises; with
    on_error, that is called and the file passed over. show: of the first file, as read_crops has it. OutOfTimeError is
    raised where a file is not read by the deadline, in seconds since the process started.
    """
    memory = PixelMemory()  # one file is read at a time
    works = (
        partial(read_crops, file, task, models, labels, memory, None if n else show) for n, file in enumerate(files)
    )
    first = next(works, None)
    return _results_ahead(in_background(first) if first else None, works, memory, deadline, on_error)


def _results_ahead(
    coming: "Future[tuple[list[Shard], float]] | None",
    works: Iterator[Callable[[], tuple[list[Shard], float]]],
    memory: PixelMemory,
    deadline: float,
    on_error: Callable[[Exception], None] | None,
) -> Iterator[tuple[list[Shard], float]]:
    while coming:
        wait([coming], None if math.isinf(deadline) else max(0.0, deadline - elapsed()))
        if not coming.done() or elapsed() > deadline:
            raise OutOfTimeError
        read, work = coming, next(works, None)
        coming = in_background(work) if work else None
        if not work:
            memory.release()
        try:
            crops = read.result()
        except Exception as error:
            if on_error is None:
                raise
            on_error(error)
            continue
        del read
        yield crops


class CropStore:
    """A scratch folder of crops, one file per shard; ids and labels, which are small, stay in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._without_images: dict[int, Shard] = {}
        self._below: dict[str, CropStore] = {}

    def below(self, name: str) -> "CropStore":
        """Return the store of that name below this one, always the same."""
        if name not in self._below:
            (self._folder / name).mkdir()
            self._below[name] = CropStore(self._folder / name)
        return self._below[name]

    def save(self, index: int, shard: Shard) -> None:
        """Put a shard's crops on disk."""
        np.save(self._folder / f"{index}.npy", shard.images)
        self._without_images[index] = replace(shard, images=shard.images[:0].copy())

    def load(self, index: int) -> Shard:
        """Return a stored shard; its images are a read-only memory map, read from disk as they are used."""
        return replace(self._without_images[index], images=np.load(self._folder / f"{index}.npy", mmap_mode="r"))

    def numbers(self) -> list[int]:
        """Return the numbers of the stored shards, ascending."""
        return sorted(self._without_images)
