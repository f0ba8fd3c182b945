"""A child that predicts those files that its parent gives it, one after the other."""

import traceback
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection

import pandas as pd

from multihead.data.shards import Part
from multihead.prediction.members import load_members
from multihead.prediction.predictor import Predictor
from multihead.prediction.trained import finish_of
from multihead.prediction.work import Assigned, Done, Problem, Wanted, Work
from multihead.runtime.errors import UserError


def answer_parent(channel: Connection, work: Work) -> None:
    """Predict files until the time budget or the parent ends; the run of the work is of prepared devices."""
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent has ended
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
        self._reported = 0  # of those that were taken, how many the parent knows to be done
        self._is_alone = False

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
            assigned: Assigned = self._channel.recv()
            self._predictor.images_left, self._is_alone = assigned.images_left, assigned.is_alone
            if assigned.file is None:
                return
            self._taken.append(assigned.file)
            may_wait = False
            yield self._parts[assigned.file]

    def _tell(self, table: pd.DataFrame | None) -> None:
        predictor, done = self._predictor, self._predictor.files_done
        if predictor.has_failed and not self._is_alone:
            raise UserError("the network fails here; another process may do better")
        files, self._reported = self._taken[self._reported : done], done
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
        if cause and not isinstance(cause, UserError):
            traceback.print_exception(cause)  # the parent has the text only
        self._channel.send(Problem(text, type(cause).__name__ if cause else ""))
