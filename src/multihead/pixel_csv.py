"""CSV files of pixels: a row per image, a column per pixel, named "pixel" and its number in row-major order."""

import math
import re
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from multihead.errors import UserError, first_line
from multihead.labels import read_table, row_numbers
from multihead.pixel_columns import READ_ERRORS, PixelError, columns_as_uint8
from multihead.tasks import Task

PIXEL = re.compile(r"(?:pixel)?(\d+)")


def count_rows(path: Path) -> int:
    """Return the number of images in a file: its lines but for the header."""
    try:
        return int(pl.scan_csv(path).select(pl.len()).collect().item())
    except READ_ERRORS as error:
        raise UserError(f"{path}: not a readable CSV file ({first_line(error)})") from error


def read_ids(path: Path, task: Task) -> list[str]:
    """Return one file's ids without its pixels; UserError for a damaged file, or one without the id column."""
    if not task.id_column:
        return row_numbers(count_rows(path)).tolist()
    return read_table(path, [task.id_column])[task.id_column].tolist()


def read_images(path: Path, task: Task) -> tuple[list[str], NDArray[np.uint8]]:
    """Return one file's ids and images, uint8 (n, H, W, c); without an id column the rows are numbered from 1.

    Columns are taken by name. Raises UserError for a damaged file, another number of pixel columns, or pixels that are
    no whole numbers from 0 to 255.
    """
    expected = math.prod(task.image_shape)
    try:
        as_text = {task.id_column: pl.String} if task.id_column else None
        table = pl.read_csv(path, infer_schema_length=None, schema_overrides=as_text)
        names = sorted(filter(PIXEL.fullmatch, table.columns), key=lambda name: int(name.removeprefix("pixel")))
        if len(names) != expected:
            raise UserError(f"{path}: {len(names)} pixel columns; expected {expected}, as pixel0 or pixel1 and so on")
        if task.id_column and task.id_column not in table.columns:
            raise UserError(f"{path}: no column {task.id_column}")
        for name in names:
            if not table[name].dtype.is_numeric():
                raise PixelError(f"column {name!r} is {table[name].dtype}; expected whole numbers from 0 to 255")
        pixels = np.ascontiguousarray(columns_as_uint8(table.select(names)).T)
    except READ_ERRORS as error:
        raise UserError(f"{path}: damaged: {first_line(error)}") from error
    except PixelError as error:
        raise UserError(f"{path}: {error}") from error
    ids = table[task.id_column].fill_null("").to_list() if task.id_column else row_numbers(len(pixels)).tolist()
    return ids, pixels.reshape(-1, *task.image_shape)
