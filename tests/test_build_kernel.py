"""The command line of the bundler, in copies of the repository."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path

import pytest

import build_kernel
from build_kernel import main
from bundler.errors import BundlerError
from tests.conftest import HOUSE

KERNELS = ("kernel/train/train_kernel.py", "kernel/predict/predict_kernel.py")


def clone(folder: Path) -> Path:
    """Copy what building needs, as a fresh clone has it."""
    for part in ("src", "bundler", "kernel", "dataset_meta"):
        ignore = shutil.ignore_patterns("__pycache__", "*_kernel.py", "*.h5", "manifest.json")
        shutil.copytree(HOUSE / part, folder / part, ignore=ignore)
    shutil.copy(HOUSE / "build_kernel.py", folder)
    return folder


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(folder / "build_kernel.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_two_clones_build_the_same_bytes(tmp_path: Path) -> None:
    clones = [clone(tmp_path / name) for name in ("one", "another")]
    for age, path in enumerate(sorted(clones[1].rglob("*"))):
        os.utime(path, (1e9 + age, 1e9 + age))
    for folder in clones:
        assert run(folder).returncode == 0
    for name in KERNELS:
        built = [(folder / name).read_bytes() for folder in clones]
        assert built[0] == built[1]
        assert len(built[0]) < 1_000_000


def test_the_owner_is_written_into_all_metadata(tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone")
    done = run(folder, "--owner", "some-body")
    assert done.returncode == 0
    texts = [f.read_text() for f in folder.rglob("*-metadata.json")]
    assert len(texts) == 3
    assert not any("OWNER" in text for text in texts)
    assert sum(text.count('"some-body/') for text in texts) == 4
    assert all(json.loads(text) for text in texts)


def test_a_rehearsal_is_of_what_the_sources_say_now(tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone")
    assert run(folder).returncode == 0
    (folder / "kernel" / "predict" / "settings.toml").write_text("[run]\nbatch_sise = 256\n")
    done = run(folder, "rehearse", str(tmp_path))
    assert done.returncode == 2
    assert "batch_sise is not known" in done.stderr


def test_a_folder_without_a_competition_is_a_mistake_before_anything_is_emptied(tmp_path: Path) -> None:
    folder, out = clone(tmp_path / "clone"), tmp_path / "out"
    (out / "working").mkdir(parents=True)
    (out / ".rehearsal").touch()
    done = run(folder, "rehearse", str(tmp_path), "--weights", str(tmp_path), "--out", str(out))
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {tmp_path}: not a competition's folder, it holds no sample_submission.csv or no parquet files\n"
    )
    assert (out / "working").is_dir()


def test_a_module_that_kaggle_could_not_import_stops_the_build_with_nothing_written(tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone")
    module = folder / "src" / "multihead" / "metrics.py"
    module.write_text(module.read_text() + "\nimport onnxruntime\n")
    done = run(folder)
    assert done.returncode == 2
    assert "multihead/metrics.py, line" in done.stderr
    assert "onnxruntime is not in Kaggle's image" in done.stderr
    assert not (folder / KERNELS[0]).exists()


def test_settings_that_kaggle_would_trip_over_stop_the_build(tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone")
    (folder / "kernel" / "train" / "settings.toml").write_text("[run]\nepoch = 30\n")
    done = run(folder)
    assert done.returncode == 2
    assert "kernel/train/settings.toml: epoch is not known; one of" in done.stderr
    assert not list(folder.glob("kernel/*/*_kernel.py"))


def test_the_check_prints_each_finding_and_the_build_refuses_them_together(tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone")
    done = run(folder, "check")
    assert (done.returncode, done.stdout.splitlines()[0], done.stderr) == (0, "nothing to report", "")
    assert "  before push train: kernel/train/kernel-metadata.json: id = " in done.stdout
    for name in ("train", "predict"):
        path = folder / "kernel" / name / "kernel-metadata.json"
        path.write_text(path.read_text().replace('"enable_internet": false', '"enable_internet": true'))
    done = run(folder, "check")
    findings = done.stdout.splitlines()
    assert (done.returncode, len(findings), done.stderr) == (1, 2, "")
    assert all("kernel-metadata.json: enable_internet = true: expected false" in finding for finding in findings)
    done = run(folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == ["error: 2 things that Kaggle would not take:", *(f"  {f}" for f in findings)]
    assert not list(folder.glob("kernel/*/*_kernel.py"))


def test_the_age_of_the_image_is_told_and_changes_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build_kernel, "HOUSE", clone(tmp_path / "clone"))
    built = []
    for year, told in ((2026, "Kaggle's image as listed "), (2036, "warning: Kaggle's image as listed ")):
        day = type("Day", (date,), {"today": classmethod(lambda _, of=year: date(of, 8, 1))})
        monkeypatch.setattr(build_kernel, "date", day)
        assert main([]) == 0
        assert capsys.readouterr().out.splitlines()[-1].startswith(told)
        built.append([(build_kernel.HOUSE / name).read_bytes() for name in KERNELS])
    assert built[0] == built[1]


def test_the_image_is_refreshed_from_a_listing(tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone")
    (tmp_path / "freeze.txt").write_text("numpy==3.0.0\n")
    done = run(folder, "refresh-image", str(tmp_path / "freeze.txt"), "--date", "2027-01-02", "--python", "3.13")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "bundler/kaggle_image.toml: 3 import names of 3 distributions, listed on 2027-01-02\n"
    image = tomllib.loads((folder / "bundler" / "kaggle_image.toml").read_text())
    assert (image["listed"], image["python"]) == (date(2027, 1, 2), "3.13")
    assert image["imports"]["numpy"] == ["numpy", "3.0.0"]


def test_a_dry_run_takes_a_relative_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    for name in ("sample_submission.csv", "a.parquet"):
        (tmp_path / "data" / name).touch()
    monkeypatch.chdir(tmp_path)
    seen: list[Path] = []

    def stop(name: str, data: Path, *rest: object, **options: object) -> None:
        seen.append(data)
        raise BundlerError("enough")

    monkeypatch.setattr(build_kernel, "build", lambda: None)
    monkeypatch.setattr(build_kernel, "rehearse_kernel", stop)
    assert main(["dry-run", "data"]) == 2
    assert seen == [tmp_path / "data"]


def test_a_dry_run_has_a_dataset_for_a_train_kernel_that_starts_from_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sample_submission.csv", "a.parquet"):
        (tmp_path / name).touch()

    def stop(name: str, data: Path, weights: Path, *rest: object, **options: object) -> None:
        assert (name, weights.is_dir()) == ("train", True)
        raise BundlerError("enough")

    monkeypatch.setattr(build_kernel, "DRY_RUN", tmp_path / "dry-run")
    monkeypatch.setattr(build_kernel, "build", lambda: None)
    monkeypatch.setattr(build_kernel, "rehearse_kernel", stop)
    assert main(["dry-run", str(tmp_path)]) == 2


def test_a_rehearsal_takes_other_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sample_submission.csv", "a.parquet"):
        (tmp_path / name).touch()
    seen: list[list[str]] = []

    def stop(script: Path, inputs: object, out: Path, mounts: str, arguments: list[str]) -> None:
        seen.append(arguments)
        raise BundlerError("enough")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(build_kernel, "build", lambda: None)
    monkeypatch.setattr(build_kernel, "rehearse", stop)
    assert main(["rehearse", str(tmp_path), "--kernel", "train", "--settings", "mine.toml", "--set", "epochs=1"]) == 2
    assert seen == [["--settings", str(tmp_path / "mine.toml"), *build_kernel.AT_HOME, "--set", "epochs=1"]]


@pytest.mark.parametrize(
    "arguments",
    [
        ["stage", "nowhere"],
        ["--owner", "a/b"],
        ["--owner", ""],
        ["dry-run", "nowhere"],
        ["dry-run", "src"],
        ["refresh-image", "nowhere"],
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert told.count("\n") == 1
