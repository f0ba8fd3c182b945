"""The settings of a training on the kit's crops: the train kernel's, but for network, size and time."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from benchmarks.gpu.data import crops_task
from benchmarks.gpu.rows import Network
from multihead.config.model_settings import ModelSettings
from multihead.config.settings import RunSettings
from multihead.config.settings_file import read_settings
from multihead.config.task import Task
from multihead.model.devices import prepare_devices

OVERRIDES = ("crop=none", "learning_rate=2e-3", "resume=off")


class Training(NamedTuple):
    """What a Trainer takes, its folders aside, with precision and compilation resolved for this machine."""

    task: Task
    model: ModelSettings
    run: RunSettings


def prepare_training(kit: Path, network: Network, minutes: float = 0.0, *, is_tiny: bool) -> Training:
    """Prepare the device for a training of a network; minutes: its time budget, 0 for none.

    All trainings of one network have the same programs, which JAX's cache keeps from one process to the next.
    Raises UserError where there is no GPU, unless it is tiny.
    """
    overrides = [
        *OVERRIDES,
        f"backbone={network.backbone}",
        f"image_size=[{network.side}, {network.side}]",
        f"batch_size={network.batch_size}",
        f"precision={network.precision}",
        f"time_budget_minutes={minutes}",
        f"require_gpu={'false' if is_tiny else 'true'}",
        *(["validation_share=0.2"] if is_tiny else []),
    ]
    settings = read_settings(kit / "settings.toml", overrides)
    task = crops_task()
    run = prepare_devices(settings.run, [network.backbone])
    return Training(task, replace(settings.model, task=task.name), run)
