import math
from typing import Any

import keras
import numpy as np
import pytest

from multihead.config.model_settings import ModelSettings
from multihead.config.settings import RunSettings
from multihead.runtime.log import elapsed
from multihead.runtime.progress import Progress
from multihead.training import keras_io
from multihead.training.build import compiled_network
from multihead.training.keras_io import KerasBatches, Watch, has_finite_weights
from multihead.training.moving_average import STEPS, MovingAverage
from tests.built_in import BENGALI

MODEL = ModelSettings(backbone="stack", image_size=(8, 8), stack_layers=("dense 4",))
BATCH = 4


def network_of(**changes: Any) -> Any:
    keras.utils.set_random_seed(0)
    return compiled_network(BENGALI, MODEL, RunSettings(xla="off", **changes))


def fit(network: Any, rates: list[float], callbacks: Any = None) -> Any:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (BATCH, 8, 8, 1), np.uint8)
    targets = {head: np.eye(len(c), dtype=np.float32)[:BATCH] for head, c in BENGALI.heads.items()}
    source: Any = [(images, targets)] * len(rates)
    return network.fit(
        KerasBatches(source, range(len(rates)), rates), shuffle=False, verbose=0, callbacks=callbacks
    ).history


def watch(network: Any, steps: int, *, average: Any = None, deadline: float = math.inf) -> Watch:
    return Watch(network, "epoch 1", [BATCH] * steps, Progress("epoch 1", BATCH), average=average, deadline=deadline)


def weights_of(network: Any) -> Any:
    return np.concatenate([np.asarray(weight).ravel() for weight in network.weights])


def test_each_batch_is_learned_at_its_own_rate() -> None:
    network = network_of()
    before = weights_of(network)
    fit(network, [0.0, 0.0])
    assert np.array_equal(weights_of(network), before)
    fit(network, [0.0, 1e-3])
    assert 0 < np.abs(weights_of(network) - before).max() < 1.1e-3  # of Adam, a step is no longer than its rate
    assert float(network.optimizer.learning_rate) == pytest.approx(1e-3)


def test_gradients_of_so_many_batches_make_one_update() -> None:
    network, at_once = network_of(gradient_accumulation=3), network_of()
    before = weights_of(network)
    fit(network, [1e-3] * 2)
    assert np.array_equal(weights_of(network), before)
    fit(network, [1e-3])
    fit(at_once, [1e-3])  # all three were the same
    assert np.allclose(weights_of(network), weights_of(at_once), atol=1e-6)


class Logs(dict[str, Any]):
    """What a step leaves on the device, and how often it was waited for."""

    fetched = 0

    def __getitem__(self, key: str) -> Any:
        Logs.fetched += 1
        return 1.5


@pytest.mark.parametrize(("seconds", "fetched"), [(1e9, 1), (-1.0, 20)])
def test_the_loss_is_fetched_now_and_then(seconds: float, fetched: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_io, "SECONDS", seconds)
    monkeypatch.setattr(Logs, "fetched", 0)
    watched = watch(network_of(), 20)
    for batch in range(20):
        watched.on_train_batch_end(batch, Logs(loss=1))
    assert Logs.fetched == fetched


def test_a_fit_makes_no_number_of_what_lies_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras does, once for each batch, where it has callbacks to call."""
    from keras.src.utils import python_utils

    calls: list[Any] = []
    original = python_utils.pythonify_logs

    def counted(logs: Any) -> Any:
        calls.append(logs)
        return original(logs)

    monkeypatch.setattr(python_utils, "pythonify_logs", counted)
    network = network_of()
    fit(network, [1e-3] * 30, watch(network, 30))
    assert len(calls) < 10


def test_the_moving_average_follows_the_fit() -> None:
    network = network_of()
    average = MovingAverage(network, 0.5)
    fit(network, [1e-2] * 3 * STEPS, watch(network, 3 * STEPS, average=average))
    weights = weights_of(network)
    assert average.arrays[0] == 3 * STEPS
    with average.in_place():
        assert 0 < np.abs(weights_of(network) - weights).max() < 0.1
    assert np.array_equal(weights_of(network), weights)


def test_a_fit_ends_where_its_time_does() -> None:
    network = network_of()
    watched = watch(network, 50, deadline=elapsed())
    fit(network, [1e-3] * 50, watched)
    assert watched.batches_done == 1


def test_a_weight_that_is_no_number_is_found() -> None:
    network = network_of()
    assert has_finite_weights(network)
    for value in (np.nan, np.inf):
        bias = network.get_layer("vowel_diacritic").bias
        bias.assign(np.full(bias.shape, value))
        assert not has_finite_weights(network)
