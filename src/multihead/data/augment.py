"""The crops of a batch to augmented ones: steps in the order of the settings, built in or of albumentations.

A step takes uint8 (n, H, W, c), c 1 or 3, and a generator that all its draws come from; it returns new images of the
same shape and leaves its input as it is. So the same batch comes out the same in whatever thread it is made.
"""

import copy
import inspect
import os
import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np

from multihead.config.steps import Step
from multihead.data.crop import Images, paper_of, use_opencv_alone
from multihead.runtime.errors import UserError

Augment = Callable[[Images, np.random.Generator], Images]

TRIED_IMAGES = 16


def augmentation(steps: Sequence[Step], *, dark_ink: bool) -> Augment:
    """Return what applies the steps in order; threads may share it.

    dark_ink: what paper is: the image's lightest value where ink is dark, its darkest otherwise.
    Raises UserError for a name that is neither built in nor albumentations', or an argument that it does not take.
    """
    ready: list[Augment] = [
        partial(BUILT_IN[step["name"]], **_arguments(step), dark_ink=dark_ink)
        if step["name"] in BUILT_IN
        else partial(_apply, _transform(number, step))
        for number, step in enumerate(steps, 1)
    ]

    def augment(images: Images, rng: np.random.Generator) -> Images:
        use_opencv_alone()  # in albumentations too: IPP may round otherwise, and is on or off for each thread
        for apply in ready:
            images = apply(images, rng)
        return images

    return augment


def copy_jitter(steps: Sequence[Step], *, dark_ink: bool) -> Augment | None:
    """Return what makes a test-time copy: the steps that only move pixels; None where there are none."""
    moving = [step for step in steps if step["name"] in ("affine", "flip")]
    return augmentation(moving, dark_ink=dark_ink) if moving else None


def try_steps(steps: Sequence[Step], shape: tuple[int, int, int]) -> None:
    """Apply each of albumentations' transforms to images of a shape (H, W, c), before there are any real ones.

    Raises UserError for the first that fails, warns, or would change shape or type, and all that augmentation raises.
    """
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (TRIED_IMAGES, *shape), np.uint8)
    images[0] = 255  # a blank one
    others = [(number, step) for number, step in enumerate(steps, 1) if step["name"] not in BUILT_IN]
    for number, step in others:
        transform = _transform(number, step)
        try:
            with warnings.catch_warnings(action="error", category=UserWarning):
                _apply(transform, images, rng, always=True)
        except Exception as error:
            raise UserError(
                f"{_place(number, step)} fails on images of {' x '.join(map(str, shape))}: {_one_line(error)}"
            ) from error


def affine_jitter(
    images: Images, rng: np.random.Generator, *, rotation_degrees: float, zoom: float, shift: float, dark_ink: bool
) -> Images:
    """Return the images, each turned, zoomed and shifted by its own uniform draw; uint8 (n, H, W, c).

    rotation_degrees: at most this far either way. zoom: factors in [1 - zoom, 1 + zoom], drawn for
    each axis. shift: at most this share of the width and height. What comes in from outside is paper.
    """
    count, height, width, _ = images.shape
    if not count or not (rotation_degrees or zoom or shift):
        return images.copy()
    angles = np.deg2rad(rng.uniform(-rotation_degrees, rotation_degrees, count))
    zooms = rng.uniform(1 - zoom, 1 + zoom, (count, 1, 2))
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    moved = centre + rng.uniform(-shift, shift, (count, 2)) * (width, height)
    cosine, sine = np.cos(angles), np.sin(angles)
    turn = np.stack([np.stack([cosine, sine], 1), np.stack([-sine, cosine], 1)], 1) * zooms
    matrices = np.concatenate([turn, (moved - turn @ centre)[:, :, None]], 2)
    jittered, size = np.empty_like(images), (width, height)
    for source, out, matrix in zip(images, jittered, matrices, strict=True):
        paper_colour = (paper_of(source, dark_ink),) * 3
        cv2.warpAffine(source, matrix, size, out, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT, paper_colour)
    return jittered


def flip(images: Images, rng: np.random.Generator, *, share: float, dark_ink: bool) -> Images:  # noqa: ARG001
    """Return the images, about such a share of them mirrored left to right; uint8 (n, H, W, c)."""
    mirrored = (rng.random(len(images)) < share)[:, None, None, None]
    return np.where(mirrored, images[:, :, ::-1], images)


BUILT_IN: Mapping[str, Callable[..., Images]] = {"affine": affine_jitter, "flip": flip}


def _transform(number: int, step: Step) -> Any:
    """Return albumentations' transform of a step."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # or importing it asks the internet for a newer version
    name, arguments = step["name"], _arguments(step)
    expected = f"expected {', '.join(BUILT_IN)} or the name of one of albumentations' transforms"
    with warnings.catch_warnings(action="ignore"):  # advice to take another transform
        try:
            import albumentations
        except ImportError as error:
            raise UserError(
                f"augmentation {number}: name = {name!r}; {expected}, which cannot be imported ({error}); "
                "make .venv/ready-dev installs it"
            ) from error
        kind = getattr(albumentations, name, None)
        if not (isinstance(kind, type) and issubclass(kind, albumentations.BasicTransform)):
            raise UserError(f"augmentation {number}: name = {name!r}; {expected} ({albumentations.__version__})")
        known = inspect.signature(kind).parameters
        for key in arguments:
            if key not in known:  # it would only warn
                raise UserError(f"{_place(number, step)}: {key} is not known; one of {', '.join(known)}")
        try:
            return kind(**arguments)
        except Exception as error:
            raise UserError(f"{_place(number, step)}: {_in_words(error, arguments)}") from error


def _apply(transform: Any, images: Images, rng: np.random.Generator, *, always: bool = False) -> Images:
    """Return each image as the transform leaves it; `always` passes over its probability p."""
    transform = copy.deepcopy(transform)  # it keeps its random state and its last draws, and threads share this one
    transform.set_random_state(rng, random.Random(int(rng.integers(2**63))))
    changed = np.empty_like(images)
    for out, image in zip(changed, images, strict=True):
        made = transform(image=image, force_apply=always)["image"]
        if made.shape != image.shape or made.dtype != image.dtype:
            raise UserError(f"makes {made.dtype} {made.shape} of {image.dtype} {image.shape}; expected the same")
        out[...] = made
    return changed


def _arguments(step: Step) -> dict[str, Any]:
    return {key: value for key, value in step.items() if key != "name"}


def _place(number: int, step: Step) -> str:
    return f"augmentation {number} ({step['name']})"


def _in_words(error: Exception, arguments: Mapping[str, Any]) -> str:
    """Return what is wrong with the arguments in one line: of pydantic's, which validates them, the first of them."""
    found: list[Any] = getattr(error.__cause__, "errors", list)()
    if not found:
        return _one_line(error)
    key = str(next(iter(found[0]["loc"]), ""))
    rules = " or ".join(dict.fromkeys(one["msg"] for one in found if one["loc"][:1] == found[0]["loc"][:1]))
    value = f"{key} = {arguments[key]!r}; " if key in arguments else f"{key}: " if key else ""
    return _one_line(value + rules)


def _one_line(problem: object) -> str:
    return " ".join(str(problem).split()) or type(problem).__name__
