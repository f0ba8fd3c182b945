"""Measure training and inference under Keras's JAX backend, from the folder that gpu_kit.py lays out.

    python run_kit.py [--tiny] [--out FOLDER] [--seconds 570] [--only ROW ...]

Every row runs in a process of its own with a limit of its own, and every figure is appended to figures.jsonl in FOLDER
as soon as it is known, so that a kill loses at most one. `--tiny` goes the whole way with a small network.
"""

import argparse
import importlib
import importlib.util
import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

KIT = Path(__file__).resolve().parent
FIGURES, LOG, PROFILE = "figures.jsonl", "log.txt", "profile.txt"
CROP_SIZE, CROPS_PER_SHEET = 64, 4096
CLOSING_SECONDS = 8  # of the parent, after the last row
REPEATS = 2


class Network(NamedTuple):
    """A network to measure: its backbone, the side of its images, its precision, and images and steps of a fit.

    parts: what is measured beside the bare steps, the fit of a constant batch and inference: "generator", the fit with
        the project's batches; "callbacks", what each callback costs, and a profile; "in the step", nothing else but the
        fit with learning rate and moving average in the jitted step, by Keras's optimizer, in place of callbacks.
    """

    backbone: str
    side: int
    precision: str
    batch_size: int
    steps: int
    parts: Sequence[str] = ()


class Row(NamedTuple):
    """What one process measures, and the seconds after which it is ended; no network: the machine, or the recipe."""

    limit: float
    network: Network | None = None


# The most wanted first. The limits are for an H200, on which B0's first step compiles for 35 s in float32 and for twice
# as long in bfloat16; 98 steps of 256 are half a shard of the competition
ROWS = {
    "machine": Row(60),
    "B0 64 float32": Row(170, Network("efficientnet-b0", 64, "float32", 256, 98, ("generator", "callbacks"))),
    "B0 64 bfloat16": Row(200, Network("efficientnet-b0", 64, "mixed_bfloat16", 256, 98, ("generator",))),
    "B0 128 bfloat16": Row(240, Network("efficientnet-b0", 128, "mixed_bfloat16", 256, 98, ("generator",))),
    "recipe": Row(240),
    "B3 128 bfloat16": Row(280, Network("efficientnet-b3", 128, "mixed_bfloat16", 256, 49)),
    "B0 64 float32, in the step": Row(120, Network("efficientnet-b0", 64, "float32", 256, 98, ("in the step",))),
    "B0 64 bfloat16, batch 1024": Row(200, Network("efficientnet-b0", 64, "mixed_bfloat16", 1024, 24)),
    "B1 128 float16, batch 128": Row(280, Network("efficientnet-b1", 128, "mixed_float16", 128, 98)),
}
TINY_ROWS = {
    "machine": Row(900),
    "narrow 32 bfloat16": Row(900, Network("narrow", 32, "mixed_bfloat16", 8, 4, ("generator", "callbacks"))),
    "narrow 32 float32, in the step": Row(900, Network("narrow", 32, "float32", 8, 4, ("in the step",))),
    "recipe": Row(900),
}
RECIPE_BACKBONE = "efficientnet-b0"
LEAST_RECIPE_SECONDS = 75


class Figures:
    """The figures of one row: each is a line of JSON, in the file as soon as it is measured."""

    def __init__(self, row: str, path: Path) -> None:
        self._row, self._path = row, path
        self._started = time.monotonic()

    def add(self, figure: str, **values: Any) -> None:
        line = json.dumps({"row": self._row, "figure": figure, "at": round(self.seconds, 1), **values})
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
        print(line, flush=True)

    @property
    def seconds(self) -> float:
        """The seconds since the row began."""
        return time.monotonic() - self._started


class Compilations:
    """The seconds that JAX spends tracing and compiling, as its own monitoring says."""

    def __init__(self) -> None:
        import jax

        self._seconds: dict[str, float] = {}
        jax.monitoring.register_event_duration_secs_listener(self._add)

    def _add(self, event: str, seconds: float, **_: Any) -> None:
        name = event.rsplit("/", 1)[-1]
        if "compile" in event and name.endswith("duration"):
            self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    def taken(self) -> dict[str, float]:
        """Return what was spent since the last call."""
        seconds, self._seconds = self._seconds, {}
        return {name: round(value, 2) for name, value in seconds.items() if value >= 0.005}


def measure_machine(figures: Figures) -> None:
    """Say what the machine is, and how fast it multiplies: without that no other figure can be read."""
    import jax
    import jax.numpy as jnp

    libraries = map(importlib.import_module, ("jax", "keras", "numpy", "pandas", "cv2", "h5py", "matplotlib"))
    figures.add(
        "machine",
        device=jax.devices()[0].device_kind,
        platform=jax.devices()[0].platform,
        cores=os.cpu_count(),
        python=sys.version.split()[0],
        versions={library.__name__: library.__version__ for library in libraries},
        nvidia_smi=_nvidia_smi(),
    )
    side = 8192 if jax.devices()[0].platform == "gpu" else 256
    for dtype in (jnp.bfloat16, jnp.float32):
        left, right = (jax.random.normal(jax.random.key(seed), (side, side), dtype) for seed in (0, 1))
        multiply = jax.jit(jnp.matmul)
        multiply(left, right).block_until_ready()
        started = time.perf_counter()
        for _ in range(10):
            product = multiply(left, right)
        product.block_until_ready()
        seconds = (time.perf_counter() - started) / 10
        figures.add("matrix product", dtype=jnp.dtype(dtype).name, tflops=2 * side**3 / seconds / 1e12)


def _nvidia_smi() -> str:
    fields = "name,memory.total,driver_version,clocks.sm,clocks.max.sm,power.limit"
    try:
        command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        return f"none ({type(error).__name__})"


def measure_network(network: Network, figures: Figures, out: Path, limit: float) -> None:
    """Time the bare step, the project's fit, its inference, and what lies between them, the most wanted first."""
    import keras

    compilations = Compilations()
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(network.precision)
    bench = NetworkBench(network, figures, compilations)
    if "in the step" in network.parts:
        bench.in_the_step()
        return
    bench.first_step()
    bench.bare_step()
    bench.project_fit("fit, constant batch", bench.constant)
    if "generator" in network.parts:
        bench.project_fit("fit, generator", bench.generated)
    bench.inference()
    bench.memory()
    if "callbacks" not in network.parts:
        return
    for measure in (bench.fit_with_callbacks, bench.generator_alone, lambda: bench.profile(out / PROFILE)):
        if figures.seconds < 0.75 * limit:
            measure()


class NetworkBench:
    """One compiled network of a Trainer, and the batches that it is fitted on."""

    def __init__(self, network: Network, figures: Figures, compilations: Compilations) -> None:
        import jax
        import numpy as np

        from multihead.config.settings import ModelSettings, RunSettings
        from multihead.data.batches import TrainBatches
        from multihead.training.trainer import Trainer

        self._network, self._figures, self._compilations = network, figures, compilations
        started = time.perf_counter()
        images, labels = _resized(*read_part("train"), network.side)
        self._images = images
        scratch = Path(tempfile.mkdtemp(prefix="kit-"))
        lay_out_images(
            scratch, train=max(64, 2 * network.batch_size), test=1
        )  # the Trainer counts files, it reads none here
        task = crops_task()
        model = ModelSettings(task.name, 0, network.backbone, (network.side, network.side), "none")
        run = RunSettings(batch_size=network.batch_size, epochs=30, resume="off", working=str(scratch))
        self.trainer = Trainer(task, model, run, scratch, scratch)
        self.keras_model = self.trainer.network
        many = np.resize(np.arange(len(images)), network.steps * network.batch_size)
        self.generated = TrainBatches(
            [images],
            np.stack([np.zeros_like(many), many], 1),
            {head: indices[many] for head, indices in labels.items()},
            {head: len(classes) for head, classes in task.heads.items()},
            run,
            dark_ink=task.dark_ink,
            epoch=0,
            shard=0,
        )
        self._batch = self.generated[0]
        self.constant: Any = ConstantBatch(self._batch, network.steps)
        self._on_device = jax.device_put(self._batch)
        figures.add(
            "network",
            parameters=int(self.keras_model.count_params()),
            jit_compile=bool(self.keras_model.jit_compile),
            precision=network.precision,
            batch_size=network.batch_size,
            build_seconds=round(time.perf_counter() - started, 1),
            jax=compilations.taken(),
        )

    def first_step(self) -> None:
        """The fit of two steps that traces and compiles."""
        started = time.perf_counter()
        self._fit(self.constant, 2)
        seconds = time.perf_counter() - started
        self._figures.add("first fit, 2 steps", seconds=round(seconds, 2), jax=self._compilations.taken())
        self._name_infinite()

    def _fit(self, batches: Any, steps: int) -> None:
        """Fit as the Trainer does; weights that are not finite cost no more time than others."""
        from multihead.runtime.progress import Progress

        try:
            with Progress("fit", steps * self.trainer.run.batch_size) as progress:
                self.trainer._fit(batches, range(steps), progress)
        except FloatingPointError as error:
            self._figures.add("not finite", error=str(error))

    def _name_infinite(self) -> None:
        """Add the names of the variables that are not finite, if there are any."""
        import numpy as np

        variables = [*self.keras_model.weights, *self.keras_model.optimizer.variables]
        names = [variable.path for variable in variables if not np.isfinite(np.asarray(variable, np.float64)).all()]
        if names:
            self._figures.add("variables that are not finite", count=len(names), first=names[:20])

    def bare_step(self) -> None:
        """Keras's jitted train step alone, on one batch that lies on the device."""
        import jax

        model = self.keras_model
        # copies: the step overwrites its state, and these are the network's own
        state = jax.tree.map(
            lambda variable: jax.numpy.array(variable.value, copy=True),
            tuple(
                list(variables)
                for variables in (
                    model.trainable_variables,
                    model.non_trainable_variables,
                    model.optimizer.variables,
                    model.metrics_variables,
                )
            ),
            is_leaf=lambda node: hasattr(node, "value"),
        )
        batches = itertools.repeat(self._on_device)

        def steps(count: int) -> None:
            nonlocal state
            for _ in range(count):
                logs, state = model.train_function(state, batches)
            jax.block_until_ready((logs, state))

        steps(5)
        self._timed("bare train step", lambda: steps(self._network.steps), self._network.steps)

    def project_fit(self, figure: str, batches: Any) -> None:
        """Fit as the Trainer does, its callbacks and its check for finite weights included."""
        steps = self._network.steps
        self._timed(figure, lambda: self._fit(batches, steps), steps)

    def fit_with_callbacks(self) -> None:
        """Fit the constant batch with none of the project's callbacks, then with one more each time."""
        from multihead.training.keras_io import KerasBatches

        def fit(callbacks: Sequence[Any]) -> None:
            source = KerasBatches(self.constant, range(self._network.steps))
            self.keras_model.fit(source, epochs=1, shuffle=False, verbose=0, callbacks=list(callbacks))

        variants: Mapping[str, Sequence[str]] = {
            "no callback": (),
            "callback that reads nothing": ("reads nothing",),
            "learning rate": ("learning rate",),
            "learning rate, moving average": ("learning rate", "moving average"),
        }
        for name, parts in variants.items():
            made = [_callback(part, self.trainer.average) for part in parts]
            self._timed(f"fit, constant batch, {name}", partial(fit, made), self._network.steps, repeats=1)

    def in_the_step(self) -> None:
        """Fit with the learning rate's schedule and the moving average inside the jitted step, and no callback."""
        import keras

        from multihead.training.keras_io import KerasBatches

        steps = self._network.steps
        optimizer = keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(1e-3, 10_000), weight_decay=0.01, use_ema=True, ema_momentum=0.999
        )
        # under JAX it leaves weights and averages in the same buffers, which the next fit's step cannot both overwrite
        optimizer.finalize_variable_values = lambda _: None
        model = self.keras_model
        model.compile(optimizer=optimizer, loss={head: keras.losses.CategoricalCrossentropy() for head in model.output})

        def fit(batches: Any, count: int) -> None:
            model.fit(KerasBatches(batches, range(count)), epochs=1, shuffle=False, verbose=0)

        started = time.perf_counter()
        fit(self.constant, 2)
        seconds = time.perf_counter() - started
        self._figures.add("first fit, 2 steps", seconds=round(seconds, 2), jax=self._compilations.taken())
        self._timed("fit, constant batch", lambda: fit(self.constant, steps), steps)
        self._timed("fit, generator", lambda: fit(self.generated, steps), steps)

    def generator_alone(self) -> None:
        """Make the same batches in so many threads, for nobody."""
        from concurrent.futures import ThreadPoolExecutor

        for threads in (1, 2, 4, 8, 16):
            count = min(self._network.steps, 24 * threads)

            def make(threads: int = threads, count: int = count) -> None:
                with ThreadPoolExecutor(threads) as pool:
                    list(pool.map(lambda number: len(self.generated[number][0]), range(count)))

            self._timed(f"generator alone, {threads} threads", make, count, repeats=1)

    def inference(self) -> None:
        """The project's predict_probabilities on crops in memory, then the jitted step on a batch on the device."""
        import jax

        from multihead.prediction.predictor import predict_probabilities

        batch_size, steps = self._network.batch_size, max(2, self._network.steps // 4)
        images = self._images[: batch_size * steps]
        model = self.keras_model
        started = time.perf_counter()
        predict_probabilities(model, images[:batch_size], batch_size)
        seconds = time.perf_counter() - started
        self._figures.add("first predict", seconds=round(seconds, 2), jax=self._compilations.taken())
        steps = math.ceil(len(images) / batch_size)
        self._timed("predict", lambda: predict_probabilities(model, images, batch_size), steps, images=len(images))
        state: Any = tuple(
            [jax.numpy.array(variable.value, copy=True) for variable in variables]
            for variables in (model.trainable_variables, model.non_trainable_variables)
        )
        batches = itertools.repeat((self._on_device[0],))

        def bare(count: int) -> None:
            nonlocal state
            for _ in range(count):
                answers, state = model.predict_function(state, batches)
            jax.block_until_ready((answers, state))

        bare(5)
        self._timed("bare predict step", lambda: bare(self._network.steps), self._network.steps)

    def memory(self) -> None:
        """The most memory of the device that this process had."""
        import jax

        used = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
        self._figures.add("device memory", peak_gb=used and round(used / 1e9, 2))

    def profile(self, path: Path) -> None:
        """Append where the main thread of the project's fit spends its time."""
        import cProfile
        import io
        import pstats

        profiler = cProfile.Profile()
        steps = max(2, self._network.steps // 2)
        profiler.runcall(self._fit, self.generated, steps)
        for order in ("tottime", "cumulative"):
            text = io.StringIO()
            pstats.Stats(profiler, stream=text).sort_stats(order).print_stats(30)
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{self._network}, {steps} steps, by {order}\n{text.getvalue()}\n")
        self._figures.add("profile", steps=steps, file=path.name)

    def _timed(
        self, figure: str, work: Callable[[], Any], steps: int, images: int | None = None, repeats: int = REPEATS
    ) -> None:
        """Add the images a second of each repeat, and what JAX compiled meanwhile, which should be nothing."""
        images = images or steps * self._network.batch_size
        rates, milliseconds = [], []
        self._compilations.taken()
        for _ in range(repeats):
            started = time.perf_counter()
            work()
            seconds = time.perf_counter() - started
            rates.append(round(images / seconds, 1))
            milliseconds.append(round(1000 * seconds / steps, 3))
        compiled = self._compilations.taken()
        self._figures.add(
            figure,
            images_per_second=rates,
            ms_per_step=milliseconds,
            steps=steps,
            **({"jax": compiled} if compiled else {}),
        )


class ConstantBatch:
    """One batch in the place of TrainBatches, again and again."""

    def __init__(self, batch: Any, steps: int) -> None:
        self._batch, self._steps = batch, steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, _: int) -> Any:
        return self._batch


def _callback(part: str, average: Any) -> Any:
    """Return a Keras callback that does one thing of those that the project's do after or before each batch."""
    import keras

    class ReadsNothing(keras.callbacks.Callback):  # type: ignore[misc]
        """Its mere presence makes Keras wait for each batch's loss."""

        def on_train_batch_end(self, *_: Any, **__: Any) -> None:
            pass

    class SetsLearningRate(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_begin(self, *_: Any, **__: Any) -> None:
            self.model.optimizer.learning_rate = 1e-4

    class UpdatesAverage(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, *_: Any, **__: Any) -> None:
            if self.model:
                average.step()

    return {"reads nothing": ReadsNothing, "learning rate": SetsLearningRate, "moving average": UpdatesAverage}[part]()


def measure_recipe(figures: Figures, out: Path, limit: float, step_seconds: float, *, is_tiny: bool) -> None:
    """Train by the project's train command for the seconds there are, predict the test images, and score them.

    step_seconds: of a fit's step, as measured before; how many epochs the cosine has follows from it.
    """
    import shutil
    from dataclasses import replace

    from multihead import commands
    from multihead.config.settings import read_settings
    from multihead.scoring.evaluation import read_both, score

    scratch = Path(tempfile.mkdtemp(prefix="recipe-"))
    data, working = scratch / "data", scratch / "working"
    working.mkdir()
    train_images = lay_out_images(data, *((192, 64) if is_tiny else (None, None)))
    budget = limit - 35  # for predicting
    epochs = 2
    overrides = [f"backbone={RECIPE_BACKBONE}", "image_size=[64, 64]", "crop=none", "learning_rate=2e-3"]
    if is_tiny:
        overrides += ["backbone=narrow", "image_size=[32, 32]", "batch_size=16", "validation_share=0.2"]
    settings = read_settings(KIT / "settings.toml", overrides)
    if not is_tiny:
        epoch_seconds = 0.92 * train_images / settings.run.batch_size * step_seconds + 2  # validated, saved
        epochs = max(6, min(90, int((0.9 * budget - 60) * 0.85 / epoch_seconds)))
    task = crops_task()
    paths: dict[str, Any] = {"data": str(data), "working": str(working), "weights": str(working)}
    run = replace(
        settings.run, **paths, epochs=epochs, resume="off", time_budget_minutes=budget / 60, require_gpu=not is_tiny
    )
    settings = settings._replace(model=replace(settings.model, task=task.name), run=run, known_task=task)
    figures.add("recipe", epochs=epochs, budget_seconds=round(budget), batch_size=run.batch_size)
    commands.train(settings)
    history = (working / "history.csv").read_text(encoding="utf-8")
    shutil.copy(working / "history.csv", out / "history.csv")
    last = dict(zip(*(line.split(",") for line in (history.splitlines()[0], history.splitlines()[-1])), strict=True))
    done = len(history.splitlines()) - 1
    validation = json.loads((working / "manifest.json").read_text(encoding="utf-8"))
    trained_images = sum(validation["train_counts"]["grapheme_root"])
    figures.add(
        "trained",
        epochs=done,
        images=done * trained_images,
        minutes=round(figures.seconds / 60, 2),
        last_epoch=last,
        validated=validation.get("score"),
        images_per_second=validation.get("images_per_second"),
    )
    commands.predict(settings._replace(given_model_keys=frozenset(), run=replace(run, time_budget_minutes=0.0)))
    answered, true = read_both(working / "submission.csv", data / "truth.csv", task)
    reached = score(answered, true, task)
    figures.add(
        "test images",
        score=reached.total,
        heads=dict(reached.heads),
        standard_error=reached.standard_error,
        images=len(true),
        absent={head: len(labels) for head, labels in reached.absent.items()},
        minutes=round(figures.seconds / 60, 2),
    )


def crops_task() -> Any:
    """Return the competition as a task of image files that are crops already."""
    from dataclasses import replace

    from multihead.config.task import TASKS

    return replace(
        TASKS["bengali"],
        name="bengali-crops",
        reader="image files",
        image_shape=(CROP_SIZE, CROP_SIZE, 1),
        crop="none",
        train_files="train/*.png",
        test_files="test/*.png",
        id_has_suffix=False,
        hidden_images=0,
    )


def read_part(part: str) -> tuple[Any, Any]:
    """Return one part's crops, uint8 (n, 64, 64, 1), and its labels, int64 (n,) for each head."""
    import cv2
    import numpy as np

    table = _table(part)
    sheets = [KIT / "data" / f"{part}-{number}.png" for number in range(math.ceil(len(table) / CROPS_PER_SHEET))]
    pixels = [np.asarray(cv2.imread(str(sheet), cv2.IMREAD_GRAYSCALE), np.uint8) for sheet in sheets]
    images = np.concatenate(pixels).reshape(-1, CROP_SIZE, CROP_SIZE, 1)
    if len(images) != len(table):
        raise SystemExit(f"{part}: {len(images)} crops, {len(table)} labels")
    return images, {head: column.to_numpy(np.int64) for head, column in table.items()}


def _table(part: str) -> Any:
    import pandas as pd

    return pd.read_csv(KIT / "data" / f"{part}.csv", index_col="image_id", dtype={"image_id": str})


def _resized(images: Any, labels: Any, side: int) -> tuple[Any, Any]:
    """Return the crops at another size; enlarged ones have no more detail than before, but as many pixels."""
    import cv2
    import numpy as np

    if side == CROP_SIZE:
        return images, labels
    resized = np.stack([cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR) for image in images])
    return resized[..., None], labels


def lay_out_images(folder: Path, train: int | None = None, test: int | None = None) -> int:
    """Write the first crops of each part as files, with the competition's tables; return how many are to train on."""
    import cv2
    import pandas as pd

    rows: list[tuple[str, int]] = []
    for part, count in (("train", train), ("test", test)):
        images, _ = read_part(part)
        table = _table(part).iloc[:count]
        (folder / part).mkdir(parents=True)
        for name, image in zip(table.index, images, strict=False):
            cv2.imwrite(str(folder / part / f"{name}.png"), image)
        if part == "train":
            table.to_csv(folder / "train.csv")
            train_images = len(table)
        else:
            rows = [(f"{name}_{head}", int(row[head])) for name, row in table.iterrows() for head in sorted(table)]
    truth = pd.DataFrame(rows, columns=["row_id", "target"])
    truth.to_csv(folder / "truth.csv", index=False)
    truth.assign(target=0).to_csv(folder / "sample_submission.csv", index=False)
    return train_images


class AbsentModule(ModuleType):
    """Stands in for polars, which reads the competition's own files: a machine without it has none of them to read."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Exception,), {})


def stand_in_for_polars() -> None:
    """Let the package's readers be imported, though not used, where polars is not installed."""
    if importlib.util.find_spec("polars") is None:
        polars = AbsentModule("polars")
        polars.exceptions = AbsentModule("polars.exceptions")  # type: ignore[attr-defined]
        sys.modules["polars"] = polars


def run_row(name: str, row: Row, out: Path, limit: float, step_seconds: float, *, is_tiny: bool) -> None:
    """Measure one row in this process."""
    stand_in_for_polars()
    figures = Figures(name, out / FIGURES)
    if name == "machine":
        measure_machine(figures)
    elif row.network:
        measure_network(row.network, figures, out, limit)
    else:
        measure_recipe(figures, out, limit, step_seconds, is_tiny=is_tiny)


def unpack_wheels(folder: Path) -> None:
    """Unpack the kit's wheels, without pip: all that they hold is what an import needs."""
    for wheel in sorted((KIT / "wheels").glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)


def run_all(names: Sequence[str], out: Path, seconds: float, *, is_tiny: bool) -> bool:
    """Run the rows one after the other within so many seconds; tell whether all of them came to their end."""
    started = time.monotonic()
    rows = TINY_ROWS if is_tiny else ROWS
    is_complete = True
    with tempfile.TemporaryDirectory(prefix="gpu-kit-") as scratch, (out / LOG).open("ab") as log:
        site = Path(scratch) / "site"
        unpack_wheels(site)
        paths = [str(KIT / "src"), str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONUNBUFFERED": "1",
            "KERAS_BACKEND": "jax",
            "KERAS_HOME": str(Path(scratch) / "keras"),
            "KAGGLE_ROOT": str(Path(scratch) / "kaggle"),
            # rows of one backbone begin alike, and a second run on a machine finds what the first one compiled
            "JAX_COMPILATION_CACHE_DIR": str(Path(tempfile.gettempdir()) / "gpu-kit-compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "TMPDIR": scratch,
            "MPLBACKEND": "agg",
            "TF_CPP_MIN_LOG_LEVEL": "2",  # or XLA's warnings while it compiles push a row's own lines out of sight
        }
        for name in names:
            left = seconds - CLOSING_SECONDS - (time.monotonic() - started)
            limit = min(rows[name].limit, left)
            if limit < (LEAST_RECIPE_SECONDS if name == "recipe" else 30):
                Figures(name, out / FIGURES).add("not begun", seconds_left=round(left))
                is_complete = False
                continue
            print(f"== {name}: at most {limit:.0f} s", flush=True)
            command = [sys.executable, str(KIT / "run_kit.py"), "--row", name, "--limit", f"{limit:.1f}"]
            command += ["--out", str(out), "--step-seconds", str(_fit_step_seconds(out)), *(["--tiny"] * is_tiny)]
            failed = _in_a_process(command, environment, log, limit)
            if failed:
                Figures(name, out / FIGURES).add("failed", why=failed)
                is_complete = False
                if name == "machine":
                    break
    return is_complete


def _in_a_process(command: Sequence[str], environment: Mapping[str, str], log: Any, limit: float) -> str:
    """Run one row with its output in the log; return why it failed, with its last lines, or nothing."""
    start = Path(log.name).stat().st_size
    try:
        done = subprocess.run(
            command, check=False, stdout=log, stderr=subprocess.STDOUT, env=environment, timeout=limit, cwd=KIT
        )
        why = f"exit code {done.returncode}" if done.returncode else ""
    except subprocess.TimeoutExpired:
        why = f"ended after its limit of {limit:.0f} s"
    if why:
        log.flush()
        with Path(log.name).open("rb") as file:
            file.seek(start)
            said = file.read().decode(errors="replace")
        why += ": " + " / ".join(said.splitlines()[-6:])
    return why


def _fit_step_seconds(out: Path) -> float:
    """Return the seconds of a step of the first fit with the generator, a guess where none was measured."""
    for figure in read_figures(out):
        if figure["figure"] == "fit, generator":
            return float(min(figure["ms_per_step"])) / 1000
    return 0.02


def read_figures(out: Path) -> list[dict[str, Any]]:
    """Return the figures that were written so far."""
    path = out / FIGURES
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def table(figures: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of a table of them."""
    yield "| row | figure | images/s | ms a step | |"
    yield "|---|---|---|---|---|"
    for figure in figures:
        values = dict(figure)
        row, name, _ = (values.pop(key) for key in ("row", "figure", "at"))
        rates, steps = (values.pop(key, []) for key in ("images_per_second", "ms_per_step"))
        shown = [
            " ".join(f"{value:.6g}" for value in measured) if isinstance(measured, list) else measured
            for measured in (rates, steps)
        ]
        yield f"| {row} | {name} | {shown[0]} | {shown[1]} | {json.dumps(values) if values else ''} |"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all rows, or one in this process; exit code 1 where a row failed or found no time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="the whole way with a small network, in minutes on a CPU")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", ".")), help="folder for the figures")
    parser.add_argument("--seconds", type=float, default=570, help="after which all ends (default: %(default)s)")
    parser.add_argument("--only", action="append", help="this row only; more than one may be named")
    for hidden in ("--row", "--limit", "--step-seconds"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    rows = TINY_ROWS if arguments.tiny else ROWS
    unknown = [name for name in arguments.only or [] if name not in rows]
    if unknown:
        parser.error(f"--only {unknown[0]}: expected {', '.join(rows)}")
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if arguments.row:
        limit, step_seconds = float(arguments.limit), float(arguments.step_seconds)
        run_row(arguments.row, rows[arguments.row], out, limit, step_seconds, is_tiny=arguments.tiny)
        return 0
    is_complete = run_all(arguments.only or list(rows), out, arguments.seconds, is_tiny=arguments.tiny)
    print("\n".join(table(read_figures(out))), flush=True)
    return 0 if is_complete else 1


if __name__ == "__main__":
    raise SystemExit(main())
