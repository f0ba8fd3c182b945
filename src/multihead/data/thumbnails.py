"""Images made small enough to keep and to look at."""

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def thumbnail(image: Image, longest: int) -> Image:
    """Return uint8 (h, w, c) of an image (H, W, c), made smaller where its longer side is over `longest`."""
    scale = longest / max(image.shape[:2])
    if scale >= 1:
        return image
    small = cv2.resize(image, scaled_size(image, scale), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8).reshape(*small.shape[:2], image.shape[2])


def in_colour(image: Image) -> Image:
    """Return uint8 (h, w, 3) of an image in gray, (h, w, 1), or in colour."""
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def scaled_size(image: Image, scale: float) -> tuple[int, int]:
    """Return width and height, in pixels, of an image that is scaled, at least 1."""
    height, width = image.shape[:2]
    return max(1, round(width * scale)), max(1, round(height * scale))
