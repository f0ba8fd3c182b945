"""The usual notebook's way from parquet to batch and to predictions: what the package is measured against.

One image at a time through pandas, contours for the box of the ink, three equal gray channels in float32,
ImageDataGenerator for the jitter with a second batch drawn to mix with, and everything read before anything
is predicted.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

HEIGHT, WIDTH = 137, 236


def baseline_read(path: Path, labels: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return one shard as a table of pixels, index image id; with labels, a shard's own are joined on first."""
    table = pd.read_parquet(path)
    if labels is not None:
        table = table.merge(labels.rename_axis("image_id").reset_index(), on="image_id").drop(columns=[*labels])
    return table.set_index("image_id")


def contour_crop(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return uint8 (height, width): the union of the boxes of all contours of the ink, stretched; blank is an error."""
    _, ink = cv2.threshold(image, 0, 255, cv2.THRESH_BINARY_INV + cv2.THRESH_OTSU)
    contours, _ = cv2.findContours(ink, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    boxes = [cv2.boundingRect(contour) for contour in contours]
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right, bottom = max(box[0] + box[2] for box in boxes), max(box[1] + box[3] for box in boxes)
    return np.asarray(cv2.resize(image[top:bottom, left:right], size[::-1], interpolation=cv2.INTER_AREA), np.uint8)


def baseline_crops(table: pd.DataFrame, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return uint8 (n, height, width) of the rows of baseline_read's table."""
    crops = {}
    for image_id in table.index:
        image = table.loc[image_id].to_numpy().reshape(HEIGHT, WIDTH)
        crops[image_id] = contour_crop(image, size).reshape(-1)
    return pd.DataFrame(crops).T.to_numpy(np.uint8).reshape(-1, *size)


def baseline_network_input(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return float32 (n, height, width, 3) in [0, 1] of uint8 (n, height, width)."""
    return np.repeat(crops[..., None].astype(np.float32), 3, axis=3) / np.float32(255)


def baseline_batches(
    images: NDArray[np.float32], labels: dict[str, NDArray[np.float32]], batch_size: int
) -> Iterator[tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]]:
    """Yield augmented batches for ever, each mixed by mixup or by cutmix with a second one."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    rng = np.random.default_rng(0)
    jitter = ImageDataGenerator(rotation_range=16, zoom_range=0.15, width_shift_range=0.15, height_shift_range=0.15)
    flow = jitter.flow(images, np.arange(len(images)), batch_size=batch_size)
    while True:
        (first, rows), (second, other_rows) = next(flow), next(flow)
        count = min(len(first), len(second))  # the last of a round is smaller
        first, rows, second, other_rows = first[:count], rows[:count], second[:count], other_rows[:count]
        if rng.random() < 0.5:
            share = rng.beta(0.4, 0.4, (len(first), 1)).astype(np.float32)
            mixed = first * share[:, :, None, None] + second * (1 - share[:, :, None, None])
        else:
            kept = rng.beta(0.4, 0.4)
            half = (np.array(first.shape[1:3]) * np.sqrt(1 - kept) / 2).astype(int)
            middle = rng.integers(0, first.shape[1:3])
            low, high = np.maximum(middle - half, 0), np.minimum(middle + half, first.shape[1:3])
            mixed = first.copy()
            mixed[:, low[0] : high[0], low[1] : high[1]] = second[:, low[0] : high[0], low[1] : high[1]]
            share = np.full((1, 1), 1 - np.prod(high - low) / np.prod(first.shape[1:3]), np.float32)
        yield (
            mixed,
            {head: targets[rows] * share + targets[other_rows] * (1 - share) for head, targets in labels.items()},
        )


def baseline_predict(network: Any, files: Sequence[Path], size: tuple[int, int], batch_size: int) -> pd.DataFrame:
    """Return each image's class indices: index image id. Everything is read, then cropped, then predicted."""
    tables = [baseline_read(path) for path in files]
    crops = np.concatenate([baseline_crops(table, size) for table in tables])
    answers = network.predict(crops[..., None].astype(np.float32), batch_size=batch_size, verbose=0)
    ids = np.concatenate([table.index for table in tables])
    return pd.DataFrame({head: answer.argmax(axis=1) for head, answer in answers.items()}, index=ids)


def one_convolution(size: tuple[int, int], classes: dict[str, int], filters: int, strides: int) -> Any:
    """Return a network that computes little, so that all else shows: one convolution, and the logits of each head."""
    import keras

    inputs = keras.Input((*size, 1))
    features = keras.layers.Conv2D(filters, 5, strides=strides, activation="relu")(
        keras.layers.Rescaling(1 / 255)(inputs)
    )
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    heads = {head: keras.layers.Dense(count, name=head)(pooled) for head, count in classes.items()}
    return keras.Model(inputs, heads)
