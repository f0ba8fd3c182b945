"""Test files to class labels, one shard at a time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.crop_store import crops_ahead
from multihead.progress import Pace, elapsed, say
from multihead.settings import ModelSettings
from multihead.tasks import Task


def predict_probabilities(network: Any, images: NDArray[np.uint8], batch_size: int) -> dict[str, NDArray[np.float32]]:
    """Return {head: float32 (n, classes)} for uint8 crops (n, height, width, c).

    Every batch has the same shape, the last one padded and cut, so the network is compiled once.
    """
    parts: list[dict[str, NDArray[np.float32]]] = []
    pace = Pace(10)
    for start in range(0, len(images) or 1, batch_size):
        batch = np.asarray(images[start : start + batch_size])
        padded = np.concatenate([batch, np.zeros((batch_size - len(batch), *batch.shape[1:]), np.uint8)])
        answers = network.predict_on_batch(padded)
        parts.append({head: np.asarray(of)[: len(batch)] for head, of in answers.items()})
        if pace.is_due():
            say(f"  {start + len(batch)} of {len(images)} images predicted")
    return {head: np.concatenate([part[head] for part in parts]) for head in parts[0]}


def predict_files(
    network: Any, files: Sequence[Path], task: Task, model: ModelSettings, batch_size: int
) -> pd.DataFrame:
    """Return the class label of every image and head: index image id, one int64 column per head.

    The next file is read and cropped while the network works on this one.
    """
    tables = []
    for number, shard in enumerate(crops_ahead(files, task, model), 1):
        started = elapsed()
        probabilities = predict_probabilities(network, shard.images, batch_size)
        labels = {head: np.asarray(task.heads[head])[of.argmax(axis=1)] for head, of in probabilities.items()}
        tables.append(pd.DataFrame(labels, index=pd.Index(shard.ids, dtype=str), columns=list(task.heads)))
        say(f"file {number}/{len(files)}: {len(shard.ids)} images predicted in {elapsed() - started:.1f} s")
    return pd.concat(tables)
