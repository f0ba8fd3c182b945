import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from benchmarks import gpu_kit
from benchmarks.bench import gpu_section
from benchmarks.gpu import run
from benchmarks.gpu.data import crops_task, lay_out_train_images, read_part
from benchmarks.gpu.figures import Figures, read_figures, table
from benchmarks.gpu.rows import RECIPE, RECIPE_SECONDS, ROWS, TINY_ROWS
from multihead.config.model_settings import ModelSettings
from multihead.data.crop_store import read_crops
from multihead.data.datasets import images_to_train
from multihead.data.shards import read_shard
from tests.built_in import BENGALI
from tests.reading import part_of, read_labels


@pytest.fixture(scope="module")
def kit(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kit of a drawn competition, without the wheels that pip would download."""
    folder = tmp_path_factory.mktemp("kit")
    wheels = folder / "no wheels"
    wheels.mkdir()
    assert gpu_kit.main([str(folder / "kit"), "--data", str(drawn), "--wheels", str(wheels)]) == 0
    return folder / "kit"


def test_a_kit_is_small_and_holds_all_that_its_runner_reads(kit: Path) -> None:
    names = {file.relative_to(kit).as_posix() for file in kit.rglob("*") if file.is_file()}
    assert {
        "run_kit.py",
        "settings.toml",
        "benchmarks/gpu/run.py",
        "src/multihead/training/trainer.py",
        "data/train-0.png",
        "data/test.csv",
    } <= names
    assert not [name for name in names if "__pycache__" in name]
    assert sum(file.stat().st_size for file in kit.rglob("*") if file.is_file()) < 2_000_000


def test_the_sheets_of_a_kit_are_the_crops_with_their_labels(kit: Path, drawn: Path) -> None:
    images, labels = read_part(kit / "data", "train")
    assert images.shape == (4 * 48, 64, 64, 1)
    table = read_labels(drawn, BENGALI)
    model = ModelSettings(image_size=(64, 64))
    (shard,), _ = read_crops(part_of(drawn / "train_image_data_1.parquet", BENGALI), BENGALI, [model], table)
    assert labels.index[48:96].tolist() == list(shard.ids)
    assert np.array_equal(images[48:96], shard.images)
    for head, of_shard in (shard.labels or {}).items():
        assert np.array_equal(labels[head][48:96], of_shard)


def test_a_kit_over_its_limit_is_refused(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_kit, "MAX_BYTES", 1000)
    monkeypatch.setattr(gpu_kit, "_write_crops", lambda *_: None)
    (tmp_path / "wheels").mkdir()
    with pytest.raises(SystemExit, match="expected at most 1,000"):
        gpu_kit.lay_out_kit(tmp_path / "kit", drawn, tmp_path / "wheels")
    with pytest.raises(SystemExit, match="is not empty"):
        gpu_kit.lay_out_kit(tmp_path / "kit", drawn, tmp_path / "wheels")


def test_images_laid_out_as_files_are_the_crops_with_their_classes_in_their_paths(kit: Path, tmp_path: Path) -> None:
    crops, labels = read_part(kit / "data", "train")
    lay_out_train_images(tmp_path, crops[:20], labels[:20])
    found = images_to_train(tmp_path, crops_task())
    shard = read_shard(found.parts[0], (64, 64, 1), found.labels)
    rows = labels.index[:20].get_indexer(pd.Index(shard.ids))
    assert sorted(rows) == list(range(20))
    assert np.array_equal(shard.images, crops[rows])
    for head, indices in (shard.labels or {}).items():
        assert np.array_equal(indices, labels[head].iloc[rows])


def test_a_row_that_fails_or_takes_too_long_leaves_its_last_lines(tmp_path: Path) -> None:
    for code, limit, expected in (
        ("raise SystemExit('no such device')", 60, "exit code 1: no such device"),
        ("print('compiling', flush=True)\nwhile True: pass", 1, "ended after its limit of 1 s: compiling"),
        ("print('done')", 60, ""),
    ):
        command = [sys.executable, "-S", "-c", code]
        assert run.run_process(command, os.environ, tmp_path / "log.txt", limit) == expected


def limits_of_rows(seconds: float, out: Path, monkeypatch: pytest.MonkeyPatch, *, takes_all: bool) -> dict[str, float]:
    """Return the limits of the rows that are begun, each of which takes all of it, or no time."""
    limits: dict[str, float] = {}
    now = 0.0

    def run_process(command: list[str], _: object, __: Path, limit: float) -> str:
        nonlocal now
        limits[command[command.index("--row") + 1]] = limit
        now += limit * takes_all
        return ""

    monkeypatch.setattr(run, "run_process", run_process)
    monkeypatch.setattr(run, "time", SimpleNamespace(monotonic=lambda: now))
    run.run_all(list(ROWS), out, seconds, is_tiny=False)
    return limits


@pytest.mark.parametrize("takes_all", [True, False])
def test_the_other_rows_leave_the_recipe_its_time_and_all_end_in_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, takes_all: bool
) -> None:
    limits = limits_of_rows(480, tmp_path, monkeypatch, takes_all=takes_all)
    assert limits[RECIPE] >= RECIPE_SECONDS
    assert not takes_all or sum(limits.values()) < 480
    assert all(ROWS[name].least <= limits[name] <= ROWS[name].limit for name in limits)
    not_begun = {figure["row"] for figure in read_figures(tmp_path) if figure["figure"] == "not begun"}
    assert not_begun == set(ROWS) - set(limits)
    assert bool(not_begun) == takes_all


def test_figures_are_read_as_they_were_written_and_shown_in_a_table(tmp_path: Path) -> None:
    figures = Figures("some row", tmp_path)
    assert figures.timed("fit", lambda: None, images=8, steps=2, bare_seconds=0.0) > 0
    figures.add("device memory", peak_gb=1.5)
    fit, memory = read_figures(tmp_path)
    assert (fit["device_waits"], fit["steps"], len(fit["ms_per_step"])) == (1.0, 2, 3)
    assert memory["peak_gb"] == 1.5
    last = list(table([fit, memory]))[-1]
    assert last == f"| some row | device memory |  |  | {json.dumps({'peak_gb': 1.5})} |"


def test_a_new_run_of_the_other_benchmarks_keeps_what_was_measured_on_a_gpu(tmp_path: Path) -> None:
    results = tmp_path / "RESULTS.md"
    assert gpu_section(results) == ""
    results.write_text("# How fast\n\n| row |\n\n## On a GPU\n\n| figure |\n")
    assert gpu_section(results) == "\n## On a GPU\n\n| figure |\n"


def test_a_folder_without_images_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match=r"error: .*train"):
        gpu_kit.main([str(tmp_path / "kit"), "--data", str(tmp_path / "empty")])
    assert not list((tmp_path / "kit").iterdir())


@pytest.mark.slow
def test_the_tiny_run_of_a_kit_measures_every_row(kit: Path, tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    absent.mkdir()
    (absent / "polars.py").write_text("raise ImportError('a machine with a GPU has none')\n")
    environment = os.environ | {
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": str(absent),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # compiling takes most of the time
    }
    command = [sys.executable, str(kit / "run_kit.py"), "--tiny", "--seconds", "1800", "--out", str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=1800, env=environment)
    assert done.returncode == 0, done.stdout
    figures = read_figures(tmp_path)
    assert {figure["row"] for figure in figures} == set(TINY_ROWS)
    assert not [figure for figure in figures if figure["figure"] in ("failed", "not begun", "not finite")]
    assert [figure["images"] for figure in figures if figure["figure"] == "test images"] == [12]
