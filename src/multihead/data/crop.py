"""uint8 images to crops of one size.

They keep the polarity of their images: dark ink stays dark.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]


def crop_resize(images: Images, size: tuple[int, int], crop: str, dark_ink: bool) -> Images:
    """Return uint8 (n, height, width, c) of uint8 (n, H, W, c), with one thread per core.

    crop "ink", of gray images only, cuts the smallest box that holds all ink, and "none" takes the whole image; both
    stretch it to `size` (height, width) with INTER_AREA. "padded" cuts the box as well but keeps its proportions: what
    it leaves of the crop, evenly on both sides, is paper. Ink is what Otsu's threshold separates from the paper
    (N. Otsu, A Threshold Selection Method from Gray-Level Histograms, 1979). An image without ink is taken whole.
    """
    height, width = size
    crops = np.empty((len(images), height, width, images.shape[3]), np.uint8)

    def fill(start: int, stop: int) -> None:
        use_opencv_alone()
        for i in range(start, stop):
            image, out = images[i], crops[i]
            box = np.s_[:, :] if crop == "none" else ink_box(image[:, :, 0], dark_ink)
            cut = image[box]
            if crop == "padded":
                out[...] = paper_of(image, dark_ink)
                out = out[_within(size, cut.shape[:2])]
            cv2.resize(cut, out.shape[1::-1], dst=out, interpolation=cv2.INTER_AREA)

    threads = os.cpu_count() or 1
    bounds = np.linspace(0, len(images), threads + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(fill, bounds[:-1].tolist(), bounds[1:].tolist()))
    return crops


def made_smaller(images: Images, size: tuple[int, int]) -> Images:
    """Return uint8 (n, height, width, c) of uint8 (n, H, W, c), by INTER_AREA; images of that size as they are."""
    height, width = size
    if images.shape[1:3] == size:
        return images
    smaller = np.empty((len(images), height, width, images.shape[3]), np.uint8)
    for image, out in zip(images, smaller, strict=True):
        cv2.resize(image, (width, height), dst=out, interpolation=cv2.INTER_AREA)
    return smaller


def _within(size: tuple[int, int], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return rows and columns of the largest box of the proportions of `shape` in the middle of (height, width)."""
    scale = min(length / side for length, side in zip(size, shape, strict=True))
    taken = [max(1, min(length, round(side * scale))) for length, side in zip(size, shape, strict=True)]
    top, left = ((length - side) // 2 for length, side in zip(size, taken, strict=True))
    return np.s_[top : top + taken[0], left : left + taken[1]]


def use_opencv_alone() -> None:
    """Keep this thread's OpenCV from calling Intel's IPP, whose calls cost more than they save on images so small.

    The pixels of threshold, resize and warpAffine are the same without it.
    """
    cv2.ipp.setUseIPP(False)


def ink_box(image: NDArray[np.uint8], dark_ink: bool) -> tuple[slice, slice]:
    """Return the rows and columns of a uint8 (H, W) image that hold its ink; all of them if it has none."""
    x, y, width, height = cv2.boundingRect(ink_mask(image, dark_ink))
    return np.s_[y : y + height, x : x + width] if width else np.s_[:, :]


def paper_of(image: NDArray[np.uint8], dark_ink: bool) -> int:
    """Return what of a uint8 image is taken for paper: its lightest value where ink is dark, its darkest otherwise."""
    return int(image.max() if dark_ink else image.min())


def ink_mask(image: NDArray[np.uint8], dark_ink: bool) -> NDArray[np.uint8]:
    """Return uint8 (H, W): 255 where a uint8 (H, W) image is ink, 0 where it is paper."""
    mode = cv2.THRESH_BINARY_INV if dark_ink else cv2.THRESH_BINARY
    return np.asarray(cv2.threshold(image, 0, 255, mode | cv2.THRESH_OTSU)[1], np.uint8)
