"""Further images of a training: which are found, how often they come, and what a training with them leaves."""

import csv
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.kaggle.staging import stage
from multihead.cli import main
from multihead.config.files import SOFT_LABELS_FILE
from multihead.config.further_images import FurtherImages
from multihead.config.manifest import read_manifest
from multihead.config.model_settings import ModelSettings
from multihead.config.settings import RunSettings
from multihead.config.settings_file import read_settings
from multihead.config.task import Task
from multihead.data.crop_store import CropStore
from multihead.data.targets import soft_targets_of
from multihead.runtime.errors import UserError
from multihead.scoring.out_of_fold import OutOfFold, read_out_of_fold, write_out_of_fold
from multihead.training.further import _draw
from multihead.training.images import TrainingImages
from multihead.training.schedule import TrainingState
from multihead.training.trainer import Trainer
from tests.training_process import Training, assert_same_end

CLASSES = 3
TASK = Task(
    "shades",
    "pixel csv",
    (8, 8, 1),
    {"shade": tuple(range(CLASSES))},
    "train.csv",
    dataset="some/shades",
    test_files="test.csv",
    id_column="id",
)
MODEL = ModelSettings("shades", backbone="stack", image_size=(8, 8), crop="none", stack_layers=("conv 2",))
TRAIN, FURTHER, SOFT = range(40), range(100, 130), range(200, 210)  # the pixels of the images, by which they are known


def write_images(path: Path, values: range, *, has_labels: bool = True, prefix: str = "image") -> None:
    """Write images of one value each, but for the first pixel, with the value modulo CLASSES as their class."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", *(["shade"] if has_labels else []), *(f"pixel{place}" for place in range(64))])
        for value in values:
            label = [value % CLASSES] if has_labels else []
            rows.writerow([f"{prefix}{value}", *label, 0, *[value] * 63])


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """A folder with train images in data/, labelled ones in more/, and in soft/ others with soft labels."""
    write_images(tmp_path / "data" / "train.csv", TRAIN)
    write_images(tmp_path / "data" / "test.csv", range(90, 94), has_labels=False)
    write_images(tmp_path / "more" / "train.csv", FURTHER)
    write_images(tmp_path / "soft" / "unlabelled.csv", SOFT, has_labels=False)
    said = np.random.default_rng(0).dirichlet([1] * CLASSES, len(SOFT)).astype(np.float32)
    ids = [f"image{value}" for value in SOFT]
    write_out_of_fold(tmp_path / "soft" / SOFT_LABELS_FILE, OutOfFold("", ids, {}, {"shade": said}))
    (tmp_path / "working").mkdir()
    return tmp_path


def hard(folder: Path, weight: float = 1.0, fade_epochs: float = 0.0) -> FurtherImages:
    return FurtherImages(str(folder), "drawn", "CC0", weight, fade_epochs)


def soft(folder: Path, weight: float = 1.0) -> FurtherImages:
    return FurtherImages(str(folder), "drawn", "CC0", weight, files="unlabelled.csv", soft_labels=SOFT_LABELS_FILE)


def images_of(places: Path, *sources: FurtherImages, **changes: Any) -> TrainingImages:
    run = RunSettings(batch_size=8, augmentation=(), mixup_share=0, cutmix_share=0, further_images=sources)
    return TrainingImages(places / "data", TASK, MODEL, replace(run, **changes), places / "working")


@pytest.fixture
def store(places: Path) -> CropStore:
    (places / "store").mkdir()
    return CropStore(places / "store")


def epoch_of(images: TrainingImages, store: CropStore, epoch: int) -> tuple[Counter[int], dict[int, Any]]:
    """Return how often each value comes in an epoch, and the target of each."""
    times, targets, before = Counter[int](), {}, 0
    for group in images.shard_groups(store, epoch):
        batches = images.batches(store, group, before, epoch)
        before += len(group)
        for number in range(len(batches)):
            some = slice(batches.images_until(number + 1) - batches.images_until(number))
            pixels, of_heads = batches[number]
            for value, target in zip(pixels[some, 1, 1, 0].tolist(), of_heads["shade"][some], strict=True):
                times[value] += 1
                targets[value] = target
    return times, targets


def test_an_epoch_has_each_train_image_once_and_further_ones_as_often_as_their_weight_says(
    places: Path, store: CropStore
) -> None:
    images = images_of(places, hard(places / "more", 2.5), soft(places / "soft", 0.3))
    for epoch in (0, 1):
        times, targets = epoch_of(images, store, epoch)
        assert [times[value] for value in TRAIN] == [int(f"image{v}" not in held_out(images)) for v in TRAIN]
        assert Counter(times[value] for value in FURTHER) == {2: 15, 3: 15}
        assert sum(times[value] for value in SOFT) == 3
        assert images.images_in(epoch) == sum(times.values())
        for value in (value for value in times if value not in SOFT):
            assert targets[value].tolist() == [float(value % CLASSES == place) for place in range(CLASSES)]


def held_out(images: TrainingImages) -> set[str]:
    return set(images.held_out.index[images.held_out])


def test_soft_labels_are_the_targets(places: Path, store: CropStore) -> None:
    answers = read_out_of_fold(places / "soft" / SOFT_LABELS_FILE).probabilities["shade"]
    _, targets = epoch_of(images_of(places, soft(places / "soft"), hard(places / "more")), store, 0)
    for value, expected in zip(SOFT, answers, strict=True):
        assert np.array_equal(targets[value], expected)


def test_two_images_with_one_id_are_refused(places: Path) -> None:
    write_images(places / "soft" / "unlabelled_again.csv", SOFT, has_labels=False)
    with pytest.raises(UserError, match=r"soft: unlabelled\*\.csv.*image200"):
        images_of(places, replace(soft(places / "soft"), files="unlabelled*.csv"))


@given(st.integers(1, 50), st.floats(0, 4), st.integers(0, 9))
def test_each_image_comes_as_often_as_its_weight_or_once_more(images: int, weight: float, seed: int) -> None:
    chosen = _draw(images, weight, np.random.default_rng(seed))
    times = np.bincount(chosen, minlength=images)
    assert len(chosen) == round(weight * images)
    assert set(times.tolist()) <= {int(weight), int(weight) + 1}


def test_a_weight_fades_in_a_straight_line_and_what_has_faded_is_not_read(places: Path, store: CropStore) -> None:
    images = images_of(places, hard(places / "more", 1.0, fade_epochs=2), epochs=6)
    assert [images.images_in(epoch) - images.train_count for epoch in range(4)] == [30, 15, 0, 0]
    (places / "more" / "train.csv").unlink()
    times, _ = epoch_of(images, store, 2)
    assert set(times) <= set(TRAIN)


def test_another_epoch_draws_others(places: Path, store: CropStore) -> None:
    images = images_of(places, hard(places / "more", 0.5))
    drawn = [set(epoch_of(images, store, epoch)[0]) & set(FURTHER) for epoch in (1, 2, 1)]
    assert len(drawn[0]) == 15
    assert drawn[0] != drawn[1]
    assert drawn[0] == drawn[2]


def test_further_images_that_are_held_out_are_left_out(
    places: Path, store: CropStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where a teacher has answered the train images."""
    write_images(places / "again" / "train.csv", TRAIN)
    images = images_of(places, hard(places / "again"))
    left_out = len(held_out(images))
    assert left_out > 0
    assert images.further.counts() == {str(places / "again"): len(TRAIN) - left_out}
    assert f"{left_out} of 40 images are held out here, and left out" in capsys.readouterr().out
    times, _ = epoch_of(images, store, 1)
    assert {f"image{value}" for value in times}.isdisjoint(held_out(images))


PHOTOS = Task(
    "photos", "image files", (8, 8, 1), {"kind": ("a", "b")}, "train/{kind}/*.png", dataset="some/photos", crop="none"
)


def test_of_photographs_neither_the_held_out_nor_the_fold_left_out_are_trained_on_however_they_are_found(
    tmp_path: Path,
) -> None:
    """The source is the data folder itself, and its subfolder, below which the same files have other ids."""
    for kind in "ab":
        (tmp_path / "photos" / "train" / kind).mkdir(parents=True)
        for number in range(20):
            path = tmp_path / "photos" / "train" / kind / f"{kind}{number}.png"
            cv2.imwrite(str(path), np.full((8, 8), number, np.uint8))
    model = ModelSettings("photos", backbone="stack", image_size=(8, 8), crop="none", stack_layers=("conv 2",))
    for folder, files in ((tmp_path / "photos", ""), (tmp_path / "photos" / "train", "{kind}/*.png")):
        source = replace(hard(folder), files=files)
        run = RunSettings(validation_share=0.2, further_images=(source,))
        images = TrainingImages(tmp_path / "photos", PHOTOS, model, run, tmp_path)
        assert images.count == 32  # eight are of the fold
        assert images.further.counts() == {str(folder): images.train_count}


def test_rows_of_another_table_without_ids_are_other_images(places: Path) -> None:
    for path in (places / "data" / "train.csv", places / "more" / "train.csv"):
        pd.read_csv(path).drop(columns="id").to_csv(path, index=False)
    task = replace(TASK, id_column="")
    run = RunSettings(further_images=(hard(places / "more"),), validation_share=0.2)
    images = TrainingImages(places / "data", task, MODEL, run, places / "working")
    assert images.further.counts() == {str(places / "more"): len(FURTHER)}
    again = replace(run, further_images=(hard(places / "data"),))
    images = TrainingImages(places / "data", task, MODEL, again, places / "working")
    assert images.further.counts() == {str(places / "data"): images.train_count}


def test_a_folder_is_found_by_its_last_name_among_the_inputs(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_ROOT", str(places / "kaggle"))
    write_images(places / "kaggle" / "input" / "datasets" / "somebody" / "drawn" / "train.csv", FURTHER)
    images = images_of(places, hard(Path("data/drawn")))
    assert images.further.counts() == {"data/drawn": len(FURTHER)}
    write_images(places / "kaggle" / "input" / "drawn" / "train.csv", FURTHER)
    with pytest.raises(UserError, match=r"data/drawn: found as .*input/.*drawn, .*drawn; write the path of one"):
        images_of(places, hard(Path("data/drawn")))
    with pytest.raises(UserError, match="data/none: no such folder, and none called none in any input"):
        images_of(places, hard(Path("data/none")))


def test_soft_labels_that_do_not_fit_are_refused(places: Path) -> None:
    path = places / "soft" / SOFT_LABELS_FILE
    ids = [f"image{value}" for value in SOFT]
    for said, problem in (
        ({"shade": np.full((10, 4), 0.25, np.float32)}, r"probabilities of \{'shade': 4\}; expected \{'shade': 3\}"),
        ({"other": np.full((10, 3), 0.25, np.float32)}, r"probabilities of \{'other': 3\}"),
        ({"shade": np.full((10, 3), np.nan, np.float32)}, "probabilities that are no finite numbers"),
    ):
        write_out_of_fold(path, OutOfFold("", ids, {}, said))
        with pytest.raises(UserError, match=problem):
            images_of(places, soft(places / "soft"))
    others = OutOfFold("", [f"other{value}" for value in SOFT], {}, {"shade": np.full((10, 3), 1 / 3, np.float32)})
    write_out_of_fold(path, others)
    with pytest.raises(UserError, match="soft: none of its images has a label, or all are held out here"):
        images_of(places, soft(places / "soft"))
    path.unlink()
    write_out_of_fold(places / "working" / SOFT_LABELS_FILE, others)  # of something else
    with pytest.raises(UserError, match=rf"no {SOFT_LABELS_FILE} in .*soft; `multihead label` leaves one"):
        images_of(places, soft(places / "soft"))


def test_images_without_a_soft_label_are_passed_over(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = [f"image{value}" for value in SOFT[:7]]
    said = {"shade": np.full((7, CLASSES), 1 / CLASSES, np.float32)}
    write_out_of_fold(places / "soft" / SOFT_LABELS_FILE, OutOfFold("", ids, {}, said))
    images = images_of(places, soft(places / "soft"))
    assert images.further.counts() == {str(places / "soft"): 7}
    assert "3 of 10 images have no soft label, and are passed over: image207, image208" in capsys.readouterr().out


def test_probabilities_of_classes_in_an_order_become_those_of_exceeding_each() -> None:
    said = {"grade": np.array([[0.2, 0.3, 0.5]], np.float32), "any": np.array([[0.1, 0.9]], np.float32)}
    targets = soft_targets_of(said, {"grade": "ordinal", "any": "sigmoid"})
    assert np.allclose(targets["grade"], [[0.8, 0.5]])
    assert np.allclose(targets["any"], [[0.1, 0.9]])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[{folder = "a", origin = "b"}]', "further_images 1: no licence; expected under what"),
        (
            '[{folder = "", origin = "b", licence = "c"}]',
            "further_images 1: folder = ''; expected the path or the name",
        ),
        ('[{folder = "a", origin = "b", licence = "c", wight = 1}]', "wight is not known; did you mean weight?"),
        ('[{folder = "a", origin = "b", licence = "c", weight = -1}]', "weight = -1.0; expected at least 0"),
        ('["a"]', "further_images 1 = 'a'; expected a table with folder, origin and licence"),
        (
            '[{folder = "a", origin = "b", licence = "c", files = "../x.csv"}]',
            "further_images 1: files = '../x.csv'; expected a pattern below the data folder, without .. and **",
        ),
        ('"a"', "further_images = 'a'; expected a list of tables"),
        (
            '[{folder = "x/a", origin = "b", licence = "c"}, {folder = "y/a", origin = "b", licence = "c"}]',
            "two folders are called a; expected another name",
        ),
    ],
)
def test_a_mistake_in_a_source_is_one_line(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text(f"[run]\nfurther_images = {text}\n")
    with pytest.raises(UserError) as error:
        read_settings(tmp_path / "settings.toml")
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_a_training_leaves_origin_and_licence_in_the_manifest_and_labels_others(places: Path) -> None:
    run = RunSettings(epochs=1, batch_size=8, further_images=(hard(places / "more", 0.5),))
    Trainer(TASK, MODEL, run, places / "data", places / "working").train()
    source = {"folder": str(places / "more"), "origin": "drawn", "licence": "CC0", "images": len(FURTHER)}
    assert read_manifest(places / "working").further_images == (source,)
    options = [f"--set=weights={places / 'working'}", "--files=unlabelled.csv"]
    assert main(["label", str(places / "soft"), *options]) == 0
    labels = read_out_of_fold(places / "soft" / SOFT_LABELS_FILE)
    assert labels.ids == [f"image{value}" for value in SOFT]
    assert labels.probabilities["shade"].shape == (len(SOFT), CLASSES)
    assert np.allclose(labels.probabilities["shade"].sum(axis=1), 1, atol=1e-5)


@pytest.mark.slow
def test_the_learning_rate_falls_over_all_images_of_an_epoch(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    of_batches = TrainingState.learning_rates

    def kept(state: TrainingState, *arguments: Any) -> list[float]:
        rates.extend(of_batches(state, *arguments))
        return rates[-arguments[1] :]

    monkeypatch.setattr(TrainingState, "learning_rates", kept)
    run = RunSettings(epochs=1, batch_size=8, further_images=(hard(places / "more", 2.0),), warmup_epochs=0.0)
    Trainer(TASK, MODEL, run, places / "data", places / "working").train()
    assert len(rates) == 13  # of 37 + 60 images
    cosine = [(1 + math.cos(math.pi * min(8 * batch / 97, 1))) / 2 for batch in range(1, 14)]
    assert rates == pytest.approx([1e-5 + (1e-3 - 1e-5) * share for share in cosine])


@pytest.mark.slow
def test_sources_of_sessions_before_and_of_the_weights_to_start_from_stay_in_the_manifest(places: Path) -> None:
    first = RunSettings(epochs=1, batch_size=8, further_images=(hard(places / "more"),), warmup_epochs=0.0)
    Trainer(TASK, MODEL, first, places / "data", places / "working").train()
    stage(places / "working", places, "first")
    goes_on = replace(first, epochs=2, further_images=())
    Trainer(TASK, MODEL, goes_on, places / "data", places / "working").train()
    source = {"folder": str(places / "more"), "origin": "drawn", "licence": "CC0", "images": len(FURTHER)}
    assert read_manifest(places / "working").further_images == (source,)
    (places / "second").mkdir()
    run = RunSettings(epochs=1, batch_size=8, pretrained=str(places / "first.model.weights.h5"))
    Trainer(TASK, MODEL, run, places / "data", places / "second").train()
    manifest = read_manifest(places / "second")
    assert manifest.further_images == (source,)
    assert manifest.started_from == f"first.model.weights.h5, SHA-256 {read_manifest(places, 'first').sha256}"


@pytest.mark.slow
def test_killed_in_an_epoch_a_training_with_further_images_ends_with_the_same_bits(drawn: Path, tmp_path: Path) -> None:
    def training(name: str) -> Training:
        made = Training(tmp_path / name, drawn)
        source = f'{{folder = "{drawn}", origin = "drawn", licence = "CC0", weight = 0.4, fade_epochs = 3}}'
        with (made.root / "settings.toml").open("a") as file:
            file.write(f"further_images = [{source}]\n")
        return made

    unbroken, broken = training("unbroken"), training("broken")
    unbroken.run_to_the_end()
    assert broken.kill_when(broken.is_fitting(0.1))
    assert "going on from" in broken.run_to_the_end()
    assert_same_end(broken.working, unbroken.working)
