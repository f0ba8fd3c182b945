import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from bundler.errors import BundlerError
from bundler.kaggle.staging import stage, stage_study
from multihead.config.ensemble import Ensemble, read_ensemble, write_ensemble
from multihead.config.files import ENSEMBLE_FILE, MANIFEST_FILE, WEIGHTS_FILE, named
from multihead.runtime.errors import UserError
from tests.built_in import BENGALI


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    folder = tmp_path / "trained"
    folder.mkdir()
    (folder / WEIGHTS_FILE).write_bytes(b"weights")
    manifest = {
        "model": {"backbone": "narrow"},
        "epoch": 3,
        "score": {"name": "R", "total": 0.5},
        "device": "Tesla T4",
        "images_per_second": 3141.6,
        "sha256": hashlib.sha256(b"weights").hexdigest(),
    }
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
    (folder / "multihead-train.log").write_text("what kaggle kernels output adds")
    (folder / "report").mkdir()
    (folder / "report" / "index.html").write_text("pictures of the competition's data")
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "dataset_meta"
    folder.mkdir()
    (folder / WEIGHTS_FILE).write_bytes(b"earlier")
    return folder


def test_weights_and_manifest_go_into_the_dataset_and_nothing_else(trained: Path, dataset: Path) -> None:
    assert stage(trained, dataset) == "narrow, epoch 3, validation R 0.5000, 3,142 images/s on Tesla T4"
    assert sorted(f.name for f in dataset.iterdir()) == [MANIFEST_FILE, WEIGHTS_FILE]
    assert (dataset / WEIGHTS_FILE).read_bytes() == b"weights"


def change(folder: Path, *without: str, **values: object) -> None:
    """Change the manifest's keys, or leave some out."""
    manifest = json.loads((folder / MANIFEST_FILE).read_text()) | values
    (folder / MANIFEST_FILE).write_text(
        json.dumps({key: value for key, value in manifest.items() if key not in without})
    )


def test_the_limits_of_the_task_as_it_is_now_go_into_the_manifest(trained: Path, dataset: Path) -> None:
    change(trained, task={"name": "leaves", "has_hidden_test": True, "train_files": "a/*"})
    task = replace(BENGALI, name="leaves", has_hidden_test=False, hidden_images=0, gpu_minutes=540, cpu_minutes=720)
    stage(trained, dataset, own=task)
    staged = json.loads((dataset / MANIFEST_FILE).read_text())["task"]
    assert staged == {
        **{"name": "leaves", "has_hidden_test": False, "train_files": "a/*"},
        **{"hidden_images": 0, "gpu_minutes": 540, "cpu_minutes": 720, "submission_file": "submission.csv"},
    }
    stage(trained, dataset, own=replace(task, name="others"))
    assert (dataset / MANIFEST_FILE).read_bytes() == (trained / MANIFEST_FILE).read_bytes()


def test_the_limits_of_a_task_that_is_built_in_are_those_of_this_version(trained: Path, dataset: Path) -> None:
    change(trained, task={"name": "bengali", "gpu_minutes": 1})
    stage(trained, dataset)
    assert json.loads((dataset / MANIFEST_FILE).read_text())["task"]["gpu_minutes"] == BENGALI.gpu_minutes


def test_weights_that_no_image_was_held_out_for_have_no_score(trained: Path, dataset: Path) -> None:
    change(trained, score=None, images_per_second=None)
    assert stage(trained, dataset) == "narrow, epoch 3, no validation score"
    change(trained, "score", "images_per_second", "device")
    assert stage(trained, dataset) == "narrow, epoch 3, no validation score"
    change(trained, images_per_second=31.4)
    assert stage(trained, dataset) == "narrow, epoch 3, no validation score, 31 images/s"


@pytest.mark.parametrize("key", ["model", "epoch", "sha256"])
def test_a_key_that_a_manifest_lacks_is_named(trained: Path, dataset: Path, key: str) -> None:
    change(trained, key)
    with pytest.raises(BundlerError, match=rf"^{trained / MANIFEST_FILE}: not a manifest of weights: no {key}$"):
        stage(trained, dataset)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (WEIGHTS_FILE, b"weight", "not the file that manifest.json tells of; download both again"),
        (WEIGHTS_FILE, None, "No such file.*expected what build_kernel.py pull train brings"),
        (MANIFEST_FILE, None, "No such file.*expected what build_kernel.py pull train brings"),
        (MANIFEST_FILE, b"{}", "not a manifest of weights"),
        (MANIFEST_FILE, b"[1]", "not a manifest of weights"),
    ],
)
def test_what_does_not_belong_together_leaves_the_dataset_as_it_was(
    trained: Path, dataset: Path, name: str, content: bytes | None, message: str
) -> None:
    (trained / name).unlink()
    if content is not None:
        (trained / name).write_bytes(content)
    with pytest.raises(BundlerError, match=message):
        stage(trained, dataset)
    assert [f.name for f in dataset.iterdir()] == [WEIGHTS_FILE]
    assert (dataset / WEIGHTS_FILE).read_bytes() == b"earlier"


def test_weights_of_an_ensemble_are_staged_under_their_name(trained: Path, tmp_path: Path) -> None:
    dataset = tmp_path / "dataset"
    dataset.mkdir()
    stage(trained, dataset, "b1-fold0")
    stage(trained, dataset)
    assert sorted(f.name for f in dataset.iterdir()) == sorted(
        [
            MANIFEST_FILE,
            WEIGHTS_FILE,
            named(MANIFEST_FILE, "b1-fold0"),
            named(WEIGHTS_FILE, "b1-fold0"),
        ]
    )
    with pytest.raises(BundlerError, match="--name a/b: expected letters"):
        stage(trained, dataset, "a/b")


def leave_study(folder: Path, trained: Path, members: dict[str, float]) -> Path:
    for name in members:
        (folder / name).mkdir(parents=True)
        for file in (WEIGHTS_FILE, MANIFEST_FILE):
            (folder / name / file).write_bytes((trained / file).read_bytes())
    heads = dict.fromkeys(BENGALI.heads, 1.0)
    write_ensemble(folder, Ensemble(members, heads, heads), [])
    return folder


def test_a_study_is_staged_as_the_weights_of_its_ensemble_and_how_much_each_counts(
    trained: Path, dataset: Path, tmp_path: Path
) -> None:
    study = leave_study(tmp_path / "study", trained, {"b1-fold0-seed0": 0.75, "b1-fold1-seed0": 0.25})
    (study / "b3-fold0-seed0").mkdir()  # which the ensemble leaves out
    words = stage_study(study, dataset)
    assert words.splitlines() == [
        f"b1-fold{fold}-seed0: {share} of narrow, epoch 3, validation R 0.5000, 3,142 images/s on Tesla T4"
        for fold, share in ((0, "0.75"), (1, "0.25"))
    ]
    names = [named(file, name) for name in read_ensemble(study).members for file in (WEIGHTS_FILE, MANIFEST_FILE)]
    assert sorted(f.name for f in dataset.iterdir()) == sorted([*names, ENSEMBLE_FILE, WEIGHTS_FILE])
    assert read_ensemble(dataset) == read_ensemble(study)
    with pytest.raises(BundlerError, match=r"ensemble\.toml: predicting follows it, and not weights without a name"):
        stage(trained, dataset)
    stage(trained, dataset, "other")


def test_a_study_of_which_something_is_missing_leaves_the_dataset_as_it_was(
    trained: Path, dataset: Path, tmp_path: Path
) -> None:
    study = leave_study(tmp_path / "study", trained, {"b1-fold0-seed0": 0.5, "b1-fold1-seed0": 0.5})
    (study / "b1-fold1-seed0" / WEIGHTS_FILE).write_bytes(b"weight")
    with pytest.raises(BundlerError, match=r"not the file that manifest\.json tells of"):
        stage_study(study, dataset)
    heads = dict.fromkeys(BENGALI.heads, 1.0)
    write_ensemble(study, Ensemble({"../b1": 1.0}, heads, heads), [])
    with pytest.raises(BundlerError, match="is no name of weights"):
        stage_study(study, dataset)
    (study / ENSEMBLE_FILE).write_text("[members")
    with pytest.raises(UserError, match=r"ensemble\.toml: not TOML"):
        stage_study(study, dataset)
    assert [f.name for f in dataset.iterdir()] == [WEIGHTS_FILE]
