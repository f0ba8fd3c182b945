"""The backbones' names, and what each needs of an image. Without Keras: a mistake in the settings is told at once."""

import math
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple


class Application(NamedTuple):
    """One network of keras.applications.

    builder: its name there. scaling: what its published weights take for pixels, by the name of keras.applications'
    mode, or "built in" where the network scales them itself. least_size: of height and width. takes_any_size: whether
    one network answers for images of any size as one that is built for their size; not where it is built with the
    padding that each size needs.
    """

    builder: str
    scaling: str
    least_size: int = 32
    takes_any_size: bool = True


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
# Filters and residual blocks of each stage, for training on a CPU
RESNETS = {
    "resnet10": ((32, 64, 128, 256), (0, 1, 1, 1)),
    "resnet16": ((32, 64, 128, 256), (0, 2, 2, 2)),
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
    "mobilenetv2": Application("MobileNetV2", "tf", takes_any_size=False),
    "mobilenetv3-small": Application("MobileNetV3Small", "built in", takes_any_size=False),
    "mobilenetv3-large": Application("MobileNetV3Large", "built in", takes_any_size=False),
    "densenet121": Application("DenseNet121", "torch"),
    "densenet169": Application("DenseNet169", "torch"),
    "densenet201": Application("DenseNet201", "torch"),
    "nasnet-mobile": Application("NASNetMobile", "tf", takes_any_size=False),
    "nasnet-large": Application("NASNetLarge", "tf", takes_any_size=False),
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


def takes_any_size(backbone: str) -> bool:
    """Tell whether a backbone has the same weights, and the same way through them, for images of every size."""
    return backbone != STACK and (backbone not in APPLICATIONS or APPLICATIONS[backbone].takes_any_size)


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


def check_growing_sizes(backbone: str, image_size: tuple[int, int], growing_sizes: Sequence[tuple[int, int]]) -> None:
    """Raise ValueError where a backbone cannot be trained at these (height, width) and then at image_size."""
    if growing_sizes and not takes_any_size(backbone):
        raise ValueError(f"growing_sizes: {backbone} is built for one size; expected another backbone, or []")
    least = least_size(backbone)
    for smaller, larger in pairwise([*growing_sizes, image_size]):
        if min(smaller) < least:
            raise ValueError(f"growing_sizes: {list(smaller)}: {backbone} takes at least [{least}, {least}]")
        if smaller == larger or smaller[0] > larger[0] or smaller[1] > larger[1]:
            raise ValueError(
                f"growing_sizes: {list(smaller)} before {list(larger)}; expected sizes that grow up to image_size"
            )
