import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from benchmarks import gpu_kit, gpu_kit_run
from benchmarks.bench import gpu_section
from multihead.config.settings import ModelSettings
from multihead.data.crop_store import read_crops
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
        "src/multihead/training/trainer.py",
        "data/train-0.png",
        "data/test.csv",
    } <= names
    assert not [name for name in names if "__pycache__" in name]
    assert sum(file.stat().st_size for file in kit.rglob("*") if file.is_file()) < 2_000_000


def test_the_sheets_of_a_kit_are_the_crops_with_their_labels(
    kit: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_kit_run, "KIT", kit)
    images, labels = gpu_kit_run.read_part("train")
    assert images.shape == (4 * 48, 64, 64, 1)
    table = read_labels(drawn, BENGALI)
    model = ModelSettings(image_size=(64, 64))
    (shard,), _ = read_crops(part_of(drawn / "train_image_data_1.parquet", BENGALI), BENGALI, [model], table)
    assert np.array_equal(images[48:96], shard.images)
    for head, of_shard in (shard.labels or {}).items():
        assert np.array_equal(labels[head][48:96], of_shard)


def test_a_kit_over_its_limit_is_refused(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_kit, "MAX_BYTES", 1000)
    monkeypatch.setattr(gpu_kit, "_write_part", lambda *_: None)
    (tmp_path / "wheels").mkdir()
    with pytest.raises(SystemExit, match="expected at most 1,000"):
        gpu_kit.lay_out_kit(tmp_path / "kit", drawn, tmp_path / "wheels")
    with pytest.raises(SystemExit, match="is not empty"):
        gpu_kit.lay_out_kit(tmp_path / "kit", drawn, tmp_path / "wheels")


def test_images_laid_out_as_files_are_the_crops(kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_kit_run, "KIT", kit)
    assert gpu_kit_run.lay_out_images(tmp_path / "data", train=5, test=2) == 5
    images, _ = gpu_kit_run.read_part("test")
    files = sorted((tmp_path / "data" / "test").iterdir())
    assert [file.stem for file in files] == ["Test_0", "Test_1"]
    assert np.array_equal(np.asarray(cv2.imread(str(files[0]), cv2.IMREAD_GRAYSCALE)), images[0, :, :, 0])
    sample = pd.read_csv(tmp_path / "data" / "sample_submission.csv")
    assert sample.row_id.tolist()[:3] == [f"Test_0_{head}" for head in sorted(BENGALI.heads)]


def test_a_row_that_fails_or_takes_too_long_leaves_its_last_lines(tmp_path: Path) -> None:
    with (tmp_path / "log.txt").open("ab") as log:
        for code, limit, expected in (
            ("raise SystemExit('no such device')", 60, "exit code 1: no such device"),
            ("print('compiling', flush=True)\nwhile True: pass", 1, "ended after its limit of 1 s: compiling"),
            ("print('done')", 60, ""),
        ):
            command = [sys.executable, "-S", "-c", code]
            assert gpu_kit_run._in_a_process(command, os.environ, log, limit) == expected


def test_a_new_run_of_the_other_benchmarks_keeps_what_was_measured_on_a_gpu(tmp_path: Path) -> None:
    results = tmp_path / "RESULTS.md"
    assert gpu_section(results) == ""
    results.write_text("# How fast\n\n| row |\n\n## On a GPU\n\n| figure |\n")
    assert gpu_section(results) == "\n## On a GPU\n\n| figure |\n"


@pytest.mark.slow
def test_the_tiny_run_of_a_kit_measures_every_row(kit: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed")
    command = [sys.executable, str(kit / "run_kit.py"), "--tiny", "--seconds", "1800", "--out", str(tmp_path)]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=1800, env=environment)
    assert done.returncode == 0, done.stdout
    figures = gpu_kit_run.read_figures(tmp_path)
    assert {figure["row"] for figure in figures} == set(gpu_kit_run.TINY_ROWS)
    assert not [figure for figure in figures if figure["figure"] in ("failed", "not begun", "not finite")]
    assert [figure["images"] for figure in figures if figure["figure"] == "test images"] == [12]
