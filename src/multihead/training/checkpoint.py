"""Everything that a training needs to go on where it was: network, optimizer, seed generators, counters.

Keras keeps neither the state of seed generators nor an optimizer that was not built yet; so a checkpoint is every
variable by its name, and restoring one that does not fit is an error. Its header is read before its arrays, which may
be those of somebody else's training, of any size.
"""

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from multihead.config.files import CHECKPOINT_FILE
from multihead.runtime.errors import UserError
from multihead.runtime.whole_files import whole_file
from multihead.training.moving_average import MovingAverage
from multihead.training.schedule import TrainingState

FORMAT = 5
FORMAT_WITHOUT_NAMES = 4  # read by the order of the variables
HEADERS = ("header", "told")  # what the formats call it
HEADER_BYTES = 50_000_000  # the counters hold a row per epoch, some 500 bytes of text


class ForeignFileError(UserError):
    """A file of a checkpoint's name that another program wrote."""


@dataclass(frozen=True)
class Checkpoint:
    """What the header of one file says.

    identity: what decided what this training becomes. state: where the training was. versions: the version of Keras and
    the name of its backend, where it was left; empty in an older format. names: of the arrays in the file, in order;
    None in an older format.
    """

    path: Path
    identity: Mapping[str, Any]
    state: TrainingState
    versions: Mapping[str, str]
    names: Sequence[str] | None

    @property
    def progress(self) -> tuple[int, int]:
        """Epochs finished, and shards finished in the next one."""
        return self.state.epoch, self.state.shards_done

    def read_arrays(self) -> list[NDArray[Any]]:
        """Return the variables of network and optimizer, then what a moving average holds; UserError where damaged."""
        try:
            with self.path.open("rb") as file, np.load(file) as stored:
                return [stored[f"arr_{number}"] for number in range(len(stored.files) - 1)]
        except Exception as error:  # of a damaged archive zipfile, zlib and NumPy raise many kinds
            raise _damaged(self.path, error) from error


def save_checkpoint(
    folder: Path,
    network: Any,
    identity: Mapping[str, Any],
    state: TrainingState,
    average: MovingAverage | None = None,
) -> None:
    """Put a checkpoint of the compiled network in place at once; a kill leaves the one before."""
    header = {
        "format": FORMAT,
        "versions": versions(),
        "identity": identity,
        "counters": asdict(state),
        "names": _names(network, average),
    }
    arrays = [*map(np.asarray, _variables(network)), *(average.arrays if average else ())]
    with whole_file(folder / CHECKPOINT_FILE) as new, new.open("wb") as file:
        np.savez(file, *arrays, header=np.array(json.dumps(header)))


def versions() -> dict[str, str]:
    """Return what a checkpoint says of the Keras that left it."""
    return {"keras": keras.__version__, "backend": keras.config.backend()}


def read_checkpoint(path: Path) -> Checkpoint:
    """Return the checkpoint of a file, its arrays still unread.

    Raises ForeignFileError for an archive without a header of ours, UserError for a damaged file.
    """
    try:
        with path.open("rb") as file, np.load(file) as stored:
            name = next((name for name in HEADERS if name in stored.files), None)
            if name is None:
                raise ForeignFileError(f"{path}: another program's")
            if stored.zip.getinfo(f"{name}.npy").file_size > HEADER_BYTES:
                raise ValueError(f"a header of more than {HEADER_BYTES:,} bytes")
            return _of_header(path, json.loads(str(stored[name])))
    except ForeignFileError:
        raise
    except Exception as error:  # of a damaged archive zipfile, zlib and NumPy raise many kinds
        raise _damaged(path, error) from error


def _of_header(path: Path, header: Mapping[str, Any]) -> Checkpoint:
    """Return what a header says; ValueError, KeyError or TypeError for one that is not as save_checkpoint writes it."""
    if header["format"] not in (FORMAT, FORMAT_WITHOUT_NAMES):
        raise ValueError(f"format {header['format']}; this version reads format {FORMAT}")
    identity, counters, names = header["identity"], header["counters"], header.get("names")
    tables = (identity, identity["task"], identity["model"], counters)
    if not all(isinstance(table, dict) for table in tables) or not isinstance(names, list | None):
        raise TypeError("a header of another form")
    return Checkpoint(path, identity, TrainingState(**counters), header.get("versions", {}), names)


def restore(network: Any, checkpoint: Checkpoint, average: MovingAverage | None = None) -> None:
    """Put a checkpoint's values, matched by name, into a compiled network; UserError where they do not fit."""
    variables, names = _variables(network), _names(network, average)
    arrays = checkpoint.read_arrays()
    if checkpoint.names is None and len(arrays) != len(names):
        raise UserError(f"{checkpoint.path}: {len(arrays)} variables; this network and optimizer have {len(names)}")
    stored = dict(zip(names if checkpoint.names is None else checkpoint.names, arrays, strict=False))
    for these, those, what in ((names, stored, "lacks"), (stored, names, "has")):
        if missing := [name for name in these if name not in those]:
            names_of = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more variables" if len(missing) > 3 else "")
            raise UserError(f"{checkpoint.path}: {what} {names_of}; it is of another network or optimizer")
    expected = dict(zip(names, [*variables, *(average.arrays if average else [])], strict=True))
    values = {name: _as_expected(name, stored[name], like, checkpoint) for name, like in expected.items()}
    for variable, name in zip(variables, names, strict=False):
        variable.assign(values[name])
    if average:
        average.arrays = [values[name] for name in names[len(variables) :]]


def _as_expected(name: str, value: NDArray[Any], like: Any, checkpoint: Checkpoint) -> NDArray[Any]:
    """Return an array as a variable takes it: backends keep the state of a seed generator in other whole numbers."""
    dtype = np.dtype(str(like.dtype)) if str(like.dtype) != str(value.dtype) else value.dtype
    if value.dtype.kind in "iu" and dtype.kind in "iu" and np.array_equal(value.astype(dtype), value):
        value = value.astype(dtype)
    if (tuple(like.shape), dtype) != (value.shape, value.dtype):
        raise UserError(
            f"{checkpoint.path}: {name} is {value.dtype} {value.shape}; expected {dtype} {tuple(like.shape)}"
        )
    return value


def _variables(network: Any) -> list[Any]:
    """Return all state in a fixed order: weights, statistics, seed generators, optimizer."""
    if not network.optimizer.built:  # building a loss-scaling optimizer again would give it more variables
        network.optimizer.build(network.trainable_variables)
    return [*network.variables, *network.optimizer.variables]


def _names(network: Any, average: MovingAverage | None) -> list[str]:
    """Return a name for each of _variables, then for each of the average's arrays.

    It is the variable's path. But Keras numbers the layers that nobody named through all networks of a process
    (conv2d_7): here they are numbered within this one. An optimizer's variable has its weight's path in its own.
    """
    of_network = _numbered_anew([variable.path for variable in network.variables])
    renamed = {
        variable.path.replace("/", "_"): name.replace("/", "_")
        for variable, name in zip(network.variables, of_network, strict=True)
    }
    names = of_network + [_of_optimizer(variable.path, renamed) for variable in _variables(network)[len(of_network) :]]
    if average:
        name_of = {id(variable): name for variable, name in zip(network.variables, of_network, strict=True)}
        names += ["average/steps", *(f"average/{name_of[id(weight)]}" for weight in network.weights)]
    before: Counter[str] = Counter()
    for place, name in enumerate(names):  # a head may be called as a layer is
        names[place] = f"{name} {before[name]}" if before[name] else name
        before[name] += 1
    return names


def _numbered_anew(paths: Iterable[str]) -> list[str]:
    """Return the paths with the numbers at the ends of their parts as in a process that has no other network."""
    parts = [[_base_and_number(part) for part in path.split("/")] for path in paths]
    found = sorted(set(itertools.chain.from_iterable(parts)))  # those of one base follow each other
    of_bases = itertools.groupby(found, key=lambda part: part[0])
    ranks = {part: rank for _, of_base in of_bases for rank, part in enumerate(of_base)}
    return ["/".join(f"{base}_{rank}" if (rank := ranks[base, number]) else base for base, number in path)
            for path in parts]  # fmt: skip


def _base_and_number(part: str) -> tuple[str, int]:
    base, _, number = part.rpartition("_")
    return (base, int(number)) if base and number.isdecimal() else (part, 0)


def _of_optimizer(path: str, renamed: Mapping[str, str]) -> str:
    """Return a name for an optimizer's variable from its path: the optimizer's name, a weight's path, a statistic.

    What stands before depends on whether an optimizer that scales the loss was built before the first step.
    """
    *_, optimizer, end = path.split("/")
    weight = end
    while weight and weight not in renamed:  # what follows it says which of its statistics this is
        weight = weight.rpartition("_")[0]
    return f"{optimizer}/{renamed[weight]}{end.removeprefix(weight)}" if weight else f"{optimizer}/{end}"


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f'{path}: not a readable checkpoint ({error}); set resume = "off" to begin anew')
