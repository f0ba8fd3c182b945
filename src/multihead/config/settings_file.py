"""Settings of a file: TOML with the tables [model] and [run], which names only what differs from the defaults.

Every mistake in one is a UserError that names the key, what was given and what is allowed.
"""

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from multihead.config.checking import check_keys, plain, suggestion
from multihead.config.files import SETTINGS_FILE
from multihead.config.known_tasks import TASKS, task_beside, task_by_name
from multihead.config.model_settings import ModelSettings
from multihead.config.settings import RunSettings, Settings, settings_from
from multihead.config.task import Task
from multihead.runtime.errors import UserError
from multihead.runtime.text_files import read_toml

OF_ALL_TRIALS = {"data", "working", "workers", "trials", "wheels", "task"}
LONGEST_TRIAL_NAME = 60  # characters
FORMER_PRECISION = "mixed_precision"  # true or false, in the place of precision


def read_settings(path: Path | None, overrides: Iterable[str] = ()) -> Settings:
    """Return the settings of a TOML file, with `key=value` overrides applied on top; a task.toml beside it counts."""
    tables = read_toml(path) if path else {}
    source = path.name if path else "defaults"
    for name in tables:
        if name not in ("model", "run"):
            raise UserError(f"{source}: [{name}] is not known; the tables are [model] and [run]")
        if not isinstance(tables[name], dict):
            raise UserError(f"{source}: {name} is not a table; expected a line [{name}] with keys below it")
    model, run = dict(tables.get("model", {})), _with_precision(tables.get("run", {}), source)
    model_keys, run_keys = ({f.name for f in fields(kind)} for kind in (ModelSettings, RunSettings))
    for table, values, other, others in (("model", model, "run", run_keys), ("run", run, "model", model_keys)):
        for key in (key for key in values if key in others):
            raise UserError(f"{source}: {key} stands below [{table}]; it belongs below [{other}]")
    for override in overrides:
        key, value = _parse_override(override)
        if key == FORMER_PRECISION:
            run |= _with_precision({key: value}, f"--set {override}")
            continue
        if key not in model_keys | run_keys:
            raise UserError(f"--set {override}: {key} is not known; {suggestion(key, _every_key())}")
        check_keys(ModelSettings if key in model_keys else RunSettings, {key: value}, f"--set {override}")
        (model if key in model_keys else run)[key] = value
    settings, task = settings_from(ModelSettings, model, source), task_beside(path)
    if task and "task" not in model:
        settings = replace(settings, task=task.name)
    if task or TASKS:
        task = task_by_name(settings.task, task)
        settings = replace(settings, crop=settings.crop_of(task))
        _refuse_contradictions(settings, task, source)
    if model.get("crop") == "task":
        del model["crop"]  # says no more than the default, which of weights is what their manifest says
    whole = Settings(settings, settings_from(RunSettings, run, source), frozenset(model), task)
    trials_of(whole, source)  # a mistake in one should not wait for the run
    return whole


def trials_of(settings: Settings, source: str = SETTINGS_FILE) -> dict[str, Settings]:
    """Return the settings of each trial of a train kernel by its name, in their order.

    source: where they stand. Raises UserError for a key that is not known or the same for all, an impossible value, and
    for two trials of one name.
    """
    found: dict[str, Settings] = {}
    kinds: dict[str, type] = {field.name: kind for kind in (ModelSettings, RunSettings) for field in fields(kind)}
    for number, changed in enumerate(settings.run.trials, 1):
        place = f"{source}: trials {number}"
        if not changed:
            raise UserError(f"{place} is empty; expected settings in which it differs, such as {{ seed = 1 }}")
        for key in changed:
            if key not in kinds:
                raise UserError(f"{place}: {key} is not known; {suggestion(key, kinds)}")
            if key in OF_ALL_TRIALS:
                raise UserError(f"{place}: {key} is of the run, and cannot differ from trial to trial")
        of_model, of_run = (
            {key: changed[key] for key in changed if kinds[key] is kind} for kind in (ModelSettings, RunSettings)
        )
        model = settings_from(ModelSettings, plain(settings.model) | of_model, place)
        run = settings_from(RunSettings, plain(settings.run) | of_run, place)
        trial = settings._replace(model=model, run=run)
        if trial.known_task or TASKS:
            trial = trial._replace(model=replace(trial.model, crop=trial.model.crop_of(trial.task)))
            _refuse_contradictions(trial.model, trial.task, place)
        name = trial_name(changed)
        if others := [other for other in found if other.casefold() == name.casefold()]:
            raise UserError(f"{place}: called {name}, as trials {[*found].index(others[0]) + 1} is; expected another")
        found[name] = trial
    return found


def trial_name(changed: Mapping[str, Any]) -> str:
    """Return what a trial is called after the settings in which it differs, of letters, digits, dashes, underscores."""
    text = "-".join(f"{key}-{value if isinstance(value, str) else json.dumps(value)}" for key, value in changed.items())
    return re.sub(r"[^A-Za-z0-9_]+", "-", text)[:LONGEST_TRIAL_NAME].strip("-")


def _with_precision(run: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return the settings of a run with `precision` in place of the key that there was before it."""
    if FORMER_PRECISION not in run:
        return dict(run)
    value = run[FORMER_PRECISION]
    if not isinstance(value, bool):
        raise UserError(f"{source}: {FORMER_PRECISION} = {value!r}; expected true or false")
    if "precision" in run:
        raise UserError(f"{source}: both precision and {FORMER_PRECISION}, which was its name before")
    of_today = {key: value for key, value in run.items() if key != FORMER_PRECISION}
    return of_today | {"precision": precision_of_before(is_mixed=value)}


def precision_of_before(*, is_mixed: bool) -> str:
    """Return the precision that `mixed_precision` stood for."""
    return "float16" if is_mixed else "float32"


def _refuse_contradictions(settings: ModelSettings, task: Task, source: str) -> None:
    """Raise UserError where a task does not go with its settings, whose crop is one of CROPS."""
    if settings.fold and task.test_files:
        raise UserError(
            f"{source}: fold = {settings.fold}, but {task.name} has test files, so that nothing is left out"
        )
    if settings.crop != "none" and task.image_shape[2] != 1:
        raise UserError(f"{source}: crop = {settings.crop!r} is for gray images, {task.name} has colour")


def _every_key() -> list[str]:
    return [f.name for kind in (ModelSettings, RunSettings) for f in fields(kind)]


def _parse_override(text: str) -> tuple[str, Any]:
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not key:
        raise UserError(f"--set {text}: expected key=value")
    known = {f.name: f.default for kind in (ModelSettings, RunSettings) for f in fields(kind)}
    if isinstance(known.get(key), str):
        return key, value
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except ValueError:  # no TOML, or a number of thousands of digits
        return key, value
