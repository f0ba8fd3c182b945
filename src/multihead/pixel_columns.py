"""Columns of pixels as uint8, whatever type a table gives them, and what reading such a table can raise."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

# a damaged file can make polars panic, and that is no Exception
READ_ERRORS = (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException)


class PixelError(ValueError):
    """A column holds something that is no pixel."""


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
