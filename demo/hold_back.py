#!/usr/bin/env python3
"""Hold labelled images of the competition back, as test images with known labels, to rehearse and to measure with.

    python hold_back.py COMPETITION FOLDER [--test 1600] [--train 11200] [--seed 0]

FOLDER gets the competition's files with other contents: four train files with --train of the train images (default: all
but the test images), four test files with --test of them, called Test_0 and so on, their test.csv and
sample_submission.csv, and truth.csv (row_id, target). Each class that has two images or more has one among the test
images; the others are drawn at random. It holds one of the train files at a time in memory, twice.
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from arguments import at_least
from competition_files import COMPONENTS, SHARDS, write_test_tables
from numpy.typing import NDArray

TRAIN_FILES = "train_image_data_*.parquet"
ID = "image_id"


def choose(labels: pd.DataFrame, test: int, train: int | None, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the labels of the test images and of the train images, in a drawn order, of a table with a row an image.

    train: how many; None: all others. SystemExit where there are too few images, or classes for so few test images.
    """
    if test + (train or 1) > len(labels):
        wanted = f"{test:,} to test with and {train or 1:,} to train on"
        raise SystemExit(f"error: {len(labels):,} images are less than {wanted}")
    shuffled = labels.sample(frac=1, random_state=seed)
    is_first = pd.Series(False, index=shuffled.index)
    for head in COMPONENTS:
        has_more = shuffled.groupby(head)[head].transform("size") > 1
        is_first |= has_more & ~shuffled[head].duplicated()
    if is_first.sum() > test:
        few = f"{test:,} test images are too few for one of each class"
        raise SystemExit(f"error: {few}, of which there are {is_first.sum()}")
    ordered = pd.concat([shuffled[is_first], shuffled[~is_first]])
    return ordered[:test], ordered[test:][:train]


def hold_back(competition: Path, folder: Path, test: int, train: int | None, seed: int) -> None:
    """Write the files of a new folder; its train images are in the files, and in the order, that they were in."""
    files = sorted(competition.glob(TRAIN_FILES))
    ids = [pq.read_table(file, columns=[ID])[ID].to_pylist() for file in files]
    labels = pd.read_csv(competition / "train.csv").set_index(ID)
    labels = labels[labels.index.isin([image for part in ids for image in part])]
    of_test, of_train = choose(labels, test, train, seed)
    new_names = {image: f"Test_{number}" for number, image in enumerate(of_test.index)}
    folder.mkdir(parents=True)
    held_back = []
    for number, (file, names) in enumerate(zip(files, ids, strict=True)):
        table = pq.read_table(file)
        kept, taken = (np.flatnonzero(pd.Index(names).isin(part.index)) for part in (of_train, of_test))
        _write(table.take(kept), folder / f"train_image_data_{number}.parquet")
        held_back.append(_renamed(table.take(taken), [new_names[names[row]] for row in taken]))
    tests = pa.concat_tables(held_back)
    places = {name: place for place, name in enumerate(tests[ID].to_pylist())}
    in_order = tests.take([places[name] for name in new_names.values()])
    for number, rows in enumerate(np.array_split(np.arange(test), SHARDS)):
        _write(in_order.slice(rows[0], len(rows)), folder / f"test_image_data_{number}.parquet")
    _write_tables(competition, folder, of_test.rename(index=new_names), of_train.reindex(_in_files(ids, of_train)))
    print(f"{folder}: {len(of_train):,} images to train on, {test:,} to test with, their labels in truth.csv")


def _in_files(ids: Sequence[Sequence[str]], labels: pd.DataFrame) -> list[str]:
    """Return the ids of a table in the order of the files."""
    known = set(labels.index)
    return [image for part in ids for image in part if image in known]


def _renamed(table: pa.Table, names: Sequence[str]) -> pa.Table:
    return table.set_column(table.column_names.index(ID), ID, pa.array(names, pa.string()))


def _write(table: pa.Table, path: Path) -> None:
    table = table.combine_chunks().replace_schema_metadata()  # which says how many rows pandas had
    pq.write_table(table, path, row_group_size=max(1, len(table)))


def _write_tables(competition: Path, folder: Path, of_test: pd.DataFrame, of_train: pd.DataFrame) -> None:
    of_train.to_csv(folder / "train.csv")
    shutil.copy(competition / "class_map.csv", folder)
    rows = write_test_tables(folder, of_test.index.tolist())
    labels: NDArray[Any] = of_test[list(COMPONENTS)].to_numpy().reshape(-1)  # an image after the other, as the rows are
    rows[["row_id"]].assign(target=labels).to_csv(folder / "truth.csv", index=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Hold images back; return 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("competition", type=Path)
    parser.add_argument("folder", type=Path, help="a new one")
    parser.add_argument("--test", type=at_least(SHARDS), default=1600, help="test images (default: %(default)s)")
    parser.add_argument("--train", type=at_least(1), help="train images (default: all others)")
    parser.add_argument("--seed", type=at_least(0), default=0)
    arguments = parser.parse_args(argv)
    missing = [name for name in ("class_map.csv", "train.csv") if not (arguments.competition / name).is_file()]
    if missing or not any(arguments.competition.glob(TRAIN_FILES)):
        raise SystemExit(f"error: no {(missing or [TRAIN_FILES])[0]} in {arguments.competition}")
    if arguments.folder.exists():
        raise SystemExit(f"error: {arguments.folder}: is there already; name a new folder")
    hold_back(arguments.competition, arguments.folder, arguments.test, arguments.train, arguments.seed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
