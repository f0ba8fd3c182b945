"""A backbone by name: the part of the network that turns an image into features.

EfficientNets (M. Tan, Q. Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, 2019) as the
efficientnet package builds them, from Keras 3's own layers; small ResNets; the networks of keras.applications; and a
stack of layers that the settings name.
"""

from types import SimpleNamespace
from typing import Any

import keras
from efficientnet import model as efficientnet

from multihead.config.backbones import APPLICATIONS, EFFICIENTNETS, RESNETS, STACK, scaling_mode, stack_layer
from multihead.config.model_settings import ModelSettings
from multihead.model.normalization import BatchNormalization

# The package's builders take their layers from a module
_LAYERS = SimpleNamespace(**(vars(keras.layers) | {"BatchNormalization": BatchNormalization}))
# What the package's builders look up in the `backend` module they are given. Keras 3's own has no such
# functions any more. They use a native swish only where backend() is "tensorflow" and tf.nn has one:
# keras.ops.silu is that on every backend, and its gradient keeps one tensor less than x * sigmoid(x).
_BACKEND = SimpleNamespace(
    backend=lambda: "tensorflow",
    image_data_format=keras.config.image_data_format,
    shape=keras.ops.shape,
    tf=SimpleNamespace(nn=SimpleNamespace(swish=keras.ops.silu)),
)

REDUCTION_RATIO = 8  # of squeeze and excitation; the paper's 16 would leave four numbers of 64 channels

# The mean and standard deviation of ImageNet's channels in [0, 1]
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Scale and offset of each channel. Those of caffe are for blue, green and red, in this order
_SCALINGS: dict[str, tuple[Any, Any]] = {
    "torch": ([1 / (255 * s) for s in _DEVIATION], [-m / s for m, s in zip(_MEAN, _DEVIATION, strict=True)]),
    "tf": (1 / 127.5, -1),
    "caffe": (1, [-103.939, -116.779, -123.68]),
    "built in": (1, 0),
    "unit": (1 / 255, 0),
}


def build_backbone(settings: ModelSettings, channels: int = 3) -> Any:
    """Return an untrained model from float (n, height, width, channels), as scaled leaves it, to features (n, f).

    channels: 3, or any number for a stack.
    """
    name, size = settings.backbone, settings.image_size
    if name == STACK:
        return _stack(settings, channels)
    if name in APPLICATIONS:
        application = getattr(keras.applications, APPLICATIONS[name].builder)
        return application(include_top=False, weights=None, input_shape=(*size, 3), pooling="avg", name=name)
    return _resnet(name, size) if name in RESNETS else _efficientnet(name, size)


def scaled(images: Any, name: str) -> Any:
    """Return pixels in [0, 255] (n, height, width, c) as the backbone of this name expects them."""
    mode = scaling_mode(name)
    if mode == "caffe":
        images = keras.ops.flip(images, axis=-1)
    scale, offset = _SCALINGS[mode]
    return keras.layers.Rescaling(scale, offset, name="input_scaling")(images)


def _resnet(name: str, size: tuple[int, int]) -> Any:
    """Build a ResNet of basic blocks (K. He et al., Deep Residual Learning for Image Recognition, 2016).

    Dense 3 x 3 convolutions are what a CPU does well: the stem halves the image, and so does every later stage. Gates:
    as in J. Hu et al., Squeeze-and-Excitation Networks, 2018. The 1 x 1 convolution is that of EfficientNets.
    """
    layers, resnet = keras.layers, RESNETS[name]

    def convolution(features: Any, filters: int, name: str, strides: int = 1, size: int = 3) -> Any:
        features = layers.Conv2D(filters, size, strides, padding="same", use_bias=False, name=f"{name}_conv")(features)
        return BatchNormalization(name=f"{name}_bn")(features)

    def gate(change: Any, filters: int, name: str) -> Any:
        means = layers.GlobalAveragePooling2D(keepdims=True)(change)
        squeezed = layers.Dense(filters // REDUCTION_RATIO, activation="relu", name=f"{name}_squeeze")(means)
        return layers.Dense(filters, activation="sigmoid", name=f"{name}_excite")(squeezed)

    features = images = keras.Input((*size, 3))
    for stage, (filters, blocks) in enumerate(zip(resnet.filters, resnet.blocks, strict=True), start=1):
        features = layers.ReLU()(convolution(features, filters, f"stage{stage}", strides=2))
        for block in range(1, blocks + 1):
            place = f"stage{stage}_block{block}"
            change = layers.ReLU()(convolution(features, filters, f"{place}a"))
            change = convolution(change, filters, f"{place}b")
            if resnet.has_gates:
                change = layers.Multiply()([change, gate(change, filters, place)])
            features = layers.ReLU()(layers.Add()([features, change]))
    if resnet.features:
        features = layers.ReLU()(convolution(features, resnet.features, "top", size=1))
    return keras.Model(images, layers.GlobalAveragePooling2D()(features), name=name)


def _efficientnet(name: str, size: tuple[int, int]) -> Any:
    width, depth = EFFICIENTNETS[name]
    network = efficientnet.EfficientNet(
        width,
        depth,
        max(size),
        model_name=name,
        include_top=False,
        weights=None,
        input_shape=(*size, 3),
        pooling="avg",
        backend=_BACKEND,
        layers=_LAYERS,
        models=keras.models,
        utils=keras.utils,
    )
    if name == "narrow":  # few photographs are some 100 steps, in which statistics with momentum 0.99 come half the way
        for layer in network.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.9
    return network


def _stack(settings: ModelSettings, channels: int) -> Any:
    layers = keras.layers
    features = images = keras.Input((*settings.image_size, channels))
    for kind, amount, padding in map(stack_layer, settings.stack_layers):
        match kind:
            case "conv":
                features = layers.Conv2D(int(amount), 3, padding=padding, activation="relu")(features)
            case "pool":
                features = layers.MaxPooling2D(int(amount), padding=padding)(features)
            case "norm":
                features = BatchNormalization()(features)
            case "dropout":
                features = layers.Dropout(amount)(features)
            case _:
                features = layers.Dense(int(amount), activation="relu")(layers.Flatten()(features))
    return keras.Model(images, layers.Flatten()(features), name=STACK)
