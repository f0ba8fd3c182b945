"""Tables of text of any export: CSV with any separator, packed or not, its columns by the names in its header."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multihead.archives import read_table_bytes
from multihead.errors import UserError, first_line, listed
from multihead.identity import match
from multihead.text_files import decoded

SEPARATORS = (",", ";", "\t", "|")
UNNAMED = "Unnamed: "
BLANK_LINES = re.compile(rb"\n(?:[ \t]*(?:\n|\Z))+")
csv.field_size_limit(2**31 - 1)  # a cell may hold a whole image
FEW_FIELDS = 50  # of which all are read: pandas refuses longer rows then, and otherwise cuts them off
MAX_COUNTED = 1000  # ids of a column that are looked up to find out whether it holds ids


class Table:
    """One table, its header read.

    path: of the file, for messages. separator: of its fields. names: of its columns, without spaces around them; one
    that has none is called UNNAMED and its number. first_row: the cells of the first row by the names of their columns.
    """

    def __init__(self, path: Path) -> None:
        """Read the file; UserError where it is not there, damaged, or no table of UTF-8 or UTF-16."""
        self.path = path
        content = _utf8(read_table_bytes(path), path)
        try:
            readers = {separator: _csv_reader(content, separator) for separator in SEPARATORS}
            headers: dict[str, list[str]] = {separator: next(reader, []) for separator, reader in readers.items()}
            self.separator = max(SEPARATORS, key=lambda separator: len(headers[separator]))
            reader = readers[self.separator]
            lines = reader.line_num
            first_row: list[str] = next(reader, [])
        except csv.Error as error:
            raise UserError(f"{path}: not a table ({error})") from error
        header = [name.strip() for name in headers[self.separator]]
        if not any(header):
            raise UserError(f"{path}: holds no table; expected a line with the names of its columns")
        self._rows = content.split(b"\n", lines)[-1] if content.count(b"\n") >= lines else b""
        self.names = _named(["", *header] if self._begins_with_row_names(header, first_row) else header)
        self._fields = max(len(self.names), len(first_row))
        self.first_row = dict(zip(self.names, first_row, strict=False))

    def _begins_with_row_names(self, header: Sequence[str], first_row: Sequence[str]) -> bool:
        """Tell whether each row begins with a name of its own, for which the header has no field: R writes such."""
        if len(first_row) != len(header) + 1 or not first_row[-1].strip():
            return False
        return all(len(row) in (0, len(first_row)) for row in _csv_reader(self._rows, self.separator))

    def find(self, name: str) -> str:
        """Return how a column's name is spelled here, "" where there is none; UserError where it stands twice.

        Where none is spelled so, case does not count.
        """
        folded = [column for column in self.names if column.casefold() == name.casefold()]
        found = [column for column in folded if column == name] or folded
        if len(found) > 1:
            raise UserError(f"{self.path}: has {len(found)} columns {name}")
        return found[0] if found else ""

    def text(self, columns: Sequence[str]) -> pd.DataFrame:
        """Return columns by their names as text without spaces around it, "" where a cell is empty.

        A name that is not here is a UserError, and so is a row with more fields than the header names.
        """
        missing = [name for name in columns if name not in self.names]
        if missing:
            raise UserError(f"{self.path}: no column {listed(missing)}; it has {listed(self.names)}")
        positions = [self.names.index(name) for name in columns]
        table = self._cells(positions)
        table.columns = pd.Index(columns)
        return table

    def _cells(self, positions: Sequence[int]) -> pd.DataFrame:
        beyond = list(range(len(self.names), self._fields + 1))  # what no header has a name for
        widest = (self.separator * self._fields + "\n").encode()  # a row with all fields, or pandas refuses so many
        try:
            cells = pd.read_csv(
                io.BytesIO(widest + self._rows),
                sep=self.separator,
                header=None,
                names=list(range(self._fields + 1)),
                usecols=sorted({*positions, *beyond}) if self._fields > FEW_FIELDS else None,
                index_col=False,
                dtype=str,
                keep_default_na=False,
                skipinitialspace=True,
            )
        except (OSError, ValueError) as error:
            too_long = re.search(r"Expected \d+ fields in line (\d+)", str(error))
            if too_long:
                raise self._row_is_too_long(int(too_long[1])) from error
            raise UserError(f"{self.path}: cannot be read as CSV ({first_line(error)})") from error
        cells = cells[1:].reset_index(drop=True).apply(lambda column: column.str.strip())
        is_long = cells[beyond].ne("").any(axis=1).to_numpy()
        if is_long.any():
            raise self._row_is_too_long(int(is_long.argmax()) + 2)
        return pd.DataFrame(cells[list(positions)])

    def _row_is_too_long(self, row: int) -> UserError:
        return UserError(f"{self.path}, row {row}: has more fields than the {len(self.names)} of the header")

    def for_polars(self) -> bytes:
        """Return the table with a name for each field of its rows, and without blank lines, of which it makes rows."""
        beyond = [f"{UNNAMED}{number}" for number in range(len(self.names), self._fields)]
        line = io.StringIO()
        csv.writer(line, delimiter=self.separator, lineterminator="\n").writerow([*self.names, *beyond])
        return line.getvalue().encode() + BLANK_LINES.sub(b"\n", self._rows).lstrip(b"\n")


def id_column(
    columns: Sequence[str],
    values_of: Callable[[str], Sequence[str]],
    likely: Sequence[str],
    there: Sequence[str] | None = None,
) -> str:
    """Return which column of a table holds its ids, "" where none could.

    columns: those that hold neither labels nor pixels. values_of: returns a column's values. likely: names, the
    likeliest first; case does not count. there: ids or file names that those in the table stand for, where they are
    known; a column that holds most of them goes before all others. Else a likely one that is there is taken, or the
    first whose values are all different and could be names.
    """
    folded = {name.casefold(): name for name in reversed(columns)}
    likely = list(dict.fromkeys(folded[name.casefold()] for name in likely if name.casefold() in folded))
    named = [name for name in columns if name not in likely and not name.startswith(UNNAMED)]
    unnamed = [name for name in columns if name.startswith(UNNAMED)]
    if there is not None and len(there):
        for name in (*likely, *(name for name in (*named, *unnamed) if _could_be_ids(values_of(name)))):
            values = values_of(name)[:MAX_COUNTED]
            if 2 * np.count_nonzero(match(values, there) >= 0) > len(values):
                return name
    return likely[0] if likely else next((name for name in named if _could_be_ids(values_of(name))), "")


def _could_be_ids(values: Sequence[str]) -> bool:
    """Tell whether values are all different, none empty, and none a number with a fraction."""
    if len(set(values)) < len(values) or "" in values:
        return False
    numbers = pd.to_numeric(pd.Series(values, dtype=object), errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return not bool((np.isfinite(numbers) & (numbers != np.round(numbers))).any())


def _named(header: Sequence[str]) -> list[str]:
    """Return names for all columns, for those that have none as pandas calls them."""
    return [name or f"{UNNAMED}{number}" for number, name in enumerate(header)]


def _utf8(content: bytes, path: Path) -> bytes:
    """Return a text as UTF-8 without a byte order mark, its lines ended by a line feed."""
    try:
        text = decoded(content).lstrip("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error.reason}); save the table as UTF-8") from error
    if "\0" in text:
        raise UserError(f"{path}: not a table; it holds bytes that no text has")
    return text.encode()


def _csv_reader(content: bytes, separator: str) -> Any:
    text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", newline="")
    return csv.reader(text, delimiter=separator, skipinitialspace=True)
