"""Training steps on one batch: the limit of a training, which reads and makes batches besides."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multihead.config.known_tasks import TASKS
from multihead.config.model_settings import ModelSettings
from multihead.config.setting_types import Precision, Xla
from multihead.config.settings import RunSettings

Batch = tuple[NDArray[np.uint8], dict[str, NDArray[np.float32]]]


def one_batch(side: int, images: int) -> Batch:
    """Return gray noise (images, side, side, 1), and targets of Bengali.AI's heads."""
    from multihead.data.targets import targets_of

    rng = np.random.default_rng(0)
    classes = {head: len(names) for head, names in TASKS["bengali"].heads.items()}
    labels = {head: rng.integers(0, count, images) for head, count in classes.items()}
    return rng.integers(0, 256, (images, side, side, 1), np.uint8), targets_of(labels, classes, {})


def trained_network(backbone: str, side: int, precision: Precision, xla: Xla = "auto") -> Any:
    """Return a network with optimizer and losses, as a training has it."""
    from multihead.model.devices import prepare_devices

    run = prepare_devices(RunSettings(precision=precision, xla=xla), [backbone])
    from multihead.training.build import compiled_network

    return compiled_network(TASKS["bengali"], ModelSettings(backbone=backbone, image_size=(side, side)), run)


def training_steps(backbone: str, batch: Batch, precision: Precision, xla: Xla = "auto") -> Callable[[int], int]:
    """Return what takes so many steps on a batch under TensorFlow, and returns how many images those are."""
    network = trained_network(backbone, batch[0].shape[1], precision, xla)
    import tensorflow as tf

    batches = iter(tf.data.Dataset.from_tensors((*batch, np.full(1, 1e-3, np.float32))).repeat())
    network.make_train_function()

    def steps(count: int) -> int:
        for _ in range(count):
            logs = network.train_function(batches)
        float(logs["loss"])
        return count * len(batch[0])

    return steps
