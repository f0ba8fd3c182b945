"""What a study's folds are worth together, and what is chosen on their answers, on test images that none has seen.

    PYTHONPATH=src .venv/bin/python -m benchmarks.ensemble DATA STUDY

DATA has the truth of its test images; STUDY is of one recipe. Each row is predicted by the command `multihead predict`,
without test-time copies; a gain is paired, with its 95 % interval by bootstrap over the images (scoring/paired.py).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bundler.kaggle.staging import stage_study
from multihead.config.ensemble import Combinations, Ensemble, read_ensemble, write_ensemble
from multihead.config.manifest import read_manifest
from multihead.config.task import Task
from multihead.scoring.evaluation import read_both
from multihead.scoring.metrics import task_score
from multihead.scoring.paired import DRAWS, INTERVAL, gains, paired_gain

Answers = Mapping[str, NDArray[np.int64]]


class Bench:
    """Predicts the test images of a competition with the members of a study's ensemble."""

    def __init__(self, data: Path, study: Path, folder: Path) -> None:
        self._data, self._study, self._folder = data, study, folder
        for name in ("weights", "working"):
            (folder / name).mkdir()
        stage_study(study, folder / "weights")
        self.ensemble = read_ensemble(study)
        self.names = list(self.ensemble.members)
        self.task: Task = read_manifest(study / self.names[0]).task
        self.truth: Answers = {}

    def exponents_of(self, name: str) -> dict[str, float]:
        """Return the prior exponents that a member's own hold-out chose."""
        return dict(read_manifest(self._study / name).prior_exponents)

    def predict(self, names: Sequence[str] = (), ensemble: Ensemble | None = None) -> Answers:
        """Return the answers of the mean of these members, each by its own exponents, or of an ensemble."""
        write_ensemble(self._folder / "weights", ensemble or self.ensemble, [])
        command = [sys.executable, "-m", "multihead", "predict", "--set", f"ensemble={json.dumps(list(names))}"]
        places = {"data": self._data, "weights": self._folder / "weights", "working": self._folder / "working"}
        for key, value in places.items():
            command += ["--set", f"{key}={value}"]
        subprocess.run(command, check=True, capture_output=True)
        graded = read_both(self._folder / "working" / "submission.csv", self._data, self.task)
        self.truth = graded.truth
        return graded.answers

    def say(self, name: str, answers: Answers, before: Answers | None = None) -> None:
        """Print the score of answers over the classes present, and what they gain over others."""
        score = task_score(self.truth, answers, self.task)
        gain = f"; gain {paired_gain(self.truth, before, answers, self.task)[0]}" if before else ""
        print(f"{name}: {score.name} {score.present_total:.4f} ± {score.standard_error:.4f}{gain}", flush=True)


def main() -> None:
    """Print a line for each way to predict."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("study", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        bench = Bench(arguments.data, arguments.study, Path(place))
        single = [bench.predict([name]) for name in bench.names]
        for name, answers in zip(bench.names, single, strict=True):
            bench.say(f"{name} alone", answers)
        averaged = bench.predict(bench.names)
        bench.say("averaged, each by the exponents of its own hold-out", averaged)
        print(f"  over the mean of one alone: {mean_gain(bench, single, averaged)}", flush=True)
        plain = replace(bench.ensemble, combinations=Combinations())
        out_of_fold = bench.predict(ensemble=plain)
        bench.say("averaged, by the exponents out of fold", out_of_fold, averaged)
        for name in bench.names:
            of_one = bench.predict(ensemble=replace(plain, prior_exponents=bench.exponents_of(name)))
            bench.say(f"  over those that the hold-out of {name} chose", out_of_fold, of_one)
        bench.say("and by train's combinations", bench.predict(), out_of_fold)


def mean_gain(bench: Bench, single: Sequence[Answers], averaged: Answers) -> str:
    """Return what averaged answers gain over the mean score of single ones, with its interval."""
    task, truth = bench.task, bench.truth
    gained = {
        head: (averaged[head] == truth[head]) - np.mean([answers[head] == truth[head] for answers in single], axis=0)
        for head in task.heads
    }
    weights = np.array([task.weight(head) for head in task.heads])
    images, rng = len(next(iter(truth.values()))), np.random.default_rng(0)

    def gain(times: NDArray[np.int64]) -> float:
        return float(np.average(gains(times, truth, gained, task), weights=weights))

    draws = [gain(np.bincount(rng.integers(0, images, images), minlength=images)) for _ in range(DRAWS)]
    low, high = np.percentile(draws, INTERVAL)
    return f"{gain(np.ones(images, np.int64)):+.4f} ({low:+.4f} to {high:+.4f})"


if __name__ == "__main__":
    main()
