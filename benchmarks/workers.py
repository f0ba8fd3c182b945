"""Predicting by two processes against one: time, rows per second, peak memory, and whether the submission is the same.

    PYTHONPATH=src:demo .venv/bin/python -m benchmarks.workers DATA WEIGHTS [--rows 4000] [--few 300]

DATA is a competition's folder of bengali, whose train images are repeated; WEIGHTS what a training left. Each of four
test files has --rows rows; for the memory four and 64 files have --few. Without a GPU every process has one thread.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.material import read_images, write_test_set
from bundler.rehearse.process_memory import TreeMemory
from multihead.config import visible_gpus, with_threads

SECONDS_BETWEEN_SAMPLES = 0.2


class Run(NamedTuple):
    """A prediction: its seconds, the peak memory of its processes in bytes, and the submission's SHA-256."""

    seconds: float
    peak: int
    sha256: str


def main() -> None:
    """Print a line for each prediction."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--few", type=int, default=300)
    arguments = parser.parse_args()
    images = read_images(arguments.data)[:6000]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "working").mkdir()
        for files, rows in ((4, arguments.rows), (4, arguments.few), (64, arguments.few)):
            data = folder / f"{files} files of {rows} rows"
            write_test_set(data, images, files, rows)
            for workers in (1, 2):
                run = predict(data, arguments.weights, folder / "working", workers)
                speed = f"{run.seconds:.1f} s, {files * rows / run.seconds:.0f} rows/s"
                print(
                    f"{data.name}, workers = {workers}: {speed}, {run.peak / 1e9:.3f} GB, {run.sha256[:16]}", flush=True
                )


def predict(data: Path, weights: Path, working: Path, workers: int) -> Run:
    """Predict in a process of its own, and return what it took."""
    command = [sys.executable, "-m", "multihead", "predict", "--set", f"workers={workers}"]
    for key, value in (("data", data), ("weights", weights), ("working", working)):
        command += ["--set", f"{key}={value}"]
    threads = {} if visible_gpus() else with_threads(1)
    begun = time.monotonic()
    with subprocess.Popen(
        command, env=os.environ | threads, stderr=subprocess.STDOUT, stdout=subprocess.PIPE
    ) as process:
        memory = TreeMemory(process.pid)
        while True:
            memory.sample()
            try:
                said = process.communicate(timeout=SECONDS_BETWEEN_SAMPLES)[0]
                break
            except subprocess.TimeoutExpired:
                continue
    seconds = time.monotonic() - begun
    if process.returncode:
        raise SystemExit(said.decode(errors="replace"))
    submission = (working / "submission.csv").read_bytes()
    return Run(seconds, memory.peak, hashlib.sha256(submission).hexdigest())


if __name__ == "__main__":
    main()
