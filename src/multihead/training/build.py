"""The network as a training begins: compiled, with a moving average, from random or from pretrained weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from multihead.config.model_settings import ModelSettings
from multihead.config.settings import RunSettings
from multihead.config.task import Task
from multihead.data.locate import find_file
from multihead.model.heads import set_units
from multihead.model.network import build_model, freeze_up_to
from multihead.model.pretrained import Pretrained, load_pretrained
from multihead.runtime.errors import UserError, listed
from multihead.runtime.log import log
from multihead.training.keras_io import TrainedNetwork
from multihead.training.losses import loss_of
from multihead.training.moving_average import MovingAverage


def compiled_network(
    task: Task, model: ModelSettings, run: RunSettings, units: Mapping[str, Sequence[float]] | None = None
) -> Any:
    """Return an untrained network with optimizer and losses, the variables of both created.

    run: with "auto" resolved by prepare_devices. units: as set_units takes them. Raises
    UserError where frozen_up_to is no layer of its backbone.
    """
    built = build_model(model, task)
    network = TrainedNetwork(built.input, built.output, name=built.name)
    scales = {head: scale for head, (_, scale, *_) in (units or {}).items()}
    set_units(network, units or {})
    if run.frozen_up_to:
        freeze_up_to(network, model, run.frozen_up_to)
    weights = {head: task.weight(head) if run.loss_weights == "score" else 1.0 for head in task.heads}
    network.compile(
        optimizer=_optimizer(run),
        loss={head: loss_of(task.kind(head), run.label_smoothing, scales.get(head, 1.0)) for head in task.heads},
        loss_weights={head: weight * len(weights) / sum(weights.values()) for head, weight in weights.items()},
        jit_compile=run.xla == "on",
    )
    # Left to the first step, the variables of optimizer and losses make TensorFlow trace it twice: half its time
    network.optimizer.build(network.trainable_variables)
    answers = {head: keras.ops.ones((1, output.shape[1])) for head, output in network.output.items()}
    network.compute_loss(y=answers, y_pred=answers)
    return network


def moving_average(network: Any, run: RunSettings) -> MovingAverage | None:
    """Return an average that starts with the weights as they are; None where the settings want none."""
    return MovingAverage(network, run.ema_decay) if run.ema_decay else None


def start_from_pretrained(network: Any, task: Task, model: ModelSettings, setting: str, working: Path) -> Pretrained:
    """Put the weights that a setting names into the network; UserError where they are nowhere, or do not fit."""
    path = find_file(setting, working)
    if not path:
        raise UserError(f"pretrained = {setting!r}: in no input; is its dataset among dataset_sources?")
    pretrained = load_pretrained(network, model, task, path)
    log.info(f"starting from {path}: {listed(pretrained.layers)}")
    return pretrained


def _optimizer(run: RunSettings) -> Any:
    steps = run.gradient_accumulation if run.gradient_accumulation > 1 else None
    if run.optimizer == "rmsprop":
        return keras.optimizers.RMSprop(run.learning_rate, gradient_accumulation_steps=steps)
    optimizer = keras.optimizers.AdamW(
        run.learning_rate, weight_decay=run.weight_decay, gradient_accumulation_steps=steps
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return optimizer
