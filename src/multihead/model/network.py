"""The network: input scaling, backbone, one head per label."""

from typing import Any

import keras

from multihead.config.backbones import STACK
from multihead.config.model_settings import ModelSettings
from multihead.config.task import Task
from multihead.model.backbones import build_backbone, scaled
from multihead.model.heads import head_layer
from multihead.runtime.errors import UserError


def build_model(settings: ModelSettings, task: Task) -> Any:
    """Return an untrained Keras model from uint8 (n, height, width, c) to logits, {head: float32 (n, outputs)}.

    Scaling is its first layer, so it travels with the weights. Gray becomes three equal channels, but for a stack.
    Heads are float32 in every precision.
    """
    channels = task.image_shape[2]
    pixels = images = keras.Input((*settings.image_size, channels), dtype="uint8", name="images")
    if channels == 1 and settings.backbone != STACK:
        pixels = keras.layers.Concatenate(name="gray_to_colour")([images] * 3)
    features = build_backbone(settings, pixels.shape[-1])(scaled(pixels, settings.backbone))
    if settings.dropout:
        features = keras.layers.Dropout(settings.dropout, name="dropout")(features)
    heads = {head: head_layer(task.kind(head), len(classes), head)(features) for head, classes in task.heads.items()}
    return keras.Model(images, heads, name=settings.backbone.replace("-", "_"))


def freeze_up_to(network: Any, settings: ModelSettings, name: str) -> None:
    """Train none of the backbone's layers up to the one of that name; their statistics stay as they are, too."""
    layers = network.get_layer(settings.backbone).layers
    names = [layer.name for layer in layers]
    if name not in names:
        known = [layer.name for layer in layers if layer.weights]
        raise UserError(f"frozen_up_to = {name!r}; {settings.backbone} has {', '.join(known)}")
    for layer in layers[: names.index(name) + 1]:
        layer.trainable = False
