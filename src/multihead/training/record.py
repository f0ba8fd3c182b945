"""What a training keeps of itself for its report: counts, and the few dozens of images that are shown.

It is written with the weights that it tells of, because the crops are gone after a training. It stays a few MB however
large the data is.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from multihead.config.files import RECORD_FILE, REPORT_FOLDER
from multihead.config.settings import ModelSettings
from multihead.config.task import Task
from multihead.data.batches import TrainBatches
from multihead.data.crop import ink_box
from multihead.data.shards import Shard
from multihead.data.thumbnails import Image, in_colour, thumbnail
from multihead.runtime.errors import UserError, first_line
from multihead.runtime.log import log
from multihead.runtime.whole_files import whole_file
from multihead.scoring.metrics import recall_per_class

FORMAT = 1
LONGEST, LONGEST_FULL = 96, 192  # sides of what is kept of a crop and of a full image
PAIRS, EXAMPLES, MISTAKES = 6, 3, 12  # shown for each head
WORST, BINS = 8, 10  # classes that are shown with images; steps of the probability in a calibration
BATCHES, IMAGES_OF_BATCH = 6, 5
BOX_COLOUR = (220, 30, 30)


class HeldOut(NamedTuple):
    """What the network says of the held-out images.

    ids: of n images. truth: for each head, int64 (n,) class indices. probabilities: for each head, float32
    (n, classes), as the score takes them. crop: returns one image's crop, uint8 (h, w, c), by its number.
    """

    ids: Sequence[str]
    truth: Mapping[str, NDArray[np.int64]]
    probabilities: Mapping[str, NDArray[np.float32]]
    crop: Callable[[int], Image]


class Confusion(NamedTuple):
    """How many held-out images of one class were taken for another.

    mistaken, others: numbers in Record.images of some of them, and of some images of that other class.
    """

    truth: int
    answer: int
    images: int
    mistaken: Sequence[int]
    others: Sequence[int]


class Mistake(NamedTuple):
    """A held-out image, by its number in Record.images, whose wrong class got so much probability, its own so much."""

    image: int
    id: str
    truth: int
    answer: int
    probability: float
    of_truth: float


class Worst(NamedTuple):
    """A class with a low recall, and some of its images that were answered wrongly: (number in Record.images, answer).

    The surest answers come first.
    """

    truth: int
    wrong: Sequence[tuple[int, int]]


class Samples(NamedTuple):
    """Some images on their way to the network.

    epoch: the one that the batches are of, from 1. ids, full, crops: of k images of a shard, the full image in colour
    with the box that was cut, uint8 (k, h, w, 3), and the crop, uint8 (k, h, w, c). batches: some images of some
    batches, uint8 (b, i, h, w, c). labels: for each of them, the (class index, share) pairs of the first head.
    """

    epoch: int
    ids: Sequence[str]
    full: Image
    crops: Image
    batches: Image
    labels: Sequence[Sequence[Sequence[tuple[int, float]]]]


@dataclass(frozen=True)
class Record:
    """All that is kept.

    sha256: of the weights that it tells of. run: the settings of the run. counts: for each head, int64 (k, 3): class,
    answer, and the held-out images with both; without held-out images there are no heads in it. worst: for each head,
    the WORST classes with a wrong answer. calibration: for each head, float64 (BINS, 3): of the images whose answer has
    a probability in each tenth from 0 to 1, their number, the sum of these probabilities, and how many are right; no
    heads in both where an earlier version wrote the record. images: uint8 (m, h, w, c). samples: None where no batch
    was made.
    """

    sha256: str
    run: Mapping[str, Any]
    counts: Mapping[str, NDArray[np.int64]]
    confusions: Mapping[str, Sequence[Confusion]]
    mistakes: Mapping[str, Sequence[Mistake]]
    worst: Mapping[str, Sequence[Worst]]
    calibration: Mapping[str, NDArray[np.float64]]
    images: Image
    samples: Samples | None


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
        batch, one_hot = batches[number]
        images.append(_stack([thumbnail(image, LONGEST) for image in batch[:IMAGES_OF_BATCH]]))
        shares = one_hot[head][:IMAGES_OF_BATCH]
        labels.append(
            [[(i, round(float(row[i]), 2)) for i in np.argsort(-row)[:2].tolist() if row[i] >= 0.005] for row in shares]
        )
    return Samples(epoch, list(shard.ids[: len(full)]), _stack(full), _stack(crops), _stack(images), labels)


def make_record(sha256: str, run: Mapping[str, Any], held_out: HeldOut | None, samples: Samples | None) -> Record:
    """Return the record of weights, with the images chosen that a report shows."""
    if held_out is None:
        return Record(sha256, run, {}, {}, {}, {}, {}, _stack([]), samples)
    counts: dict[str, NDArray[np.int64]] = {}
    confusions, mistakes, worst, calibration = {}, {}, {}, {}
    numbers: dict[int, int] = {}  # of a held-out image: its number among those that are kept

    def keep(rows: Any) -> list[int]:
        return [numbers.setdefault(row, len(numbers)) for row in rows.tolist()]

    for head, shares in held_out.probabilities.items():
        truth, answer = held_out.truth[head], shares.argmax(axis=1)
        pairs, images = np.unique(np.stack([truth, answer], 1), axis=0, return_counts=True)
        counts[head] = np.asarray(np.concatenate([pairs, images[:, None]], 1), np.int64)
        sure = np.argsort(-shares[np.arange(len(shares)), answer], kind="stable")
        wrong = sure[truth[sure] != answer[sure]]
        right = sure[truth[sure] == answer[sure]]
        confusions[head] = [
            Confusion(
                *pair,
                keep(wrong[(truth[wrong] == pair[0]) & (answer[wrong] == pair[1])][:EXAMPLES]),
                keep(np.concatenate([rows[truth[rows] == pair[1]] for rows in (right, wrong)])[:EXAMPLES]),
            )
            for pair in most_confused(counts[head])[:PAIRS]
        ]
        mistakes[head] = [
            Mistake(
                number,
                held_out.ids[row],
                int(truth[row]),
                int(answer[row]),
                round(float(shares[row, answer[row]]), 4),
                round(float(shares[row, truth[row]]), 4),
            )
            for number, row in zip(keep(wrong[:MISTAKES]), wrong[:MISTAKES].tolist(), strict=True)
        ]
        recall, images_of = recalls(counts[head], shares.shape[1])
        worst[head] = [
            Worst(i, list(zip(keep(rows := wrong[truth[wrong] == i][:EXAMPLES]), answer[rows].tolist(), strict=True)))
            for i in worst_first(recall, images_of)[:WORST]
            if recall[i] < 1
        ]
        calibration[head] = _calibration(shares.max(axis=1), truth == answer)
    kept = [thumbnail(held_out.crop(row), LONGEST) for row in numbers]
    return Record(sha256, run, counts, confusions, mistakes, worst, calibration, _stack(kept), samples)


def recalls(counts: NDArray[np.int64], classes: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return each class's recall, nan where it has no image, and its images, from Record.counts."""
    truth, answer = np.repeat(counts[:, :2], counts[:, 2], axis=0).T
    return recall_per_class(truth, answer, classes), np.bincount(truth, minlength=classes)


def worst_first(recall: NDArray[np.float64], images: NDArray[np.int64]) -> list[int]:
    """Return the classes with images by their recall; of equal ones, that of the most images first."""
    return [int(i) for i in np.lexsort([-images, recall]) if images[i]]


def _calibration(probabilities: NDArray[np.float32], is_right: NDArray[np.bool_]) -> NDArray[np.float64]:
    places = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
    columns = (None, probabilities.astype(np.float64), is_right.astype(np.float64))
    return np.stack([np.bincount(places, weights, BINS).astype(np.float64) for weights in columns], 1)


def most_confused(counts: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Return of Record.counts the rows of wrong answers, as plain numbers, those of the most images first."""
    wrong = counts[counts[:, 0] != counts[:, 1]]
    return [tuple(row) for row in wrong[np.lexsort([wrong[:, 1], wrong[:, 0], -wrong[:, 2]])].tolist()]


def save_record(folder: Path, record: Record) -> None:
    """Write the record into the report's folder of a working folder, whole or not at all."""
    (folder / REPORT_FOLDER).mkdir(exist_ok=True)
    samples = record.samples
    header = {
        "format": FORMAT,
        "sha256": record.sha256,
        "run": record.run,
        "heads": list(record.counts),
        "confusions": record.confusions,
        "mistakes": record.mistakes,
        "worst": record.worst,
        "calibration": {head: rows.tolist() for head, rows in record.calibration.items()},
        "samples": samples and {"epoch": samples.epoch, "ids": samples.ids, "labels": samples.labels},
    }
    arrays: dict[str, Any] = {
        **{f"counts_{number}": counts for number, counts in enumerate(record.counts.values())},
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
        return Record(
            header["sha256"],
            header["run"],
            {head: stored[f"counts_{number}"] for number, head in enumerate(header["heads"])},
            {head: [Confusion(*row) for row in rows] for head, rows in header["confusions"].items()},
            {head: [Mistake(*row) for row in rows] for head, rows in header["mistakes"].items()},
            {head: [Worst(*row) for row in rows] for head, rows in header.get("worst", {}).items()},
            {head: np.array(rows) for head, rows in header.get("calibration", {}).items()},
            stored["images"],
            samples,
        )


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
