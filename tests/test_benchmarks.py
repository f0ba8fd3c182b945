import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.score import gain_interval, total
from multihead.tasks import BENGALI
from tests.conftest import HOUSE


@pytest.mark.slow
def test_a_small_run_of_the_benchmarks_leaves_a_table(drawn: Path, tmp_path: Path) -> None:
    rows = ["shard", "crop", "batches", "start"]
    command = [sys.executable, "-m", "benchmarks.bench", "--data", str(drawn), "--rows", "40", "--out", "table.md"]
    only = [part for row in rows for part in ("--only", row)]
    paths = f"{HOUSE}:{HOUSE / 'src'}"
    subprocess.run([*command, *only], check=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": paths}, timeout=300)
    lines = [line for line in (tmp_path / "table.md").read_text().splitlines() if line.startswith("| ")]
    assert [line.count("|") for line in lines] == [6] * len(lines)
    assert len(lines) == 1 + 4 + 1 + 2 + 1


def test_the_gain_of_a_better_answer_has_an_interval_above_zero() -> None:
    rng = np.random.default_rng(0)
    truth = {head: rng.integers(0, len(classes), 3000) for head, classes in BENGALI.heads.items()}

    def answers(wrong: float) -> dict[str, np.ndarray]:
        is_wrong = rng.random(3000) < wrong
        return {head: np.where(is_wrong, 0, of) for head, of in truth.items()}

    worse, better = answers(0.3), answers(0.2)
    low, gain, high = gain_interval(truth, worse, better)
    assert 0 < low < gain < high
    assert gain == pytest.approx(total(truth, better) - total(truth, worse))
    assert gain_interval(truth, better, better) == (0, 0, 0)
    low, _, high = gain_interval(truth, answers(0.2), better)
    assert low < 0 < high
