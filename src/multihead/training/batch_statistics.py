"""What batch normalization knows of the features: means and variances for the weights that a training ends with."""

from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

from multihead.data.crop import Images


def refresh_statistics(network: Any, batches: Iterable[Images]) -> None:
    """Give each batch normalization the mean and the variance of its features over all images of the batches.

    Moving statistics are of the weights on the way, and at other image sizes; features of averaged weights have others
    (P. Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization, 2018). The network goes
    through the batches as in a training; of all else that it holds nothing changes, and frozen layers keep theirs.

    batches: at least one, uint8 (b, h, w, c), all of the same b.
    """
    layers = list(_normalizations(network))
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    seeds = [(variable, keras.ops.copy(variable)) for variable in _without_weights(network)]
    moments = [np.zeros((2, *layer.moving_mean.shape)) for layer in layers]  # sums of means and of mean squares
    count = 0
    try:
        for layer in layers:
            layer.momentum = 0.0  # after each batch its moving statistics are those of this batch
        for images in batches:
            network(images, training=True)
            count += 1
            for place, layer in enumerate(layers):
                mean, variance = (np.asarray(kept, np.float64) for kept in (layer.moving_mean, layer.moving_variance))
                moments[place] += np.stack([mean, variance + mean**2])
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for variable, before in seeds:
            variable.assign(before)
    for layer, (means, squares) in zip(layers, moments, strict=True):
        mean = means / count
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(np.maximum(squares / count - mean**2, 0))


def _normalizations(network: Any) -> Iterator[Any]:
    """Yield all batch normalizations of a network, and of the networks in it, that are trained."""
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            yield from _normalizations(layer)
        elif isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            yield layer


def _without_weights(network: Any) -> list[Any]:
    """Return the variables of a network that are no weights: the seed generators of its dropouts."""
    weights = {id(weight) for weight in network.weights}
    return [variable for variable in network.variables if id(variable) not in weights]
