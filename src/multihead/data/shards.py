"""Shards: images that are read together, and what each is read from.

One class per form of file yields the same: ids, uint8 images, labels as class indices.
"""

import mmap
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.data.labels import labels_of


@dataclass(frozen=True)
class Shard:
    """Images that belong together, full or cropped.

    ids: n image ids. images: uint8 (n, H, W, c). labels: for each head, (n,), as a table of labels
    has them; None for test images. unreadable: the ids of image files that could not be read; they are not
    among the n. blank: of crops, the ids of those whose full image has one value all over. passed_over: the ids of
    images in the file that no table names; they are not among the n either.
    """

    ids: Sequence[str]
    images: NDArray[np.uint8]
    labels: Mapping[str, NDArray[Any]] | None = None
    unreadable: Sequence[str] = ()
    blank: Sequence[str] = ()
    passed_over: Sequence[str] = ()


class PixelMemory:
    """Memory for the full images of one shard, used for one after the other: most of reading was finding new pages.

    The pages are of the usual size: NumPy asks for large ones, and a virtual machine takes seconds to find 1.6 GB.
    They are found all at once where the system can: one by one, as they are first used, costs half as much again.
    """

    _FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_POPULATE", 0)

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1)

    def array(self, rows: int, columns: int) -> NDArray[np.uint8]:
        """Return uint8 (rows, columns) of any content; it is the same memory each time, or more of it."""
        if len(self._memory) < rows * columns:
            self.release()  # or both would be there at once
            self._memory = mmap.mmap(-1, rows * columns, flags=self._FLAGS)
        return np.frombuffer(self._memory, np.uint8, rows * columns).reshape(rows, columns)

    def release(self) -> None:
        """Let go of the memory; what array returned stays valid."""
        self._memory = mmap.mmap(-1, 1)


class Part(ABC):
    """What one shard is read from."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called in a log."""

    @property
    def size(self) -> int:
        """Its size on disk in bytes, 0 where that says nothing of how long it takes to read."""
        return 0

    @property
    def why_blank(self) -> str:
        """What may be the reason where most of its images are blank, to follow after an error."""
        return ""

    @abstractmethod
    def ids(self) -> pd.Index:
        """Return the ids of its images as it spells them, those that are not chosen too, in the order of their reading.

        The name of the index is that of the column that holds them. As little as possible is read; UserError where it
        is damaged.
        """

    @abstractmethod
    def read(self, image_shape: tuple[int, int, int], memory: PixelMemory, *, is_train: bool) -> Shard:
        """Return its chosen images in full, of this shape, without labels.

        memory: where the images of a large table are put, over those of the shard before. Raises UserError for what is
        damaged.
        """

    def whole_images(self, channels: int, count: int) -> NDArray[np.uint8]:
        """Return its first images as they are, for a report: where `read` is asked for another shape than theirs."""
        raise NotImplementedError(f"{type(self).__name__} reads its images as they are")


def read_shard(
    part: Part,
    image_shape: tuple[int, int, int],
    labels: pd.DataFrame | None = None,
    memory: PixelMemory | None = None,
) -> Shard:
    """Return one part as a Shard of full images, labelled from a table of class indices if given (index image id).

    Raises UserError for what is damaged, or an id without a label.
    """
    shard = part.read(image_shape, memory or PixelMemory(), is_train=labels is not None)
    return shard if labels is None else replace(shard, labels=labels_of(shard.ids, labels, part.name))
