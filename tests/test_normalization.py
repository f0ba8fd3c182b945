from typing import Any

import keras
import numpy as np
import pytest

from multihead.config.model_settings import ModelSettings
from multihead.model.backbones import build_backbone
from multihead.model.normalization import BatchNormalization

FEATURES = np.random.default_rng(0).normal(3, 5, (4, 6, 5, 7)).astype(np.float32)


def as_floats(tensor: Any) -> Any:
    return np.asarray(keras.ops.cast(tensor, "float32"))


def answer_and_gradients(layer: Any, features: Any, training: bool) -> tuple[Any, list[Any]]:
    """Return what a layer makes of features, and the gradients of some loss of it for those and for its parameters."""
    import tensorflow as tf

    if not layer.built:
        layer.build(features.shape)
    inputs = tf.constant(features)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        answer = layer(inputs, training=training)
        loss = tf.reduce_sum(tf.sin(tf.cast(answer, tf.float32)))
    return answer, tape.gradient(loss, [inputs, layer.gamma.value, layer.beta.value])


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("features", [FEATURES, FEATURES[:, 0, 0]])
def test_it_answers_and_learns_as_keras_s_own_layer(precision: str, features: Any) -> None:
    own, of_keras = (kind(dtype=precision) for kind in (BatchNormalization, keras.layers.BatchNormalization))
    for training in (True, True, False):
        made = [answer_and_gradients(layer, features, training) for layer in (own, of_keras)]
        answers, gradients = zip(*made, strict=True)
        for one, other in zip(*gradients, strict=True):
            assert np.allclose(one, other, rtol=0.02 if "16" in precision else 1e-4, atol=1e-3)
        assert str(answers[0].dtype) == str(answers[1].dtype)
        assert np.allclose(as_floats(answers[0]), as_floats(answers[1]), atol=1e-5)
        for one, other in zip(own.weights, of_keras.weights, strict=True):
            assert (one.name, one.dtype) == (other.name, "float32")
            assert np.allclose(one, other, atol=1e-5)


def test_frozen_it_keeps_its_statistics_in_a_training() -> None:
    layer = BatchNormalization(trainable=False)
    answers = layer(FEATURES, training=True)
    assert np.allclose(answers, FEATURES / np.sqrt(1 + layer.epsilon), atol=1e-5)
    assert not np.asarray(layer.moving_mean).any()


@pytest.mark.parametrize("backbone", ["narrow", "resnet10", "stack"])
def test_networks_that_are_built_here_have_it(backbone: str) -> None:
    layers = ("conv 4", "norm") if backbone == "stack" else ()
    built = build_backbone(ModelSettings(backbone=backbone, image_size=(32, 32), stack_layers=layers))
    kinds = {type(layer) for layer in built.layers if isinstance(layer, keras.layers.BatchNormalization)}
    assert kinds == {BatchNormalization}
