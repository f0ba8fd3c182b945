import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import pytest

from multihead.config.files import MANIFEST_FILE, WEIGHTS_FILE
from multihead.config.manifest import PROBE_IMAGES, read_manifest
from multihead.config.model_settings import ModelSettings
from multihead.config.task import task_dict
from multihead.model.network import build_model
from multihead.model.weights import answer_probe, load_model, probe_images, save_weights
from multihead.prediction.predictor import predict_probabilities
from multihead.runtime.errors import UserError
from tests.built_in import BENGALI

NARROW = ModelSettings(backbone="narrow", image_size=(32, 32))
COUNTS = {head: tuple(range(len(classes))) for head, classes in BENGALI.heads.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    keras.utils.set_random_seed(3)
    save_weights(
        tmp_path, build_model(NARROW, BENGALI), NARROW, BENGALI, train_counts=COUNTS, score={"total": 0.5}, epoch=4
    )
    return tmp_path


def change(folder: Path, **values: object) -> None:
    path = folder / MANIFEST_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_saved_model_comes_back_with_the_same_answers(folder: Path) -> None:
    keras.utils.set_random_seed(3)
    original = build_model(NARROW, BENGALI)
    manifest = read_manifest(folder)
    assert manifest.model == NARROW
    assert manifest.train_counts == COUNTS
    assert (manifest.epoch, manifest.score) == (4, {"total": 0.5})
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 1), np.uint8)
    answers = predict_probabilities(load_model(folder, manifest), images, 4)
    for head, expected in predict_probabilities(original, images, 4).items():
        assert np.array_equal(answers[head], expected)


def test_the_same_weights_are_the_same_bytes_however_often_they_are_saved(tmp_path: Path) -> None:
    network = build_model(NARROW, BENGALI)
    saved = [
        save_weights(tmp_path, network, NARROW, BENGALI, train_counts=COUNTS, score=None, epoch=epoch)
        for epoch in (1, 2)
    ]
    assert saved[0] == saved[1]


def test_the_optimizer_is_not_shipped(tmp_path: Path) -> None:
    network = build_model(NARROW, BENGALI)
    size = 4 * network.count_params()
    network.compile(optimizer="adamw", loss="categorical_crossentropy")
    network.optimizer.build(network.trainable_variables)
    save_weights(tmp_path, network, NARROW, BENGALI, train_counts=COUNTS, score=None, epoch=1)
    assert size < (tmp_path / WEIGHTS_FILE).stat().st_size < 2 * size
    load_model(tmp_path, read_manifest(tmp_path))


def test_only_the_two_files_are_left(folder: Path) -> None:
    assert sorted(f.name for f in folder.iterdir()) == [MANIFEST_FILE, WEIGHTS_FILE]


def test_weights_that_are_not_the_manifest_s_are_refused(folder: Path) -> None:
    raw = bytearray((folder / WEIGHTS_FILE).read_bytes())
    raw[len(raw) // 2] ^= 1
    (folder / WEIGHTS_FILE).write_bytes(raw)
    with pytest.raises(UserError, match=r"model\.weights\.h5: SHA-256 is .* the manifest says"):
        read_manifest(folder)


def test_missing_weights_are_named(folder: Path) -> None:
    (folder / WEIGHTS_FILE).unlink()
    with pytest.raises(UserError, match=r"model\.weights\.h5: cannot be read"):
        read_manifest(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", "not json", '{"format": 4}'])
def test_a_damaged_manifest_is_named(folder: Path, text: str) -> None:
    (folder / MANIFEST_FILE).write_text(text)
    with pytest.raises(UserError, match=r"manifest\.json: not a manifest"):
        read_manifest(folder)


@pytest.mark.parametrize("key", ["model", "task", "train_counts", "prior_exponents", "epoch", "sha256", "probe"])
def test_a_key_that_the_manifest_lacks_is_named(folder: Path, key: str) -> None:
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    del manifest[key]
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=rf"manifest\.json: not a manifest of weights: no {key}$"):
        read_manifest(folder)


def test_what_was_not_measured_may_be_left_out(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    for key in ("score", "device", "images_per_second"):
        del manifest[key]
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
    found = read_manifest(folder)
    assert (found.score, found.device, found.images_per_second) == (None, "", None)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": 3}, "format 3; this version reads format 4"),
        ({"task": {"name": "bengali"}}, "no reader; expected one of wide parquet"),
        ({"task": task_dict(BENGALI) | {"dark_ink": False}}, "its task bengali is not what this version calls so"),
        ({"probe": {"grapheme_root": [[0.5]]}}, "its probe is not 2 rows of a number per class for each of its heads"),
        ({"model": {"task": "mnist"}}, "its model is of mnist, its task bengali"),
    ],
)
def test_a_manifest_of_something_else_is_refused(folder: Path, values: dict[str, object], message: str) -> None:
    change(folder, **values)
    with pytest.raises(UserError, match=message):
        read_manifest(folder)


def test_weights_outlive_what_a_later_version_knows_of_the_submission(folder: Path) -> None:
    path = folder / MANIFEST_FILE
    manifest = json.loads(path.read_text())
    for key in ("has_hidden_test", "gpu_minutes", "cpu_minutes"):
        del manifest["task"][key]
    path.write_text(json.dumps(manifest))
    assert read_manifest(folder).task == BENGALI
    manifest["task"] |= {"hidden_images": 0, "has_hidden_test": False, "gpu_minutes": 540}
    path.write_text(json.dumps(manifest))
    assert read_manifest(folder).task == BENGALI


@contextmanager
def precision(policy: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def test_the_manifest_says_with_what_and_on_what_it_was_trained(tmp_path: Path) -> None:
    network = build_model(NARROW, BENGALI)
    steps = ({"name": "flip", "share": 0.5}, {"name": "Perspective", "scale": [0.02, 0.08]})
    facts = {"device": "Tesla T4", "images_per_second": 3141.6, "augmentation": steps}
    save_weights(tmp_path, network, NARROW, BENGALI, train_counts=COUNTS, score=None, epoch=1, **facts)  # type: ignore[arg-type]
    manifest = read_manifest(tmp_path)
    assert manifest.augmentation == steps
    assert (manifest.device, manifest.images_per_second) == ("Tesla T4", 3141.6)
    assert list(manifest.versions) == ["python", "keras", keras.config.backend(), "efficientnet"]
    assert manifest.versions["keras"] == keras.__version__


def test_an_answer_to_the_probe_that_is_off_names_head_and_both_values(folder: Path) -> None:
    probe = json.loads((folder / MANIFEST_FILE).read_text())["probe"]
    said = probe["consonant_diacritic"][1][3]
    probe["consonant_diacritic"][1][3] = said + 0.0009
    change(folder, probe=probe)
    load_model(folder, read_manifest(folder))
    probe["consonant_diacritic"][1][3] = said + 0.002
    change(folder, probe=probe)
    message = (
        rf"model\.weights\.h5: probe of consonant_diacritic: the network says {said:.4f} for class 3 of image 1, "
        rf"the manifest says {said + 0.002:.4f}; it was trained with python 3.*, keras {keras.__version__}"
    )
    with pytest.raises(UserError, match=message):
        load_model(folder, read_manifest(folder))


def test_other_weights_under_their_own_sha256_are_found_by_the_probe(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    network = build_model(NARROW, BENGALI)
    network.get_layer("grapheme_root").bias.assign(np.arange(168) / 84)
    save_weights(other, network, NARROW, BENGALI, train_counts=COUNTS, score=None, epoch=1)
    (other / WEIGHTS_FILE).replace(folder / WEIGHTS_FILE)
    change(folder, sha256=hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest())
    with pytest.raises(UserError, match="probe of grapheme_root: the network says"):
        load_model(folder, read_manifest(folder))


def test_an_answer_that_is_no_number_is_off(folder: Path) -> None:
    network = load_model(folder, read_manifest(folder))
    network.get_layer("vowel_diacritic").bias.assign(np.full(11, np.nan))
    network.save_weights(folder / WEIGHTS_FILE)
    change(folder, sha256=hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest())
    with pytest.raises(UserError, match="probe of vowel_diacritic: the network says nan"):
        load_model(folder, read_manifest(folder))


@pytest.mark.parametrize("policies", [("mixed_float16", "float32"), ("float32", "mixed_float16")])
def test_the_probe_does_not_depend_on_the_precision_that_the_network_computes_in(
    tmp_path: Path, policies: tuple[str, str]
) -> None:
    saving, loading = policies
    with precision(saving):
        network = build_model(NARROW, BENGALI)
        save_weights(tmp_path, network, NARROW, BENGALI, train_counts=COUNTS, score=None, epoch=1)
    with precision(loading):
        loaded = load_model(tmp_path, read_manifest(tmp_path))
        answers = answer_probe(loaded, NARROW, BENGALI)
    with precision("float32"):
        for head, answer in answer_probe(network, NARROW, BENGALI).items():
            assert np.abs(answers[head] - answer).max() < 1e-6


def test_the_probe_is_the_same_images_everywhere() -> None:
    images = probe_images(NARROW, BENGALI)
    assert images.shape == (PROBE_IMAGES, 32, 32, 1)
    assert images.dtype == np.uint8
    assert images[0, 3, 7, 0] == 3 * 3 + 5 * 7
    assert images[1, 31, 31, 0] == (4 * 31 + 3 * 31) % 256
