from pathlib import Path

import cv2
import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from benchmarks.baseline import contour_crop
from multihead.data.crop import crop_resize, ink_box
from tests.built_in import BENGALI
from tests.reading import read_shard

Image = NDArray[np.uint8]


images = arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 60)), fill=st.just(250))


@given(images, st.sampled_from([(32, 32), (40, 24)]))
@settings(max_examples=300)
def test_crops_are_those_of_the_contours(image: Image, size: tuple[int, int]) -> None:
    assume(image.min() < image.max())
    crop = crop_resize(image[None, :, :, None], size, "ink", dark_ink=True)[0, :, :, 0]
    assert np.array_equal(crop, contour_crop(image, size))


def test_crops_of_real_images_are_those_of_the_contours(bengali: Path) -> None:
    for file in sorted(bengali.glob("*.parquet")):
        images = read_shard(file, BENGALI).images
        crops = crop_resize(images, (64, 64), "ink", dark_ink=True)
        for image, crop in zip(images[:, :, :, 0], crops[:, :, :, 0], strict=True):
            assert np.array_equal(crop, contour_crop(image, (64, 64)))


def test_a_blank_image_gives_a_blank_crop() -> None:
    for value in (0, 128, 255):
        blank = np.full((1, 137, 236, 1), value, np.uint8)
        crop = crop_resize(blank, (64, 64), "ink", dark_ink=True)
        assert np.array_equal(crop, np.full((1, 64, 64, 1), value, np.uint8))


def test_ink_keeps_its_polarity_and_fills_the_crop() -> None:
    paper = np.full((2, 137, 236, 1), 255, np.uint8)
    paper[:, 50:90, 100:160] = 10
    assert (crop_resize(paper, (64, 64), "ink", dark_ink=True) == 10).all()
    assert (crop_resize(255 - paper, (64, 64), "ink", dark_ink=False) == 245).all()


@given(images, st.sampled_from([(32, 32), (40, 24)]), st.booleans())
@settings(max_examples=300)
def test_padded_the_ink_keeps_its_proportions_in_the_middle_of_paper(
    image: Image, size: tuple[int, int], dark_ink: bool
) -> None:
    assume(image.min() < image.max())
    rows, columns = ink_box(image, dark_ink)
    cut = image[rows, columns]
    padded = crop_resize(image[None, :, :, None], size, "padded", dark_ink=dark_ink)[0, :, :, 0]
    scale = min(size[0] / cut.shape[0], size[1] / cut.shape[1])
    height, width = (max(1, round(length * scale)) for length in cut.shape)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    inside = padded[top : top + height, left : left + width].copy()
    assert np.array_equal(inside, cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA))
    padded[top : top + height, left : left + width] = paper = image.max() if dark_ink else image.min()
    assert (padded == paper).all()


def test_without_crop_the_whole_image_is_resized() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 137, 236, 1), np.uint8)
    whole = crop_resize(image, (137, 236), "none", dark_ink=True)
    assert np.array_equal(whole, image)


def test_no_images_give_no_crops() -> None:
    none = np.empty((0, 137, 236, 1), np.uint8)
    assert crop_resize(none, (64, 48), "ink", dark_ink=True).shape == (0, 64, 48, 1)


def test_the_images_stay_as_they_are(drawn: Path) -> None:
    images = read_shard(drawn / "train_image_data_0.parquet", BENGALI).images
    before = images.copy()
    crop_resize(images, (64, 64), "ink", dark_ink=True)
    assert np.array_equal(images, before)
