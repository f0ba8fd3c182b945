"""The dataset folder: files that would not arrive as meant, and weights that predicting could not use."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bundler.check.preflight import RULES
from bundler.metadata import DATASET_FILE, PREDICT_FILE, TRAIN_FILE
from multihead.config.ensemble import Ensemble, write_ensemble
from multihead.config.manifest import FORMAT
from tests.built_in import BENGALI
from tests.project_copy import DATASET, SETTINGS, change, lines, notes, stage, write_settings

pytestmark = pytest.mark.usefixtures("quick")
EMPTY = hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize("name", ["weights.tar.xz", "weights.rar", "weights.txz", "weights.TBZ2", "weights.zst"])
def test_an_archive_that_kaggle_may_leave_packed_is_named(house: Path, name: str) -> None:
    (house / "dataset_meta" / name).write_bytes(b"x")
    assert lines(house) == [f"dataset_meta/{name}: bytes = 1: an archive that no kernel unpacks; put in what it holds"]


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b'{"format": 4, "sha2', "not JSON (Unterminated string starting at"),
        (b"", "not JSON (Expecting value"),
        (b"[]", "expected a JSON object, with keys and values"),
        (b'{"device": "caf\xe9"}', "not UTF-8 (byte 0xe9 in line 1)"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_told_so(house: Path, content: bytes, rule: str) -> None:
    stage(house)
    (house / "dataset_meta" / "manifest.json").write_bytes(content)
    (found,) = lines(house)
    assert found.startswith(f"dataset_meta/manifest.json: {rule}")
    assert found.endswith("; stage the weights again")


def test_a_manifest_without_the_weights_checksum_is_none(house: Path) -> None:
    stage(house)
    (house / "dataset_meta" / "manifest.json").write_text("{}")
    rule = "no manifest of weights; stage them again"
    assert lines(house) == [f"dataset_meta/manifest.json: sha256 = (missing): {rule}"]


def test_a_manifest_with_a_mark_is_read_as_the_package_reads_it(house: Path) -> None:
    stage(house)
    manifest = house / "dataset_meta" / "manifest.json"
    manifest.write_text("\ufeff" + manifest.read_text())
    assert lines(house) == []


def test_empty_weights_are_none_even_where_their_manifest_says_so(house: Path) -> None:
    (house / "dataset_meta" / "model.weights.h5").touch()
    (house / "dataset_meta" / "manifest.json").write_text(json.dumps({"format": FORMAT, "sha256": EMPTY}))
    assert lines(house) == ["dataset_meta/model.weights.h5: bytes = 0: no weights; stage them again"]


def test_weights_of_another_member_s_manifest_are_named(house: Path) -> None:
    stage(house, "b1")
    stage(house, "b3", sha256=EMPTY)
    (found,) = lines(house)
    assert found.startswith("dataset_meta/b3.model.weights.h5: SHA-256 = ")


@pytest.mark.parametrize("format_there", [3, FORMAT + 1, None, str(FORMAT)])
def test_a_manifest_of_another_version_is_named(house: Path, format_there: object) -> None:
    stage(house, format=format_there)
    rule = f"this version reads {FORMAT}; train again"
    assert lines(house) == [f"dataset_meta/manifest.json: format = {json.dumps(format_there)}: {rule}"]


@pytest.mark.parametrize("name", ["README.md", "LICENSE", "other_manifest.json", "classes.csv", "b1.h5"])
def test_other_files_beside_the_weights_are_right(owned: Path, name: str) -> None:
    stage(owned)
    (owned / "dataset_meta" / name).write_bytes(b"x")
    assert [lines(owned, action) for action in RULES] == [[]] * 4


def test_linked_weights_are_right(owned: Path, tmp_path: Path) -> None:
    stage(owned)
    weights = owned / "dataset_meta" / "model.weights.h5"
    weights.symlink_to(weights.rename(tmp_path / "elsewhere.h5"))
    assert [lines(owned, action) for action in RULES] == [[]] * 4


@pytest.mark.parametrize("name", ["datapackage.json", "kernel-metadata.json"])
def test_what_the_client_takes_for_its_own_file_stands_in_the_way_of_a_push(owned: Path, name: str) -> None:
    stage(owned)
    (owned / "dataset_meta" / name).write_bytes(b"x")
    rule = "not uploaded; the client takes a file of that name for its own; remove it"
    assert [lines(owned, action) for action in RULES] == [[], [], [f"dataset_meta/{name}: bytes = 1: {rule}"], []]


def test_a_described_file_must_be_there_for_the_push_but_not_for_a_build(owned: Path) -> None:
    change(owned, DATASET_FILE, resources=[{"path": "model.weights.h5", "description": "of a B1"}])
    (owned / "dataset_meta" / "b1.h5").write_bytes(b"x")
    rule = "not in dataset_meta; the client pushes nothing then"
    line = f'{DATASET_FILE}: resources = "model.weights.h5": {rule}'
    assert [lines(owned, action) for action in RULES] == [[], [], [line], []]
    stage(owned)
    assert [lines(owned, action) for action in RULES] == [[]] * 4


@pytest.mark.parametrize(
    ("task", "source"),
    [
        ({"name": "animals10"}, "alessiocorrado99/animals10"),
        ({"name": "leaves", "competition": "leaf-health"}, "leaf-health"),
        ({"name": "leaves", "dataset": "some-one/leaves"}, "some-one/leaves"),
    ],
)
def test_weights_of_a_task_whose_files_are_not_attached_are_named_before_their_push(
    owned: Path, task: dict[str, str], source: str
) -> None:
    stage(owned, task=task)
    rule = f"{PREDICT_FILE} does not attach {source}, where its files come from"
    line = f'dataset_meta/manifest.json: task = "{task["name"]}": {rule}'
    assert [lines(owned, action) for action in RULES] == [[], [], [line], [line]]


def test_pretrained_weights_for_the_training_alone_are_right(owned: Path) -> None:
    (owned / "dataset_meta" / "b1.h5").write_bytes(b"x")
    change(owned, TRAIN_FILE, dataset_sources=[DATASET.replace("OWNER", "some-body")])
    change(owned, PREDICT_FILE, dataset_sources=[], kernel_sources=["some-body/multihead-train"])
    write_settings(owned, "train", 'pretrained = "b1.h5"')
    assert [lines(owned, action) for action in RULES] == [[]] * 4


def test_the_data_of_a_task_holds_no_weights_before_a_push_either(owned: Path) -> None:
    stage(owned, "b1")
    (owned / SETTINGS["train"]).write_text('[model]\ntask = "animals10"\n')
    for file in (TRAIN_FILE, PREDICT_FILE):
        sources = ["alessiocorrado99/animals10", "some-body/multihead-weights"]
        change(owned, file, competition_sources=[], dataset_sources=sources)
    (line,) = lines(owned, "push weights")
    assert line.startswith("dataset_meta: weights = b1.model.weights.h5: predicting looks for model.weights.h5")


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("fault", "rule"),
    [
        (lambda path: path.write_text(path.read_text()[:-3]), "not JSON ("),
        (lambda path: path.write_text("// weights\n" + path.read_text()), "not JSON ("),
        (make_folder, "Is a directory"),
    ],
)
def test_metadata_that_cannot_be_read_is_one_finding(house: Path, fault: Callable[[Path], object], rule: str) -> None:
    fault(house / DATASET_FILE)
    (found,) = lines(house)
    assert found.startswith(f"{DATASET_FILE}: {rule}")


def test_a_study_s_ensemble_is_looked_for_and_one_that_lacks_weights_or_is_not_followed_is_named(owned: Path) -> None:
    heads = dict.fromkeys(BENGALI.heads, 1.0)
    for name in ("b1-fold0-seed0", "b1-fold1-seed0"):
        stage(owned, name)
    dataset = owned / "dataset_meta"
    write_ensemble(dataset, Ensemble({"b1-fold0-seed0": 0.5, "b1-fold1-seed0": 0.5}, heads, heads), [])
    assert [lines(owned, action) for action in RULES] == [[]] * 4
    write_settings(owned, "predict", 'ensemble = ["b1-fold0-seed0"]')
    note = "dataset_meta/ensemble.toml has no effect; leave it out to predict as the study chose"
    assert lines(owned) == []
    assert notes(owned, "push predict") == [f'{SETTINGS["predict"]}: ensemble = ["b1-fold0-seed0"]: {note}']
    write_settings(owned, "predict", "")
    for file in ("manifest.json", "model.weights.h5"):
        (dataset / f"b1-fold1-seed0.{file}").unlink()
    rule = "no b1-fold1-seed0.model.weights.h5 beside it; build_kernel.py stage STUDY"
    assert lines(owned) == [f'dataset_meta/ensemble.toml: members = "b1-fold1-seed0": {rule}']
    (dataset / "ensemble.toml").write_text("[members]\n")
    assert lines(owned) == ["dataset_meta/ensemble.toml: no temperatures; expected a number above 0 for each head"]
