"""Figures: a line of JSON each, written as soon as it is measured, so that a kill loses one at most."""

import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

FILE = "figures.jsonl"
REPEATS = 3


class Figures:
    """The figures of one row. Each says after how many seconds of the row it was written, `at`."""

    def __init__(self, row: str, folder: Path) -> None:
        self._row, self._path = row, folder / FILE
        self._started = time.monotonic()

    def add(self, figure: str, **values: Any) -> None:
        """Append a figure, and print it."""
        at = round(time.monotonic() - self._started, 1)
        line = json.dumps({"row": self._row, "figure": figure, "at": at, **values})
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
        print(line, flush=True)

    def timed(
        self, figure: str, work: Callable[[], Any], images: int, steps: int, bare_seconds: float | None = None
    ) -> float:
        """Add the images a second and the milliseconds a step of REPEATS runs; return the median seconds a step.

        bare_seconds: a step of the same program alone. The rest of a step is time in which the device waits, or
        works on what belongs to no step: the moving average, the check for finite weights.
        """
        seconds = []
        for _ in range(REPEATS):
            started = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - started)
        median = statistics.median(seconds) / steps
        self.add(
            figure,
            images_per_second=[round(images / taken, 1) for taken in seconds],
            ms_per_step=[round(1000 * taken / steps, 3) for taken in seconds],
            steps=steps,
            **({} if bare_seconds is None else {"device_waits": round(1 - bare_seconds / median, 3)}),
        )
        return median


def read_figures(folder: Path) -> list[dict[str, Any]]:
    """Return the figures that were written so far, in their order."""
    path = folder / FILE
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def table(figures: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of a Markdown table of them."""
    yield "| row | figure | images/s | ms a step | |"
    yield "|---|---|---|---|---|"
    for figure in figures:
        values = {key: value for key, value in figure.items() if key not in ("row", "figure", "at")}
        rates, steps = (values.pop(key, []) for key in ("images_per_second", "ms_per_step"))
        cells = [figure["row"], figure["figure"], _numbers(rates), _numbers(steps), json.dumps(values)]
        yield f"| {' | '.join(cells)} |"


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.6g}" for value in values)
