"""A training killed at any moment goes on, and ends with the same bits as one that was never broken."""

import dataclasses
import json
import random
import signal
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from multihead.config.files import CHECKPOINT_FILE, PAGE_FILE, REPORT_FOLDER, WEIGHTS_FILE
from multihead.config.model_settings import ModelSettings
from multihead.config.settings import RunSettings
from multihead.runtime.errors import UserError
from multihead.training.checkpoint import read_checkpoint, restore, save_checkpoint
from multihead.training.resume import checkpoints_to_go_on_from, differing, identity_of
from multihead.training.schedule import TrainingState
from tests.built_in import BENGALI
from tests.training_process import SETTINGS, Training, assert_same_end


@pytest.fixture(scope="module")
def unbroken(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    training = Training(tmp_path_factory.mktemp("unbroken") / "kaggle", drawn)
    training.run_to_the_end()
    return training.working


@pytest.mark.slow
def test_killed_ten_times_a_training_ends_with_the_same_bits(unbroken: Path, drawn: Path, tmp_path: Path) -> None:
    training = Training(tmp_path / "kaggle", drawn)
    moments = random.Random(0)
    kills = 0
    for attempt in range(10):
        when = (training.is_reading, training.is_saving, training.is_fitting(moments.uniform(0, 0.5)))[attempt % 3]
        kills += training.kill_when(when)
    assert kills == 10
    assert "going on from" in training.run_to_the_end()
    assert_same_end(training.working, unbroken)
    assert not list(training.working.glob("new-*"))


@pytest.mark.slow
@pytest.mark.usefixtures("handler_of_python")
def test_after_ctrl_c_the_same_command_goes_on_to_the_same_bits(unbroken: Path, drawn: Path, tmp_path: Path) -> None:
    training = Training(tmp_path / "kaggle", drawn)
    process, is_time = training.start(), training.is_fitting(0.2)
    while not is_time():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    last = training.read_log().splitlines()[-1]
    assert last == f"interrupted: the same command goes on from {training.working / CHECKPOINT_FILE}"
    assert "going on from" in training.run_to_the_end()
    assert_same_end(training.working, unbroken)


@pytest.mark.slow
def test_a_second_session_goes_on_from_the_mounted_output_of_the_first(
    unbroken: Path, drawn: Path, tmp_path: Path
) -> None:
    first = Training(tmp_path / "first", drawn)
    stop = first.is_fitting(0)
    assert first.kill_when(lambda: stop() and "epoch 1/3" in first.read_log())
    before = {f: f.read_bytes() for f in first.working.rglob("*") if f.is_file()}
    first.working.chmod(0o555)
    second = Training(tmp_path / "second", drawn, mounted=first.working)
    assert "going on from" in second.run_to_the_end()
    assert_same_end(second.working, unbroken)
    assert before == {f: f.read_bytes() for f in first.working.rglob("*") if f.is_file()}
    first.working.chmod(0o755)


@pytest.mark.slow
def test_a_finished_training_is_not_trained_again(unbroken: Path, drawn: Path, tmp_path: Path) -> None:
    again = Training(tmp_path / "kaggle", drawn, mounted=unbroken)
    log = again.run_to_the_end()
    assert "3 epochs and 0 shards of the next are done" in log
    assert "read and cropped" not in log
    for name in (WEIGHTS_FILE, "manifest.json", "history.csv"):
        assert (again.working / name).read_bytes() == (unbroken / name).read_bytes()
    assert_same_end(again.working, unbroken)  # what it was given is handed on to a third session
    assert (again.working / REPORT_FOLDER / PAGE_FILE).is_file()  # drawn of the record that was handed on


@pytest.mark.slow
def test_a_checkpoint_of_another_training_is_named_and_left_alone(unbroken: Path, drawn: Path, tmp_path: Path) -> None:
    other = Training(tmp_path / "kaggle", drawn, mounted=unbroken)
    (other.root / "settings.toml").write_text(SETTINGS.replace("epochs = 3", "epochs = 1\nseed = 7"))
    log = other.run_to_the_end()
    assert "checkpoint.npz: not used, it is of a training with another seed" in log
    assert "epoch 1/1" in log


@pytest.mark.slow
def test_a_changed_draw_is_named_and_gone_on_with(unbroken: Path, drawn: Path, tmp_path: Path) -> None:
    other = Training(tmp_path / "kaggle", drawn, mounted=unbroken)
    (other.root / "settings.toml").write_text(
        SETTINGS.replace("epochs = 3\nbatch_size = 16", "epochs = 4\naugmentation = []")
    )
    log = other.run_to_the_end()
    assert "3 epochs and 0 shards of the next are done" in log
    assert "changed from here on: epochs (3, here 4), batch_size (16, here 128), augmentation" in log
    assert "epoch 4/4" in log


IDENTITY = {"task": {"name": "some"}, "model": {"task": "some"}}


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_a_checkpoint_restores_every_variable_after_any_number_of_saves(tmp_path: Path, policy: str) -> None:
    def compiled(seed: int) -> Any:
        keras.utils.set_random_seed(seed)
        inputs = keras.Input((3,))
        hidden = keras.layers.Dropout(0.5)(keras.layers.Dense(4)(inputs))
        network = keras.Model(inputs, keras.layers.Dense(1, dtype="float32")(hidden))
        network.compile(optimizer="adamw", loss="mse")
        return network

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        first, second = compiled(0), compiled(1)
    finally:
        keras.config.set_dtype_policy(before)
    first.fit(np.ones((8, 3)), np.ones((8, 1)), batch_size=2, verbose=0)
    for number in range(3):
        save_checkpoint(tmp_path, first, IDENTITY, TrainingState(epoch=number))
    restore(second, read_checkpoint(tmp_path / CHECKPOINT_FILE))
    for network in (first, second):
        network.fit(np.ones((8, 3)), np.ones((8, 1)), batch_size=2, verbose=0)
    for one, other in zip(
        first.variables + first.optimizer.variables, second.variables + second.optimizer.variables, strict=True
    ):
        assert np.array_equal(np.asarray(one), np.asarray(other))


def small_network(seed: int = 0) -> Any:
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((4,))
    hidden = keras.layers.Dropout(0.5)(keras.layers.Dense(4)(keras.layers.Dense(4)(inputs)))
    network = keras.Model(inputs, keras.layers.Dense(1)(hidden))
    network.compile(optimizer="adamw", loss="mse")
    network.fit(np.ones((8, 4)), np.ones((8, 1)), batch_size=2, verbose=0)
    return network


def state_of(network: Any) -> list[Any]:
    return [np.asarray(variable) for variable in [*network.variables, *network.optimizer.variables]]


def rewrite(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change what a checkpoint's archive holds: its header as a dictionary, and arr_0, arr_1, ..."""
    with np.load(path) as stored:
        content = {name: stored[name] for name in stored.files}
    content["header"] = json.loads(str(content["header"]))
    content = change(content)
    arrays: dict[str, Any] = {
        k: np.array(json.dumps(value)) if isinstance(value, dict) else value for k, value in content.items()
    }
    np.savez(path, **arrays)


def reverse(content: dict[str, Any]) -> dict[str, Any]:
    """Put the variables into another order, as another version of Keras may."""
    names = content["header"]["names"]
    content["header"]["names"] = names[::-1]
    arrays = [content[f"arr_{number}"] for number in range(len(names))][::-1]
    return {"header": content["header"]} | {f"arr_{number}": array for number, array in enumerate(arrays)}


def as_before_there_were_names(content: dict[str, Any]) -> dict[str, Any]:
    header = content.pop("header")
    return content | {"told": {key: header[key] for key in ("identity", "counters")} | {"format": 4}}


@pytest.mark.parametrize("change", [reverse, as_before_there_were_names])
def test_a_checkpoint_s_variables_are_matched_by_name_where_it_has_names(
    tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    """The network that takes them is the second of its process, whose layers Keras numbers on."""
    first, second = small_network(0), small_network(1)
    save_checkpoint(tmp_path, first, IDENTITY, TrainingState(epoch=1))
    rewrite(tmp_path / CHECKPOINT_FILE, change)
    restore(second, read_checkpoint(tmp_path / CHECKPOINT_FILE))
    assert all(np.array_equal(one, other) for one, other in zip(state_of(first), state_of(second), strict=True))


def test_a_checkpoint_of_another_network_names_a_variable(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, small_network(), IDENTITY, TrainingState(epoch=1))
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    other.compile(optimizer="adamw", loss="mse")
    with pytest.raises(UserError, match=r"lacks sequential/dense/kernel, .* and \d+ more variables; it is of another"):
        restore(other, read_checkpoint(tmp_path / CHECKPOINT_FILE))


def test_a_checkpoint_s_header_is_read_without_its_arrays(tmp_path: Path) -> None:
    """They may be a stranger's, as large as they like."""
    path = tmp_path / CHECKPOINT_FILE
    save_checkpoint(tmp_path, small_network(), IDENTITY | {"seed": 3}, TrainingState(epoch=1))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("arr_99999.npy", b"no array")
    checkpoint = read_checkpoint(path)
    assert (checkpoint.identity, checkpoint.progress) == (IDENTITY | {"seed": 3}, (1, 0))
    assert checkpoint.versions == {"keras": keras.__version__, "backend": "tensorflow"}
    with pytest.raises(UserError, match="not a readable checkpoint"):
        checkpoint.read_arrays()


def test_a_checkpoint_with_a_header_of_any_size_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / CHECKPOINT_FILE
    np.savez_compressed(path, header=np.zeros(60_000_000, np.uint8))
    with pytest.raises(UserError, match=r"not a readable checkpoint .a header of more than 50,000,000 bytes"):
        read_checkpoint(path)


def with_header(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def act(path: Path) -> None:
        rewrite(path, lambda content: content | {"header": change(content["header"])})

    return act


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        with_header(lambda header: header | {"identity": {}}),
        with_header(lambda header: header | {"identity": []}),
        with_header(lambda header: header | {"identity": {"task": "a", "model": {}}}),
        with_header(lambda header: header | {"counters": {"epoch": 1, "stage": 2}}),
        with_header(lambda header: header | {"names": 5}),
        with_header(lambda header: header | {"format": 6}),
    ],
)
def test_a_header_of_another_form_is_one_line(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    save_checkpoint(tmp_path, small_network(), IDENTITY, TrainingState(epoch=1))
    damage(tmp_path / CHECKPOINT_FILE)
    with pytest.raises(UserError, match=r"not a readable checkpoint"):
        read_checkpoint(tmp_path / CHECKPOINT_FILE)


def test_whatever_byte_of_a_checkpoint_is_damaged_it_is_read_or_named(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, small_network(), IDENTITY, TrainingState(epoch=1))
    path = tmp_path / CHECKPOINT_FILE
    size = path.stat().st_size
    errors = []
    for place in random.Random(0).sample(range(size), 400):
        flip(path, place)
        try:
            read_checkpoint(path).read_arrays()
        except UserError as error:
            errors.append(str(error))
        flip(path, place)
    assert len(errors) > 100
    assert all("not a readable checkpoint" in error or "another program's" in error for error in errors)


def test_another_program_s_file_of_that_name_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAGGLE_ROOT", str(tmp_path))
    np.savez(tmp_path / CHECKPOINT_FILE, weights=np.ones(3))
    assert checkpoints_to_go_on_from(identity(), "auto", tmp_path) == []
    assert capsys.readouterr().out.endswith(f"not used: {tmp_path / CHECKPOINT_FILE}: another program's\n")


def test_a_checkpoint_without_names_and_with_more_variables_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, small_network(), IDENTITY, TrainingState(epoch=1))
    path = tmp_path / CHECKPOINT_FILE
    count = len(read_checkpoint(path).read_arrays())
    rewrite(path, lambda content: as_before_there_were_names(content) | {f"arr_{count}": np.ones(3)})
    with pytest.raises(UserError, match=rf"{count + 1} variables; this network and optimizer have {count}"):
        restore(small_network(), read_checkpoint(path))


def test_the_state_of_a_seed_generator_may_be_of_another_backend(tmp_path: Path) -> None:
    """JAX keeps uint32, TensorFlow int64."""
    network, path = small_network(), tmp_path / CHECKPOINT_FILE
    save_checkpoint(tmp_path, network, IDENTITY, TrainingState(epoch=1))
    place = next(n for n, name in enumerate(read_checkpoint(path).names or ()) if "seed_generator" in name)
    rewrite(path, lambda content: content | {f"arr_{place}": content[f"arr_{place}"].astype(np.uint32)})
    restore(other := small_network(1), read_checkpoint(path))
    assert all(np.array_equal(one, two) for one, two in zip(state_of(network), state_of(other), strict=True))


TINY = ModelSettings(backbone="narrow", image_size=(32, 32))


def identity(model: ModelSettings = TINY, **changes: Any) -> dict[str, Any]:
    return identity_of(BENGALI, model, RunSettings(**changes), ["a.parquet"], 40)


def test_a_key_that_was_added_since_is_a_difference_only_where_it_has_not_its_default() -> None:
    stored = identity()
    for key in ("label_smoothing", "ema_decay"):
        del stored[key]
    del stored["model"]["stack_layers"], stored["task"]["class_folders"]
    assert differing(stored, identity()) == {}
    assert differing(stored, identity(ema_decay=0.5)) == {"ema_decay": (0.999, 0.5)}
    stack = dataclasses.replace(TINY, backbone="stack", stack_layers=("conv 2",))
    assert differing(stored, identity(stack))["stack_layers"] == ([], ["conv 2"])
    del stored["task"]["crop"]  # "ink", which is not the default
    assert list(differing(stored, identity())) == ["task"]


@pytest.mark.parametrize(("value", "precision"), [(True, "float16"), (False, "float32")])
def test_a_checkpoint_from_before_precision_was_a_setting_goes_on_in_the_one_that_it_had(
    value: bool, precision: str
) -> None:
    stored = identity() | {"mixed_precision": value}
    del stored["precision"], stored["xla"], stored["gradient_accumulation"]
    assert differing(stored, identity(precision=precision, xla="on")) == {}
    assert differing(stored, identity(precision="bfloat16")) == {"precision": (precision, "bfloat16")}


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"nothing like it"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / CHECKPOINT_FILE
    path.write_bytes(content)
    with pytest.raises(UserError, match=r'checkpoint\.npz: not a readable checkpoint .*set resume = "off"'):
        read_checkpoint(path)


def test_weights_to_start_from_may_lie_elsewhere_in_the_next_session() -> None:
    model = ModelSettings(backbone="narrow", image_size=(32, 32))
    places = ("data/first.model.weights.h5", "first.model.weights.h5", "second.model.weights.h5")
    at_home, at_kaggle, other = (
        identity_of(BENGALI, model, RunSettings(pretrained=place), ["a.parquet"], 9) for place in places
    )
    assert differing(at_home, at_kaggle) == {}
    assert list(differing(at_home, other)) == ["pretrained"]
