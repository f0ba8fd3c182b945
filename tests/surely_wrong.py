"""Two steps of a small network that is surely wrong of every image; as a program, it leaves their end in a file.

python -m tests.surely_wrong FILE
"""

import sys
from typing import Any

import numpy as np

from multihead.config.model_settings import ModelSettings
from multihead.config.settings import RunSettings
from multihead.model.devices import prepare_devices
from multihead.training.build import compiled_network
from multihead.training.keras_io import KerasBatches
from tests.built_in import BENGALI

MODEL = ModelSettings(backbone="stack", image_size=(16, 16), stack_layers=("conv 2", "dense 4"))
RATES = [0.1, 0.01]


def two_steps() -> dict[str, Any]:
    """Return the mean loss of two steps, and the weights after them."""
    network = compiled_network(
        BENGALI, MODEL, prepare_devices(RunSettings(optimizer="rmsprop", precision="float32"), ["stack"])
    )
    rng = np.random.default_rng(0)
    for weight in network.weights:
        weight.assign(rng.uniform(-0.5, 0.5, weight.shape) if "kernel" in weight.path else np.ones(weight.shape))
    for head, logits in network.output.items():
        network.get_layer(head).bias.assign(np.linspace(60.0, 0.0, logits.shape[1]))
    images = rng.integers(0, 256, (8, 16, 16, 1), np.uint8)
    last = {head: np.eye(logits.shape[1], dtype=np.float32)[[-1] * 8] for head, logits in network.output.items()}
    batches: Any = [(images, last)] * len(RATES)
    history = network.fit(KerasBatches(batches, range(len(RATES)), RATES), shuffle=False, verbose=0).history
    return {"loss": history["loss"][0]} | {str(n): np.asarray(weight) for n, weight in enumerate(network.weights)}


if __name__ == "__main__":
    np.savez(sys.argv[1], **two_steps())
