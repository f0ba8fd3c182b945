"""What oneDNN, bfloat16 and XLA do for each backbone's training on this CPU: python -m benchmarks.onednn.

It prints a table. Each network takes its steps in each way in turns, each time in a process of its own; a figure is the
median.
"""

import os
import statistics
import subprocess
import sys
import time
from typing import Any

ROUNDS, SECONDS = 3, 8.0
# Whether by oneDNN, in which precision, whether by XLA
WAYS = {
    "neither": ("0", "float32", "off"),
    "oneDNN": ("1", "float32", "off"),
    "oneDNN, bfloat16": ("1", "bfloat16", "off"),
    "XLA": ("0", "float32", "on"),
}
# Backbone, side of the image, batch
NETWORKS = (
    ("resnet10", 28, 64),
    ("resnet10", 48, 32),
    ("resnet10", 80, 64),
    ("resnet50", 64, 16),
    ("vgg16", 64, 16),
    ("densenet121", 64, 16),
    ("mobilenetv2", 64, 16),
    ("efficientnetv2-b0", 64, 16),
    ("convnext-tiny", 64, 16),
    ("narrow", 64, 64),
    ("efficientnet-b0", 64, 64),
)


def images_per_second(backbone: str, side: int, batch: int, precision: Any, xla: Any) -> float:
    """Return how many images a second the network of bengali's heads trains on, its first steps not counted."""
    from benchmarks.steps import one_batch, training_steps

    steps = training_steps(backbone, one_batch(side, batch), precision, xla)
    steps(3)
    started, images = time.perf_counter(), 0
    while (seconds := time.perf_counter() - started) < SECONDS:
        images += steps(1)
    return images / seconds


def main() -> None:
    """Print the table, or with arguments one measurement."""
    if sys.argv[1:]:
        backbone, side, batch, precision, xla = sys.argv[1:]
        print(images_per_second(backbone, int(side), int(batch), precision, xla))
        return
    print(f"| network | images | batch | images/s with {' | '.join(WAYS)} |")
    print(f"|{'---|' * (3 + len(WAYS))}")
    for name, size, images in NETWORKS:
        rates: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(ROUNDS):
            for way, (flag, precision, xla) in WAYS.items():
                command = [sys.executable, "-m", "benchmarks.onednn", name, str(size), str(images), precision, xla]
                environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": flag, "TF_CPP_MIN_LOG_LEVEL": "3"}
                printed = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
                rates[way].append(float(printed.split()[-1]))
        cells = (name, f"{size} x {size}", str(images), *(f"{statistics.median(of):.0f}" for of in rates.values()))
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
