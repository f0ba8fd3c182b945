"""An exponential moving average of a network's weights, which answers better than the weights of any one step."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

STEPS = 8  # between two updates: the average moves slowly, and a copy of a large network takes time


class MovingAverage:
    """The average of a network's weights and statistics over its training steps.

    B. Polyak, A. Juditsky, Acceleration of Stochastic Approximation by Averaging, 1992; as training uses it: after
    each step average = d * average + (1 - d) * weights, here every STEPS-th with d**STEPS. In the beginning d is
    smaller, and each of the first STEPS steps counts, so that the weights of the start are soon forgotten.

    decay: d, over 0 and under 1.
    """

    def __init__(self, network: Any, decay: float) -> None:
        self._network, self._decay = network, decay
        self._average = self._weights()
        self._steps = 0

    def step(self) -> None:
        """Count one training step, and at every STEPS-th take in the weights as they are now."""
        self._steps += 1
        if self._steps > STEPS and self._steps % STEPS:
            return
        decay = min(self._decay**STEPS, self._steps / (self._steps + 10 * STEPS))
        for average, weights in zip(self._average, self._weights(), strict=True):
            np.add(average, (1 - decay) * (weights - average), out=average)  # exactly what it was where they are equal

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the network the average for as long as this lasts."""
        weights = self._weights()
        self._assign(self._average)
        try:
            yield
        finally:
            self._assign(weights)

    @property
    def arrays(self) -> list[NDArray[Any]]:
        """All that it holds, as a checkpoint keeps it."""
        return [np.array(self._steps), *self._average]

    @arrays.setter
    def arrays(self, arrays: Sequence[NDArray[Any]]) -> None:
        self._steps = int(arrays[0])
        self._average = [np.array(average) for average in arrays[1:]]

    def _weights(self) -> list[NDArray[np.float32]]:
        return [np.array(weight, np.float32) for weight in self._network.weights]

    def _assign(self, values: Sequence[NDArray[np.float32]]) -> None:
        for weight, value in zip(self._network.weights, values, strict=True):
            weight.assign(value)
