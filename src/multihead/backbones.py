"""A backbone by name: the part of the network that turns an image into features.

All are EfficientNets (M. Tan, Q. Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural
Networks, 2019) as the efficientnet package builds them, from Keras 3's own layers.
"""

from types import SimpleNamespace
from typing import Any

import keras
from efficientnet import model as efficientnet

from multihead.settings import EFFICIENTNETS, RESNETS

# What the package's builders look up in the `backend` module they are given. Keras 3's own has no such
# functions any more. They use a native swish only where backend() is "tensorflow" and tf.nn has one:
# keras.ops.silu is that on every backend, and its gradient keeps one tensor less than x * sigmoid(x).
_BACKEND = SimpleNamespace(
    backend=lambda: "tensorflow",
    image_data_format=keras.config.image_data_format,
    shape=keras.ops.shape,
    tf=SimpleNamespace(nn=SimpleNamespace(swish=keras.ops.silu)),
)

# The mean and standard deviation of ImageNet's channels in [0, 1], with which the package's weights were trained
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def build_backbone(name: str, size: tuple[int, int]) -> Any:
    """Return an untrained model from float (n, height, width, 3), as input_scaling leaves it, to features (n, f)."""
    return _resnet(name, size) if name in RESNETS else _efficientnet(name, size)


def jit_compile(name: str) -> bool | str:
    """Return whether Keras should compile the training of this backbone with XLA; "auto" leaves a CPU without.

    On a CPU XLA makes dense convolutions train half as fast again, and depthwise ones five times as slow.
    """
    return name in RESNETS or "auto"


def _resnet(name: str, size: tuple[int, int]) -> Any:
    """Build a ResNet of basic blocks (K. He et al., Deep Residual Learning for Image Recognition, 2016).

    Dense 3 x 3 convolutions are what a CPU does well: the stem halves the image, and so does every later stage.
    """
    layers = keras.layers

    def convolution(features: Any, filters: int, name: str, strides: int = 1) -> Any:
        features = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False, name=f"{name}_conv")(features)
        return layers.BatchNormalization(name=f"{name}_bn")(features)

    images = keras.Input((*size, 3))
    features = images
    for stage, (filters, blocks) in enumerate(zip(*RESNETS[name], strict=True), start=1):
        features = layers.ReLU()(convolution(features, filters, f"stage{stage}", strides=2))
        for block in range(1, blocks + 1):
            place = f"stage{stage}_block{block}"
            change = layers.ReLU()(convolution(features, filters, f"{place}a"))
            features = layers.ReLU()(layers.Add()([features, convolution(change, filters, f"{place}b")]))
    return keras.Model(images, layers.GlobalAveragePooling2D()(features), name=name)


def _efficientnet(name: str, size: tuple[int, int]) -> Any:
    width, depth = EFFICIENTNETS[name]
    return efficientnet.EfficientNet(
        width,
        depth,
        max(size),
        model_name=name,
        include_top=False,
        weights=None,
        input_shape=(*size, 3),
        pooling="avg",
        backend=_BACKEND,
        layers=keras.layers,
        models=keras.models,
        utils=keras.utils,
    )


def input_scaling() -> Any:
    """Return the layer from pixels in [0, 255] (n, height, width, 3) to what the backbones expect."""
    return keras.layers.Rescaling(
        scale=[1 / (255 * s) for s in _DEVIATION],
        offset=[-m / s for m, s in zip(_MEAN, _DEVIATION, strict=True)],
        name="input_scaling",
    )
