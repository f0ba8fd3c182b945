"""What a study costs beyond the trainings in it: CPU-seconds of a study of two folds against the same two trainings.

    PYTHONPATH=src .venv/bin/python -m benchmarks.study_cost DATA --settings FILE [--set KEY=VALUE]

runs both three times in turns, with one thread a training: `multihead cross-validate --folds 2`, which builds the
script, trains both folds and joins them; and `multihead train` twice, with half of the images held out.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from multihead.config import with_threads

RUNS = 3


def main() -> None:
    """Print a line for each turn, and the median of the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--settings", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[])
    arguments = parser.parse_args()
    own = ["--settings", str(arguments.settings), *(word for item in arguments.set for word in ("--set", item))]
    ratios = []
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory() as place:
            command = ["multihead_study", "cross-validate", str(arguments.data), "--out", f"{place}/study"]
            study = seconds([*command, "--folds", "2", "--threads", "1", *own])
            trainings = 0.0
            for seed in range(2):
                working = Path(place) / str(seed)
                working.mkdir()
                places = [f"data={arguments.data}", f"working={working}", "validation_share=0.5", f"seed={seed}"]
                trainings += seconds(["multihead", "train", *own, *(w for item in places for w in ("--set", item))])
        ratios.append(study / trainings)
        print(f"study {study:.1f} s, two trainings {trainings:.1f} s: {ratios[-1]:.3f}", flush=True)
    print(f"median {statistics.median(ratios):.3f}")


def seconds(command: Sequence[str]) -> float:
    """Run a module with its arguments; return the CPU-seconds of its process and all below it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | with_threads(1)
    subprocess.run([sys.executable, "-m", *command], env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
