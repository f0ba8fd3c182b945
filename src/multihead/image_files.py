"""Image files of any size: JPEG, PNG and whatever else OpenCV decodes, a folder per class or a table of labels."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.errors import UserError
from multihead.labels import label_indices
from multihead.tasks import FOLDS, Task

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
IMAGES_PER_SHARD = 4096


class ImageFiles(NamedTuple):
    """The image files of one shard: a name for it, the data folder, and their paths below it."""

    name: str
    folder: Path
    paths: tuple[str, ...]


def find_images(folder: Path, pattern: str) -> list[str]:
    """Return the paths below the folder of the images that match, sorted; UserError if there are none."""
    found = sorted(f.relative_to(folder).as_posix() for f in folder.glob(pattern) if f.suffix.lower() in SUFFIXES)
    if not found:
        raise UserError(f"no images {pattern} in {folder}")
    return found


def in_shards(folder: Path, paths: Sequence[str]) -> list[ImageFiles]:
    """Return the images in shards of equal size, each drawn from all over the folder; always the same ones."""
    order = np.random.default_rng(0).permutation(len(paths))
    parts = np.array_split(order, -(-len(paths) // IMAGES_PER_SHARD))
    return [
        ImageFiles(f"images {number}", folder, tuple(paths[i] for i in sorted(part.tolist())))
        for number, part in enumerate(parts)
    ]


def fold_of(paths: Sequence[str]) -> NDArray[np.int64]:
    """Return which of FOLDS folds each image is in, int64 (n,), drawn evenly over the folders; always the same."""
    folds = np.empty(len(paths), np.int64)
    classes = pd.Series(range(len(paths))).groupby([Path(path).parent.as_posix() for path in paths], sort=True)
    for number, rows in enumerate(classes.indices.values()):
        shuffled = np.random.default_rng([0, number]).permutation(rows)
        folds[shuffled] = (np.arange(len(rows)) + number) % FOLDS
    return folds


def image_id(path: str, task: Task) -> str:
    """Return an image's id: its file's name where a table holds those, else its path below the data folder."""
    return Path(path).name if task.id_column else path


def labels_by_folder(paths: Sequence[str], task: Task, folder: Path) -> pd.DataFrame:
    """Return the class indices of images whose folder is their class; UserError for a folder that is none."""
    (head,) = task.heads
    names = [Path(path).parent.name for path in paths]
    ids = pd.Index([image_id(path, task) for path in paths])
    return label_indices(pd.DataFrame({head: [task.class_folders.get(n, n) for n in names]}, index=ids), task, folder)


def read_images(part: ImageFiles, task: Task, *, is_train: bool) -> tuple[list[str], NDArray[np.uint8]]:
    """Return one shard's ids and images, uint8 (n, H, W, c), stretched to the task's image_shape; a thread per core.

    A file that is no image raises UserError where it is trained on; a test image is blank then, so that it costs
    nothing but its own answer.
    """
    height, width, channels = task.image_shape
    images = np.zeros((len(part.paths), height, width, channels), np.uint8)

    def fill(row: int) -> None:
        image = _decoded(part.folder / part.paths[row], channels)
        if image is not None:
            cv2.resize(image, (width, height), dst=images[row], interpolation=cv2.INTER_AREA)
        elif is_train:
            raise UserError(f"{part.folder / part.paths[row]}: not a readable image")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(fill, range(len(part.paths))))
    return [image_id(path, task) for path in part.paths], images


def _decoded(path: Path, channels: int) -> NDArray[np.uint8] | None:
    """Return an image in gray or in red, green, blue; None where it cannot be decoded."""
    try:
        data = np.fromfile(path, np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR) if len(data) else None
    except (OSError, cv2.error):
        return None
    if image is None:
        return None
    return np.asarray(image if channels == 1 else cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
