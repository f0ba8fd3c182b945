"""Mixup, cutmix and FMix: each image of a batch with another of it, and their labels."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from multihead.data.crop import Images
from multihead.data.targets import Targets

FMIX_DECAY = 3  # the power with which the amplitudes of FMix's noise fall with the frequency, as in the paper


def mixup(images: Images, labels: Targets, rng: np.random.Generator, alpha: float) -> tuple[Images, Targets]:
    """Blend each image and its labels with another of the batch by its own Beta(alpha, alpha) draw.

    H. Zhang et al., mixup: Beyond Empirical Risk Minimization, 2018. The input is left as it is.
    """
    partner = rng.permutation(len(images))
    kept = rng.beta(alpha, alpha, len(images)).astype(np.float32)
    mixed = np.empty_like(images)
    for out, image, other, share in zip(mixed, images, partner.tolist(), kept.tolist(), strict=True):
        cv2.addWeighted(image, share, images[other], 1 - share, 0, dst=out)
    return mixed, _mix_labels(labels, partner, kept[:, None])


def cutmix(images: Images, labels: Targets, rng: np.random.Generator, alpha: float) -> tuple[Images, Targets]:
    """Replace one box in every image by the same box of another image of the batch.

    S. Yun et al., CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features,
    2019. Labels are weighted by the area that is really kept, after the box is clipped to the image. The
    input is left as it is.
    """
    partner = rng.permutation(len(images))
    shape = images.shape[1:3]
    rows, columns = cutmix_box(shape, rng.beta(alpha, alpha), rng)
    mixed = images.copy()
    mixed[:, rows, columns] = images[partner, rows, columns]
    return mixed, _mix_labels(labels, partner, np.float32(_share_outside(rows, columns, shape)))


def cutmix_each(images: Images, labels: Targets, rng: np.random.Generator, alpha: float) -> tuple[Images, Targets]:
    """Do as cutmix does, with a Beta(alpha, alpha) draw and a box of its own for each image."""
    partner = rng.permutation(len(images))
    shares = rng.beta(alpha, alpha, len(images))
    shape = images.shape[1:3]
    mixed = images.copy()
    kept = np.empty(len(images), np.float32)
    for place, (other, share) in enumerate(zip(partner.tolist(), shares.tolist(), strict=True)):
        rows, columns = cutmix_box(shape, share, rng)
        mixed[place, rows, columns] = images[other, rows, columns]
        kept[place] = _share_outside(rows, columns, shape)
    return mixed, _mix_labels(labels, partner, kept[:, None])


def cutmix_box(shape: tuple[int, ...], kept: float, rng: np.random.Generator) -> tuple[slice, slice]:
    """Return rows and columns of a box of share 1 - kept of (height, width), clipped at the borders."""
    box = []
    for length in shape:
        half = length * math.sqrt(1 - kept) / 2
        centre = rng.uniform(0, length)
        box.append(slice(round(max(centre - half, 0)), round(min(centre + half, length))))
    return box[0], box[1]


def _share_outside(rows: slice, columns: slice, shape: tuple[int, ...]) -> float:
    """Return the share of (height, width) that lies outside a box."""
    return float(1 - (rows.stop - rows.start) * (columns.stop - columns.start) / (shape[0] * shape[1]))


def fmix(images: Images, labels: Targets, rng: np.random.Generator, alpha: float) -> tuple[Images, Targets]:
    """Replace the same few areas of any shape in every image by those of another image of the batch.

    E. Harris et al., FMix: Enhancing Mixed Sample Data Augmentation, 2020. A Beta(alpha, alpha) draw is the share that
    is kept. The input is left as it is.
    """
    partner = rng.permutation(len(images))
    is_kept = fmix_mask(images.shape[1:3], rng.beta(alpha, alpha), rng)
    is_replaced = ~is_kept[:, :, None]
    mixed = images.copy()
    for out, other in zip(mixed, partner.tolist(), strict=True):  # faster than np.where, which makes large temporaries
        np.copyto(out, images[other], where=is_replaced)
    return mixed, _mix_labels(labels, partner, np.float32(is_kept.mean()))


def fmix_mask(shape: tuple[int, ...], kept: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return bool (height, width), True for a share `kept` of the pixels: the highest of low-frequency noise.

    The noise is the inverse Fourier transform of complex normal numbers, each divided by its frequency to the power
    of FMIX_DECAY.
    """
    frequencies = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1]))
    amplitudes = np.maximum(frequencies, 1 / max(shape)).astype(np.float32) ** -FMIX_DECAY
    real, imaginary = rng.standard_normal((2, *amplitudes.shape), np.float32)
    noise = np.fft.irfft2(amplitudes * (real + 1j * imaginary), shape).ravel()
    lowest = round((1 - kept) * noise.size)
    is_kept = np.ones(noise.size, np.bool_)
    is_kept[np.argsort(noise)[:lowest]] = False
    return is_kept.reshape(shape)


def _mix_labels(labels: Targets, partner: NDArray[np.int64], kept: NDArray[np.float32] | np.float32) -> Targets:
    return {head: shares * kept + shares[partner] * (1 - kept) for head, shares in labels.items()}
