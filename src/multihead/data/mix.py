"""Mixup, cutmix and FMix: each image of a batch with another of it, and their labels."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from multihead.data.crop import Images
from multihead.data.targets import Targets

FMIX_DECAY = 3  # the power with which the amplitudes of FMix's noise fall with the frequency, as in the paper

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
    """Replace a box in each image by the same box of another image of the batch.

    S. Yun et al., CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features,
    2019, but with a Beta(alpha, alpha) draw and a box of its own for each image. Labels are weighted by the area that
    is really kept, after the box is clipped to the image. The input is left as it is.
    """
    partner = rng.permutation(len(images))
    shares = rng.beta(alpha, alpha, len(images))
    height, width = images.shape[1:3]
    mixed = images.copy()
    kept = np.empty((len(images), 1), np.float32)
    for place, (other, share) in enumerate(zip(partner.tolist(), shares.tolist(), strict=True)):
        rows, columns = cutmix_box((height, width), share, rng)
        mixed[place, rows, columns] = images[other, rows, columns]
        kept[place] = 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
    return mixed, _mix_labels(labels, partner, kept)


def cutmix_box(shape: tuple[int, ...], kept: float, rng: np.random.Generator) -> tuple[slice, slice]:
    """Return rows and columns of a box of share 1 - kept of (height, width), clipped at the borders."""
    box = []
    for length in shape:
        half = length * math.sqrt(1 - kept) / 2
        centre = rng.uniform(0, length)
        box.append(slice(round(max(centre - half, 0)), round(min(centre + half, length))))
    return box[0], box[1]


def fmix(images: Images, labels: Targets, rng: np.random.Generator, alpha: float) -> tuple[Images, Targets]:
    """Replace a few areas of any shape in each image by those of another image of the batch.

    E. Harris et al., FMix: Enhancing Mixed Sample Data Augmentation, 2020, but with a Beta(alpha, alpha) draw, which is
    the share that is kept, and areas of its own for each image. The input is left as it is.
    """
    partner = rng.permutation(len(images))
    is_kept = fmix_masks(images.shape[1:3], rng.beta(alpha, alpha, len(images)), rng)
    mixed = images.copy()
    for out, other, kept in zip(mixed, partner.tolist(), is_kept, strict=True):
        np.copyto(out, images[other], where=~kept[:, :, None])
    return mixed, _mix_labels(labels, partner, is_kept.mean(axis=(1, 2), dtype=np.float32)[:, None])


def fmix_masks(shape: tuple[int, ...], kept: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return bool (n, height, width), True for a share kept[i] of the pixels: the highest of low-frequency noise.

    The noise is the inverse Fourier transform of complex normal numbers, each divided by its frequency to the power
    of FMIX_DECAY.
    """
    frequencies = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1]))
    amplitudes = np.maximum(frequencies, 1 / max(shape)).astype(np.float32) ** -FMIX_DECAY
    real, imaginary = rng.standard_normal((2, len(kept), *amplitudes.shape), np.float32)
    noise = np.fft.irfft2(amplitudes * (real + 1j * imaginary), shape)
    ordered = np.sort(noise.reshape(len(kept), -1), axis=1)
    lowest = np.minimum(np.round((1 - kept) * ordered.shape[1]).astype(int), ordered.shape[1] - 1)
    return noise >= ordered[np.arange(len(kept)), lowest][:, None, None]


def _mix_labels(labels: Targets, partner: NDArray[np.int64], kept: NDArray[np.float32]) -> Targets:
    return {head: shares * kept + shares[partner] * (1 - kept) for head, shares in labels.items()}
