"""The same package under Keras's JAX backend: it trains, goes on and predicts, with weights of either backend."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from multihead.config.files import CHECKPOINT_FILE, SUBMISSION_FILE
from multihead.config.manifest import read_manifest
from multihead.config.model_settings import ModelSettings
from multihead.config.settings import RunSettings
from multihead.data.answers import read_answers
from multihead.data.crop_store import read_crops
from multihead.model.network import build_model
from multihead.model.weights import load_model, save_weights
from multihead.prediction.predictor import predict_probabilities
from multihead.training.build import compiled_network, moving_average
from multihead.training.checkpoint import read_checkpoint, restore
from multihead.training.resume import say_how_it_goes_on
from tests.built_in import BENGALI
from tests.conftest import HOUSE
from tests.reading import shards_to_predict
from tests.surely_wrong import two_steps
from tests.training_process import Training, assert_same_end

pytestmark = pytest.mark.slow


def run_under_jax(*arguments: str, **environment: str) -> str:
    """Run Python under JAX, and return what it prints."""
    whole = os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": f"{HOUSE / 'src'}:{HOUSE}"} | environment
    done = subprocess.run([sys.executable, *arguments], check=False, env=whole, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def broken(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """A training that was killed, and went on to its end."""
    training = Training(tmp_path_factory.mktemp("broken") / "kaggle", drawn, backend="jax")
    assert training.kill_when(training.is_fitting(0.1))
    assert "going on from" in training.run_to_the_end()
    return training


def test_a_surely_wrong_network_learns_the_same_on_either_backend(tmp_path: Path) -> None:
    run_under_jax("-m", "tests.surely_wrong", str(tmp_path / "jax.npz"))
    own = two_steps()
    with np.load(tmp_path / "jax.npz") as other:
        assert own["loss"] > 50
        for name, value in own.items():
            assert np.allclose(other[name], value, atol=1e-4), name


def test_a_killed_training_ends_with_the_same_bits(broken: Training, drawn: Path, tmp_path: Path) -> None:
    unbroken = Training(tmp_path / "kaggle", drawn, backend="jax")
    assert "on jax: no GPU, the CPU; float32, XLA\n" in unbroken.run_to_the_end()
    assert_same_end(broken.working, unbroken.working)


def test_tensorflow_goes_on_from_its_checkpoint_and_says_so(
    broken: Training, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = read_checkpoint(broken.working / CHECKPOINT_FILE)
    model, run = (
        read_manifest(broken.working).model,
        RunSettings(precision="float32", xla="off", gradient_accumulation=2),
    )
    network = compiled_network(BENGALI, model, run)
    average = moving_average(network, run)
    restore(network, checkpoint, average)
    say_how_it_goes_on(checkpoint, checkpoint.identity)
    assert capsys.readouterr().out.endswith('changed from here on: backend ("jax", here "tensorflow")\n')
    stored = checkpoint.read_arrays()
    restored = [*network.variables, *network.optimizer.variables, *(average.arrays if average else [])]
    for array, own in zip(stored, restored, strict=True):
        assert np.array_equal(np.asarray(own), array)


def test_its_weights_serve_tensorflow(broken: Training) -> None:
    assert read_manifest(broken.working).versions["jax"]
    load_model(broken.working, read_manifest(broken.working))  # holds its answers against the manifest's


def test_it_predicts_with_the_weights_of_tensorflow(drawn: Path, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    stack = ModelSettings(backbone="stack", image_size=(32, 32), stack_layers=("conv 4", "norm", "pool 4", "dense 8"))
    network = build_model(stack, BENGALI)
    counts = {head: (1,) * len(classes) for head, classes in BENGALI.heads.items()}
    save_weights(tmp_path, network, stack, BENGALI, train_counts=counts, score=None, epoch=1)
    folders = [f"data={drawn}", f"weights={tmp_path}", f"working={tmp_path}"]
    sets = [part for folder in folders for part in ("--set", folder)]
    log = run_under_jax("-m", "multihead", "predict", *sets, KAGGLE_ROOT=str(tmp_path))
    assert "on jax" in log
    answers = read_answers(tmp_path / SUBMISSION_FILE, BENGALI)
    for part in shards_to_predict(drawn, BENGALI):
        (shard,), _ = read_crops(part, BENGALI, [stack])
        for head, rows in predict_probabilities(network, shard.images, 4).items():
            labels = [str(BENGALI.heads[head][row]) for row in rows.argmax(axis=1)]
            assert answers[head].loc[list(shard.ids)].tolist() == labels
