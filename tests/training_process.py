"""A training in a process of its own, which can be killed, for tests."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from multihead.config.files import CHECKPOINT_FILE, WEIGHTS_FILE
from multihead.training.checkpoint import read_checkpoint
from tests.conftest import HOUSE

SETTINGS = """
[model]
backbone = "stack"
stack_layers = ["conv 8", "norm", "pool 4", "conv 16", "norm", "pool 4", "dense 16"]
image_size = [32, 32]
dropout = 0.2
[run]
epochs = 3
batch_size = 16
validation_share = 0.2
learning_rate = 3e-3
gradient_accumulation = 2
deterministic = true
balanced_share = 0.5
fmix_share = 0.25
cutmix_box = "image"
"""


class Training:
    """A train process of the package in place, with a folder as its /kaggle.

    backend: of Keras.
    """

    def __init__(self, root: Path, data: Path, mounted: Path | None = None, backend: str = "tensorflow") -> None:
        self.root, self.working, self.backend = root, root / "working", backend
        if not root.exists():
            self.working.mkdir(parents=True)
            (root / "input").mkdir()
            (root / "input" / "bengaliai-cv19").symlink_to(data)
            if mounted:
                (root / "input" / "multihead-train").symlink_to(mounted)
            (root / "settings.toml").write_text(SETTINGS)

    def start(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "multihead", "train", "--settings", str(self.root / "settings.toml")]
        environment = os.environ | {
            "KAGGLE_ROOT": str(self.root),
            "PYTHONPATH": str(HOUSE / "src"),
            "KERAS_BACKEND": self.backend,
        }
        with (self.root / "log.txt").open("wb") as log:
            return subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)

    def run_to_the_end(self) -> str:
        assert self.start().wait(timeout=200) == 0, self.read_log()
        return self.read_log()

    def kill_when(self, is_time: Callable[[], bool]) -> bool:
        """Start, kill once `is_time`, and return whether it was killed before it ended by itself."""
        process = self.start()
        while not is_time():
            if process.poll() is not None:
                assert process.returncode == 0, self.read_log()
                return False
            time.sleep(0.0005)
        process.kill()
        process.wait()
        return True

    def read_log(self) -> str:
        return (self.root / "log.txt").read_text()

    def is_reading(self) -> bool:
        return "read and cropped" in self.read_log()

    def is_saving(self) -> bool:
        return (self.working / f"new-{CHECKPOINT_FILE}").exists() or (self.working / f"new-{WEIGHTS_FILE}").exists()

    def is_fitting(self, seconds: float) -> Callable[[], bool]:
        """A moment some time after the next checkpoint."""
        before = self._checkpoint_time()
        started: list[float] = []

        def is_time() -> bool:
            if not started and self._checkpoint_time() != before:
                started.append(time.monotonic())
            return bool(started) and time.monotonic() - started[0] > seconds

        return is_time

    def _checkpoint_time(self) -> int:
        path = self.working / CHECKPOINT_FILE
        return path.stat().st_mtime_ns if path.exists() else 0


def assert_same_end(first: Path, second: Path) -> None:
    assert (first / WEIGHTS_FILE).read_bytes() == (second / WEIGHTS_FILE).read_bytes()
    ends = [read_checkpoint(folder / CHECKPOINT_FILE) for folder in (first, second)]
    for one, other in zip(ends[0].read_arrays(), ends[1].read_arrays(), strict=True):
        assert np.array_equal(one, other)
    measured = ("images_per_second", "memory_gb")
    histories = [[{k: v for k, v in row.items() if k not in measured} for row in end.state.history] for end in ends]
    assert histories[0] == histories[1]
