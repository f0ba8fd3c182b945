"""Settings: what the model is (frozen with its weights), and how one run goes.

A settings file is TOML with the tables [model] and [run]; it names only what differs from the
defaults below. Every mistake in one is a UserError that names the key, what was given and what is
allowed.
"""

import difflib
import json
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from multihead.config.backbones import BACKBONES, LEAST_SIZE, check_architecture
from multihead.config.task import CROPS, FOLDS, TASK_FILE, Task, read_task, task_by_name
from multihead.runtime.errors import UserError
from multihead.runtime.text_files import read_toml

MANY = 8  # choices; of more, a mistake is told the nearest
Step = Mapping[str, Any]  # one of the augmentation: its name, and its arguments beside it

CLOSING_SECONDS = 120.0  # kept of a time budget for validating and saving, or for writing the submission


def _setting(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    one_of: Iterable[str] = (),
    is_file_name: bool = False,
) -> Any:
    """Declare a setting: its default, and its least and greatest value, its choices, or that it names files."""
    rule = {"low": low, "high": high, "one_of": tuple(one_of), "is_file_name": is_file_name}
    return field(default=default, metadata=rule)


@dataclass(frozen=True)
class AffineStep:
    """The greatest rotation either way, and the greatest zoom and shift as shares of the size."""

    rotation_degrees: float = _setting(0.0, low=0, high=180)
    zoom: float = _setting(0.0, low=0, high=0.9)
    shift: float = _setting(0.0, low=0, high=0.9)


@dataclass(frozen=True)
class FlipStep:
    """The share of the images that are mirrored left to right."""

    share: float = _setting(0.5, low=0, high=1)


BUILT_IN_STEPS: Mapping[str, type[AffineStep | FlipStep]] = {"affine": AffineStep, "flip": FlipStep}


@dataclass(frozen=True)
class ModelSettings:
    """What the weights belong to; predicting takes these from the manifest.

    task: one of tasks.py, or that of the task.toml beside the settings file, the default where there is one.
    fold: of a task without test files, the fifth of its images, 0 to 4, that is not trained on but predicted.
    image_size: (height, width) in pixels of what the network sees.
    crop: "ink" cuts the box of the ink out and stretches it to image_size; "padded" does so without changing its
        proportions, with paper beside it; "none" stretches the whole image; "task" does what the task says.
    dropout: share of the features dropped before the heads.
    stack_layers: what backbone "stack" is made of, in this order: "conv 32" (so many 3 x 3 filters and ReLU, padded;
        "conv 32 valid" is not), "pool 2" (the greatest of 2 x 2; "pool 2 same" pads what is left over at the edge),
        "norm" (batch normalisation), "dropout 0.25", and "dense 128" (with ReLU; before the first, all is flattened).
    """

    task: str = _setting("bengali")
    fold: int = _setting(0, low=0, high=FOLDS - 1)
    backbone: str = _setting("efficientnet-b0", one_of=BACKBONES)
    image_size: tuple[int, int] = _setting((64, 64), low=LEAST_SIZE, high=1024)
    crop: str = _setting("task", one_of=("task", *CROPS))
    dropout: float = _setting(0.0, low=0, high=0.9)
    stack_layers: tuple[str, ...] = _setting(())

    def crop_of(self, task: Task) -> str:
        """Return how the images of a task are cropped, one of CROPS."""
        return task.crop if self.crop == "task" else self.crop

    def crops_of(self, task: Task) -> tuple[tuple[int, int], str]:
        """Return what models that see the same crops have in common."""
        return self.image_size, self.crop_of(task)

    def as_read(self, task: Task) -> Task:
        """Return the task with photographs of the size that the network sees, where they are taken whole."""
        if task.reader != "image files" or self.crop_of(task) != "none":
            return task
        return replace(task, image_shape=(*self.image_size, task.image_shape[2]))


@dataclass(frozen=True)
class RunSettings:
    """How one run goes. Folders left empty are looked for where Kaggle mounts them.

    pretrained: a file of weights that a training starts from, by its name in any input; frozen_up_to: the backbone's
        layer up to which none is trained.
    validation_share: share of the train images held out: "stratified" draws them evenly over the label combinations,
        "unseen" takes up to half of them as whole combinations, which the network is then never trained on.
    time_budget_minutes: counted from the start of the process; 0 is none.
    schedule: "cosine" lowers the learning rate from learning_rate to min_learning_rate over all epochs; "plateau"
        multiplies it by plateau_factor after `plateau_patience` epochs without a better validation score, and ends the
        training after `stop_patience` of them. In the first warmup_epochs, at most half of all, it rises from 0.
    weight_decay: of AdamW, on kernels only. ema_decay: of the moving average of the weights that is validated and
        saved, per step; 0 validates and saves the weights themselves.
    label_smoothing: the share of each target that is spread over all classes. loss_weights: the heads' losses count
        as their recalls do in the "score", or are "equal".
    resume: "auto" goes on from the furthest checkpoint of the same training in the working folder or any input, and
        begins where there is none; "required" fails then; "off" begins, whatever lies there.
    augmentation: steps that each image of a training batch goes through, in order: tables with the name of a step
        built in (BUILT_IN_STEPS) or of one of albumentations' transforms, and its arguments.
    mixup_share, cutmix_share: shares of the batches that are mixed so; *_alpha: their Beta(alpha, alpha).
        clean_epochs: the last epochs, at most half of all, which are not mixed.
    ensemble: names of the weights that predicting averages over, as `build_kernel.py stage FOLDER --name NAME` put
        them into the dataset; none: the one without a name. Where time is short, the last are left out of a file first.
    test_time_copies: predicting averages over each image and so many copies (test-time augmentation), changed by the
        affine and flip steps that the weights were trained with, where all of them were; as many as the time budget
        allows.
    """

    data: str = _setting("")
    weights: str = _setting("")
    working: str = _setting("")

    pretrained: str = _setting("", is_file_name=True)
    frozen_up_to: str = _setting("")

    seed: int = _setting(0, low=0, high=2**32 - 1)
    epochs: int = _setting(30, low=1)
    batch_size: int = _setting(128, low=1)
    validation: str = _setting("stratified", one_of=("stratified", "unseen"))
    validation_share: float = _setting(0.08, low=0.001, high=0.5)
    time_budget_minutes: float = _setting(0.0, low=0)
    resume: str = _setting("auto", one_of=("auto", "required", "off"))

    optimizer: str = _setting("adamw", one_of=("adamw", "rmsprop"))
    learning_rate: float = _setting(1e-3, low=1e-8, high=10)
    min_learning_rate: float = _setting(1e-5, low=0, high=10)
    schedule: str = _setting("cosine", one_of=("cosine", "plateau"))
    warmup_epochs: float = _setting(1.0, low=0)
    plateau_patience: int = _setting(3, low=1)
    plateau_factor: float = _setting(0.5, low=0.01, high=0.99)
    stop_patience: int = _setting(10, low=1)
    weight_decay: float = _setting(0.01, low=0, high=1)
    ema_decay: float = _setting(0.999, low=0, high=0.99999)
    label_smoothing: float = _setting(0.0, low=0, high=0.5)
    loss_weights: str = _setting("score", one_of=("score", "equal"))

    augmentation: tuple[Step, ...] = _setting(
        ({"name": "affine", "rotation_degrees": 16.0, "zoom": 0.15, "shift": 0.15},)
    )
    mixup_share: float = _setting(0.25, low=0, high=1)
    mixup_alpha: float = _setting(0.4, low=0.01)
    cutmix_share: float = _setting(0.25, low=0, high=1)
    cutmix_alpha: float = _setting(0.4, low=0.01)
    clean_epochs: int = _setting(0, low=0)

    ensemble: tuple[str, ...] = _setting((), is_file_name=True)
    test_time_copies: int = _setting(0, low=0, high=32)

    require_gpu: bool = _setting(False)
    mixed_precision: bool = _setting(False)
    deterministic: bool = _setting(False)

    def deadline(self) -> float:
        """Return the seconds since the process started after which no batch is begun, to leave time for the end."""
        budget = self.time_budget_minutes * 60 or math.inf
        return budget - min(0.1 * budget, CLOSING_SECONDS)


class Settings(NamedTuple):
    """Both halves, the names of the model settings that were given rather than defaulted, and the task."""

    model: ModelSettings
    run: RunSettings
    given_model_keys: frozenset[str]
    task: Task


T = TypeVar("T", ModelSettings, RunSettings)


def read_settings(path: Path | None, overrides: Iterable[str] = ()) -> Settings:
    """Return the settings of a TOML file, with `key=value` overrides applied on top; a task.toml beside it counts."""
    tables = read_toml(path) if path else {}
    source = path.name if path else "defaults"
    for name in tables:
        if name not in ("model", "run"):
            raise UserError(f"{source}: [{name}] is not known; the tables are [model] and [run]")
        if not isinstance(tables[name], dict):
            raise UserError(f"{source}: {name} is not a table; expected a line [{name}] with keys below it")
    model, run = dict(tables.get("model", {})), dict(tables.get("run", {}))
    model_keys = {f.name for f in fields(ModelSettings)}
    for override in overrides:
        key, value = _parse_override(override)
        if key in model_keys:
            model |= _checked_values(ModelSettings, {key: value}, f"--set {override}")
        else:
            run |= _checked_values(RunSettings, {key: value}, f"--set {override}")
    settings = settings_from(ModelSettings, model, source)
    own = path.with_name(TASK_FILE) if path else None
    task = read_task(own) if own and own.is_file() else None
    if task and "task" not in model:
        settings = replace(settings, task=task.name)
    if not task or settings.task != task.name:
        task = task_by_name(settings.task)
    if settings.crop == "task":
        model.pop("crop", None)  # says no more than the default, which of weights is what their manifest says
    settings = replace(settings, crop=settings.crop_of(task))
    if settings.fold and task.test_files:
        raise UserError(
            f"{source}: fold = {settings.fold}, but {task.name} has test files, so that nothing is left out"
        )
    if settings.crop != "none" and task.image_shape[2] != 1:
        raise UserError(f"{source}: crop = {settings.crop!r} is for gray images, {task.name} has colour")
    return Settings(settings, settings_from(RunSettings, run, source), frozenset(model), task)


def settings_from(kind: type[T], values: Mapping[str, Any], source: str) -> T:
    """Return a settings object from plain values (of TOML or JSON); the inverse of settings_dict."""
    settings = kind(**_checked_values(kind, values, source))
    if isinstance(settings, ModelSettings):
        try:
            check_architecture(settings.backbone, settings.image_size, settings.stack_layers)
        except ValueError as error:
            raise UserError(f"{source}: {error}") from error
    if isinstance(settings, RunSettings) and settings.mixup_share + settings.cutmix_share > 1:
        raise UserError(f"{source}: mixup_share + cutmix_share is over 1; they are shares of the same batches")
    if isinstance(settings, RunSettings) and settings.frozen_up_to and not settings.pretrained:
        raise UserError(f"{source}: frozen_up_to without pretrained would freeze weights that know nothing")
    return settings


def checked_steps(value: Any, source: str) -> tuple[Step, ...]:
    """Return the steps of an augmentation, those built in with all their arguments; UserError for what can be none."""
    if not isinstance(value, list | tuple):
        raise UserError(f"{source}: augmentation = {value!r}; expected a list of tables")
    return tuple(_checked_step(step, f"{source}: augmentation {number}") for number, step in enumerate(value, 1))


def _checked_step(step: Any, source: str) -> Step:
    if not isinstance(step, dict) or not isinstance(step.get("name"), str):
        raise UserError(f"{source} = {step!r}; expected a table with a text as its name")
    name = step["name"]
    arguments = {key: value for key, value in step.items() if key != "name"}
    if name in BUILT_IN_STEPS:
        kind = BUILT_IN_STEPS[name]
        return {"name": name} | asdict(kind(**_checked_values(kind, arguments, f"{source} ({name})")))
    for key, value in arguments.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            allowed = "finite numbers, texts, true, false, and lists or tables of them"
            raise UserError(f"{source} ({name}): {key} = {value!r}; expected {allowed}") from error
    return step


def _checked_values(
    kind: type[ModelSettings | RunSettings | AffineStep | FlipStep], values: Mapping[str, Any], source: str
) -> dict[str, Any]:
    """Return the values in their settings' types; UserError for the first that is not known or not possible."""
    known = {f.name: f for f in fields(kind)}
    checked = {}
    for key, value in values.items():
        if key not in known:
            raise UserError(f"{source}: {key} is not known; one of {', '.join(known)}")
        if key == "augmentation":
            checked[key] = checked_steps(value, source)
        else:
            checked[key] = _checked(known[key].default, dict(known[key].metadata), key, value, source)
    return checked


def settings_dict(settings: ModelSettings | RunSettings) -> dict[str, Any]:
    """Return the settings as plain values for JSON."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(settings).items()}


def _parse_override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    key, value = key.strip(), value.strip()
    if not equals or not key:
        raise UserError(f"--set {text}: expected key=value")
    known = {f.name: f.default for kind in (ModelSettings, RunSettings) for f in fields(kind)}
    if isinstance(known.get(key), str):
        return key, value
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except ValueError:  # no TOML, or a number of thousands of digits
        return key, value


def _checked(default: Any, rule: dict[str, Any], key: str, value: Any, source: str) -> Any:
    """Return the value in the default's type, or raise UserError with what is allowed."""
    if default == () and isinstance(value, list | tuple) and all(type(of) is str for of in value):
        return tuple(_checked("", rule, key, of, source) for of in value)
    parts = value if isinstance(default, tuple) and isinstance(value, list | tuple) else None
    if parts is not None and len(parts) == len(default):
        return tuple(_checked(d, rule, key, v, source) for d, v in zip(default, parts, strict=True))
    if type(default) is float and type(value) is int:
        value = _as_float(value)
    low, high = rule["low"], rule["high"]
    if type(value) is not type(default):
        allowed = _TYPE_NAMES.get(type(default)) or (f"{len(default)} whole numbers" if default else "a list of texts")
    elif rule["one_of"] and value not in rule["one_of"]:
        allowed = f"one of {_shown(rule['one_of'], value)}"
    elif rule["is_file_name"] and (value in (".", "..") or re.search(r"[/\\*?[]", value)):
        allowed = "a plain name, without folders and wildcards"
    elif isinstance(value, float) and not math.isfinite(value):
        allowed = "a finite number"
    elif low is not None and not value >= low:
        allowed = f"at least {low}"
    elif high is not None and not value <= high:
        allowed = f"at most {high}"
    else:
        return value
    raise UserError(f"{source}: {key} = {value!r}; expected {allowed}")


def _as_float(number: int) -> float:
    """Return a whole number as a float, one that none can hold as infinity."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _shown(choices: tuple[str, ...], given: str) -> str:
    """Return all choices, or of many those that are spelt most like what was given."""
    if len(choices) <= MANY:
        return ", ".join(choices)
    nearest = difflib.get_close_matches(given, choices, MANY, cutoff=0)
    return f"{', '.join(nearest)}, or {len(choices) - MANY} more that the README lists"


_TYPE_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
