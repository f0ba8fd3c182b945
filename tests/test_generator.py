import dataclasses
import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from multihead.config.settings import RunSettings
from multihead.data.augment import augmentation
from multihead.data.batches import TrainBatches, rows_of_epoch
from multihead.data.draws import Draw, random_for
from multihead.data.mix import cutmix, cutmix_box, cutmix_each, fmix, fmix_mask, mixup
from multihead.data.targets import Targets, targets_of

Images = NDArray[np.uint8]
Mix = Callable[[Images, Targets, np.random.Generator, float], tuple[Images, Targets]]
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


@given(shapes, seeds, alphas, st.sampled_from([mixup, cutmix, cutmix_each, fmix]))
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


@given(shapes, seeds, alphas, st.sampled_from([cutmix, cutmix_each, fmix]))
def test_labels_are_weighed_by_the_area_that_comes_from_each_image(shape, seed, alpha, mix) -> None:  # type: ignore[no-untyped-def]
    count = shape[0]
    images = np.ones(shape, np.uint8) * np.arange(count, dtype=np.uint8)[:, None, None, None]
    labels = {"which": np.eye(count, dtype=np.float32)}
    mixed, mixed_labels = mix(images, labels, np.random.default_rng(seed), alpha)
    for image, label in zip(mixed, mixed_labels["which"], strict=True):
        assert label == pytest.approx([(image == number).mean() for number in range(count)], abs=1e-6)


@pytest.mark.parametrize(("mix", "has_one_box"), [(cutmix, True), (cutmix_each, False)])
def test_cutmix_cuts_one_box_out_of_a_batch_or_one_out_of_each_image(mix: Mix, has_one_box: bool) -> None:
    images = np.arange(16, dtype=np.uint8)[:, None, None, None] * np.ones((16, 32, 32, 1), np.uint8)
    labels = {"which": np.eye(16, dtype=np.float32)}
    mixed, mixed_labels = mix(images, labels, np.random.default_rng(0), 1.0)
    is_mixed = np.flatnonzero((mixed != images).any(axis=(1, 2, 3)))
    boxes = {(mixed[number] != images[number]).tobytes() for number in is_mixed}
    shares = {mixed_labels["which"][number, number] for number in is_mixed}
    assert len(is_mixed) > 8
    assert (len(boxes) == 1) == (len(shares) == 1) == has_one_box


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


def batch_by_mixup_and_one_box(images: Images, run: RunSettings, epoch: int, batch: int) -> tuple[Images, Targets]:
    """A batch of batches_of as it was made before there was more than mixup, and cutmix with one box for all."""
    order = random_for(run.seed, Draw.ROW_ORDER, epoch, 0).permutation(len(images))
    chosen = order[np.arange(batch * run.batch_size, (batch + 1) * run.batch_size) % len(order)]
    rng = random_for(run.seed, Draw.BATCH, epoch, 0, batch)
    plain = augmentation(run.augmentation, dark_ink=True)(images[chosen], rng)
    labels = np.eye(len(images), dtype=np.float32)[chosen]
    which = rng.random()
    if which < run.mixup_share:
        return mixup(plain, {"row": labels}, rng, run.mixup_alpha)
    if which >= run.mixup_share + run.cutmix_share:
        return plain, {"row": labels}
    partner = rng.permutation(len(plain))
    side = np.sqrt(1 - rng.beta(run.cutmix_alpha, run.cutmix_alpha))
    is_cut = np.ones((), np.bool_)
    for length in plain.shape[1:3]:
        centre = rng.uniform(0, length)
        start, stop = round(max(centre - length * side / 2, 0)), round(min(centre + length * side / 2, length))
        is_cut = is_cut[..., None] & (start <= np.arange(length)) & (np.arange(length) < stop)
    kept = np.float32(1 - is_cut.sum() / is_cut.size)
    mixed = np.where(is_cut[None, :, :, None], plain[partner], plain)
    return mixed, {"row": labels * kept + labels[partner] * (1 - kept)}


@pytest.mark.parametrize("seed", range(3))
def test_by_default_batches_are_those_of_mixup_and_one_box_to_the_bit(seed: int) -> None:
    images, _ = batch_of((150, 16, 20, 1), seed)
    run = RunSettings(batch_size=8, seed=seed)
    batches = batches_of(images, run, epoch=3)
    for batch in range(len(batches)):
        mixed, targets = batches[batch]
        before, targets_before = batch_by_mixup_and_one_box(images, run, 3, batch)
        assert np.array_equal(mixed, before)
        assert np.array_equal(targets["row"], targets_before["row"])


def test_a_box_for_each_image_changes_the_batches_of_cutmix_alone() -> None:
    images, _ = batch_of((200, 16, 16, 1), 0)
    run = RunSettings(batch_size=8)
    one_box, without_cutmix, boxes = (
        [batch for batch, _ in map(batches_of(images, changed).__getitem__, range(25))]
        for changed in (
            run,
            dataclasses.replace(run, cutmix_share=0),
            dataclasses.replace(run, cutmix_box="image"),
        )
    )
    is_cut = [not np.array_equal(one, other) for one, other in zip(one_box, without_cutmix, strict=True)]
    is_changed = [not np.array_equal(one, other) for one, other in zip(one_box, boxes, strict=True)]
    assert any(is_cut)
    assert is_changed == is_cut


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


@pytest.mark.parametrize("change", [{}, {"fmix_share": 0.5}, {"cutmix_box": "image"}, {"balanced_share": 0.5}])
def test_a_batch_depends_on_its_place_alone(change: dict[str, Any]) -> None:
    images, _ = batch_of((32, 16, 16, 1), 0)
    run = RunSettings(batch_size=8, **change)
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


def test_without_a_balanced_share_an_epoch_is_the_permutation_of_before() -> None:
    weights = np.arange(1.0, 101.0)
    order = rows_of_epoch(100, 0.0, weights, np.random.default_rng(0))
    assert order.tolist() == np.random.default_rng(0).permutation(100).tolist()


@given(st.integers(0, 300), st.floats(0, 1), seeds)
def test_an_epoch_has_as_many_images_whatever_share_is_balanced(count, share, seed) -> None:  # type: ignore[no-untyped-def]
    order = rows_of_epoch(count, share, np.linspace(1, 2, count), np.random.default_rng(seed))
    assert len(order) == count
    assert set(order.tolist()) <= set(range(count))
    assert np.bincount(order, minlength=count).clip(max=1).sum() >= count - round(share * count)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_share_of_an_epoch_is_drawn_by_the_weights(share: float) -> None:
    weights = np.repeat([1.0, 3.0], [15_000, 5_000])  # so that half of what is drawn are of the last quarter
    order = rows_of_epoch(20_000, share, weights, np.random.default_rng(0))
    is_rare = order >= 15_000
    for part in (is_rare[:10_000], is_rare[10_000:]):  # all over the epoch
        assert part.mean() == pytest.approx(0.25 + 0.25 * share, abs=0.03)


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
