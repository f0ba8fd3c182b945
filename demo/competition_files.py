"""The competition's files: wide parquet shards of pixels, and the tables of a test set."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

HEIGHT, WIDTH = 137, 236
SHARDS = 4
COMPONENTS = ("consonant_diacritic", "grapheme_root", "vowel_diacritic")  # in a test set's order


def write_shard(path: Path, ids: Sequence[str], pixels: NDArray[np.uint8]) -> None:
    """Write a shard of n images: image_id and a column per pixel, all in one row group.

    pixels: uint8 (HEIGHT * WIDTH, n), each row in one piece, so that none is copied.
    """
    columns = [pa.array(ids), *map(pa.array, pixels)]
    names = ["image_id", *map(str, range(len(pixels)))]
    pq.write_table(pa.table(columns, names=names), path, row_group_size=max(1, len(ids)))


def write_test_tables(folder: Path, ids: Sequence[str]) -> pd.DataFrame:
    """Write test.csv and sample_submission.csv of these images; return the former, a row per image and component."""
    rows = [(f"{image}_{component}", image, component) for image in ids for component in COMPONENTS]
    table = pd.DataFrame(rows, columns=["row_id", "image_id", "component"])
    table.to_csv(folder / "test.csv", index=False)
    table[["row_id"]].assign(target=0).to_csv(folder / "sample_submission.csv", index=False)
    return table
