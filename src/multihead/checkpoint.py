"""Everything that a training needs to go on where it was: network, optimizer, seed generators, counters.

Keras keeps neither the state of seed generators nor an optimizer that was not built yet; so a checkpoint is
every variable as it is, in order, and restoring one that does not fit is an error.
"""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multihead.errors import UserError
from multihead.moving_average import MovingAverage
from multihead.whole_files import whole_file

CHECKPOINT_FILE = "checkpoint.npz"
FORMAT = 4


@dataclass(frozen=True)
class Checkpoint:
    """What one file holds.

    identity: what decided what this training becomes. counters: where the training was, as plain values.
    arrays: the variables of network and optimizer, then what a moving average holds.
    """

    path: Path
    identity: Mapping[str, Any]
    counters: Mapping[str, Any]
    arrays: Sequence[NDArray[Any]]

    @property
    def progress(self) -> tuple[int, int]:
        """Epochs finished, and shards finished in the next one."""
        return self.counters["epoch"], self.counters["shards_done"]


def save_checkpoint(
    folder: Path,
    network: Any,
    identity: Mapping[str, Any],
    counters: Mapping[str, Any],
    average: MovingAverage | None = None,
) -> None:
    """Put a checkpoint of the compiled network in place at once; a kill leaves the one before."""
    told = json.dumps({"format": FORMAT, "identity": identity, "counters": counters})
    arrays = [np.asarray(variable) for variable in _variables(network)]
    arrays += average.arrays if average else []
    with whole_file(folder / CHECKPOINT_FILE) as new, new.open("wb") as file:
        np.savez(file, *arrays, told=np.array(told))


def read_checkpoint(path: Path) -> Checkpoint:
    """Return the checkpoint of a file; UserError for a damaged one."""
    try:
        with path.open("rb") as file, np.load(file) as stored:
            told = json.loads(str(stored["told"]))
            if told["format"] != FORMAT:
                raise ValueError(f"format {told['format']}; this version reads format {FORMAT}")
            arrays = [stored[f"arr_{number}"] for number in range(len(stored.files) - 1)]
        return Checkpoint(path, told["identity"], told["counters"], arrays)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f'{path}: not a readable checkpoint ({error}); set resume = "off" to begin anew') from error


def restore(network: Any, checkpoint: Checkpoint, average: MovingAverage | None = None) -> None:
    """Put a checkpoint's values into a compiled network of the same settings; UserError where they do not fit."""
    variables = _variables(network)
    expected = [*variables, *(average.arrays if average else [])]
    if [(v.shape, str(v.dtype)) for v in expected] != [(a.shape, str(a.dtype)) for a in checkpoint.arrays]:
        raise UserError(f"{checkpoint.path}: its variables are not those of this network and optimizer")
    for variable, array in zip(variables, checkpoint.arrays[: len(variables)], strict=True):
        variable.assign(array)
    if average:
        average.arrays = list(checkpoint.arrays[len(variables) :])


def _variables(network: Any) -> list[Any]:
    """Return all state in a fixed order: weights, statistics, seed generators, optimizer."""
    if not network.optimizer.built:  # building a loss-scaling optimizer again would give it more variables
        network.optimizer.build(network.trainable_variables)
    return [*network.variables, *network.optimizer.variables]
