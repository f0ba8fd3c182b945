"""Tasks beside the competition's: their files, their labels, their answers, and a task of one's own."""

import gzip
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from sample_images import DRAWN

from multihead import cli
from multihead.config.files import IMAGE_SUFFIXES
from multihead.config.known_tasks import TASKS, read_task, task_from
from multihead.config.manifest import read_manifest
from multihead.config.model_settings import ModelSettings
from multihead.config.settings import RunSettings
from multihead.config.settings_file import read_settings
from multihead.config.task import FOLDS, Task, task_dict, what_answers_depend_on
from multihead.data.labels import read_label_table
from multihead.data.readers.image_files import IMAGES_PER_SHARD, in_shards
from multihead.data.readers.image_reader import names_in_paths
from multihead.data.split import fold_of
from multihead.runtime.errors import UserError
from multihead.scoring.evaluation import read_both
from multihead.scoring.metrics import task_score
from multihead.training.trainer import Trainer
from tests.built_in import ANIMALS, BENGALI, DIGITS
from tests.conftest import HOUSE
from tests.reading import (
    part_ids,
    read_labels,
    read_shard,
    shards_to_predict,
    shards_to_train,
    submission_of_images,
    submission_of_sample,
)

SMALL = task_from(task_dict(DIGITS) | {"name": "small", "image_shape": [2, 3, 1]}, "test")
LEAVES = """
name = "leaves"
dataset = "somebody/leaves"
reader = "image files"
image_shape = [24, 32, 3]
train_files = "photos/*"
test_files = "more/*"
labels_file = "labels.csv"
id_column = "file"
score_weights = {species = 3}

[heads]
species = ["oak", "elm", "ash"]
is_ill = [0, 1]
"""


@pytest.fixture(scope="module")
def drawn_of(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """40 train and 20 test images of each task but the competition's; of animals10, 60 in all."""
    folders = {}
    for name, draw in DRAWN.items():
        folders[name] = tmp_path_factory.mktemp(name)
        draw(folders[name], 40, 20, 0)
    return folders


def write_csv(folder: Path, text: str, name: str = "train.csv") -> Path:
    (folder / name).write_text(text)
    return folder


def write_leaves(folder: Path) -> Task:
    """Write the task of LEAVES and its images, one of them gray, all of other sizes."""
    (folder / "task.toml").write_text(LEAVES)
    rng = np.random.default_rng(0)
    for part, count in (("photos", 12), ("more", 3)):
        (folder / part).mkdir()
        for i in range(count):
            shape = (20 + i, 50) if i == 3 else (20 + i, 50, 3)
            cv2.imwrite(str(folder / part / f"{part}{i}.png"), rng.integers(0, 256, shape, np.uint8))
    rows = [f"photos{i}.png,{['oak', 'elm', 'ash'][i % 3]},{i % 2}" for i in range(12)]
    (folder / "labels.csv").write_text("\n".join(["file,species,is_ill", *rows]) + "\n")
    return read_task(folder / "task.toml")


@pytest.mark.parametrize("name", DRAWN)
def test_a_task_s_shards_hold_its_images_with_their_labels(drawn_of: Mapping[str, Path], name: str) -> None:
    task = TASKS[name]
    labels = read_labels(drawn_of[name], task)
    (part,) = shards_to_train(drawn_of[name], task)
    shard = read_shard(part, task, labels)
    count = 48 if name == "animals10" else 40
    assert shard.images.shape == (count, *task.image_shape)
    assert shard.images.dtype == np.uint8
    assert shard.labels is not None
    assert len(shard.ids) == len(set(shard.ids)) == len(part_ids(part, task)) == count
    assert list(shard.ids) == part_ids(part, task)
    assert set(np.unique(shard.labels["label"])) == set(range(len(task.heads["label"])))
    (test,) = shards_to_predict(drawn_of[name], task)
    assert read_shard(test, task).images.shape == (60 - count, *task.image_shape)


def test_pixel_columns_are_taken_by_number_and_rows_counted_from_1(tmp_path: Path) -> None:
    write_csv(tmp_path, "pixel6,pixel1,label,pixel2,pixel3,pixel4,pixel5\n6,1,9,2,3,4,5\n60,10,0,20,30,40,50\n")
    (part,) = shards_to_train(tmp_path, SMALL)
    shard = read_shard(part, SMALL, read_labels(tmp_path, SMALL))
    assert shard.ids == ["1", "2"]
    assert shard.images[..., 0].tolist() == [[[1, 2, 3], [4, 5, 6]], [[10, 20, 30], [40, 50, 60]]]
    assert shard.labels is not None
    assert shard.labels["label"].tolist() == [9, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label,pixel0\n1,2\n", "no columns of pixels, and no cells of 6; it has label, pixel0"),
        ("label,pixel0,pixel1,pixel2,pixel3,pixel4,pixel5\n1,2,3,4,5,6,256\n", "'pixel5' holds 256; expected whole"),
        (
            "label,pixel0,pixel1,pixel2,pixel3,pixel4,pixel5\n1,2,3,4,5,6,\n1,2,3,4,5,6,7\n",
            "train.csv: column 'pixel5' has 1 missing values",
        ),
        (
            "label,pixel0,pixel1,pixel2,pixel3,pixel4,pixel7\n1,2,3,4,5,6,7\n",
            "no column 'pixel5'; expected 6 pixels, and 6 are called like 'pixel0'",
        ),
        ("label,2,3,4,5,6,7\n1,2,3,4,5,6,7\n", "no column '1'; expected 6 pixels"),
        ("label,0,pixel0,1,2,3,4\n1,2,3,4,5,6,7\n", "no column '5'; expected 6 pixels"),
        ("label,pixel0,pixel1,pixel2,pixel3,pixel4,pixel5\n1,2,3,4,5,6,x\n", "'pixel5' holds x; expected whole"),
        ("pixel0,pixel1,pixel2,pixel3,pixel4,pixel5\n2,3,4,5,6,7\n", "no column label; it has pixel0"),
        ("label,pixel0,pixel1,pixel2,pixel3,pixel4,pixel5\n10,3,4,5,6,7,8\n", "1: label is 10; expected 0 to 9"),
        (
            "label,pixel0,pixel1,pixel2,pixel3,pixel4,pixel5\n1,2,3\n1,2,3,4,5,6,7,8,9\n",
            "row 3: has more fields than the 7 of the header",
        ),
        ("", "holds no table; expected a line with the names"),
    ],
)
def test_a_csv_that_is_not_the_task_s_is_named(tmp_path: Path, text: str, message: str) -> None:
    write_csv(tmp_path, text)
    with pytest.raises(UserError, match=message):
        read_shard(tmp_path / "train.csv", SMALL, read_labels(tmp_path, SMALL))


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("id_column", ["", "id"])
def test_blank_lines_of_a_csv_are_no_images(tmp_path: Path, id_column: str, ending: str) -> None:
    task = replace(SMALL, id_column=id_column)
    lines = [
        "pixel0,pixel1,pixel2,pixel3,pixel4,pixel5,label,id",
        "1,2,3,4,5,6,7,1",
        "",
        "2,3,4,5,6,7,8,2",
        "",
        " ",
        "",
    ]
    path = tmp_path / "train.csv"
    path.write_bytes(ending.join(lines).encode())
    shard = read_shard(path, task, read_labels(tmp_path, task))
    assert len(part_ids(path, task)) == 2
    assert shard.ids == part_ids(path, task) == ["1", "2"]
    assert shard.images[:, 0, 0, 0].tolist() == [1, 2]
    assert shard.labels is not None
    assert shard.labels["label"].tolist() == [7, 8]


def test_a_row_of_empty_cells_is_no_blank_line_but_at_the_end(tmp_path: Path) -> None:
    header = "pixel0,pixel1,pixel2,pixel3,pixel4,pixel5"
    write_csv(tmp_path, f"{header}\n1,2,3,4,5,6\n,,,,,\n,,,,,\n", "test.csv")
    assert len(read_shard(tmp_path / "test.csv", SMALL).images) == 1
    write_csv(tmp_path, f"{header}\n1,2,3,4,5,6\n,,,,,\n1,2,3,4,5,6\n", "test.csv")
    assert len(part_ids(tmp_path / "test.csv", SMALL)) == 3
    with pytest.raises(UserError, match=r"test\.csv: column 'pixel0' has 1 missing values"):
        read_shard(tmp_path / "test.csv", SMALL)


def test_the_folds_of_image_files_are_even_disjoint_and_everything(drawn_of: Mapping[str, Path]) -> None:
    folder, seen = drawn_of["animals10"], []
    for fold in range(FOLDS):
        (train,), (test,) = shards_to_train(folder, ANIMALS, fold), shards_to_predict(folder, ANIMALS, fold)
        ids = part_ids(test, ANIMALS)
        assert not set(ids) & set(part_ids(train, ANIMALS))
        per_class = pd.Series([Path(i).parent.name for i in ids]).value_counts()
        assert len(per_class) == 10
        assert per_class.between(1, 2).all()
        seen += ids
    assert sorted(seen) == sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*.jpeg"))


def test_the_folds_of_folders_stay_what_they_are() -> None:
    """Weights were trained without one of them."""
    counts = {"ant": 7, "bee": 4, "cow": 12, "Bdog": 1}
    paths = [f"{name}/{i}.png" for name, count in counts.items() for i in range(count)]
    folders = pd.Index(names_in_paths(paths, "*/*", ANIMALS)["label"])
    ant, bee, dog = [4, 1, 1, 2, 0, 2, 3], [4, 3, 2, 0], [0]
    cow = [3, 1, 4, 1, 3, 2, 4, 2, 0, 3, 4, 0]
    assert fold_of(folders).tolist() == [*ant, *bee, *cow, *dog]


def test_the_folds_of_labelled_images_are_even_over_the_combinations_of_classes(tmp_path: Path) -> None:
    task = replace(write_leaves(tmp_path), test_files="", train_files="many/*")
    rows = [("oak", 0)] * 52 + [("oak", 1)] * 13 + [("elm", 0)] * 10 + [("elm", 1)] * 5 + [("ash", 1)] * 7
    (tmp_path / "many").mkdir()
    for i in range(len(rows) + 1):  # one without labels, which is in no fold
        (tmp_path / "many" / f"{i}.png").touch()
    table = pd.DataFrame(rows, columns=list(task.heads), index=[f"{i}.png" for i in range(len(rows))])
    table.rename_axis("file").to_csv(tmp_path / "labels.csv")
    seen = []
    for fold in range(FOLDS):
        (part,) = shards_to_predict(tmp_path, task, fold)
        seen += part_ids(part, task)
        counts = table.loc[table.index.isin(part_ids(part, task))].value_counts().to_dict()
        for combination, count in table.value_counts().to_dict().items():
            assert count // FOLDS <= counts[combination] <= -(-count // FOLDS)
    assert sorted(seen) == sorted(f"{i}.png" for i in range(len(rows)))


def test_no_fold_takes_all_of_a_class_though_each_combination_has_one_image(tmp_path: Path) -> None:
    task = replace(write_leaves(tmp_path), test_files="", train_files="many/*")
    task = replace(task, heads={"letter": tuple(range(7)), "accent": tuple(range(FOLDS))})
    (tmp_path / "many").mkdir()
    for i in range(7 * FOLDS):
        (tmp_path / "many" / f"{i}.png").touch()
    rows = [f"{i}.png,{i // FOLDS},{i % FOLDS}" for i in range(7 * FOLDS)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,letter,accent", *rows]) + "\n")
    for fold in range(FOLDS):
        labels = read_labels(tmp_path, task, fold)
        assert len(labels) == 28
        assert set(labels.accent) == set(range(FOLDS))
        assert set(labels.letter) == set(range(7))


def test_the_labels_by_which_a_fifth_is_drawn_are_among_the_files_to_predict(tmp_path: Path) -> None:
    task = write_leaves(tmp_path)
    assert task.files_to_predict == ["more/*"]
    assert replace(task, test_files="").files_to_predict == ["photos/*", "labels.csv"]


def test_many_image_files_are_several_shards_each_drawn_from_everywhere() -> None:
    paths = [f"{'ab'[i % 2]}/{i // 2}.png" for i in range(2 * IMAGES_PER_SHARD + 2)]
    shards = in_shards(Path("data"), sorted(paths), pd.Index(sorted(paths)), ANIMALS)
    assert sorted(len(shard.paths) for shard in shards) == [2731, 2731, 2732]
    assert sorted(path for shard in shards for path in shard.paths) == sorted(paths)
    for shard in shards:
        assert 0.45 < np.mean([path.startswith("a/") for path in shard.paths]) < 0.55


def test_a_shard_of_large_photographs_has_fewer() -> None:
    large = replace(ANIMALS, image_shape=(2048, 2048, 3))
    paths = [f"{i}.png" for i in range(1000)]
    assert max(len(shard.paths) for shard in in_shards(Path("data"), paths, pd.Index(paths), large)) < 80


def test_the_case_of_a_suffix_does_not_count_and_its_labels_need_an_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = write_leaves(tmp_path)
    (tmp_path / "photos" / "photos1.png").rename(tmp_path / "photos" / "photos1.PNG")
    (part,) = shards_to_train(tmp_path, task)
    assert "photos1.png" in part_ids(part, task)
    (tmp_path / "photos" / "photos2.png").unlink()
    model = ModelSettings(task.name, backbone="stack", image_size=(8, 8), crop="none", stack_layers=("conv 2",))
    trainer = Trainer(task, model, RunSettings(validation_share=0.2), tmp_path, tmp_path)
    assert len(trainer.images.labels) == 11
    assert "warning: 1 of 12 labels have no image: photos2.png\n" in capsys.readouterr().out


def test_a_training_none_of_whose_images_is_labelled_names_both_ids(tmp_path: Path) -> None:
    task = write_leaves(tmp_path)
    table = (tmp_path / "labels.csv").read_text()
    (tmp_path / "labels.csv").write_text(table.replace("photos", "leaf"))
    model = ModelSettings(task.name, backbone="stack", image_size=(8, 8), crop="none", stack_layers=("conv 2",))
    with pytest.raises(
        UserError, match=r"labels\.csv: none of its ids \(leaf0\.png, .* photos/\* \(photos/photos0\.png, "
    ):
        Trainer(task, model, RunSettings(), tmp_path, tmp_path)


def test_labels_of_the_fifth_that_is_left_out_are_none_to_train_with(tmp_path: Path) -> None:
    task = replace(write_leaves(tmp_path), test_files="")
    for fold in range(FOLDS):
        (train,) = shards_to_train(tmp_path, task, fold)
        assert sorted(read_labels(tmp_path, task, fold).index) == sorted(part_ids(train, task))


def test_ids_may_be_names_without_their_suffix(tmp_path: Path) -> None:
    task = write_leaves(tmp_path)
    table = (tmp_path / "labels.csv").read_text()
    (tmp_path / "labels.csv").write_text(table.replace(".png", ""))
    (part,) = shards_to_train(tmp_path, task)
    shard = read_shard(part, task, read_labels(tmp_path, task))
    assert sorted(shard.ids) == sorted(f"photos{i}" for i in range(12))


def test_an_id_that_could_be_two_images_is_refused(tmp_path: Path) -> None:
    task = replace(write_leaves(tmp_path), train_files="*/*.png")
    (tmp_path / "more" / "photos3.png").write_bytes((tmp_path / "more" / "more0.png").read_bytes())
    for fold in range(FOLDS):  # though one of the two may be in the fifth that is left out
        for test_files in ("more/*", ""):
            with pytest.raises(
                UserError, match=r"photos3\.png could be each of more/photos3\.png, photos/photos3\.png"
            ):
                shards_to_train(tmp_path, replace(task, test_files=test_files), fold)


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    task = write_leaves(tmp_path)
    try:
        (tmp_path / "photos" / os.fsdecode(b"\xff.png")).touch()
    except OSError:
        pytest.skip("this file system has no such names")
    with pytest.raises(UserError, match=r"the name 'photos/\\udcff\.png' is not UTF-8"):
        shards_to_train(tmp_path, task)


def test_an_id_that_stands_in_two_csv_files_is_refused(tmp_path: Path) -> None:
    task = replace(SMALL, train_files="train_*.csv", id_column="id")
    for name in ("train_west.csv", "train_east.csv"):
        write_csv(tmp_path, "id,label,pixel0,pixel1,pixel2,pixel3,pixel4,pixel5\n001,1,2,3,4,5,6,7\n", name)
    with pytest.raises(UserError, match=r"train_\*\.csv: 001 stands in the files more than once"):
        read_labels(tmp_path, task)
    write_csv(tmp_path, "id,label\n001,1\n", "labels.csv")
    model = ModelSettings(task.name, backbone="stack", image_size=(8, 8), crop="none", stack_layers=("conv 2",))
    with pytest.raises(UserError, match=r"train_\*\.csv: 001 stands in the files more than once"):
        Trainer(replace(task, labels_file="labels.csv"), model, RunSettings(), tmp_path, tmp_path)
    with pytest.raises(UserError, match=r"test\.csv: 001 stands in the files more than once"):
        submission_of_images(tmp_path / "predictions.csv", ["001", "001"], task, {"label": 0})


def test_an_id_stays_the_text_that_it_is(tmp_path: Path) -> None:
    task = replace(SMALL, id_column="id")
    write_csv(
        tmp_path,
        "id,label,pixel0,pixel1,pixel2,pixel3,pixel4,pixel5\n001,1,2,3,4,5,6,7\n1e5,2,2,3,4,5,6,7\nNA,3,2,3,4,5,6,7\n",
    )
    (part,) = shards_to_train(tmp_path, task)
    shard = read_shard(part, task, read_labels(tmp_path, task))
    assert shard.ids == part_ids(part, task) == ["001", "1e5", "NA"]


def test_files_of_one_name_are_in_the_order_of_their_folders(tmp_path: Path) -> None:
    task = replace(SMALL, train_files="*/train.csv", id_column="id")
    for name in "dbace":
        (tmp_path / name).mkdir()
        row = f"{name},1,2,3,4,5,6,7"
        write_csv(tmp_path / name, f"id,label,pixel0,pixel1,pixel2,pixel3,pixel4,pixel5\n{row}\n")
    assert [part_ids(part, task) for part in shards_to_train(tmp_path, task)] == [["a"], ["b"], ["c"], ["d"], ["e"]]


def test_a_csv_may_be_compressed(tmp_path: Path) -> None:
    task = replace(SMALL, train_files="train.csv.gz")
    text = b"label,pixel0,pixel1,pixel2,pixel3,pixel4,pixel5\n1,2,3,4,5,6,7\n"
    (tmp_path / "train.csv.gz").write_bytes(gzip.compress(text))
    (part,) = shards_to_train(tmp_path, task)
    assert len(part_ids(part, task)) == 1
    assert read_shard(part, task, read_labels(tmp_path, task)).images.ravel().tolist() == [2, 3, 4, 5, 6, 7]
    path = tmp_path / "train.csv.gz"
    path.write_bytes(path.read_bytes()[:-12])
    for read in (part_ids, read_shard):
        with pytest.raises(UserError, match=r"train\.csv\.gz: damaged: "):
            read(path, task)


@pytest.mark.parametrize("classes", [("None", "NA"), ("true", "false"), ("01", "1"), ("", "x")])
def test_class_labels_are_the_texts_that_stand_there(tmp_path: Path, classes: tuple[str, str]) -> None:
    task = replace(SMALL, labels_file="labels.csv", id_column="id", heads={"label": classes})
    write_csv(tmp_path, f"id,label\n1,{classes[1]}\n2,{classes[0]}\n", "labels.csv")
    assert read_label_table(tmp_path / "labels.csv", task)["label"].tolist() == [1, 0]


def test_accents_may_be_letters_of_their_own_in_a_folder_s_name(tmp_path: Path) -> None:
    task = replace(ANIMALS, train_files="*/*", heads={"label": ("b\u00e4r",)}, class_folders={})
    (tmp_path / "ba\u0308r").mkdir()
    (tmp_path / "ba\u0308r" / "1.png").touch()
    assert read_labels(tmp_path, replace(task, test_files="none"))["label"].tolist() == [0]


def test_colours_come_out_red_green_blue_and_gray_in_all_three(tmp_path: Path) -> None:
    task = write_leaves(tmp_path)
    red = np.zeros((30, 40, 3), np.uint8)
    red[..., 2] = 200  # OpenCV writes blue, green, red
    cv2.imwrite(str(tmp_path / "more" / "more0.png"), red)
    (part,) = shards_to_predict(tmp_path, task)
    shard = read_shard(part, task)
    assert shard.ids == ["more0.png", "more1.png", "more2.png"]
    assert (shard.images[0] == [200, 0, 0]).all()
    (train,) = shards_to_train(tmp_path, task)
    images = read_shard(train, task, read_labels(tmp_path, task)).images
    gray = images[part_ids(train, task).index("photos3.png")]
    assert (gray == gray[..., :1]).all()


def test_a_file_that_is_no_image_costs_itself_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = write_leaves(tmp_path)
    for number in range(20, 40):
        shutil.copy(tmp_path / "photos" / "photos0.png", tmp_path / "photos" / f"photos{number}.png")
        with (tmp_path / "labels.csv").open("a") as file:
            file.write(f"photos{number}.png,oak,0\n")
    for path in (tmp_path / "more" / "more1.png", tmp_path / "photos" / "photos2.png"):
        path.write_bytes(path.read_bytes()[:40])
    (part,), (train,) = shards_to_predict(tmp_path, task), shards_to_train(tmp_path, task)
    test = read_shard(part, task)
    assert (test.ids, test.unreadable) == (["more0.png", "more2.png"], ["more1.png"])
    assert test.images.any(axis=(1, 2, 3)).tolist() == [True, True]
    assert capsys.readouterr().out.endswith("warning: 1 of 3 image files cannot be read: more/more1.png\n")
    shard = read_shard(train, task, read_labels(tmp_path, task))
    assert len(shard.images) == len(shard.ids) == 31
    assert shard.unreadable == ["photos2.png"]
    assert "photos2.png" not in shard.ids
    assert "1 of 32 image files cannot be read: photos/photos2.png; they are left out" in capsys.readouterr().out
    (tmp_path / "photos" / "photos3.png").write_bytes(b"")
    with pytest.raises(UserError, match="2 of 32 image files cannot be read"):
        read_shard(train, task, read_labels(tmp_path, task))


def test_a_training_does_not_count_files_that_are_no_images(tmp_path: Path) -> None:
    task = write_leaves(tmp_path)
    for number in range(12, 40):
        shutil.copy(tmp_path / "photos" / "photos0.png", tmp_path / "photos" / f"photos{number}.png")
        with (tmp_path / "labels.csv").open("a") as file:
            file.write(f"photos{number}.png,oak,0\n")
    (tmp_path / "photos" / "photos2.png").write_bytes(b"no image")
    model = ModelSettings(task.name, backbone="stack", image_size=(8, 8), crop="none", stack_layers=("conv 2",))
    (tmp_path / "working").mkdir()
    trainer = Trainer(task, model, RunSettings(epochs=1, validation_share=0.2), tmp_path, tmp_path / "working")
    trainer.train()
    held_out = trainer.images.held_out.drop("photos2.png")
    assert sum(read_manifest(tmp_path / "working").train_counts["species"]) == (~held_out).sum()


def test_a_photograph_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    """EXIF orientation 6: the camera was turned, so that the picture's left edge is its top."""
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:, :10] = 255
    (tmp_path / "cat").mkdir()
    jpeg = cv2.imencode(".jpg", pixels)[1].tobytes()
    orientation = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    exif = b"Exif\0\0" + orientation
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    (tmp_path / "cat" / "1.jpg").write_bytes(jpeg[:2] + segment + jpeg[2:])
    task = replace(ANIMALS, train_files="cat/*", test_files="cat/*", image_shape=(30, 20, 3))
    (part,) = shards_to_predict(tmp_path, task)
    (image,) = read_shard(part, task).images
    assert image[:8].min() > 200
    assert image[12:].max() < 50


def test_pictures_of_every_form_are_decoded(tmp_path: Path) -> None:
    """Colours within 4: JPEG loses some."""
    pillow = pytest.importorskip("PIL.Image")
    red = np.zeros((16, 24, 3), np.uint8)
    red[..., 0] = 200
    (tmp_path / "cat").mkdir()
    pillow.fromarray(red).convert("CMYK").save(tmp_path / "cat" / "cmyk.jpg", quality=95)
    pillow.fromarray(red).quantize().save(tmp_path / "cat" / "palette.png")
    cv2.imwrite(str(tmp_path / "cat" / "gray.jpg"), np.full((16, 24), 200, np.uint8))
    cv2.imwrite(str(tmp_path / "cat" / "sixteen_bits.png"), np.full((16, 24), 200 * 257, np.uint16))
    (tmp_path / "cat" / "zcut.jpg").write_bytes((tmp_path / "cat" / "gray.jpg").read_bytes()[:-20])
    colours = {
        "cmyk.jpg": [200, 0, 0],
        "gray.jpg": [200] * 3,
        "palette.png": [200, 0, 0],
        "sixteen_bits.png": [200] * 3,
    }
    task = replace(ANIMALS, train_files="cat/*", test_files="cat/*", image_shape=(16, 24, 3))
    (part,) = shards_to_predict(tmp_path, task)
    shard = read_shard(part, task)
    assert shard.ids == [f"cat/{name}" for name in colours]
    assert shard.unreadable == ["cat/zcut.jpg"]
    for image, colour in zip(shard.images.astype(int), colours.values(), strict=True):
        assert np.abs(image - colour).max() <= 4
    gray = read_shard(part, replace(task, image_shape=(16, 24, 1))).images
    assert [round(float(image.mean())) for image in gray] == pytest.approx([60, 200, 60, 200], abs=2)


def test_files_of_every_suffix_of_an_image_are_read(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    image = np.full((64, 64, 3), 200, np.uint8)
    for suffix in IMAGE_SUFFIXES:
        written = cv2.imencode(".jpg" if suffix == ".jfif" else suffix, image[..., 0] if suffix == ".pgm" else image)[1]
        (tmp_path / "cat" / f"1{suffix}").write_bytes(written.tobytes())
    task = replace(ANIMALS, train_files="cat/*", test_files="cat/*", image_shape=(16, 16, 3))
    (part,) = shards_to_predict(tmp_path, task)
    shard = read_shard(part, task)
    assert sorted(shard.ids) == sorted(f"cat/1{suffix}" for suffix in IMAGE_SUFFIXES)
    assert np.abs(shard.images.astype(int) - 200).max() <= 16  # a GIF has a palette


def test_files_passed_over_for_their_suffix_are_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = write_leaves(tmp_path)
    for name in ("a.heic", "b.HEIC", "c", ".DS_Store", ".hidden.heic", "labels.csv", "README.TXT"):
        (tmp_path / "photos" / name).touch()
    (tmp_path / "photos" / "folder").mkdir()
    for _ in range(2):
        (part,) = shards_to_train(tmp_path, task)
    assert len(part_ids(part, task)) == 12
    (line,) = capsys.readouterr().out.splitlines()
    assert (
        f"warning: 3 files photos/* in {tmp_path} are passed over, for they do not end in one of .avif, .bmp, " in line
    )
    assert line.endswith(": photos/a.heic, photos/b.HEIC, photos/c")
    with pytest.raises(UserError, match=r"no images photos/\*\.heic"):
        shards_to_train(tmp_path, replace(task, train_files="photos/*.heic"))
    assert f"1 files photos/*.heic in {tmp_path} are passed over" in capsys.readouterr().out
    shards_to_train(tmp_path, replace(task, train_files="photos/*.png"))
    assert not capsys.readouterr().out


def test_a_folder_that_is_no_class_is_named(tmp_path: Path) -> None:
    DRAWN["animals10"](tmp_path, 50, 0, 0)
    (tmp_path / "raw-img" / "cane").rename(tmp_path / "raw-img" / "lupo")
    with pytest.raises(UserError, match="label is lupo; expected one of butterfly, cat"):
        read_labels(tmp_path, ANIMALS)


def test_a_code_competition_of_one_s_own_has_a_hidden_test_unless_it_says_otherwise(tmp_path: Path) -> None:
    def task_with(*lines: str, heading: str = 'dataset = "somebody/leaves"') -> Task:
        sample = 'sample_submission = "sample.csv"\n'
        text = LEAVES.replace('dataset = "somebody/leaves"', "\n".join([sample + heading, *lines]))
        (tmp_path / "task.toml").write_text(text)
        return read_task(tmp_path / "task.toml")

    competition = 'competition = "leaf-health"'
    assert task_with(heading=competition).has_hidden_test
    assert not task_with("has_hidden_test = false", heading=competition).has_hidden_test
    assert not task_with().has_hidden_test
    assert task_with("hidden_images = 3").has_hidden_test
    with pytest.raises(UserError, match="hidden_images = 3, but has_hidden_test = false"):
        task_with("hidden_images = 3", "has_hidden_test = false")
    assert [task.name for task in TASKS.values() if task.has_hidden_test] == ["bengali"]


def test_a_submission_may_take_what_kaggle_allows_a_session_unless_the_task_says_less(tmp_path: Path) -> None:
    task = write_leaves(tmp_path)
    assert (task.gpu_minutes, task.cpu_minutes) == (720, 720)
    assert (BENGALI.gpu_minutes, BENGALI.cpu_minutes) == (120, 540)
    text = LEAVES.replace("score_weights", "gpu_minutes = 540\nscore_weights")
    (tmp_path / "task.toml").write_text(text)
    limited = read_task(tmp_path / "task.toml")
    assert (limited.gpu_minutes, limited.cpu_minutes) == (540, 720)
    assert what_answers_depend_on(limited) == what_answers_depend_on(task)
    assert what_answers_depend_on(task_dict(limited)) == what_answers_depend_on(task)
    assert what_answers_depend_on(limited) != what_answers_depend_on(replace(task, dark_ink=True))


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_a_task_is_the_same_after_a_way_through_json(task: Task) -> None:
    assert task_from(json.loads(json.dumps(task_dict(task))), "manifest.json") == task


def test_a_task_beside_the_settings_is_theirs(tmp_path: Path) -> None:
    task = write_leaves(tmp_path)
    (tmp_path / "settings.toml").write_text("[run]\nepochs = 3\n")
    settings = read_settings(tmp_path / "settings.toml")
    assert settings.task == task
    assert settings.model.task == "leaves"
    assert (task.weight("species"), task.weight("is_ill")) == (3, 1)
    assert read_settings(tmp_path / "settings.toml", ["task=animals10"]).task == ANIMALS
    with pytest.raises(UserError, match=r"task: 'moss' is not known; one of bengali, .*, or that of a task\.toml"):
        read_settings(tmp_path / "settings.toml", ["task=moss"])


def test_the_example_of_a_task_in_the_docs_is_one(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(name = .*?)```", (HOUSE / "docs" / "tasks.md").read_text(), re.S)
    (tmp_path / "task.toml").write_text(example)
    task = read_task(tmp_path / "task.toml")
    assert list(task.heads) == ["species", "is_ill"]
    assert task.files_to_train == ["train/*.jpg", "train.csv"]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('name = "leaves"', 'name = "bengali"', "name = 'bengali' is a task that is built in"),
        ('name = "leaves"', "", "no name; expected a text"),
        ('reader = "image files"', 'reader = "zip"', "reader = 'zip'; expected one of wide parquet, pixel csv, image"),
        ("[24, 32, 3]", "[24, 32]", "expected height, width and channels, 1 or 3"),
        ("[24, 32, 3]", "[24, 32, 4]", "expected height, width and channels, 1 or 3"),
        ('"photos/*"', '"/photos/*"', "expected a pattern below the data folder"),
        ("score_weights = {species = 3}", "score_weights = {root = 3}", "score_weights names root, which is none"),
        ('dataset = "somebody/leaves"', "", "expected either a competition or a dataset"),
        (
            'labels_file = "labels.csv"',
            "",
            "does not say where the class of species stands; write {species} in its place, or name a labels_file",
        ),
        ("[0, 1]", "[0, 0]", "heads.is_ill: expected different labels"),
        ("[0, 1]", '[0, "ill"]', "heads.is_ill: expected different labels, all numbers or all texts"),
        ("is_ill", '"is ill"', "heads = .*; expected names of letters, digits and _"),
        ("is_ill", "loss", "heads.loss: a name that the network or its tables have already"),
        ("is_ill", "vgg16", "heads.vgg16: a name that the network"),
        ("is_ill", "flip", "heads.flip: a name that the network"),
        ("is_ill", "species_loss", "heads.species_loss: a name that the network or its tables"),
        ("is_ill", "sub_species", "heads.species: sub_species ends in it"),
        ("{species = 3}", "{species = 0}", "expected a table of finite numbers over 0"),
        ("{species = 3}", "{species = nan}", "expected a table of finite numbers over 0"),
        ('"photos/*"', '"**/*.png"', r"train_files = '\*\*/\*.png'; expected a pattern below the data folder, without"),
        ('"labels.csv"', '"labels_*.csv"', "expected a file below the data folder"),
        (
            '"labels.csv"',
            '"../../../etc/passwd"',
            r"labels_file = '\.\./\.\./\.\./etc/passwd'; expected a file below the data",
        ),
        ('"photos/*"', '"photos/../../b/*"', "train_files = .*; expected a pattern below the data folder"),
        ('"more/*"', "'..\\more\\*'", "test_files = .*; expected a pattern below the data folder"),
        ('"more/*"', "'C:/more/*'", "test_files = .*; expected a pattern below the data folder"),
        ('"more/*"', '"~/more/*"', "test_files = .*; expected a pattern below the data folder"),
        ("score_w", 'sample_submission = "a/.."\nscore_w', "sample_submission = 'a/..'; expected a file below"),
        ("somebody/leaves", "leaves", "dataset = 'leaves'; expected owner/slug"),
        ("[heads]", "colour = 3\n[heads]", "colour is not known; one of name, reader"),
        ("[heads]", "gpu_minutes = 0\n[heads]", "gpu_minutes = 0; expected a number of minutes over 0"),
        ("[heads]", "cpu_minutes = true\n[heads]", "cpu_minutes = True; expected a number of minutes over 0"),
        ("[heads]", "has_hidden_test = 1\n[heads]", "has_hidden_test = 1; expected true or false"),
        ("[heads]", "[heads", "not TOML"),
    ],
)
def test_a_mistake_in_a_task_is_one_line(tmp_path: Path, before: str, after: str, message: str) -> None:
    path = tmp_path / "task.toml"
    assert before in LEAVES
    path.write_text(LEAVES.replace(before, after))
    with pytest.raises(UserError, match=message) as error:
        read_task(path)
    assert "\n" not in str(error.value)


def test_ink_is_not_looked_for_in_photographs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="crop = 'ink' is for gray images, animals10 has colour"):
        read_settings(None, ["task=animals10", "crop=ink"])


def test_a_sample_with_a_row_per_image_is_answered_in_its_form(tmp_path: Path) -> None:
    sample = tmp_path / "sample_submission.csv"
    sample.write_text("ImageId,Label\n1,0\n2,0\n3,0\n")
    submission = submission_of_sample(tmp_path / "submission.csv", sample, DIGITS, {"label": 4})
    submission.add(pd.DataFrame({"label": [7, 9]}, index=["3", "1"]))
    assert submission.images == 3
    assert submission.problems() == ["1 rows of sample_submission.csv have no prediction: 2"]
    submission.write()
    assert submission.rows == 3
    assert (tmp_path / "submission.csv").read_text() == "ImageId,Label\n1,9\n2,4\n3,7\n"


def test_without_a_sample_predictions_have_a_row_per_image_and_a_column_per_head(tmp_path: Path) -> None:
    task = write_leaves(tmp_path)
    ids = ["more0.png", "more1.png"]
    submission = submission_of_images(tmp_path / "predictions.csv", ids, task, {"species": "ash", "is_ill": 1})
    submission.add(pd.DataFrame({"species": ["oak"], "is_ill": [0]}, index=["more1.png"]))
    submission.write()
    assert (tmp_path / "predictions.csv").read_text() == "id,species,is_ill\nmore0.png,ash,1\nmore1.png,oak,0\n"


def test_accuracy_is_the_share_of_images_and_weighted_by_head(tmp_path: Path) -> None:
    task = write_leaves(tmp_path)
    true = {"species": np.array([0, 0, 0, 1]), "is_ill": np.array([0, 1, 0, 1])}
    answers = {"species": np.array([0, 0, 0, 0]), "is_ill": np.array([0, 1, 1, 0])}
    found = task_score(true, answers, task)
    assert found.heads == {"species": 0.75, "is_ill": 0.5}
    assert found.total == pytest.approx((3 * 0.75 + 0.5) / 4)
    assert str(found) == "accuracy 0.6875 (species 0.7500, is_ill 0.5000)"


@pytest.mark.parametrize("name", DRAWN)
def test_predictions_are_scored_with_the_labels_that_the_data_folder_holds(
    drawn_of: Mapping[str, Path], tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    task, data = TASKS[name], drawn_of[name]
    ids = [image for part in shards_to_predict(data, task, 2) for image in part_ids(part, task)]
    path = tmp_path / "predictions.csv"
    right = task.heads["label"][3]
    pd.DataFrame({"id": ids, "label": right}).to_csv(path, index=False)
    graded = read_both(path, data, task)
    assert graded.score(task).total == pytest.approx((graded.truth["label"] == 3).mean())
    assert cli.main(["evaluate", str(path), str(data), "--task", name]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("accuracy = 0.")
    pd.DataFrame({"id": ids[1:], "label": right}).to_csv(path, index=False)
    assert cli.main(["evaluate", str(path), str(data), "--task", name]) == 2
    assert "images are not the" in capsys.readouterr().err
