"""Test files to answers, one shard at a time."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.config.model_settings import ModelSettings
from multihead.config.scores import Kind
from multihead.config.settings import RunSettings
from multihead.config.task import Task
from multihead.data.augment import Augment
from multihead.data.crop_store import crops_ahead
from multihead.data.draws import Draw, random_for
from multihead.data.shards import Part, Shard
from multihead.model.devices import is_out_of_memory
from multihead.model.heads import probabilities_of
from multihead.prediction.deciding import finished
from multihead.prediction.stages import Stages
from multihead.runtime.errors import OutOfTimeError, first_line, listed
from multihead.runtime.events import FILE_PREDICTED, tell
from multihead.runtime.log import Stage, elapsed, log
from multihead.runtime.progress import Progress

MEASURED_BATCHES, MEASURED_SECONDS = 20, 2.0

Images = NDArray[np.uint8]
Crops = Mapping[tuple[tuple[int, int], str], Images]  # by ModelSettings.crops_of
Probabilities = dict[str, NDArray[np.float32]]
Cells = Mapping[str, NDArray[Any]]  # by each key, (n,)
Change = Callable[[Images, int], Images]  # of a batch, by its number


def predict_probabilities(
    network: Any,
    images: Images,
    batch_size: int,
    kinds: Mapping[str, Kind] | None = None,
    change: Change | None = None,
) -> Probabilities:
    """Return {head: float32 (n, width)} for uint8 crops (n, height, width, c), as answered_batches yields them."""
    return _joined(list(answered_batches(network, images, batch_size, kinds=kinds, change=change)))


def answered_batches(
    network: Any,
    images: Images,
    batch_size: int,
    deadline: float = math.inf,
    change: Change | None = None,
    kinds: Mapping[str, Kind] | None = None,
) -> Iterator[Probabilities]:
    """Yield what probabilities_of makes of the logits, {head: float32 (b, width)}, for each batch of uint8 crops.

    Every batch has the same shape, the last one padded and cut, so the network is compiled once. Where the next
    batch, as long as the longest so far, would end after the deadline, in seconds since the process started, it is the
    end; the first batch is always begun.
    change: is given each batch and its number, and returns what the network sees in its place. kinds: of the heads
    that are not softmax.
    """
    longest = 0.0
    with Progress("predicting", len(images)) as progress:
        for number, start in enumerate(range(0, len(images) or 1, batch_size)):
            begun = elapsed()
            batch = np.asarray(images[start : start + batch_size])
            seen = change(batch, number) if change else batch
            padded = np.concatenate([seen, np.zeros((batch_size - len(batch), *batch.shape[1:]), np.uint8)])
            logits = network.predict_on_batch(padded)
            yield {head: rows[: len(batch)] for head, rows in probabilities_of(logits, kinds).items()}
            longest = max(longest, elapsed() - begun)
            if elapsed() + longest > deadline:
                break
            progress.advance(len(batch), f"  {start + len(batch)} of {len(images)} images predicted")


def _joined(parts: Sequence[Probabilities]) -> Probabilities:
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


def jitter(augment: Augment, seed: int, copy: int, file: int = 0) -> Change:
    """Return what makes a test-time copy of a batch, by its number."""

    def jittered(images: Images, batch: int) -> Images:
        return augment(images, random_for(seed, Draw.TEST_COPY, copy, file, batch))

    return jittered


class Member(NamedTuple):
    """One of the networks whose answers are averaged, what is done to its probabilities before, and its copies.

    model: whose crops it takes. augment: what makes a test-time copy; None where there are none. share: how much it
    counts in the average.
    """

    network: Any
    model: ModelSettings
    adjust: Callable[[Probabilities], Probabilities]
    augment: Augment | None = None
    share: float = 1.0


class Answer(NamedTuple):
    """What a member says of a file's images, or of the first of them: up to the deadline, or to a failure."""

    probabilities: Probabilities
    has_failed: bool

    @property
    def images(self) -> int:
        return len(next(iter(self.probabilities.values())))


class Predictor:
    """Predicts a competition's test files within the time budget.

    total_images: how many are to be predicted, as far as is known; images_left: how many still are. finish: makes what
    is written by each key (data/answers.py) of the average of the members' probabilities; by default, of the likeliest.
    on_problem is told of a file that cannot be read, of a network that fails, and of images that get no answer; if it
    returns, the images that this costs are left out.
    """

    def __init__(
        self,
        members: Sequence[Member],
        task: Task,
        run: RunSettings,
        *,
        total_images: int,
        on_problem: Callable[[str, Exception | None], None],
        finish: Callable[[Probabilities], Cells] | None = None,
    ) -> None:
        self._members, self._task, self._run = members, task, run
        self._finish = finish or partial(finished, task=task)
        self._models = {member.model.crops_of(task): member.model for member in members}
        self._on_problem = on_problem
        self._deadline, self._batch_size = run.deadline(), run.batch_size
        self._total_images = self.images_left = total_images
        self.images_attempted_so_far = 0
        self._reading, self._first_pass, self._more_passes = Stage(), Stage(), Stage()
        self._last_pass: dict[Member, tuple[float, int]] = {}  # its seconds and images
        self._has_warned = False
        self._files, self._files_read, self._files_lost = 1, 0, 0
        self.passed_over: list[str] = []  # images that the sample has no row for
        self.is_late = False  # whether the time budget ended before the images
        self.has_failed = False  # whether no network answered some images

    @property
    def images_attempted(self) -> int:
        """How many images were to be predicted, without those that the time budget left out.

        Of a file that cannot be read nobody knows how many it holds: as many as another, on average.
        """
        return min(self.images_attempted_so_far, self._total_images) if self.is_late else self._total_images

    @property
    def stages(self) -> Stages:
        """What each stage has been through."""
        reading, first, more = self._reading, self._first_pass, self._more_passes
        return Stages(
            reading.images, self._files_read, reading.seconds, first.images + more.images, first.seconds + more.seconds
        )

    @property
    def files_done(self) -> int:
        """How many files were predicted or lost."""
        return self._files_read + self._files_lost

    def predict_files(self, files: Sequence[Part]) -> Iterator[pd.DataFrame]:
        """Yield each file's answers: index image id, a column by each key of what is written.

        The next file is read and cropped while the network works on this one. Where the time budget ends
        early, the table of that file ends with what was done, and it is the last.
        """
        return self.predict_some(files, len(files))

    def predict_some(
        self, files: Iterable[Part], files_in_all: int, numbers: Sequence[int] = ()
    ) -> Iterator[pd.DataFrame]:
        """Yield the same of some files.

        numbers: in a list that grows as files are taken, each one's number among all; without it they are counted.
        """
        self._files = files_in_all
        crops = crops_ahead(
            files, self._task, list(self._models.values()), deadline=self._deadline, on_error=self._lose_file
        )
        for member in self._members:  # compiles them while the first file is read
            nothing = np.zeros((1, *member.model.image_size, self._task.image_shape[2]), np.uint8)
            self._answer(member, {member.model.crops_of(self._task): nothing}, math.inf)
        try:
            for shards, seconds in crops:
                number = numbers[self.files_done] if numbers else self.files_done
                self._reading.add(len(shards[0].ids), seconds)
                self._files_read += 1
                self.passed_over += shards[0].passed_over
                try:
                    table = self._predict(shards, number)
                except Exception as error:  # costs its file, not the submission
                    self._on_problem(first_line(error), error)
                else:
                    yield table
        except OutOfTimeError:
            self.is_late = True

    def _lose_file(self, error: Exception) -> None:
        files_left = max(1, self._files - self._files_read - self._files_lost)
        self.images_left -= self.images_left // files_left
        self.images_attempted_so_far += math.ceil(self._total_images / self._files)
        self._files_lost += 1
        self._on_problem(first_line(error), error)

    def _predict(self, shards: Sequence[Shard], number: int) -> pd.DataFrame:
        shard = shards[0]
        is_blank = np.isin(shard.ids, shard.blank)
        self._leave_out("blank images", shard.ids, is_blank)
        kept = slice(None) if not is_blank.any() else ~is_blank  # the mask copies them
        crops = {kind: cropped.images[kept] for kind, cropped in zip(self._models, shards, strict=True)}
        ids = np.asarray(shard.ids, dtype=object)[~is_blank]
        started = elapsed()
        self.images_left -= len(shard.ids) + len(shard.unreadable)
        self.images_attempted_so_far += len(shard.ids) + len(shard.unreadable)
        first, has_one_member = self._answer_once(crops)
        self.has_failed |= first.has_failed
        probabilities, done = first.probabilities, first.images
        self._first_pass.add(done + int(is_blank.sum()), elapsed() - started)
        if done < len(ids) and not first.has_failed:
            self.is_late = True
            self.images_attempted_so_far -= len(ids) - done
        whole = done and has_one_member and not self.is_late
        average = _Average(probabilities, self._members[0].share)
        added = self._add_passes(average, crops, number, elapsed() - started) if whole else 0
        times = f" {1 + added} times" if added else ""
        log.info(f"{done} of {len(shard.ids)} images predicted{times} in {elapsed() - started:.1f} s")
        tell(FILE_PREDICTED)
        is_answered = _is_finite(average.sums)
        self._leave_out("images without a finite answer of the network", ids[:done].tolist(), ~is_answered)
        started = elapsed()
        answers = self._finish({head: rows[is_answered] for head, rows in average.means().items()})
        self._first_pass.add(0, elapsed() - started)
        return pd.DataFrame(answers, index=pd.Index(ids[:done][is_answered], dtype=str))

    def _answer_once(self, crops: Crops) -> tuple[Answer, bool]:
        """Return what the first member says, or of images on which it fails another, and whether it was it alone."""
        parts: list[Probabilities] = []
        done = 0
        for number, member in enumerate(self._members):
            answer = self._answer(member, {kind: images[done:] for kind, images in crops.items()}, self._deadline)
            parts.append(answer.probabilities)
            done += answer.images
            if not answer.has_failed:
                return Answer(_joined(parts), False), number == 0
        return Answer(_joined(parts), True), False

    def _answer(self, member: Member, crops: Crops, deadline: float, change: Change | None = None) -> Answer:
        """Return what a member says; out of the device's memory it goes on, once, with half the batch size."""
        images = crops[member.model.crops_of(self._task)]
        task = self._task
        parts: list[Probabilities] = [{head: np.zeros((0, task.width(head)), np.float32) for head in task.heads}]
        done, may_halve, has_failed = 0, self._batch_size > 1, False
        while True:
            try:
                left = images[done:]
                for part in answered_batches(member.network, left, self._batch_size, deadline, change, task.kinds):
                    parts.append(part)
                    done += len(next(iter(part.values())))
            except Exception as error:
                if may_halve and is_out_of_memory(error):
                    may_halve, self._batch_size = False, self._batch_size // 2
                    log.warning(f"the device is out of memory; from here on in batches of {self._batch_size}")
                    continue
                has_failed = True
                self._on_problem(f"the network failed on image {done + 1} of {len(images)}: {first_line(error)}", error)
            return Answer(member.adjust(_joined(parts)), has_failed)

    def _add_passes(self, average: "_Average", crops: Crops, number: int, seconds: float) -> int:
        """Add what the other members say, then what all say of jittered copies; return how many the budget allowed.

        A pass is begun where it, and all images to come with one each, fit into the budget: as this member's last pass
        or else the first one over these images took, `seconds`, and all before as long as they did. It is cut off where
        the time of those images begins. One that fails is the last.
        """
        images = len(next(iter(crops.values())))
        passes: list[tuple[Member, Change | None]] = [(member, None) for member in self._members[1:]]
        if all(member.augment for member in self._members):  # or those with copies would count for more than the others
            passes += [
                (member, jitter(member.augment, self._run.seed, copy, number))
                for copy in range(self._run.test_time_copies)
                for member in self._members
                if member.augment
            ]
        for added, (member, change) in enumerate(passes):
            once = (self._reading.seconds + self._first_pass.seconds) / max(1, self._first_pass.images)
            to_come = max(0, self.images_left) * once
            started = elapsed()
            took, images_of = self._last_pass.get(member, (seconds, images))
            if started + took * (images / max(1, images_of)) + to_come > self._deadline:
                if not self._has_warned:
                    left_out = "test-time copies" if added >= len(self._members) - 1 else "members of the ensemble"
                    log.warning(f"no time for more than {1 + added} of {1 + len(passes)} passes: {left_out} left out")
                    self._has_warned = True
                return added
            answer = self._answer(member, crops, self._deadline - to_come, change)
            if not answer.has_failed:
                self._last_pass[member] = elapsed() - started, answer.images
            self._more_passes.add(answer.images, elapsed() - started)
            average.add(answer.probabilities, member.share)
            if answer.has_failed:
                return added
        return len(passes)

    def _leave_out(self, what: str, ids: Sequence[str], is_left_out: NDArray[np.bool_]) -> None:
        if is_left_out.any():
            named = listed([ids[i] for i in np.flatnonzero(is_left_out).tolist()])
            self._on_problem(f"{what}, {int(is_left_out.sum())}: {named}", None)


class _Average:
    """The weighted sums of what passes say of n images, and of each image's weights; NaN where none is finite."""

    def __init__(self, probabilities: Probabilities, share: float) -> None:
        self.sums = {head: rows * np.float32(share) for head, rows in probabilities.items()}
        self._weights = np.full(len(next(iter(self.sums.values()))), share, np.float32)

    def add(self, probabilities: Probabilities, share: float) -> None:
        """Add a pass over all images or the first of them."""
        is_finite = _is_finite(probabilities)
        had_none = ~_is_finite(self.sums)[: len(is_finite)]
        for head, rows in self.sums.items():
            done = rows[: len(is_finite)]
            done[had_none] = 0
            done[is_finite] += np.float32(share) * probabilities[head][is_finite]
            done[had_none & ~is_finite] = np.nan
        weights = self._weights[: len(is_finite)]
        weights[had_none] = 0
        weights[is_finite] += share

    def means(self) -> Probabilities:
        """Return what the passes say on average."""
        weights = np.maximum(self._weights, np.finfo(np.float32).tiny)[:, None]
        return {head: np.asarray(rows / weights, np.float32) for head, rows in self.sums.items()}


def _is_finite(probabilities: Probabilities) -> NDArray[np.bool_]:
    """Tell of each row whether all heads' probabilities are finite."""
    return np.asarray(np.all([np.isfinite(rows).all(axis=1) for rows in probabilities.values()], axis=0))
