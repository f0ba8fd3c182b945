"""Two sets of answers to the same images: the paired gain, and the images that changed.

Of a study, the cross-fitted answers; of a training, those to the images that it held out; or a submission whose truth
is known.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bundler.study.study import read_study
from bundler.study.trial import TRIAL_FILE, read_state
from multihead.config.files import OUT_OF_FOLD_FILE
from multihead.config.manifest import read_manifest
from multihead.config.scores import NUMBERS, PROBABILITY, ranked_classes, score_name
from multihead.config.task import Label, Task
from multihead.data.answers import cells_of
from multihead.data.targets import is_known
from multihead.prediction.deciding import decided
from multihead.prediction.trained import own_calibration
from multihead.runtime.errors import UserError
from multihead.runtime.text_files import read_text
from multihead.runtime.whole_files import whole_file
from multihead.scoring.evaluation import read_both, refuse_unlabelled
from multihead.scoring.out_of_fold import OutOfFold, read_out_of_fold
from multihead.scoring.paired import Gain, paired_gain
from multihead_study.answers import ANSWERS_FILE, CHOICES_FILE

SHOWN = 8


class Truth(NamedTuple):
    """What is true of the images of submissions: their task, and the file or folder that multihead evaluate takes."""

    path: Path
    task: Task


class Answered(NamedTuple):
    """The answers to n images, and what is true of them, for each head, as task_score takes them.

    ids: of the images. chosen: what was chosen on these very images, in words, "" for nothing.
    """

    task: Task
    ids: Sequence[str]
    truth: Mapping[str, NDArray[Any]]
    answers: Mapping[str, NDArray[Any]]
    chosen: str = ""


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
    """Two sets of answers to the same images.

    name: of the score. gain: in it; heads: in each head's. changes: an entry per image and head that is answered
    otherwise, of class labels; probabilities and numbers have none. notes: what a person has to know to read the gain.
    is_same: whether all answers are.
    """

    name: str
    images: int
    gain: Gain
    heads: Mapping[str, Gain]
    changes: Sequence[Change]
    notes: Sequence[str]
    is_same: bool

    def lines(self) -> Iterator[str]:
        """Yield what a person reads of it."""
        less = ", less is better" if self.gain.is_loss else ""
        yield f"{self.name} {_scores(self.gain)} on {self.images:,} images that both answered{less}"
        yield f"gain {_with_interval(self.gain)}: {self._in_words}"
        yield from self.notes
        for head, gain in self.heads.items():
            changes = [change for change in self.changes if change.head == head]
            right, wrong = sum(change.is_gain for change in changes), sum(change.is_loss for change in changes)
            scores = f"{_scores(gain)}, gain {_with_interval(gain)}; " if len(self.heads) > 1 else ""
            counted = f"{len(changes):,} answers changed"
            counted += f", {right:,} to right, {wrong:,} to wrong" if not ranked_classes(self.name) else ""
            yield f"  {head}: {scores}{counted if changes or self.is_same else 'numbers changed'}"
        for change in self.changes[:SHOWN]:
            yield f"  {change.id} {change.head} {change.truth}: {change.before} -> {change.after}"
        if len(self.changes) > SHOWN:
            yield f"  ... {len(self.changes):,} in all"

    @property
    def _in_words(self) -> str:
        if self.is_same:
            return "the answers are the same"
        if self.gain.may_be_chance:
            return "it may be chance, for the interval holds 0"
        return f"more than chance; the {'second' if self.gain.low > 0 else 'first'} is better on such images"


def compare(before: Path, after: Path, changed: Path | None = None, truth: Truth | None = None) -> Compared:
    """Return how two folders' or submissions' answers compare.

    changed: a CSV file to write every change to. truth: of submissions. Raises UserError where they are of different
    tasks, have no image in common, or contradict each other on one.
    """
    first, second = read_answered(before, truth), read_answered(after, truth)
    for key in ("heads", "kinds", "answer", "score", "score_weights"):
        if getattr(first.task, key) != getattr(second.task, key):
            raise UserError(f"{after}: is of another task than {before}, with other {key}")
    ids = pd.Index(first.ids).intersection(pd.Index(second.ids), sort=False)
    if not len(ids):
        raise UserError(f"{after}: answers none of the images that {before} does")
    pair = _of_images(first, ids), _of_images(second, ids)
    for head in first.task.heads:
        if not np.array_equal(pair[0].truth[head], pair[1].truth[head], equal_nan=first.task.kind(head) == "number"):
            raise UserError(f"{after}: has other {head} labels of the same images than {before}")
    refuse_unlabelled(pair[0].truth, f"{before} and {after}")
    compared = _compared(*pair, list(_notes({before: first, after: second})))
    if changed:
        _write(changed, compared.changes)
    return compared


def read_answered(path: Path, truth: Truth | None = None) -> Answered:
    """Return the answers of a study or a training by its folder, or of a submission, which needs its truth.

    A training's have its own prior exponents divided out.
    """
    if path.is_file():
        return _read_submission(path, truth)
    if (path / ANSWERS_FILE).is_file():
        return _answered(_task_of_study(path), read_out_of_fold(path / ANSWERS_FILE))
    if not (path / OUT_OF_FOLD_FILE).is_file():
        files = f"no {ANSWERS_FILE} of a finished study and no {OUT_OF_FOLD_FILE} of a training that held images out"
        raise UserError(f"{path}: {files}")
    manifest, found = read_manifest(path), read_out_of_fold(path / OUT_OF_FOLD_FILE)
    if found.sha256 != manifest.sha256:
        raise UserError(f"{path / OUT_OF_FOLD_FILE}: is not of the weights beside it")
    calibration, task = own_calibration(manifest), manifest.task
    adjusted = calibration.heads_alone(found.probabilities, manifest.train_counts, task.kinds)
    chosen = [] if (path / TRIAL_FILE).is_file() else ["epoch"]  # a trial saves its last one
    chosen += ["prior exponents"] if any(manifest.prior_exponents.values()) else []
    chosen += [key.replace("_", " ") for key in ("temperatures", "thresholds", "cut_points") if getattr(manifest, key)]
    answers = calibration.decided(adjusted, task)
    return Answered(task, found.ids, found.truth, answers, " and ".join(chosen))


def _read_submission(path: Path, truth: Truth | None) -> Answered:
    if truth is None:
        raise UserError(f"{path}: a file; of a submission --truth is needed, of a training or a study its folder")
    graded = read_both(path, truth.path, truth.task)
    return Answered(truth.task, graded.ids, graded.truth, graded.answers)


def _task_of_study(folder: Path) -> Task:
    """Return the task of a study's first finished trial; UserError where there is none."""
    for path in sorted(folder.glob(f"*/{TRIAL_FILE}")):
        if read_state(path).is_finished:
            return read_manifest(path.parent).task
    raise UserError(f"{folder}: no finished trial beside its {ANSWERS_FILE}")


def _answered(task: Task, found: OutOfFold) -> Answered:
    return Answered(task, found.ids, found.truth, found.answers or decided(found.probabilities, task))


def _notes(both: Mapping[Path, Answered]) -> Iterator[str]:
    """Yield what makes a score too high: one that both share does so to the gain by less."""
    for path, answered in both.items():
        if answered.chosen:
            yield f"{path}: its {answered.chosen} were chosen on the images that it held out, which flatters it"
    studies = {path: read_study(path) for path in both if (path / ANSWERS_FILE).is_file()}
    for path, study in studies.items():
        if (joined := _folds_joined(path)) < study.folds:
            fewer = "all was chosen on the images of these, and train's combinations are not used"
            yield f"{path}: {joined} of {study.folds} folds; {fewer}"
    columns = [study.group_column or "none" for study in studies.values()]
    if len(set(columns)) > 1:
        yield f"folds drawn differently (group_column {', '.join(columns)}): the scores answer different questions"


def _folds_joined(study: Path) -> int:
    """Return of how many folds a study's answers are; UserError where it does not tell."""
    try:
        return len(json.loads(read_text(study / CHOICES_FILE))["folds"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        rule = "the same cross-validate joins it anew"
        raise UserError(f"{study / CHOICES_FILE}: missing or damaged ({error!r}); {rule}") from error


def _of_images(answered: Answered, ids: pd.Index) -> Answered:
    rows = pd.Index(answered.ids).get_indexer(ids)
    truth, answers = ({head: of_head[rows] for head, of_head in part.items()} for part in answered[2:4])
    return Answered(answered.task, ids.tolist(), truth, answers)


def _compared(first: Answered, second: Answered, notes: Sequence[str]) -> Compared:
    """Return the comparison of two answers to the same images in the same order."""
    task = first.task
    whole, heads = paired_gain(first.truth, first.answers, second.answers, task)
    is_same = all(np.array_equal(first.answers[head], second.answers[head]) for head in task.heads)
    return Compared(score_name(task.score), len(first.ids), whole, heads, _changes(first, second), notes, is_same)


def _changes(first: Answered, second: Answered) -> list[Change]:
    """Return each answer of class labels that is another."""
    task = first.task
    if task.answer in (PROBABILITY, NUMBERS):
        return []
    before, after = (cells_of(one.answers, task) for one in (first, second))
    return [
        Change(
            first.ids[row], head, _true(first.truth[head][row], classes), str(before[head][row]), str(after[head][row])
        )
        for head, classes in task.heads.items()
        for row in np.flatnonzero((before[head] != after[head]) & is_known(first.truth[head])).tolist()
    ]


def _true(truth: Any, classes: Sequence[Label]) -> str:
    """Return what is true of an image as it would be answered, "" where it is missing."""
    indices = np.flatnonzero(truth > 0).tolist() if np.ndim(truth) else [int(truth)] if truth >= 0 else []
    return " ".join(str(classes[index]) for index in indices)


def _scores(gain: Gain) -> str:
    return f"{gain.before:.4f} -> {gain.after:.4f}"


def _with_interval(gain: Gain) -> str:
    return f"{gain.improvement:+.4f} (95 % interval {gain.low:+.4f} to {gain.high:+.4f})"


def _write(path: Path, changes: Sequence[Change]) -> None:
    with whole_file(path) as new, new.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Change._fields)
        writer.writerows(changes)
