"""Test files to class labels, one shard at a time."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.augmentation import Augment
from multihead.crop_store import crops_ahead
from multihead.errors import OutOfTimeError
from multihead.generator import Draw, random_for
from multihead.progress import Pace, Stage, elapsed, say
from multihead.settings import ModelSettings, RunSettings
from multihead.shards import Part, Shard
from multihead.tasks import Task

MEASURED_BATCHES, MEASURED_SECONDS = 20, 2.0

Images = NDArray[np.uint8]
Crops = Mapping[tuple[tuple[int, int], str], Images]  # by ModelSettings.crops_of
Probabilities = dict[str, NDArray[np.float32]]


def predict_probabilities(
    network: Any,
    images: Images,
    batch_size: int,
    deadline: float = math.inf,
    change: Callable[[Images, int], Images] | None = None,
) -> Probabilities:
    """Return {head: float32 (n, classes)} for uint8 crops (n, height, width, c).

    Every batch has the same shape, the last one padded and cut, so the network is compiled once. Where the next
    batch, as long as the longest so far, would end after the deadline, in seconds since the process started, n is
    what was done by then; the first batch is always begun.
    change: is given each batch and its number, and returns what the network sees in its place.
    """
    parts: list[Probabilities] = []
    pace, longest = Pace(10), 0.0
    for number, start in enumerate(range(0, len(images) or 1, batch_size)):
        begun = elapsed()
        batch = np.asarray(images[start : start + batch_size])
        seen = change(batch, number) if change else batch
        padded = np.concatenate([seen, np.zeros((batch_size - len(batch), *batch.shape[1:]), np.uint8)])
        answers = network.predict_on_batch(padded)
        parts.append({head: np.asarray(of)[: len(batch)] for head, of in answers.items()})
        longest = max(longest, elapsed() - begun)
        if elapsed() + longest > deadline:
            break
        if pace.is_due():
            say(f"  {start + len(batch)} of {len(images)} images predicted")
    return {head: np.concatenate([part[head] for part in parts]) for head in parts[0]}


def images_per_second(network: Any, images: Images, batch_size: int) -> float:
    """Return how many crops the network answers in a second, measured on batches of some of `images` (n, ...), n >= 1.

    The first batch, which may have to compile it, does not count; the others are MEASURED_BATCHES, fewer where they
    take more than MEASURED_SECONDS.
    """
    batch = np.asarray(images)[np.arange(batch_size) % len(images)]
    network.predict_on_batch(batch)
    started, batches, seconds = time.perf_counter(), 0, 0.0
    while batches < MEASURED_BATCHES and seconds < MEASURED_SECONDS:
        network.predict_on_batch(batch)
        batches += 1
        seconds = time.perf_counter() - started
    return batches * batch_size / seconds


def jitter(augment: Augment, seed: int, copy: int, file: int = 0) -> Callable[[Images, int], Images]:
    """Return what makes a test-time copy of a batch, by its number."""

    def jittered(images: Images, batch: int) -> Images:
        return augment(images, random_for(seed, Draw.TEST_COPY, copy, file, batch))

    return jittered


class Member(NamedTuple):
    """One of the networks whose answers are averaged, what is done to its probabilities before, and its copies.

    model: whose crops it takes. augment: what makes a test-time copy; None where there are none.
    """

    network: Any
    model: ModelSettings
    adjust: Callable[[Probabilities], Probabilities]
    augment: Augment | None = None


class Predictor:
    """Predicts a competition's test files within the time budget.

    total_images: how many are to be predicted, as far as is known.
    on_problem is told of a file that cannot be read and of images that get no answer; if it returns, they are left out.
    """

    def __init__(
        self,
        members: Sequence[Member],
        task: Task,
        run: RunSettings,
        *,
        total_images: int,
        on_problem: Callable[[str, Exception | None], None],
    ) -> None:
        self._members, self._task, self._run = members, task, run
        self._models = {member.model.crops_of(task): member.model for member in members}
        self._on_problem = on_problem
        self._deadline = run.deadline()
        self._total_images = self._images_left = total_images
        self._reading, self._first_pass, self._more_passes = Stage(), Stage(), Stage()
        self._last_pass: dict[Member, tuple[float, int]] = {}  # its seconds and images
        self._has_warned = False
        self._files, self._files_read, self._files_lost, self._images_lost = 1, 0, 0, 0
        self.is_late = False  # whether the time budget ended before the images

    @property
    def lost_share(self) -> float:
        """About what share of the images has no prediction for another reason than the time budget."""
        return self._files_lost / self._files + self._images_lost / max(1, self._total_images)

    @property
    def stages(self) -> str:
        """What each stage has been through; a rehearsal reads it."""
        reading, network = self._reading, self._first_pass
        network = Stage(network.images + self._more_passes.images, network.seconds + self._more_passes.seconds)
        return (
            f"read and crop {reading.images} images of {self._files_read} files in {reading.seconds:.2f} s; "
            f"network {network.images} images in {network.seconds:.2f} s"
        )

    def predict_files(self, files: Sequence[Part]) -> Iterator[pd.DataFrame]:
        """Yield each file's class labels: index image id, one int64 column per head.

        The next file is read and cropped while the network works on this one. Where the time budget ends
        early, the table of that file ends with what was done, and it is the last.
        """
        self._files = len(files)
        models = list(self._models.values())
        crops = crops_ahead(files, self._task, models, deadline=self._deadline, on_error=self._lose_file)
        for member in self._members:  # compiles them while the first file is read
            nothing = np.zeros((1, *member.model.image_size, self._task.image_shape[2]), np.uint8)
            predict_probabilities(member.network, nothing, self._run.batch_size)
        try:
            for number, (shards, seconds) in enumerate(crops):
                self._reading.add(len(shards[0].ids), seconds)
                self._files_read += 1
                yield self._predict(shards, number)
        except OutOfTimeError:
            self.is_late = True

    def _lose_file(self, error: Exception) -> None:
        self._files_lost += 1
        self._on_problem(str(error), error)

    def _predict(self, shards: Sequence[Shard], number: int) -> pd.DataFrame:
        shard = shards[0]
        self._images_lost += len(shard.unreadable)
        is_blank = np.all([of.images.max(axis=(1, 2, 3)) == of.images.min(axis=(1, 2, 3)) for of in shards], axis=0)
        self._leave_out("blank images", shard.ids, is_blank)
        kept = slice(None) if not is_blank.any() else ~is_blank  # the mask copies them
        crops = {of: cropped.images[kept] for of, cropped in zip(self._models, shards, strict=True)}
        ids = np.asarray(shard.ids, dtype=object)[~is_blank]
        started = elapsed()
        probabilities = self._answer(self._members[0], crops, self._deadline)
        self._first_pass.add(len(shard.ids), elapsed() - started)
        self._images_left -= len(shard.ids) + len(shard.unreadable)
        done = len(probabilities[next(iter(probabilities))])
        self.is_late |= done < len(ids)
        whole = done and not self.is_late
        added = self._add_passes(probabilities, crops, number, elapsed() - started) if whole else 0
        told = f" {1 + added} times" if added else ""
        say(f"{done} of {len(shard.ids)} images predicted{told} in {elapsed() - started:.1f} s")
        is_answered = _is_finite(probabilities)
        self._leave_out("images without a finite answer of the network", ids[:done].tolist(), ~is_answered)
        labels = {
            head: np.asarray(self._task.heads[head], object)[of.argmax(axis=1)[is_answered]]
            for head, of in probabilities.items()
        }
        return pd.DataFrame(labels, index=pd.Index(ids[:done][is_answered], dtype=str), columns=list(self._task.heads))

    def _answer(
        self, member: Member, crops: Crops, deadline: float, change: Callable[[Images, int], Images] | None = None
    ) -> Probabilities:
        images = crops[member.model.crops_of(self._task)]
        return member.adjust(predict_probabilities(member.network, images, self._run.batch_size, deadline, change))

    def _add_passes(self, probabilities: Probabilities, crops: Crops, number: int, seconds: float) -> int:
        """Add what the other members say, then what all say of jittered copies; return how many the budget allowed.

        A pass is begun where it, and all images to come with one each, fit into the budget: as this member's last pass
        or else the first one over these images took, `seconds`, and all before as long as they did. It is cut off where
        the time of those images begins.
        """
        images = len(next(iter(crops.values())))
        passes: list[tuple[Member, int | None]] = [(member, None) for member in self._members[1:]]
        if all(member.augment for member in self._members):  # or those with copies would count for more than the others
            passes += [(member, copy) for copy in range(self._run.test_time_copies) for member in self._members]
        for added, (member, copy) in enumerate(passes):
            once = (self._reading.seconds + self._first_pass.seconds) / max(1, self._first_pass.images)
            to_come = max(0, self._images_left) * once
            started = elapsed()
            took, images_of = self._last_pass.get(member, (seconds, images))
            if started + took * (images / images_of) + to_come > self._deadline:
                if not self._has_warned:
                    left_out = "test-time copies" if added >= len(self._members) - 1 else "members of the ensemble"
                    say(f"warning: no time for more than {1 + added} of {1 + len(passes)} passes: {left_out} left out")
                    self._has_warned = True
                return added
            change = None
            if member.augment and copy is not None:
                change = jitter(member.augment, self._run.seed, copy, number)
            answers = self._answer(member, crops, self._deadline - to_come, change)
            is_finite = _is_finite(answers)
            self._last_pass[member] = elapsed() - started, len(is_finite)
            self._more_passes.add(len(is_finite), elapsed() - started)
            had_none = ~_is_finite(probabilities)[: len(is_finite)]
            for head, of in probabilities.items():
                done = of[: len(is_finite)]
                done[had_none] = 0
                done[is_finite] += answers[head][is_finite]
                done[had_none & ~is_finite] = np.nan
        return len(passes)

    def _leave_out(self, what: str, ids: Sequence[str], is_left_out: NDArray[np.bool_]) -> None:
        if is_left_out.any():
            named = [ids[i] for i in np.flatnonzero(is_left_out)[:5]]
            count = int(is_left_out.sum())
            self._images_lost += count
            self._on_problem(f"{what}, {count}: {', '.join(named)}{', ...' if count > 5 else ''}", None)


def _is_finite(probabilities: Probabilities) -> NDArray[np.bool_]:
    """Tell of each row whether all heads' probabilities are finite."""
    return np.asarray(np.all([np.isfinite(of).all(axis=1) for of in probabilities.values()], axis=0))
