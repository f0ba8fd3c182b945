"""The file beside the weights of a study: how much each of them counts, and what is done to their probabilities."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from multihead.config.checking import FROM_LIST, STRICT, Expected, plain, validated
from multihead.config.files import ENSEMBLE_FILE
from multihead.config.task import Label, Task
from multihead.config.toml_text import settings_text
from multihead.runtime.errors import UserError
from multihead.runtime.text_files import read_toml
from multihead.runtime.whole_files import whole_file

Labels = Annotated[tuple[Label, ...], FROM_LIST]
PerHead = Mapping[str, float]
PerClass = Mapping[str, Annotated[tuple[float, ...], FROM_LIST]]


@dataclass(frozen=True, config=STRICT)
class Combinations:
    """Label combinations that train shows, and how much they count (prediction/combinations.py)."""

    weight: Annotated[float, Field(ge=0, le=1)] = 0.0
    labels: Annotated[tuple[Labels, ...], FROM_LIST, Expected("rows of a class label per head")] = ()


@dataclass(frozen=True, config=STRICT)
class Ensemble:
    """Weights that answer together (prediction/calibration.py has what the others stand for)."""

    members: Annotated[Mapping[str, float], Expected("a share above 0 for each name of weights", of_type=True)]
    temperatures: Annotated[PerHead, Expected("a number above 0 for each head", of_type=True)]
    prior_exponents: Annotated[PerHead, Expected("a number from 0 on for each head", of_type=True)]
    combinations: Combinations = Combinations()
    thresholds: Annotated[PerClass, Expected("a list of numbers for each head", of_type=True)] = field(
        default_factory=dict
    )
    cut_points: Annotated[PerClass, Expected("a list of numbers for each head", of_type=True)] = field(
        default_factory=dict
    )


def write_ensemble(folder: Path, ensemble: Ensemble, comments: Iterable[str]) -> None:
    """Write the file into a folder, whole or not at all. comments: lines at its top."""
    text = "".join(f"# {comment}\n" for comment in comments) + settings_text(plain(ensemble))
    with whole_file(folder / ENSEMBLE_FILE) as new:
        new.write_text(text, encoding="utf-8", newline="\n")


def read_ensemble(folder: Path) -> Ensemble:
    """Return what the file in a folder says; UserError for the first thing in it that is not possible."""
    path = folder / ENSEMBLE_FILE
    values = dict(read_toml(path))
    if isinstance(values.get("combinations"), dict):
        values["combinations"] = validated(Combinations, values["combinations"], f"{path}: combinations")
    ensemble = validated(Ensemble, values, str(path))
    if not ensemble.members:
        raise UserError(f"{path}: no members; expected a share above 0 for each name of weights")
    for table in ("members", "temperatures"):
        for name, value in getattr(ensemble, table).items():
            if not 0 < value < math.inf:
                raise UserError(f"{path}: {table}: {name} = {value!r}; expected a number above 0")
    for head, exponent in ensemble.prior_exponents.items():
        if not 0 <= exponent < math.inf:
            raise UserError(f"{path}: prior_exponents: {head} = {exponent!r}; expected a number from 0 on")
    return ensemble


def check_heads(ensemble: Ensemble, task: Task, source: str) -> None:
    """Raise UserError where an ensemble is not of a task's heads and their class labels."""
    for table in ("temperatures", "prior_exponents"):
        if getattr(ensemble, table).keys() != task.heads.keys():
            raise UserError(f"{source}: {table} are not of each of the heads {', '.join(task.heads)}")
    check_numbers({"thresholds": ensemble.thresholds, "cut_points": ensemble.cut_points}, task, source)
    for labels in ensemble.combinations.labels:
        if len(labels) != len(task.heads):
            raise UserError(
                f"{source}: combinations: {list(labels)} is not a label for each of {', '.join(task.heads)}"
            )
        for label, (head, classes) in zip(labels, task.heads.items(), strict=True):
            if label not in classes:
                raise UserError(f"{source}: combinations: {label!r} is no class of {head}")
    if ensemble.combinations.weight and not ensemble.combinations.labels:
        raise UserError(f"{source}: combinations: weight = {ensemble.combinations.weight:g} without labels")


def check_numbers(tables: Mapping[str, Mapping[str, Sequence[float]]], task: Task, source: str) -> None:
    """Raise UserError where thresholds are not one of all classes or one of each, or cut points not between these."""
    for table, of_heads in tables.items():
        for head, numbers in of_heads.items():
            classes = len(task.heads.get(head, ()))
            if not classes or len(numbers) not in ((1, classes) if table == "thresholds" else (classes - 1,)):
                raise UserError(f"{source}: {table}: {head} has {len(numbers)} numbers, which are not of its classes")
