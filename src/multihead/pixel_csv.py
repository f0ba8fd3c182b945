"""CSV files of pixels: a row per image, a column per pixel, named "pixel" and its number in row-major order."""

import gzip
import math
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from multihead.errors import UserError, first_line
from multihead.labels import read_table, row_numbers
from multihead.pixel_columns import READ_ERRORS, PixelError, columns_as_uint8
from multihead.tasks import Task

PIXEL = re.compile(r"(?:pixel)?(\d+)")
BLANK_LINES = re.compile(rb"\n(?:[ \t\r]*(?:\n|\Z))+")


def count_rows(path: Path) -> int:
    """Return the number of images in a file: its lines but for the header and blank ones."""
    try:
        return int(pl.scan_csv(_content(path)).select(pl.len()).collect().item())
    except READ_ERRORS as error:
        raise UserError(f"{path}: not a readable CSV file ({first_line(error)})") from error


def read_ids(path: Path, task: Task) -> list[str]:
    """Return one file's ids without its pixels; UserError for a damaged file, or one without the id column."""
    if not task.id_column:
        return row_numbers(count_rows(path)).tolist()
    return read_table(path, [task.id_column])[task.id_column].tolist()


def read_images(path: Path, task: Task) -> tuple[list[str], NDArray[np.uint8]]:
    """Return one file's ids and images, uint8 (n, H, W, c); without an id column the rows are numbered from 1.

    Columns are taken by name, blank lines passed over. Raises UserError for a damaged file, another number of pixel
    columns, a gap in their numbers, or pixels that are no whole numbers from 0 to 255.
    """
    expected = math.prod(task.image_shape)
    try:
        as_text = {task.id_column: pl.String} if task.id_column else None
        table = pl.read_csv(_content(path), infer_schema_length=None, schema_overrides=as_text)
        names = sorted(filter(PIXEL.fullmatch, table.columns), key=_number)
        if len(names) != expected:
            raise UserError(f"{path}: {len(names)} pixel columns; expected {expected}, as pixel0 or pixel1 and so on")
        _refuse_gap(names, path)
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


def _content(path: Path) -> bytes:
    """Return a CSV file without its blank lines, of which polars would make rows; UserError where it is damaged."""
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            return BLANK_LINES.sub(b"\n", file.read())
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: damaged: {first_line(error)}") from error


def _number(column: str) -> int:
    return int(column.removeprefix("pixel"))


def _refuse_gap(names: Sequence[str], path: Path) -> None:
    """Raise UserError where pixel columns are not numbered from 0 or 1 on, each number once."""
    numbers = set(map(_number, names))
    first = 0 if 0 in numbers else 1
    for number in range(first, first + len(names)):
        if number not in numbers:
            name = f"pixel{number}" if names[0].startswith("pixel") else number
            raise UserError(f"{path}: no column {name}; expected {len(names)} pixel columns, numbered without a gap")
