"""What is measured: the rows, each in a process of its own, in the order in which they are wanted."""

from typing import NamedTuple


class Network(NamedTuple):
    """A network and the work to time: its backbone, the side of its images, the images a batch, the batches a fit.

    precision: the setting.
    """

    backbone: str
    side: int
    batch_size: int = 256
    steps: int = 98
    precision: str = "bfloat16"


class Row(NamedTuple):
    """The seconds after which a row's process is ended, those without which it is not begun, and its network.

    network: None for the row that describes the machine.
    """

    limit: float
    least: float
    network: Network | None = None


B0 = Network("efficientnet-b0", 64)  # 98 steps of 256 are half a shard of the competition
NARROW = Network("narrow", 32, batch_size=8, steps=4)
RECIPE = "recipe"  # the row that trains its network for the time that the others leave, and scores it
RECIPE_SECONDS = 80.0  # that the others leave at least
# The first step of an EfficientNet in bfloat16 compiles for 110 s and more, in float32 for some 40
ROWS = {
    "machine": Row(45, 10),
    "B0 64 bfloat16": Row(230, 160, B0),
    "B0 128 bfloat16": Row(200, 140, Network("efficientnet-b0", 128)),
    "B3 128 bfloat16": Row(240, 120, Network("efficientnet-b3", 128, steps=49)),
    RECIPE: Row(440, 60, B0._replace(precision="float32")),  # RESULTS.md has why
}
TINY_ROWS = {"machine": Row(900, 5), "narrow 32 bfloat16": Row(900, 30, NARROW), RECIPE: Row(900, 30, NARROW)}
