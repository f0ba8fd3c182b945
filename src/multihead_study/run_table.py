"""The runs of a folder as a table: of a terminal's width, and as a page that sorts."""

import base64
import hashlib
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from multihead.report.html import render
from multihead.runtime.whole_files import whole_file
from multihead_study.ledger import Run, settings_in_words, shared_settings

PAGE_FILE = "runs.html"
HERE = Path(__file__).parent
NARROWEST, LONGEST_SETTING = 80, 50
GAP = "  "
OF_MANY = ("task", "device", "version")  # said once where every run has the same


class Cell(NamedTuple):
    """What a row has in a column. key: what it sorts by, None where it is missing."""

    text: str
    key: str | float | None


def cells(run: Run, shared: Sequence[str] = ()) -> dict[str, Cell]:
    """Return a run's row by the columns' names. shared: settings that are said once for all."""
    own = {key: value for key, value in (run.settings or {}).items() if key not in shared}
    return {
        "run": _text(f"{run.name} (study)" if run.is_study else run.name),
        "note": _text(run.note),
        "saved": Cell(f"{datetime.fromtimestamp(run.saved):%Y-%m-%d %H:%M}" if run.saved else "", run.saved),
        "score": _number(run.score, ".4f"),
        "error": _number(run.error, ".4f"),
        "public": _number(run.public, ".4f"),
        "private": _number(run.private, ".4f"),
        "images": _number(run.images, ","),
        "minutes": _number(run.minutes, ",.1f"),
        "images/s": _number(run.images_per_second, ",.0f"),
        "task": _text(run.task),
        "device": _text(run.device),
        "version": _text(run.version),
        "settings": _text(settings_in_words(own)),
    }


def table(runs: Sequence[Run], width: int) -> Iterator[str]:
    """Yield the lines of a table that is no wider: notes and settings come last, and are cut where they have to be.

    Columns that are empty, and what all runs have in common, are left out; the second stands above the table.
    """
    if not runs:
        yield "no training and no study"
        return
    shared = shared_settings(runs)
    rows = [{name: cell.text for name, cell in cells(run, list(shared)).items()} for run in runs]
    common = [name for name in OF_MANY if len({row[name] for row in rows} - {""}) == 1]
    said = [next(filter(None, (row[name] for row in rows))) for name in common]
    if shared:
        said.append(f"all with {_brief(shared)}")
    for row, run in zip(rows, runs, strict=True):
        row["settings"] = _brief({key: value for key, value in (run.settings or {}).items() if key not in shared})
    if said:
        yield from textwrap.wrap("; ".join(said), width)
    for row, run, before in zip(rows, runs, [None, *runs], strict=False):
        is_below = before and run.study and run.study in (before.study, before.name)
        name = f"{GAP}{run.name.rpartition('/')[2]}" if is_below else row["run"]
        row["run"] = _end_of(name, width // 4)
        row["saved"] = row["saved"][:10]
        row["score"] += f" ±{row['error']}" if row["error"] else ""
        row["note, settings"] = "; ".join(filter(None, (row["note"], row["settings"])))
    left_out = {"error", "note", "settings", "images", *common}
    names = [name for name in rows[0] if name not in left_out and any(row[name] for row in rows)]
    heading = {name: name for name in names}
    widths = {name: max(len(row[name]) for row in (heading, *rows)) for name in names}
    for row in (heading, *rows):
        start = GAP.join(row[name].ljust(widths[name]) for name in names if name != "note, settings")
        yield _cut(f"{start}{GAP}{row.get('note, settings', '')}".rstrip(), width)


def write_page(folder: Path, runs: Sequence[Run]) -> Path:
    """Write the same as a page whose columns sort, and return it. Raises OSError where the folder takes no file."""
    script = (HERE / "sort.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    shared = shared_settings(runs)
    rows = [cells(run, list(shared)) for run in runs]
    page = render(
        "runs.html",
        HERE,
        columns=list(cells(Run(""))),
        rows=rows,
        folder=str(folder),
        shared=settings_in_words(shared),
        script=script,
        digest=digest,
    )
    with whole_file(folder / PAGE_FILE) as new:
        new.write_text(page, encoding="utf-8", newline="\n")
    return folder / PAGE_FILE


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
