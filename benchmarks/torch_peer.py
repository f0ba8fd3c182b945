"""The training step of one of our ResNets in PyTorch, which the project's own is measured against.

Not among the requirements: `pip install torch==2.13.0` in a copy of .venv, since it wants a newer setuptools than
Kaggle has. Here losses have no weights and weight decay is for all parameters, which makes no difference to the time.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmarks.steps import Batch
from multihead.config.backbones import RESNETS


def torch_steps(backbone: str, batch: Batch, *, is_bfloat16: bool) -> Callable[[int], int]:
    """Return what takes so many steps on a batch, and returns how many images those are.

    Features lie channels last, as PyTorch's convolutions on a CPU are fastest; bfloat16 by its autocast, with weights,
    losses and statistics in float32.
    """
    images, targets = batch
    torch.manual_seed(0)
    network = _Network(backbone, [rows.shape[1] for rows in targets.values()])
    network.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=0.01)
    pixels = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    wanted = [torch.from_numpy(rows) for rows in targets.values()]

    def steps(count: int) -> int:
        for _ in range(count):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=is_bfloat16):
                logits = network(pixels)
            loss = torch.stack(
                [nn.functional.cross_entropy(o.float(), to) for o, to in zip(logits, wanted, strict=True)]
            ).sum()
            loss.backward()
            optimizer.step()
        float(loss.detach())
        return count * len(images)

    return steps


class _Network(nn.Module):  # type: ignore[misc]
    """multihead.model.backbones' ResNet, without gates and further features, with its scaling and heads."""

    def __init__(self, backbone: str, classes: list[int]) -> None:
        super().__init__()
        stages: list[Any] = []
        before = 3
        resnet = RESNETS[backbone]
        for filters, blocks in zip(resnet.filters, resnet.blocks, strict=True):
            stages += [_convolution(before, filters, stride=2), nn.ReLU(), *(_Block(filters) for _ in range(blocks))]
            before = filters
        self.body = nn.Sequential(*stages)
        self.heads = nn.ModuleList(nn.Linear(before, count) for count in classes)

    def forward(self, images: Any) -> list[Any]:
        features = self.body((images.float() / 127.5 - 1).expand(-1, 3, -1, -1)).mean((2, 3))
        return [head(features) for head in self.heads]


class _Block(nn.Module):  # type: ignore[misc]
    def __init__(self, filters: int) -> None:
        super().__init__()
        self.first, self.second = _convolution(filters, filters), _convolution(filters, filters)

    def forward(self, features: Any) -> Any:
        return torch.relu(features + self.second(torch.relu(self.first(features))))


def _convolution(before: int, filters: int, stride: int = 1) -> Any:
    convolution = nn.Conv2d(before, filters, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(filters, eps=1e-3))
