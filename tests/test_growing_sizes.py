"""Images that grow: the first epochs train at smaller sizes, and what becomes of it is as of one size."""

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multihead.config.backbones import STACK, check_growing_sizes, least_size, takes_any_size
from multihead.config.manifest import read_manifest
from multihead.config.settings import ModelSettings, RunSettings
from multihead.config.settings_file import read_settings
from multihead.data.batches import TrainBatches
from multihead.model.backbones import build_backbone
from multihead.model.network import build_model
from multihead.model.weights import load_model
from multihead.runtime.errors import UserError
from multihead.training.trainer import Trainer
from tests.built_in import BENGALI
from tests.training_process import Training, assert_same_checkpoint

SIZES = ((8, 8), (16, 24), (32, 32))


def run_of(sizes: tuple[tuple[int, int], ...] = SIZES[:-1], **changes: Any) -> RunSettings:
    values: dict[str, Any] = {"epochs": 3, "batch_size": 16, "validation_share": 0.2, "growing_sizes": sizes}
    return RunSettings(**values | changes)


@given(st.integers(1, 4), st.integers(0, 40))
def test_sizes_share_the_epochs_and_the_last_are_those_of_the_model(count: int, more: int) -> None:
    run = run_of(tuple((8 * side, 8 * side) for side in range(1, count + 1)), epochs=count + 1 + more)
    sizes = [run.train_size(epoch, (64, 64)) for epoch in range(run.epochs)]
    assert sizes == sorted(sizes)
    epochs = [sizes.count(size) for size in (*run.growing_sizes, (64, 64))]
    assert sum(epochs) == run.epochs
    assert max(epochs) - min(epochs) <= 1
    assert epochs[-1] == max(epochs)


def test_without_the_setting_every_epoch_is_of_one_size() -> None:
    assert {RunSettings(epochs=3).train_size(epoch, (20, 30)) for epoch in range(5)} == {(20, 30)}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["backbone=mobilenetv2", "growing_sizes=[[32, 32]]"], "mobilenetv2 is built for one size"),
        (["growing_sizes=[[16, 32]]"], r"\[16, 32\]: efficientnet-b0 takes at least \[32, 32\]"),
        (["growing_sizes=[[4, 32]]"], r"expected at least 8"),
        (["growing_sizes=[48, 48]"], r"expected a list of pairs"),
        (["growing_sizes=[[64, 64]]"], r"\[64, 64\] before \[64, 64\]; expected sizes that grow up to image_size"),
        (["growing_sizes=[[96, 48]]"], r"\[96, 48\] before \[64, 64\]"),
        (["growing_sizes=[[48, 48], [32, 32]]"], r"\[48, 48\] before \[32, 32\]"),
        (["growing_sizes=[[48, 48]]", "epochs=1"], "2 sizes in epochs = 1"),
        (["growing_sizes=[[48, 48]]", "schedule=plateau"], 'expected "cosine"'),
        (["trials=[{ image_size = [32, 32] }, { seed = 1 }]", "growing_sizes=[[48, 48]]"], "trials 1: growing_sizes"),
    ],
)
def test_sizes_that_cannot_be_trained_at_are_one_line(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_settings(None, overrides)
    assert "\n" not in str(caught.value)


def test_a_stack_is_refused_and_a_size_of_one_larger_side_is_not() -> None:
    with pytest.raises(ValueError, match="stack is built for one size"):
        check_growing_sizes(STACK, (64, 64), [(32, 32)])
    check_growing_sizes("resnet10", (64, 64), [(32, 32), (32, 64)])


IMAGES = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 1), np.uint8)
STILL: dict[str, Any] = {"augmentation": (), "mixup_share": 0.0, "cutmix_share": 0.0, "batch_size": 12}


def batches_of(run: RunSettings, epoch: int) -> TrainBatches:
    rows = np.stack([np.zeros(len(IMAGES), np.int64), np.arange(len(IMAGES))], 1)
    labels = {"row": np.arange(len(IMAGES))}
    return TrainBatches([IMAGES], rows, labels, {"row": len(IMAGES)}, run, dark_ink=True, epoch=epoch, shard=0)


def test_batches_are_of_their_epoch_s_size_shrunk_as_crops_are() -> None:
    for epoch, (height, width) in enumerate(SIZES):
        images, targets = batches_of(run_of(**STILL), epoch)[0]
        assert images.shape == (12, height, width, 1)
        for image, row in zip(images, targets["row"].argmax(axis=1), strict=True):
            expected = cv2.resize(IMAGES[row], (width, height), interpolation=cv2.INTER_AREA)
            assert np.array_equal(image[:, :, 0], expected)


def test_the_augmentation_sees_the_whole_crop_in_every_epoch() -> None:
    """A step in pixels then means the same in all of them; what an epoch of one size draws, one that grows does."""
    steps = ({"name": "affine", "rotation_degrees": 20.0, "zoom": 0.2, "shift": 0.1},)
    run = run_of(**STILL | {"augmentation": steps})
    (large, _), (small, _) = (
        batches_of(settings, 0)[0] for settings in (dataclasses.replace(run, growing_sizes=()), run)
    )
    expected = [cv2.resize(image, (8, 8), interpolation=cv2.INTER_AREA) for image in large]
    assert np.array_equal(small[..., 0], expected)


def test_mixed_images_are_weighed_by_the_pixels_that_they_have() -> None:
    images, targets = batches_of(run_of(**STILL | {"cutmix_share": 1.0}), 0)[0]
    assert images.shape == (12, 8, 8, 1)
    for shares in targets["row"]:
        assert np.isclose(shares.sum(), 1)
        assert np.isclose(shares * 64, (shares * 64).round(), atol=1e-4).all()


FAMILIES = ["narrow", "resnet10", "mobilenet", "mobilenetv2", "mobilenetv3-small"]
SLOW = ["vgg16", "resnet50", "resnet50v2", "inceptionv3", "inceptionresnetv2", "xception", "densenet121"]
SLOW += ["efficientnet-b0", "efficientnetv2-b0", "efficientnetv2-s", "convnext-tiny"]


@pytest.mark.parametrize("name", [*FAMILIES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_a_network_for_any_size_answers_as_one_for_its_size_where_the_table_says_so(name: str) -> None:
    """Of odd numbers of pixels, too, of which padding that goes by the size is another."""
    least = max(32, least_size(name))
    of_any = build_backbone(ModelSettings(backbone=name, image_size=(least, least)), any_size=True)
    rng = np.random.default_rng(0)
    for weight in of_any.weights:  # as after a training, with no two channels alike
        moved = np.asarray(weight) + rng.normal(0, 0.02, weight.shape)
        weight.assign(np.abs(moved) if "variance" in weight.name else moved)
    are_same = []
    for size in ((least, least), (least + 5, least + 14)):
        fixed = build_backbone(ModelSettings(backbone=name, image_size=size))
        fixed.set_weights(of_any.get_weights())
        images = rng.normal(0, 1, (2, *size, 3)).astype(np.float32)
        answers, expected = (np.asarray(network(images)) for network in (of_any, fixed))
        are_same.append(float(np.abs(answers - expected).max()) < 1e-3 * float(np.abs(expected).max()))
    assert are_same == [True, takes_any_size(name)]


def test_a_network_for_any_size_has_the_weights_of_one_for_its_size() -> None:
    model = ModelSettings(backbone="resnet10", image_size=(32, 32))
    keras.utils.set_random_seed(3)
    of_any = build_model(model, BENGALI, any_size=True)
    keras.utils.set_random_seed(3)
    fixed = build_model(model, BENGALI)
    for one, other in zip(of_any.weights, fixed.weights, strict=True):
        assert one.path == other.path
        assert np.array_equal(one, other)


def test_a_training_traces_each_size_once_and_leaves_weights_for_the_last(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    traced, step = [], keras.Model.train_step

    def traced_step(network: keras.Model, data: Any) -> object:
        traced.append(tuple(data[0].shape[1:3]))
        return step(network, data)

    monkeypatch.setattr(keras.Model, "train_step", traced_step)
    model = ModelSettings(backbone="resnet10", image_size=(16, 16))
    trainer = Trainer(BENGALI, model, run_of(((8, 8),), epochs=3), drawn, tmp_path)
    trainer.train()
    assert traced == [(8, 8), (16, 16)]
    lines = [line.split("] ")[1] for line in capsys.readouterr().out.splitlines() if "from here on" in line]
    assert lines == ["epoch 1/3: images of 8 x 8 from here on", "epoch 2/3: images of 16 x 16 from here on"]
    network = load_model(tmp_path, read_manifest(tmp_path))
    assert network.input_shape == (None, 16, 16, 1)


GROWING = """
[model]
backbone = "resnet10"
image_size = [24, 24]
[run]
epochs = 3
growing_sizes = [[8, 8], [16, 16]]
batch_size = 16
validation_share = 0.2
deterministic = true
"""


@pytest.mark.slow
def test_killed_in_the_middle_of_each_size_a_training_ends_with_the_same_bits(drawn: Path, tmp_path: Path) -> None:
    unbroken, broken = (Training(tmp_path / name, drawn) for name in ("unbroken", "broken"))
    for training in (unbroken, broken):
        (training.root / "settings.toml").write_text(GROWING)
    unbroken.run_to_the_end()
    for epoch in range(3):
        assert broken.kill_when(broken.has_done(epoch, shards=2))
    assert "going on from" in broken.run_to_the_end()
    assert_same_checkpoint(broken.working, unbroken.working)
