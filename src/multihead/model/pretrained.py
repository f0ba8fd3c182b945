"""Weights that a training starts from: those of an earlier training of ours, or a published file of a backbone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from multihead.config.files import name_of_weights
from multihead.config.manifest import Manifest, read_manifest, sha256_of
from multihead.config.model_settings import ModelSettings
from multihead.config.task import Task
from multihead.model.weights import load_model
from multihead.runtime.errors import UserError, first_line, listed

Network = Any  # a Keras model


class Pretrained(NamedTuple):
    """A file of weights, the layers that have them now, and the further images that they were trained on."""

    path: Path
    sha256: str
    layers: Sequence[str]
    further_images: Sequence[Mapping[str, Any]] = ()


def load_pretrained(network: Network, settings: ModelSettings, task: Task, path: Path) -> Pretrained:
    """Put the weights of a file into a network.

    A file that is called as those of a training with this project are, with its manifest beside it, gives the backbone,
    whatever the image size, and the heads that have the same classes, but those of numbers, whose units are of other
    images. Any other is a published one, of a backbone without a top. Raises UserError where it does not fit.
    """
    name = name_of_weights(path.name)
    if name is None:
        _load_published(network, settings, path)
        return Pretrained(path, sha256_of(path), [settings.backbone])
    manifest = read_manifest(path.parent, name)
    if (trained := _architecture(manifest.model)) != (own := _architecture(settings)):
        raise UserError(f"pretrained: {path} is of {trained}; this training is of {own}")
    other = load_model(path.parent, manifest, name)
    if not _copy(other, network, settings.backbone):
        shapes = [" x ".join(map(str, model.input.shape[1:])) for model in (other, network)]
        raise UserError(
            f"pretrained: {path} has layers of other sizes; it is of images of {shapes[0]}, not {shapes[1]}"
        )
    heads = [head for head in _same_heads(manifest, task) if _copy(other, network, head)]
    return Pretrained(path, manifest.sha256, [settings.backbone, *heads], manifest.further_images)


def _load_published(network: Network, settings: ModelSettings, path: Path) -> None:
    try:
        network.get_layer(settings.backbone).load_weights(path)
    except (OSError, ValueError) as error:
        raise UserError(f"pretrained: {path} does not fit {settings.backbone} ({first_line(error)})") from error


def _architecture(settings: ModelSettings) -> str:
    """Return the backbone in words, of a stack with its layers."""
    return f"{settings.backbone} {listed(settings.stack_layers)}" if settings.stack_layers else settings.backbone


def _same_heads(manifest: Manifest, task: Task) -> list[str]:
    there = manifest.task
    return [
        head
        for head, classes in task.heads.items()
        if (there.heads.get(head), there.kind(head) if head in there.heads else "") == (classes, task.kind(head))
        and task.kind(head) != "number"
    ]


def _copy(source: Network, target: Network, layer: str) -> bool:
    """Copy the weights of a layer, and return True; False where they have other shapes."""
    weights, places = source.get_layer(layer).weights, target.get_layer(layer).weights
    if [tuple(weight.shape) for weight in weights] != [tuple(place.shape) for place in places]:
        return False
    for weight, place in zip(weights, places, strict=True):
        place.assign(np.asarray(weight))
    return True
