"""Two studies or two trials on the images that both answered: the paired gain, and the images that changed."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bundler.study.trial import TRIAL_FILE
from multihead.config.files import OUT_OF_FOLD_FILE
from multihead.config.manifest import read_manifest
from multihead.config.task import Task
from multihead.prediction.logit_adjustment import adjusted_heads
from multihead.runtime.errors import UserError
from multihead.runtime.whole_files import whole_file
from multihead.scoring.metrics import MEASURES, task_score
from multihead.scoring.out_of_fold import OutOfFold, read_out_of_fold
from multihead_study.answers import ANSWERS_FILE

DRAWS, SHOWN = 2000, 8
INTERVAL = (2.5, 97.5)  # percent

Indices = NDArray[np.int64]


class Answered(NamedTuple):
    """The class indices of n images, int64 (n,) per head: what they are and what was answered. ids: of the images."""

    task: Task
    ids: Sequence[str]
    truth: Mapping[str, Indices]
    answers: Mapping[str, Indices]


class Change(NamedTuple):
    """An image that is answered otherwise: its head, and its class labels, true and answered before and after."""

    id: str
    head: str
    truth: str
    before: str
    after: str

    @property
    def is_gain(self) -> bool:
        return self.after == self.truth

    @property
    def is_loss(self) -> bool:
        return self.before == self.truth


class Compared(NamedTuple):
    """Two sets of answers to the same n images.

    before, after: their scores. interval: of after - before, from the bootstrap over images. changes: an entry per
    image and head that is answered otherwise.
    """

    name: str
    images: int
    before: float
    after: float
    interval: tuple[float, float]
    changes: Sequence[Change]

    def lines(self) -> Iterator[str]:
        """Yield what a person reads of it."""
        low, high = self.interval
        yield f"{self.name} {self.before:.4f} -> {self.after:.4f} on {self.images:,} images that both answered"
        yield f"gain {self.after - self.before:+.4f} (95 % interval {low:+.4f} to {high:+.4f})"
        heads = dict.fromkeys(change.head for change in self.changes)
        for head in heads:
            of_head = [change for change in self.changes if change.head == head]
            gains, losses = sum(c.is_gain for c in of_head), sum(c.is_loss for c in of_head)
            yield f"  {head}: {len(of_head):,} answers changed, {gains:,} to right, {losses:,} to wrong"
        for change in self.changes[:SHOWN]:
            yield f"  {change.id} {change.head} {change.truth}: {change.before} -> {change.after}"
        if len(self.changes) > SHOWN:
            yield f"  ... {len(self.changes):,} in all"


def compare(before: Path, after: Path, changed: Path | None = None) -> Compared:
    """Return how two folders' answers compare. changed: a CSV file to write every change to.

    Raises UserError where they are of different tasks, have no image in common, or contradict each other on one.
    """
    first, second = read_answered(before), read_answered(after)
    if first.task.heads != second.task.heads or first.task.score != second.task.score:
        raise UserError(f"{after}: is of another task than {before}")
    ids = pd.Index(first.ids).intersection(pd.Index(second.ids), sort=False)
    if not len(ids):
        raise UserError(f"{after}: answers none of the images that {before} does")
    pair = [_of_images(answered, ids) for answered in (first, second)]
    for head in first.task.heads:
        if not np.array_equal(pair[0].truth[head], pair[1].truth[head]):
            raise UserError(f"{after}: has other {head} labels of the same images than {before}")
    compared = _compared(*pair)
    if changed:
        _write(changed, compared.changes)
    return compared


def read_answered(folder: Path) -> Answered:
    """Return what the answers in a folder are: cross-fitted where it is a study, by its own exponents where a trial."""
    if (folder / ANSWERS_FILE).is_file():
        trial = next(folder.glob(f"*/{TRIAL_FILE}")).parent
        return _likeliest(read_manifest(trial).task, read_out_of_fold(folder / ANSWERS_FILE))
    if not (folder / OUT_OF_FOLD_FILE).is_file():
        files = f"no {ANSWERS_FILE} of a finished study and no {OUT_OF_FOLD_FILE} of one of its trials"
        raise UserError(f"{folder}: {files}")
    manifest, found = read_manifest(folder), read_out_of_fold(folder / OUT_OF_FOLD_FILE)
    adjusted = adjusted_heads(found.probabilities, manifest.train_counts, manifest.prior_exponents)
    return _likeliest(manifest.task, found._replace(probabilities=adjusted))


def _likeliest(task: Task, answers: OutOfFold) -> Answered:
    likeliest = {head: rows.argmax(axis=1) for head, rows in answers.probabilities.items()}
    return Answered(task, answers.ids, answers.truth, likeliest)


def _of_images(answered: Answered, ids: pd.Index) -> Answered:
    rows = pd.Index(answered.ids).get_indexer(ids)
    truth, answers = ({head: of_head[rows] for head, of_head in part.items()} for part in answered[2:])
    return Answered(answered.task, ids.tolist(), truth, answers)


def _compared(first: Answered, second: Answered) -> Compared:
    """Return the comparison of two answers to the same images in the same order."""
    task = first.task
    scores = [task_score(first.truth, answered.answers, task).present_total for answered in (first, second)]
    changes = [
        Change(
            first.ids[row], head, *(str(classes[of[head][row]]) for of in (first.truth, first.answers, second.answers))
        )
        for head, classes in task.heads.items()
        for row in np.flatnonzero(first.answers[head] != second.answers[head]).tolist()
    ]
    low, high = np.percentile(gains(first, second), INTERVAL).tolist()
    return Compared(MEASURES[task.score][0], len(first.ids), scores[0], scores[1], (low, high), changes)


def gains(first: Answered, second: Answered, draws: int = DRAWS) -> NDArray[np.float64]:
    """Return float64 (draws,): the gain of the second's score on images drawn anew, with repetition, from them all.

    A class that a draw lacks does not count in its macro recall.
    """
    task, rng = first.task, np.random.default_rng(0)
    weights = {head: task.weight(head) / sum(map(task.weight, task.heads)) for head in task.heads}
    found = np.zeros(draws)
    for draw in range(draws):
        times = np.bincount(rng.integers(0, len(first.ids), len(first.ids)), minlength=len(first.ids)).astype(float)
        for head, weight in weights.items():
            truth = first.truth[head]
            better = (second.answers[head] == truth).astype(float) - (first.answers[head] == truth)
            if task.score == "accuracy":
                found[draw] += weight * (times @ better) / len(truth)
                continue
            images = np.bincount(truth, times)
            of_class = np.bincount(truth, times * better)
            found[draw] += weight * (of_class[images > 0] / images[images > 0]).mean()
    return found


def _write(path: Path, changes: Sequence[Change]) -> None:
    with whole_file(path) as new, new.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Change._fields)
        writer.writerows(changes)
