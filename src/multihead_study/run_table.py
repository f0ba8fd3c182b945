"""The runs of a folder as a table: of a terminal's width, and as a page that sorts."""

import base64
import hashlib
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from multihead.report.html import render
from multihead.runtime.errors import UserError
from multihead.runtime.whole_files import whole_file
from multihead_study.ledger import Run, settings_in_words, shared_settings

PAGE_FILE = "runs.html"
MARK = "<title>runs in "  # near the beginning of a page
HERE = Path(__file__).parent
NARROWEST, LONGEST_SETTING = 80, 50
GAP = "  "
LAST = "note, settings"
NUMBERS = ("score", "error", "public", "private", "minutes", "images/s", "images")
OF_MANY = ("task", "device", "version")  # said once where every run has the same


class Cell(NamedTuple):
    """What a row has in a column. key: what it sorts by, None where it is missing."""

    text: str
    key: str | float | None


class Columns(NamedTuple):
    """The runs' rows, by the columns' names. common: what all rows have, by the names of columns that they lack so.

    settings: that all runs have, which stand in no row. names: of the columns that are not empty.
    """

    common: Mapping[str, str]
    settings: Mapping[str, Any]
    names: Sequence[str]
    rows: Sequence[Mapping[str, Cell]]


def columns_of(runs: Sequence[Run]) -> Columns:
    """Return the rows of runs, with what all of them have in common said once."""
    shared = shared_settings(runs)
    rows = [_cells(run, shared) for run in runs]
    texts = {name: {row[name].text for row in rows} - {""} for name in (rows[0] if rows else ())}
    common = {name: next(iter(texts[name])) for name in OF_MANY if name in texts and len(texts[name]) == 1}
    return Columns(common, shared, [name for name in texts if texts[name] and name not in common], rows)


def table(runs: Sequence[Run], width: int) -> Iterator[str]:
    """Yield the lines of a table that is no wider: notes and settings come last, and are cut where they have to be.

    What all runs have in common stands above it. A trial that stands below its study has its own settings only.
    """
    if not runs:
        yield "no training and no study"
        return
    columns = columns_of(runs)
    shared = [f"all with {_brief(columns.settings)}"] if columns.settings else []
    yield from textwrap.wrap("; ".join([*columns.common.values(), *shared]), width)
    names = ["run", "saved", *(name for name in columns.names if name in NUMBERS and name not in ("error", "images"))]
    names += [name for name in OF_MANY if name in columns.names]
    rows = [{name: name for name in names} | {LAST: LAST}]
    study: Run | None = None
    for run, cells in zip(runs, columns.rows, strict=True):
        study = study if study and run.study == study.name else None
        rows.append(_row(run, cells, study, columns.settings, width))
        study = run if run.is_study else study
    widths = {name: max(len(row[name]) for row in rows) for name in names}
    for row in rows:
        is_empty = not any(row[name] for name in names[2:])
        start = GAP.join(row[name].ljust(widths[name]) for name in (names[:2] if is_empty else names))
        yield _cut(f"{start}{GAP}{row[LAST]}".rstrip(), width)


def write_page(folder: Path, runs: Sequence[Run]) -> Path:
    """Write the same as a page whose columns sort, and return it. Raises OSError where the folder takes no file."""
    script = (HERE / "sort.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    columns = columns_of(runs)
    page = render(
        "runs.html",
        HERE,
        columns=columns,
        numbers=NUMBERS,
        folder=str(folder.resolve()),
        settings=settings_in_words(columns.settings),
        script=script,
        digest=digest,
    )
    path = folder / PAGE_FILE
    if path.exists() and MARK not in path.read_text(encoding="utf-8", errors="replace")[:2000]:
        raise UserError(f"{path}: not a page of runs; it is left as it is")
    with whole_file(path) as new:
        new.write_text(page, encoding="utf-8", newline="\n")
    return path


def _cells(run: Run, shared: Mapping[str, Any]) -> dict[str, Cell]:
    """Return a run's row. shared: settings that do not stand in it."""
    return {
        "run": _text(f"{run.name} (study)" if run.is_study else run.name),
        "score": _number(run.score, ".4f"),
        "error": _number(run.error, ".4f"),
        "public": _number(run.public, ".4f"),
        "private": _number(run.private, ".4f"),
        "minutes": _number(run.minutes, ",.1f"),
        "images/s": _number(run.images_per_second, ",.0f"),
        "images": _number(run.images, ","),
        "note": _text(run.note),
        "settings": _text(settings_in_words(_without(run.settings, shared))),
        "saved": Cell(f"{datetime.fromtimestamp(run.saved):%Y-%m-%d %H:%M}" if run.saved else "", run.saved),
        "task": _text(run.task),
        "device": _text(run.device),
        "version": _text(run.version),
    }


def _row(
    run: Run, cells: Mapping[str, Cell], study: Run | None, shared: Mapping[str, Any], width: int
) -> dict[str, str]:
    """Return a run's row as a terminal has it. study: that it stands below."""
    row = {name: cell.text for name, cell in cells.items()}
    own = _without(run.settings, {**shared, **(study.settings or {})} if study else shared)
    name = f"{GAP}{run.name.rpartition('/')[2]}" if study else row["run"]
    score = f"{row['score']} ±{row['error']}" if row["error"] else row["score"]
    last = "; ".join(filter(None, (run.note, _brief(own))))
    return row | {"run": _end_of(name, width // 4), "saved": row["saved"][:10], "score": score, LAST: last}


def _without(settings: Mapping[str, Any] | None, others: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in (settings or {}).items() if key not in others}


def _brief(settings: Mapping[str, Any]) -> str:
    """Return settings in words, each cut where it is long: the page has them whole."""
    return " ".join(_cut(settings_in_words({key: value}), LONGEST_SETTING) for key, value in settings.items())


def _text(text: str) -> Cell:
    return Cell(text, text or None)


def _number(value: float | None, form: str) -> Cell:
    return Cell("" if value is None else format(value, form), value)


def _end_of(name: str, width: int) -> str:
    """Return a name, without its beginning where it is longer: its end tells runs apart."""
    return name if len(name) <= width else f"...{name[3 - width :]}"


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 3]}..."
