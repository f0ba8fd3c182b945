"""What a process that predicts by several others, and each of these, tell each other."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from multihead.config.settings import RunSettings
from multihead.prediction.stages import Stages
from multihead.prediction.trained import Weights

if TYPE_CHECKING:
    import pandas as pd

    from multihead.data.shards import Part


class Work(NamedTuple):
    """To a child at first: what to predict with, all files, and how many images they hold, as far as is known."""

    weights: Weights
    run: RunSettings
    parts: "Sequence[Part]"
    total_images: int


class Wanted(NamedTuple):
    """From a child that can begin to read another file. may_wait: until there is one, for it has nothing else to do."""

    may_wait: bool


class Assigned(NamedTuple):
    """To a child that wanted it: a file's number, None for none now, and about how many images are left for it.

    is_alone: whether no other child is left.
    """

    file: int | None
    images_left: int
    is_alone: bool


class Problem(NamedTuple):
    """From a child: what it tells of a problem, and of which kind its cause is, "" for none.

    The cause itself could be an exception of a library that the parent has not loaded.
    """

    text: str
    kind: str


class Done(NamedTuple):
    """From a child: the files that it is done with since the last time, the table of the last one, if it has any.

    The others count all that the child has done so far, as those of Predictor do.
    """

    files: Sequence[int]
    table: "pd.DataFrame | None"
    images_attempted: int
    stages: Stages
    passed_over: Sequence[str]
    is_late: bool
