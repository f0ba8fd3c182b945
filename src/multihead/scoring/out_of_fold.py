"""What trainings say of images that they were not trained on, as a file: those one held out, or all of a study."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from multihead.config.files import OUT_OF_FOLD_FILE
from multihead.runtime.errors import UserError
from multihead.runtime.whole_files import whole_file

FORMAT = 1


class OutOfFold(NamedTuple):
    """The answers to n images.

    sha256: of the weights that gave them, "" where several did. ids: of the images. truth: for each head, (n, ...) as
    data/targets.py has it; none where nobody knows it. probabilities: for each head, float32 (n, width). answers: for
    each head, what was made of them for the score; none where that is left to who reads them.
    """

    sha256: str
    ids: Sequence[str]
    truth: Mapping[str, NDArray[Any]]
    probabilities: Mapping[str, NDArray[np.float32]]
    answers: Mapping[str, NDArray[Any]] = MappingProxyType({})


def write_out_of_fold(path: Path, answers: OutOfFold) -> None:
    """Write the answers into a file, whole or not at all."""
    header = {"format": FORMAT, "sha256": answers.sha256, "heads": list(answers.probabilities)}
    arrays: dict[str, Any] = {"ids": np.array(answers.ids, dtype=str)}
    for number, head in enumerate(answers.probabilities):
        if head in answers.truth:
            arrays[f"truth_{number}"] = answers.truth[head]
        arrays[f"probabilities_{number}"] = answers.probabilities[head].astype(np.float32, copy=False)
        if head in answers.answers:
            arrays[f"answers_{number}"] = answers.answers[head]
    with whole_file(path) as new, new.open("wb") as file:
        np.savez(file, header=np.array(json.dumps(header)), **arrays)


def read_out_of_fold(path: Path) -> OutOfFold:
    """Return the answers in a file; UserError where there is none, or a damaged one."""
    try:
        with path.open("rb") as file, np.load(file) as stored:
            header = json.loads(str(stored["header"]))
            if header["format"] != FORMAT:
                raise ValueError(f"format {header['format']}; this version reads format {FORMAT}")
            heads = dict(enumerate(header["heads"]))
            return OutOfFold(
                header["sha256"],
                stored["ids"].tolist(),
                {head: stored[f"truth_{number}"] for number, head in heads.items() if f"truth_{number}" in stored},
                {head: stored[f"probabilities_{number}"] for number, head in heads.items()},
                {head: stored[f"answers_{number}"] for number, head in heads.items() if f"answers_{number}" in stored},
            )
    except FileNotFoundError as error:
        raise UserError(f"{path}: not there; a training that holds images out leaves {OUT_OF_FOLD_FILE}") from error
    except Exception as error:  # a damaged archive makes zipfile, zlib and numpy raise many kinds
        raise UserError(f"{path}: not readable answers ({error})") from error


def is_of_weights(path: Path, sha256: str) -> bool:
    """Tell whether a file holds the answers of the weights with this SHA-256."""
    try:
        return read_out_of_fold(path).sha256 == sha256
    except UserError:
        return False
