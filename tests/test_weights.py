import json
from pathlib import Path

import keras
import numpy as np
import pytest

from multihead.errors import UserError
from multihead.inference import predict_probabilities
from multihead.model import build_model
from multihead.settings import ModelSettings
from multihead.tasks import BENGALI
from multihead.weights import MANIFEST_FILE, WEIGHTS_FILE, load_model, read_manifest, save_weights

NARROW = ModelSettings(backbone="narrow", image_size=(32, 32))
COUNTS = {head: tuple(range(len(classes))) for head, classes in BENGALI.heads.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    keras.utils.set_random_seed(3)
    save_weights(tmp_path, build_model(NARROW, BENGALI), NARROW, train_counts=COUNTS, score={"total": 0.5}, epoch=4)
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


def test_the_optimizer_is_not_shipped(tmp_path: Path) -> None:
    network = build_model(NARROW, BENGALI)
    size = 4 * network.count_params()
    network.compile(optimizer="adamw", loss="categorical_crossentropy")
    network.optimizer.build(network.trainable_variables)
    save_weights(tmp_path, network, NARROW, train_counts=COUNTS, score=None, epoch=1)
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


@pytest.mark.parametrize("text", ["", "[]", "{}", "not json", '{"format": 2}'])
def test_a_damaged_manifest_is_named(folder: Path, text: str) -> None:
    (folder / MANIFEST_FILE).write_text(text)
    with pytest.raises(UserError, match=r"manifest\.json: not a manifest"):
        read_manifest(folder)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"format": 1}, "format 1; this version reads format 2"),
        ({"heads": {"grapheme_root": [0, 1]}}, "heads are not those of task bengali"),
        ({"model": {"task": "mnist"}}, "task = 'mnist'; expected one of bengali"),
    ],
)
def test_a_manifest_of_something_else_is_refused(folder: Path, values: dict[str, object], told: str) -> None:
    change(folder, **values)
    with pytest.raises(UserError, match=told):
        read_manifest(folder)
