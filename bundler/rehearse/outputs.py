"""What a rehearsed kernel may leave in its working folder, and what a submission is held to."""

import csv
import re
from collections.abc import Collection, Iterator
from io import StringIO
from pathlib import Path

from bundler.errors import BundlerError, RehearsalError
from multihead.config import decoded
from multihead.config.data_files import PARQUET, read_table_bytes


def check_outputs(working: Path, expected: Collection[str], folder: str = "the working folder") -> None:
    """Raise RehearsalError for whatever a kernel left in its working folder beside the files that it should leave."""
    more = sorted(entry.name for entry in working.iterdir() if entry.name not in expected)
    if more:
        raise RehearsalError(
            f"{', '.join(more)} in {folder}, where everything left becomes the kernel's output; "
            f"expected only {', '.join(sorted(expected))}"
        )


def check_trials(working: Path, trials: Collection[str], expected: Collection[str]) -> None:
    """Raise RehearsalError for whatever a kernel left beside its trials' folders, or in these beside what it should."""
    check_outputs(working, trials)
    for name in trials:
        if not (working / name).is_dir():
            raise RehearsalError(f"no folder {name} of that trial in the working folder")
        check_outputs(working / name, expected, f"{name} of the working folder")


def check_predictions(predictions: Path, *, may_be_empty: bool = False) -> int:
    """Return the number of rows of predictions that no sample asks for; RehearsalError where they are none.

    may_be_empty: whether "" is an answer.
    """
    if not predictions.is_file():
        raise RehearsalError(f"no {predictions.name} in the working folder")
    rows = _rows(predictions)
    for line, row in enumerate(rows[1:], 2):
        if len(row) != len(rows[0]) or not (all(map(str.strip, row)) or (may_be_empty and row[0])):
            raise RehearsalError(f"{predictions}, line {line}: {','.join(row)}; expected {','.join(rows[0])}")
    if len(rows) < 2:
        raise RehearsalError(f"{predictions}: no rows")
    return len(rows) - 1


def check_submission(submission: Path, sample: Path, *, may_be_empty: bool = False) -> int:
    """Return the number of rows of a submission that has sample_submission's ids, order and columns.

    It may lack the column Usage, which is no answer. The ids are in the column that differs from row to row
    and is the most the same in both. sample: it may lie there compressed. may_be_empty: whether "" is an answer. Raises
    RehearsalError, naming the first line that differs or lacks an answer.
    """
    if not submission.is_file():
        raise RehearsalError(f"no {submission.name} in the working folder; Kaggle would say: Submission CSV Not Found")
    rows, wanted = _rows(submission), list(read_rows(sample))
    if not wanted:
        raise BundlerError(f"{sample}: is empty")
    if not rows:
        raise RehearsalError(f"{submission}: is empty")
    if len(rows) != len(wanted):
        raise RehearsalError(f"{submission}: {len(rows) - 1} rows; {sample.name} has {len(wanted) - 1}")
    header = rows[0]
    if header != [name for name in wanted[0] if name in header or name.casefold() != "usage"]:
        raise RehearsalError(f"{submission}: header {','.join(header)}; {sample.name} has {','.join(wanted[0])}")
    columns = {name: (header.index(name), wanted[0].index(name)) for name in header}
    found = {
        name: (
            len({row[there] for row in wanted}) == len(wanted),
            sum(row[here : here + 1] == line[there : there + 1] for row, line in zip(rows, wanted, strict=True)),
        )
        for name, (here, there) in columns.items()
    }
    ids = max(header, key=lambda name: found[name])
    place, sample_place = columns[ids]
    for line, (row, sample_row) in enumerate(zip(rows[1:], wanted[1:], strict=True), 2):
        if (
            len(row) != len(header)
            or not (may_be_empty or all(map(str.strip, row)))
            or row[place] != sample_row[sample_place]
        ):
            expected = ",".join(sample_row[sample_place] if name == ids else "<class>" for name in header)
            raise RehearsalError(f"{submission}, line {line}: {','.join(row)}; expected {expected}")
    return len(rows) - 1


def read_rows(table: Path) -> Iterator[list[str]]:
    """Yield the rows of a CSV file of any export, packed or not; BundlerError where it cannot be read as such.

    The separator is the one that splits the header into the most fields, or that a first line names ("sep=;"). Blank
    lines are no rows, nor are those of empty cells at the end. Empty cells beyond the header are left out.
    """
    try:
        text = decoded(_content(table)).strip("\n")
        said = re.match(r"sep=([,;\t|])\n", text)
        lines = (text[said.end() :] if said else text).rstrip(" ,;\t|\n").split("\n")
        separators = said[1] if said else ",;\t|"
        separator = max(separators, key=lambda one: len(next(csv.reader(lines[:1], delimiter=one), [])))
        header: list[str] = []
        for row in csv.reader(StringIO("\n".join(lines)), delimiter=separator, skipinitialspace=True):
            header = header or row
            cells = [cell.strip() for cell in row]
            if cells:
                cells += [""] * (len(header) - len(cells))
                yield cells if any(cells[len(header) :]) else cells[: len(header)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise BundlerError(f"{table}: cannot be read as CSV ({error})") from error


def _rows(path: Path) -> list[list[str]]:
    try:
        if path.suffix != ".csv":
            return list(csv.reader(StringIO(decoded(_content(path)))))
        with path.open(encoding="utf-8", newline="") as file:
            return list(filter(None, csv.reader(file)))  # pandas, with which Kaggle reads, passes over blank lines
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RehearsalError(f"{path}: cannot be read as CSV ({error})") from error


def _content(table: Path) -> bytes:
    """Return a table's content as CSV, unpacked."""
    content = read_table_bytes(table)
    if content.startswith(PARQUET):
        import polars as pl

        return pl.read_parquet(content).write_csv().encode()
    return content
