"""The manifest: what weights are, in a file beside them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from multihead.config.checking import FROM_LIST, plain, validated
from multihead.config.ensemble import check_numbers
from multihead.config.files import MANIFEST_FILE, WEIGHTS_FILE, named
from multihead.config.known_tasks import TASKS, task_from
from multihead.config.model_settings import ModelSettings
from multihead.config.settings import settings_from
from multihead.config.steps import Steps
from multihead.config.task import Task, what_answers_depend_on
from multihead.runtime.errors import UserError
from multihead.runtime.text_files import read_text

FORMAT = 4
PROBE_IMAGES = 2

Rows = Annotated[tuple[Annotated[tuple[float, ...], FROM_LIST], ...], FROM_LIST]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(strict=True))  # keys of later versions are passed over
class Manifest:
    """What the weights are."""

    model: ModelSettings
    task: Annotated[Task, Field(description="whose images and class labels")]
    train_counts: Annotated[
        Mapping[str, Annotated[tuple[int, ...], FROM_LIST]],
        Field(description="for each head, the images of each class in the train part; none of numbers"),
    ]
    prior_exponents: Annotated[
        Mapping[str, float],
        Field(
            description="for each head, the power of these counts that its probabilities are divided by "
            "(logit_adjustment.py)"
        ),
    ]
    train_images: Annotated[int, Field(description="how many images were trained on; 0 of an earlier version")] = 0
    priors: Annotated[
        Mapping[str, Annotated[tuple[float, ...], FROM_LIST]],
        Field(description="for each head, the share of the train part that has each class, or the median number"),
    ] = field(default_factory=dict)
    temperatures: Annotated[
        Mapping[str, float], Field(description="of heads whose probabilities have one taken (calibration.py)")
    ] = field(default_factory=dict)
    thresholds: Annotated[
        Mapping[str, Annotated[tuple[float, ...], FROM_LIST]],
        Field(description="of heads whose sets of classes are asked for, the probability from which each is in it"),
    ] = field(default_factory=dict)
    cut_points: Annotated[
        Mapping[str, Annotated[tuple[float, ...], FROM_LIST]],
        Field(description="of heads whose expected class is cut into classes, where one ends and the next begins"),
    ] = field(default_factory=dict)
    score: Annotated[Mapping[str, Any] | None, Field(description="of the validation part")] = None
    epoch: int
    device: Annotated[str, Field(description="what it was trained on")] = ""
    images_per_second: Annotated[
        float | None,
        Field(description="how many images it answered there; none where no image was held out to measure it with"),
    ] = None
    augmentation: Annotated[Steps, Field(description="the steps that it was trained with")]
    further_images: Annotated[
        tuple[Mapping[str, Any], ...],
        FROM_LIST,
        Field(
            description="folder, origin, licence and number of images of each source beside the train images, and of "
            "those of the weights that the training started from"
        ),
    ] = ()
    started_from: Annotated[
        str, Field(description="the file of weights that the training started from, with its SHA-256")
    ] = ""
    versions: Annotated[
        Mapping[str, str], Field(description="of Python and of the packages that the network was trained with")
    ]
    probe: Annotated[
        Mapping[str, Rows], Field(description="for each head, PROBE_IMAGES rows of a probability per class")
    ]
    sha256: Annotated[str, Field(description="of the weights file")]

    @property
    def prior(self) -> dict[str, tuple[float, ...]]:
        """What is said of an image of which nothing is known, for each head: shares of the classes, or a number."""
        counted = {head: tuple(n / max(1, sum(counts)) for n in counts) for head, counts in self.train_counts.items()}
        return counted | dict(self.priors)


def manifest_text(manifest: Manifest) -> str:
    """Return a manifest as the text of its file."""
    return json.dumps({"format": FORMAT} | plain(manifest), indent=1) + "\n"


def read_manifest(folder: Path, name: str = "") -> Manifest:
    """Return the manifest of a weights folder once the weights file beside it has proved to be the one it tells of.

    name: of one of several weights in the folder.
    Raises UserError where a file is missing or damaged, or where the task that is built in has changed.
    """
    path, weights = folder / named(MANIFEST_FILE, name), folder / named(WEIGHTS_FILE, name)
    try:
        raw = json.loads(read_text(path))
        if raw["format"] != FORMAT:
            raise UserError(f"{path}: format {raw['format']}; this version reads format {FORMAT}")
        model = settings_from(ModelSettings, raw["model"], path.name)
        values = raw | {"model": model, "task": task_from(raw["task"], path.name)}
        manifest = validated(Manifest, values, f"{path}: not a manifest of weights")
        found = sha256_of(weights)
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from error
    except KeyError as error:
        raise UserError(f"{path}: not a manifest of weights: no {error.args[0]}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a manifest of weights ({error!r})") from error
    if found != manifest.sha256:
        raise UserError(f"{weights}: SHA-256 is {found[:16]}..., the manifest says {manifest.sha256[:16]}...")
    manifest = _with_task_of_this_version(manifest, path)
    _refuse_contradictions(manifest, path)
    return manifest


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _with_task_of_this_version(manifest: Manifest, path: Path) -> Manifest:
    """Return a manifest with the task that is built in under its name, if any, whose limits may be newer."""
    if manifest.task.name not in TASKS:
        return manifest
    built_in = replace(TASKS[manifest.task.name], bits=manifest.task.bits)  # which the train images decide
    if what_answers_depend_on(manifest.task) != what_answers_depend_on(built_in):
        raise UserError(f"{path}: its task {manifest.task.name} is not what this version calls so")
    return replace(manifest, task=built_in)


def _refuse_contradictions(manifest: Manifest, path: Path) -> None:
    heads = manifest.task.heads
    if manifest.model.task != manifest.task.name:
        raise UserError(f"{path}: its model is of {manifest.model.task}, its task {manifest.task.name}")
    if not manifest.train_counts.keys() == manifest.prior_exponents.keys() == heads.keys():
        raise UserError(f"{path}: its train_counts or prior_exponents are not of each of its heads")
    for name in ("priors", "temperatures", "thresholds", "cut_points"):
        if not getattr(manifest, name).keys() <= heads.keys():
            raise UserError(f"{path}: its {name} are of what is none of its heads")
    check_numbers({name: getattr(manifest, name) for name in ("thresholds", "cut_points")}, manifest.task, str(path))
    answers = {head: [manifest.task.width(head)] * PROBE_IMAGES for head in heads}
    if {head: [*map(len, rows)] for head, rows in manifest.probe.items()} != answers:
        raise UserError(f"{path}: its probe is not {PROBE_IMAGES} rows of a number per class for each of its heads")
