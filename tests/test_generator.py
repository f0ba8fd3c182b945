import dataclasses
import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from multihead.config.settings import RunSettings
from multihead.data.batches import TrainBatches
from multihead.data.draws import Draw, random_for
from multihead.data.mix import cutmix, cutmix_box, mixup
from multihead.data.targets import Targets, targets_of

Images = NDArray[np.uint8]
STILL = RunSettings(batch_size=4, augmentation=(), mixup_share=0, cutmix_share=0)

seeds = st.integers(0, 2**32)
shapes = st.tuples(st.integers(1, 6), st.integers(1, 20), st.integers(1, 30), st.sampled_from([1, 3]))
alphas = st.sampled_from([0.05, 0.4, 1.0, 5.0])


def batch_of(shape: tuple[int, ...], seed: int) -> tuple[Images, Targets]:
    rng = np.random.default_rng(seed)
    labels = {"root": rng.integers(0, 5, shape[0]), "mark": rng.integers(0, 2, shape[0])}
    return rng.integers(0, 256, shape, np.uint8), targets_of(labels, {"root": 5, "mark": 2}, {})


def batches_of(images: Images, settings: RunSettings, epoch: int = 1, shard: int = 0) -> TrainBatches:
    """Batches over one shard whose labels are the row numbers."""
    rows = np.stack([np.zeros(len(images), np.int64), np.arange(len(images))], 1)
    labels = {"row": np.arange(len(images))}
    classes = {"row": len(images)}
    return TrainBatches([images], rows, labels, classes, settings, dark_ink=True, epoch=epoch, shard=shard)


@given(shapes, seeds, alphas, st.sampled_from([mixup, cutmix]))
def test_mixed_labels_sum_to_one_and_the_input_is_unchanged(shape, seed, alpha, mix) -> None:  # type: ignore[no-untyped-def]
    images, labels = batch_of(shape, seed)
    before, labels_before = images.copy(), {head: targets.copy() for head, targets in labels.items()}
    mixed, mixed_labels = mix(images, labels, np.random.default_rng(seed), alpha)
    assert mixed.shape == shape
    assert mixed.dtype == np.uint8
    for head, targets in mixed_labels.items():
        assert targets.dtype == np.float32
        assert np.allclose(targets.sum(axis=1), 1, atol=1e-6)
        assert (targets >= 0).all()
        assert np.array_equal(labels[head], labels_before[head])
    assert np.array_equal(images, before)


@given(shapes, seeds, alphas)
def test_cutmix_weighs_labels_by_the_area_that_comes_from_each_image(shape, seed, alpha) -> None:  # type: ignore[no-untyped-def]
    count = shape[0]
    images = np.ones(shape, np.uint8) * np.arange(count, dtype=np.uint8)[:, None, None, None]
    labels = {"which": np.eye(count, dtype=np.float32)}
    mixed, mixed_labels = cutmix(images, labels, np.random.default_rng(seed), alpha)
    for image, label in zip(mixed, mixed_labels["which"], strict=True):
        assert label == pytest.approx([(image == number).mean() for number in range(count)], abs=1e-6)


def test_cutmix_cuts_a_box_of_its_own_out_of_each_image() -> None:
    images = np.arange(16, dtype=np.uint8)[:, None, None, None] * np.ones((16, 32, 32, 1), np.uint8)
    mixed, _ = cutmix(images, {"which": np.eye(16, dtype=np.float32)}, np.random.default_rng(0), 1.0)
    is_other = [(one != before)[..., 0] for one, before in zip(mixed, images, strict=True) if (one != before).any()]
    assert len({mask.tobytes() for mask in is_other}) == len(is_other) > 8
    for mask in is_other:  # one box each
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert mask.sum() == len(rows) * len(columns) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)


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


@given(st.tuples(st.integers(1, 40), st.integers(1, 40)), st.floats(0, 1), seeds)
def test_a_mask_of_fmix_keeps_the_share_that_is_drawn(shape, kept, seed) -> None:  # type: ignore[no-untyped-def]
    is_kept = fmix_mask(shape, kept, np.random.default_rng(seed))
    assert is_kept.shape == shape
    assert is_kept.sum() == pytest.approx(kept * is_kept.size, abs=0.5 + 1e-6)


def test_a_mask_of_fmix_is_a_few_areas_of_any_shape() -> None:
    rng = np.random.default_rng(0)
    masks = [fmix_mask((64, 64), 0.5, rng) for _ in range(50)]
    areas = [cv2.connectedComponents(mask.astype(np.uint8))[0] - 1 for mask in masks]
    is_box = [np.array_equal(mask, np.outer(mask.any(axis=1), mask.any(axis=0))) for mask in masks]
    assert np.median(areas) <= 3
    assert not any(is_box)
    assert len({mask.tobytes() for mask in masks}) == len(masks)


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
    run = dataclasses.replace(STILL, batch_size=5, mixup_share=0.15, cutmix_share=0.1, fmix_share=0.25)
    batches = batches_of(images, run)
    mixed = [((labels["row"] > 0).sum(axis=1) > 1).any() for _, labels in (batches[i] for i in range(len(batches)))]
    assert 0.3 < np.mean(mixed) < 0.55


def test_batches_draw_across_the_shards_in_memory() -> None:
    shards = [np.full((8, 4, 4, 1), value, np.uint8) for value in (1, 2)]
    rows = np.array([(shard, row) for shard in range(2) for row in range(8)])
    labels = {"shard": rows[:, 0]}
    batches = TrainBatches(shards, rows, labels, {"shard": 2}, STILL, dark_ink=True, epoch=1, shard=0)
    images, targets = batches[0]
    assert set(images[:, 0, 0, 0].tolist()) == {1, 2}
    assert np.array_equal(images[:, 0, 0, 0] - 1, targets["shard"].argmax(axis=1))


def test_every_purpose_has_its_own_stream() -> None:
    draws = {random_for(0, purpose).random() for purpose in Draw}
    assert len(draws) == len(Draw)


def test_the_last_epochs_are_not_mixed() -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 10, 10, 1), np.uint8)
    run = dataclasses.replace(STILL, mixup_share=1.0, mixup_alpha=5.0, epochs=5, clean_epochs=2)
    mixed = [
        any(((targets > 0) & (targets < 1)).any() for targets in batches_of(images, run, epoch=epoch)[0][1].values())
        for epoch in range(5)
    ]
    assert mixed == [True, True, True, False, False]
    only_one = batches_of(images, dataclasses.replace(run, epochs=1), epoch=0)[0][1]["row"]
    assert ((only_one > 0) & (only_one < 1)).any()
