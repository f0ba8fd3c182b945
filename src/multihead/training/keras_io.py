"""What Keras's fit takes: batches, and callbacks."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from multihead.data.batches import TrainBatches
from multihead.runtime.log import elapsed
from multihead.runtime.progress import Progress
from multihead.training.moving_average import MovingAverage


class KerasBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Some of TrainBatches as fit takes them, made in order ahead of the network by so many threads."""

    def __init__(self, batches: TrainBatches, which: range, workers: int = min(os.cpu_count() or 1, 8)) -> None:
        super().__init__(workers=workers, max_queue_size=4 * workers)
        self._batches, self._which = batches, which

    def release(self) -> None:
        """Let go of the crops: Keras keeps every data set that it was ever given."""
        del self._batches

    def __len__(self) -> int:
        return len(self._which)

    def __getitem__(self, index: int) -> Any:
        return self._batches[self._which[index]]


class Steps(keras.callbacks.Callback):  # type: ignore[misc]
    """Gives each batch its learning rate, and the moving average its updates."""

    def __init__(self, learning_rates: Sequence[float], average: MovingAverage | None) -> None:
        super().__init__()
        self._learning_rates, self._average = learning_rates, average

    def on_train_batch_begin(self, batch: int, **_: Any) -> None:
        self.model.optimizer.learning_rate = self._learning_rates[batch]

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        if self._average and self.model:  # under JAX, the weights are where the network says only once it is asked for
            self._average.step()


class Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells how far the fit is, and ends it where the time budget does."""

    def __init__(self, name: str, images: Sequence[int], progress: Progress, deadline: float) -> None:
        """Follow a fit on batches of so many images each, part of what `progress` follows."""
        super().__init__()
        self._name, self._images = name, images
        self._progress, self._deadline = progress, deadline
        self.batches_done = 0

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self.batches_done = batch + 1
        loss = (logs or {}).get("loss", math.nan)
        line = f"  {self._name}: batch {batch + 1}/{len(self._images)}, loss {loss:.3f}"
        self._progress.advance(self._images[batch], line, loss)
        if elapsed() > self._deadline:
            self.model.stop_training = True
