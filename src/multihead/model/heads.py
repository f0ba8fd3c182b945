"""The layers that make a head's logits of features, and what the logits stand for."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from multihead.config.scores import Kind

FURTHEST = 1e30  # of a number from 0, before it is known how far they go


class CumulativeLinks(keras.layers.Layer):  # type: ignore[misc]
    """One number for an image, held against a threshold between each class and the next.

    Its outputs are the logits of the class being above each threshold. W. Cao et al., Rank consistent ordinal
    regression for neural networks (CORAL), 2020, after P. McCullagh, Regression models for ordinal data, 1980.
    """

    def __init__(self, classes: int, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.thresholds = classes - 1

    def build(self, shape: tuple[int, ...]) -> None:
        above = 1 - np.arange(1, self.thresholds + 1) / (self.thresholds + 1)  # of classes that are as frequent
        start = keras.initializers.Constant(np.log(above / (1 - above)).astype(np.float32))
        self.kernel = self.add_weight((shape[-1], 1), initializer="glorot_uniform", name="kernel")
        self.bias = self.add_weight((self.thresholds,), initializer=start, name="bias")

    def call(self, features: Any) -> Any:
        return keras.ops.matmul(features, self.kernel) + self.bias


class Number(keras.layers.Layer):  # type: ignore[misc]
    """A number in its own unit: what a dense layer says times `scale`, and `centre`, which no training changes.

    But in training it is kept from `least` to `most`.
    """

    def build(self, shape: tuple[int, ...]) -> None:
        self.kernel = self.add_weight((shape[-1], 1), initializer="glorot_uniform", name="kernel")
        self.bias = self.add_weight((1,), initializer="zeros", name="bias")
        starts = {"centre": 0.0, "scale": 1.0, "least": -FURTHEST, "most": FURTHEST}
        self.units = {
            name: self.add_weight((1,), initializer=keras.initializers.Constant(start), trainable=False, name=name)
            for name, start in starts.items()
        }

    def call(self, features: Any, training: bool | None = None) -> Any:
        said = keras.ops.matmul(features, self.kernel) + self.bias
        number = self.units["centre"] + self.units["scale"] * said
        return number if training else keras.ops.clip(number, self.units["least"], self.units["most"])


class AttentionPooling(keras.layers.Layer):  # type: ignore[misc]
    """The mean of a map of features (n, height, width, f) over its places, each with a weight that its features say.

    It starts as the plain mean.
    """

    def build(self, shape: tuple[int, ...]) -> None:
        self.kernel = self.add_weight((shape[-1], 1), initializer="zeros", name="kernel")

    def call(self, features: Any) -> Any:
        places = keras.ops.reshape(features, (-1, features.shape[1] * features.shape[2], features.shape[3]))
        places = keras.ops.cast(places, "float32")
        weights = keras.ops.softmax(keras.ops.matmul(places, self.kernel), axis=1)
        return keras.ops.sum(weights * places, axis=1)


def head_layer(kind: Kind, classes: int, name: str) -> Any:
    """Return a layer from features (n, f) to a head's logits, float32 (n, outputs), in every precision."""
    if kind == "ordinal":
        return CumulativeLinks(classes, dtype="float32", name=name)
    return (
        Number(dtype="float32", name=name)
        if kind == "number"
        else keras.layers.Dense(classes, dtype="float32", name=name)
    )


def set_units(network: Any, units: Mapping[str, Sequence[float]]) -> None:
    """Give heads of numbers mean, standard deviation, least and greatest number of the images to train on."""
    for head, values in units.items():
        for weight, value in zip(network.get_layer(head).units.values(), values, strict=True):
            weight.assign([value])


def probabilities_of(
    logits: Mapping[str, Any], kinds: Mapping[str, Kind] | None = None
) -> dict[str, NDArray[np.float32]]:
    """Return what a network says, {head: (n, outputs)}, as probabilities, float32 (n, classes); a number as it is.

    kinds: of the heads that are not softmax. A row with a logit that is NaN or +inf is NaN.
    """
    of_kind: dict[Kind, Callable[[Any], NDArray[np.float32]]] = {
        "softmax": _softmax,
        "sigmoid": _sigmoid,
        "ordinal": _between_thresholds,
        "number": np.asarray,
    }
    kinds = kinds or {}
    return {head: of_kind[kinds.get(head, "softmax")](np.asarray(rows, np.float32)) for head, rows in logits.items()}


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    with np.errstate(invalid="ignore"):
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    finite = np.where(logits == np.inf, np.float32(np.nan), logits)
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * finite), np.float32)


def _between_thresholds(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the probability of each class from those of being above each threshold, which never rise."""
    above = np.minimum.accumulate(_sigmoid(logits), axis=1)
    ends = np.ones((len(above), 1), np.float32), np.zeros((len(above), 1), np.float32)
    return np.asarray(-np.diff(np.concatenate([ends[0], above, ends[1]], axis=1), axis=1))
