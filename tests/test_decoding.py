import io
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from multihead.data.decoding import Decoded, bits_in_use, decode

Pixels = NDArray[np.uint8]


def gradient(height: int = 48, width: int = 64) -> Pixels:
    """Colours that differ everywhere, with some noise, uint8 (H, W, 3)."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([4 * columns, 5 * rows, 2 * (rows + columns)], axis=2)
    return np.clip(image + np.random.default_rng(0).integers(0, 9, image.shape), 0, 255).astype(np.uint8)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def decoded(data: bytes, channels: int = 3, **options: int) -> Decoded:
    result = decode(data, channels, **options)
    assert result is not None
    assert result.image.dtype == np.uint8
    assert result.image.ndim == (2 if channels == 1 else 3)
    return result


JPEGS: dict[str, dict[str, object]] = {
    "baseline": {},
    "no subsampling": {"subsampling": 0},
    "progressive": {"progressive": True},
    "restart markers": {"restart_marker_blocks": 3},
    "quality 30": {"quality": 30},
}


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_whose_end_marker_is_missing_is_whole(kind: str, mode: str) -> None:
    data = saved(Image.fromarray(gradient()).convert(mode), "JPEG", **JPEGS[kind])
    expected = decoded(data)
    assert expected.is_whole
    for lost in (1, 2):
        found = decoded(data[:-lost])
        assert found.is_whole, lost
        assert np.array_equal(found.image, expected.image), lost


@given(st.sampled_from(list(JPEGS)), st.sampled_from(["RGB", "L"]), st.data())
@settings(max_examples=100)
def test_a_jpeg_that_is_cut_off_shows_what_it_has_and_never_passes_for_whole(
    kind: str, mode: str, data: st.DataObject
) -> None:
    content = saved(Image.fromarray(gradient()).convert(mode), "JPEG", **JPEGS[kind])
    complete = decoded(content)
    lost = data.draw(st.integers(3, len(content)))
    found = decode(content[:-lost], 3)
    if found is not None and found.is_whole:  # of a progressive one, a scan that is lost may have changed nothing
        assert np.abs(found.image.astype(int) - complete.image).mean() < 8
        assert kind == "progressive"
    if lost < (len(content) - content.index(b"\xff\xda")) // 3 and kind != "progressive":
        assert found is not None
        assert np.array_equal(found.image[:8], complete.image[:8])


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM"])
def test_half_a_file_shows_half_its_image(form: str) -> None:
    image = gradient()
    data = saved(Image.fromarray(image), form)
    found = decoded(data[: -len(data) // 3])
    assert not found.is_whole
    is_right = (found.image == image).all(axis=(1, 2))
    assert is_right[8:24].all() or is_right[24:40].all()  # BMP begins at the bottom
    assert not is_right.all()


def test_a_png_without_its_last_chunk_is_whole() -> None:
    data = saved(Image.fromarray(gradient()), "PNG")
    assert decoded(data[:-12]).is_whole
    assert np.array_equal(decoded(data[:-12]).image, gradient())


def ink() -> tuple[Pixels, NDArray[np.bool_]]:
    """Black with an opaque square in the middle: uint8 (H, W), and where it is opaque."""
    is_opaque = np.zeros((24, 32), np.bool_)
    is_opaque[8:16, 10:20] = True
    return np.zeros((24, 32), np.uint8), is_opaque


def palette(is_opaque: NDArray[np.bool_]) -> Image.Image:
    image = Image.fromarray(is_opaque.astype(np.uint8), "P")
    image.putpalette([0] * 6)
    return image


TRANSPARENT: dict[str, Callable[[Pixels, NDArray[np.bool_]], bytes]] = {
    "RGBA": lambda gray, is_opaque: saved(
        Image.fromarray(np.dstack([gray] * 3 + [is_opaque * np.uint8(255)]), "RGBA"), "PNG"
    ),
    "gray and alpha": lambda gray, is_opaque: saved(
        Image.fromarray(np.dstack([gray, is_opaque * np.uint8(255)]), "LA"), "PNG"
    ),
    "palette": lambda _, is_opaque: saved(palette(is_opaque), "PNG", transparency=0),
    "gray that stands for nothing": lambda _, is_opaque: saved(
        Image.fromarray(np.where(is_opaque, 0, 9).astype(np.uint8)), "PNG", transparency=9
    ),
    "WebP": lambda gray, is_opaque: saved(
        Image.fromarray(np.dstack([gray] * 3 + [is_opaque * np.uint8(255)]), "RGBA"), "WEBP", lossless=True
    ),
    "GIF": lambda _, is_opaque: saved(palette(is_opaque), "GIF", transparency=0),
    "TIFF": lambda gray, is_opaque: saved(
        Image.fromarray(np.dstack([gray] * 3 + [is_opaque * np.uint8(255)]), "RGBA"), "TIFF"
    ),
    "16 bits": lambda gray, is_opaque: cv2.imencode(
        ".png", np.dstack([gray.astype(np.uint16)] * 3 + [is_opaque * np.uint16(65535)])
    )[1].tobytes(),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("background", [255, 0, 90])
@pytest.mark.parametrize("kind", TRANSPARENT)
def test_a_transparent_image_lies_on_the_background(kind: str, background: int, channels: int) -> None:
    gray, is_opaque = ink()
    found = decoded(TRANSPARENT[kind](gray, is_opaque), channels, background=background)
    assert found.is_whole
    assert (found.image[is_opaque] == 0).all()
    assert (found.image[~is_opaque] == background).all()


def test_half_transparent_is_half_of_each() -> None:
    data = saved(Image.new("RGBA", (4, 4), (200, 100, 0, 128)), "PNG")
    assert np.abs(decoded(data).image[0, 0].astype(int) - [228, 178, 127]).max() <= 1


def test_opaque_images_are_what_opencv_makes_of_them() -> None:
    for data in (saved(Image.fromarray(gradient()), "JPEG"), saved(Image.fromarray(gradient()), "PNG")):
        raw = np.frombuffer(data, np.uint8)
        colour, gray = (cv2.imdecode(raw, flags) for flags in (cv2.IMREAD_COLOR, cv2.IMREAD_GRAYSCALE))
        assert colour is not None
        assert gray is not None
        assert np.array_equal(decoded(data).image, colour[..., ::-1])
        assert np.array_equal(decoded(data, 1).image, gray)


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm"])
@pytest.mark.parametrize("bits", [9, 12, 16])
def test_16_bit_images_are_scaled_by_the_bits_in_use(suffix: str, bits: int) -> None:
    values = np.linspace(0, 2**bits - 1, 600).astype(np.uint16).reshape(20, 30)
    data = cv2.imencode(suffix, values)[1].tobytes()
    assert bits_in_use(data) == bits
    assert np.array_equal(decoded(data, 1, bits=bits).image, values >> (bits - 8))
    assert decoded(data, 3, bits=bits).image[-1, -1].tolist() == [255] * 3
    assert decoded(data, 1, bits=8).image.max() == 255  # what the bits leave out is white
    assert np.array_equal(decoded(data, 1).image, values >> 8)


def test_a_16_bit_image_that_is_cut_off_is_scaled_as_well() -> None:
    values = (gradient()[..., 0].astype(np.uint16) << 4) + 5
    data = cv2.imencode(".png", values)[1].tobytes()
    for lost in (12, len(data) // 3):
        found = decoded(data[:-lost], 1, bits=12)
        assert found.is_whole == (lost == 12)
        assert np.array_equal(found.image[:16], gradient()[:16, :, 0])


def test_colours_of_16_bits_stay_red_green_and_blue() -> None:
    data = cv2.imencode(".png", np.full((4, 4, 3), (100, 1000, 4000), np.uint16))[1].tobytes()
    assert bits_in_use(data) == 12
    assert decoded(data, bits=12).image[0, 0].tolist() == [250, 62, 6]


def test_other_files_have_no_bits_to_scale_by() -> None:
    for form in ("JPEG", "PNG", "BMP", "TIFF", "PPM", "WEBP"):
        assert bits_in_use(saved(Image.fromarray(gradient()), form)) == 0
    assert bits_in_use(b"") == bits_in_use(b"II*\0") == 0


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("form", "mode"), [("JPEG", "RGB"), ("PNG", "RGB"), ("PNG", "RGBA"), ("WEBP", "RGB"), ("TIFF", "RGB")]
)
def test_an_image_is_turned_as_its_camera_was(form: str, mode: str, orientation: int) -> None:
    image = Image.fromarray(gradient()).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if form == "WEBP" else {}
    data = saved(image, form, exif=exif, **lossless)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    found = decoded(data).image
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= (40 if form == "JPEG" else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_16_bit_image_is_turned_as_well(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    values = gradient()[..., 0].astype(np.uint16) * 256
    data = saved(Image.fromarray(values), "PNG", exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data)))) >> 8
    assert np.array_equal(decoded(data, 1).image, expected)


@pytest.mark.parametrize("form", ["BMP", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF", "PNG"])
def test_files_of_every_form_are_what_pillow_says(form: str) -> None:
    data = saved(Image.fromarray(gradient()), form)
    expected = Image.open(io.BytesIO(data)).convert("RGB")
    assert np.array_equal(decoded(data).image, np.asarray(expected))
    assert np.abs(decoded(data, 1).image.astype(int) - np.asarray(expected.convert("L"))).max() <= 1


@pytest.mark.parametrize(
    ("image", "form"),
    [(Image.fromarray(gradient()).convert("CMYK"), "JPEG"), (Image.fromarray(gradient()).convert("1"), "PNG")],
)
def test_other_kinds_of_colours_are_near_what_pillow_says(image: Image.Image, form: str) -> None:
    data = saved(image, form)
    assert np.abs(decoded(data).image.astype(int) - np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))).mean() < 6


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no image",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xd9",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"RIFF\0\0\0\0WEBP",
        saved(Image.new("F", (4, 4)), "TIFF"),
        saved(Image.new("I", (4, 4)), "TIFF"),
        saved(Image.fromarray(gradient()), "PNG").replace(b"\0\0\0\x40\0\0\0\x30", b"\0\1\x86\xa0\0\1\x86\xa0"),
    ],
)
def test_what_shows_nothing_is_no_image(data: bytes) -> None:
    assert decode(data, 3) is None


WHOLE = [
    saved(Image.fromarray(gradient(16, 20)), form) for form in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM")
]


@given(st.sampled_from(WHOLE), st.data())
@settings(max_examples=150)
def test_whatever_is_damaged_there_is_an_image_or_none(whole: bytes, data: st.DataObject) -> None:
    raw = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 3))):
        start = data.draw(st.integers(0, len(raw) - 1))
        raw[start : start + 4] = data.draw(st.binary(min_size=1, max_size=4))
    cut = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    for channels in (1, 3):
        found = decode(cut, channels)
        assert found is None or found.image.shape[2:] == ((3,) if channels == 3 else ())
    bits_in_use(cut)
