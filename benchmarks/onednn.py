"""What oneDNN does for the training of each backbone on this CPU: python -m benchmarks.onednn prints a table.

Each network takes its steps with and without in turns, each time in a process of its own; a figure is the median.
"""

import os
import statistics
import subprocess
import sys
import time

ROUNDS, SECONDS = 3, 8.0
# Backbone, side of the image, batch
NETWORKS = (
    ("resnet10", 28, 64),
    ("resnet10", 48, 32),
    ("resnet50", 64, 16),
    ("vgg16", 64, 16),
    ("densenet121", 64, 16),
    ("mobilenetv2", 64, 16),
    ("efficientnetv2-b0", 64, 16),
    ("convnext-tiny", 64, 16),
    ("narrow", 64, 64),
    ("efficientnet-b0", 64, 64),
)


def images_per_second(backbone: str, side: int, batch: int) -> float:
    """Return how many images a second the network of bengali's heads trains on, its first two steps not counted."""
    import numpy as np

    from multihead.config.settings import ModelSettings
    from multihead.config.task import TASKS
    from multihead.model.network import build_model

    network = build_model(ModelSettings(backbone=backbone, image_size=(side, side)), TASKS["bengali"])
    network.compile(optimizer="adamw", loss="categorical_crossentropy")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, side, side, 1), np.uint8)
    labels = {
        head: np.eye(len(classes))[rng.integers(0, len(classes), batch)]
        for head, classes in TASKS["bengali"].heads.items()
    }
    for _ in range(2):
        network.train_on_batch(images, labels)
    started, steps = time.perf_counter(), 0
    while (seconds := time.perf_counter() - started) < SECONDS:
        network.train_on_batch(images, labels)
        steps += 1
    return steps * batch / seconds


def main() -> None:
    """Print the table, or with arguments one measurement."""
    if sys.argv[1:]:
        print(images_per_second(sys.argv[1], *map(int, sys.argv[2:])))
        return
    print("| network | images | batch | images/s without | with oneDNN | times as fast |\n|---|---|---|---|---|---|")
    for backbone, side, batch in NETWORKS:
        rates: dict[str, list[float]] = {"0": [], "1": []}
        for _ in range(ROUNDS):
            for flag, measured in rates.items():
                command = [sys.executable, "-m", "benchmarks.onednn", backbone, str(side), str(batch)]
                environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": flag, "TF_CPP_MIN_LOG_LEVEL": "3"}
                printed = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
                measured.append(float(printed.split()[-1]))
        without, with_it = (statistics.median(measured) for measured in rates.values())
        ratio = statistics.median(b / a for a, b in zip(*rates.values(), strict=True))
        cells = (backbone, f"{side} x {side}", batch, f"{without:.0f}", f"{with_it:.0f}", f"{ratio:.2f}")
        print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
