"""Are other answers to the same images better? The gain in the score, with a 95 % interval by paired bootstrap.

The interval is of the images alone: of another seed it says nothing.

B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile intervals).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from multihead.config.scores import score_kind
from multihead.config.task import Task
from multihead.data.targets import is_known
from multihead.scoring.measures import present_of_draw
from multihead.scoring.metrics import task_score

DRAWS = 2000
MEASURED_DRAWS = 300  # of scores that each draw has to be measured anew for
INTERVAL = (2.5, 97.5)  # percent

Answers = Mapping[str, NDArray[Any]]  # for each head, the answers to n images, or what is true of them


class Gain(NamedTuple):
    """Two scores over the classes present, and the interval of what is gained: of a loss, by how much it falls."""

    before: float
    after: float
    low: float
    high: float
    is_loss: bool = False

    @property
    def improvement(self) -> float:
        """By how much the second score is better."""
        return self.before - self.after if self.is_loss else self.after - self.before

    @property
    def may_be_chance(self) -> bool:
        """Whether the interval holds 0."""
        return self.low <= 0 <= self.high

    def __str__(self) -> str:
        return f"{self.improvement:+.4f} ({self.low:+.4f} to {self.high:+.4f})"


def paired_gain(truth: Answers, before: Answers, after: Answers, task: Task) -> tuple[Gain, dict[str, Gain]]:
    """Return what `after` gains over `before` on the same n images: in the task's score, and in each head's.

    truth, before, after: as task_score takes them. A head whose labels are missing in all images of a draw gains
    nothing in it.
    """
    first, second = (task_score(truth, answers, task) for answers in (before, after))
    if task.score in ("accuracy", "macro recall"):
        of_draws = _of_kinds(truth, _gained(truth, before, after, task), task)
    else:
        of_draws = _of_rows(truth, before, after, task)
    is_loss = score_kind(task.score).is_loss
    low, high = np.percentile(of_draws, INTERVAL, axis=0)
    heads = {
        head: Gain(
            first.present_heads[head], second.present_heads[head], float(low[place]), float(high[place]), is_loss
        )
        for place, head in enumerate(task.heads)
    }
    weights = np.array([task.weight(head) for head in task.heads])
    low, high = np.percentile(of_draws @ weights / weights.sum(), INTERVAL)
    return Gain(first.present_total, second.present_total, float(low), float(high), is_loss), heads


def _gained(truth: Answers, before: Answers, after: Answers, task: Task) -> dict[str, NDArray[np.int64]]:
    """Return for each head int64 (n,): 1 where only the second answer is right, -1 where only the first is, or 0."""
    return {
        head: np.asarray((after[head] == truth[head]).astype(np.int64) - (before[head] == truth[head]))
        for head in task.heads
    }


def gains(times: NDArray[np.int64], truth: Answers, gained: Answers, task: Task) -> list[float]:
    """Return what each head's score gains in one draw, of accuracy or macro recall.

    times: int64 (n,), how often each image is drawn. gained: for each head, int64 (n,): 1 where only the second answer
    is right, -1 where only the first is, or 0. Of a macro recall, a class that the draw lacks does not count in it.
    """
    found = []
    for head in task.heads:
        known = is_known(truth[head])
        drawn = times[known]
        right = drawn * gained[head][known]
        if not drawn.any():
            found.append(0.0)
            continue
        if task.score == "accuracy":
            found.append(float(right.sum() / drawn.sum()))
            continue
        images = np.bincount(truth[head][known], drawn)
        is_there = images > 0
        found.append(float((np.bincount(truth[head][known], right)[is_there] / images[is_there]).mean()))
    return found


def _of_rows(truth: Answers, before: Answers, after: Answers, task: Task) -> NDArray[np.float64]:
    """Return float64 (MEASURED_DRAWS, heads): the gains of draws of rows, each measured as a whole."""
    images, rng = len(next(iter(truth.values()))), np.random.default_rng(0)
    sign = -1.0 if score_kind(task.score).is_loss else 1.0

    def gain(head: str, rows: NDArray[np.int64]) -> float:
        rows = rows[is_known(truth[head][rows])]
        if not len(rows):
            return 0.0
        first, second = (
            present_of_draw(task.score, truth[head][rows], answers[head][rows], len(task.heads[head]))
            for answers in (before, after)
        )
        return sign * (second - first)

    drawn = (rng.integers(0, images, images) for _ in range(MEASURED_DRAWS))
    return np.array([[gain(head, rows) for head in task.heads] for rows in drawn])


def _of_kinds(truth: Answers, gained: Answers, task: Task) -> NDArray[np.float64]:
    """Return float64 (DRAWS, heads): the gains of draws of as many images as there are, with repetition.

    Images with the same classes and gains in all heads are of one kind, and counted together: kinds are fewer.
    """
    rows = np.stack([*(truth[head] for head in task.heads), *(gained[head] for head in task.heads)], axis=1)
    kinds, kind = np.unique(rows, axis=0, return_inverse=True)
    kind = kind.reshape(-1)  # NumPy 2.0 has it (n, 1)
    of_kinds = dict(zip(task.heads, kinds.T[: len(task.heads)], strict=True))
    gained_of_kinds = dict(zip(task.heads, kinds.T[len(task.heads) :], strict=True))
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(DRAWS):
        times = np.bincount(kind[rng.integers(0, len(rows), len(rows))], minlength=len(kinds))
        draws.append(gains(times, of_kinds, gained_of_kinds, task))
    return np.array(draws)
