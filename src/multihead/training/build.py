"""The network as a training begins: compiled, with a moving average, from random or from pretrained weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from multihead.config.settings import ModelSettings, RunSettings
from multihead.config.task import Task
from multihead.data.class_parts import PARTS
from multihead.data.locate import find_everywhere
from multihead.model.heads import set_units
from multihead.model.network import build_model, freeze_up_to
from multihead.model.pretrained import load_pretrained
from multihead.runtime.errors import UserError, listed
from multihead.runtime.log import log
from multihead.training.keras_io import TrainedNetwork
from multihead.training.losses import loss_of, parts_loss
from multihead.training.moving_average import MovingAverage


def compiled_network(
    task: Task,
    model: ModelSettings,
    run: RunSettings,
    units: Mapping[str, Sequence[float]] | None = None,
    part_shares: NDArray[np.float32] | None = None,
) -> Any:
    """Return an untrained network with optimizer and losses, the variables of both created.

    run: with "auto" resolved by prepare_devices. units: as set_units takes them. part_shares: the shares of the images
    that have each of p parts, over 0 and under 1, float32 (p,); with them it has an output PARTS of p logits beside the
    heads, which says these shares at first. Raises UserError where frozen_up_to is no layer of its backbone.
    """
    built = build_model(model, task)
    scales = {head: scale for head, (_, scale, *_) in (units or {}).items()}
    weights = {head: task.weight(head) if run.loss_weights == "score" else 1.0 for head in task.heads}
    outputs = dict(built.output)
    losses = {head: loss_of(task.kind(head), run.label_smoothing, scales.get(head, 1.0)) for head in task.heads}
    loss_weights = {head: weight * len(weights) / sum(weights.values()) for head, weight in weights.items()}
    if part_shares is not None:
        outputs[PARTS] = _part_layer(part_shares)(built.get_layer(next(iter(task.heads))).input)
        losses[PARTS], loss_weights[PARTS] = parts_loss(), run.parts_weight
    network = TrainedNetwork(built.input, outputs, name=built.name)
    set_units(network, units or {})
    if run.frozen_up_to:
        freeze_up_to(network, model, run.frozen_up_to)
    network.compile(optimizer=_optimizer(run), loss=losses, loss_weights=loss_weights, jit_compile=run.xla == "on")
    # Left to the first step, the variables of optimizer and losses make TensorFlow trace it twice: half its time
    network.optimizer.build(network.trainable_variables)
    answers = {head: keras.ops.ones((1, output.shape[1])) for head, output in network.output.items()}
    network.compute_loss(y=answers, y_pred=answers)
    return network


def heads_alone(network: Any, task: Task) -> Any:
    """Return what is validated and saved of a compiled network: itself, or without PARTS, on the same weights."""
    if PARTS not in network.output.keys() - task.heads.keys():
        return network
    alone = keras.Model(network.input, {head: network.output[head] for head in task.heads}, name=network.name)
    alone.jit_compile = network.jit_compile
    return alone


def moving_average(network: Any, run: RunSettings) -> MovingAverage | None:
    """Return an average that starts with the weights as they are; None where the settings want none."""
    return MovingAverage(network, run.ema_decay) if run.ema_decay else None


def start_from_pretrained(network: Any, task: Task, model: ModelSettings, name: str, working: Path) -> None:
    """Put the weights of a file of that name into the network; UserError where it is in no input, or does not fit."""
    found = find_everywhere(name, working)
    if not found:
        raise UserError(f"pretrained = {name!r}: in no input; is its dataset among dataset_sources?")
    layers = load_pretrained(network, model, task, found[0])
    log.info(f"starting from {found[0]}: {listed(layers)}")


def _part_layer(shares: NDArray[np.float32]) -> Any:
    """Return a layer from features (n, f) to logits of p parts, float32 (n, p), which says their shares (p,) at first.

    Most parts are rare: else they would outweigh the heads until it had learned just that. T.-Y. Lin et al., Focal Loss
    for Dense Object Detection, 2017, section 3.3.
    """
    start = keras.initializers.Constant(np.log(shares / (1 - shares)))
    return keras.layers.Dense(len(shares), bias_initializer=start, dtype="float32", name=PARTS)


def _optimizer(run: RunSettings) -> Any:
    steps = run.gradient_accumulation if run.gradient_accumulation > 1 else None
    if run.optimizer == "rmsprop":
        return keras.optimizers.RMSprop(run.learning_rate, gradient_accumulation_steps=steps)
    optimizer = keras.optimizers.AdamW(
        run.learning_rate, weight_decay=run.weight_decay, gradient_accumulation_steps=steps
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return optimizer
