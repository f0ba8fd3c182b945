from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from multihead.config.backbones import EFFICIENTNETS
from multihead.config.files import MANIFEST_FILE, WEIGHTS_FILE, named
from multihead.config.model_settings import ModelSettings
from multihead.config.task import Task
from multihead.model.backbones import build_backbone, scaled
from multihead.model.network import build_model, freeze_up_to
from multihead.model.pretrained import load_pretrained
from multihead.model.weights import save_weights
from multihead.prediction.predictor import predict_probabilities
from multihead.runtime.errors import UserError
from tests.built_in import BENGALI

NARROW = ModelSettings(backbone="narrow", image_size=(32, 48))


def test_a_model_turns_gray_pixels_into_probabilities_of_every_head() -> None:
    keras.utils.set_random_seed(0)
    network = build_model(NARROW, BENGALI)
    images = np.random.default_rng(0).integers(0, 256, (7, 32, 48, 1), np.uint8)
    answers = predict_probabilities(network, images, batch_size=4)
    assert list(answers) == list(BENGALI.heads)
    for head, classes in BENGALI.heads.items():
        assert answers[head].shape == (7, len(classes))
        assert answers[head].dtype == np.float32
        assert np.allclose(answers[head].sum(axis=1), 1, atol=1e-5)


def test_a_padded_batch_answers_as_a_full_one() -> None:
    keras.utils.set_random_seed(0)
    network = build_model(NARROW, BENGALI)
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 48, 1), np.uint8)
    whole, cut = predict_probabilities(network, images, 8), predict_probabilities(network, images[:5], 8)
    for head in BENGALI.heads:
        assert np.allclose(cut[head], whole[head][:5], atol=1e-6)


def test_no_images_give_no_answers_of_the_right_width() -> None:
    network = build_model(NARROW, BENGALI)
    answers = predict_probabilities(network, np.empty((0, 32, 48, 1), np.uint8), 4)
    assert {head: answer.shape for head, answer in answers.items()} == {
        h: (0, len(c)) for h, c in BENGALI.heads.items()
    }


def test_input_scaling_is_that_of_the_package_s_weights() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 4, 5, 3)).astype(np.float32)
    found = np.asarray(scaled(pixels, "efficientnet-b0"))
    expected = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert np.allclose(found, expected, atol=1e-5)


def test_b0_has_the_paper_s_parameters() -> None:
    assert build_backbone(ModelSettings(backbone="efficientnet-b0")).count_params() == 4_049_564


def test_the_table_is_the_package_s_own() -> None:
    """The width and depth that efficientnet's own builders pass on, for B0 to B7."""
    from efficientnet import model as package

    def recorded(width: float, depth: float, *args: object, **kwargs: object) -> tuple[float, float]:
        return width, depth

    original, package.EfficientNet = package.EfficientNet, recorded
    try:
        own = {f"efficientnet-b{i}": getattr(package, f"EfficientNetB{i}")(weights=None) for i in range(8)}
    finally:
        package.EfficientNet = original
    assert own == {name: shape for name, shape in EFFICIENTNETS.items() if name != "narrow"}


def test_heads_stay_float32_under_mixed_precision() -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        network = build_model(NARROW, BENGALI)
    finally:
        keras.config.set_dtype_policy(before)
    assert network.get_layer("narrow").compute_dtype == "float16"
    assert all(network.get_layer(head).compute_dtype == "float32" for head in BENGALI.heads)


def test_a_published_file_s_weights_come_into_the_backbone(tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    other = build_backbone(ModelSettings(backbone="narrow"))
    other.save(tmp_path / "narrow.h5")  # the form of the published files
    network = build_model(NARROW, BENGALI)
    load_pretrained(network, NARROW, BENGALI, tmp_path / "narrow.h5")
    for one, of_file in zip(network.get_layer("narrow").weights, other.weights, strict=True):
        assert np.array_equal(np.asarray(one), np.asarray(of_file))


def test_a_file_of_another_backbone_is_refused(tmp_path: Path) -> None:
    inputs = keras.Input((3,))
    keras.Model(inputs, keras.layers.Dense(2)(inputs)).save(tmp_path / "dense.h5")
    (tmp_path / "page.h5").write_text("<html>")
    for name in ("dense.h5", "page.h5"):
        with pytest.raises(UserError, match=f"pretrained: .*{name} does not fit narrow"):
            load_pretrained(build_model(NARROW, BENGALI), NARROW, BENGALI, tmp_path / name)


@pytest.mark.slow
def test_frozen_layers_are_not_trained() -> None:
    network = build_model(NARROW, BENGALI)
    freeze_up_to(network, NARROW, "block1a_project_bn")
    frozen = {v.path for v in network.weights} - {v.path for v in network.trainable_weights}
    assert any("stem_conv" in path for path in frozen)
    assert any("block1a_project_bn" in path for path in frozen)
    assert not any("block2a_expand_conv" in path for path in frozen)
    before = {v.path: np.asarray(v) for v in network.weights}
    network.compile("adamw", dict.fromkeys(BENGALI.heads, "categorical_crossentropy"))
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 48, 1), np.uint8)
    labels = {head: np.eye(len(classes), dtype=np.float32)[:4] for head, classes in BENGALI.heads.items()}
    network.fit(images, labels, verbose=0)
    is_same = {v.path: np.array_equal(before[v.path], np.asarray(v)) for v in network.weights}
    assert all(is_same[path] for path in frozen if "block1a" in path or "stem" in path)
    assert not all(is_same.values())


def test_a_layer_that_is_not_there_cannot_be_frozen_up_to() -> None:
    with pytest.raises(UserError, match="frozen_up_to = 'conv9'; narrow has stem_conv, "):
        freeze_up_to(build_model(NARROW, BENGALI), NARROW, "conv9")


def left_by_training(folder: Path, task: Task = BENGALI, model: ModelSettings = NARROW, name: str = "first") -> Any:
    """Leave the weights of a network in a folder as staging calls them, and return the network."""
    keras.utils.set_random_seed(1)
    network = build_model(model, task)
    counts = {head: (1,) * len(classes) for head, classes in task.heads.items()}
    save_weights(folder, network, model, task, train_counts=counts, score=None, epoch=1)
    for file in (WEIGHTS_FILE, MANIFEST_FILE):
        (folder / file).rename(folder / named(file, name))
    return network


def same_weights(one: Any, other: Any, layer: str) -> bool:
    pairs = zip(one.get_layer(layer).weights, other.get_layer(layer).weights, strict=True)
    return all(np.array_equal(np.asarray(these), np.asarray(those)) for these, those in pairs)


def test_weights_of_an_earlier_training_come_into_the_backbone_and_the_heads_at_any_image_size(tmp_path: Path) -> None:
    first = left_by_training(tmp_path)
    settings = ModelSettings(backbone="narrow", image_size=(48, 48))
    keras.utils.set_random_seed(2)
    network = build_model(settings, BENGALI)
    layers = load_pretrained(network, settings, BENGALI, tmp_path / "first.model.weights.h5").layers
    assert layers == ["narrow", *BENGALI.heads]
    assert all(same_weights(first, network, layer) for layer in layers)


def test_a_head_with_other_classes_keeps_its_own_weights(tmp_path: Path) -> None:
    vowels = {**BENGALI.heads, "vowel_diacritic": BENGALI.heads["vowel_diacritic"][::-1]}
    first = left_by_training(
        tmp_path, replace(BENGALI, name="other-vowels", heads=vowels), replace(NARROW, task="other-vowels")
    )
    keras.utils.set_random_seed(2)
    network = build_model(NARROW, BENGALI)
    layers = load_pretrained(network, NARROW, BENGALI, tmp_path / "first.model.weights.h5").layers
    assert layers == ["narrow", "grapheme_root", "consonant_diacritic"]
    assert not same_weights(first, network, "vowel_diacritic")


def test_weights_of_an_earlier_training_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "first.model.weights.h5"
    path.touch()
    with pytest.raises(UserError, match=r"first\.manifest\.json: cannot be read"):
        load_pretrained(build_model(NARROW, BENGALI), NARROW, BENGALI, path)
    left_by_training(tmp_path)
    other = replace(NARROW, backbone="resnet10")
    with pytest.raises(UserError, match=r"first\.model\.weights\.h5 is of narrow; this training is of resnet10"):
        load_pretrained(build_model(other, BENGALI), other, BENGALI, path)
    stack = ModelSettings(backbone="stack", image_size=(32, 48), stack_layers=("conv 2", "dense 4"))
    left_by_training(tmp_path, model=stack, name="stack")
    larger = replace(stack, image_size=(64, 64))
    with pytest.raises(UserError, match="layers of other sizes; it is of images of 32 x 48 x 1, not 64 x 64 x 1"):
        load_pretrained(build_model(larger, BENGALI), larger, BENGALI, tmp_path / "stack.model.weights.h5")
