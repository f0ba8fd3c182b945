"""Tables of any export: CSV with any separator, packed or not, and which of their columns holds the ids.

A column is told by its name in the header; that of the ids by its values too, and by what is known to be there.
"""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from multihead.config.data_files import PARQUET, read_table_bytes
from multihead.data.identity import Spellings
from multihead.runtime.errors import UserError, first_line, listed
from multihead.runtime.text_files import decoded

if TYPE_CHECKING:
    import polars as pl

SEPARATORS = (",", ";", "\t", "|")
BLANK_LINES = re.compile(rb"\n(?:[ \t]*(?:\n|\Z))+")
EMPTY_LINES_BEFORE = re.compile(rb"\A(?:[ ,;\t|]*\n)+")
SEPARATOR_LINE = re.compile(rb"sep=([,;\t|])\n")
csv.field_size_limit(2**31 - 1)  # a cell may hold a whole image
SPARE = 4  # fields that are read beyond those of a table, since polars passes over what it is not asked for
UNNAMED = "Unnamed: "  # and its number: a column without a name
MAX_COUNTED = 1000  # ids that are looked up to find out which column holds them
MIN_AGREEMENT = 0.5  # of those, or of what they stand for
MAX_MISTAKES = 0.1  # of the ids in a column: repeated, or empty


class Table:
    """One table, its header read.

    path: of the file, for messages. separator: of its fields. names: of its columns, without spaces around them; one
    that has none is called UNNAMED and its number. first_row: the cells of the first row by the names of their columns.
    """

    def __init__(self, path: Path) -> None:
        """Read the file; UserError where it is not there, damaged, or no table of UTF-8 or UTF-16."""
        self.path = path
        content = _utf8(_as_csv(read_table_bytes(path), path), path)
        try:
            content, separators = _without_what_excel_adds(content)
            self.separator, header, first_row, lines = _header_of(content, separators)
        except csv.Error as error:
            raise UserError(f"{path}: not a table ({error})") from error
        if not any(header):
            raise UserError(f"{path}: holds no table; expected a line with the names of its columns")
        rows = b"\n" + (content.split(b"\n", lines)[-1] if content.count(b"\n", 0, -1) >= lines else b"")
        quote_after_space = f'{self.separator} "'.encode()
        self._is_plain = b'"' not in rows or not (quote_after_space in rows or BLANK_LINES.search(rows))
        if len(header) > 1 and self._is_plain:  # of one column, a blank line is a row with an empty cell
            rows = BLANK_LINES.sub(b"\n", rows)
        names = ["", *header] if _has_row_names(header, first_row, rows, self.separator) else header
        self.names = [name or f"{UNNAMED}{number}" for number, name in enumerate(names)]  # as pandas calls them
        self._fields = [f"field {number}" for number in range(max(len(self.names), len(first_row)) + SPARE)]
        self._content = self.separator.join(self._fields).encode() + rows
        self.first_row = dict(zip(self.names, first_row, strict=False))

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
        texts = self._texts(list(dict.fromkeys(columns)))
        return pd.DataFrame({name: pd.Series(texts[name], dtype=object) for name in columns})

    def _texts(self, columns: Sequence[str]) -> Mapping[str, list[str]]:
        """Return columns of text: by polars, or of a table in which quotes stand where it knows none, by csv."""
        if self._is_plain:
            import polars as pl

            try:
                cells = self.cells(columns, is_text=True).with_columns(pl.all().str.strip_chars().fill_null(""))
                return {name: cells[name].to_list() for name in columns}
            except UserError:
                pass
        places = [self.names.index(name) for name in columns]
        texts: dict[str, list[str]] = {name: [] for name in columns}
        rows = enumerate(_csv_reader(self._content, self.separator), 1)
        next(rows)
        try:
            for number, row in rows:
                if any(field.strip() for field in row[len(self.names) :]):
                    raise UserError(
                        f"{self.path}, row {number}: has more fields than the {len(self.names)} of the header"
                    )
                for name, place in zip(columns, places, strict=True):
                    if row or len(self.names) == 1:
                        texts[name].append(row[place].strip() if place < len(row) else "")
        except csv.Error as error:
            raise UserError(f"{self.path}: cannot be read as CSV ({error})") from error
        return texts

    def ids_among(self, columns: Sequence[str], named: str, likely: Sequence[str], there: Sequence[str] | None) -> str:
        """Return which of these columns holds the ids, "" where none could: see id_column."""
        texts = cache(partial(self.text, list(dict.fromkeys(columns))))  # read together, and only if need be
        try:
            return id_column(columns, lambda name: texts()[name].tolist(), named, likely, there)
        except UserError as error:
            raise UserError(f"{self.path}: {error}") from error

    def cells(self, columns: Sequence[str], *, is_text: bool = False) -> "pl.DataFrame":
        """Return columns by their names, of the types that their values have; null where a cell is empty.

        is_text: they are all text. Blank lines are no rows. Raises UserError where the table is damaged, or a row has
        more fields than the header names.
        """
        import polars as pl

        beyond = self._fields[len(self.names) :]
        places = [self._fields[self.names.index(name)] for name in columns]
        try:
            cells = pl.read_csv(
                self._content,
                columns=[*dict.fromkeys(places), *beyond],
                separator=self.separator,
                infer_schema=not is_text,
                infer_schema_length=None,
            )
        except read_errors() as error:
            raise UserError(f"{self.path}: cannot be read as CSV ({first_line(error)})") from error
        for name in beyond:
            is_long = cells[name].cast(pl.String).fill_null("").str.strip_chars().ne("")
            if is_long.any():
                row = (is_long.arg_max() or 0) + 2
                raise UserError(f"{self.path}, row {row}: has more fields than the {len(self.names)} of the header")
        return cells.select(pl.col(place).alias(name) for place, name in zip(places, columns, strict=True))


def read_errors() -> tuple[type[BaseException], ...]:
    """Return what polars raises for a file that it cannot read: a damaged one can make it panic, which is no Exception.

    polars is imported where a table is read: image files without one, and a machine that has only those, need none.
    """
    import polars as pl

    return OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException


def _header_of(content: bytes, separators: Sequence[str]) -> tuple[str, list[str], list[str], int]:
    """Return the separator that parts a header most often, the names in it, the first row, and the header's lines."""
    readers = {separator: _csv_reader(content, separator) for separator in separators}
    headers: dict[str, list[str]] = {separator: next(reader, []) for separator, reader in readers.items()}
    separator = max(separators, key=lambda candidate: len(headers[candidate]))
    lines = readers[separator].line_num
    return separator, [name.strip() for name in headers[separator]], next(filter(None, readers[separator]), []), lines


def _has_row_names(header: Sequence[str], first_row: Sequence[str], rows: bytes, separator: str) -> bool:
    """Tell whether each row begins with a name, as R writes them, without a field of the header."""
    return (
        len(first_row) == len(header) + 1
        and bool(first_row[-1].strip())
        and all(len(row) == len(first_row) for row in _csv_reader(rows[1:], separator) if row)
    )


def _as_csv(content: bytes, path: Path) -> bytes:
    """Return a table as it is, or one in parquet as CSV."""
    if not content.startswith(PARQUET):
        return content
    import polars as pl

    try:
        return pl.read_parquet(content).write_csv().encode()
    except read_errors() as error:
        raise UserError(f"{path}: not a readable parquet file ({first_line(error)})") from error


def _utf8(content: bytes, path: Path) -> bytes:
    """Return a text as UTF-8 without a byte order mark, its lines ended by a line feed."""
    try:
        text = decoded(content).lstrip("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error.reason}); save the table as UTF-8") from error
    if "\0" in text:
        raise UserError(f"{path}: not a table; it holds bytes that no text has")
    return text.encode()


def _without_what_excel_adds(content: bytes) -> tuple[bytes, Sequence[str]]:
    """Return a table without lines of empty cells before and after it, and its possible separators.

    A first line may say which it is ("sep=;").
    """
    content = EMPTY_LINES_BEFORE.sub(b"", content)
    last = content.find(b"\n", len(content.rstrip(b" ,;\t|\n")))
    content = content if last < 0 else content[: last + 1]
    said = SEPARATOR_LINE.match(content)
    return (content[said.end() :], [said[1].decode()]) if said else (content, SEPARATORS)


def _csv_reader(content: bytes, separator: str) -> Any:
    text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", newline="")
    return csv.reader(text, delimiter=separator, skipinitialspace=True)


def id_column(
    columns: Sequence[str],
    values_of: Callable[[str], Sequence[str]],
    named: str = "",
    likely: Sequence[str] = (),
    there: Sequence[str] | None = None,
) -> str:
    """Return which column of a table holds its ids, "" where none could.

    columns: those that hold neither labels nor pixels. values_of: returns a column's values. named: the name that the
    task gives it; likely: names that it has in other tables; case does not count. there: ids or file names that those
    in the table stand for, where they are known. A column agrees with them where half of it, or of them, may mean the
    same. The one that is named is taken if it agrees or nothing is known to agree with; then the one that agrees best,
    by names rather than by numbers, one without a name only where no other agrees; of several a likely one. Where none
    agrees, the one that is named or likely, or else the first whose values nearly all differ and are no fractions.
    Raises UserError for columns between which nothing decides.
    """
    folded = {name.casefold(): name for name in reversed(columns)}
    chosen = folded.get(named.casefold(), "")
    likely = [folded[name.casefold()] for name in likely if name.casefold() in folded]
    others = [name for name in dict.fromkeys(columns) if name not in (chosen, *likely)]
    could_be = cache(lambda: [n for n in others if _differ(values_of(n)) and not _are_fractions(values_of(n))])
    if there is not None and len(there):
        if chosen and set(there).issuperset(_some_of(values_of(chosen))):
            return chosen
        spellings = Spellings(there)
        if chosen and max(_agreement(values_of(chosen), there, spellings)) >= MIN_AGREEMENT:
            return chosen
        candidates = [*filter(None, [chosen]), *likely, *could_be()]
        found = {name: _agreement(values_of(name), there, spellings) for name in dict.fromkeys(candidates)}
        agreeing = [name for name in found if max(found[name]) >= MIN_AGREEMENT]
        agreeing = [name for name in agreeing if not name.startswith(UNNAMED)] or agreeing
        best = max((found[name] for name in agreeing), default=None)
        equals = [name for name in agreeing if found[name] == best]
        if len(equals) > 1 and equals[0] not in likely:
            raise UserError(f"{listed(equals)} could each hold the ids; id_column in the task says which")
        if equals:
            return equals[0]
    if chosen or likely:
        return chosen or likely[0]
    return next((name for name in could_be() if not name.startswith(UNNAMED)), "")


def _agreement(values: Sequence[str], there: Sequence[str], spellings: Spellings) -> tuple[float, float]:
    """Return which share of ids, or of what they stand for, may mean the same: by names, if half does, and at all."""
    names, at_all = spellings.share_of(_some_of(values))
    if at_all < MIN_AGREEMENT and len(values) > len(there):  # a table of much that is not there
        names, at_all = Spellings(values).share_of(_some_of(there))
    return (names if names >= MIN_AGREEMENT else 0.0), at_all


def _some_of(names: Sequence[str]) -> list[str]:
    """Return at most MAX_COUNTED names from all over."""
    places = np.unique(np.linspace(0, len(names) - 1, min(len(names), MAX_COUNTED)).astype(int))
    return [names[place] for place in places.tolist()]


def _differ(values: Sequence[str]) -> bool:
    """Tell whether nearly all values are there and different: a repeated id is a mistake, and still an id."""
    different = len(set(values) - {""})
    return different > len(values) / 2 and len(values) - different <= max(1, MAX_MISTAKES * len(values))


def _are_fractions(values: Sequence[str]) -> bool:
    """Tell whether one of the values is a number with a fraction, which no id is by itself."""
    numbers = pd.to_numeric(pd.Series(values, dtype=object), errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return bool((np.isfinite(numbers) & (numbers != np.round(numbers))).any())
