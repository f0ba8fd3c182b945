"""The loss of each kind of head. An image without a label of a head costs nothing there."""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras

from multihead.config.scores import Kind

PerImage = Callable[[Any, Any], Any]  # from targets and logits, (n, outputs) each, to losses, (n,)


class KnownImages(keras.losses.Loss):  # type: ignore[misc]
    """The mean over a batch of the losses of those images whose targets are numbers; of the others they are 0."""

    def __init__(self, per_image: PerImage) -> None:
        super().__init__(reduction="sum_over_batch_size")
        self._per_image = per_image

    def call(self, y_true: Any, y_pred: Any) -> Any:
        ops = keras.ops
        is_known = ops.all(ops.isfinite(y_true), axis=-1)
        targets = ops.where(is_known[:, None], y_true, ops.zeros_like(y_true))
        losses = self._per_image(targets, y_pred)
        return ops.where(is_known, losses, ops.zeros_like(losses))


def loss_of(kind: Kind, label_smoothing: float, scale: float = 1.0, offsets: Any = None) -> KnownImages:
    """Return the loss of a head's logits.

    Cross-entropy of one of several classes; binary cross-entropy, the mean over classes or thresholds, of several at
    once and of classes in an order; of numbers Huber's loss of the error in units of `scale`. label_smoothing: of the
    first.
    """
    if kind == "number":
        return KnownImages(partial(_huber, scale=scale))
    if kind == "softmax":
        smoothed = partial(keras.losses.categorical_crossentropy, from_logits=True, label_smoothing=label_smoothing)
        return KnownImages(smoothed if offsets is None else partial(_adjusted, smoothed, offsets))
    return KnownImages(partial(keras.losses.binary_crossentropy, from_logits=True))


def _adjusted(loss: PerImage, offsets: Any, targets: Any, logits: Any) -> Any:
    """Return the loss of logits with the logarithm of a prior added (A. K. Menon et al., 2021, equation 10)."""
    return loss(targets, logits + offsets)


def _huber(targets: Any, numbers: Any, scale: float) -> Any:
    return keras.losses.huber(targets / scale, numbers / scale)
