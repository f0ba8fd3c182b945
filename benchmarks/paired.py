"""Is one answer to the same images better than another? The gain in R over the classes present, with a 95 % interval by
paired bootstrap.

    PYTHONPATH=src python -m benchmarks.paired DATA SUBMISSION OTHER

DATA is a competition's folder with the truth of its test images: what SUBMISSION gains over OTHER is printed.

B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multihead.config.task import TASKS
from multihead.runtime.errors import UserError
from multihead.scoring.evaluation import read_both
from multihead.scoring.metrics import task_score

RESAMPLES = 1000

Truth = Mapping[str, NDArray[np.int64]]  # class indices of each head, or what was answered in their place


def main() -> None:
    """Compare two submissions; a mistake is one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a competition's folder")
    parser.add_argument("submission", type=Path)
    parser.add_argument("other", type=Path, help="the submission that it is compared with")
    arguments = parser.parse_args()
    try:
        answers, true = read_both(arguments.submission, arguments.data, TASKS["bengali"])
        answers_before, _ = read_both(arguments.other, arguments.data, TASKS["bengali"])
    except UserError as error:
        raise SystemExit(f"error: {error}") from error
    tables = (true, answers_before, answers)
    truth, before, after = ({head: table[head].to_numpy() for head in TASKS["bengali"].heads} for table in tables)
    gain = gain_in_words(truth, before, after)
    print(f"R over the classes present = {total(truth, after):.4f}, {gain} over {total(truth, before):.4f}")


def gain_in_words(truth: Truth, before: Truth, after: Truth) -> str:
    """Return the gain, and its interval in brackets."""
    low, gain, high = gain_interval(truth, before, after)
    return f"{gain:+.4f} ({low:+.4f} to {high:+.4f})"


def total(truth: Truth, answers: Truth, rows: Any = slice(None)) -> float:
    """Return R over the classes present in some of the rows: resamples lack now one, now another."""
    parts = [{head: classes[head][rows] for head in TASKS["bengali"].heads} for classes in (truth, answers)]
    return task_score(parts[0], parts[1], TASKS["bengali"]).present_total


def gain_interval(truth: Truth, before: Truth, after: Truth) -> tuple[float, float, float]:
    """Return the 2.5th percentile of R after less R before over resamples of the images, the gain, the 97.5th."""
    rng = np.random.default_rng(0)
    images = len(next(iter(truth.values())))
    gains = []
    for _ in range(RESAMPLES):
        rows = rng.integers(0, images, images)
        gains.append(total(truth, after, rows) - total(truth, before, rows))
    low, high = np.percentile(gains, [2.5, 97.5]).tolist()
    return low, total(truth, after) - total(truth, before), high


if __name__ == "__main__":
    main()
