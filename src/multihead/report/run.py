"""What a training left in its working folder, read for its report."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from multihead.config.files import HISTORY_FILE, MANIFEST_FILE, REPORT_FOLDER
from multihead.report.html import picture
from multihead.runtime.errors import UserError
from multihead.runtime.text_files import read_text
from multihead.training.record import Record, read_record

OF_EACH_MANIFEST = ("model", "task", "train_counts", "prior_exponents", "epoch", "versions", "sha256")

History = Mapping[str, NDArray[np.float64]]


class Run(NamedTuple):
    """A training.

    manifest: of its saved weights, as it stands in JSON. history: a column per heading of history.csv, float64
    (epochs,); none where no epoch was finished.
    """

    manifest: Mapping[str, Any]
    record: Record
    history: History

    @property
    def heads(self) -> list[str]:
        """The names of the heads, in their order."""
        return list(self.manifest["task"]["heads"])

    def kind(self, head: str) -> str:
        """Return what a head says of an image, as Task.kind does; an earlier version knew softmax only."""
        return str(self.manifest["task"].get("kinds", {}).get(head, "softmax"))

    def picture(self, number: int) -> str:
        """Return one of the images that the record keeps as what an <img> can hold."""
        return picture(self.record.images[number])

    def classes(self, head: str) -> list[str]:
        """Return the class labels of a head as texts."""
        return [str(label) for label in self.manifest["task"]["heads"][head]]


def read_run(folder: Path) -> Run:
    """Return what a training left; UserError where something is missing, damaged, or not of the same weights."""
    record = read_record(folder)
    path = folder / MANIFEST_FILE
    try:
        manifest = {"score": None, "device": "", "images_per_second": None} | json.loads(read_text(path))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: not a manifest of weights ({error!r})") from error
    if manifest.get("sha256", record.sha256) != record.sha256:
        raise UserError(f"{path}: is not of the weights that the record in {REPORT_FOLDER}/ tells of")
    for key in OF_EACH_MANIFEST:
        if key not in manifest:
            raise UserError(f"{path}: not a manifest of weights: no {key}")
    history = _read_history(folder / HISTORY_FILE)
    epoch, epochs = manifest["epoch"], history.get("epoch", np.zeros(0))
    if history and epoch not in (*epochs, *epochs[-1:] + 1):  # the next one may be unfinished
        raise UserError(f"{folder / HISTORY_FILE}: does not have epoch {epoch}, whose weights were saved")
    return Run(manifest, record, history)


def _read_history(path: Path) -> History:
    if not path.is_file():
        return {}
    try:
        rows = list(csv.DictReader(read_text(path).splitlines()))
        return {key: np.array([float(row[key] or "nan") for row in rows]) for key in (rows[0] if rows else ())}
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise UserError(f"{path}: not a history ({error})") from error
