"""Every training and every study below a folder: what was set, what it reached, what it took.

It reads small files only, so that a thousand runs take seconds: no weights, no images, and nothing over a network.
"""

import csv
import json
import math
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bundler.kaggle.submissions import Submission
from bundler.study.study import STUDY_FILE, read_study
from bundler.study.trial import LOG_FILE, TRIAL_FILE, State, read_state
from multihead.config.files import (
    CHECKPOINT_FILE,
    HISTORY_FILE,
    MANIFEST_FILE,
    REPORT_FOLDER,
    SETTINGS_FILE,
    WEIGHTS_FILE,
    is_left_by_system,
)
from multihead.config.manifest import FORMAT
from multihead.config.model_settings import ModelSettings
from multihead.config.settings import RunSettings, settings_dict
from multihead.runtime.errors import UserError
from multihead.runtime.text_files import read_text, read_toml
from multihead.training.record import read_run_settings
from multihead_study.answers import CHOICES_FILE

OF_A_TRAINING = (WEIGHTS_FILE, CHECKPOINT_FILE, TRIAL_FILE)  # a manifest or a history alone may be any program's
SAY_NOTHING = {"data", "weights", "working", "study_fold", "task"}  # settings that differ without being a choice
DEFAULTS = settings_dict(ModelSettings()) | settings_dict(RunSettings())


@dataclass(frozen=True)
class Run:
    """A training or a study.

    name: its folder, below the one that was searched. study: of a trial, the name of its study. is_study: whether the
    score is out of fold, of all images of its folds. note: what a person has to know first, such as what could not be
    read. settings: those that differ from their default; None where they are not known. saved: when its newest file was
    written, in seconds of the epoch. score, error: over the classes present, and its standard error. images: that it is
    of, None where unknown. minutes: that the processes ran, of a training that is no trial those that fitting took.
    images_per_second: that were trained, the median of the epochs. weights: the SHA-256 of each training's. public,
    private: what the leaderboard says of them. is_loss: whether the least score is the best.
    """

    name: str
    study: str = ""
    is_study: bool = False
    note: str = ""
    task: str = ""
    settings: Mapping[str, Any] | None = None
    saved: float | None = None
    score: float | None = None
    error: float | None = None
    images: int | None = None
    minutes: float | None = None
    images_per_second: float | None = None
    device: str = ""
    version: str = ""
    weights: frozenset[str] = frozenset()
    is_finished: bool = True
    is_loss: bool = False
    public: float | None = None
    private: float | None = None


def find_runs(folder: Path, submissions: Sequence[Submission] = ()) -> list[Run]:
    """Return every training and study below a folder, the newest first, a study's trials below it.

    What cannot be read is a run with a note. submissions: as bundler/kaggle/submissions.py keeps them; of those with
    the same weights the newest with a score counts. Raises UserError where there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: not there, or no folder")
    trainings: dict[Path, Run] = {}
    studies: list[Path] = []
    closed: list[OSError] = []
    for path, names in _folders(folder, closed.append):
        if STUDY_FILE in names:
            studies.append(path)
        elif not names.isdisjoint(OF_A_TRAINING) or {MANIFEST_FILE, HISTORY_FILE} <= names:
            trainings[path] = _readable(_training, path, folder)
    runs = []
    for path in studies:
        of_study = {place: run for place, run in trainings.items() if place.parent == path}
        runs.append(_readable(_study, path, folder, of_study))
        for place, run in of_study.items():
            trainings[place] = replace(run, study=runs[-1].name)
    runs += [*trainings.values(), *(_closed(error, folder) for error in closed)]
    return _newest_first([_with_leaderboard(run, submissions) for run in runs])


def best_first(runs: Sequence[Run]) -> list[Run]:
    """Return the runs of each task by their score, those without one last."""
    return sorted(runs, key=lambda run: (run.task, run.score is None, (run.score or 0) * (1 if run.is_loss else -1)))


def _newest_first(runs: Sequence[Run]) -> list[Run]:
    """Return the runs by when they were saved; a study with its trials is as new as the newest of them."""
    latest: dict[str, float] = {}
    for run in runs:
        group = run.study or run.name
        latest[group] = max(latest.get(group, 0), run.saved or 0)
    return sorted(runs, key=lambda run: (-latest[run.study or run.name], run.study or run.name, run.study, run.name))


def shared_settings(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the settings that all runs have in common, of which they are known; none where that is one run."""
    known = [run.settings for run in runs if run.settings is not None]
    return _common(known) if len(known) > 1 else {}


def settings_in_words(settings: Mapping[str, Any]) -> str:
    """Return settings as KEY=VALUE, the values as in JSON."""
    return " ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in settings.items())


def _folders(top: Path, on_error: Callable[[OSError], None]) -> Iterator[tuple[Path, set[str]]]:
    """Yield every folder with the names of its files; a linked one only where a run lies in it, and none twice."""
    seen: set[Path] = set()
    waiting = deque([top])
    while waiting:
        path = waiting.popleft()
        real = path.resolve()
        if real in seen:
            continue
        for name, folders, files in os.walk(path, onerror=on_error):
            place = Path(name)
            seen.add(real / place.relative_to(path))
            yield place, set(files)
            folders[:] = [name for name in folders if not is_left_by_system(name) and name != REPORT_FOLDER]
            waiting += [place / name for name in folders if (place / name).is_symlink() and _holds_a_run(place / name)]


def _holds_a_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (*OF_A_TRAINING, STUDY_FILE))


def _readable(read: Callable[..., Run], folder: Path, top: Path, *more: Any) -> Run:
    """Return a run; where something of it is damaged, one with a note of what."""
    try:
        return read(folder, top, *more)
    except UserError as error:
        problem = str(error).replace(f"{folder}{os.sep}", "")
    except OSError as error:
        problem = f"{Path(error.filename or folder).name}: cannot be read ({error.strerror})"
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as error:
        problem = f"a file of it is damaged ({error!r})"
    return Run(_name(folder, top), is_study=read is _study, note=problem, saved=_saved(folder), is_finished=False)


def _closed(error: OSError, top: Path) -> Run:
    folder = Path(error.filename)
    name = _name(folder, top) if folder.is_relative_to(top) else str(folder)
    return Run(name, note=f"cannot be read ({error.strerror})", is_finished=False)


def _training(folder: Path, top: Path) -> Run:
    state = read_state(folder / TRIAL_FILE) if (folder / TRIAL_FILE).is_file() else None
    manifest = _manifest(folder)
    speeds = _speeds(folder / HISTORY_FILE)
    known = _settings(folder, manifest)
    score = manifest.get("score") or {}
    reached, error = score.get("present_total", score.get("total")), score.get("standard_error")
    is_number = reached is None or math.isfinite(reached)
    return Run(
        _name(folder, top),
        note="; ".join(_notes(folder, manifest, state, len(speeds), known.get("epochs"), is_number=is_number)),
        task=manifest["task"]["name"] if manifest else known.get("task", ""),
        settings=_differing(known, (manifest.get("task") or {}).get("crop")) if known else None,
        saved=_saved(folder),
        score=reached if is_number else None,
        error=error if is_number else None,
        minutes=state.seconds / 60 if state and state.seconds else _minutes(manifest, speeds),
        images_per_second=_median(speeds),
        device=manifest.get("device", ""),
        version=", ".join(f"{name} {version}" for name, version in manifest.get("versions", {}).items()
                          if name != "python"),
        weights=frozenset({manifest["sha256"]} if manifest else ()),
        is_finished=state.is_finished if state else bool(manifest),
        is_loss=score.get("is_loss", False),
    )  # fmt: skip


def _study(folder: Path, top: Path, of_study: Mapping[Path, Run]) -> Run:
    """Return a study's run: the score of its joined answers, and of its trials what they share and take together.

    Trials of folds that it no longer trains are none of it.
    """
    study = read_study(folder)
    trials = [run for place, run in of_study.items() if _fold(place) < study.trained]
    finished = sum(trial.is_finished for trial in trials)
    notes = [f"{study.trained} of {study.folds} folds"] if study.trained < study.folds else []
    notes.append(f"{finished} of {len(trials)} trials finished" if finished < len(trials) else f"{finished} trials")
    joined: Mapping[str, Any] = {}
    try:
        joined = _json(folder / CHOICES_FILE)
    except FileNotFoundError:
        notes += [] if finished < len(trials) else ["not joined: the same cross-validate does it"]
    except UserError as error:
        notes.append(str(error))
    if joined and (number := len(joined["folds"])) != study.trained:
        notes.append(f"the score is of {number} folds; the same cross-validate joins it anew")
    score = joined.get("score", {})
    known = [trial.settings for trial in trials if trial.settings is not None]
    minutes = [trial.minutes for trial in trials if trial.minutes is not None]
    return Run(
        _name(folder, top),
        is_study=True,
        note="; ".join(notes),
        task=study.task,
        settings=_common(known) if known else None,
        saved=max([_saved(folder) or 0, *(trial.saved or 0 for trial in trials)]),
        score=score.get("present_total"),
        error=score.get("standard_error"),
        images=joined.get("images"),
        minutes=sum(minutes) if minutes else None,
        images_per_second=_median([trial.images_per_second for trial in trials if trial.images_per_second]),
        device=", ".join(dict.fromkeys(trial.device for trial in trials if trial.device)),
        version=", ".join(dict.fromkeys(trial.version for trial in trials if trial.version)),
        weights=frozenset().union(*(trial.weights for trial in trials)),
        is_finished=finished == len(trials),
        is_loss=score.get("is_loss", False),
    )


def _fold(trial: Path) -> int:
    """Return the fold that a trial holds out; 0 where it cannot be read, so that it counts."""
    with suppress(UserError):
        return read_state(trial / TRIAL_FILE).fold
    return 0


def _common(every: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the settings that each of one or more runs has with the same value."""
    first, *others = every
    return {k: value for k, value in first.items() if all(k in other and other[k] == value for other in others)}


def _manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest as it stands in JSON, {} where there is none yet; UserError for one of another format."""
    try:
        manifest = _json(folder / MANIFEST_FILE)
    except FileNotFoundError:
        return {}
    if manifest["format"] != FORMAT:
        raise UserError(f"{MANIFEST_FILE}: format {manifest['format']}; this version reads format {FORMAT}")
    return manifest


def _notes(
    folder: Path, manifest: Mapping[str, Any], state: State | None, done: int, epochs: int | None, *, is_number: bool
) -> Iterator[str]:
    if (state and not state.is_finished) or (epochs and done and done < epochs) or not manifest:
        yield f"{done} of {epochs} epochs" if epochs else f"{done} epochs"
    if not manifest:
        yield "no weights yet"
    if not is_number:
        yield "its score is not finite"
    if state and not state.is_finished and (error := _last_error(folder / LOG_FILE)):
        yield error


def _last_error(log: Path) -> str:
    """Return the error that a log ends with, "" where it ends with none."""
    with suppress(OSError), log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 2000))
        lines = file.read().decode("utf-8", "replace").splitlines()
        return lines[-1] if lines and "error" in lines[-1].lower().split(":")[0] else ""
    return ""


def _settings(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return a training's settings: those of its weights and its record, or of the settings file that a trial has."""
    with suppress(UserError):
        return {**manifest.get("model", {}), **read_run_settings(folder)}
    if (folder / SETTINGS_FILE).is_file():
        values = read_toml(folder / SETTINGS_FILE)
        return {**values.get("model", {}), **values.get("run", {})}
    return dict(manifest.get("model", {}))


def _differing(settings: Mapping[str, Any], crop: str | None) -> dict[str, Any]:
    """Return the settings that differ from their defaults. crop: what the task says, the default of crop."""
    defaults = DEFAULTS | {"crop": crop or settings.get("crop")}
    return {k: value for k, value in settings.items() if k not in SAY_NOTHING and defaults.get(k) != value}


def _speeds(path: Path) -> list[float]:
    """Return the images a second of each epoch; none where there is no history."""
    if not path.is_file():
        return []
    try:
        return [float(row["images_per_second"] or "nan") for row in csv.DictReader(read_text(path).splitlines())]
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: not a history ({error!r})") from error


def _minutes(manifest: Mapping[str, Any], speeds: Sequence[float]) -> float | None:
    """Return what fitting took: every epoch is of all train images."""
    if not manifest or not speeds:
        return None
    images: int = manifest.get("train_images") or sum(next(iter(manifest["train_counts"].values())))
    return sum(images / speed for speed in speeds if speed > 0) / 60


def _median(speeds: Sequence[float]) -> float | None:
    known = sorted(speed for speed in speeds if math.isfinite(speed))
    return known[len(known) // 2] if known else None


def _with_leaderboard(run: Run, submissions: Sequence[Submission]) -> Run:
    """Return a run with what the leaderboard says of a training's weights alone, or of several of a study's."""
    own = [
        one
        for one in submissions
        if one.weights and run.weights.issuperset(one.weights.values()) and (len(one.weights) > 1) == run.is_study
    ]
    scored = [one for one in own if one.public is not None or one.private is not None]
    newest = max(scored, key=lambda one: one.date, default=None)
    return replace(run, public=newest.public, private=newest.private) if newest else run


def _saved(folder: Path) -> float | None:
    """Return when the newest of a run's files was written."""
    times: list[float] = []
    for name in (*OF_A_TRAINING, MANIFEST_FILE, HISTORY_FILE, STUDY_FILE, CHOICES_FILE):
        with suppress(OSError):
            status = (folder / name).stat()
            times += [status.st_mtime] if stat.S_ISREG(status.st_mode) else []
    return max(times, default=None)


def _json(path: Path) -> dict[str, Any]:
    """Return what a JSON file holds; UserError where that is no table. Raises OSError."""
    try:
        values = json.loads(read_text(path))
    except ValueError as error:
        raise UserError(f"{path.name}: damaged ({error})") from error
    if not isinstance(values, dict):
        raise UserError(f"{path.name}: damaged (no table of names and values)")
    return values


def _name(folder: Path, top: Path) -> str:
    return folder.relative_to(top).as_posix() if folder != top else folder.resolve().name
