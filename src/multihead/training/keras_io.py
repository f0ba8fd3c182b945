"""What a training is to Keras: the network as it begins, compiled, and what fit takes, batches and callbacks."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from multihead.config.settings import ModelSettings, RunSettings
from multihead.config.task import Task
from multihead.data.batches import TrainBatches
from multihead.data.locate import find_everywhere
from multihead.model.network import build_model, freeze_up_to, load_pretrained
from multihead.runtime.errors import UserError
from multihead.runtime.log import Pace, elapsed, say
from multihead.training.moving_average import MovingAverage


def compiled_network(task: Task, model: ModelSettings, run: RunSettings) -> Any:
    """Return an untrained network with optimizer and losses, the variables of both created.

    Raises UserError where frozen_up_to is no layer of its backbone.
    """
    network = build_model(model, task)
    if run.frozen_up_to:
        freeze_up_to(network, model, run.frozen_up_to)
    weights = {head: task.weight(head) if run.loss_weights == "score" else 1.0 for head in task.heads}
    network.compile(
        optimizer=_optimizer(run),
        loss={head: keras.losses.CategoricalCrossentropy(label_smoothing=run.label_smoothing) for head in task.heads},
        loss_weights={head: weight * len(weights) / sum(weights.values()) for head, weight in weights.items()},
    )
    # Left to the first step, the variables of optimizer and losses make TensorFlow trace it twice: half its time
    network.optimizer.build(network.trainable_variables)
    answers = {head: keras.ops.ones((1, output.shape[1])) for head, output in network.output.items()}
    network.compute_loss(y=answers, y_pred=answers)
    return network


def moving_average(network: Any, run: RunSettings) -> MovingAverage | None:
    """Return an average that starts with the weights as they are; None where the settings want none."""
    return MovingAverage(network, run.ema_decay) if run.ema_decay else None


def start_from_pretrained(network: Any, model: ModelSettings, name: str, working: Path) -> None:
    """Put the weights of a file of that name into the backbone; UserError where it is in no input, or does not fit."""
    found = find_everywhere(name, working)
    if not found:
        raise UserError(f"pretrained = {name!r}: in no input; is its dataset among dataset_sources?")
    load_pretrained(network, model, found[0])
    say(f"starting from {found[0]}")


def _optimizer(run: RunSettings) -> Any:
    if run.optimizer == "rmsprop":
        return keras.optimizers.RMSprop(run.learning_rate)
    optimizer = keras.optimizers.AdamW(run.learning_rate, weight_decay=run.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return optimizer


class KerasBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Some of TrainBatches as fit takes them, made in order ahead of the network by so many threads."""

    def __init__(self, batches: TrainBatches, which: range, workers: int = min(os.cpu_count() or 1, 8)) -> None:
        super().__init__(workers=workers, max_queue_size=4 * workers)
        self._batches, self._which = batches, which

    def release(self) -> None:
        """Let go of the crops: Keras keeps every data set that it was ever given."""
        del self._batches

    def __len__(self) -> int:
        return len(self._which)

    def __getitem__(self, index: int) -> Any:
        return self._batches[self._which[index]]


class Steps(keras.callbacks.Callback):  # type: ignore[misc]
    """Gives each batch its learning rate, and the moving average its updates."""

    def __init__(self, learning_rates: Sequence[float], average: MovingAverage | None) -> None:
        super().__init__()
        self._learning_rates, self._average = learning_rates, average

    def on_train_batch_begin(self, batch: int, **_: Any) -> None:
        self.model.optimizer.learning_rate = self._learning_rates[batch]

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        if self._average and self.model:  # under JAX, the weights are where the network says only once it is asked for
            self._average.step()


class Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Says a line every ten seconds, and ends the fit where the time budget does."""

    def __init__(self, name: str, batches: int, deadline: float) -> None:
        super().__init__()
        self._name, self._batches, self._deadline = name, batches, deadline
        self._pace = Pace(10)
        self.batches_done = 0

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self.batches_done = batch + 1
        if self._pace.is_due():
            say(f"  {self._name}: batch {batch + 1}/{self._batches}, loss {(logs or {}).get('loss', math.nan):.3f}")
        if elapsed() > self._deadline:
            self.model.stop_training = True
