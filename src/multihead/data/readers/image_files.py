"""Image files of any size, JPEG, PNG and others, as shards."""

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.config.data_files import read_file
from multihead.config.task import Task
from multihead.data.decoding import Decoded, bits_in_use, decode
from multihead.data.labels import MAX_UNUSABLE_SHARE
from multihead.data.shards import Part, PixelMemory, Shard
from multihead.runtime.errors import UserError, listed
from multihead.runtime.log import log

IMAGES_PER_SHARD, BYTES_PER_SHARD = 4096, 10**9
SIDE = 192  # of a photograph in a report
LOOKED_AT = 64  # images, to find out how many bits are in use


@dataclass(frozen=True)
class ImageFiles(Part):
    """The image files of one shard: its name, the data folder, the images' ids, and for each its path below the folder.

    background: the gray value that transparent ones are laid on. bits: that those of 16 bits use; 0 for all.
    """

    label: str
    folder: Path
    image_ids: pd.Index
    paths: tuple[str, ...]
    background: int = 255
    bits: int = 0

    @property
    def name(self) -> str:
        return self.label

    @property
    def why_blank(self) -> str:
        ground = "white" if self.background else "black"
        return f"; if they are transparent, they were laid on {ground}: background in the task says on what"

    def ids(self) -> pd.Index:
        return self.image_ids

    def read(self, image_shape: tuple[int, int, int], memory: PixelMemory, *, is_train: bool) -> Shard:
        """Return the images stretched to this shape, decoded by a thread per core.

        Files that are no images are left out and named. One that is cut off counts as no image in training; in
        predicting it is named, and what can be decoded of it is taken. Raises UserError where more than
        MAX_UNUSABLE_SHARE of train images are left out.
        """
        del memory  # each image is decoded into memory of its own
        height, width, channels = image_shape
        images = np.zeros((len(self.paths), height, width, channels), np.uint8)
        ids = self.ids().tolist()

        def fill(row: int) -> bool | None:
            """Return whether the file is whole; None for one that is no image."""
            decoded = self._decoded(self.paths[row], channels)
            if decoded is None or (is_train and not decoded.is_whole):
                return None
            cv2.resize(decoded.image, (width, height), dst=images[row], interpolation=cv2.INTER_AREA)
            return decoded.is_whole

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            is_whole = list(pool.map(fill, range(len(self.paths))))
        cut = [path for path, whole in zip(self.paths, is_whole, strict=True) if whole is False]
        if cut:
            log.warning(f"{len(cut)} of {len(ids)} image files are cut off or damaged: {listed(cut)}")
        lost = [path for path, whole in zip(self.paths, is_whole, strict=True) if whole is None]
        if not lost:
            return Shard(ids, images)
        problem = f"{len(lost)} of {len(ids)} image files cannot be read: {listed(lost)}"
        if is_train and len(lost) > MAX_UNUSABLE_SHARE * len(ids):
            raise UserError(f"{self.folder}: {problem}")
        log.warning(f"{problem}{'; they are left out' if is_train else ''}")
        is_read = np.array([whole is not None for whole in is_whole], np.bool_)
        return Shard(self.image_ids[is_read].tolist(), images[is_read], unreadable=self.image_ids[~is_read].tolist())

    def whole_images(self, channels: int, count: int) -> NDArray[np.uint8]:
        """Return the first images that can be read, at most so many, as they are: uint8 (n, SIDE, SIDE, c).

        Each is scaled to fit into the square, and stands in the middle of white.
        """
        decoded = (self._decoded(path, channels) for path in self.paths)
        some = list(islice((one.image for one in decoded if one is not None), count))
        squares = np.full((len(some), SIDE, SIDE, channels), 255, np.uint8)
        for square, image in zip(squares, some, strict=True):
            height, width = (max(1, round(side * SIDE / max(image.shape[:2]))) for side in image.shape[:2])
            top, left = (SIDE - height) // 2, (SIDE - width) // 2
            small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
            square[top : top + height, left : left + width] = small.reshape(height, width, channels)
        return squares

    def _decoded(self, path: str, channels: int) -> Decoded | None:
        return decode(_content(self.folder, path), channels, background=self.background, bits=self.bits)


def in_shards(folder: Path, paths: Sequence[str], ids: pd.Index, task: Task) -> list[ImageFiles]:
    """Return the images in shards of equal size, each drawn from all over the folder; always the same ones.

    paths, ids: of each image, sorted by its path. A shard has at most IMAGES_PER_SHARD images and, at the task's
    image_shape, BYTES_PER_SHARD.
    """
    order = np.random.default_rng(0).permutation(len(paths))
    most = max(1, min(IMAGES_PER_SHARD, BYTES_PER_SHARD // math.prod(task.image_shape)))
    rows = [sorted(part.tolist()) for part in np.array_split(order, -(-len(paths) // most))]
    return [
        ImageFiles(
            f"images {number}",
            folder,
            ids[part],
            tuple(paths[i] for i in part),
            background=task.background_value,
            bits=task.bits,
        )
        for number, part in enumerate(rows)
    ]


def bits_of(folder: Path, paths: Sequence[str]) -> int:
    """Return how many bits of each value some of the 16-bit images use at most; 0 where none has 16 bits."""
    some = [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, LOOKED_AT).astype(int)).tolist()]
    return max((bits_in_use(data) for data in map(partial(_content, folder), some) if data), default=0)


def _content(folder: Path, path: str) -> bytes:
    """Return a file's content, nothing where it cannot be read: its images are told when they are read in earnest."""
    try:
        return read_file(folder, path)
    except OSError:
        return b""
