import dataclasses
import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from multihead import generator
from multihead.generator import (
    Draw,
    OneHot,
    TrainBatches,
    affine_jitter,
    cutmix,
    cutmix_box,
    erase,
    mixup,
    one_hot,
    random_for,
)
from multihead.settings import RunSettings

Images = NDArray[np.uint8]
STILL = RunSettings(batch_size=4, rotation_degrees=0, zoom=0, shift=0, mixup_share=0, cutmix_share=0)

seeds = st.integers(0, 2**32)
shapes = st.tuples(st.integers(1, 6), st.integers(1, 20), st.integers(1, 30), st.sampled_from([1, 3]))
alphas = st.sampled_from([0.05, 0.4, 1.0, 5.0])


def batch_of(shape: tuple[int, ...], seed: int) -> tuple[Images, OneHot]:
    rng = np.random.default_rng(seed)
    labels = {"root": rng.integers(0, 5, shape[0]), "mark": rng.integers(0, 2, shape[0])}
    return rng.integers(0, 256, shape, np.uint8), one_hot(labels, {"root": 5, "mark": 2})


def batches_of(images: Images, settings: RunSettings, epoch: int = 1, shard: int = 0) -> TrainBatches:
    """Batches over one shard whose labels are the row numbers."""
    rows = np.stack([np.zeros(len(images), np.int64), np.arange(len(images))], 1)
    labels = {"row": np.arange(len(images))}
    classes = {"row": len(images)}
    return TrainBatches([images], rows, labels, classes, settings, dark_ink=True, epoch=epoch, shard=shard)


@given(shapes, seeds, alphas, st.sampled_from([mixup, cutmix]))
def test_mixed_labels_sum_to_one_and_the_input_is_unchanged(shape, seed, alpha, mix) -> None:  # type: ignore[no-untyped-def]
    images, labels = batch_of(shape, seed)
    before, labels_before = images.copy(), {head: of.copy() for head, of in labels.items()}
    mixed, mixed_labels = mix(images, labels, np.random.default_rng(seed), alpha)
    assert mixed.shape == shape
    assert mixed.dtype == np.uint8
    for head, of in mixed_labels.items():
        assert of.dtype == np.float32
        assert np.allclose(of.sum(axis=1), 1, atol=1e-6)
        assert (of >= 0).all()
        assert np.array_equal(labels[head], labels_before[head])
    assert np.array_equal(images, before)


@given(st.tuples(st.just(2), st.integers(1, 20), st.integers(1, 30), st.just(1)), seeds, alphas)
def test_cutmix_weighs_labels_by_the_area_that_is_kept(shape, seed, alpha) -> None:  # type: ignore[no-untyped-def]
    images = np.stack([np.full(shape[1:], 10, np.uint8), np.full(shape[1:], 200, np.uint8)])
    labels = {"which": np.eye(2, dtype=np.float32)}
    mixed, mixed_labels = cutmix(images, labels, np.random.default_rng(seed), alpha)
    for image, label in zip(mixed, mixed_labels["which"], strict=True):
        assert label[0] == pytest.approx((image == 10).mean(), abs=1e-6)


@given(st.tuples(st.integers(1, 40), st.integers(1, 40)), st.floats(0, 1), seeds)
def test_a_cutmix_box_is_inside_the_image_and_no_larger_than_drawn(shape, kept, seed) -> None:  # type: ignore[no-untyped-def]
    box = cutmix_box(shape, kept, np.random.default_rng(seed))
    for side, length in zip(box, shape, strict=True):
        assert 0 <= side.start <= side.stop <= length
        assert side.stop - side.start <= length * np.sqrt(1 - kept) + 1


def test_a_cutmix_box_takes_height_from_the_rows() -> None:
    rng = np.random.default_rng(0)
    boxes = [cutmix_box((10, 1000), 0.5, rng) for _ in range(200)]
    assert max(rows.stop for rows, _ in boxes) <= 10
    assert max(columns.stop for _, columns in boxes) > 900


@given(shapes, seeds, alphas)
@settings(max_examples=50)
def test_mixup_blends_pixels_and_labels_by_the_same_share(shape, seed, alpha) -> None:  # type: ignore[no-untyped-def]
    count = shape[0]
    images = np.zeros(shape, np.uint8)
    images[0] = 200
    labels = {"is_first": np.eye(count, dtype=np.float32)}
    mixed, mixed_labels = mixup(images, labels, np.random.default_rng(seed), alpha)
    for image, label in zip(mixed, mixed_labels["is_first"], strict=True):
        assert image == pytest.approx(np.full(shape[1:], 200 * label[0]), abs=0.51)


@pytest.mark.parametrize("count", [10, 3, 1])
def test_an_epoch_is_each_image_once_in_batches_of_one_size(count: int) -> None:
    images, _ = batch_of((count, 8, 8, 1), 0)
    batches = batches_of(images, STILL)
    drawn = [batches[i] for i in range(len(batches))]
    assert [len(b) for b, _ in drawn] == [4] * math.ceil(count / 4)
    rows = np.concatenate([labels["row"].argmax(axis=1) for _, labels in drawn])
    assert sorted(rows[:count]) == list(range(count))
    assert rows[count:].tolist() == np.resize(rows[:count], len(rows))[count:].tolist()
    assert np.array_equal(np.concatenate([b for b, _ in drawn]), images[rows])


def test_a_batch_depends_on_its_place_alone() -> None:
    images, _ = batch_of((32, 16, 16, 1), 0)
    run = RunSettings(batch_size=8)
    first, again = batches_of(images, run), batches_of(images, run)
    forwards = [first[i] for i in range(4)]
    backwards = [again[i] for i in reversed(range(4))][::-1]
    for (a, a_labels), (b, b_labels) in zip(forwards, backwards, strict=True):
        assert np.array_equal(a, b)
        assert np.array_equal(a_labels["row"], b_labels["row"])


@pytest.mark.parametrize("change", [{"epoch": 2}, {"shard": 1}, {"seed": 1}])
def test_another_epoch_shard_or_seed_draws_otherwise(change: dict[str, int]) -> None:
    images, _ = batch_of((32, 16, 16, 1), 0)
    run = RunSettings(batch_size=8, seed=change.pop("seed", 0))
    base = batches_of(images, RunSettings(batch_size=8))[0][0]
    assert not np.array_equal(base, batches_of(images, run, **change)[0][0])


def test_mixing_happens_in_its_share_of_the_batches() -> None:
    images, _ = batch_of((2000, 4, 4, 1), 0)
    run = dataclasses.replace(STILL, batch_size=5, mixup_share=0.3, cutmix_share=0.2)
    batches = batches_of(images, run)
    mixed = [((labels["row"] > 0).sum(axis=1) > 1).any() for _, labels in (batches[i] for i in range(len(batches)))]
    assert 0.3 < np.mean(mixed) < 0.55


def test_batches_draw_across_the_shards_in_memory() -> None:
    shards = [np.full((8, 4, 4, 1), value, np.uint8) for value in (1, 2)]
    rows = np.array([(shard, row) for shard in range(2) for row in range(8)])
    labels = {"shard": rows[:, 0]}
    batches = TrainBatches(shards, rows, labels, {"shard": 2}, STILL, dark_ink=True, epoch=1, shard=0)
    images, of = batches[0]
    assert set(images[:, 0, 0, 0].tolist()) == {1, 2}
    assert np.array_equal(images[:, 0, 0, 0] - 1, of["shard"].argmax(axis=1))


def test_jitter_moves_ink_within_its_bounds_and_fills_with_paper() -> None:
    images = np.full((200, 65, 65, 1), 250, np.uint8)
    images[:, 30:35, 30:35] = 0
    moved = affine_jitter(images, np.random.default_rng(0), rotation_degrees=0, zoom=0, shift=0.2, dark_ink=True)
    assert moved.max() == 250
    centres = np.array([np.argwhere(image[:, :, 0] < 128).mean(axis=0) for image in moved])
    offsets = centres - 32
    assert np.abs(offsets).max() <= 13 + 1
    assert np.abs(offsets).max(axis=0) == pytest.approx([13, 13], abs=1.5)
    assert len({image.tobytes() for image in moved}) > 190


def bars(count: int) -> Images:
    """A dark bar, 41 by 5 pixels, in the middle of white paper."""
    images = np.full((count, 65, 65, 1), 255, np.uint8)
    images[:, 30:35, 12:53] = 0
    return images


def shape_of(image: Images) -> tuple[float, float, float]:
    """Angle in degrees, length and thickness in pixels, of the ink of one image."""
    (_, sides, angle) = cv2.minAreaRect(np.argwhere(image[:, :, 0] < 128)[:, ::-1].astype(np.float32))
    return ((angle + 45) % 90 - 45, max(sides), min(sides))


def test_jitter_turns_by_up_to_its_angle_either_way() -> None:
    rng = np.random.default_rng(0)
    turned = affine_jitter(bars(300), rng, rotation_degrees=20, zoom=0, shift=0, dark_ink=True)
    angles = np.array([shape_of(image)[0] for image in turned])
    assert angles.min() == pytest.approx(-20, abs=1.5)
    assert angles.max() == pytest.approx(20, abs=1.5)
    assert abs(np.median([shape_of(image)[1] for image in turned]) - 40) < 1.5


def test_jitter_zooms_each_axis_by_up_to_its_share() -> None:
    rng = np.random.default_rng(0)
    zoomed = affine_jitter(bars(300), rng, rotation_degrees=0, zoom=0.25, shift=0, dark_ink=True)
    lengths = np.array([shape_of(image)[1:] for image in zoomed]) + 1
    assert lengths[:, 0].min() == pytest.approx(41 * 0.75, abs=2)
    assert lengths[:, 0].max() == pytest.approx(41 * 1.25, abs=2)
    assert abs(np.corrcoef(lengths.T)[0, 1]) < 0.3


def test_jitter_keeps_light_ink_on_dark_ground() -> None:
    images = np.zeros((20, 33, 33, 3), np.uint8)
    images[:, 10:20, 10:20] = (200, 100, 50)
    moved = affine_jitter(images, np.random.default_rng(0), rotation_degrees=20, zoom=0.2, shift=0.3, dark_ink=False)
    assert moved.shape == images.shape
    assert (moved[:, 0, 0] == 0).all()


def test_every_purpose_has_its_own_stream() -> None:
    draws = {random_for(0, purpose).random() for purpose in Draw}
    assert len(draws) == len(Draw)


def test_jitter_gives_the_same_pixels_with_and_without_ipp(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (32, 64, 48, 1), np.uint8)

    def jittered() -> Images:
        rng = np.random.default_rng(1)
        return affine_jitter(images, rng, rotation_degrees=30, zoom=0.3, shift=0.2, dark_ink=True)

    without = jittered()
    monkeypatch.setattr(generator, "use_opencv_alone", lambda: cv2.ipp.setUseIPP(True))
    with_ipp = jittered()
    if not cv2.ipp.useIPP():
        pytest.skip("this OpenCV was built without IPP")
    cv2.ipp.setUseIPP(False)
    assert np.array_equal(with_ipp, without)


@given(shapes.filter(lambda shape: min(shape[1:3]) > 1), seeds, st.sampled_from([0.0, 0.5, 1.0]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_erasing_blanks_one_box_of_an_image_with_its_paper(
    shape: tuple[int, ...], seed: int, share: float, dark_ink: bool
) -> None:
    before, _ = batch_of(shape, seed)
    images = before.copy()
    erase(images, np.random.default_rng(seed), share, dark_ink=dark_ink)
    for old, new in zip(before, images, strict=True):
        changed = (old != new).any(axis=2)
        assert share or not changed.any()
        if changed.any():
            rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
            box = new[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            assert (box == (old.max() if dark_ink else old.min())).all()


def test_erasing_of_all_leaves_no_image_as_it_was() -> None:
    before = np.random.default_rng(0).integers(0, 200, (50, 30, 40, 1), np.uint8)
    images = before.copy()
    erase(images, np.random.default_rng(0), 1.0, dark_ink=True)
    shares = [(old != new).mean() for old, new in zip(before, images, strict=True)]
    assert min(shares) > 0.01
    assert max(shares) < 0.42
    erase(images := before.copy(), np.random.default_rng(0), 0.5, dark_ink=True)
    assert 10 < sum((old != new).any() for old, new in zip(before, images, strict=True)) < 40


def test_the_last_epochs_are_not_mixed() -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 10, 10, 1), np.uint8)
    run = dataclasses.replace(STILL, mixup_share=1.0, mixup_alpha=5.0, epochs=5, clean_epochs=2)
    mixed = [
        any(((of > 0) & (of < 1)).any() for of in batches_of(images, run, epoch=epoch)[0][1].values())
        for epoch in range(5)
    ]
    assert mixed == [True, True, True, False, False]
    only_one = batches_of(images, dataclasses.replace(run, epochs=1), epoch=0)[0][1]["row"]
    assert ((only_one > 0) & (only_one < 1)).any()
