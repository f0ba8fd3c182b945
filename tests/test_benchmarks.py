import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import accuracy
from multihead.config.settings_file import read_settings
from multihead.data.augment import try_steps
from tests.conftest import HOUSE


@pytest.mark.slow
def test_a_small_run_of_the_benchmarks_leaves_a_table(drawn: Path, tmp_path: Path) -> None:
    rows = ["shard", "crop", "batches", "start"]
    command = [sys.executable, "-m", "benchmarks.bench", "--data", str(drawn), "--rows", "40", "--out", "table.md"]
    only = [part for row in rows for part in ("--only", row)]
    paths = f"{HOUSE}:{HOUSE / 'src'}:{HOUSE / 'demo'}"
    subprocess.run([*command, *only], check=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": paths}, timeout=300)
    lines = [line for line in (tmp_path / "table.md").read_text().splitlines() if line.startswith("| ")]
    assert [line.count("|") for line in lines] == [6] * len(lines)
    assert len(lines) == 1 + 4 + 1 + 2 + 1


@pytest.mark.parametrize("task", accuracy.ROWS)
def test_the_settings_of_every_training_of_a_row_are_known(task: str) -> None:
    row = accuracy.ROWS[task]
    for training in row.trainings.values():
        for repeat in row.repeats:
            settings = read_settings(HOUSE / "kernel" / "train" / f"settings-{task}.toml", [repeat, *training])
            assert settings.task.name == task
            try_steps(settings.run.augmentation, (*settings.model.image_size, settings.task.image_shape[2]))
