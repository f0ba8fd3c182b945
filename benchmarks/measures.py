"""One measurement in a process of its own: python -m benchmarks.measures NAME FOLDER prints it as a line of JSON."""

import json
import math
import os
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIZE = (64, 64)
BATCH = 128
THREADS = os.cpu_count() or 1
PASSES, FIT_PASSES = 10, 15  # of what is over in a moment


def shard_ours(folder: Path) -> Callable[[], Any]:
    """One full shard, file to crops."""
    from multihead.config.known_tasks import TASKS
    from multihead.config.model_settings import ModelSettings
    from multihead.data.crop_store import read_crops
    from multihead.data.datasets import images_to_train

    train = images_to_train(folder, TASKS["bengali"])
    return lambda: read_crops(train.parts[0], TASKS["bengali"], [ModelSettings(image_size=SIZE)], train.labels)


def shard_baseline(folder: Path) -> Callable[[], Any]:
    from benchmarks.baseline import baseline_crops, baseline_read
    from multihead.config.known_tasks import TASKS
    from multihead.data.datasets import images_to_train

    labels = images_to_train(folder, TASKS["bengali"]).labels
    file = folder / "train_image_data_0.parquet"
    return lambda: baseline_crops(baseline_read(file, labels), SIZE)


def shard_decoded(folder: Path) -> Callable[[], Any]:
    """The limit: the same columns decoded by the same library at once, and nothing done with them."""
    import polars as pl

    names = [str(i) for i in range(137 * 236)]
    return lambda: pl.scan_parquet(folder / "train_image_data_0.parquet").select(names).collect()


def shard_pandas(folder: Path) -> Callable[[], Any]:
    import pandas as pd

    return lambda: pd.read_parquet(folder / "train_image_data_0.parquet")


def _images(folder: Path) -> NDArray[np.uint8]:
    return np.array(np.load(folder / "images.npy", mmap_mode="r")[:6000])


def crop_ours(folder: Path) -> Callable[[], Any]:
    """Images in the array that reading leaves to crops, in a thread per core."""
    from multihead.data.crop import crop_resize

    images = _images(folder)
    return lambda: crop_resize(images, SIZE, "ink", dark_ink=True)


def crop_baseline(folder: Path) -> Callable[[], Any]:
    """The same images, in the table that reading leaves."""
    import pandas as pd

    from benchmarks.baseline import baseline_crops

    images = _images(folder)
    pixels = np.asfortranarray(images.reshape(len(images), -1))  # column after column, as read_parquet leaves them
    table = pd.DataFrame(pixels, index=[f"Train_{i}" for i in range(len(images))])
    return lambda: baseline_crops(table, SIZE)


def _batches(folder: Path) -> Any:
    from multihead.config.known_tasks import TASKS
    from multihead.config.settings import RunSettings
    from multihead.data.batches import TrainBatches
    from multihead.data.crop import crop_resize

    crops = crop_resize(_images(folder), SIZE, "ink", dark_ink=True)
    rng = np.random.default_rng(0)
    classes = {head: len(names) for head, names in TASKS["bengali"].heads.items()}
    labels = {head: rng.integers(0, count, len(crops)) for head, count in classes.items()}
    rows = np.stack([np.zeros(len(crops), np.int64), np.arange(len(crops))], 1)
    run = RunSettings(batch_size=BATCH, mixup_share=0.5, cutmix_share=0.5)
    return crops, labels, classes, TrainBatches([crops], rows, labels, classes, run, dark_ink=True, epoch=1, shard=0)


def batches_ours(folder: Path) -> Callable[[], Any]:
    """Crops, PASSES times, to augmented batches, each mixed, in a thread per core."""
    batches = _batches(folder)[3]

    def make() -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda i: len(batches[i % len(batches)]), range(PASSES * len(batches))))

    return make


def batches_baseline(folder: Path) -> Callable[[], Any]:
    from benchmarks.baseline import baseline_batches, baseline_network_input
    from multihead.data.targets import targets_of

    crops, labels, classes, _ = _batches(folder)
    images = baseline_network_input(crops[..., 0])
    batches = baseline_batches(images, targets_of(labels, classes, {}), BATCH)
    next(batches)  # imports Keras
    return lambda: [next(batches) for _ in range(len(images) // BATCH)]


def batches_warped(folder: Path) -> Callable[[], Any]:
    """The limit: cv2.warpAffine alone, PASSES times for each image, in a thread per core."""
    import cv2

    crops = _batches(folder)[0]
    matrix = np.array([[0.98, 0.1, -2.0], [-0.1, 1.05, 3.0]])

    def warp(start: int) -> None:
        for image in crops[start : start + BATCH]:
            cv2.warpAffine(image, matrix, SIZE)

    def make() -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(warp, PASSES * list(range(0, len(crops), BATCH))))

    return make


def _fit(folder: Path, *, is_constant: bool) -> Callable[[], Any]:
    """Fit FIT_PASSES times the crops; the generator has one thread, the network the other cores."""
    import keras
    import tensorflow as tf

    from benchmarks.baseline import one_convolution
    from multihead.training.keras_io import KerasBatches, TrainedNetwork

    keep = max(1, THREADS - 1)
    tf.config.threading.set_intra_op_parallelism_threads(keep)
    # one would make the batch and fit it in turns; waiting, it costs nothing
    tf.config.threading.set_inter_op_parallelism_threads(2)
    batches, classes = _batches(folder)[3], _batches(folder)[2]
    built = one_convolution(SIZE, classes, filters=16, strides=3)
    network = TrainedNetwork(built.input, built.output)
    network.compile("adamw", {head: keras.losses.CategoricalCrossentropy(from_logits=True) for head in classes})
    first = batches[0]

    class Many:
        def __len__(self) -> int:
            return FIT_PASSES * len(batches)

        def __getitem__(self, index: int) -> Any:
            return first if is_constant else batches[index % len(batches)]

    def fit(steps: int) -> int:
        source = KerasBatches(Many(), range(steps), [1e-3] * steps, workers=1)  # type: ignore[arg-type]
        network.fit(source, epochs=1, shuffle=False, verbose=0)
        return steps * BATCH

    fit(5)
    return lambda: fit(FIT_PASSES * len(batches))


def fit_ours(folder: Path) -> Callable[[], Any]:
    """Crops through the generator, in one thread, to a network that hardly computes."""
    return _fit(folder, is_constant=False)


def fit_constant(folder: Path) -> Callable[[], Any]:
    """The limit: the same fit, given the same batch again and again."""
    return _fit(folder, is_constant=True)


STEP_BACKBONE, STEP_SIZE, STEP_BATCH, STEPS = "resnet10", 80, 64, 60


def _step(precision: Any) -> Callable[[], int]:
    """The training step alone, on one batch again and again."""
    from benchmarks.steps import one_batch, training_steps

    steps = training_steps(STEP_BACKBONE, one_batch(STEP_SIZE, STEP_BATCH), precision)
    steps(5)
    return lambda: steps(STEPS)


def step_float32(_: Path) -> Callable[[], Any]:
    return _step("float32")


def step_bfloat16(_: Path) -> Callable[[], Any]:
    return _step("bfloat16")


def _torch_step(precision: str) -> Callable[[], int]:
    from benchmarks.steps import one_batch
    from benchmarks.torch_peer import torch_steps

    steps = torch_steps(STEP_BACKBONE, one_batch(STEP_SIZE, STEP_BATCH), is_bfloat16=precision == "bfloat16")
    steps(5)
    return lambda: steps(STEPS)


def step_torch_float32(_: Path) -> Callable[[], Any]:
    """The same network, optimizer and batch in PyTorch."""
    return _torch_step("float32")


def step_torch_bfloat16(_: Path) -> Callable[[], Any]:
    return _torch_step("bfloat16")


def _fit_paced(folder: Path, *, is_constant: bool) -> Callable[[], int]:
    """Fit a network that makes some 500 images/s as the Trainer does, in bfloat16 where the CPU has it."""
    from benchmarks.steps import trained_network

    network = trained_network(STEP_BACKBONE, SIZE[0], "auto")
    from multihead.runtime.progress import Progress
    from multihead.training.keras_io import KerasBatches, Watch
    from multihead.training.moving_average import MovingAverage

    batches = _batches(folder)[3]
    average, first = MovingAverage(network, 0.999), batches[0]

    class Many:
        def __getitem__(self, index: int) -> Any:
            return first if is_constant else batches[index % len(batches)]

    def fit(steps: int) -> int:
        source = KerasBatches(Many(), range(steps), [1e-3] * steps)  # type: ignore[arg-type]
        with Progress("fit", steps * BATCH) as progress:
            images = [BATCH] * steps
            watch = Watch(network, "fit", images, progress, average=average, deadline=math.inf)
            network.fit(source, epochs=1, shuffle=False, verbose=0, callbacks=watch)
        return steps * BATCH

    fit(5)
    return lambda: fit(2 * len(batches))


def fit_paced_ours(folder: Path) -> Callable[[], Any]:
    return _fit_paced(folder, is_constant=False)


def fit_paced_constant(folder: Path) -> Callable[[], Any]:
    """The limit: the same fit, given the same batch again and again."""
    return _fit_paced(folder, is_constant=True)


def _network(kind: str) -> Any:
    from benchmarks.baseline import one_convolution
    from multihead.config.known_tasks import TASKS
    from multihead.config.model_settings import ModelSettings
    from multihead.model.network import build_model

    if kind == "b0":
        network = build_model(ModelSettings(backbone="efficientnet-b0", image_size=SIZE), TASKS["bengali"])
    else:
        network = one_convolution(
            SIZE, {head: len(classes) for head, classes in TASKS["bengali"].heads.items()}, filters=64, strides=1
        )
    network.jit_compile = False
    network.predict_on_batch(np.zeros((BATCH, *SIZE, 1), np.uint8))  # compiled here, not while measured
    return network


def _predict_ours(folder: Path, kind: str) -> Callable[[], Any]:
    """Files to submission, as the command does it."""
    from multihead import commands
    from multihead.config.model_settings import ModelSettings
    from multihead.config.settings import RunSettings, Settings
    from multihead.model import weights

    network = _network(kind)
    for built in ("load_model", "build_model"):
        setattr(weights, built, lambda *_: network)
    for name in ("weights", "working"):
        (folder / name).mkdir(exist_ok=True)
    model = ModelSettings(backbone="efficientnet-b0", image_size=SIZE)
    from multihead.config.known_tasks import TASKS

    counts = {head: (1,) * len(classes) for head, classes in TASKS["bengali"].heads.items()}
    weights.save_weights(folder / "weights", network, model, TASKS["bengali"], train_counts=counts, score=None, epoch=1)
    run = RunSettings(
        data=str(folder), weights=str(folder / "weights"), working=str(folder / "working"), batch_size=BATCH
    )
    return lambda: commands.predict(Settings(model, run, frozenset(), TASKS["bengali"]))


def predict_ours(folder: Path) -> Callable[[], Any]:
    return _predict_ours(folder, "one")


def predict_ours_b0(folder: Path) -> Callable[[], Any]:
    return _predict_ours(folder, "b0")


def _predict_baseline(folder: Path, kind: str) -> Callable[[], Any]:
    from benchmarks.baseline import baseline_predict

    network, files = _network(kind), sorted(folder.glob("test_image_data_*.parquet"))
    network.predict(np.zeros((BATCH, *SIZE, 1), np.float32), batch_size=BATCH, verbose=0)
    return lambda: baseline_predict(network, files, SIZE, BATCH).to_csv(folder / "baseline.csv")


def predict_baseline(folder: Path) -> Callable[[], Any]:
    return _predict_baseline(folder, "one")


def predict_baseline_b0(folder: Path) -> Callable[[], Any]:
    return _predict_baseline(folder, "b0")


def _predict_network(folder: Path, kind: str) -> Callable[[], Any]:
    """The limit: the network alone on as many ready crops."""
    import pyarrow.parquet as pq

    from multihead.prediction.predictor import predict_probabilities

    network = _network(kind)
    images = sum(pq.read_metadata(file).num_rows for file in folder.glob("test_image_data_*.parquet"))
    crops = np.random.default_rng(0).integers(0, 256, (images, *SIZE, 1), np.uint8)
    return lambda: predict_probabilities(network, crops, BATCH)


def predict_network(folder: Path) -> Callable[[], Any]:
    return _predict_network(folder, "one")


def predict_network_b0(folder: Path) -> Callable[[], Any]:
    return _predict_network(folder, "b0")


def main() -> None:
    """Prepare a measurement, then do it with the clock running, and print seconds and the process's peak memory."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    measured = globals()[name](folder)
    started = time.perf_counter()
    kept = measured()
    seconds = time.perf_counter() - started
    peak = _peak_bytes()
    print(json.dumps({"seconds": seconds, "peak_gb": peak / 1e9, "images": kept if isinstance(kept, int) else 0}))


def _peak_bytes() -> int:
    """Return the most memory that this process ever had; what getrusage says counts its parent's too."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: bytes
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
