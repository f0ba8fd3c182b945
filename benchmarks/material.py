"""Real images, repeated to the size of the real files."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import competition_files
import numpy as np
from numpy.typing import NDArray

from multihead.config.known_tasks import TASKS
from multihead.data.datasets import images_to_train
from multihead.data.shards import read_shard

TOOL = Path(__file__).resolve().parents[2] / "shared" / "data" / "make_competition.py"


def lay_out(folder: Path) -> Path:
    """Return a competition folder with all real images that are at hand; SystemExit where there are none."""
    if not TOOL.is_file():
        raise SystemExit("no real images at hand: name a competition's folder with DATA=folder")
    subprocess.run([sys.executable, str(TOOL), "bengali", str(folder)], check=True)
    return folder


def read_images(competition: Path) -> NDArray[np.uint8]:
    """Return uint8 (n, 137, 236, 1) of at most the first 50,000 train images."""
    images: list[NDArray[np.uint8]] = []
    for part in images_to_train(competition, TASKS["bengali"]).parts:
        images.append(read_shard(part, TASKS["bengali"].image_shape).images)
        if sum(map(len, images)) >= 50_000:
            break
    return np.concatenate(images)


def write_shard(path: Path, images: NDArray[np.uint8], ids: Sequence[str], seed: int) -> None:
    """Write a shard in the competition's form: a column per pixel, one row group, as many rows as ids.

    The images are repeated, in another order each time: compression must not find them again.
    """
    rng = np.random.default_rng(seed)
    rounds = -(-len(ids) // len(images))
    rows = np.concatenate([rng.permutation(len(images)) for _ in range(rounds)])[: len(ids)]
    pixels = np.ascontiguousarray(images[rows].reshape(len(rows), -1).T)
    competition_files.write_shard(path, ids, pixels)


def write_test_set(folder: Path, images: NDArray[np.uint8], shards: int, rows: int) -> None:
    """Write test shards and their sample_submission.csv."""
    folder.mkdir()
    for shard in range(shards):
        ids = [f"Test_{shard * rows + i}" for i in range(rows)]
        write_shard(folder / f"test_image_data_{shard}.parquet", images, ids, seed=shard)
    competition_files.write_test_tables(folder, [f"Test_{i}" for i in range(shards * rows)])


def link_first(source: Path, folder: Path, shards: int, rows: int) -> None:
    """Make a competition folder of the first shards of another one."""
    folder.mkdir()
    for shard in range(shards):
        name = f"test_image_data_{shard}.parquet"
        (folder / name).symlink_to(source / name)
    competition_files.write_test_tables(folder, [f"Test_{i}" for i in range(shards * rows)])
