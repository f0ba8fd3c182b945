"""docs/faults.md, row by row."""

import concurrent.futures
import dataclasses
import errno
import functools
import itertools
import json
import os
import re
import shutil
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bundler.build.script import build_script
from bundler.rehearse.events import read_events
from bundler.rehearse.projection import read_stages
from multihead.cli import main
from multihead.config import EVENTS_VARIABLE
from multihead.config import known_tasks as tasks
from multihead.config.files import CHECKPOINT_FILE, MANIFEST_FILE, OUT_OF_FOLD_FILE, REPORT_FOLDER, WEIGHTS_FILE
from multihead.config.manifest import read_manifest
from multihead.config.model_settings import ModelSettings
from multihead.data import shards
from multihead.data.locate import is_rerun
from multihead.data.shards import Part
from multihead.model import weights
from multihead.model.weights import load_model, save_weights
from multihead.prediction import members
from multihead.runtime.log import elapsed
from multihead.training import build
from multihead.training.checkpoint import read_checkpoint
from multihead.training.schedule import WORST
from multihead.training.trainer import Trainer
from tests.built_in import BENGALI
from tests.conftest import HOUSE
from tests.test_projection import HIDDEN

TINY = dataclasses.replace(BENGALI, image_shape=(20, 30, 1))
PRIOR = {"grapheme_root": 72, "vowel_diacritic": 9, "consonant_diacritic": 6}
FILES, IMAGES = 4, 4  # test files, as the hidden test set has, and images in each
BATCH = 2
RUN_OF_TWO_EPOCHS = ["validation_share=0.25", "epochs=2", "batch_size=1"]
ORDER = ("consonant_diacritic", "grapheme_root", "vowel_diacritic")


class StandIn:
    """A network that answers class 1 of every head, at once, and whose weights are a few bytes."""

    def predict_on_batch(self, images: Any) -> dict[str, Any]:
        return {head: np.tile(np.eye(len(c))[1], (len(images), 1)) for head, c in TINY.heads.items()}


def write_shard(path: Path, ids: list[str], pixels: np.ndarray, names: list[str] | None = None) -> None:
    names = names or [str(i) for i in range(pixels.shape[1])]
    columns = [pa.array(ids), *(pa.array(column) for column in pixels.T)]
    pq.write_table(pa.table(columns, names=["image_id", *names]), path)


def pixels_of(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 600), np.uint8)


class Kaggle:
    """A stand-in of Kaggle's folders with a tiny competition, weights, and settings."""

    def __init__(self, root: Path) -> None:
        self.root, self.working = root, root / "working"
        self.data, self.weights = root / "input" / "bengaliai-cv19", root / "input" / "multihead-weights"
        for folder in (self.working, self.data, self.weights):
            folder.mkdir(parents=True)
        self.settings: list[str] = []
        self.at_the_end = threading.Event()
        self.toml = '[model]\nbackbone = "narrow"\nimage_size = [32, 32]\n'
        for number in range(FILES):
            self.write_test(number, [f"Test_{number * IMAGES + i}" for i in range(IMAGES)])
        rows = [f"Test_{i}_{head},0" for i in range(FILES * IMAGES) for head in ORDER]
        (self.data / "sample_submission.csv").write_text("\n".join(["row_id,target", *rows]) + "\n")
        counts = {head: tuple(int(i == PRIOR[head]) for i in range(len(c))) for head, c in TINY.heads.items()}
        model = ModelSettings(backbone="narrow", image_size=(32, 32))
        save_weights(self.weights, tiny_network(model, TINY), model, TINY, train_counts=counts, score=None, epoch=1)
        labels = pd.DataFrame({"image_id": [f"Train_{i}" for i in range(8)]} | dict.fromkeys(TINY.heads, 1))
        labels.to_csv(self.data / "train.csv", index=False)
        for number in range(2):
            ids = [f"Train_{number * IMAGES + i}" for i in range(IMAGES)]
            write_shard(self.data / f"train_image_data_{number}.parquet", ids, pixels_of(IMAGES))

    def test_file(self, number: int) -> Path:
        return self.data / f"test_image_data_{number}.parquet"

    def write_test(self, number: int, ids: list[str], pixels: np.ndarray | None = None, **options: Any) -> None:
        write_shard(self.test_file(number), ids, pixels_of(len(ids)) if pixels is None else pixels, **options)

    def run(self, command: str, monkeypatch: pytest.MonkeyPatch, *, in_a_kernel: bool) -> int:
        """Run the command as at home, or as the built script does, and return the process's exit code."""
        settings = self.root / "settings.toml"
        settings.write_text(self.toml)
        sets = [part for setting in self.settings for part in ("--set", setting)]
        if not in_a_kernel:
            try:
                return main([command, "--settings", str(settings), *sets])
            except SystemExit as ending:
                return int(str(ending.code))
        monkeypatch.setattr(sys, "argv", ["script.py", *sets])
        monkeypatch.setattr(sys, "path", list(sys.path))
        script: dict[str, Any] = {"__name__": "script"}
        exec(_built_script(command), script)
        script |= {"SETTINGS": self.toml, "TASK": None}  # as edited on Kaggle's page; the tiny task is built in here
        try:
            script["start"]()
        except SystemExit as ending:
            return int(str(ending.code))
        raise AssertionError("the script went on")


@functools.cache
def _built_script(command: str) -> Any:
    settings = HOUSE / "kernel" / command / "settings.toml"
    return compile(build_script(HOUSE / "src" / "multihead", settings, command), "script.py", "exec")


def tiny_network(model: ModelSettings, _: Any) -> Any:
    import keras

    inputs = keras.Input((*model.image_size, 1))
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    heads = {head: keras.layers.Dense(len(c), name=head)(flat) for head, c in TINY.heads.items()}
    return keras.Model(inputs, heads)


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kaggle]:
    monkeypatch.setitem(tasks.TASKS, "bengali", TINY)
    monkeypatch.setenv("KAGGLE_ROOT", str(tmp_path))
    monkeypatch.setattr(members, "load_model", lambda *_: StandIn())
    for module in (build, weights):
        monkeypatch.setattr(module, "build_model", tiny_network)
    monkeypatch.setattr(os, "_exit", sys.exit)  # a reader that is left behind ends the process so
    made = Kaggle(tmp_path)
    yield made
    made.at_the_end.set()


Fault = Callable[[Kaggle, pytest.MonkeyPatch], Any]
IDS = [f"Test_{i}" for i in range(8, 12)]  # of test file 2
NAMES = [str(i) for i in range(600)]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def blank(k: Kaggle, _: Any) -> None:
    pixels = pixels_of(4)
    pixels[1] = 255
    k.write_test(2, IDS, pixels)


def speck(k: Kaggle, _: Any) -> None:
    pixels = pixels_of(4)
    pixels[1] = 255
    pixels[1, 310] = 0
    k.write_test(2, IDS, pixels)


def unforeseen(k: Kaggle, patch: pytest.MonkeyPatch) -> None:
    original = shards.read_shard

    def read(part: Part, *rest: Any) -> Any:
        if part.name == k.test_file(2).name:
            raise RuntimeError("unforeseen")
        return original(part, *rest)

    patch.setattr("multihead.data.crop_store.read_shard", read)


NO_SPACE = OSError(errno.ENOSPC, "No space left on device")


def fill_disk(writes_before: int) -> Fault:
    def apply(_: Kaggle, patch: pytest.MonkeyPatch) -> None:
        original, writes = pd.DataFrame.to_csv, []

        def to_csv(table: pd.DataFrame, path: Path, **options: Any) -> None:
            writes.append(path)
            original(table, path, **options)
            if len(writes) > writes_before:
                path.write_bytes(path.read_bytes()[:50])
                raise OSError(errno.ENOSPC, "No space left on device", str(path))

        patch.setattr(pd.DataFrame, "to_csv", to_csv)

    return apply


class Killed(BaseException):
    """What a process knows of its own SIGKILL: nothing that it could handle."""


def kill_in_writing(_: Kaggle, patch: pytest.MonkeyPatch) -> None:
    original, writes = pd.DataFrame.to_csv, []

    def to_csv(table: pd.DataFrame, path: Path, **options: Any) -> None:
        writes.append(path)
        original(table, path, **options)
        if len(writes) > is_rerun():  # the only time at home, the second in the rerun
            path.write_bytes(path.read_bytes()[:50])
            raise Killed

    patch.setattr(pd.DataFrame, "to_csv", to_csv)


def hang(k: Kaggle, patch: pytest.MonkeyPatch) -> None:
    """Keep test file 2 from being read, and end the time budget then: seconds would not do on a busy machine."""
    original, clock, hangs = shards.read_shard, elapsed, threading.Event()

    def read(part: Part, *rest: Any) -> Any:
        if part.name == k.test_file(2).name:
            hangs.set()
            k.at_the_end.wait(60)
        return original(part, *rest)

    def wait(futures: Sequence[Future[Any]], _: float) -> None:
        while not hangs.is_set() and not futures[0].done():
            concurrent.futures.wait(futures, 0.01)

    patch.setattr("multihead.data.crop_store.read_shard", read)
    patch.setattr("multihead.data.crop_store.wait", wait)
    patch.setattr("multihead.data.crop_store.elapsed", lambda: clock() + (1e6 if hangs.is_set() else 0))
    k.settings.append("time_budget_minutes=1000")


FIRST_CALL_OF_FILE_2 = 1 + 2 * IMAGES // BATCH + 1  # the first of all compiles the network


def fail_at(call: int, error: Exception, least: int = 1) -> Fault:
    """Let the network raise an error at one of its calls and all that follow, where a batch has so many images."""

    def apply(_: Kaggle, patch: pytest.MonkeyPatch) -> None:
        original, calls = StandIn.predict_on_batch, []

        def predict(network: StandIn, images: Any) -> dict[str, Any]:
            calls.append(len(images))
            if len(calls) >= call and len(images) >= least and (least > 1 or len(calls) == call):
                raise error
            return original(network, images)

        patch.setattr(StandIn, "predict_on_batch", predict)

    return apply


def no_finite_answer(_: Kaggle, patch: pytest.MonkeyPatch) -> None:
    original, calls = StandIn.predict_on_batch, []

    def predict(network: StandIn, images: Any) -> dict[str, Any]:
        calls.append(len(images))
        answers = original(network, images)
        if len(calls) == FIRST_CALL_OF_FILE_2:
            answers["vowel_diacritic"][1] = np.nan
        return answers

    patch.setattr(StandIn, "predict_on_batch", predict)


def move_images(kept: int) -> Fault:
    """Leave so many images in test file 2, and put its others into the next."""

    def apply(k: Kaggle, _: Any) -> None:
        k.write_test(2, IDS[:kept])
        k.write_test(3, [*IDS[kept:], *(f"Test_{i}" for i in range(12, 16))])

    return apply


def other_task(k: Kaggle, _: Any) -> None:
    manifest = json.loads((k.weights / MANIFEST_FILE).read_text())
    manifest["task"] |= {"heads": {"letter": [0, 1]}, "score_weights": {}}
    (k.weights / MANIFEST_FILE).write_text(json.dumps(manifest))


def other_answer(k: Kaggle, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(members, "load_model", load_model)
    manifest = json.loads((k.weights / MANIFEST_FILE).read_text())
    manifest["probe"]["vowel_diacritic"][1][4] += 0.002
    (k.weights / MANIFEST_FILE).write_text(json.dumps(manifest))


def label(row: str) -> Fault:
    def apply(k: Kaggle, _: Any) -> None:
        lines = (k.data / "train.csv").read_text().splitlines()
        image = row.split(",", maxsplit=1)[0]
        position = next(i for i, line in enumerate(lines) if line.startswith(image + ","))
        lines[position : position + 1] = [row] if row.count(",") else []
        (k.data / "train.csv").write_text("\n".join(lines) + "\n")

    return apply


def write_labels(k: Kaggle, change: Callable[[str], str]) -> None:
    """Change each row of the table of labels but its header."""
    header, *lines = (k.data / "train.csv").read_text().splitlines()
    (k.data / "train.csv").write_text("\n".join([header, *map(change, lines)]) + "\n")


def before_epoch(epoch: int, act: Callable[[pytest.MonkeyPatch, Trainer], None]) -> Fault:
    def apply(k: Kaggle, patch: pytest.MonkeyPatch) -> None:
        original = Trainer._fit_epoch

        def fit(trainer: Trainer, store: Any) -> None:
            if trainer.state.epoch + 1 == epoch:
                act(patch, trainer)
            original(trainer, store)

        patch.setattr(Trainer, "_fit_epoch", fit)
        k.settings.append("time_budget_minutes=100")

    return apply


def spoil_weights(_: pytest.MonkeyPatch, trainer: Trainer) -> None:
    trainer.network.get_layer("vowel_diacritic").bias.assign(np.full(11, np.nan))


def spend_time(patch: pytest.MonkeyPatch, _: Trainer) -> None:
    patch.setattr("multihead.training.keras_io.elapsed", itertools.count(10**9).__next__)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def stop_saving(checkpoints_before: int, ending: BaseException) -> Fault:
    """End the writing of a checkpoint half way."""

    def apply(_: Kaggle, patch: pytest.MonkeyPatch) -> None:
        original = np.savez
        saved: list[Any] = []

        def savez(file: Any, *arrays: Any, **named: Any) -> None:
            if CHECKPOINT_FILE in str(file.name):
                if len(saved) == checkpoints_before:
                    file.write(b"half of it")
                    raise ending
                saved.append(file)
            original(file, *arrays, **named)

        patch.setattr(np, "savez", savez)

    return apply


def fail_in(function: str) -> Fault:
    def fail(*_: Any, **__: Any) -> None:
        raise NO_SPACE

    return lambda _, patch: patch.setattr(function, fail)


def after_a_training(change: Callable[[Kaggle], Any]) -> Fault:
    """Train to the end, then change what that left or how the run goes."""

    def apply(k: Kaggle, patch: pytest.MonkeyPatch) -> None:
        k.settings += RUN_OF_TWO_EPOCHS
        assert k.run("train", patch, in_a_kernel=False) == 0
        change(k)

    return apply


def leave_only_the_checkpoint(k: Kaggle) -> None:
    for path in k.working.iterdir():
        if path.name != CHECKPOINT_FILE:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def leave_only_the_checkpoint_and_no_time(k: Kaggle) -> None:
    leave_only_the_checkpoint(k)
    k.settings.append("time_budget_minutes=1e-6")


def remove(folder: Path, pattern: str) -> None:
    for path in folder.glob(pattern):
        path.unlink()


PREDICTING: dict[str, Fault] = {
    "none": lambda *_: None,
    "a test file is cut off": lambda k, _: cut(k.test_file(2)),
    "two of four test files are cut off": lambda k, _: list(map(cut, map(k.test_file, (2, 3)))),
    "three of four test files are cut off": lambda k, _: list(map(cut, map(k.test_file, (1, 2, 3)))),
    "a test file is missing": lambda k, _: k.test_file(2).unlink(),
    "a test file too many": lambda k, _: k.write_test(7, [f"Test_{i}" for i in range(90, 94)]),
    "a pixel column is missing": lambda k, _: k.write_test(
        2, IDS, pixels_of(4)[:, :599], names=[n for n in NAMES if n != "7"]
    ),
    "a pixel column too many": lambda k, _: k.write_test(
        2, IDS, np.hstack([pixels_of(4), pixels_of(4)[:, :1]]), names=[*NAMES, "600"]
    ),
    "pixels are floats, whole from 0 to 255": lambda k, _: k.write_test(2, IDS, pixels_of(4).astype(np.float32)),
    "pixels are floats from 0 to 1": lambda k, _: k.write_test(2, IDS, (pixels_of(4) / 255).astype(np.float32)),
    "an image is blank": blank,
    "an image is blank but for a speck of ink": speck,
    "an id comes twice": lambda k, _: k.write_test(2, [*IDS[:3], IDS[0]]),
    "an id is not in sample_submission": lambda k, _: k.write_test(2, [*IDS[:3], "Test_x"]),
    "an id is missing from the files": lambda k, _: k.write_test(2, IDS[:3]),
    "a file holds one image": move_images(1),
    "a file holds no image": move_images(0),
    "a file breaks the reader in a way unforeseen": unforeseen,
    "the disk is full": fill_disk(0),
    "the network fails in the middle of a file": fail_at(FIRST_CALL_OF_FILE_2 + 1, RuntimeError("unforeseen")),
    "the network always fails": fail_at(1, RuntimeError("unforeseen"), least=2),
    "the GPU has no memory for a batch": fail_at(2, MemoryError("out of memory"), least=2),
    "the disk fills up later": fill_disk(1),
    "the disk fills up when three of four files are predicted": fill_disk(4),
    "killed while it writes": kill_in_writing,
    "the time budget is over": lambda k, _: k.settings.append("time_budget_minutes=1e-6"),
    "a test file is never read to its end": hang,
    "the network has no finite answer for an image": no_finite_answer,
    "the weights are damaged": lambda k, _: (k.weights / WEIGHTS_FILE).write_bytes(b"other"),
    "the weights are of another task": other_task,
    "the network answers otherwise than where it was trained": other_answer,
    "the weights are not there": lambda k, _: remove(k.weights, "*"),
    "the test files are not there": lambda k, _: remove(k.data, "test_*"),
    "a setting is not known": lambda k, _: setattr(k, "toml", k.toml + "[run]\nepoch = 3\n"),
    "the settings name another model": lambda k, _: k.settings.append("backbone=efficientnet-b3"),
    "there is no GPU where one is required": lambda k, _: k.settings.append("require_gpu=true"),
}
TRAINING: dict[str, Fault] = {
    "a train file is cut off": lambda k, _: cut(k.data / "train_image_data_1.parquet"),
    "a label is out of range": label("Train_3,168,1,1"),
    "an id has no label": label("Train_0"),
    "no id has a label": lambda k, _: write_labels(k, lambda line: f"x{line}"),
    "all labels of an image are empty": label("Train_3,,,"),
    "a label of one head is empty": label("Train_3,1,1,"),
    "most images are blank": lambda k, _: write_shard(
        k.data / "train_image_data_0.parquet",
        [f"Train_{i}" for i in range(IMAGES)],
        np.full((IMAGES, 600), 255, np.uint8),
    ),
    "no test file holds an image of sample_submission": lambda k, _: (k.data / "sample_submission.csv").write_text(
        (k.data / "sample_submission.csv").read_text().replace("Test_", "test-")
    ),
    "an id is labelled twice": label("Train_7,1,1,1\nTrain_0,1,1,1"),
    "sample_submission is of another form": lambda k, _: (k.data / "sample_submission.csv").write_text(
        "row_id,target\nTest_0_letter,0\n"
    ),
    "the train files are not there": lambda k, _: remove(k.data, "train_image*"),
    "a setting is not known": lambda k, _: setattr(k, "toml", k.toml + "[run]\nepoch = 3\n"),
    "a step of the augmentation is not known": lambda k, _: setattr(
        k, "toml", k.toml + '[[run.augmentation]]\nname = "flip"\n[[run.augmentation]]\nname = "Perspectiv"\n'
    ),
    "a step of the augmentation takes no gray images": lambda k, _: setattr(
        k, "toml", k.toml + '[[run.augmentation]]\nname = "RandomRain"\n'
    ),
    "the backbone is not known": lambda k, _: k.settings.append("backbone=resnet"),
    "there is no GPU where one is required": lambda k, _: k.settings.append("require_gpu=true"),
    "a checkpoint is required and there is none": lambda k, _: k.settings.append("resume=required"),
    "the checkpoint has another learning rate": after_a_training(lambda k: k.settings.append("learning_rate=0.5")),
    "the checkpoint has another seed": after_a_training(lambda k: k.settings.append("seed=3")),
    "only the checkpoint of a finished training is there": after_a_training(leave_only_the_checkpoint),
    "the same, and the time budget is over": after_a_training(leave_only_the_checkpoint_and_no_time),
    "a finished training's weights are damaged": after_a_training(
        lambda k: (k.working / WEIGHTS_FILE).write_bytes(b"other")
    ),
    "weights of another training are there, and the time budget is over": after_a_training(
        lambda k: k.settings.extend(["seed=3", "time_budget_minutes=1e-6"])
    ),
    "the checkpoint is damaged": lambda k, _: (k.working / "checkpoint.npz").write_bytes(b"cut"),
    "none": lambda *_: None,
    "the loss is not finite in the first epoch": before_epoch(1, spoil_weights),
    "the loss is not finite later": before_epoch(2, spoil_weights),
    "the time budget is over before a shard is read": lambda k, _: k.settings.append("time_budget_minutes=1e-6"),
    "the time budget is over in the first epoch": before_epoch(1, spend_time),
    "the time budget is over later": before_epoch(2, spend_time),
    "Ctrl-C before a shard is done": before_epoch(1, interrupt),
    "Ctrl-C in the second epoch": before_epoch(2, interrupt),
    "the disk is full": stop_saving(0, NO_SPACE),
    "the disk fills up in the second epoch": stop_saving(4, NO_SPACE),
    "killed while it saves, in the second epoch": stop_saving(4, Killed()),
    "matplotlib is not there": lambda _, patch: patch.setitem(sys.modules, "matplotlib", None),
    "jinja2 is not there": lambda _, patch: patch.setitem(sys.modules, "jinja2", None),
    "the disk is full for the report": fail_in("multihead.report.page.whole_file"),
    "the disk is full for the report's record": fail_in("numpy.savez_compressed"),
    "the disk is full for the answers": fail_in("multihead.training.save.write_out_of_fold"),
}


def table(heading: str) -> dict[str, list[str]]:
    """The cells behind the first of each row of one of the document's tables."""
    text = (HOUSE / "docs" / "faults.md").read_text().split(f"## {heading}")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in rows[2:]}


def check(code: int, expected: str, words: str, captured: tuple[str, str]) -> None:
    """Compare how a run ended with a row: its exit code, the words in `quotes`, and that an error is one line."""
    out, err = captured
    assert code == int(expected), (out, err)
    for part in re.findall(r"`([^`]+)`", words):
        assert part in out + err
    if err.startswith("error: "):
        assert err.count("\n") == 1


def run(command: str, situation: str, kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("KAGGLE_IS_COMPETITION_RERUN", "1" if situation == "rerun" else "")
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch" if situation != "home" else "")
    kaggle.settings += RUN_OF_TWO_EPOCHS if command == "train" else [f"batch_size={BATCH}"]
    try:
        return kaggle.run(command, monkeypatch, in_a_kernel=situation != "home")
    except Killed:
        return 9
    except RuntimeError as error:  # Python's traceback and exit code, were this a process of its own
        if str(error) != "unforeseen":
            raise
        print(f"{type(error).__name__}: {error}")
        return 1


def exit_codes(cell: str) -> tuple[dict[str, str], str]:
    """Split "2 (1): words" into the exit codes at home and in the public run, or in the rerun, and the words."""
    codes, words = cell.split(":", maxsplit=1)
    home, _, public = codes.strip(")").partition(" (")
    return {"home": home, "public": public or home, "rerun": home}, words


def images_with_prior(path: Path) -> int:
    """Check that a submission is whole and that each image is predicted or has the prior; count the latter."""
    answers = pd.read_csv(path)
    assert answers.row_id.tolist() == [f"Test_{i}_{head}" for i in range(FILES * IMAGES) for head in ORDER]
    of_image = answers.target.to_numpy().reshape(-1, len(ORDER)).tolist()
    prior = [PRIOR[head] for head in ORDER]
    assert all(row in ([1, 1, 1], prior) for row in of_image)
    return of_image.count(prior)


def test_every_row_of_the_document_is_tested_and_no_other() -> None:
    assert list(table("Predicting")) == list(PREDICTING)
    assert list(table("Training")) == list(TRAINING)


@pytest.mark.parametrize("fault", PREDICTING)
@pytest.mark.parametrize("situation", ["home", "public", "rerun"])
def test_predicting(
    fault: str, situation: str, kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before_rerun, in_rerun, left = table("Predicting")[fault]
    PREDICTING[fault](kaggle, monkeypatch)
    codes, words = exit_codes(in_rerun if situation == "rerun" else before_rerun)
    capsys.readouterr()
    check(run("predict", situation, kaggle, monkeypatch), codes[situation], words, capsys.readouterr())
    submission = kaggle.working / "submission.csv"
    if situation != "rerun":
        assert submission.exists() == (codes[situation] == "0")
    elif left == "none":
        assert not submission.exists()
    else:
        found = re.search(r"(\d+) images? ha(s|ve) the prior", left)
        assert images_with_prior(submission) == (int(found[1]) if found else 0)


@pytest.mark.parametrize(("has_hidden_test", "code"), [(True, 2), (False, 0)])
def test_a_fault_is_an_error_where_there_is_a_hidden_test_however_many_images_it_has(
    kaggle: Kaggle,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    has_hidden_test: bool,
    code: int,
) -> None:
    task = dataclasses.replace(TINY, hidden_images=0, has_hidden_test=has_hidden_test)
    monkeypatch.setitem(tasks.TASKS, "bengali", task)
    cut(kaggle.test_file(2))
    assert kaggle.run("predict", monkeypatch, in_a_kernel=False) == code
    captured = capsys.readouterr()
    assert ("test_image_data_2.parquet: not a readable parquet file" in captured.err) is has_hidden_test
    assert ("warning: " in captured.out) is not has_hidden_test


def test_a_rehearsal_reads_what_predicting_tells_of_its_stages(
    kaggle: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("predict", "public", kaggle, monkeypatch) == 0
    assert sorted(f.name for f in kaggle.root.iterdir()) == ["input", "settings.toml", "working"]  # nobody watches
    events = tmp_path / "events.jsonl"
    monkeypatch.setenv(EVENTS_VARIABLE, str(events))
    assert run("predict", "public", kaggle, monkeypatch) == 0
    assert len(read_events(events, "file predicted")) == 4
    unknown = read_stages(events, HIDDEN)
    assert (unknown.read_images, unknown.files, unknown.network_images) == (16, 4, 16)
    assert (unknown.device, unknown.images_per_second) == ("", 0)
    manifest = json.loads((kaggle.weights / MANIFEST_FILE).read_text())
    manifest |= {"device": "Tesla T4", "images_per_second": 3000.4}
    manifest["augmentation"] = [{"name": "affine", "shift": 0.1}, {"name": "flip"}]
    (kaggle.weights / MANIFEST_FILE).write_text(json.dumps(manifest))
    kaggle.settings.append("test_time_copies=2")
    assert run("predict", "public", kaggle, monkeypatch) == 0
    known = read_stages(events, HIDDEN)
    assert (known.read_images, known.network_images, known.device) == (16, 48, "Tesla T4")
    assert known.images_per_second == pytest.approx(3000.4)


def test_a_run_does_not_fail_for_what_it_cannot_tell(
    kaggle: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (tmp_path, tmp_path / "nowhere" / "events.jsonl"):
        monkeypatch.setenv(EVENTS_VARIABLE, str(path))
        assert run("predict", "public", kaggle, monkeypatch) == 0


def test_a_training_stopped_between_two_shards_that_are_drawn_from_together_goes_on_as_if_unbroken(
    kaggle: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("train", "home", kaggle, monkeypatch) == 0
    unbroken = kaggle.working.rename(tmp_path / "unbroken")
    kaggle.working.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        stop_saving(4, NO_SPACE)(kaggle, patch)
        assert run("train", "home", kaggle, monkeypatch) == 2
    assert read_checkpoint(kaggle.working / CHECKPOINT_FILE).progress == (1, 1)
    assert run("train", "home", kaggle, monkeypatch) == 0
    ends = [read_checkpoint(folder / CHECKPOINT_FILE) for folder in (unbroken, kaggle.working)]
    assert all(np.array_equal(one, other) for one, other in zip(*(end.read_arrays() for end in ends), strict=True))
    losses = [[row["loss"] for row in end.state.history] for end in ends]
    assert losses[0] == pytest.approx(losses[1])


def train(kaggle: Kaggle, patch: pytest.MonkeyPatch, *settings: str) -> int:
    before = list(kaggle.settings)
    kaggle.settings += [*RUN_OF_TWO_EPOCHS, *settings]
    try:
        return kaggle.run("train", patch, in_a_kernel=False)
    finally:
        kaggle.settings = before


def saved_by(folder: Path) -> tuple[str, str]:
    """The SHA-256 of a folder's weights, and of those that its checkpoint tells of."""
    return read_manifest(folder).sha256, read_checkpoint(folder / CHECKPOINT_FILE).state.saved_sha256


def test_another_training_s_weights_in_the_working_folder_are_not_taken_for_this_one_s(
    kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = kaggle.root / "input" / "earlier"
    earlier.mkdir()
    assert train(kaggle, monkeypatch, "seed=3") == 0
    (kaggle.working / CHECKPOINT_FILE).rename(earlier / CHECKPOINT_FILE)
    expected = read_manifest(kaggle.working)
    shutil.rmtree(kaggle.working)
    kaggle.working.mkdir()
    assert train(kaggle, monkeypatch) == 0
    assert train(kaggle, monkeypatch, "seed=3") == 0
    assert f"going on from {earlier / CHECKPOINT_FILE}" in capsys.readouterr().out
    assert read_manifest(kaggle.working).score == expected.score
    assert len(set(saved_by(kaggle.working))) == 1


def test_weights_of_another_training_are_not_named_where_this_one_had_no_time_for_any(
    kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(kaggle, monkeypatch) == 0
    others, _ = saved_by(kaggle.working)
    with pytest.MonkeyPatch.context() as patch:  # after the checkpoint of its first shard
        stop_saving(1, KeyboardInterrupt())(kaggle, patch)
        assert train(kaggle, monkeypatch, "seed=3") == 130
    assert train(kaggle, monkeypatch, "seed=3", "time_budget_minutes=1e-6") == 0
    assert "unfinished epoch 1: no score, as no held-out image was read [saved]" in capsys.readouterr().out
    assert read_manifest(kaggle.working).sha256 != others
    assert read_manifest(kaggle.working).epoch == 1


def test_what_is_lost_stays_forgotten_and_what_is_made_anew_gets_a_score_once_there_is_time(
    kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(kaggle, monkeypatch) == 0
    leave_only_the_checkpoint(kaggle)
    assert train(kaggle, monkeypatch, "time_budget_minutes=1e-6") == 0
    assert read_manifest(kaggle.working).score is None
    state = read_checkpoint(kaggle.working / CHECKPOINT_FILE).state
    assert (state.saved_epoch, state.best_score) == (0, WORST)
    assert train(kaggle, monkeypatch) == 0
    manifest = read_manifest(kaggle.working)
    assert manifest.score
    assert manifest.epoch == 2
    assert len(set(saved_by(kaggle.working))) == 1
    capsys.readouterr()
    assert train(kaggle, monkeypatch) == 0
    assert "making the weights anew" not in capsys.readouterr().out


def test_where_the_furthest_checkpoint_is_damaged_inside_the_next_one_is_gone_on_from(
    kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kaggle.settings += [*RUN_OF_TWO_EPOCHS, "epochs=1"]
    assert kaggle.run("train", monkeypatch, in_a_kernel=False) == 0
    earlier = kaggle.root / "input" / "earlier"
    shutil.copytree(kaggle.working, earlier)
    assert run("train", "home", kaggle, monkeypatch) == 0
    path = kaggle.working / CHECKPOINT_FILE
    with zipfile.ZipFile(path) as archive:
        place = archive.getinfo("arr_0.npy").header_offset + 300
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    capsys.readouterr()
    assert run("train", "home", kaggle, monkeypatch) == 0
    printed = capsys.readouterr().out
    assert f"warning: not used: {path}: not a readable checkpoint (Bad CRC-32" in printed
    assert f"going on from {earlier / CHECKPOINT_FILE}: 1 epochs" in printed


FILES_CALLED = {
    "weights": {WEIGHTS_FILE, MANIFEST_FILE},
    "answers": {OUT_OF_FOLD_FILE},
    "history": {"history.csv"},
    "checkpoint": {CHECKPOINT_FILE},
    "report": {REPORT_FOLDER},
    "record": {REPORT_FOLDER},
}


@pytest.mark.parametrize("fault", TRAINING)
@pytest.mark.parametrize("situation", ["home", "public"])
def test_training(
    fault: str, situation: str, kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cell, left = table("Training")[fault]
    TRAINING[fault](kaggle, monkeypatch)
    codes, words = exit_codes(cell)
    capsys.readouterr()
    check(run("train", situation, kaggle, monkeypatch), codes[situation], words, capsys.readouterr())
    called = [FILES_CALLED[name] for name in FILES_CALLED if name in left]
    assert {f.name for f in kaggle.working.iterdir()} == set().union(*called)
    if epoch := re.search(r"weights of epoch (\d)", left):
        assert read_manifest(kaggle.working).epoch == int(epoch[1])
    if progress := re.search(r"checkpoint of epoch (\d), shard (\d)", left):
        assert read_checkpoint(kaggle.working / CHECKPOINT_FILE).progress == (int(progress[1]), int(progress[2]))
