"""Batch normalization as one operation of the backend, where it has one."""

from typing import Any

import keras

from multihead.model.devices import fused_batch_norm


class BatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Keras's layer, with the same weights and answers.

    Keras writes it as a dozen operations on whole tensors, in float32 whatever the precision; without XLA, which fuses
    them, they are a third of a training step. TensorFlow's one operation goes over the features in the precision that
    they have, and keeps statistics and parameters in float32 all the same.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalize float (n, height, width, c); of another form, or frozen in a training, as Keras does."""
        is_frozen = training and not self.trainable  # of which the one operation has no repeatable gradient
        is_of_images = len(inputs.shape) == 4 and self.axis in (-1, 3) and mask is None
        if keras.config.backend() != "tensorflow" or not is_of_images or is_frozen:
            return super().call(inputs, training=training, mask=mask)
        parameters = (self.gamma, self.beta, self.epsilon)
        if not training:
            return fused_batch_norm(inputs, *parameters, self.moving_mean, self.moving_variance)[0]
        outputs, mean, variance = fused_batch_norm(inputs, *parameters)
        shape = keras.ops.shape(inputs)
        count = keras.ops.cast(shape[0] * shape[1] * shape[2], "float32")  # of values that a channel's mean is of
        variance = variance * (count - 1) / count  # the fused one is that of a sample, Keras keeps the batch's own
        for statistic, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            statistic.assign(statistic * self.momentum + new * (1.0 - self.momentum))
        return outputs
