"""Wide parquet files: a column of ids and one uint8 column per pixel, named "0", "1", ... in row-major order.

A file has tens of thousands of columns and a single row group, so it is read in chunks of columns, each transposed
into its place in one array while the next is decoded.
"""

import math
import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray

from multihead.background import in_background
from multihead.errors import UserError, first_line
from multihead.pixel_columns import READ_ERRORS, PixelError, columns_as_uint8
from multihead.tasks import Task

BYTES_PER_CHUNK = 40_000_000  # that are decoded at a time: fewer cost time, more cost memory
COLUMNS_PER_TRANSPOSE = 1024  # more do not stay in the cache, fewer touch each page of the images too often


def count_rows(path: Path) -> int:
    """Return the number of images in a shard, from the file's footer alone."""
    try:
        return int(_open(path).select(pl.len()).collect().item())
    except READ_ERRORS as error:
        raise UserError(f"{path}: damaged: {first_line(error)}") from error


def read_ids(path: Path, task: Task) -> list[str]:
    """Return one file's ids without its pixels; UserError for a damaged file, or one without the id column."""
    try:
        return [str(i) for i in _open(path).select(task.id_column).collect()[task.id_column]]
    except READ_ERRORS as error:
        raise UserError(f"{path}: damaged: {first_line(error)}") from error


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


def read_images(path: Path, task: Task, memory: PixelMemory) -> tuple[list[str], NDArray[np.uint8]]:
    """Return one file's ids and full images, uint8 (n, H, W, c), put into `memory` over those of the file before.

    Columns are taken by name: whatever else a copy of the file holds is left alone. Raises UserError for a damaged
    file, missing pixel columns, or pixels that are no whole numbers from 0 to 255.
    """
    file = _open(path)
    pixels, dtypes = _pixel_columns(file, task, path)
    try:
        ids = [str(i) for i in file.select(task.id_column).collect()[task.id_column]]
        images = memory.array(len(ids), len(pixels))
        start = 0
        bytes_per_column = len(ids) * (1 if dtypes == {pl.UInt8()} else 8)
        for table in _chunks_ahead(file, pixels, max(1, BYTES_PER_CHUNK // max(1, bytes_per_column))):
            if table.height != len(ids):
                raise PixelError(f"columns of {table.height} values for {len(ids)} ids")
            _transpose_into(images[:, start : start + table.width], columns_as_uint8(table))
            start += table.width
    except READ_ERRORS as error:
        raise UserError(f"{path}: damaged: {first_line(error)}") from error
    except PixelError as error:
        raise UserError(f"{path}: {error}") from error
    return ids, images.reshape(-1, *task.image_shape)


def _open(path: Path) -> pl.LazyFrame:
    """Return the file with its footer read, which all selections from it share."""
    try:
        file = pl.scan_parquet(path, glob=False)
        file.collect_schema()
    except READ_ERRORS as error:
        raise UserError(f"{path}: not a readable parquet file ({first_line(error)})") from error
    return file


def _pixel_columns(file: pl.LazyFrame, task: Task, path: Path) -> tuple[list[str], set[pl.DataType]]:
    """Return the names of the pixel columns, in order, and their types."""
    schema = file.collect_schema()
    expected = [str(i) for i in range(math.prod(task.image_shape))]
    for name in (task.id_column, *expected):
        if name not in schema:
            raise UserError(f"{path}: no column {name!r}; expected {task.id_column!r} and '0' to {expected[-1]!r}")
    if str(len(expected)) in schema:
        raise UserError(f"{path}: has a column '{len(expected)}'; expected pixels '0' to {expected[-1]!r} only")
    for name in expected:
        if not schema[name].is_numeric():
            raise UserError(f"{path}: column {name!r} is {schema[name]}; expected UInt8")
    return expected, {schema[name] for name in expected}


def _chunks_ahead(file: pl.LazyFrame, names: Sequence[str], at_a_time: int) -> Iterator[pl.DataFrame]:
    """Yield the columns, so many at a time, decoding the next ones while the caller works on these."""
    chunks = [names[start : start + at_a_time] for start in range(0, len(names), at_a_time)]
    coming = in_background(file.select(chunks[0]).collect)
    for following in (*chunks[1:], None):
        table = coming.result()
        if following is not None:
            coming = in_background(file.select(following).collect)
        yield table


def _transpose_into(out: NDArray[np.uint8], columns: NDArray[np.uint8]) -> None:
    """Copy (k, n) into `out` (n, k)."""
    if len(out):
        for start in range(0, len(columns), COLUMNS_PER_TRANSPOSE):
            stop = start + COLUMNS_PER_TRANSPOSE
            cv2.transpose(columns[start:stop], dst=out[:, start:stop])
