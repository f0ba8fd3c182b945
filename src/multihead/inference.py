"""Test files to class labels, one shard at a time."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.crop_store import crops_ahead
from multihead.progress import Pace, elapsed, say
from multihead.settings import ModelSettings
from multihead.tasks import Task


def predict_probabilities(
    network: Any, images: NDArray[np.uint8], batch_size: int, deadline: float = math.inf
) -> dict[str, NDArray[np.float32]]:
    """Return {head: float32 (n, classes)} for uint8 crops (n, height, width, c).

    Every batch has the same shape, the last one padded and cut, so the network is compiled once. After the
    deadline, in seconds since the process started, no batch is begun: then n is what was done by then.
    """
    parts: list[dict[str, NDArray[np.float32]]] = []
    pace = Pace(10)
    for start in range(0, len(images) or 1, batch_size):
        batch = np.asarray(images[start : start + batch_size])
        padded = np.concatenate([batch, np.zeros((batch_size - len(batch), *batch.shape[1:]), np.uint8)])
        answers = network.predict_on_batch(padded)
        parts.append({head: np.asarray(of)[: len(batch)] for head, of in answers.items()})
        if elapsed() > deadline:
            break
        if pace.is_due():
            say(f"  {start + len(batch)} of {len(images)} images predicted")
    return {head: np.concatenate([part[head] for part in parts]) for head in parts[0]}


def predict_files(
    network: Any,
    files: Sequence[Path],
    task: Task,
    model: ModelSettings,
    batch_size: int,
    *,
    deadline: float,
    on_problem: Callable[[str, Exception | None], None],
) -> Iterator[pd.DataFrame]:
    """Yield each file's class labels: index image id, one int64 column per head.

    The next file is read and cropped while the network works on this one. on_problem is told of a file that
    cannot be read and of blank images; if it returns, they are left out.
    """
    crops = crops_ahead(files, task, model, on_error=lambda error: on_problem(str(error), error))
    for shard in crops:
        started = elapsed()
        is_blank = shard.images.max(axis=(1, 2, 3)) == shard.images.min(axis=(1, 2, 3))
        if is_blank.any():
            blank = [i for i, is_so in zip(shard.ids, is_blank, strict=True) if is_so]
            on_problem(f"blank images, {len(blank)}: {', '.join(blank[:5])}{', ...' if len(blank) > 5 else ''}", None)
        ids = [i for i, is_so in zip(shard.ids, is_blank, strict=True) if not is_so]
        probabilities = predict_probabilities(network, shard.images[~is_blank], batch_size, deadline)
        labels = {head: np.asarray(task.heads[head])[of.argmax(axis=1)] for head, of in probabilities.items()}
        done = len(labels[next(iter(labels))])
        say(f"{done} of {len(shard.ids)} images predicted in {elapsed() - started:.1f} s")
        yield pd.DataFrame(labels, index=pd.Index(ids[:done], dtype=str), columns=list(task.heads))
        if elapsed() > deadline:
            return
