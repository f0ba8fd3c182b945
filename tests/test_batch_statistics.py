from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from multihead.config.files import MANIFEST_FILE, WEIGHTS_FILE
from multihead.config.manifest import read_manifest
from multihead.config.settings import ModelSettings, RunSettings
from multihead.model.normalization import BatchNormalization
from multihead.model.weights import load_model
from multihead.training import trainer as trainer_module
from multihead.training.batch_statistics import refresh_statistics
from multihead.training.trainer import Trainer
from tests.built_in import BENGALI

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 5, 2), np.uint8)
IMAGES[1] //= 2  # so that the means of the batches differ


def network_of(dropout: float = 0.0) -> Any:
    inputs = keras.Input((5, 5, 2), dtype="uint8")
    features = BatchNormalization(name="first")(keras.ops.cast(inputs, "float32"))
    inner = keras.Input((5, 5, 2))
    layers = [keras.layers.Conv2D(3, 3), BatchNormalization(name="second")]
    backbone = keras.Model(inner, keras.Sequential(layers)(inner), name="backbone")
    return keras.Model(inputs, backbone(keras.layers.Dropout(dropout)(features)))


def arrays(variables: Any) -> list[Any]:
    return [np.array(variable) for variable in variables]


def test_statistics_are_those_of_all_images_at_once() -> None:
    network = network_of()
    refresh_statistics(network, IMAGES)
    layer, pixels = network.get_layer("first"), IMAGES.reshape(-1, 2).astype(np.float64)
    assert np.allclose(layer.moving_mean, pixels.mean(axis=0))
    assert np.allclose(layer.moving_variance, pixels.var(axis=0))


def test_a_layer_in_a_network_within_has_them_too() -> None:
    network = network_of()
    [second] = [layer for layer in network._flatten_layers() if layer.name == "second"]
    refresh_statistics(network, IMAGES)
    mean = np.array(second.moving_mean)
    assert mean.any()
    refresh_statistics(network, IMAGES)
    assert np.array_equal(second.moving_mean, mean)  # whatever they were before


def test_nothing_else_changes() -> None:
    network = network_of(dropout=0.5)
    frozen = network.get_layer("first")
    frozen.trainable = False
    is_seed = [variable.dtype != "float32" for variable in network.variables]
    assert any(is_seed)
    before, statistics = arrays(network.variables), arrays(frozen.weights)
    refresh_statistics(network, IMAGES)
    changed = [not np.array_equal(one, other) for one, other in zip(before, network.variables, strict=True)]
    names = {variable.path.split("/")[-1] for variable, is_so in zip(network.variables, changed, strict=True) if is_so}
    assert names == {"moving_mean", "moving_variance"}
    assert sum(changed) == 2  # of the second alone
    assert all(np.array_equal(one, other) for one, other in zip(statistics, frozen.weights, strict=True))
    assert frozen.momentum == 0.99


def test_momentum_and_seeds_come_back_after_an_error_too() -> None:
    network = network_of(dropout=0.5)

    def broken() -> Any:
        yield IMAGES[0]
        raise KeyboardInterrupt

    seeds = [np.array(variable) for variable in network.variables if variable.dtype != "float32"]
    with pytest.raises(KeyboardInterrupt):
        refresh_statistics(network, broken())
    assert network.get_layer("first").momentum == 0.99
    after = [variable for variable in network.variables if variable.dtype != "float32"]
    assert all(np.array_equal(one, other) for one, other in zip(seeds, after, strict=True))


def test_a_network_without_batch_normalization_is_left_as_it_is() -> None:
    inputs = keras.Input((2,))
    refresh_statistics(keras.Model(inputs, keras.layers.Dense(1)(inputs)), [])


STACK = ModelSettings(
    backbone="stack", image_size=(8, 8), stack_layers=("conv 4", "dropout 0.5", "norm", "pool 2", "dense 8")
)


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_the_last_epoch_s_weights_have_them_and_so_have_weights_that_are_made_anew(
    ema_decay: float, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[list[tuple[int, ...]]] = []

    def refresh(network: Any, batches: Any) -> None:
        seen = list(batches)
        shapes.append([images.shape for images in seen])
        refresh_statistics(network, seen)

    monkeypatch.setattr(trainer_module, "refresh_statistics", refresh)
    run = RunSettings(epochs=2, batch_size=16, validation_share=0.2, refreshed_batches=7, ema_decay=ema_decay)

    def trained() -> Any:
        Trainer(BENGALI, STACK, run, drawn, tmp_path).train()
        return load_model(tmp_path, read_manifest(tmp_path)).get_weights()

    first = trained()
    assert shapes == [[(16, 8, 8, 1)] * 7]
    for name in (MANIFEST_FILE, WEIGHTS_FILE):
        (tmp_path / name).unlink()
    again = trained()
    assert len(shapes) == 2
    assert all(np.allclose(one, other, rtol=1e-5, atol=1e-6) for one, other in zip(first, again, strict=True))
