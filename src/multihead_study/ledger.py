"""Every training and every study below a folder, as a table: what differs, what it reached, what it took."""

import base64
import csv
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bundler.study.study import STUDY_FILE
from bundler.study.trial import TRIAL_FILE, read_state
from multihead.config.files import HISTORY_FILE, MANIFEST_FILE, is_left_by_system
from multihead.config.settings import ModelSettings, RunSettings, settings_dict
from multihead.config.task import task_from
from multihead.report.html import render
from multihead.runtime.errors import UserError
from multihead.runtime.text_files import read_text
from multihead.runtime.whole_files import whole_file
from multihead.training.record import read_record
from multihead_study.answers import CHOICES_FILE

PAGE_FILE = "runs.html"
HERE = Path(__file__).parent
SAY_NOTHING = {"data", "weights", "working", "study_fold", "task"}  # settings that differ without being a choice
COLUMNS = ("run", "task", "settings", "score", "error", "images", "minutes", "images/s", "device", "version")


class Run(NamedTuple):
    """A training or a study.

    name: its folder, below the one that was searched. is_study: whether the score is out of fold, of all images.
    settings: those that differ from their default. score, error: and its standard error. images: that it is of, None
    where unknown. minutes: that the processes ran, of a training that is no trial those that fitting took.
    images_per_second: that were trained, the median of the epochs.
    """

    name: str
    is_study: bool
    task: str
    settings: Mapping[str, Any]
    score: float | None
    error: float | None
    images: int | None
    minutes: float | None
    images_per_second: float | None
    device: str
    version: str

    @property
    def cells(self) -> dict[str, str]:
        """The texts of its row in a table."""
        return {
            "run": f"{self.name} (study)" if self.is_study else self.name,
            "task": self.task,
            "settings": " ".join(f"{key}={json.dumps(value)}" for key, value in self.settings.items()),
            "score": _number(self.score, ".4f"),
            "error": _number(self.error, ".4f"),
            "images": _number(self.images, ","),
            "minutes": _number(self.minutes, ".1f"),
            "images/s": _number(self.images_per_second, ".0f"),
            "device": self.device,
            "version": self.version,
        }


def find_runs(folder: Path) -> list[Run]:
    """Return every training and study below a folder, by name; a damaged one is a UserError."""
    if not folder.is_dir():
        raise UserError(f"{folder}: not there, or no folder")
    trainings = [_training(path.parent, folder) for path in _found(folder, MANIFEST_FILE)]
    of_name = {run.name: run for run in trainings}
    studies = [_study(path.parent, folder, of_name) for path in _found(folder, STUDY_FILE)]
    return sorted([*trainings, *studies], key=lambda run: (run.name, run.is_study))


def table(runs: Sequence[Run]) -> Iterator[str]:
    """Yield the lines of a table; the settings come last, for they are long."""
    order = [*(name for name in COLUMNS if name != "settings"), "settings"]
    rows = [dict(zip(COLUMNS, COLUMNS, strict=True)), *(run.cells for run in runs)]
    widths = {name: max(len(row[name]) for row in rows) for name in order}
    yield from ("  ".join(row[name].ljust(widths[name]) for name in order).rstrip() for row in rows)


def write_page(folder: Path, runs: Sequence[Run]) -> Path:
    """Write the same as a page whose columns sort by a click, and return it."""
    script = (HERE / "sort.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rows = [run.cells for run in runs]
    page = render("runs.html", HERE, columns=COLUMNS, rows=rows, folder=str(folder), script=script, digest=digest)
    with whole_file(folder / PAGE_FILE) as new:
        new.write_text(page, encoding="utf-8", newline="\n")
    return folder / PAGE_FILE


def _found(folder: Path, name: str) -> list[Path]:
    below = (path for path in folder.rglob(name) if not any(map(is_left_by_system, path.relative_to(folder).parts)))
    return sorted(below)


def _training(folder: Path, top: Path) -> Run:
    manifest = _json(folder / MANIFEST_FILE)
    score = manifest.get("score") or {}
    history = _history(folder / HISTORY_FILE)
    speeds = sorted(history)
    trained = sum(next(iter(manifest["train_counts"].values())))
    minutes = sum(trained / speed for speed in history if speed) / 60 if history else None
    if (folder / TRIAL_FILE).is_file():
        minutes = read_state(folder / TRIAL_FILE).seconds / 60
    return Run(
        _name(folder, top),
        False,
        task_from(manifest["task"], MANIFEST_FILE).name,
        _differing(manifest, _run_settings(folder)),
        score.get("present_total", score.get("total")),
        score.get("standard_error"),
        None,
        minutes,
        speeds[len(speeds) // 2] if speeds else None,
        manifest.get("device", ""),
        ", ".join(f"{name} {version}" for name, version in manifest.get("versions", {}).items() if name != "python"),
    )


def _study(folder: Path, top: Path, trainings: Mapping[str, Run]) -> Run:
    """Return a study's run: the score of its joined answers, and of its trials what they share and take together."""
    trials = [trainings[_name(path.parent, top)] for path in _found(folder, TRIAL_FILE)
              if _name(path.parent, top) in trainings]  # fmt: skip
    joined = _json(folder / CHOICES_FILE) if (folder / CHOICES_FILE).is_file() else {"score": {}}
    shared = {
        key: value for key, value in (trials[0].settings if trials else {}).items()
        if all(trial.settings.get(key) == value for trial in trials)
    }  # fmt: skip
    speeds = sorted(trial.images_per_second for trial in trials if trial.images_per_second)
    return Run(
        _name(folder, top),
        True,
        _json(folder / STUDY_FILE)["task"],
        shared,
        joined["score"].get("present_total"),
        joined["score"].get("standard_error"),
        joined.get("images"),
        sum(trial.minutes or 0 for trial in trials),
        speeds[len(speeds) // 2] if speeds else None,
        ", ".join(dict.fromkeys(trial.device for trial in trials)),
        ", ".join(dict.fromkeys(trial.version for trial in trials)),
    )


def _run_settings(folder: Path) -> Mapping[str, Any]:
    """Return the settings of a training's run, as its record tells them; none where it has no record."""
    try:
        return read_record(folder).run
    except UserError:
        return {}


def _differing(manifest: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that differ from their defaults; the default of crop is what the task says."""
    defaults = settings_dict(ModelSettings()) | settings_dict(RunSettings()) | {"crop": manifest["task"].get("crop")}
    every = {**manifest["model"], **run}
    return {key: value for key, value in every.items() if key not in SAY_NOTHING and defaults.get(key) != value}


def _history(path: Path) -> list[float]:
    """Return the images a second of each epoch; none where there is no history."""
    if not path.is_file():
        return []
    try:
        return [float(row["images_per_second"]) for row in csv.DictReader(read_text(path).splitlines())]
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: not a history ({error!r})") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(read_text(path))
        return values
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error


def _name(folder: Path, top: Path) -> str:
    return folder.relative_to(top).as_posix()


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
