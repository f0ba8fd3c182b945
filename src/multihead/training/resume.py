"""Which checkpoint a training goes on from, if any: a training that was meant to go on never begins anew in silence."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path, PurePath
from typing import Any

from multihead.config.files import CHECKPOINT_FILE
from multihead.config.model_settings import ModelSettings
from multihead.config.settings import WITHOUT_EFFECT, RunSettings, settings_dict
from multihead.config.settings_file import FORMER_PRECISION, precision_of_before
from multihead.config.task import Task, what_answers_depend_on
from multihead.data.locate import find_everywhere
from multihead.runtime.errors import UserError
from multihead.runtime.log import log
from multihead.training.checkpoint import Checkpoint, ForeignFileError, read_checkpoint, restore, versions
from multihead.training.moving_average import MovingAverage

# A checkpoint that differs in one of these is another training's, to be passed over.
ANOTHER_TRAINING = {
    *("task", *(field.name for field in fields(ModelSettings)), "seed"),
    *("study_folds", "study_fold", "study_seed", "group_column"),
}
# One that differs in one of these is this training's, which would begin anew: an error. All else may change from one
# session to the next.
FIXED = {
    *("files", "images", "validation", "validation_share", "pretrained", "frozen_up_to"),
    *("optimizer", "learning_rate", "gradient_accumulation", "ema_decay", "precision"),
}
NOTHING_FURTHER: Mapping[str, int] = {}
LONGEST_VALUE = 40  # characters, of a value that a message shows


def identity_of(
    task: Task,
    model: ModelSettings,
    run: RunSettings,
    files: Sequence[str],
    images: int,
    further: Mapping[str, int] = NOTHING_FURTHER,
) -> dict[str, Any]:
    """Return what decides what a training becomes, as plain values of JSON. further: how many images of each source."""
    own = {"task": what_answers_depend_on(task), "model": settings_dict(model), "files": files, "images": images}
    if further:
        own["images of further sources"] = dict(further)
    of_run = {key: value for key, value in settings_dict(run).items() if key not in WITHOUT_EFFECT}
    of_run["pretrained"] = PurePath(run.pretrained).name  # the place of the file may be another in the next session
    return dict(json.loads(json.dumps(own | of_run)))


def differing(stored: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the keys in which two identities differ, each with both values.

    The keys of the model stand for themselves. A key that `stored` lacks has its default there: it was added since.
    """
    there, here = (_flat(identity) for identity in (stored, own))
    return {key: (there.get(key), value) for key, value in here.items() if there.get(key, value) != value}


def checkpoints_to_go_on_from(
    identity: Mapping[str, Any], resume: str, working: Path, varied: Collection[str] = ()
) -> list[Checkpoint]:
    """Return the checkpoints of this training in the working folder and all inputs, the furthest first.

    resume: as in RunSettings. varied: keys in which this is one of several trials, so that what differs in them is
    another's. What is not used is named. Raises UserError where there are none, but one is damaged, or
    differs in what would make this training begin anew, or resume requires one.
    """
    if resume == "off":
        return []
    ours: list[Checkpoint] = []
    changed: list[str] = []
    damaged: list[str] = []
    paths = find_everywhere(CHECKPOINT_FILE, working)
    for path in paths:
        try:
            checkpoint = read_checkpoint(path)
        except ForeignFileError as error:
            log.info(f"not used: {error}")
            continue
        except UserError as error:
            damaged.append(str(error))
            continue
        differences = differing(checkpoint.identity, identity)
        if others := [key for key in differences if key in ANOTHER_TRAINING or key in varied]:
            fate = "; this training takes its place" if path.parent == working else ""
            log.info(f"{path}: not used, it is of a training with another {', '.join(others)}{fate}")
        elif fixed := {key: values for key, values in differences.items() if key in FIXED}:
            changed.append(f"{path}: of this training with another {in_words(fixed)}")
        else:
            ours.append(checkpoint)
    for problem in [*changed, *damaged] if ours else []:
        log.warning(f"not used: {problem}")
    if changed and not ours:
        raise UserError(f'{changed[0]}; set that back to go on, or resume = "off" to begin anew')
    if damaged and not ours:
        raise UserError(damaged[0])
    if resume == "required" and not ours:
        of_another = f"; of another one: {', '.join(map(str, paths))}" if paths else ""
        where = f"in {working} or any input{of_another}"
        raise UserError(f'resume = "required", but no {CHECKPOINT_FILE} of this training {where}')
    return sorted(ours, key=lambda checkpoint: checkpoint.progress, reverse=True)


def restore_furthest(
    network: Any,
    average: MovingAverage | None,
    identity: Mapping[str, Any],
    resume: str,
    working: Path,
    varied: Collection[str] = (),
) -> Checkpoint | None:
    """Put the furthest checkpoint of this training that fits into network and average, and return it; None for none.

    Raises UserError as checkpoints_to_go_on_from does, and where none of those that there are fits.
    """
    checkpoints = checkpoints_to_go_on_from(identity, resume, working, varied)
    for number, checkpoint in enumerate(checkpoints, 1):
        try:
            restore(network, checkpoint, average)
        except UserError as error:
            if number == len(checkpoints):
                raise
            log.warning(f"not used: {error}")
        else:
            return checkpoint
    return None


def say_how_it_goes_on(checkpoint: Checkpoint, identity: Mapping[str, Any]) -> None:
    """Say where a restored checkpoint left the training, and what is another from here on."""
    epoch, shards = checkpoint.progress
    log.info(f"going on from {checkpoint.path}: {epoch} epochs and {shards} shards of the next are done")
    own = versions()
    changed = differing(checkpoint.identity, identity) | {
        name: (there, own[name]) for name, there in checkpoint.versions.items() if there != own[name]
    }
    if changed:
        log.info(f"changed from here on: {in_words(changed)}")


def _flat(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return an identity with the keys of the model among its own, and defaults for what it lacks."""
    task = {field.name: field.default for field in fields(Task) if field.default is not MISSING}
    task |= {field.name: field.default_factory() for field in fields(Task) if field.default_factory is not MISSING}
    defaults = settings_dict(RunSettings()) | settings_dict(ModelSettings())
    defaults["precision"] = precision_of_before(is_mixed=bool(identity.get(FORMER_PRECISION)))
    del defaults["xla"]  # of a checkpoint from before it was a setting nobody knows it
    defaults = {key: value for key, value in defaults.items() if key not in WITHOUT_EFFECT}
    flat = defaults | {key: value for key, value in identity.items() if key != "model"} | identity["model"]
    return dict(json.loads(json.dumps(flat | {"task": what_answers_depend_on(task | identity["task"])})))


def in_words(differences: Mapping[str, tuple[Any, Any]]) -> str:
    """Return the keys, with the values there and here where these are short."""
    texts = {key: [json.dumps(value) for value in values] for key, values in differences.items()}
    return ", ".join(
        f"{key} ({there}, here {here})" if max(len(there), len(here)) <= LONGEST_VALUE else key
        for key, (there, here) in texts.items()
    )
