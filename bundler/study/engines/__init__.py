"""What runs trials; each module here is one way. Engines know nothing of images."""

from collections.abc import Generator, Sequence
from typing import Protocol

from bundler.study.run import Ended
from bundler.study.trial import Trial


class Engine(Protocol):
    """Runs trials, in any order; each trial's folder and script are there, and its package goes on where it was.

    threads: how many each trial has room for, where a study is begun without a number.
    """

    threads: int

    def run(self, trials: Sequence[Trial]) -> Generator[Ended, None, None]:
        """Yield each trial as its process ends, whatever way.

        When the generator is closed, what still runs is ended, or goes on where the next command finds it.
        """
