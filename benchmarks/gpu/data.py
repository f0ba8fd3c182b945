"""The kit's images: crops of CROP_SIZE in gray sheets, one below the other, and a table of ids and class indices."""

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.config.known_tasks import TASKS
from multihead.config.task import Task

CROP_SIZE, CROPS_PER_SHEET = 64, 4096


def crops_task() -> Task:
    """Return the competition as a task of image files that are crops already, whose paths name their classes."""
    bengali = TASKS["bengali"]
    return replace(
        bengali,
        name="bengali-crops",
        reader="image files",
        image_shape=(CROP_SIZE, CROP_SIZE, 1),
        crop="none",
        train_files="/".join(["train", *(f"{{{head}}}" for head in bengali.heads), "*.png"]),
        test_files="test/*.png",
        labels_file="",
        sample_submission="",
        id_has_suffix=False,
        hidden_images=0,
    )


def write_part(folder: Path, part: str, crops: NDArray[np.uint8], labels: pd.DataFrame) -> None:
    """Write crops, uint8 (n, CROP_SIZE, CROP_SIZE, 1), as sheets, and their labels, with the same rows, as a table.

    labels: index image id, a column of class indices per head. SystemExit where a sheet cannot be written.
    """
    folder.mkdir(exist_ok=True)
    for number, start in enumerate(range(0, len(crops), CROPS_PER_SHEET)):
        sheet = crops[start : start + CROPS_PER_SHEET].reshape(-1, CROP_SIZE)
        path = folder / f"{part}-{number}.png"
        if not cv2.imwrite(str(path), sheet, [cv2.IMWRITE_PNG_COMPRESSION, 9]):
            raise SystemExit(f"{path}: cannot be written")
    labels.rename_axis("image_id").to_csv(folder / f"{part}.csv")


def read_part(folder: Path, part: str) -> tuple[NDArray[np.uint8], pd.DataFrame]:
    """Return what write_part wrote; SystemExit where there are not as many crops as labels."""
    labels = pd.read_csv(folder / f"{part}.csv", index_col="image_id", dtype={"image_id": str})
    sheets = [folder / f"{part}-{number}.png" for number in range(math.ceil(len(labels) / CROPS_PER_SHEET))]
    pixels = [np.asarray(cv2.imread(str(sheet), cv2.IMREAD_GRAYSCALE), np.uint8) for sheet in sheets]
    crops = np.concatenate(pixels).reshape(-1, CROP_SIZE, CROP_SIZE, 1)
    if len(crops) != len(labels):
        raise SystemExit(f"{part}: {len(crops)} crops, {len(labels)} labels")
    return crops, labels


def lay_out_train_images(folder: Path, crops: NDArray[np.uint8], labels: pd.DataFrame) -> None:
    """Write crops as the image files of crops_task, in a folder for each combination of classes."""
    heads = crops_task().heads
    for name, crop, indices in zip(labels.index, crops, labels[list(heads)].to_numpy().tolist(), strict=True):
        classes = [str(labels_of[index]) for labels_of, index in zip(heads.values(), indices, strict=True)]
        path = folder.joinpath("train", *classes, f"{name}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), crop)
