"""The command line of the bundler, in copies of the repository."""

import json
import os
import shutil
import subprocess
import sys
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


def test_rehearsing_what_was_never_built_is_a_mistake(tmp_path: Path) -> None:
    done = run(clone(tmp_path / "clone"), "rehearse", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == f"error: {tmp_path / 'clone' / KERNELS[1]}: not built yet; run python build_kernel.py\n"


def test_a_module_that_kaggle_could_not_import_stops_the_build_with_nothing_written(tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone")
    module = folder / "src" / "multihead" / "metrics.py"
    module.write_text(module.read_text() + "\nimport flask\n")
    done = run(folder)
    assert done.returncode == 2
    assert "multihead/metrics.py, line" in done.stderr
    assert "flask is not in Kaggle's image" in done.stderr
    assert not (folder / KERNELS[0]).exists()


def test_settings_that_kaggle_would_trip_over_stop_the_build(tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone")
    (folder / "kernel" / "train" / "settings.toml").write_text("[run]\nepoch = 30\n")
    done = run(folder)
    assert done.returncode == 2
    assert "kernel/train/settings.toml: settings.toml: epoch is not known; one of" in done.stderr
    assert not list(folder.glob("kernel/*/*_kernel.py"))


def test_a_dry_run_takes_a_relative_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    seen: list[Path] = []

    def stop(name: str, data: Path, *rest: object, **options: object) -> None:
        seen.append(data)
        raise BundlerError("enough")

    monkeypatch.setattr(build_kernel, "build", lambda: None)
    monkeypatch.setattr(build_kernel, "rehearse_kernel", stop)
    assert main(["dry-run", "data"]) == 2
    assert seen == [tmp_path / "data"]


@pytest.mark.parametrize("arguments", [["stage", "nowhere"], ["--owner", "a/b"], ["dry-run", "nowhere"]])
def test_a_mistake_is_one_line_and_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert told.count("\n") == 1
