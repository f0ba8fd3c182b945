"""What the hidden test set would take, from what a rehearsal of the predict kernel took."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from bundler.errors import RehearsalError

HIDDEN_IMAGES, HIDDEN_FILES = 211_042, 4
IMAGE_BYTES = 137 * 236
KAGGLE_MINUTES = 120.0  # that the competition allows a GPU kernel
LEAST_IMAGES_PER_FILE = 500  # below, a file's 32,332 columns take longer than its images: the figure is a bound only
LEAST_GROWTH = 32e6  # bytes from one file to the next, which allocators never need

# What the predict kernel says at its end (app.py)
STAGES = re.compile(
    r"stages: read and crop (?P<read>\d+) images of (?P<files>\d+) files in (?P<reading>[\d.]+) s; "
    r"network (?P<answered>\d+) images in (?P<answering>[\d.]+) s"
    r"(?:; trained on (?P<device>.+), where it answers (?P<rate>\d+) images a second)?"
)


@dataclass(frozen=True)
class Stages:
    """What went through each stage: images and seconds. device, rate: where the network was trained, its images/s."""

    read_images: int
    files: int
    read_seconds: float
    network_images: int
    network_seconds: float
    device: str
    rate: float

    @property
    def has_small_files(self) -> bool:
        return self.read_images < LEAST_IMAGES_PER_FILE * self.files

    @property
    def reading_minutes(self) -> float:
        """What reading and cropping the hidden test set would take, at the pace of this machine."""
        return HIDDEN_IMAGES * self.read_seconds / max(1, self.read_images) / 60

    @property
    def network_minutes(self) -> float | None:
        """What the network would take at the pace of the GPU that it was trained on; None where there was none."""
        return HIDDEN_IMAGES / self.rate / 60 if self.rate and self.device != "CPU" else None


def read_stages(log: str) -> Stages:
    """Return what a predict kernel said of its stages; RehearsalError where it said nothing."""
    found = STAGES.search(log)
    if found is None:
        raise RehearsalError("the log has no line that begins with stages: and tells what each stage took")
    return Stages(
        int(found["read"]),
        int(found["files"]),
        float(found["reading"]),
        int(found["answered"]),
        float(found["answering"]),
        found["device"] or "",
        float(found["rate"] or 0),
    )


def projection(stages: Stages, budget_minutes: float) -> str:
    """Return the rows of the table that tell what the hidden test set would take, and what it may.

    budget_minutes: the kernel's own time budget; 0 is none. Reading goes on while the network works, so that the longer
    of the two is the least that both take.
    """
    reading, network = stages.reading_minutes, stages.network_minutes
    bound = "at most " if stages.has_small_files else ""
    hint = " (so few images in a file say no more: --rows 3000 does)" if stages.has_small_files else ""
    if network is not None:
        projected = f"{HIDDEN_IMAGES:,} take {network:.1f} minutes on the {stages.device} that it was trained on"
        both = f"{max(reading, network):.1f}"
    else:
        why = "trained on a CPU" if stages.device else "not measured in training"
        projected, both = f"network time unknown: {why}", f"{bound}{reading:.1f} for reading, network time unknown,"
    return "\n".join(
        [
            f"  read and crop   {_pace(stages.read_images, stages.read_seconds)}; "
            f"{HIDDEN_IMAGES:,} take {bound}{reading:.1f} minutes{hint}",
            f"  network         {_pace(stages.network_images, stages.network_seconds)}; {projected}",
            f"  hidden test     {both} of {_limit(budget_minutes):g} minutes",
        ]
    )


def check_time(stages: Stages, budget_minutes: float) -> None:
    """Raise RehearsalError for a stage that alone would take longer than the kernel's time budget or Kaggle allows."""
    limit = _limit(budget_minutes)
    whose = "Kaggle allows" if limit == KAGGLE_MINUTES else "time_budget_minutes is"
    if stages.reading_minutes > limit and not stages.has_small_files:
        rate = stages.read_images / stages.read_seconds
        raise RehearsalError(
            f"reading and cropping is too slow: {rate:.0f} images a second, so "
            f"{stages.reading_minutes:.0f} minutes for the hidden test's {HIDDEN_IMAGES:,}; {whose} {limit:g}"
        )
    if stages.network_minutes is not None and stages.network_minutes > limit:
        raise RehearsalError(
            f"the network is too slow: {stages.rate:.0f} images a second on {stages.device}, so "
            f"{stages.network_minutes:.0f} minutes for the hidden test's {HIDDEN_IMAGES:,}; {whose} {limit:g}"
        )


def check_growth(file_bytes: Sequence[float], images_per_file: float) -> None:
    """Raise RehearsalError where memory grows from each test file to the next.

    file_bytes: the usual memory between the ends of files of about the same size. Growth is what each step adds, and no
    less than a tenth of the file's pixels; the last file is left out where there are three, for nothing is read beside
    it.
    """
    steady = file_bytes[:-1] if len(file_bytes) > 2 else file_bytes
    steps = [after - before for before, after in itertools.pairwise(steady)]
    if steps and min(steps) > max(LEAST_GROWTH, 0.1 * images_per_file * IMAGE_BYTES):
        told = ", ".join(f"{of / 1e9:.2f}" for of in steady)
        raise RehearsalError(
            f"memory grows with the rows: {told} GB after one file of {images_per_file:,.0f} images and the next; "
            "is a file's content kept?"
        )


def _pace(images: int, seconds: float) -> str:
    return f"{images:,} images in {seconds:.1f} s here, {images / max(seconds, 0.01):,.0f} a second"


def _limit(budget_minutes: float) -> float:
    return min(budget_minutes or KAGGLE_MINUTES, KAGGLE_MINUTES)
