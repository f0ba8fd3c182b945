"""Image files of any size: JPEG, PNG and whatever else OpenCV decodes, a folder per class or a table of labels."""

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.errors import UserError
from multihead.kaggle_paths import IMAGE_SUFFIXES, matching
from multihead.labels import label_indices, one_form
from multihead.progress import say, say_once
from multihead.tasks import FOLDS, Task

BESIDE_IMAGES = {".csv", ".tsv", ".txt", ".json", ".xml", ".md", ".html", ".py", ".db", ".ini"}  # passed over unsaid
IMAGES_PER_SHARD, BYTES_PER_SHARD = 4096, 10**9
SIDE = 192  # of a photograph in a report
MAX_UNREADABLE_SHARE = 0.05  # of a shard's train images


class ImageFiles(NamedTuple):
    """The image files of one shard: a name for it, the data folder, and their paths below it."""

    name: str
    folder: Path
    paths: tuple[str, ...]


def find_images(folder: Path, pattern: str) -> list[str]:
    """Return the paths below the folder of the images that match, sorted; the case of a suffix does not count.

    Says once how many files are passed over for their suffix: those that are neither hidden nor in BESIDE_IMAGES.
    Raises UserError if there are no images, or for a name that is not UTF-8.
    """
    files = sorted((f.relative_to(folder) for f in matching(folder, pattern)), key=Path.as_posix)
    found = [f.as_posix() for f in files if f.suffix.lower() in IMAGE_SUFFIXES]
    others = [f for f in files if f.suffix.lower() not in IMAGE_SUFFIXES | BESIDE_IMAGES and not f.name.startswith(".")]
    passed_over = [f.as_posix() for f in others if (folder / f).is_file()]
    if passed_over:
        some = ", ".join(passed_over[:5]) + (", ..." if len(passed_over) > 5 else "")
        say_once(
            f"warning: {len(passed_over)} files {pattern} in {folder} are passed over, for they do not end in one of "
            f"{', '.join(sorted(IMAGE_SUFFIXES))}: {some}"
        )
    if not found:
        raise UserError(f"no images {pattern} in {folder}")
    for path in found:
        if any("\ud800" <= letter <= "\udfff" for letter in path):
            raise UserError(f"{folder}: the name {path!a} is not UTF-8")
    return found


def refuse_repeated(paths: Sequence[str], task: Task) -> None:
    """Raise UserError for two images with the same id."""
    first: dict[str, str] = {}
    for path in paths:
        other = first.setdefault(image_id(path, task), path)
        if other != path:
            raise UserError(
                f"{other} and {path} are both {image_id(path, task)}; a table of ids cannot tell them apart"
            )


def in_shards(folder: Path, paths: Sequence[str], task: Task) -> list[ImageFiles]:
    """Return the images in shards of equal size, each drawn from all over the folder; always the same ones.

    A shard has at most IMAGES_PER_SHARD images and, at the task's image_shape, BYTES_PER_SHARD.
    """
    order = np.random.default_rng(0).permutation(len(paths))
    most = max(1, min(IMAGES_PER_SHARD, BYTES_PER_SHARD // math.prod(task.image_shape)))
    parts = np.array_split(order, -(-len(paths) // most))
    return [
        ImageFiles(f"images {number}", folder, tuple(paths[i] for i in sorted(part.tolist())))
        for number, part in enumerate(parts)
    ]


def fold_of(groups: pd.Index) -> NDArray[np.int64]:
    """Return which of FOLDS folds each image is in, int64 (n,), drawn evenly over its groups; always the same."""
    folds = np.empty(len(groups), np.int64)
    for number, rows in enumerate(pd.Series(range(len(groups))).groupby(groups, sort=True).indices.values()):
        shuffled = np.random.default_rng([0, number]).permutation(rows)
        folds[shuffled] = (np.arange(len(rows)) + number) % FOLDS
    return folds


def groups_by_folder(paths: Sequence[str]) -> pd.Index:
    """Return the folder of each image."""
    return pd.Index([Path(path).parent.as_posix() for path in paths])


def groups_by_labels(paths: Sequence[str], task: Task, labels: pd.DataFrame) -> pd.Index:
    """Return a number for the labels of each image, all heads together; images without labels are a group as well.

    labels: of read_label_table. The numbers are in no order: in that of the classes, of combinations with one image
    each every fifth may be of the same class, and would be in the same fold.
    """
    rows = labels.reindex([image_id(path, task) for path in paths])
    numbers = rows.groupby(list(task.heads), dropna=False).ngroup().to_numpy()
    return pd.Index(np.random.default_rng(0).permutation(numbers.max() + 1)[numbers])


def image_id(path: str, task: Task) -> str:
    """Return an image's id: its file's name where a table holds those, else its path below the data folder."""
    if not task.id_column:
        return path
    return Path(path).name if task.id_has_suffix else Path(path).stem


def labels_by_folder(paths: Sequence[str], task: Task, folder: Path) -> pd.DataFrame:
    """Return the class indices of images whose folder is their class; UserError for a folder that is none."""
    (head,) = task.heads
    names = [one_form(Path(path).parent.name) for path in paths]
    classes = {one_form(name): of for name, of in task.class_folders.items()}
    ids = pd.Index([image_id(path, task) for path in paths])
    return label_indices(pd.DataFrame({head: [classes.get(name, name) for name in names]}, index=ids), task, folder)


def read_images(part: ImageFiles, task: Task, *, is_train: bool) -> tuple[list[str], NDArray[np.uint8], list[str]]:
    """Return one shard's ids and images, uint8 (n, H, W, c), stretched to the task's image_shape; a thread per core.

    Files that are no images are left out and named, and their ids come third. Raises UserError where they are more than
    MAX_UNREADABLE_SHARE of train images.
    """
    height, width, channels = task.image_shape
    images = np.zeros((len(part.paths), height, width, channels), np.uint8)

    def fill(row: int) -> bool:
        image = _decoded(part.folder / part.paths[row], channels)
        if image is not None:
            cv2.resize(image, (width, height), dst=images[row], interpolation=cv2.INTER_AREA)
        return image is not None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        is_readable = np.array(list(pool.map(fill, range(len(part.paths)))), np.bool_)
    ids = [image_id(path, task) for path in part.paths]
    lost = [path for path, readable in zip(part.paths, is_readable.tolist(), strict=True) if not readable]
    if not lost:
        return ids, images, []
    some = ", ".join(lost[:5]) + (", ..." if len(lost) > 5 else "")
    told = f"{len(lost)} of {len(ids)} image files cannot be read: {some}"
    if is_train and len(lost) > MAX_UNREADABLE_SHARE * len(ids):
        raise UserError(f"{part.folder}: {told}")
    say(f"warning: {told}{'; they are left out' if is_train else ''}")
    read = [of for of, readable in zip(ids, is_readable.tolist(), strict=True) if readable]
    return read, images[is_readable], [image_id(path, task) for path in lost]


def whole_images(part: ImageFiles, task: Task, count: int) -> NDArray[np.uint8]:
    """Return the first images of a shard that can be read, at most so many, as they are: uint8 (n, SIDE, SIDE, c).

    Each is scaled to fit into the square, and stands in the middle of white.
    """
    channels = task.image_shape[2]
    decoded = (_decoded(part.folder / path, channels) for path in part.paths)
    some = list(islice((image for image in decoded if image is not None), count))
    squares = np.full((len(some), SIDE, SIDE, channels), 255, np.uint8)
    for square, image in zip(squares, some, strict=True):
        height, width = (max(1, round(side * SIDE / max(image.shape[:2]))) for side in image.shape[:2])
        top, left = (SIDE - height) // 2, (SIDE - width) // 2
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        square[top : top + height, left : left + width] = small.reshape(height, width, channels)
    return squares


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
