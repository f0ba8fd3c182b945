"""Trials on this machine, one after the other or several beside each other."""

import subprocess
import time
from collections import deque
from collections.abc import Generator, Sequence

from bundler.errors import BundlerError
from bundler.study.run import Ended, end, start
from bundler.study.trial import Trial
from multihead.config import UserError, cores

SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_TO_BE_ALONE = 5  # that a process of a command that was killed may take to end


class Local:
    """Runs trials on this machine.

    workers: how many at a time; 0 for one per GPU, or else one. gpus: each worker sees one of them, in turn; with none,
    what this process sees. Raises BundlerError for more workers than GPUs.
    """

    def __init__(self, workers: int = 0, gpus: Sequence[str] = ()) -> None:
        if gpus and workers > len(gpus):
            raise BundlerError(f"--workers {workers}: expected at most {len(gpus)}, one training on each GPU")
        workers = workers or max(1, len(gpus))
        self.threads = max(1, cores() // workers)
        self._slots = [gpus[number % len(gpus)] if gpus else None for number in range(workers)]

    def run(self, trials: Sequence[Trial]) -> Generator[Ended, None, None]:
        waiting, free = deque(trials), deque(self._slots)
        running: list[tuple[Trial, str | None, float, subprocess.Popen[bytes]]] = []
        try:
            while waiting or running:
                while waiting and free:
                    trial, gpu = waiting.popleft(), free.popleft()
                    try:
                        running.append((trial, gpu, time.monotonic(), start(trial, gpu, SECONDS_TO_BE_ALONE)))
                    except (UserError, OSError) as error:
                        free.append(gpu)
                        yield Ended(trial, 0, 0.0, str(error))
                        continue
                    print(f"{trial.name}: begun{f' on GPU {gpu}' if gpu else ''}; {trial.log}", flush=True)
                time.sleep(SECONDS_BETWEEN_LOOKS)
                for one in [one for one in running if one[-1].poll() is not None]:
                    running.remove(one)
                    trial, gpu, begun, process = one
                    free.append(gpu)
                    yield Ended(trial, process.returncode, time.monotonic() - begun)
        finally:
            end([process for *_, process in running])
