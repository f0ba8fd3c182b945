#!/usr/bin/env python3
"""Repeat a competition's test images until there are as many as in the hidden test set.

    python repeat_test_files.py COMPETITION FOLDER --rows 211042

FOLDER gets four test files, Test_0 and so on in them, with the test.csv and sample_submission.csv that go with
them, and links to the competition's other files, but for hidden ones. It needs memory for one of the files, at most
2.3 GB.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from arguments import at_least
from competition_files import HEIGHT, SHARDS, WIDTH, write_shard, write_test_tables
from numpy.typing import NDArray

TEST_FILES = "test_image_data_*.parquet"
MADE_ANEW = ("test.csv", "sample_submission.csv", "truth.csv")
MAX_SOURCE = 10_000  # images that are repeated, and kept in memory: 0.3 GB


def read_source(competition: Path) -> NDArray[np.uint8]:
    """Return the pixels of the first MAX_SOURCE test images, uint8 (HEIGHT * WIDTH, n)."""
    names = [str(i) for i in range(HEIGHT * WIDTH)]
    parts: list[NDArray[np.uint8]] = []
    for path in sorted(competition.glob(TEST_FILES)):
        missing = MAX_SOURCE - sum(part.shape[1] for part in parts)
        if missing > 0:
            columns = pq.read_table(path, columns=names).slice(0, missing).columns
            parts.append(np.stack([column.to_numpy().astype(np.uint8) for column in columns]))
    if not sum(part.shape[1] for part in parts):
        raise SystemExit(f"error: {competition}: no test images to repeat")
    return np.concatenate(parts, axis=1)


def repeat(competition: Path, folder: Path, rows: int) -> None:
    """Write the test set of `rows` images into a new folder."""
    source = read_source(competition)
    folder.mkdir(parents=True)
    for entry in competition.iterdir():
        if not entry.match(TEST_FILES) and entry.name not in MADE_ANEW and not entry.name.startswith("."):
            (folder / entry.name).symlink_to(entry.resolve())
    ids = [f"Test_{i}" for i in range(rows)]
    rng = np.random.default_rng(0)
    for number, part in enumerate(np.array_split(np.arange(rows), SHARDS)):
        path = folder / f"test_image_data_{number}.parquet"
        rounds = -(-len(part) // source.shape[1])
        # another order each time: compression must not find the images again
        which = np.concatenate([rng.permutation(source.shape[1]) for _ in range(rounds)])[: len(part)]
        write_shard(path, ids[part[0] : part[-1] + 1], np.take(source, which, axis=1))
        print(f"{path.name}: {len(part)} images, {path.stat().st_size / 1e6:.0f} MB", flush=True)
    write_test_tables(folder, ids)


def main(argv: Sequence[str] | None = None) -> int:
    """Repeat the test images; return 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("competition", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=at_least(SHARDS), required=True, help="test images in all")
    arguments = parser.parse_args(argv)
    repeat(arguments.competition, arguments.folder, arguments.rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
