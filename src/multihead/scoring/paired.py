"""Are other answers to the same images better? The gain in the score, with a 95 % interval by paired bootstrap.

The interval is of the images alone: of another seed it says nothing.

B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile intervals).
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from multihead.config.task import Task
from multihead.scoring.metrics import task_score

DRAWS = 2000
INTERVAL = (2.5, 97.5)  # percent

Answers = Mapping[str, NDArray[np.int64]]  # for each head, class indices of n images


class Gain(NamedTuple):
    """Two scores over the classes present, and the interval of the second less the first."""

    before: float
    after: float
    low: float
    high: float

    @property
    def may_be_chance(self) -> bool:
        """Whether the interval holds 0."""
        return self.low <= 0 <= self.high

    def __str__(self) -> str:
        return f"{self.after - self.before:+.4f} ({self.low:+.4f} to {self.high:+.4f})"


def paired_gain(truth: Answers, before: Answers, after: Answers, task: Task) -> tuple[Gain, dict[str, Gain]]:
    """Return what `after` gains over `before` on the same n images: in the task's score, and in each head's."""
    first, second = (task_score(truth, answers, task) for answers in (before, after))
    gained = {
        head: np.asarray((after[head] == truth[head]).astype(np.int64) - (before[head] == truth[head]))
        for head in task.heads
    }
    of_draws = _of_draws(truth, gained, task)
    low, high = np.percentile(of_draws, INTERVAL, axis=0)
    heads = {
        head: Gain(first.present_heads[head], second.present_heads[head], float(low[place]), float(high[place]))
        for place, head in enumerate(task.heads)
    }
    weights = np.array([task.weight(head) for head in task.heads])
    low, high = np.percentile(of_draws @ weights / weights.sum(), INTERVAL)
    return Gain(first.present_total, second.present_total, float(low), float(high)), heads


def gains(times: NDArray[np.int64], truth: Answers, gained: Answers, task: Task) -> list[float]:
    """Return what each head's score gains in one draw.

    times: int64 (n,), how often each image is drawn. gained: for each head, int64 (n,): 1 where only the second answer
    is right, -1 where only the first is, or 0. Of a macro recall, a class that the draw lacks does not count in it.
    """
    found = []
    for head in task.heads:
        right = times * gained[head]
        if task.score == "accuracy":
            found.append(float(right.sum() / times.sum()))
            continue
        images = np.bincount(truth[head], times)
        is_there = images > 0
        found.append(float((np.bincount(truth[head], right)[is_there] / images[is_there]).mean()))
    return found


def _of_draws(truth: Answers, gained: Answers, task: Task) -> NDArray[np.float64]:
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
