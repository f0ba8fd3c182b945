"""The ladder: what each change of the recipe does to R, on real images.

    PYTHONPATH=src python -m benchmarks.score DATA RUNS [--only NAME ...]
    PYTHONPATH=src python -m benchmarks.score DATA TRAINED --same-weights SETTINGS

DATA is a competition's folder, of which only the train files are read; RUNS keeps every rung's output, and a rung that
is there is not trained again. A rung that changes a setting is trained by the train command in a process of its own:
same split, same seed, same number of images seen, but where it, or one that it builds on, sets the epochs. One may
average the answers of several trainings, whose costs are added. R is of the held-out images, on which the prior's
exponents are chosen, too; what a rung gains over the one that it is compared with, on the same images, has a 95 %
interval by paired bootstrap. With --same-weights it is told instead what moving average, prior and test-time copies
do, each alone and one after the other, to what one training with these settings left in the folder TRAINED.
"""

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.config.files import CHECKPOINT_FILE, HISTORY_FILE
from multihead.config.known_tasks import TASKS
from multihead.config.manifest import read_manifest
from multihead.config.settings import Settings, settings_dict
from multihead.config.settings_file import read_settings
from multihead.config.task import Task
from multihead.data.augment import copy_jitter
from multihead.data.crop_store import crops_ahead
from multihead.data.datasets import images_to_train
from multihead.data.split import choose_validation
from multihead.model.weights import load_model
from multihead.prediction.logit_adjustment import adjusted_heads, choose_exponents
from multihead.prediction.predictor import jitter, predict_probabilities
from multihead.runtime.errors import UserError
from multihead.scoring.paired import Answers, paired_gain
from multihead.training.checkpoint import read_checkpoint

HOUSE = Path(__file__).resolve().parent.parent
COPIES = 4

Probabilities = dict[str, NDArray[np.float32]]


class Rung(NamedTuple):
    """One row: what it changes in the rung that it is compared with; none: in what is made of the same answers.

    has_prior: the train counts' prior is left in the probabilities. averaged: the rungs whose trainings' probabilities
    are averaged with those of its own.
    """

    against: str
    changes: Mapping[str, str]
    has_prior: bool = False
    averaged: Sequence[str] = ()


SAME: Mapping[str, str] = {}  # the same training; something else is made of its answers
START = {
    "backbone": "resnet10",
    "image_size": "[48, 48]",
    "validation_share": "0.15",
    "epochs": "14",
    "batch_size": "32",
    "optimizer": "rmsprop",
    "learning_rate": "2e-5",
    "schedule": "plateau",
    "warmup_epochs": "0",
    "ema_decay": "0",
    "loss_weights": "equal",
    "mixup_share": "0.5",
    "cutmix_share": "0.5",
}
COSINE = {"optimizer": "adamw", "schedule": "cosine", "warmup_epochs": "1", "learning_rate": "2e-3"}
LARGER = {"image_size": "[64, 64]", "epochs": "20", "weight_decay": "0.05"}
GENTLE = '{name = "affine", rotation_degrees = 10, zoom = 0.12, shift = 0.06}'
GRID = '{name = "GridDistortion", num_steps = 4, distort_limit = [-0.3, 0.3], p = 0.7}'
SHEAR = '{name = "Affine", shear = {x = [-15, 15], y = [-8, 8]}, fill = 252, p = 0.7}'
THICKER = '{name = "Morphological", scale = [2, 3], operation = "erosion", p = 0.2}'
THINNER = '{name = "Morphological", scale = [2, 2], operation = "dilation", p = 0.2}'
RUNGS = {
    "the notebook's recipe": Rung("", START, has_prior=True),
    "learning rate 1e-3": Rung("the notebook's recipe", {"learning_rate": "1e-3"}, has_prior=True),
    "the prior divided out": Rung("learning rate 1e-3", SAME),
    "AdamW 2e-3, warm-up, cosine": Rung("the prior divided out", COSINE),
    "cutmix alone, alpha 1": Rung(
        "AdamW 2e-3, warm-up, cosine", {"mixup_share": "0", "cutmix_share": "0.5", "cutmix_alpha": "1"}
    ),
    "moving average": Rung("cutmix alone, alpha 1", {"ema_decay": "0.999"}),
    "two clean epochs": Rung("moving average", {"clean_epochs": "2"}),
    "batch 64, rate 3e-3": Rung("moving average", {"batch_size": "64", "learning_rate": "3e-3"}),
    "losses 2:1:1": Rung("batch 64, rate 3e-3", {"loss_weights": "score"}),
    "label smoothing 0.05": Rung("batch 64, rate 3e-3", {"label_smoothing": "0.05"}),
    "padded crops": Rung("batch 64, rate 3e-3", {"crop": "padded"}),
    "whole images, 48 x 84": Rung("batch 64, rate 3e-3", {"crop": "none", "image_size": "[48, 84]"}),
    "64 x 64 crops, 20 epochs, weight decay 0.05": Rung("losses 2:1:1", LARGER),
    "cutmix of all batches, two clean epochs": Rung(
        "64 x 64 crops, 20 epochs, weight decay 0.05", {"cutmix_share": "1.0", "clean_epochs": "2"}
    ),
    "less affine jitter, grid distortion": Rung(
        "64 x 64 crops, 20 epochs, weight decay 0.05", {"augmentation": f"[{GENTLE}, {GRID}]"}
    ),
    "shear, width of strokes": Rung(
        "less affine jitter, grid distortion", {"augmentation": f"[{GENTLE}, {SHEAR}, {GRID}, {THICKER}, {THINNER}]"}
    ),
    "three augmentations averaged": Rung(
        "shear, width of strokes",
        SAME,
        averaged=("64 x 64 crops, 20 epochs, weight decay 0.05", "less affine jitter, grid distortion"),
    ),
    "80 x 80 crops, 13 epochs": Rung("less affine jitter, grid distortion", {"image_size": "[80, 80]", "epochs": "13"}),
    "resnet16, 12 epochs": Rung("less affine jitter, grid distortion", {"backbone": "resnet16", "epochs": "12"}),
}


def main() -> None:
    """Do what the command line asks for; a mistake in it is one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a competition's folder")
    parser.add_argument("runs", type=Path, help="where every rung's output is kept; or TRAINED")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--only", choices=RUNGS, action="append", help="these rungs only")
    mode.add_argument("--same-weights", type=Path, metavar="SETTINGS", help="that TRAINED was trained with")
    arguments = parser.parse_args()
    try:
        if arguments.same_weights:
            each_alone(arguments.data, arguments.runs, read_settings(arguments.same_weights))
        else:
            climb(arguments.data, arguments.runs, arguments.only or list(RUNGS))
    except UserError as error:
        raise SystemExit(f"error: {error}") from error


def climb(data: Path, runs: Path, names: Sequence[str]) -> None:
    """Train what is not there yet of these rungs, and print a row of each."""
    print("| change | R | gain | over | CPU-seconds | images seen |\n|---|---|---|---|---|---|")
    for name in names:
        for needed in filter(None, (RUNGS[name].against, *RUNGS[name].averaged, name)):
            folder = _folder(runs, needed)
            if not _is_done(_trained(needed), data, folder):
                _train(_trained(needed), data, folder)
        print(_row(name, runs), flush=True)


def _trained(name: str) -> str:
    """Return the rung whose training gives this one's answers."""
    return name if RUNGS[name].changes else _trained(RUNGS[name].against)


def _is_done(name: str, data: Path, folder: Path) -> bool:
    """Tell whether the rung was trained, on this data and with these settings, the defaults among them."""
    if not (folder / "answers.npz").is_file():
        return False
    return bool(json.loads((folder / "told.json").read_text())["trained"] == _what_is_trained(name, data))


def _what_is_trained(name: str, data: Path) -> dict[str, Any]:
    settings = read_settings(None, _overrides(name))
    return {**settings_dict(settings.model), **settings_dict(settings.run), "data": str(data.resolve())}


def _folder(runs: Path, name: str) -> Path:
    return runs / re.sub(r"\W+", "-", _trained(name))


def _settings(name: str) -> dict[str, str]:
    rung = RUNGS[name]
    return (_settings(rung.against) if rung.against else {}) | dict(rung.changes)


def _overrides(name: str) -> list[str]:
    return [f"{key}={value}" for key, value in _settings(name).items()]


def _train(name: str, data: Path, folder: Path) -> None:
    working = folder / "working"
    shutil.rmtree(folder, ignore_errors=True)
    working.mkdir(parents=True)
    overrides = _overrides(name)
    options = [part for override in overrides for part in ("--set", override)]
    command = [sys.executable, "-m", "multihead", "train", *options]
    environment = os.environ | {"KAGGLE_ROOT": str(folder), "PYTHONPATH": str(HOUSE / "src")}
    paths = ["--set", f"data={data.resolve()}", "--set", f"working={working.resolve()}"]
    before = _cpu_seconds()
    with (folder / "log.txt").open("wb") as log:
        subprocess.run([*command, *paths], check=True, env=environment, stdout=log, stderr=subprocess.STDOUT)
    seconds = _cpu_seconds() - before
    settings = read_settings(None, overrides)
    answers, truth = held_out_answers(data, working, settings, TASKS["bengali"])
    counts = read_manifest(working).train_counts
    epochs = len(pd.read_csv(working / HISTORY_FILE))
    facts = {
        "trained": _what_is_trained(name, data),
        "cpu_seconds": seconds,
        "images": epochs * sum(next(iter(counts.values()))),
        "counts": counts,
    }
    (folder / "told.json").write_text(json.dumps(facts))
    stored: dict[str, Any] = answers | {f"true_{head}": indices for head, indices in truth.items()}
    np.savez(folder / "answers.npz", **stored)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def held_out(data: Path, settings: Settings, task: Task) -> tuple[NDArray[np.uint8], Answers]:
    """Return the crops of the images that a training with these settings holds out, and their class indices."""
    train = images_to_train(data, task)
    labels = train.labels
    is_held_out = choose_validation(labels, settings.run)
    images, truth = [], []
    for (shard,), _ in crops_ahead(train.parts, task, [settings.model]):
        rows = np.flatnonzero(is_held_out.loc[list(shard.ids)].to_numpy()).tolist()
        images.append(shard.images[rows])
        truth.append(labels.loc[[shard.ids[row] for row in rows]])
    return np.concatenate(images), {
        head: np.concatenate([table[head].to_numpy() for table in truth]) for head in task.heads
    }


def held_out_answers(data: Path, working: Path, settings: Settings, task: Task) -> tuple[Probabilities, Answers]:
    """Return what the trained network says of those images, and the truth."""
    images, truth = held_out(data, settings, task)
    return predict_probabilities(load_model(working, read_manifest(working)), images, 128), truth


def _row(name: str, runs: Path) -> str:
    truth, answers = read_answers(name, runs)
    against, before = RUNGS[name].against, answers
    if against:
        truth_before, before = read_answers(against, runs)
        _refuse_other_images(name, truth, against, truth_before)
    gain, _ = paired_gain(truth, before, answers, TASKS["bengali"])
    used = [json.loads((_folder(runs, rung) / "told.json").read_text()) for rung in (name, *RUNGS[name].averaged)]
    seconds, images = (sum(facts[key] for facts in used) for key in ("cpu_seconds", "images"))
    cells = (name, f"{gain.after:.4f}", str(gain) if against else "", against, f"{seconds:.0f}", f"{images:,}")
    return f"| {' | '.join(cells)} |"


def _refuse_other_images(name: str, truth: Answers, other: str, truth_of_other: Answers) -> None:
    if not all(np.array_equal(indices, truth_of_other[head]) for head, indices in truth.items()):
        raise SystemExit(f"error: {name!r} and {other!r} hold other images out")


def read_answers(name: str, runs: Path) -> tuple[Answers, Answers]:
    """Return the truth of a rung's held-out images, and the classes that it answers."""
    truth, answers = _probabilities(name, runs)
    for other in RUNGS[name].averaged:
        truth_of_other, more = _probabilities(other, runs)
        _refuse_other_images(name, truth, other, truth_of_other)
        answers = {head: probabilities + more[head] for head, probabilities in answers.items()}
    return truth, {head: probabilities.argmax(axis=1) for head, probabilities in answers.items()}


def _probabilities(name: str, runs: Path) -> tuple[Answers, Probabilities]:
    """Return the truth of a training's held-out images, and its probabilities, without the prior where that is so."""
    folder = _folder(runs, name)
    with np.load(folder / "answers.npz") as stored:
        truth = {head: stored[f"true_{head}"] for head in TASKS["bengali"].heads}
        answers = {head: stored[head] for head in TASKS["bengali"].heads}
    if not RUNGS[name].has_prior:
        counts = json.loads((folder / "told.json").read_text())["counts"]
        answers = adjusted_heads(answers, counts, choose_exponents(answers, truth, counts))
    return truth, answers


def each_alone(data: Path, trained: Path, settings: Settings) -> None:
    """Print R of the held-out images with each of the steps after the training alone, and one after the other.

    The prior is divided out as predicting does it: of each pass, with the exponents of the manifest.
    """
    manifest = read_manifest(trained)
    images, truth = held_out(data, settings._replace(model=manifest.model), TASKS["bengali"])
    network = load_model(trained, manifest)
    checkpoint = read_checkpoint(trained / CHECKPOINT_FILE)
    for key in ("seed", "validation", "validation_share"):  # or train images would be taken for held out
        if checkpoint.identity[key] != getattr(settings.run, key):
            raise SystemExit(f"error: {trained} was trained with {key} = {checkpoint.identity[key]!r}")
    arrays = checkpoint.read_arrays()
    last_step = arrays[: len(network.variables)]
    average = arrays[-len(network.weights) :]
    augment = copy_jitter(manifest.augmentation, dark_ink=TASKS["bengali"].dark_ink)

    def passes_of(variables: Sequence[NDArray[Any]]) -> list[Probabilities]:
        of_network = network.weights if variables is average else network.variables
        for variable, value in zip(of_network, variables, strict=True):
            variable.assign(value)
        changes = [jitter(augment, settings.run.seed, copy) if augment else None for copy in range(COPIES)]
        return [predict_probabilities(network, images, 128, change=change) for change in (None, *changes)]

    def classes(passes: Sequence[Probabilities], *, has_prior: bool) -> Answers:
        if not has_prior:
            passes = [
                adjusted_heads(probabilities, manifest.train_counts, manifest.prior_exponents)
                for probabilities in passes
            ]
        return {
            head: np.sum([probabilities[head] for probabilities in passes], axis=0).argmax(axis=1) for head in truth
        }

    of_step, of_average = passes_of(last_step), passes_of(average)
    first, both, copies = "the last step's weights", "average and prior", f"{COPIES} test-time copies"
    rows = {
        first: ("", classes(of_step[:1], has_prior=True)),
        "the prior divided out": (first, classes(of_step[:1], has_prior=False)),
        copies: (first, classes(of_step, has_prior=True)),
        "the moving average": (first, classes(of_average[:1], has_prior=True)),
        both: (first, classes(of_average[:1], has_prior=False)),
        f"{both}, {copies}": (both, classes(of_average, has_prior=False)),
    }
    print("| | R | gain | over |\n|---|---|---|---|")
    for name, (against, answers) in rows.items():
        gain, _ = paired_gain(truth, rows[against or name][1], answers, TASKS["bengali"])
        print(f"| {name} | {gain.after:.4f} | {gain if against else ''} | {against} |")


if __name__ == "__main__":
    main()
