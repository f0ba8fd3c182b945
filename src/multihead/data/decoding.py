"""Bytes of an image file to uint8 pixels, whatever program exported it.

OpenCV decodes JPEG and opaque PNG, which nearly all files are, and what has 16 bits; Pillow decodes all else. The first
bytes of a file say what it is, not its name.
"""

import io
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

JPEG, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
PNG, PNG_PIXELS, PNG_TRANSPARENCY = b"\x89PNG\r\n\x1a\n", b"IDAT", b"tRNS"
PNG_DEPTH, PNG_COLOURS, PNG_WITH_ALPHA = 24, 25, (4, 6)  # places in the file; gray and colours with alpha
MAY_HAVE_16_BITS = (b"II*\0", b"MM\0*", b"P2", b"P3", b"P5", b"P6")  # TIFF, PGM and PPM
# What a JPEG that is cut off is filled up with: nothing, or one of two kinds of bytes that a decoder takes for pixels,
# after a restart too. It skips an interval where it meets one of the next two restarts: never with both kinds.
FILLINGS = (
    b"",
    *(
        pixels + b"".join(bytes([0xFF, 0xD0 + (first + number) % 8]) + pixels for number in range(8))
        for first, pixels in ((0, b"\x55" * 64), (3, b"\xaa" * 64))
    ),
)
ORIENTATION = 0x0112  # of Exif


class Decoded(NamedTuple):
    """An image, uint8 (H, W) or (H, W, 3) in red, green, blue, and whether its file is neither cut off nor damaged."""

    image: NDArray[np.uint8]
    is_whole: bool


def decode(data: bytes, channels: int, *, background: int = 255, bits: int = 0) -> Decoded | None:
    """Return the image in a file, as its camera was turned; of a film the first. None where nothing can be decoded.

    channels: 1 for gray, 3 for red, green and blue. background: the gray value, 0 to 255, that transparent images are
    laid on. bits: of 16-bit images, how many are in use: a pixel is the value divided by 2 ** (bits - 8), at most 255;
    0 for all. Images of more bits, of signs or fractions cannot be decoded: nothing says what white is.
    """
    try:
        image = _complete(data, channels, background, bits)
        if image is not None:
            return Decoded(image, True)
        return _cut_jpeg(data, channels) if data.startswith(JPEG) else _by_pillow(data, channels, background, bits)
    except Exception:  # of a damaged file: the libraries raise whatever they stumble over
        return None


def bits_in_use(data: bytes) -> int:
    """Return how many bits the largest value of a 16-bit image has, at least 8; 0 for any other file."""
    try:
        samples = _samples_of_16_bits(data)
    except cv2.error:
        return 0
    return 0 if samples is None else max(8, int(samples[..., :3].max()).bit_length())


def _complete(data: bytes, channels: int, background: int, bits: int) -> NDArray[np.uint8] | None:
    """Return an image that OpenCV decodes, which refuses one that is cut off; None for all others."""
    if data.startswith(JPEG) or _is_plain_png(data):
        return _by_opencv(data, channels)
    samples = _samples_of_16_bits(data)
    if samples is None:
        return None
    image = _in_8_bits(samples[..., :3], bits)
    if samples.shape[-1] == 4:
        opacity = samples[..., 3:] / 65535
        image = np.round(image * opacity + background * (1 - opacity)).astype(np.uint8)
    is_tiff = data[:4] in MAY_HAVE_16_BITS  # which OpenCV turns itself
    turned = image if is_tiff else _turned(image, Image.open(io.BytesIO(data)).getexif().get(ORIENTATION, 1))
    return _in_channels(turned[..., ::-1] if turned.shape[-1] == 3 else turned[..., 0], channels)


def _is_plain_png(data: bytes) -> bool:
    """Tell whether a file is a PNG of 8 bits at most without transparency."""
    return (
        data.startswith(PNG)
        and len(data) > PNG_COLOURS
        and data[PNG_DEPTH] <= 8
        and data[PNG_COLOURS] not in PNG_WITH_ALPHA
        and PNG_TRANSPARENCY not in data[: data.find(PNG_PIXELS)]
    )


def _by_opencv(data: bytes, channels: int) -> NDArray[np.uint8] | None:
    flags = cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None:
        return None
    return np.asarray(image if channels == 1 else cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _samples_of_16_bits(data: bytes) -> NDArray[np.uint16] | None:
    """Return uint16 (H, W, c) of an image of 16 bits, c 1 to 4, from blue to red; None for all others."""
    is_png = data.startswith(PNG) and len(data) > PNG_DEPTH and data[PNG_DEPTH] == 16
    if not is_png and not data.startswith(MAY_HAVE_16_BITS):
        return None
    samples = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return None if samples is None or samples.dtype != np.uint16 else np.asarray(np.atleast_3d(samples), np.uint16)


def _cut_jpeg(data: bytes, channels: int) -> Decoded | None:
    """Return what a JPEG without its end holds, which is whole if only the end is missing.

    With an end put there it is decoded, zeros standing for what is missing. A row that is the same with other bytes
    before that end depends on nothing that is missing.
    """
    begun = data.removesuffix(b"\xff")  # half of the end
    images = [_by_opencv(begun + filling + JPEG_END, channels) for filling in FILLINGS]
    first, *others = [image for image in images if image is not None]
    if len(others) < len(FILLINGS) - 1:
        return Decoded(first, False)
    is_known = np.all([(other == first).reshape(len(first), -1).all(axis=1) for other in others], axis=0)
    return Decoded(first, bool(is_known.all())) if is_known.any() else None


def _by_pillow(data: bytes, channels: int, background: int, bits: int) -> Decoded | None:
    """Return what Pillow decodes, of a damaged file too, where that is more than one value all over."""
    file = Image.open(io.BytesIO(data))
    is_whole = True
    try:
        file.load()
    except Exception:  # of a damaged file; what was decoded before is there
        is_whole = False
        file.tile = []
    if file.mode in ("I", "F"):
        return None
    turned = ImageOps.exif_transpose(file)
    if turned.mode.startswith("I;16"):
        pixels = _in_8_bits(np.asarray(turned).astype(np.uint16), bits)
    elif data[PNG_DEPTH : PNG_DEPTH + 1] == b"\x10" and data.startswith(PNG):
        return None  # of its 16 bits Pillow keeps eight, which may not be those in use
    else:
        if turned.has_transparency_data:
            below = Image.new("RGBA", turned.size, (background, background, background, 255))
            turned = Image.alpha_composite(below, turned.convert("RGBA"))
        pixels = np.array(turned.convert("L" if turned.mode in ("1", "L") else "RGB"))
    image = _in_channels(pixels, channels)
    return Decoded(image, is_whole) if is_whole or image.min() < image.max() else None


def _in_8_bits(samples: NDArray[np.uint16], bits: int) -> NDArray[np.uint8]:
    return np.asarray(np.minimum(samples >> ((bits or 16) - 8), 255), np.uint8)


def _in_channels(image: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Return an image (H, W) or (H, W, 3) in red, green and blue as one of so many channels."""
    if channels == 1 and image.ndim == 3:
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    elif channels == 3 and image.ndim == 2:
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), np.uint8)
    return np.ascontiguousarray(image)


def _turned(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Return an image (H, W, c) as Exif says that it is to be seen."""
    image = image.swapaxes(0, 1) if orientation >= 5 else image
    down, right = -1 if orientation in (3, 4, 7, 8) else 1, -1 if orientation in (2, 3, 6, 7) else 1
    return image[::down, ::right]
