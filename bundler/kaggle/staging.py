"""Weights that a training or a study left, into the folder that becomes a Kaggle dataset."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

from bundler.errors import BundlerError
from multihead.config import UserError, read_text
from multihead.config.ensemble import read_ensemble
from multihead.config.files import ENSEMBLE_FILE, MANIFEST_FILE, WEIGHTS_FILE, named
from multihead.config.known_tasks import TASKS
from multihead.config.manifest import sha256_of
from multihead.config.task import OF_THE_SUBMISSION, Task, task_dict

NAME = r"[A-Za-z0-9][A-Za-z0-9_-]*"


def stage(trained: Path, dataset: Path, name: str = "", own: Task | None = None) -> str:
    """Copy weights and manifest into the dataset folder and return what they are, in words.

    name: what they are called there, as one of several for an ensemble. own: a task beside those that are built in. The
    limits of the manifest's task become those it has now: they may have been mended since the training.
    Raises BundlerError, with the dataset left as it was, where one is missing, they do not belong together, or they
    have no name and predicting would follow a study's ENSEMBLE_FILE instead.
    """
    description = verified(trained)
    if name and not re.fullmatch(NAME, name):
        raise BundlerError(f"--name {name}: expected letters, digits, dashes and underscores")
    if not name and (dataset / ENSEMBLE_FILE).is_file():
        rule = "predicting follows it, and not weights without a name; remove it, or give them a --name"
        raise BundlerError(f"{dataset / ENSEMBLE_FILE}: {rule}")
    _copy(trained, dataset, name, own)
    return description


def stage_study(study: Path, dataset: Path, own: Task | None = None) -> str:
    """Copy the members of a study's ensemble and its ENSEMBLE_FILE into the dataset folder; return them in words.

    Raises BundlerError, with the dataset left as it was, where one is missing or damaged.
    """
    members = read_ensemble(study).members
    for name in members:
        if not re.fullmatch(NAME, name):
            raise BundlerError(f"{study / ENSEMBLE_FILE}: members: {name!r} is no name of weights")
    descriptions = {name: verified(study / name) for name in members}
    for name in members:
        _copy(study / name, dataset, name, own)
    shutil.copyfile(study / ENSEMBLE_FILE, dataset / f".new-{ENSEMBLE_FILE}")
    (dataset / f".new-{ENSEMBLE_FILE}").replace(dataset / ENSEMBLE_FILE)
    return "\n".join(f"{name}: {members[name]:g} of {words}" for name, words in descriptions.items())


def members_of_study(dataset: Path) -> list[str]:
    """Return the names of weights in a study's ensemble in the dataset folder; none where it cannot be read."""
    try:
        return list(read_ensemble(dataset).members)
    except UserError:
        return []


def _copy(trained: Path, dataset: Path, name: str, own: Task | None) -> None:
    for file in (WEIGHTS_FILE, MANIFEST_FILE):
        shutil.copyfile(trained / file, dataset / f".new-{named(file, name)}")
    _put_in_limits(dataset / f".new-{named(MANIFEST_FILE, name)}", own)
    for file in (WEIGHTS_FILE, MANIFEST_FILE):
        (dataset / f".new-{named(file, name)}").replace(dataset / named(file, name))


def _put_in_limits(path: Path, own: Task | None) -> None:
    manifest = json.loads(read_text(path))
    name = manifest.get("task", {}).get("name")
    task = own if own and own.name == name else TASKS.get(name)
    if task:
        manifest["task"] |= {key: value for key, value in task_dict(task).items() if key in OF_THE_SUBMISSION}
        path.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def verified(trained: Path) -> str:
    """Return what the weights in a folder are, in words; raises BundlerError where they are not the manifest's."""
    try:
        manifest = json.loads(read_text(trained / MANIFEST_FILE))
        sha256 = sha256_of(trained / WEIGHTS_FILE)
        description, expected = _in_words(manifest), manifest["sha256"]
    except OSError as error:
        raise BundlerError(
            f"{error.filename}: {error.strerror}; expected what build_kernel.py pull train brings"
        ) from error
    except KeyError as error:
        raise BundlerError(f"{trained / MANIFEST_FILE}: not a manifest of weights: no {error.args[0]}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise BundlerError(f"{trained / MANIFEST_FILE}: not a manifest of weights ({error!r})") from error
    if sha256 != expected:
        raise BundlerError(f"{trained / WEIGHTS_FILE}: not the file that {MANIFEST_FILE} tells of; download both again")
    return description


def _in_words(manifest: dict[str, Any]) -> str:
    """Return what a manifest says of its weights; those of a training that validated nothing have no score."""
    score, speed, device = (manifest.get(key) for key in ("score", "images_per_second", "device"))
    words = [manifest["model"]["backbone"], f"epoch {manifest['epoch']}"]
    words.append(f"validation {score['name']} {score['total']:.4f}" if score else "no validation score")
    if speed:
        words.append(f"{speed:,.0f} images/s" + (f" on {device}" if device else ""))
    return ", ".join(words)
