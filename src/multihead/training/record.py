"""What a training keeps of itself for its report: counts, and the few dozens of images that are shown.

It is written with the weights that it tells of, because the crops are gone after a training. It stays a few MB however
large the data is.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from multihead.config.files import RECORD_FILE, REPORT_FOLDER
from multihead.config.model_settings import ModelSettings
from multihead.config.scores import LABEL, LABELS, Kind
from multihead.config.task import Task
from multihead.data.batches import TrainBatches
from multihead.data.crop import ink_box
from multihead.data.shards import Shard
from multihead.data.targets import is_known
from multihead.data.thumbnails import Image, in_colour, thumbnail
from multihead.prediction.deciding import THRESHOLD
from multihead.runtime.errors import UserError, first_line
from multihead.runtime.log import log
from multihead.runtime.whole_files import whole_file
from multihead.training.head_records import (
    Confusion,
    Mistake,
    NumberMistake,
    Numbers,
    SetMistake,
    Sets,
    Worst,
    WorstOfSets,
    of_classes,
    of_numbers,
    of_sets,
)

FORMAT = 1
LONGEST, LONGEST_FULL = 96, 192  # sides of what is kept of a crop and of a full image
BATCHES, IMAGES_OF_BATCH = 6, 5
MOST_SHOWN, LEAST_SHARE = 6, 0.005  # of the classes of an image of a batch
BOX_COLOUR = (220, 30, 30)


class HeldOut(NamedTuple):
    """What the network says of the held-out images.

    ids: of n images. truth: for each head, (n, ...) as targets.py has it. probabilities: for each head, float32
    (n, width), as the score takes them. crop: returns one image's crop, uint8 (h, w, c), by its number. answers: for
    each head, what is scored.
    """

    ids: Sequence[str]
    truth: Mapping[str, NDArray[Any]]
    probabilities: Mapping[str, NDArray[np.float32]]
    crop: Callable[[int], Image]
    task: Task
    answers: Mapping[str, NDArray[Any]]


class Samples(NamedTuple):
    """Some images on their way to the network.

    epoch: the one that the batches are of, from 1. ids, full, crops: of k images of a shard, the full image in colour
    with the box that was cut, uint8 (k, h, w, 3), and the crop, uint8 (k, h, w, c). batches: some images of some
    batches, uint8 (b, i, h, w, c). labels: for each of them, the (class index, share) pairs of the first head, or
    (0, number); None where it has no label.
    """

    epoch: int
    ids: Sequence[str]
    full: Image
    crops: Image
    batches: Image
    labels: Sequence[Sequence[Sequence[tuple[int, float]] | None]]


@dataclass(frozen=True)
class Record:
    """All that is kept.

    sha256: of the weights that it tells of. run: the settings of the run. held_out: how many images. counts: for each
    head of one class an image, int64 (k, 3): class, answer, and the held-out images with both; without held-out images
    there are no heads in it. worst: for each of these heads, the WORST classes with a wrong answer. calibration: for
    each head of classes, float64 (BINS, 3): of the answers with a probability in each tenth from 0 to 1 (of several
    classes an image, of all of these), their number, the sum of these probabilities, and how many are right; no heads
    in both where an earlier version wrote the record. images: uint8 (m, h, w, c). samples: None where no batch was
    made. sets, numbers: of the heads of several classes an image, and of numbers.
    """

    sha256: str
    run: Mapping[str, Any]
    held_out: int
    counts: Mapping[str, NDArray[np.int64]]
    confusions: Mapping[str, Sequence[Confusion]]
    mistakes: Mapping[str, Sequence[Mistake]]
    worst: Mapping[str, Sequence[Worst]]
    calibration: Mapping[str, NDArray[np.float64]]
    images: Image
    samples: Samples | None
    sets: Mapping[str, Sets] = field(default_factory=dict)
    numbers: Mapping[str, Numbers] = field(default_factory=dict)


@contextmanager
def no_harm(what: str) -> Iterator[None]:
    """Make of any failure one line of warning: a report is not worth a training."""
    try:
        yield
    except Exception as error:
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        log.warning(f"no {what} ({kind}{first_line(error)})")


def take_samples(
    batches: TrainBatches, shard: Shard, first_full: Image, task: Task, model: ModelSettings, epoch: int
) -> Samples:
    """Return samples of an epoch's batches, and of a stored shard whose first images in full are first_full."""
    full = [_with_box(image, task, model) for image in first_full]
    crops = [thumbnail(np.asarray(image), LONGEST) for image in shard.images[: len(full)]]
    head = next(iter(task.heads))
    images, labels = [], []
    for number in range(min(BATCHES, len(batches))):
        batch, targets = batches[number]
        images.append(_stack([thumbnail(image, LONGEST) for image in batch[:IMAGES_OF_BATCH]]))
        labels.append([_shown_label(row, task.kind(head)) for row in targets[head][:IMAGES_OF_BATCH]])
    return Samples(epoch, list(shard.ids[: len(full)]), _stack(full), _stack(crops), _stack(images), labels)


def _shown_label(targets: NDArray[np.float32], kind: Kind) -> list[tuple[int, float]] | None:
    """Return what Samples.labels has of one image, from its targets of a head, float32 (outputs,)."""
    if not np.isfinite(targets).all():
        return None
    if kind == "number":
        return [(0, float(targets[0]))]
    shares = -np.diff(targets, prepend=1, append=0) if kind == "ordinal" else targets
    most = MOST_SHOWN if kind == "sigmoid" else 2
    likeliest = np.argsort(-shares, kind="stable")[:most].tolist()
    return [(i, round(float(shares[i]), 2)) for i in likeliest if shares[i] >= LEAST_SHARE]


def make_record(sha256: str, run: Mapping[str, Any], held_out: HeldOut | None, samples: Samples | None) -> Record:
    """Return the record of weights, with the images chosen that a report shows."""
    if held_out is None:
        return Record(sha256, run, 0, {}, {}, {}, {}, {}, _stack([]), samples)
    one, sets, of_number = {}, {}, {}
    calibration: dict[str, NDArray[np.float64]] = {}
    chosen: dict[int, int] = {}  # of a held-out image: its number among those that are kept

    def keep(rows: Any) -> list[int]:
        return [chosen.setdefault(row, len(chosen)) for row in rows.tolist()]

    task, ids = held_out.task, held_out.ids
    for head, shares in held_out.probabilities.items():
        truth, answers = held_out.truth[head], held_out.answers[head]
        if not is_known(truth).any():
            continue
        if task.kind(head) == "number":
            of_number[head] = of_numbers(truth, answers, ids, keep)
        elif task.kind(head) == "sigmoid":
            answers = answers if task.answer == LABELS else shares > THRESHOLD
            sets[head], calibration[head] = of_sets(truth, answers, shares, ids, task, keep)
        else:
            answers = answers if task.answer == LABEL else shares.argmax(axis=1)
            one[head] = of_classes(truth, answers, shares, ids, keep)
            calibration[head] = one[head].calibration
    return Record(
        sha256,
        run,
        len(ids),
        {head: kept.counts for head, kept in one.items()},
        {head: kept.confusions for head, kept in one.items()},
        {head: kept.mistakes for head, kept in one.items()},
        {head: kept.worst for head, kept in one.items()},
        calibration,
        _stack([thumbnail(held_out.crop(row), LONGEST) for row in chosen]),
        samples,
        sets,
        of_number,
    )


def save_record(folder: Path, record: Record) -> None:
    """Write the record into the report's folder of a working folder, whole or not at all."""
    (folder / REPORT_FOLDER).mkdir(exist_ok=True)
    samples = record.samples
    header = {
        "format": FORMAT,
        "sha256": record.sha256,
        "run": record.run,
        "held_out": record.held_out,
        "heads": list(record.counts),
        "confusions": record.confusions,
        "mistakes": record.mistakes,
        "worst": record.worst,
        "calibration": {head: rows.tolist() for head, rows in record.calibration.items()},
        "sets": {head: kept._asdict() | {"classes": None} for head, kept in record.sets.items()},
        "numbers": record.numbers,
        "samples": samples and {"epoch": samples.epoch, "ids": samples.ids, "labels": samples.labels},
    }
    arrays: dict[str, Any] = {
        **{f"counts_{number}": counts for number, counts in enumerate(record.counts.values())},
        **{f"classes_{number}": kept.classes for number, kept in enumerate(record.sets.values())},
        "images": record.images,
        **({"full": samples.full, "crops": samples.crops, "batches": samples.batches} if samples else {}),
    }
    with whole_file(folder / REPORT_FOLDER / RECORD_FILE) as new, new.open("wb") as file:
        np.savez_compressed(file, told=np.array(json.dumps(header)), **arrays)


def copy_record(source: Path, folder: Path) -> None:
    """Copy a record, if there is one, from one working folder into another."""
    if (source / REPORT_FOLDER / RECORD_FILE).is_file():
        (folder / REPORT_FOLDER).mkdir(exist_ok=True)
        with whole_file(folder / REPORT_FOLDER / RECORD_FILE) as new:
            shutil.copyfile(source / REPORT_FOLDER / RECORD_FILE, new)


def read_record(folder: Path) -> Record:
    """Return the record in a working folder; UserError where there is none, or a damaged one."""
    with _stored(folder) as (header, stored):
        samples = header["samples"] and Samples(
            full=stored["full"], crops=stored["crops"], batches=stored["batches"], **header["samples"]
        )
        counts = {head: stored[f"counts_{number}"] for number, head in enumerate(header["heads"])}
        return Record(
            header["sha256"],
            header["run"],
            header.get("held_out", sum(int(rows[:, 2].sum()) for rows in list(counts.values())[:1])),
            counts,
            {head: [Confusion(*row) for row in rows] for head, rows in header["confusions"].items()},
            {head: [Mistake(*row) for row in rows] for head, rows in header["mistakes"].items()},
            {head: [Worst(*row) for row in rows] for head, rows in header.get("worst", {}).items()},
            {head: np.array(rows) for head, rows in header.get("calibration", {}).items()},
            stored["images"],
            samples,
            {
                head: _sets(row, stored[f"classes_{number}"])
                for number, (head, row) in enumerate(header.get("sets", {}).items())
            },
            {head: _numbers(row) for head, row in header.get("numbers", {}).items()},
        )


def _sets(row: Mapping[str, Any], classes: NDArray[np.float64]) -> Sets:
    kept = Sets(**row)
    mistakes, worst = [SetMistake(*one) for one in kept.mistakes], [WorstOfSets(*one) for one in kept.worst]
    return kept._replace(classes=classes, mistakes=mistakes, worst=worst)


def _numbers(row: Sequence[Any]) -> Numbers:
    kept = Numbers(*row)
    return kept._replace(mistakes=[NumberMistake(*one) for one in kept.mistakes])


def read_run_settings(folder: Path) -> dict[str, Any]:
    """Return the settings of the run from the record in a working folder, without reading its images.

    Raises UserError as read_record does.
    """
    with _stored(folder) as (header, _):
        return dict(header["run"])


@contextmanager
def _stored(folder: Path) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Give the header and the arrays of a record; UserError where it is not there, or what is made of them fails."""
    path = folder / REPORT_FOLDER / RECORD_FILE
    try:
        with path.open("rb") as file, np.load(file) as stored:
            header = json.loads(str(stored["told"]))
            if header["format"] != FORMAT:
                raise ValueError(f"format {header['format']}; this version reads format {FORMAT}")
            yield header, stored
    except FileNotFoundError as error:
        raise UserError(f"{path}: not there; a training leaves it with its weights") from error
    except Exception as error:  # a damaged archive makes zipfile, zlib and numpy raise many kinds
        raise UserError(f"{path}: not a readable record ({error})") from error


def _with_box(image: Image, task: Task, model: ModelSettings) -> Image:
    """Return a full image, small and in colour, with the box of its ink where that is what is cut."""
    small = thumbnail(image, LONGEST_FULL)
    shown = np.ascontiguousarray(in_colour(small))
    if model.crop_of(task) != "none":
        rows, columns = ink_box(image[:, :, 0], task.dark_ink)
        (top, bottom, _), (left, right, _) = rows.indices(image.shape[0]), columns.indices(image.shape[1])
        scale = len(small) / len(image)
        first, last = [(round(x * scale), round(y * scale)) for x, y in ((left, top), (right - 1, bottom - 1))]
        cv2.rectangle(shown, first, last, BOX_COLOUR)
    return shown


def _stack(images: Sequence[Image]) -> Image:
    return np.stack(images) if len(images) else np.zeros((0, 1, 1, 1), np.uint8)
