import os
import subprocess
import sys
from pathlib import Path

import pytest

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
