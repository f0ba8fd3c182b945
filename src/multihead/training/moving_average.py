"""An exponential moving average of a network's weights, which answers better than the weights of any one step."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from multihead.model.devices import compiled

STEPS = 8  # between two updates: the average moves slowly, and a copy of a large network takes time


class MovingAverage:
    """The average of a network's weights and statistics over its training steps, on the device that has them.

    B. Polyak, A. Juditsky, Acceleration of Stochastic Approximation by Averaging, 1992; as training uses it: after
    each step average = d * average + (1 - d) * weights, here every STEPS-th with d**STEPS. In the beginning d is
    smaller, and each of the first STEPS steps counts, so that the weights of the start are soon forgotten.

    decay: d, over 0 and under 1.
    """

    def __init__(self, network: Any, decay: float) -> None:
        self._network, self._decay = network, decay
        self._average = [keras.ops.copy(weight) for weight in network.weights]
        self._steps = 0
        self._moved = compiled(_moved)

    def is_due(self) -> bool:
        """Count one training step; tell whether the weights after it are to be taken in."""
        self._steps += 1
        return self._steps <= STEPS or not self._steps % STEPS

    def update(self) -> None:
        """Take in the weights as they are now."""
        decay = min(self._decay**STEPS, self._steps / (self._steps + 10 * STEPS))
        share = keras.ops.convert_to_tensor(1 - decay, "float32")
        self._average = self._moved(self._average, [weight.value for weight in self._network.weights], share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the network the average for as long as this lasts."""
        weights = [keras.ops.copy(weight) for weight in self._network.weights]
        self._assign(self._average)
        try:
            yield
        finally:
            self._assign(weights)

    @property
    def arrays(self) -> list[NDArray[Any]]:
        """All that it holds, as a checkpoint keeps it."""
        return [np.array(self._steps), *map(np.asarray, self._average)]

    @arrays.setter
    def arrays(self, arrays: Sequence[NDArray[Any]]) -> None:
        self._steps = int(arrays[0])
        self._average = [keras.ops.convert_to_tensor(average) for average in arrays[1:]]

    def _assign(self, values: Sequence[Any]) -> None:
        for weight, value in zip(self._network.weights, values, strict=True):
            weight.assign(keras.ops.copy(value))  # under JAX, the network's next step takes its weights' memory


def _moved(averages: list[Any], weights: list[Any], share: Any) -> list[Any]:
    """Return the averages moved by a share of the way to the weights: exactly what they were where they are equal."""
    return [average + share * (weight - average) for average, weight in zip(averages, weights, strict=True)]
