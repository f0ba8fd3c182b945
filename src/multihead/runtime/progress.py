"""How far a stage is: one live line on a terminal, in a log a plain line now and then."""

import math
import sys
import time
from typing import Any

from multihead.runtime.log import LINES, log

SECONDS = 10  # between two lines of a log


class Progress:
    """Follows a stage of so many images; a context, in which `advance` tells what was done.

    On a terminal it shows a bar, images, images a second, the loss and the time left, and is gone at the end. Lines
    that are logged meanwhile stand above it.
    """

    def __init__(self, name: str, images: int) -> None:
        self._name, self._images = name, images
        self._live: Any = None
        self._task: Any = None
        self._last = time.monotonic()

    def __enter__(self) -> "Progress":
        try:
            self._live = _bar() if LINES.live is None and sys.stdout.isatty() else None
        except (AttributeError, ImportError, OSError, ValueError):  # no output, a closed one, or no rich
            self._live = None
        if self._live:
            self._task = self._live.add_task(self._name, total=self._images, loss="")
            self._live.start()
            LINES.live = self._live.console
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            LINES.live = None
            self._live.stop()

    def advance(self, images: int, line: str, loss: float = math.nan) -> None:
        """Tell that so many more images are done. line: what a log says of it, where it is time for a line."""
        if self._live:
            self._live.update(self._task, advance=images, loss="" if math.isnan(loss) else f"loss {loss:.3f}")
        elif time.monotonic() - self._last >= SECONDS:
            self._last = time.monotonic()
            log.info(line)


def _bar() -> Any:
    """Return a live line that is not started, or None where the terminal cannot move its cursor."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Live
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Any) -> Text:
            return Text(f"{task.speed:,.0f} images/s" if task.speed else "")

    console = Console(file=sys.stdout)
    if not console.is_terminal or console.is_dumb_terminal:
        return None
    return Live(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Speed(),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
