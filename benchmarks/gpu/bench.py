"""One network: its training step and its inference step alone, and as the project runs them."""

import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.data import lay_out_train_images, read_part
from benchmarks.gpu.figures import Figures
from benchmarks.gpu.rows import Network
from benchmarks.gpu.training import Training, prepare_training
from multihead.data.batches import TrainBatches
from multihead.data.crop import crop_resize
from multihead.prediction.predictor import predict_probabilities
from multihead.runtime.progress import Progress
from multihead.training.keras_io import KerasBatches
from multihead.training.trainer import Trainer

GENERATED_FIT = "fit, generated batches"
WARM_UP_STEPS = 5


def measure_network(network: Network, figures: Figures, kit: Path, *, is_tiny: bool) -> None:
    """Add the figures of one network, the most wanted first."""
    bench = NetworkBench(network, figures, kit, is_tiny=is_tiny)
    bench.compile_step()
    bare = bench.time_bare_step()
    bench.time_fit("fit, constant batch", bench.constant, bare)
    bench.time_fit(GENERATED_FIT, bench.generated, bare)
    bench.time_inference()


class ConstantBatches:
    """The first batch of TrainBatches in the place of each of them."""

    def __init__(self, batches: TrainBatches) -> None:
        self.images_until = batches.images_until
        self._batch = batches[0]

    def __getitem__(self, _: int) -> Any:
        return self._batch


class NetworkBench:
    """A Trainer's network, and the batches that it is fitted on: the kit's train crops, scaled to its size."""

    def __init__(self, network: Network, figures: Figures, kit: Path, *, is_tiny: bool) -> None:
        self._network, self._figures = network, figures
        started = time.perf_counter()
        training = prepare_training(kit, network, is_tiny=is_tiny)
        crops, labels = read_part(kit / "data", "train")
        folder = Path(tempfile.mkdtemp(prefix="bench-"))
        some = max(64, 2 * network.batch_size)  # the Trainer counts the files; the batches come from memory
        lay_out_train_images(folder, crops[:some], labels[:some])
        self._trainer = Trainer(*training, folder, folder)
        self._model = self._trainer.network
        self._crops = crop_resize(crops, (network.side, network.side), "none", training.task.dark_ink)
        self.generated = self._batches(training, {head: labels[head].to_numpy() for head in training.task.heads})
        self.constant: Any = ConstantBatches(self.generated)
        figures.add(
            "network",
            parameters=int(self._model.count_params()),
            side=network.side,
            batch_size=network.batch_size,
            precision=training.run.precision,
            xla=training.run.xla,
            jit_compile=bool(self._model.jit_compile),
            threads=KerasBatches(self.generated, range(1), [0.0]).workers,
            build_seconds=round(time.perf_counter() - started, 1),
        )

    def _batches(self, training: Training, labels: dict[str, NDArray[np.int64]]) -> TrainBatches:
        """Return an epoch's batches of all crops, repeated to as many as a fit takes."""
        rows = np.resize(np.arange(len(self._crops)), self._network.steps * self._network.batch_size)
        return TrainBatches(
            [self._crops],
            np.stack([np.zeros_like(rows), rows], axis=1),
            {head: indices[rows] for head, indices in labels.items()},
            {head: len(classes) for head, classes in training.task.heads.items()},
            training.run,
            dark_ink=training.task.dark_ink,
            epoch=0,
            shard=0,
        )

    def compile_step(self) -> None:
        """Add what the first fit takes, of two steps."""
        self._first("first fit, 2 steps", lambda: self._fit(self.constant, 2))

    def time_bare_step(self) -> float:
        """Time the jitted train step on one batch that lies on the device; return the seconds a step."""
        model = self._model
        state: Any = _copies(
            model.trainable_variables, model.non_trainable_variables, model.optimizer.variables, model.metrics_variables
        )
        batches = itertools.repeat(jax.device_put((*self.generated[0], np.full(1, 1e-4, np.float32))))

        return self._time_bare("bare train step", model.train_function, state, batches)

    def time_fit(self, figure: str, batches: Any, bare_seconds: float) -> None:
        """Time the Trainer's fit, its check for finite weights included, against the bare step."""
        self._timed(figure, lambda: self._fit(batches, self._network.steps), bare_seconds)

    def _fit(self, batches: Any, steps: int) -> None:
        """Fit as the Trainer does; weights that are not finite cost no more time than others."""
        try:
            with Progress("fit", steps * self._network.batch_size) as progress:
                self._trainer._fit(batches, range(steps), progress)
        except FloatingPointError as error:
            self._figures.add("not finite", error=str(error))

    def time_inference(self) -> None:
        """Time the jitted predict step on a batch that lies on the device, and predict_probabilities on all crops."""
        model, steps, batch_size = self._model, self._network.steps, self._network.batch_size
        self._first("first predict", lambda: predict_probabilities(model, self._crops[:batch_size], batch_size))
        state: Any = _copies(model.trainable_variables, model.non_trainable_variables)
        batches = itertools.repeat(jax.device_put((self._crops[:batch_size],)))

        bare = self._time_bare("bare predict step", model.predict_function, state, batches)
        images = self._crops[np.arange(steps * batch_size) % len(self._crops)]
        self._timed("predict", lambda: predict_probabilities(model, images, batch_size), bare)

    def _time_bare(self, figure: str, step: Callable[..., Any], state: Any, batches: Any) -> float:
        """Time a jitted step, which overwrites its state; return the seconds a step."""

        def take(steps: int) -> None:
            nonlocal state
            for _ in range(steps):
                made, state = step(state, batches)
            jax.block_until_ready((made, state))

        take(WARM_UP_STEPS)
        return self._timed(figure, lambda: take(self._network.steps))

    def _first(self, figure: str, work: Callable[[], Any]) -> None:
        started = time.perf_counter()
        work()
        self._figures.add(figure, seconds=round(time.perf_counter() - started, 2))

    def _timed(self, figure: str, work: Callable[[], Any], bare_seconds: float | None = None) -> float:
        steps = self._network.steps
        return self._figures.timed(figure, work, steps * self._network.batch_size, steps, bare_seconds)


def _copies(*variables: Any) -> tuple[list[Any], ...]:
    """Return copies of lists of a network's variables: a step overwrites its state."""
    return tuple([jax.numpy.array(variable.value, copy=True) for variable in listed] for listed in variables)
