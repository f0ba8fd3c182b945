"""Files to shards: (ids, uint8 images, labels), one file at a time.

A shard is a wide parquet file: one column of ids and one uint8 column per pixel, named "0", "1", ...
in row-major order. It has tens of thousands of columns and a single row group, so it is read in
chunks of columns, each transposed into one array that is allocated once.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from multihead.errors import UserError
from multihead.tasks import Task

COLUMNS_PER_CHUNK = 4096
COLUMNS_PER_TRANSPOSE = 256  # keeps both sides of the transposition in the cache


@dataclass(frozen=True)
class Shard:
    """Images that belong together, full or cropped.

    ids: n image ids. images: uint8 (n, H, W, c). labels: for each head, int64 (n,) indices into
    Task.heads[head]; None for test images.
    """

    ids: Sequence[str]
    images: NDArray[np.uint8]
    labels: Mapping[str, NDArray[np.int64]] | None


def find_shards(folder: Path, pattern: str) -> list[Path]:
    """Return the files that match, ordered by the numbers in their names; UserError if there are none."""
    files = sorted(folder.glob(pattern), key=lambda f: [int(n) for n in re.findall(r"\d+", f.name)])
    if not files:
        raise UserError(f"no {pattern} in {folder}")
    return files


def read_labels(path: Path, task: Task) -> pd.DataFrame:
    """Return the train labels: index image id (str), one int64 column of class indices per head.

    Raises UserError for a missing column, a repeated id, or a label outside Task.heads, with its row.
    """
    try:
        table = pd.read_csv(path, dtype={task.id_column: str})
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as CSV ({error})") from error
    missing = [name for name in (task.id_column, *task.heads) if name not in table]
    if missing:
        raise UserError(f"{path}: no column {', '.join(missing)}; it has {', '.join(map(str, table.columns))}")
    repeated = table[task.id_column].duplicated()
    if repeated.any():
        row = int(repeated.argmax())
        raise UserError(f"{path}, row {row + 2}: {table[task.id_column][row]} stands here for the second time")
    table = table.set_index(task.id_column)
    indices = {head: class_indices(table[head], classes, path) for head, classes in task.heads.items()}
    return pd.DataFrame(indices, index=table.index)


def class_indices(labels: "pd.Series[int]", classes: tuple[int, ...], path: Path) -> NDArray[np.int64]:
    """Return int64 (n,) positions in `classes` of n class labels.

    Raises UserError for a label that is none of them, naming the file and the label's index (its row).
    """
    indices = pd.Index(classes).get_indexer(pd.Index(pd.to_numeric(labels, errors="coerce")))
    outside = np.flatnonzero(indices < 0)
    if len(outside):
        row, label = labels.index[outside[0]], labels.iloc[outside[0]]
        raise UserError(f"{path}, {row}: {labels.name} is {label}; expected {classes[0]} to {classes[-1]}")
    return indices.astype(np.int64)


def count_rows(path: Path) -> int:
    """Return the number of images in a shard, from the file's footer alone."""
    return int(_open(path).metadata.num_rows)


def read_shard(path: Path, task: Task, labels: pd.DataFrame | None = None) -> Shard:
    """Return one file as a Shard of full images, labelled from the table of read_labels if given.

    Columns are taken by name: whatever else a copy of the file holds is left alone. Raises UserError for
    a damaged file, missing pixel columns, pixels that are no whole numbers from 0 to 255, or an id without a label.
    """
    file = _open(path)
    pixels = _pixel_columns(file, task, path)
    try:
        ids = [str(i) for i in file.read(columns=[task.id_column])[task.id_column].to_pylist()]
        images = np.empty((len(ids), len(pixels)), np.uint8)
        for start in range(0, len(pixels), COLUMNS_PER_CHUNK):
            names = pixels[start : start + COLUMNS_PER_CHUNK]
            _transpose_into(images[:, start : start + len(names)], file.read(columns=names))
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: damaged: {error}") from error
    return Shard(ids, images.reshape(-1, *task.image_shape), _labels_of(ids, labels, path))


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: not a readable parquet file ({error})") from error


def _pixel_columns(file: pq.ParquetFile, task: Task, path: Path) -> list[str]:
    schema = file.schema_arrow
    expected = [str(i) for i in range(math.prod(task.image_shape))]
    present = set(schema.names)
    for name in (task.id_column, *expected):
        if name not in present:
            raise UserError(f"{path}: no column {name!r}; expected {task.id_column!r} and '0' to {expected[-1]!r}")
    if str(len(expected)) in present:
        raise UserError(f"{path}: has a column '{len(expected)}'; expected pixels '0' to {expected[-1]!r} only")
    by_name = dict(zip(schema.names, schema.types, strict=True))
    for name in expected:
        if not (pa.types.is_integer(by_name[name]) or pa.types.is_floating(by_name[name])):
            raise UserError(f"{path}: column {name!r} is {by_name[name]}; expected uint8")
    return expected


def _transpose_into(out: NDArray[np.uint8], table: pa.Table) -> None:
    """Copy a table of k columns and n rows into `out` (n, k)."""
    columns = np.empty((table.num_columns, table.num_rows), np.uint8)
    for row, (name, column) in enumerate(zip(table.column_names, table.columns, strict=True)):
        if column.null_count:
            raise pa.ArrowInvalid(f"column {name!r} has {column.null_count} missing values")
        columns[row] = _as_uint8(column.to_numpy(), name)
    if not table.num_rows:
        return
    for start in range(0, len(columns), COLUMNS_PER_TRANSPOSE):
        block = columns[start : start + COLUMNS_PER_TRANSPOSE]
        out[:, start : start + len(block)] = cv2.transpose(block).reshape(table.num_rows, len(block))


def _as_uint8(values: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Return pixels as they are, or converted where that loses nothing: some copies of the data hold floats."""
    if values.dtype == np.uint8:
        return values
    with np.errstate(invalid="ignore"):  # nan has no whole number; the comparison finds it
        converted = values.astype(np.uint8)
    wrong = np.flatnonzero(converted != values)
    if len(wrong):
        raise pa.ArrowInvalid(f"column {name!r} holds {values[wrong[0]]}; expected whole numbers from 0 to 255")
    return converted


def _labels_of(ids: Sequence[str], labels: pd.DataFrame | None, path: Path) -> dict[str, NDArray[np.int64]] | None:
    if labels is None:
        return None
    rows = labels.index.get_indexer(pd.Index(ids))
    unknown = np.flatnonzero(rows < 0)
    if len(unknown):
        raise UserError(
            f"{path}: {ids[unknown[0]]} and {len(unknown) - 1} other images have no labels in the label file"
        )
    return {str(head): labels[head].to_numpy()[rows] for head in labels}
