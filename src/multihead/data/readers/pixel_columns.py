"""Columns of pixels: which they are, whatever a table calls them, and their values as uint8, whatever their type."""

import math
import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

NUMBERED = re.compile(r"(\D*)(\d+)(?:(\D{1,3})(\d+))?(\D?)")


class PixelError(ValueError):
    """A column holds something that is no pixel."""


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


def pixel_columns(names: Sequence[str], image_shape: tuple[int, int, int]) -> list[str]:
    """Return the columns of pixels in row-major order, () where no column is one.

    They are called the same but for a number from 0 or 1 on ("0", "pixel0", "px_1"), or for two ("1x1", "r0c0": row and
    column). Raises PixelError where some are missing, or there are more.
    """
    height, width, channels = image_shape
    wanted = math.prod(image_shape)
    columns = numbered_columns(names, wanted)
    if len(columns) < min(wanted, 2):
        return []
    is_by_row = len(next(iter(columns))) == 2
    start = min(min(columns), default=0)
    if is_by_row:
        places: list[tuple[int, ...]] = [
            (start + row, start + column) for row in range(height) for column in range(width * channels)
        ]
    else:
        places = [(number,) for number in range(min(start, 1), min(start, 1) + wanted)]
    example = min(columns.items())[1]
    missing = next((place for place in places if place not in columns), None)
    if missing:
        numbers = map(str, missing)
        name = re.sub(r"\d+", lambda _: next(numbers), example)
        raise PixelError(
            f"no column {name!r}; expected {wanted} pixels, and {len(columns)} are called like {example!r}"
        )
    if len(columns) > wanted:
        name = next(name for place, name in sorted(columns.items()) if place not in places)
        last = columns[places[-1]]
        raise PixelError(f"has a column {name!r}; expected {wanted} pixels, {example!r} to {last!r}, only")
    return [columns[place] for place in places]


def columns_as_uint8(table: pl.DataFrame) -> NDArray[np.uint8]:
    """Return k columns of n rows as (k, n), converted where that loses nothing: some copies of the data hold floats."""
    for name, (missing,) in table.null_count().to_dict(as_series=False).items():
        if missing:
            raise PixelError(f"column {name!r} has {missing} missing values")
    values = table.to_numpy(order="fortran").T
    if values.dtype == np.uint8:
        return values
    with np.errstate(invalid="ignore"):  # nan has no whole number; the comparison finds it
        converted = values.astype(np.uint8)
    is_wrong = converted != values
    if is_wrong.any():
        column, row = np.unravel_index(is_wrong.argmax(), is_wrong.shape)
        name, value = table.columns[column], values[column, row]
        raise PixelError(f"column {name!r} holds {value}; expected whole numbers from 0 to 255")
    return converted
