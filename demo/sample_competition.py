#!/usr/bin/env python3
"""Draw a small competition in exactly the files of Bengali.AI's, or of another task, for a machine that has no data.

    python sample_competition.py FOLDER [--task bengali] [--rows 800] [--test-rows 100] [--seed 0]

Each image is a root shape of seeded strokes, a vowel mark above it and a consonant mark below it, with
jitter, thickness and noise. The same arguments always draw the same images. Besides the competition's
files it writes truth.csv (row_id, target), which Kaggle keeps to itself.
"""

import argparse
import sys
from collections.abc import Sequence
from itertools import islice, product
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from competition_files import COMPONENTS, HEIGHT, SHARDS, WIDTH, write_shard, write_test_tables
from numpy.typing import NDArray
from sample_images import DRAWN
from stroke_shapes import strokes_of

CLASSES = {"grapheme_root": 168, "vowel_diacritic": 11, "consonant_diacritic": 7}
PAPER, INK = 250, 40
LETTERS = [chr(code) for code in range(0x0995, 0x09BA) if code not in (0x09A9, 0x09B1, 0x09B3, 0x09B4, 0x09B5)]
VIRAMA = "\u09cd"
VOWEL_COMPONENTS = ["0", *"\u09be\u09bf\u09c0\u09c1\u09c2\u09c3\u09c7\u09c8\u09cb\u09cc"]
CONSONANT_COMPONENTS = [
    "0",
    "\u0981",
    "\u09b0\u09cd",
    "\u09b0\u09cd\u09af",
    "\u09cd\u09af",
    "\u09cd\u09b0",
    "\u09cd\u09b0\u09cd\u09af",
]
# where each part is drawn: left, top, right, bottom
ROOT_BOX, VOWEL_BOX, CONSONANT_BOX = (68, 40, 168, 98), (68, 8, 168, 34), (68, 104, 168, 130)


def draw(labels: Sequence[int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return one image, uint8 (137, 236), of (root, vowel, consonant); class 0 of the marks draws nothing."""
    image = np.full((HEIGHT, WIDTH), PAPER, np.uint8)
    parts = zip(range(3), labels, (ROOT_BOX, VOWEL_BOX, CONSONANT_BOX), strict=True)
    strokes = [s for kind, label, box in parts if label or kind == 0 for s in strokes_of(kind, label, box)]
    angle = rng.uniform(-0.1, 0.1)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * rng.uniform(0.85, 1.0)
    centre = np.array([WIDTH / 2, HEIGHT / 2])
    moved = centre + rng.uniform((-40, -4), (40, 4))
    thickness = int(rng.integers(2, 5))
    for stroke in strokes:
        points = (stroke - centre) @ turn.T + moved + rng.normal(0, 0.8, stroke.shape)
        cv2.polylines(image, [np.rint(points).astype(np.int32)], False, INK, thickness, cv2.LINE_AA)
    noisy = image + rng.normal(0, 4, image.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def draw_labels(count: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return `count` rows of labels in which every class comes equally often, in random combinations."""
    columns = {head: rng.permutation(np.arange(count) % classes) for head, classes in CLASSES.items()}
    table = pd.DataFrame(columns)
    table["grapheme"] = [f"{r}+{v}+{c}" for r, v, c in zip(*columns.values(), strict=True)]
    return table


def write_shards(folder: Path, part: str, labels: pd.DataFrame, rng: np.random.Generator) -> None:
    """Draw the images and write them as wide parquet files: image_id and one uint8 column per pixel."""
    for number, rows in enumerate(np.array_split(np.arange(len(labels)), SHARDS)):
        shard = labels.iloc[rows]
        images = [draw(row, rng) for row in shard[list(CLASSES)].to_numpy().tolist()]
        path = folder / f"{part}_image_data_{number}.parquet"
        write_shard(path, shard["image_id"].tolist(), np.ascontiguousarray(np.stack(images).reshape(len(images), -1).T))
        print(f"{path.name}: {len(rows)} images drawn", flush=True)


def draw_competition(folder: Path, rows: int, test_rows: int, seed: int) -> None:
    """Write the whole competition into a folder; `rows` train images and `test_rows` test images in each shard."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", rows * SHARDS), ("test", test_rows * SHARDS)):
        rng = np.random.default_rng([seed, part == "test"])
        labels = draw_labels(count, rng)
        labels.insert(0, "image_id", [f"{part.title()}_{i}" for i in range(count)])
        write_shards(folder, part, labels, rng)
        if part == "train":
            labels.to_csv(folder / "train.csv", index=False)
        else:
            write_test_tables(folder, labels["image_id"].tolist())
            write_truth(folder, labels)
    write_class_map(folder)


def write_class_map(folder: Path) -> None:
    """Write class_map.csv with components in Bengali letters, as the competition has them; no image shows them."""
    conjuncts = (first + VIRAMA + second for first, second in product(LETTERS, LETTERS))
    roots = [*LETTERS, *islice(conjuncts, CLASSES["grapheme_root"] - len(LETTERS))]
    spelled = zip(CLASSES, (roots, VOWEL_COMPONENTS, CONSONANT_COMPONENTS), strict=True)
    rows = [(head, label, component) for head, components in spelled for label, component in enumerate(components)]
    pd.DataFrame(rows, columns=["component_type", "label", "component"]).to_csv(folder / "class_map.csv", index=False)


def write_truth(folder: Path, labels: pd.DataFrame) -> None:
    """Write truth.csv, its rows in the competition's order."""
    rows = [
        (f"{image['image_id']}_{component}", image[component])
        for image in labels.to_dict("records")
        for component in COMPONENTS
    ]
    pd.DataFrame(rows, columns=["row_id", "target"]).to_csv(folder / "truth.csv", index=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Draw a competition; return 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--task", default="bengali", help=f"bengali, {', '.join(DRAWN)}")
    parser.add_argument("--rows", type=int, default=800, help="train images in each of 4 shards")
    parser.add_argument("--test-rows", type=int, default=100, help="test images in each of 4 shards")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    if arguments.task == "bengali":
        draw_competition(arguments.folder, arguments.rows, arguments.test_rows, arguments.seed)
        return 0
    if arguments.task not in DRAWN:
        print(f"error: no images can be drawn for {arguments.task}; name a folder that holds some", file=sys.stderr)
        return 2
    arguments.folder.mkdir(parents=True, exist_ok=True)
    DRAWN[arguments.task](arguments.folder, arguments.rows * SHARDS, arguments.test_rows * SHARDS, arguments.seed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
