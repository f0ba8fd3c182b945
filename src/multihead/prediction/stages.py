"""What went through each stage of predicting, of one process or of several."""

from collections.abc import Sequence
from typing import NamedTuple


class Stages(NamedTuple):
    """What went through each stage of predicting: images, files, and the seconds that they took there."""

    read_images: int = 0
    files: int = 0
    read_seconds: float = 0.0
    network_images: int = 0
    network_seconds: float = 0.0

    def __str__(self) -> str:
        return (
            f"read and crop {self.read_images} images of {self.files} files in {self.read_seconds:.2f} s; "
            f"network {self.network_images} images in {self.network_seconds:.2f} s"
        )


def beside_each_other(stages: Sequence[Stages]) -> Stages:
    """Return what several processes did at a time: their images and files together, their seconds on average."""
    if not stages:
        return Stages()
    images, files, reading, predicted, network = (sum(values) for values in zip(*stages, strict=True))
    return Stages(int(images), int(files), reading / len(stages), int(predicted), network / len(stages))
