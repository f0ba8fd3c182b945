"""Small drawn data sets in the files of the other tasks: pixel CSVs, and a folder of photographs per class."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from stroke_shapes import strokes_of

SIDE = 28
SIGNS = tuple(i for i in range(25) if i != 9)
ANIMALS = (
    *("cane", "cavallo", "elefante", "farfalla", "gallina"),
    *("gatto", "mucca", "pecora", "ragno", "scoiattolo"),
)


def draw_shape(label: int, size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a class's shape as light strokes on black, uint8 (height, width) of any size, with jitter and noise."""
    height, width = size
    image = np.zeros(size, np.uint8)
    scale = min(size) * rng.uniform(0.75, 0.95)
    moved = (np.array([width, height]) - scale) / 2 + rng.uniform(-0.05, 0.05, 2) * min(size)
    for stroke in strokes_of(3, label, (0, 0, 1, 1)):
        points = stroke * scale + moved + rng.normal(0, 0.01 * min(size), stroke.shape)
        thickness = max(1, round(min(size) / 14))
        cv2.polylines(image, [np.rint(points).astype(np.int32)], False, 230, thickness, cv2.LINE_AA)
    return np.clip(image + rng.normal(0, 6, size), 0, 255).astype(np.uint8)


def _frame(labels: NDArray[np.int64], first: int, seed: int, *, has_labels: bool = True) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    pixels = np.stack([draw_shape(label, (SIDE, SIDE), rng).ravel() for label in labels.tolist()])
    table = pd.DataFrame(pixels, columns=[f"pixel{i}" for i in range(first, first + SIDE * SIDE)])
    if has_labels:
        table.insert(0, "label", labels)
    return table


def draw_digits(folder: Path, rows: int, test_rows: int, seed: int) -> None:
    """Write train.csv, test.csv without labels, sample_submission.csv, and truth.csv, which Kaggle keeps to itself."""
    truth = np.arange(test_rows) * 7 % 10
    _frame(np.arange(rows) % 10, 0, seed).to_csv(folder / "train.csv", index=False)
    _frame(truth, 0, seed + 1, has_labels=False).to_csv(folder / "test.csv", index=False)
    answers = pd.DataFrame({"ImageId": np.arange(1, test_rows + 1), "Label": 0})
    answers.to_csv(folder / "sample_submission.csv", index=False)
    answers.assign(Label=truth).to_csv(folder / "truth.csv", index=False)


def draw_fashion(folder: Path, rows: int, test_rows: int, seed: int) -> None:
    """Write two labelled CSV files, fashion-mnist_train.csv and _test.csv."""
    for part, count in (("train", rows), ("test", test_rows)):
        table = _frame(np.arange(count) % 10, 1, seed + (part == "test"))
        table.to_csv(folder / f"fashion-mnist_{part}.csv", index=False)


def draw_signs(folder: Path, rows: int, test_rows: int, seed: int) -> None:
    """Write two labelled CSV files, sign_mnist_train.csv and _test.csv; no label is 9."""
    for part, count in (("train", rows), ("test", test_rows)):
        labels = np.asarray(SIGNS)[np.arange(count) % len(SIGNS)]
        _frame(labels, 1, seed + (part == "test")).to_csv(folder / f"sign_mnist_{part}.csv", index=False)


def draw_animals(folder: Path, rows: int, test_rows: int, seed: int) -> None:
    """Write raw-img/<class>/: JPEG files of many sizes, each class's shape in its own colour, some of them gray."""
    rng = np.random.default_rng(seed)
    for number in range(rows + test_rows):
        label = number % len(ANIMALS)
        size = (int(rng.integers(80, 240)), int(rng.integers(80, 320)))
        shape = draw_shape(label, size, rng)
        colour = np.random.default_rng([seed, label]).uniform(0.3, 1, 3)
        image = shape if number % 7 == 0 else (shape[:, :, None] * colour).astype(np.uint8)
        path = folder / "raw-img" / ANIMALS[label] / f"{number}.jpeg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image)


DRAWN = {
    "digit-recognizer": draw_digits,
    "fashion-mnist": draw_fashion,
    "sign-mnist": draw_signs,
    "animals10": draw_animals,
}
