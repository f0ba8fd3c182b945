"""A child that predicts those files that its parent gives it, one after the other."""

from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection

import pandas as pd

from multihead.data.shards import Part
from multihead.prediction.members import load_members
from multihead.prediction.predictor import Predictor
from multihead.prediction.trained import finish_of
from multihead.prediction.work import Done, Given, Problem, Wanted, Work


def answer_parent(channel: Connection, work: Work) -> None:
    """Predict files until the time budget or the parent ends; the run of the work is of prepared devices."""
    with suppress(EOFError):  # the parent has ended
        _Worker(channel, work).run()


class _Worker:
    def __init__(self, channel: Connection, work: Work) -> None:
        self._channel, self._parts = channel, work.parts
        self._predictor = Predictor(
            load_members(work.weights, work.run),
            work.weights.task,
            work.run,
            total_images=work.total_images,
            on_problem=self._tell_problem,
            finish=finish_of(work.weights),
        )
        self._taken: list[int] = []
        self._told = 0  # of those that were taken, how many the parent knows to be done

    def run(self) -> None:
        while not self._predictor.is_late:
            for table in self._predictor.predict_some(self._files(), len(self._parts), self._taken):
                self._tell(table)
            self._tell(None)

    def _files(self) -> Iterator[Part]:
        """Yield files as they are to be read, as long as there are any: the first is waited for."""
        may_wait = True
        while True:
            self._channel.send(Wanted(may_wait))
            given: Given = self._channel.recv()
            self._predictor.images_left = given.images_left
            if given.file is None:
                return
            self._taken.append(given.file)
            may_wait = False
            yield self._parts[given.file]

    def _tell(self, table: pd.DataFrame | None) -> None:
        predictor, done = self._predictor, self._predictor.files_done
        files, self._told = self._taken[self._told : done], done
        self._channel.send(
            Done(
                files,
                table,
                predictor.images_attempted_so_far,
                predictor.stages,
                predictor.passed_over,
                predictor.is_late,
            )
        )

    def _tell_problem(self, text: str, cause: Exception | None) -> None:
        self._channel.send(Problem(text, type(cause).__name__ if cause else ""))
