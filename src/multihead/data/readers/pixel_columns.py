"""Columns of pixels: which they are, whatever a table calls them, and their values as uint8, whatever their type."""

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from multihead.runtime.errors import UserError

NUMBERED = re.compile(r"(\D*)(\d+)(?:(\D{1,3})(\d+))?(\D?)")


def numbered_columns(names: Sequence[str], wanted: int = 0) -> dict[tuple[int, ...], str]:
    """Return those columns that are called the same but for their number or two, by those numbers.

    Of several kinds of names that of as many columns as wanted is taken, else that of the most.
    """
    found: dict[tuple[str, ...], dict[tuple[int, ...], str]] = defaultdict(dict)
    for name in names:
        if name.isdecimal():  # tens of thousands are, which no expression need look at
            found["", "", ""][(int(name),)] = name
        elif numbered := NUMBERED.fullmatch(name):
            before, first, between, second, after = (text or "" for text in numbered.groups())
            found[before, between, after][int(first), *([int(second)] if second else [])] = name
    return max(found.values(), key=lambda columns: (len(columns) == wanted, len(columns)), default={})


def pixel_columns(names: Sequence[str], image_shape: tuple[int, int, int], path: Path) -> list[str]:
    """Return the columns of pixels in row-major order, () where no column is one. path: of the file, for messages.

    They are called the same but for a number from 0 or 1 on ("0", "pixel0", "px_1"), or for two ("1x1", "r0c0": row and
    column). Raises UserError where some are missing, or there are more.
    """
    height, width, channels = image_shape
    wanted = height * width * channels
    columns = numbered_columns(names, wanted)
    if len(columns) < min(wanted, 2):
        return []
    is_by_row = len(next(iter(columns))) == 2
    start = min(min(columns)) if is_by_row else min(*min(columns), 1)
    lengths = (height, width * channels) if is_by_row else (wanted,)
    places = list(product(*(range(start, start + length) for length in lengths)))
    example = min(columns.items())[1]
    missing = next((place for place in places if place not in columns), None)
    if missing:
        numbers = map(str, missing)
        name = re.sub(r"\d+", lambda _: next(numbers), example)
        raise UserError(
            f"{path}: no column {name!r}; expected {wanted} pixels, and {len(columns)} are called like {example!r}"
        )
    if len(columns) > wanted:
        name = next(name for place, name in sorted(columns.items()) if place not in places)
        expected = f"{wanted} pixels, {example!r} to {columns[places[-1]]!r}, only"
        raise UserError(f"{path}: has a column {name!r}; expected {expected}")
    return [columns[place] for place in places]


def columns_as_uint8(table: pl.DataFrame, path: Path) -> NDArray[np.uint8]:
    """Return k columns of n rows as (k, n), converted where that loses nothing: some copies of the data hold floats.

    path: of the file, for messages. Raises UserError for a value that is missing, or no whole number from 0 to 255.
    """
    for name, (missing,) in table.null_count().to_dict(as_series=False).items():
        if missing:
            raise UserError(f"{path}: column {name!r} has {missing} missing values")
    values = table.to_numpy(order="fortran").T
    if values.dtype == np.uint8:
        return values
    with np.errstate(invalid="ignore"):  # nan has no whole number; the comparison finds it
        converted = values.astype(np.uint8)
    is_wrong = converted != values
    if is_wrong.any():
        column, row = np.unravel_index(is_wrong.argmax(), is_wrong.shape)
        name, value = table.columns[column], values[column, row]
        raise UserError(f"{path}: column {name!r} holds {value}; expected whole numbers from 0 to 255")
    return converted
