import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from multihead.config.known_tasks import TASKS
from multihead.config.model_settings import ModelSettings
from multihead.data import shards as module
from multihead.data.crop import crop_resize
from multihead.data.crop_store import CropStore, crops_ahead
from multihead.data.shards import Part, Shard
from multihead.runtime.errors import UserError
from tests.built_in import BENGALI
from tests.conftest import HOUSE
from tests.reading import part_of, read_labels, read_shard, shards_to_train

MODEL = ModelSettings(image_size=(40, 48))


def test_photographs_are_read_at_the_size_that_the_network_sees(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
    (tmp_path / "cat").mkdir()
    cv2.imwrite(str(tmp_path / "cat" / "1.png"), pixels[..., ::-1])
    task = replace(TASKS["animals10"], name="pets", train_files="*/*", test_files="dog/*", image_shape=(8, 8, 3))
    (((shard,), _),) = crops_ahead(shards_to_train(tmp_path, task), task, [replace(MODEL, crop="none")])
    assert np.array_equal(shard.images[0], pixels)


def test_photographs_are_shown_whole_beside_what_the_network_sees_of_them(tmp_path: Path) -> None:
    wide = np.zeros((50, 100, 3), np.uint8)
    wide[:, 50:] = (0, 0, 250)
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "0.png").write_bytes(b"not an image")
    cv2.imwrite(str(tmp_path / "cat" / "1.png"), wide[..., ::-1])
    task = replace(TASKS["animals10"], name="pets", train_files="*/*", test_files="dog/*")
    seen: list[np.ndarray] = []
    model = replace(MODEL, crop="none")
    assert len(list(crops_ahead(shards_to_train(tmp_path, task), task, [model], show=seen.append))) == 1
    ((shown,),) = seen
    assert shown.shape == (192, 192, 3)
    assert (shown[:48] == 255).all()
    assert (shown[144:] == 255).all()
    assert (shown[50:140, :90] == 0).all()
    assert (shown[50:140, 100:] == (0, 0, 250)).all()


def test_photographs_are_read_once_for_each_size_and_the_same_ones_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cat").mkdir()
    for name in "12":
        pixels = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "cat" / f"{name}.png"), pixels)
    task = replace(TASKS["animals10"], name="pets", train_files="*/*", test_files="dog/*")
    sizes = [(40, 40), (48, 32), (40, 40)]
    models = [replace(MODEL, crop="none", image_size=size) for size in sizes]
    read: list[tuple[int, int, int]] = []

    def counted(part: Part, image_shape: tuple[int, int, int], *others: Any) -> Shard:
        read.append(image_shape)
        shard = module.read_shard(part, image_shape, *others)
        return replace(shard, ids=shard.ids[lost:], images=shard.images[lost:]) if len(read) == 2 else shard

    monkeypatch.setattr("multihead.data.crop_store.read_shard", counted)
    lost = 0
    ((shards, _),) = crops_ahead(shards_to_train(tmp_path, task), task, models)
    assert [shard.images.shape[1:3] for shard in shards] == sizes
    assert read == [(40, 40, 3), (48, 32, 3)]
    read.clear()
    lost = 1
    ((shards, _),) = crops_ahead(shards_to_train(tmp_path, task), task, models)
    assert [(list(shard.ids), len(shard.images), shard.unreadable) for shard in shards] == [
        (["cat/2.png"], 1, ["cat/1.png"])
    ] * 3


def test_each_file_s_crops_come_once_and_in_order(drawn: Path) -> None:
    files = shards_to_train(drawn, BENGALI)
    labels = read_labels(drawn, BENGALI)
    shards = [shard for (shard,), _ in crops_ahead(files, BENGALI, [MODEL], labels)]
    assert [shard.ids for shard in shards] == [read_shard(f, BENGALI).ids for f in files]
    whole = read_shard(files[2], BENGALI, labels)
    assert np.array_equal(shards[2].images, crop_resize(whole.images, (40, 48), "ink", dark_ink=True))
    assert shards[2].labels is not None
    assert whole.labels is not None
    assert all(np.array_equal(shards[2].labels[head], whole.labels[head]) for head in BENGALI.heads)


def test_a_damaged_file_stops_the_reading_with_its_name(drawn: Path, tmp_path: Path) -> None:
    broken = part_of(tmp_path / "test_image_data_9.parquet", BENGALI)
    (tmp_path / broken.name).write_bytes(b"PAR1")
    coming = crops_ahead([part_of(drawn / "test_image_data_0.parquet", BENGALI), broken], BENGALI, [MODEL])
    assert len(next(coming)[0][0].ids) == 3
    with pytest.raises(UserError, match="test_image_data_9"):
        next(coming)


def test_with_a_handler_a_damaged_file_is_passed_over(drawn: Path, tmp_path: Path) -> None:
    broken = part_of(tmp_path / "test_image_data_9.parquet", BENGALI)
    (tmp_path / broken.name).write_bytes(b"PAR1")
    good = [part_of(drawn / f"test_image_data_{i}.parquet", BENGALI) for i in range(2)]
    for files in ([broken, *good], [good[0], broken, good[1]], [*good, broken]):
        errors: list[Exception] = []
        read = [shard for (shard,), _ in crops_ahead(files, BENGALI, [MODEL], on_error=errors.append)]
        assert [shard.ids[0] for shard in read] == ["Test_0", "Test_3"]
        assert len(errors) == 1


HANGING = """
import sys, threading, time
from pathlib import Path
import polars
from multihead.config import known_tasks, settings
from multihead.data import crop_store
from multihead.runtime import errors, log
from multihead.data.readers.wide_parquet import WideParquet

def hang(*_):
    is_hanging.set()
    time.sleep(600)

is_hanging = threading.Event()
{patch} = hang
model, soon = settings.ModelSettings(), log.elapsed() + 0.5
try:
    bengali = known_tasks.TASKS["bengali"]
    next(crop_store.crops_ahead([WideParquet(Path(sys.argv[1]), bengali)], bengali, [model], deadline=soon))
except errors.OutOfTimeError:
    print("in time")
is_hanging.wait()  # Python must not end while the thread is inside of polars
"""


@pytest.mark.parametrize("patch", ["crop_store.read_crops", "polars.LazyFrame.collect"])
def test_a_file_that_is_never_read_to_its_end_holds_up_neither_the_caller_nor_the_end_of_the_process(
    drawn: Path, patch: str
) -> None:
    script = HANGING.format(patch=patch)
    done = subprocess.run(
        [sys.executable, "-c", script, str(drawn / "test_image_data_0.parquet")],
        env=os.environ | {"PYTHONPATH": str(HOUSE / "src")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "in time\n"), done.stderr


def test_a_stored_shard_comes_back_the_same_without_being_in_memory(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), np.uint8)
    shard = Shard(list("abcde"), images, {"head": np.arange(5)})
    store = CropStore(tmp_path)
    store.save(3, shard)
    back = store.load(3)
    assert isinstance(back.images, np.memmap)
    assert np.array_equal(back.images, images)
    assert back.ids == shard.ids
    assert back.labels is not None
    assert back.labels["head"].tolist() == [0, 1, 2, 3, 4]
    assert store.numbers() == [3]
