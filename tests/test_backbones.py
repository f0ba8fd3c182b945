"""Every backbone by its name: the table, how it takes its pixels, what it makes of them, and that it trains."""

import inspect
import re
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from sample_competition import draw_competition

from multihead.config.backbones import APPLICATIONS, STACK, least_size, scaling_mode
from multihead.config.manifest import read_manifest
from multihead.config.model_settings import ModelSettings
from multihead.config.settings import RunSettings
from multihead.model.backbones import build_backbone, scaled
from multihead.model.network import build_model, freeze_up_to
from multihead.model.pretrained import load_pretrained
from multihead.model.weights import load_model
from multihead.training.trainer import Trainer
from tests.built_in import BENGALI
from tests.conftest import HOUSE

TASKS_PAGE = (HOUSE / "docs" / "tasks.md").read_text(encoding="utf-8")
STACKS = [tomllib.loads(line)["stack_layers"] for line in re.findall(r"^stack_layers = .*", TASKS_PAGE, re.MULTILINE)]
SIDES = [28, 28, 150]
LATE = [pytest.param(name, marks=pytest.mark.slow) for name in ("densenet121", "inceptionresnetv2", "nasnet-mobile")]
FAMILIES = ["vgg16", "resnet50", "resnet50v2", "inceptionv3", "xception", "mobilenet", "mobilenetv2"]
FAMILIES += ["mobilenetv3-small", "efficientnetv2-b0", "convnext-tiny"]


def builder_of(name: str) -> Any:
    return getattr(keras.applications, APPLICATIONS[name].builder)


def stack_of(number: int) -> ModelSettings:
    """Return the settings of one of the stacks in the docs."""
    return ModelSettings(backbone=STACK, image_size=(SIDES[number],) * 2, stack_layers=tuple(STACKS[number]))


def test_the_table_is_keras_applications_but_for_the_first_efficientnets() -> None:
    builders = {name for name, value in vars(keras.applications).items() if inspect.isfunction(value)}
    others = {f"EfficientNetB{number}" for number in range(8)}
    assert {application.builder for application in APPLICATIONS.values()} == builders - others
    for name, application in APPLICATIONS.items():
        assert name.replace("-", "") == application.builder.lower()


@pytest.mark.parametrize("name", APPLICATIONS)
def test_pixels_are_scaled_as_keras_applications_scales_them(name: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3)).astype(np.float32)
    expected = sys.modules[builder_of(name).__module__].preprocess_input(pixels.copy())
    assert np.allclose(np.asarray(scaled(pixels, name)), expected, atol=1e-4)


def test_a_stack_takes_pixels_from_0_to_1() -> None:
    assert np.asarray(scaled(np.array([[[[0, 51, 255]]]], np.uint8), STACK)).ravel() == pytest.approx([0, 0.2, 1])


@pytest.mark.parametrize("name", APPLICATIONS)
def test_a_smaller_image_than_the_table_says_is_refused_by_keras_too(name: str) -> None:
    least = least_size(name)
    with pytest.raises(ValueError, match=r"Input size must be at least"):
        builder_of(name)(include_top=False, weights=None, input_shape=(least, least - 1, 3), name=name)


@pytest.mark.parametrize("name", [*FAMILIES, *LATE])
def test_each_family_answers_for_images_of_its_least_size(name: str) -> None:
    size = (least_size(name), least_size(name) + 5)
    settings = ModelSettings(backbone=name, image_size=size)
    network = build_model(settings, BENGALI)
    answers = network(np.zeros((2, *size, 1), np.uint8), training=False)
    assert {head: tuple(answer.shape) for head, answer in answers.items()} == {
        h: (2, len(c)) for h, c in BENGALI.heads.items()
    }
    layers = network.get_layer(name).layers
    has_scaling = any(isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization) for layer in layers)
    assert has_scaling == (scaling_mode(name) == "built in")
    assert not any(isinstance(layer, keras.layers.Lambda) for layer in [*network.layers, *layers])


@pytest.mark.parametrize("name", ["resnet10", "resnet16-se-1024", "narrow"])
def test_the_own_networks_answer_for_images_of_their_least_size(name: str) -> None:
    settings = ModelSettings(backbone=name, image_size=(least_size(name),) * 2)
    assert build_backbone(settings)(np.zeros((1, *settings.image_size, 3), np.uint8)).shape[0] == 1


def test_a_gate_is_what_two_dense_layers_say_of_the_means_of_the_channels() -> None:
    backbone = build_backbone(ModelSettings(backbone="resnet16-se-1024", image_size=(32, 32)))
    place = "stage4_block2"
    inside = keras.Model(
        backbone.input,
        [backbone.get_layer(f"{place}{part}").output for part in ("b_bn", "_excite")],
    )
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    change, gate = map(np.asarray, inside(images))
    squeeze, excite = (backbone.get_layer(f"{place}_{part}").get_weights() for part in ("squeeze", "excite"))
    assert squeeze[0].shape == (256, 32)
    squeezed = np.maximum(change.mean((1, 2)) @ squeeze[0] + squeeze[1], 0)
    np.testing.assert_allclose(gate[:, 0, 0], 1 / (1 + np.exp(-(squeezed @ excite[0] + excite[1]))), rtol=1e-4)


def test_a_resnet_with_open_gates_is_the_one_without_up_to_its_last_stage() -> None:
    settings = [ModelSettings(backbone=name, image_size=(32, 32)) for name in ("resnet16", "resnet16-se-1024")]
    plain, gated = map(build_backbone, settings)
    for layer in gated.layers:
        if layer.name.endswith("excite"):
            kernel, bias = layer.get_weights()
            layer.set_weights([0 * kernel, bias + 100])
        elif layer.weights and not layer.name.endswith("squeeze") and not layer.name.startswith("top"):
            layer.set_weights(plain.get_layer(layer.name).get_weights())
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    last = keras.Model(gated.input, gated.get_layer("top_conv").input)
    np.testing.assert_allclose(np.asarray(last(images)).mean((1, 2)), plain(images), rtol=1e-4, atol=1e-6)
    convolved = np.maximum(np.asarray(gated.get_layer("top_bn")(gated.get_layer("top_conv")(last(images)))), 0)
    assert convolved.shape[-1] == 1024
    np.testing.assert_allclose(gated(images), convolved.mean((1, 2)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "layer"), [("mobilenet", "conv_pw_3_relu"), ("mobilenetv3-small", "expanded_conv_2_add")]
)
def test_a_file_in_the_published_form_is_loaded_and_frozen_in_part(tmp_path: Path, name: str, layer: str) -> None:
    keras.utils.set_random_seed(1)
    settings = ModelSettings(backbone=name, image_size=(32, 32))
    published = builder_of(name)(include_top=False, weights=None, input_shape=(64, 64, 3))
    published.save(tmp_path / "notop.h5")
    network = build_model(settings, BENGALI)
    load_pretrained(network, settings, BENGALI, tmp_path / "notop.h5")
    backbone = network.get_layer(name)
    for one, of_file in zip(backbone.weights, published.weights, strict=True):
        assert np.array_equal(np.asarray(one), np.asarray(of_file))
    freeze_up_to(network, settings, layer)
    assert 0 < len(backbone.trainable_weights) < len(published.trainable_weights)


@pytest.mark.parametrize(("number", "channels", "parameters"), [(0, 1, 251_737), (1, 1, 1_198_592), (2, 3, 426_772)])
def test_a_stack_has_the_parameters_of_its_layers(number: int, channels: int, parameters: int) -> None:
    """Sums of 9 * in * out + out per convolution, 4 * out per normalisation, in * out + out per dense layer."""
    assert build_backbone(stack_of(number), channels).count_params() == parameters


def test_a_stack_s_layers_stand_in_the_order_of_the_settings() -> None:
    layers = ("conv 8 valid", "norm", "pool 2 same", "conv 4", "dropout 0.2", "pool 3", "dense 16")
    stack = build_backbone(ModelSettings(backbone=STACK, image_size=(15, 16), stack_layers=layers), channels=1)
    shapes = [(type(layer).__name__, layer.output.shape[1:]) for layer in stack.layers[1:]]
    assert shapes == [
        ("Conv2D", (13, 14, 8)),
        ("BatchNormalization", (13, 14, 8)),
        ("MaxPooling2D", (7, 7, 8)),
        ("Conv2D", (7, 7, 4)),
        ("Dropout", (7, 7, 4)),
        ("MaxPooling2D", (2, 2, 4)),
        ("Flatten", (16,)),
        ("Dense", (16,)),
        ("Flatten", (16,)),
    ]


def test_a_stack_sees_gray_as_one_channel() -> None:
    network = build_model(stack_of(0), BENGALI)
    assert network.get_layer(STACK).input.shape == (None, 28, 28, 1)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn competition of 4 train shards of 12 images: vgg16 takes some seconds for a batch of them on a CPU."""
    folder = tmp_path_factory.mktemp("few")
    draw_competition(folder, rows=12, test_rows=3, seed=0)
    return folder


def small(name: str) -> ModelSettings:
    """Return the settings of a backbone, or of a stack by its number, with about the smallest image that it takes."""
    if name.isdecimal():
        return replace(stack_of(int(name)), image_size=(32, 32))
    side = max(least_size(name), 32)
    return ModelSettings(backbone=name, image_size=(side, side))


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    ["vgg16", "mobilenet", "mobilenetv3-small", "efficientnet-b0", "resnet16-se-1024", "0", "1", "2"],
)
def test_a_network_of_each_scaling_trains_one_short_epoch(few: Path, tmp_path: Path, model: str) -> None:
    settings = small(model)
    run = RunSettings(epochs=1, batch_size=12, validation_share=0.2, resume="off")
    state = Trainer(BENGALI, settings, run, few, tmp_path).train()
    assert np.isfinite(state.history[0]["loss"])
    manifest = read_manifest(tmp_path)
    assert manifest.model == settings
    assert ("efficientnet" in manifest.versions) == (model == "efficientnet-b0")
    load_model(tmp_path, manifest)
