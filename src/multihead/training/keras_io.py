"""What Keras's fit takes: a network with its step, batches, and what is done between two of them.

None of it waits for the device: the learning rate comes with the batch, losses and moving average are computed and kept
there. Only the loss that is shown is fetched, once in SECONDS.
"""

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import keras
import numpy as np

from multihead.data.batches import TrainBatches
from multihead.model.devices import compiled
from multihead.runtime.interrupts import raise_interrupt
from multihead.runtime.log import elapsed
from multihead.runtime.progress import Progress
from multihead.training.moving_average import MovingAverage

SECONDS = 1.0  # between two looks at the loss


class TrainedNetwork(keras.Model):  # type: ignore[misc]
    """A network whose batches bring the learning rate of their step along."""

    def train_step(self, *arguments: Any) -> Any:
        """Take one step of (images, targets, learning rate (1,)), as KerasBatches yields them.

        Keras gives TensorFlow's step the batch, and JAX's the state before it, which has the learning rate as one of
        the optimizer's variables.
        """
        *state, (images, targets, rates) = arguments
        learning_rate = self.optimizer.learning_rate
        if not state:
            learning_rate.assign(rates[0])
            return super().train_step((images, targets))
        [(trainable, non_trainable, of_optimizer, metrics)] = state
        variables = self.optimizer.variables
        of_optimizer = [
            rates[0] if variable is learning_rate else value
            for variable, value in zip(variables, of_optimizer, strict=True)
        ]
        return super().train_step((trainable, non_trainable, of_optimizer, metrics), (images, targets))


def has_finite_weights(network: Any) -> bool:
    """Tell whether all weights are numbers that are not infinite."""
    return bool(_finiteness()([weight.value for weight in network.weights]))


@cache
def _finiteness() -> Callable[[list[Any]], Any]:
    ops = keras.ops
    return compiled(lambda values: ops.all(ops.stack([ops.all(ops.isfinite(value)) for value in values])))


class KerasBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Some of TrainBatches as TrainedNetwork takes them, made in order ahead of it by so many threads.

    learning_rates: of each of them.
    """

    def __init__(
        self,
        batches: TrainBatches,
        which: range,
        learning_rates: Sequence[float],
        workers: int = min(os.cpu_count() or 1, 8),
    ) -> None:
        super().__init__(workers=workers, max_queue_size=4 * workers)
        self._batches, self._which = batches, which
        self._rates = np.asarray(learning_rates, np.float32)[:, None]

    def release(self) -> None:
        """Let go of the crops: Keras keeps every data set that it was ever given."""
        del self._batches

    def __len__(self) -> int:
        return len(self._which)

    def __getitem__(self, index: int) -> Any:
        images, targets = self._batches[self._which[index]]
        return images, targets, self._rates[index]


class Watch(keras.callbacks.CallbackList):  # type: ignore[misc]
    """Tells how far the fit is, gives the moving average its updates, and ends the fit where the time budget does.

    It is a list of callbacks, of none but Keras's history: before it calls one, Keras waits for the loss of each batch.
    """

    def __init__(
        self,
        network: Any,
        name: str,
        images: Sequence[int],
        progress: Progress,
        *,
        average: MovingAverage | None,
        deadline: float,
    ) -> None:
        """Follow a fit on batches of so many images each, part of what `progress` follows."""
        super().__init__(add_history=True, model=network)
        self._name, self._images = name, images
        self._progress, self._average, self._deadline = progress, average, deadline
        self._loss, self._looked = math.nan, -math.inf
        self.batches_done = 0

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Nothing."""

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        raise_interrupt()
        self.batches_done = batch + 1
        if self._average and self._average.is_due() and self.model:  # which under JAX puts its weights in place
            self._average.update()
        if logs and time.monotonic() - self._looked > SECONDS:
            self._loss = float(logs["loss"])  # waits for all that the device was given since, some seconds at most
            self._looked = time.monotonic()
        line = f"  {self._name}: batch {batch + 1}/{len(self._images)}, loss {self._loss:.3f}"
        self._progress.advance(self._images[batch], line, self._loss)
        if elapsed() > self._deadline:
            self.model.stop_training = True
