from typing import Any

import keras
import numpy as np
import pytest

from multihead.training.moving_average import STEPS, MovingAverage


def network_of(value: float) -> Any:
    inputs = keras.Input((2,))
    network = keras.Model(inputs, keras.layers.BatchNormalization()(keras.layers.Dense(3)(inputs)))
    set_all(network, value)
    return network


def set_all(network: Any, value: float) -> None:
    for weight in network.weights:
        weight.assign(np.full(weight.shape, value, np.float32))


def values(network: Any) -> set[float]:
    return {round(float(v), 5) for weight in network.weights for v in np.asarray(weight).ravel()}


def take_step(average: MovingAverage) -> None:
    if average.is_due():
        average.update()


def test_the_average_moves_by_its_decay_and_leaves_the_weights_as_they_were() -> None:
    network = network_of(0.0)
    average = MovingAverage(network, 0.9)
    average.arrays = [np.array(1000 * STEPS - 1), *average.arrays[1:]]  # past the start
    set_all(network, 1.0)
    take_step(average)
    with average.in_place():
        assert values(network) == {round(1 - 0.9**STEPS, 5)}
    assert values(network) == {1.0}


def test_the_weights_of_the_start_are_soon_forgotten() -> None:
    network = network_of(100.0)
    average = MovingAverage(network, 0.9999)
    set_all(network, 1.0)
    for _ in range(300 * STEPS):
        take_step(average)
    with average.in_place():
        assert max(values(network)) < 1.001


def test_the_weights_come_back_after_an_error_too() -> None:
    network = network_of(0.0)
    average = MovingAverage(network, 0.5)
    set_all(network, 1.0)
    with pytest.raises(FloatingPointError), average.in_place():
        raise FloatingPointError
    assert values(network) == {1.0}


def test_what_it_holds_goes_on_in_another() -> None:
    first, second = (MovingAverage(network_of(0.0), 0.99) for _ in range(2))
    networks = [first._network, second._network]
    for step in range(4 * STEPS):
        if step == STEPS + 3:
            second.arrays = first.arrays
        for network in networks:
            set_all(network, float(step))
        take_step(first)
        if step >= STEPS + 3:
            take_step(second)
    for one, other in zip(first.arrays, second.arrays, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("steps", [1, STEPS - 1, STEPS])
def test_a_training_of_few_steps_leaves_no_average_of_its_start(steps: int) -> None:
    network = network_of(0.0)
    average = MovingAverage(network, 0.999)
    set_all(network, 1.0)
    for _ in range(steps):
        take_step(average)
    with average.in_place():
        assert min(values(network)) > 0.9
