"""CSV files of pixels: a row per image, with a column per pixel, or all of them in one cell."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray

from multihead.data.labels import ids_in, label_columns_there, labels_in
from multihead.data.readers.table_reader import TablePart, TableReader, columns_as_uint8, pixel_columns
from multihead.data.shards import PixelMemory, Shard
from multihead.data.tables import Table
from multihead.runtime.errors import UserError, listed, shortened

EXPECTED = "whole numbers from 0 to 255"
NUMBERS = re.compile(r"[\d.,;\s\[\](){}]+")  # of a cell that holds all pixels of an image
BETWEEN_NUMBERS = str.maketrans(dict.fromkeys("[](){},;", " "))


class PixelCsv(TablePart):
    """One file."""

    def ids(self) -> pd.Index:
        """Return the ids in the file, numbers where no column could hold any; UserError where it is damaged."""
        table = Table(self.path)
        return self._ids_in(table, _pixels_in(table, self.task.image_shape))

    def labels(self) -> pd.DataFrame:
        """Return the class indices in the file itself: index image id (str), one int64 column per head.

        Raises UserError as labels.labels_in does.
        """
        table = Table(self.path)
        return labels_in(table, self.task, self._ids_in(table, _pixels_in(table, self.task.image_shape)))

    def read(self, image_shape: tuple[int, int, int], memory: PixelMemory, *, is_train: bool) -> Shard:
        """Return the chosen images; blank lines are passed over.

        Raises UserError for a damaged file, another number of pixels, a gap in the numbers of their columns, or pixels
        that are no whole numbers from 0 to 255.
        """
        del memory, is_train
        table = Table(self.path)
        columns = _pixels_in(table, image_shape)
        ids = self._ids_in(table, columns)
        if len(columns) < math.prod(image_shape):
            pixels = _pixels_of_cells(table.text(columns)[columns[0]].tolist(), math.prod(image_shape), self.path)
        else:
            pixels = _pixels_of_columns(table.cells(columns), columns, self.path)
        if len(pixels) != len(ids):
            raise UserError(f"{self.path}: damaged: {len(pixels)} rows of pixels for {len(ids)} ids")
        rows, chosen, passed_over = self.chosen_rows(ids)
        kept = pixels if len(rows) == len(ids) else pixels[rows]
        return Shard(chosen, kept.reshape(-1, *image_shape), passed_over=passed_over)

    def _ids_in(self, table: Table, pixels: Sequence[str]) -> pd.Index:
        others = {*pixels, *label_columns_there(table, self.task)}
        ids = ids_in(table, others, self.task.id_column, self.likely_ids, self.there)
        if ids.name is None and not self.is_alone:
            raise UserError(f"{self.path}: no column of ids; without one there may be one file")
        return ids


class PixelCsvReader(TableReader):
    """Reads CSV files of pixels, which may hold the labels too."""

    part_type = PixelCsv

    def labels_in(self, path: Path, there: Sequence[str] | None = None) -> pd.DataFrame:
        return PixelCsv(path, self.task, (), there).labels()


def _pixels_in(table: Table, image_shape: tuple[int, int, int]) -> list[str]:
    """Return the columns of pixels in row-major order, or the one column whose cells hold all of an image's."""
    wanted = math.prod(image_shape)
    columns = pixel_columns(table.names, image_shape, table.path)
    if columns:
        return columns
    cells = {name: _numbers(cell) for name, cell in table.first_row.items() if NUMBERS.fullmatch(cell)}
    whole = [name for name, numbers in cells.items() if len(numbers) == wanted]
    if not whole:
        raise UserError(f"{table.path}: no columns of pixels, and no cells of {wanted}; it has {listed(table.names)}")
    return whole[:1]


def _pixels_of_columns(cells: pl.DataFrame, columns: Sequence[str], path: Path) -> NDArray[np.uint8]:
    """Return uint8 (n, pixels) of a table with a column per pixel."""
    for name in columns:
        if cells[name].dtype == pl.String:  # a space stands before its numbers, or it holds something else
            numbers = cells[name].str.strip_chars().cast(pl.Float64, strict=False)
            other = cells[name].filter(numbers.is_null() & cells[name].is_not_null())
            if len(other):
                raise UserError(f"{path}: column {name!r} holds {shortened(other[0])}; expected {EXPECTED}")
            cells = cells.with_columns(numbers.alias(name))
        elif not cells[name].dtype.is_numeric():
            raise UserError(f"{path}: column {name!r} is {cells[name].dtype}; expected {EXPECTED}")
    return np.ascontiguousarray(columns_as_uint8(cells.select(columns), path).T)


def _pixels_of_cells(cells: Sequence[str], wanted: int, path: Path) -> NDArray[np.uint8]:
    """Return uint8 (n, pixels) of n cells with all pixels of an image in row-major order."""
    pixels = np.empty((len(cells), wanted), np.uint8)
    for row, cell in enumerate(cells):
        numbers = _numbers(cell) if NUMBERS.fullmatch(cell) else np.empty(0)
        if len(numbers) != wanted:
            raise UserError(f"{path}: row {row + 2}: {len(numbers)} numbers in {shortened(cell)}; expected {wanted}")
        if ((numbers < 0) | (numbers > 255) | (numbers != np.round(numbers))).any():
            raise UserError(f"{path}: row {row + 2}: holds {numbers.min():g} to {numbers.max():g}; expected {EXPECTED}")
        pixels[row] = numbers
    return pixels


def _numbers(cell: str) -> NDArray[np.float64]:
    return np.fromstring(cell.translate(BETWEEN_NUMBERS), np.float64, sep=" ")
