"""Test files to answers by several processes, one on each GPU; this one has neither images nor a network."""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any

import pandas as pd

from multihead.config.settings import RunSettings
from multihead.data.shards import Part
from multihead.prediction.stages import Stages, beside_each_other
from multihead.prediction.trained import Weights
from multihead.prediction.work import Assigned, Done, Problem, Wanted, Work
from multihead.runtime.children import Child, Place
from multihead.runtime.errors import UserError
from multihead.runtime.log import elapsed, log


@dataclass(eq=False)
class _Worker:
    """A child, the files that it was given and is not done with, and what it told at last."""

    child: Child
    files: list[int] = field(default_factory=list)
    done: Done = field(default_factory=lambda: Done((), None, 0, Stages(), (), is_late=False))

    @property
    def name(self) -> str:
        return self.child.name


class Workers:
    """Predicts a competition's test files as a Predictor does, by a child at each of several places.

    Whoever has read a file is given the next one. The files of a child that ends are given to the others, after all
    else: one of them may be what ended it. That is a problem too, which a rerun goes on after.
    total_images, on_problem: as of Predictor. That every child has ended is a problem, too.
    """

    def __init__(
        self,
        where: Sequence[Place],
        weights: Weights,
        run: RunSettings,
        *,
        total_images: int,
        on_problem: Callable[[str, Exception | None], None],
    ) -> None:
        self._where, self._weights, self._run = where, weights, run
        self._total_images, self._on_problem = total_images, on_problem
        deadline = run.deadline()
        self._latest = deadline + (run.time_budget_minutes * 60 - deadline) / 2 if run.time_budget_minutes else math.inf
        self._all: list[_Worker] = []
        self._living: list[_Worker] = []
        self._waiting: list[_Worker] = []  # for a file
        self._queue: deque[int] = deque()
        self.is_late = False  # whether the time budget ended before the images

    @property
    def images_attempted(self) -> int:
        """How many images were to be predicted, without those that the time budget left out."""
        return min(self._attempted, self._total_images) if self.is_late else self._total_images

    @property
    def passed_over(self) -> list[str]:
        """The images that the sample has no row for."""
        return [name for worker in self._all for name in worker.done.passed_over]

    @property
    def stages(self) -> Stages:
        """What the stages have been through, at a time."""
        return beside_each_other([worker.done.stages for worker in self._all])

    @property
    def _attempted(self) -> int:
        return sum(worker.done.images_attempted for worker in self._all)

    def predict_files(self, parts: Sequence[Part]) -> Iterator[pd.DataFrame]:
        """Yield each file's answers, in the order in which they come: index image id, a column by each key."""
        self._queue.extend(range(len(parts)))
        work = Work(self._weights, self._run, parts, self._total_images)
        try:
            for place in self._where[: len(parts)]:
                try:
                    self._all.append(_Worker(Child(place.name, place, work)))
                except OSError as error:
                    self._on_problem(f"{place.name}: its process could not be started ({error})", None)
            self._living = [*self._all]
            yield from self._tables()
        finally:
            for worker in self._all:
                worker.child.end()
        for worker in self._all:
            log.info(f"{worker.name}: {worker.done.stages}")

    def _tables(self) -> Iterator[pd.DataFrame]:
        problem = ""
        while self._living and (any(worker.files for worker in self._living) or (self._queue and not self.is_late)):
            workers = {worker.child.channel: worker for worker in self._living}
            ready = wait([*workers], None if math.isinf(self._latest) else max(0.0, self._latest - elapsed()))
            if not ready:  # a child hangs, and kept nothing of its time to stop in
                self.is_late = True
                return
            for worker in (workers[channel] for channel in ready):  # type: ignore[index]
                try:
                    message = worker.child.channel.recv()
                except (EOFError, OSError):
                    problem = self._bury(worker) or problem
                else:
                    yield from self._take(worker, message)
        if self._queue and not self.is_late:
            self._on_problem(f"no process is left to predict {len(self._queue)} files; {problem}", None)

    def _take(self, worker: _Worker, message: Any) -> Iterator[pd.DataFrame]:
        match message:
            case Problem(text, kind):
                causes = {"": None, UserError.__name__: UserError(text)}
                self._on_problem(text, causes[kind] if kind in causes else type(kind, (Exception,), {})(text))
            case Wanted(may_wait) if may_wait and not self._queue:
                self._waiting.append(worker)
            case Wanted():
                self._give(worker)
            case Done(files, table):
                worker.done = message._replace(files=(), table=None)
                worker.files = [file for file in worker.files if file not in files]
                self.is_late |= message.is_late
                if table is not None:
                    yield table

    def _give(self, worker: _Worker) -> None:
        """Give a worker the next file, if there is one, and about how many images are left to it with that."""
        file = self._queue.popleft() if self._queue and not self.is_late else None
        if file is not None:
            worker.files.append(file)
        files = len(self._queue) + sum(len(other.files) for other in self._living)
        own = len(worker.files) + math.ceil(len(self._queue) / len(self._living))
        images_left = max(0, self._total_images - self._attempted)
        with suppress(OSError):  # where it has ended, its channel will tell
            is_alone = len(self._living) == 1
            worker.child.channel.send(Assigned(file, math.ceil(images_left * own / max(1, files)), is_alone))

    def _bury(self, worker: _Worker) -> str:
        """Take note that a worker has ended, put its files behind the others', and return why it did."""
        self._living.remove(worker)
        self._waiting = [other for other in self._waiting if other is not worker]
        if worker.done.is_late:
            return ""
        problem = f"{worker.name} ended ({worker.child.ended() or 'exit code 0'})"
        files, worker.files = worker.files, []
        self._queue.extend(files)
        if self._living:
            self._on_problem(f"{problem}; {len(files)} of its files go to the others", None)
        for other in self._waiting[: len(self._queue)]:
            self._waiting.remove(other)
            self._give(other)
        return problem
