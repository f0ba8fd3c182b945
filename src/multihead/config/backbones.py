"""The backbones' names, and what each needs of an image. Without Keras: a mistake in the settings is told at once."""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple


class Application(NamedTuple):
    """One network of keras.applications.

    builder: its name there. scaling: what its published weights take for pixels, by the name of keras.applications'
    mode, or "built in" where the network scales them itself. least_size: of height and width.
    """

    builder: str
    scaling: str
    least_size: int = 32


class ResNet(NamedTuple):
    """Filters and residual blocks of each stage.

    has_gates: whether each block weighs the channels of its residual by squeeze and excitation. features: of a 1 x 1
    convolution after the last stage; 0: there is none.
    """

    filters: tuple[int, ...]
    blocks: tuple[int, ...]
    has_gates: bool = False
    features: int = 0


# Width and depth; b0 to b7 as in the paper's table, narrow for rehearsals and tests on a CPU
EFFICIENTNETS = {
    "narrow": (0.3, 0.3),
    "efficientnet-b0": (1.0, 1.0),
    "efficientnet-b1": (1.0, 1.1),
    "efficientnet-b2": (1.1, 1.2),
    "efficientnet-b3": (1.2, 1.4),
    "efficientnet-b4": (1.4, 1.8),
    "efficientnet-b5": (1.6, 2.2),
    "efficientnet-b6": (1.8, 2.6),
    "efficientnet-b7": (2.0, 3.1),
}
# For training on a CPU
_RESNET16 = ResNet((32, 64, 128, 256), (0, 2, 2, 2))
RESNETS = {
    "resnet10": _RESNET16._replace(blocks=(0, 1, 1, 1)),
    "resnet16": _RESNET16,
    "resnet16-se-1024": _RESNET16._replace(has_gates=True, features=1024),
    "resnet16-se-1536": ResNet((48, 96, 192, 384), (0, 2, 2, 2), has_gates=True, features=1536),
}
# All but its EfficientNets of the first kind: those above have weights of noisy students as well
APPLICATIONS = {
    "vgg16": Application("VGG16", "caffe"),
    "vgg19": Application("VGG19", "caffe"),
    "resnet50": Application("ResNet50", "caffe"),
    "resnet101": Application("ResNet101", "caffe"),
    "resnet152": Application("ResNet152", "caffe"),
    "resnet50v2": Application("ResNet50V2", "tf"),
    "resnet101v2": Application("ResNet101V2", "tf"),
    "resnet152v2": Application("ResNet152V2", "tf"),
    "inceptionv3": Application("InceptionV3", "tf", least_size=75),
    "inceptionresnetv2": Application("InceptionResNetV2", "tf", least_size=75),
    "xception": Application("Xception", "tf", least_size=71),
    "mobilenet": Application("MobileNet", "tf"),
    "mobilenetv2": Application("MobileNetV2", "tf"),
    "mobilenetv3-small": Application("MobileNetV3Small", "built in"),
    "mobilenetv3-large": Application("MobileNetV3Large", "built in"),
    "densenet121": Application("DenseNet121", "torch"),
    "densenet169": Application("DenseNet169", "torch"),
    "densenet201": Application("DenseNet201", "torch"),
    "nasnet-mobile": Application("NASNetMobile", "tf"),
    "nasnet-large": Application("NASNetLarge", "tf"),
    "efficientnetv2-b0": Application("EfficientNetV2B0", "built in"),
    "efficientnetv2-b1": Application("EfficientNetV2B1", "built in"),
    "efficientnetv2-b2": Application("EfficientNetV2B2", "built in"),
    "efficientnetv2-b3": Application("EfficientNetV2B3", "built in"),
    "efficientnetv2-s": Application("EfficientNetV2S", "built in"),
    "efficientnetv2-m": Application("EfficientNetV2M", "built in"),
    "efficientnetv2-l": Application("EfficientNetV2L", "built in"),
    "convnext-tiny": Application("ConvNeXtTiny", "built in"),
    "convnext-small": Application("ConvNeXtSmall", "built in"),
    "convnext-base": Application("ConvNeXtBase", "built in"),
    "convnext-large": Application("ConvNeXtLarge", "built in"),
    "convnext-xlarge": Application("ConvNeXtXLarge", "built in"),
}
STACK = "stack"
BACKBONES = (*EFFICIENTNETS, *RESNETS, STACK, *APPLICATIONS)
LEAST_SIZE = 8  # of any image
_LAYER = re.compile(r"conv [1-9]\d{0,3}( valid)?|pool [2-9]( same)?|norm|dropout 0?\.\d+|dense [1-9]\d{0,4}")


class StackLayer(NamedTuple):
    """One layer of a stack: its kind, how much of it (filters, side of the pool, share, width), and its padding."""

    kind: str
    amount: float
    padding: str


def scaling_mode(backbone: str) -> str:
    """Return how a backbone takes its pixels: one of keras.applications' modes, "built in", or "unit" for 0 to 1."""
    if backbone in APPLICATIONS:
        return APPLICATIONS[backbone].scaling
    return "unit" if backbone == STACK else "torch"


def least_size(backbone: str) -> int:
    """Return the least height and width in pixels that a backbone takes."""
    if backbone in APPLICATIONS:
        return APPLICATIONS[backbone].least_size
    return 32 if backbone in EFFICIENTNETS else LEAST_SIZE


def stack_layer(text: str) -> StackLayer:
    """Return a layer as stack_layers names it; ValueError where there is none of that name."""
    if not _LAYER.fullmatch(text):
        raise ValueError(
            f"stack_layers: {text!r} is not known; expected the like of conv 32, conv 32 valid, pool 2, pool 2 same, "
            "norm, dropout 0.25, dense 128"
        )
    kind, amount, padding = [*text.split(), "", ""][:3]
    return StackLayer(kind, float(amount or 0), padding or {"conv": "same", "pool": "valid"}.get(kind, ""))


def check_architecture(backbone: str, image_size: tuple[int, int], stack_layers: Sequence[str]) -> None:
    """Raise ValueError where a backbone cannot be built for images of (height, width), or with these stack_layers."""
    least = least_size(backbone)
    if min(image_size) < least:
        raise ValueError(f"image_size = {list(image_size)}: {backbone} takes at least [{least}, {least}]")
    if backbone != STACK and stack_layers:
        raise ValueError(f"stack_layers belong to backbone = {STACK!r}, not to {backbone!r}")
    if backbone == STACK and not stack_layers:
        raise ValueError(f"stack_layers: none, but backbone = {STACK!r} is what they make")
    height, width = image_size
    is_flat = False
    for text in stack_layers:
        layer = stack_layer(text)
        if is_flat and layer.kind in ("conv", "pool"):
            raise ValueError(f"stack_layers: {text!r} after a dense layer, where there is no image any more")
        is_flat = is_flat or layer.kind == "dense"
        if layer.kind == "pool":
            rounded = math.ceil if layer.padding == "same" else math.floor
            height, width = rounded(height / layer.amount), rounded(width / layer.amount)
        elif layer.padding == "valid":
            height, width = height - 2, width - 2
        if min(height, width) < 1:
            raise ValueError(f"image_size = {list(image_size)}: too small for stack_layers, {text!r} leaves nothing")
