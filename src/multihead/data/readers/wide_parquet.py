"""Wide parquet files: a column of ids and one uint8 column per pixel, named "0", "1", ... in row-major order.

A file has tens of thousands of columns and a single row group, so it is read in chunks of columns, each transposed
into its place in one array while the next is decoded.
"""

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray

from multihead.data.readers.table_reader import (
    TablePart,
    TableReader,
    columns_as_uint8,
    numbered_columns,
    pixel_columns,
)
from multihead.data.shards import PixelMemory, Shard
from multihead.data.tables import id_column, read_errors
from multihead.runtime.background import in_background
from multihead.runtime.errors import UserError, first_line, listed

READ_ERRORS = read_errors()
BYTES_PER_CHUNK = 40_000_000  # that are decoded at a time: fewer cost time, more cost memory
COLUMNS_PER_TRANSPOSE = 1024  # more do not stay in the cache, fewer touch each page of the images too often


class WideParquet(TablePart):
    """One file."""

    def ids(self) -> pd.Index:
        """Return the ids in the file; UserError where it is damaged, has no column of them, or an empty one."""
        return self._ids_in(*_open(self.path))

    def read(self, image_shape: tuple[int, int, int], memory: PixelMemory, *, is_train: bool) -> Shard:
        """Return the chosen images, put into `memory` over those of the file before.

        Columns are taken by name: whatever else a copy of the file holds is left alone. Raises UserError for a damaged
        file, missing pixel columns, or pixels that are no whole numbers from 0 to 255.
        """
        del is_train
        frame, schema = _open(self.path)
        ids = self._ids_in(frame, schema)
        pixels = pixel_columns(schema.names(), image_shape, self.path)
        if not pixels:
            raise UserError(f"{self.path}: no columns of pixels; it has {listed(schema)}")
        for name in pixels:
            if not schema[name].is_numeric():
                raise UserError(f"{self.path}: column {name!r} is {schema[name]}; expected UInt8")
        bytes_per_column = len(ids) * (1 if {schema[name] for name in pixels} == {pl.UInt8()} else 8)
        try:
            images = memory.array(len(ids), len(pixels))
            start = 0
            for table in _chunks_ahead(frame, pixels, max(1, BYTES_PER_CHUNK // max(1, bytes_per_column))):
                if table.height != len(ids):
                    raise UserError(f"{self.path}: columns of {table.height} values for {len(ids)} ids")
                _transpose_into(images[:, start : start + table.width], columns_as_uint8(table, self.path))
                start += table.width
        except READ_ERRORS as error:
            raise UserError(f"{self.path}: damaged: {first_line(error)}") from error
        rows, chosen, passed_over = self.chosen_rows(ids)
        if passed_over:  # a copy would need the memory of a shard once more
            for place, row in enumerate(rows.tolist()):
                images[place] = images[row]
        return Shard(chosen, images[: len(rows)].reshape(-1, *image_shape), passed_over=passed_over)

    def _ids_in(self, frame: pl.LazyFrame, schema: pl.Schema) -> pd.Index:
        name = self.task.id_column
        ids = self._texts(frame, name) if name in schema else []
        if not ids or (self.there is not None and not set(self.there).issuperset(ids)):  # it takes longer to find out
            pixels = set(numbered_columns(schema.names()).values())
            columns = [column for column in schema if column not in pixels]
            try:
                name = id_column(columns, lambda column: self._texts(frame, column), name, self.likely_ids, self.there)
            except UserError as error:
                raise UserError(f"{self.path.name}: {error}") from error
            if not name:
                raise UserError(f"{self.path}: no column {self.task.id_column or 'of ids'}; it has {listed(schema)}")
            ids = self._texts(frame, name)
        if "" in ids:
            raise UserError(f"{self.path}, row {ids.index('') + 1}: {name} is empty")
        return pd.Index(ids, dtype=str, name=name)

    def _texts(self, frame: pl.LazyFrame, column: str) -> list[str]:
        try:
            values = frame.select(column).collect()[column]
        except READ_ERRORS as error:
            raise UserError(f"{self.path}: damaged: {first_line(error)}") from error
        if values.dtype in (pl.String, pl.Categorical):
            return [value or "" for value in values.to_list()]
        return [_as_written(value) for value in values.to_list()]


class WideParquetReader(TableReader):
    """Reads wide parquet files, whose labels are in a table of their own."""

    part_type = WideParquet


def _as_written(value: Any) -> str:
    """Return an id as a person would write it: bytes as the text they are, whole numbers without a point."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    may_have_point = isinstance(value, float | Decimal)
    if value is None or (may_have_point and not math.isfinite(value)):
        return ""
    return str(int(value) if may_have_point and value == int(value) else value)


def _open(path: Path) -> tuple[pl.LazyFrame, pl.Schema]:
    """Return a file with its footer read, which all selections share: tens of thousands of columns take long."""
    try:
        state = path.stat()
        return _opened(path, state.st_size, state.st_mtime_ns)
    except READ_ERRORS as error:
        raise UserError(f"{path}: not a readable parquet file ({first_line(error)})") from error


@lru_cache(maxsize=1)  # each takes 50 MB
def _opened(path: Path, _size: int, _changed: int) -> tuple[pl.LazyFrame, pl.Schema]:
    frame = pl.scan_parquet(path, glob=False)
    return frame, frame.collect_schema()


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
