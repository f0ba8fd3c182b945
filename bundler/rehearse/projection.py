"""What the hidden test set would take, from what a rehearsal of the predict kernel took."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bundler.errors import RehearsalError
from bundler.rehearse.events import read_events
from multihead.config import STAGES

LEAST_IMAGES_PER_FILE = 500  # below, a file itself takes longer than its images: the figure is a bound only
LEAST_GROWTH = 100e6  # bytes from one file to the next; what allocators keep of small ones is less


class HiddenTest(NamedTuple):
    """The test set that a submission is scored on.

    images: how many it has, 0 where that is not known. image_bytes: of one image's pixels. minutes: that Kaggle allows
    a submission. enough: how a rehearsal gets as many images as its figures need.
    """

    images: int
    image_bytes: int
    minutes: float
    enough: str


@dataclass(frozen=True)
class Stages:
    """What went through each stage of predicting: images, files, seconds.

    device, images_per_second: where the network was trained, and how fast it answers there; "" and 0 where that is not
    known. hidden: the test set that this is projected to. workers: the processes that shared the files; seconds are
    those of each on average, and images_per_second is of all.
    """

    read_images: int
    files: int
    read_seconds: float
    network_images: int
    network_seconds: float
    device: str
    images_per_second: float
    hidden: HiddenTest
    workers: int = 1

    @property
    def has_small_files(self) -> bool:
        return self.read_images < LEAST_IMAGES_PER_FILE * self.files

    @property
    def reading_minutes(self) -> float:
        """What reading and cropping the hidden test set would take, at the pace of this machine."""
        return self.hidden.images * self.read_seconds / max(1, self.read_images) / 60

    @property
    def network_minutes(self) -> float | None:
        """What the network would take at the pace of the GPU that it was trained on; None where there was none."""
        return (
            self.hidden.images / self.images_per_second / 60
            if self.images_per_second and self.device != "CPU"
            else None
        )


def read_stages(events: Path, hidden: HiddenTest) -> Stages:
    """Return what a predict kernel told of its stages in a file of events; RehearsalError where it told nothing."""
    found = read_events(events, STAGES)
    if not found:
        raise RehearsalError("the kernel ended without telling what its stages took (multihead/commands.py, predict)")
    return Stages(**found[-1], hidden=hidden)


def projection(stages: Stages, budget_minutes: float) -> str:
    """Return the rows of the table that tell what the hidden test set would take, and what it may.

    budget_minutes: the kernel's own time budget; 0 is none. Reading goes on while the network works, so that the longer
    of the two is the least that both take.
    """
    paces = [_pace(stages.read_images, stages.read_seconds), _pace(stages.network_images, stages.network_seconds)]
    limit = _limit(budget_minutes, stages.hidden)
    if not stages.hidden.images:
        words = f"its number of images is not known (hidden_images of the task); at most {limit:g} minutes"
        return f"  read and crop   {paces[0]}\n  network         {paces[1]}\n  hidden test     {words}"
    reading, network = stages.reading_minutes, stages.network_minutes
    bound = "at most " if stages.has_small_files else ""
    hint = f" (so few images in a file say no more: {stages.hidden.enough})" if stages.has_small_files else ""
    if network is not None:
        projected = f"{stages.hidden.images:,} take {network:.1f} minutes on the {stages.device} that it was trained on"
        both = f"{max(reading, network):.1f}"
    else:
        projected = f"network time unknown: {'trained on a CPU' if stages.device else 'not measured in training'}"
        both = f"{bound}{reading:.1f} for reading, network time unknown,"
    return "\n".join(
        [
            f"  read and crop   {paces[0]}; {stages.hidden.images:,} take {bound}{reading:.1f} minutes{hint}",
            f"  network         {paces[1]}; {projected}",
            f"  hidden test     {both} of {limit:g} minutes",
        ]
    )


def check_time(stages: Stages, budget_minutes: float) -> None:
    """Raise RehearsalError for a stage that alone would take longer than the kernel's time budget or Kaggle allows."""
    limit = _limit(budget_minutes, stages.hidden)
    whose = "Kaggle allows" if limit == stages.hidden.minutes else "time_budget_minutes is"
    if stages.reading_minutes > limit and not stages.has_small_files:
        raise RehearsalError(
            f"reading and cropping is too slow: {stages.read_images / stages.read_seconds:.0f} images a second, so "
            f"{stages.reading_minutes:.0f} minutes for the hidden test's {stages.hidden.images:,}; {whose} {limit:g}"
        )
    if stages.network_minutes is not None and stages.network_minutes > limit:
        raise RehearsalError(
            f"the network is too slow: {stages.images_per_second:.0f} images a second on {stages.device}, so "
            f"{stages.network_minutes:.0f} minutes for the hidden test's {stages.hidden.images:,}; {whose} {limit:g}"
        )


def growth_per_file(file_bytes: Sequence[float], stages: Stages) -> float | None:
    """Return by how many bytes memory grows from one test file to the next, at least; None where that can't be told.

    file_bytes: the usual memory from the end of each file to that of the next one. Those count beside which each worker
    read one: the first come while others still begin, and the last two of each have the less. Of small files an
    allocator keeps as much as a leak would.
    """
    steady = file_bytes[stages.workers - 1 : max(0, stages.files - 2 * stages.workers)]
    if len(steady) < 2 or not all(map(math.isfinite, steady)) or _pixel_bytes(stages) < 1.2 * LEAST_GROWTH:
        return None
    return min(after - before for before, after in itertools.pairwise(steady))


def check_growth(growth: float | None, stages: Stages) -> None:
    """Raise RehearsalError where memory grows with each test file by a tenth of its pixels, and by LEAST_GROWTH."""
    if growth is not None and growth > max(LEAST_GROWTH, 0.1 * _pixel_bytes(stages)):
        raise RehearsalError(
            f"memory grows with the rows: by {growth / 1e9:.2f} GB with each file of "
            f"{stages.read_images / stages.files:,.0f} images; is a file's content kept?"
        )


def growth_in_words(growth: float | None, hidden: HiddenTest) -> str:
    """Return the row of the table that tells whether memory grows from one test file to the next."""
    words = f"not judged of so few images ({hidden.enough})" if growth is None else f"{growth / 1e6:+,.0f} MB"
    return f"  with each file  {words}"


def _pixel_bytes(stages: Stages) -> float:
    return stages.hidden.image_bytes * stages.read_images / max(1, stages.files)


def _pace(images: int, seconds: float) -> str:
    return f"{images:,} images in {seconds:.1f} s here, {images / max(seconds, 0.01):,.0f} a second"


def _limit(budget_minutes: float, hidden: HiddenTest) -> float:
    return min(budget_minutes or hidden.minutes, hidden.minutes)
