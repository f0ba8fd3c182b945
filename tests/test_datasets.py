"""Which images a data folder holds, under which ids, with which labels: as the person meant it."""

import subprocess
import sys
import time
import unicodedata
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from multihead.config.known_tasks import task_from
from multihead.config.task import Task
from multihead.data.datasets import images_to_predict, images_to_train
from multihead.data.identity import match
from multihead.data.shards import read_shard
from multihead.prediction.submission import Submission
from multihead.runtime.errors import UserError
from tests.built_in import ANIMALS, BENGALI, DIGITS
from tests.conftest import HOUSE

CLASSES = ("cat", "dog", "owl")
ZOO = replace(
    ANIMALS,
    name="zoo",
    image_shape=(4, 4, 1),
    heads={"label": CLASSES},
    class_folders={},
    train_files="train/*.png",
    test_files="test/*.png",
)


def write_image(path: Path, value: int) -> None:
    """Write an image of one value, which tells it from all others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix.lower(), np.full((8, 8), value, np.uint8))[1].tobytes())


def write_table(path: Path, *lines: str) -> None:
    path.write_text("\n".join(lines) + "\n")


def read_train(folder: Path, task: Task) -> dict[str, tuple[int, str]]:
    """Return the value and the label of each image to train on, by its id."""
    images = images_to_train(folder, task)
    found = {}
    for part in images.parts:
        shard = read_shard(part, task.image_shape, images.labels)
        assert shard.labels is not None
        for name, image, label in zip(shard.ids, shard.images, shard.labels["label"].tolist(), strict=True):
            found[name] = (int(image.flat[0]), str(task.heads["label"][label]))
    assert len(found) == len(images.labels)
    return found


def read_test(folder: Path, task: Task) -> dict[str, int]:
    """Return the value of each image to predict, by its id."""
    shards = [read_shard(part, task.image_shape) for part in images_to_predict(folder, task).parts]
    return {name: int(image.flat[0]) for shard in shards for name, image in zip(shard.ids, shard.images, strict=True)}


def predicted(folder: Path, task: Task, answer: Callable[[int], int | str]) -> list[str]:
    """Return the lines of a submission that answers each image by its value."""
    images = images_to_predict(folder, task)
    assert images.form is not None
    submission = Submission(folder / "submission.csv", images.form, {"label": task.heads["label"][0]}, "the sample")
    for part in images.parts:
        shard = read_shard(part, task.image_shape)
        answers = [answer(int(image.flat[0])) for image in shard.images]
        submission.add(pd.DataFrame({"label": answers}, index=pd.Index(shard.ids)))
    assert submission.problems() == []
    submission.write()
    return (folder / "submission.csv").read_text().splitlines()


@pytest.mark.parametrize(
    ("path", "spelled"),
    [
        ("train/{}.png", "{}"),
        ("train/{}.png", "{}.png"),
        ("train/{}.PNG", "{}.png"),
        ("train/{}.png", "{}.PNG"),
        ("train/{}.png", "train/{}.png"),
        ("train/{}.png", "images/train/{}"),
        ("train/{}.png", "..\\train\\{}.png"),
        ("train/000{}.png", "{}"),
        ("train/000{}.png", "{}.0"),
        ("train/{}.png", "000{}"),
        (unicodedata.normalize("NFD", "train/été {}.png"), "été {}.png"),
    ],
)
def test_the_table_names_the_files_in_its_own_spelling(tmp_path: Path, path: str, spelled: str) -> None:
    for number in range(10, 16):
        write_image(tmp_path / path.format(number), number)
    rows = [f"{spelled.format(number)},{CLASSES[number % 3]}" for number in range(14, 10, -1)]
    write_table(tmp_path / "train.csv", "image,label", *rows)
    task = replace(ZOO, labels_file="train.csv")
    expected = {spelled.format(number): (number, CLASSES[number % 3]) for number in range(11, 15)}
    assert read_train(tmp_path, task) == expected
    images = images_to_train(tmp_path, task)
    assert sorted(images.without_label) == [path.format(10), path.format(15)]


def test_what_a_table_names_and_no_file_holds_is_counted(tmp_path: Path) -> None:
    for number in range(5):
        write_image(tmp_path / "train" / f"{number}.png", number)
    write_table(tmp_path / "train.csv", "image,label", *(f"{number}.png,cat" for number in range(2, 12)))
    images = images_to_train(tmp_path, replace(ZOO, labels_file="train.csv"))
    assert list(images.warnings()) == [
        "2 images have no label, and are passed over: train/0.png, train/1.png",
        "7 of 10 labels have no image: 5.png, 6.png, 7.png, 8.png, 9.png, 10.png, 11.png",
    ]


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (["id,label", "2,cat", "1,cat"], ["id,label", "2,2", "1,1"]),
        (["label,id", "cat,2.png", "cat,1.png"], ["label,id", "2,2.png", "1,1.png"]),
        (
            ["id;label;Usage", "test/2.png;cat;Public", "test/1.png;cat;Private"],
            ["id,label", "test/2.png,2", "test/1.png,1"],
        ),
        ([",id,label", "0,2,cat", "1,1,cat"], ["id,label", "2,2", "1,1"]),
        (["file,answer", "0002.png,cat", "0001.png,cat"], ["file,answer", "0002.png,2", "0001.png,1"]),
    ],
)
def test_the_sample_names_the_images_and_is_answered_as_it_spells_them(
    tmp_path: Path, sample: list[str], expected: list[str]
) -> None:
    for number in range(4):
        write_image(tmp_path / "test" / f"{number}.png", number)
    write_table(tmp_path / "sample.csv", *sample)
    task = replace(ZOO, sample_submission="sample.csv", train_files="train/*/*.png", heads={"label": (0, 1, 2)})
    assert predicted(tmp_path, task, int) == expected
    assert images_to_predict(tmp_path, task).without_row == ["test/0.png", "test/3.png"]


def test_one_folder_holds_both_sets_and_more(tmp_path: Path) -> None:
    for number in range(9):
        write_image(tmp_path / "images" / f"{number}.png", number)
    write_table(tmp_path / "train.csv", "id,label", *(f"{number},{CLASSES[number % 3]}" for number in range(4)))
    write_table(tmp_path / "sample.csv", "id,label", "5,cat", "6,cat")
    task = replace(ZOO, train_files="images/*.png", test_files="images/*.png", labels_file="train.csv")
    task = replace(task, sample_submission="sample.csv")
    assert read_train(tmp_path, task) == {str(number): (number, CLASSES[number % 3]) for number in range(4)}
    assert read_test(tmp_path, task) == {"5": 5, "6": 6}


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("train/*/*.png", "train/{label}/{number}.png"),
        ("train/*/images/*.png", "train/{label}/images/{number}.png"),
        ("train/{label}.*.png", "train/{label}.{number}.png"),
        ("train/{label}_*.png", "train/{label}_{number}.png"),
        ("train/*_{label}.png", "train/{number}_{label}.png"),
        ("train/{label}/*/*.png", "train/{label}/day {number}/1.png"),
        ("train/{label}*.png", "train/{label}{number}.PNG"),
    ],
)
def test_a_path_names_the_class_where_the_pattern_says_so(tmp_path: Path, pattern: str, path: str) -> None:
    classes = ("cat", "cat_big", "été")
    task = task_of(pattern, label=list(classes))
    for number in range(6):
        label = unicodedata.normalize("NFD", classes[number % 3])
        write_image(tmp_path / path.format(label=label, number=number), number)
    found = read_train(tmp_path, task)
    assert sorted(found.values()) == sorted((number, classes[number % 3]) for number in range(6))
    assert all(name.startswith("train/") for name in found)


def test_a_path_may_name_the_classes_of_several_heads(tmp_path: Path) -> None:
    task = task_of("train/{species}/{is_ill}_*.png", species=["ash", "oak"], is_ill=[0, 1])
    for number, name in enumerate(["ash/0_a.png", "oak/1_a.png", "oak/0_b.png"]):
        write_image(tmp_path / "train" / name, number)
    labels = images_to_train(tmp_path, task).labels
    assert labels.to_dict("index") == {
        "train/ash/0_a.png": {"species": 0, "is_ill": 0},
        "train/oak/0_b.png": {"species": 1, "is_ill": 0},
        "train/oak/1_a.png": {"species": 1, "is_ill": 1},
    }


def task_of(pattern: str, **heads: Sequence[int | str]) -> Task:
    values = {"name": "zoo", "competition": "zoo", "reader": "image files", "image_shape": [4, 4, 1]}
    return task_from(values | {"train_files": pattern, "test_files": "test/*.png", "heads": heads}, "task.toml")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (
            "train/*.png",
            r"train_files = 'train/\*\.png' does not say where the class of label stands; write \{label\} in",
        ),
        ("train/{species}/*.png", r"holds \{species\}; expected each of the heads label at most once"),
        ("{label}/{label}_*.png", r"holds \{label\}; expected each of the heads label at most once"),
    ],
)
def test_a_pattern_that_places_no_class_or_another_one_is_a_mistake(pattern: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        task_of(pattern, label=CLASSES)


def test_the_same_name_in_two_class_folders_is_two_images(tmp_path: Path) -> None:
    for number, label in enumerate(CLASSES):
        write_image(tmp_path / "train" / label / "0.png", number)
        write_image(tmp_path / "test" / f"{number}.png", 100 + number)
    write_table(tmp_path / "sample.csv", "id,label", *(f"{number}.png,cat" for number in range(3)))
    task = replace(ZOO, train_files="train/*/*.png", id_column="id", sample_submission="sample.csv")
    assert read_train(tmp_path, task) == {f"train/{label}/0.png": (n, label) for n, label in enumerate(CLASSES)}
    assert read_test(tmp_path, task) == {"0.png": 100, "1.png": 101, "2.png": 102}


def test_images_and_tables_in_zips_are_read_where_they_lie(tmp_path: Path) -> None:
    for number in range(4):
        write_image(tmp_path / "unpacked" / "train" / f"{number}.png", number)
        write_image(tmp_path / "unpacked" / "test" / f"{number}.png", 100 + number)
    write_table(tmp_path / "unpacked" / "train.csv", "id,label", *(f"{number},dog" for number in range(4)))
    write_table(tmp_path / "unpacked" / "sample.csv", "id,label", *(f"{number},dog" for number in range(4)))
    data = tmp_path / "data"
    data.mkdir()
    for name in ("train", "test", "train.csv", "sample.csv"):
        with zipfile.ZipFile(data / f"{name}.zip", "w") as archive:
            for file in sorted((tmp_path / "unpacked").rglob("*.*")):
                path = file.relative_to(tmp_path / "unpacked")
                if path.parts[0] == name:
                    archive.write(file, path)
    task = replace(ZOO, labels_file="train.csv", sample_submission="sample.csv")
    assert read_train(data, task) == {str(number): (number, "dog") for number in range(4)}
    assert read_test(data, task) == {str(number): 100 + number for number in range(4)}


LEFT_THERE = ("._0.png", ".hidden.png", ".ipynb_checkpoints/0.png", "__MACOSX/0.png", "__MACOSX/._0.png", "Thumbs.db")


def test_what_the_system_left_beside_the_data_is_not_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("train/cat", "train/dog", "test"):
        write_image(tmp_path / folder / "0.png", 1)
        for name in LEFT_THERE:
            (tmp_path / folder / name).parent.mkdir(exist_ok=True)
            (tmp_path / folder / name).write_bytes(b"\0\5\x16\7 left there")
    for name in (".ipynb_checkpoints", "__MACOSX"):
        write_image(tmp_path / "train" / name / "0-checkpoint.png", 2)
    task = replace(ZOO, train_files="train/*/*", test_files="test/*")
    assert set(read_train(tmp_path, task)) == {"train/cat/0.png", "train/dog/0.png"}
    assert set(read_test(tmp_path, task)) == {"test/0.png"}
    assert capsys.readouterr().out == ""


def pixels_of(values: Sequence[int]) -> NDArray[np.uint8]:
    return np.repeat(np.array(values, np.uint8)[:, None], 16, axis=1)


FORMS: dict[str, Callable[[Sequence[int]], pd.DataFrame]] = {
    "pixel0": lambda values: pd.DataFrame(pixels_of(values), columns=[f"pixel{i}" for i in range(16)]),
    "pixel_1": lambda values: pd.DataFrame(pixels_of(values), columns=[f"pixel_{i}" for i in range(1, 17)]),
    "0": lambda values: pd.DataFrame(pixels_of(values), columns=[str(i) for i in range(16)]),
    "1x1": lambda values: pd.DataFrame(
        pixels_of(values), columns=[f"{r}x{c}" for r in range(1, 5) for c in range(1, 5)]
    ),
    "one cell": lambda values: pd.DataFrame(
        {"pixels": [" ".join(map(str, row)) for row in pixels_of(values).tolist()]}
    ),
    "a list in one cell": lambda values: pd.DataFrame({"pixels": [str(row) for row in pixels_of(values).tolist()]}),
    "floats": lambda values: pd.DataFrame(pixels_of(values).astype(float), columns=[f"pixel{i}" for i in range(16)]),
}
SMALL = replace(DIGITS, name="small", image_shape=(4, 4, 1), heads={"label": (0, 1, 2)}, sample_submission="sample.csv")


def write_pixels(
    folder: Path, form: str, test_ids: Sequence[object] | None, sample_ids: Sequence[object], separator: str = ","
) -> None:
    """Write train.csv without ids, test.csv with or without, and a sample of those ids, images of value 100 and on."""
    train = FORMS[form](range(6))
    train.insert(0, "label", [number % 3 for number in range(6)])
    train.to_csv(folder / "train.csv", index=False, sep=separator)
    test = FORMS[form](range(100, 100 + len(sample_ids)))
    if test_ids is not None:
        test.insert(0, "id", test_ids)
    test.to_csv(folder / "test.csv", index=False, sep=separator)
    pd.DataFrame({"ImageId": sample_ids, "Label": 0}).to_csv(folder / "sample.csv", index=False)


@pytest.mark.parametrize("form", FORMS)
def test_pixels_are_read_in_every_form_of_a_table(tmp_path: Path, form: str) -> None:
    write_pixels(tmp_path, form, None, [1, 2, 3])
    assert read_train(tmp_path, SMALL) == {str(n + 1): (n, str(n % 3)) for n in range(6)}
    assert read_test(tmp_path, SMALL) == {"1": 100, "2": 101, "3": 102}


@pytest.mark.parametrize("separator", [";", "\t"])
def test_pixels_are_read_whatever_separates_them(tmp_path: Path, separator: str) -> None:
    write_pixels(tmp_path, "pixel0", ["a", "b"], ["b", "a"], separator)
    assert read_test(tmp_path, SMALL) == {"a": 100, "b": 101}
    for name in ("train.csv", "test.csv"):
        text = (tmp_path / name).read_text().replace(separator, ", ").replace("\n", ",\n")
        (tmp_path / name).write_text(text.replace(",\n", "\n", 1))
    assert read_test(tmp_path, SMALL) == {"a": 100, "b": 101}
    assert read_train(tmp_path, SMALL)["3"] == (2, "2")


@pytest.mark.parametrize(
    ("test_ids", "sample_ids", "expected"),
    [
        ([0, 1, 2], [0, 1, 2], {"0": 100, "1": 101, "2": 102}),
        ([2, 0, 1], [0, 1, 2], {"2": 100, "0": 101, "1": 102}),
        ([2.0, 0.0, 1.0], [0, 1, 2], {"2": 100, "0": 101, "1": 102}),
        (["007", "008", "009"], [9, 8, 7], {"7": 100, "8": 101, "9": 102}),
        (None, [1, 2, 3], {"1": 100, "2": 101, "3": 102}),
        (None, [0, 1, 2], {"0": 100, "1": 101, "2": 102}),
        (None, [28001, 28002, 28003], {"28001": 100, "28002": 101, "28003": 102}),
        (["a", "b", "c"], ["c", "b", "a"], {"a": 100, "b": 101, "c": 102}),
    ],
)
@pytest.mark.parametrize("id_column", ["", "id", "ImageId"])
def test_rows_are_who_they_say_they_are(
    tmp_path: Path,
    id_column: str,
    test_ids: Sequence[object] | None,
    sample_ids: Sequence[object],
    expected: dict[str, int],
) -> None:
    write_pixels(tmp_path, "pixel0", test_ids, sample_ids)
    task = replace(SMALL, id_column=id_column)
    assert read_test(tmp_path, task) == expected
    assert len(read_train(tmp_path, task)) == 6


def test_rows_that_say_who_they_are_are_never_matched_by_their_position(tmp_path: Path) -> None:
    write_pixels(tmp_path, "pixel0", ["a", "b", "c"], [1, 2, 3])
    images = images_to_predict(tmp_path, SMALL)
    assert images.without_image == ["1", "2", "3"]
    assert read_test(tmp_path, SMALL) == {}


def test_a_value_that_differs_in_each_row_is_no_id_where_it_is_a_fraction(tmp_path: Path) -> None:
    write_pixels(tmp_path, "pixel0", [0.25, 0.5, 1.75], [1, 2, 3])
    assert read_test(tmp_path, SMALL) == {"1": 100, "2": 101, "3": 102}


def test_tables_without_ids_may_not_be_several(tmp_path: Path) -> None:
    write_pixels(tmp_path, "pixel0", None, [1, 2, 3])
    (tmp_path / "test_b.csv").write_bytes((tmp_path / "test.csv").read_bytes())
    with pytest.raises(UserError, match=r"test\.csv: no column of ids; without one there may be one file"):
        read_test(tmp_path, replace(SMALL, test_files="test*.csv"))


IDS: dict[str, tuple[Callable[[Sequence[int]], pa.Array], Callable[[int], str]]] = {
    "text": (lambda numbers: pa.array([f"img_{n}" for n in numbers]), lambda n: f"img_{n}"),
    "large text": (lambda numbers: pa.array([f"img_{n}" for n in numbers], pa.large_string()), lambda n: f"img_{n}"),
    "bytes": (lambda numbers: pa.array([f"img_{n}".encode() for n in numbers], pa.binary()), lambda n: f"img_{n}"),
    "a dictionary": (lambda numbers: pa.array([f"img_{n}" for n in numbers]).dictionary_encode(), lambda n: f"img_{n}"),
    "integers": (lambda numbers: pa.array(numbers, pa.int32()), str),
    "floats": (lambda numbers: pa.array([float(n) for n in numbers]), str),
    "decimals": (lambda numbers: pa.array(numbers).cast(pa.decimal128(20, 0)), str),
    "integers that the table pads": (pa.array, lambda n: f"{n:05d}"),
    "accents apart": (
        lambda numbers: pa.array([unicodedata.normalize("NFD", f"é{n}") for n in numbers]),
        lambda n: f"é{n}",
    ),
}


def write_parquet(path: Path, ids: pa.Array, values: Sequence[int], name: str = "image_id") -> None:
    columns = {name: ids} | {str(i): pa.array(pixels_of(values)[:, i]) for i in range(16)}
    pq.write_table(pa.table(columns), path)


def parquet_task(folder: Path, kind: str, name: str = "image_id") -> Task:
    """Write two train files and a test file whose ids are of a kind, and tables that spell them as a person would."""
    make, spell = IDS[kind]
    for number in range(2):
        numbers = range(3 * number, 3 * number + 3)
        write_parquet(folder / f"train_image_data_{number}.parquet", make(list(numbers)), numbers, name)
    write_parquet(folder / "test_image_data_0.parquet", make([101, 102, 103]), [101, 102, 103], name)
    write_table(folder / "train.csv", "image_id,label", *(f"{spell(n)},{n % 3}" for n in (4, 1, 0, 2, 5, 3)))
    write_table(folder / "sample.csv", "image_id,label", *(f"{spell(n)},0" for n in (103, 101, 102)))
    heads = {"label": (0, 1, 2)}
    return replace(BENGALI, name="small", image_shape=(4, 4, 1), heads=heads, sample_submission="sample.csv")


@pytest.mark.parametrize("kind", IDS)
def test_ids_in_parquet_are_the_text_that_a_person_would_write(tmp_path: Path, kind: str) -> None:
    task = parquet_task(tmp_path, kind)
    spell = IDS[kind][1]
    assert read_train(tmp_path, task) == {spell(n): (n, str(n % 3)) for n in range(6)}
    assert read_test(tmp_path, task) == {spell(n): n for n in (101, 102, 103)}


def test_the_column_of_ids_in_parquet_may_have_a_name_of_its_own(tmp_path: Path) -> None:
    task = parquet_task(tmp_path, "text", "__index_level_0__")
    assert len(read_train(tmp_path, task)) == 6
    assert images_to_train(tmp_path, task).parts[0].ids().name == "__index_level_0__"


def test_an_id_that_is_missing_in_parquet_is_named_with_its_row(tmp_path: Path) -> None:
    task = parquet_task(tmp_path, "text")
    write_parquet(tmp_path / "train_image_data_1.parquet", pa.array(["img_3", None, "img_5"]), [3, 4, 5])
    with pytest.raises(UserError, match=r"train_image_data_1\.parquet, row 2: image_id is empty"):
        images_to_train(tmp_path, task)


def test_images_of_16_bits_are_scaled_alike_and_that_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(path: Path, value: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", np.full((8, 8), value, np.uint16))[1].tobytes())

    for number in range(4):
        write(tmp_path / "train" / "cat" / f"{number}.png", 1000 * number + 10)
        write(tmp_path / "test" / f"{number}.png", 500)
    task = replace(ZOO, train_files="train/*/*.png")
    images = images_to_train(tmp_path, task)
    assert images.task.bits == 12
    assert sorted(value for value, _ in read_train(tmp_path, images.task).values()) == [0, 63, 125, 188]
    assert set(read_test(tmp_path, images.task).values()) == {500 >> 4}
    assert capsys.readouterr().out.count("16-bit images: 12 bits are in use, so their values are divided by 16") == 1


def test_a_test_image_that_is_cut_off_shows_what_it_has_and_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    for name in ("train/cat/0.jpg", "test/0.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        content = cv2.imencode(".jpg", noise)[1].tobytes()
        (tmp_path / name).write_bytes(content[: -len(content) // 3])
    task = replace(ZOO, train_files="train/*/*.jpg", test_files="test/*.jpg")
    assert list(read_test(tmp_path, task)) == ["test/0.jpg"]
    assert "1 of 1 image files are cut off or damaged: test/0.jpg" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"1 of 1 image files cannot be read: train/cat/0\.jpg"):
        read_train(tmp_path, task)


def test_a_fifth_left_out_of_a_table_s_images_is_that_of_its_ids(tmp_path: Path) -> None:
    for number in range(30):
        write_image(tmp_path / "train" / f"{number:03}.png", number)
    rows = [f"{number},{CLASSES[number % 3]}" for number in range(25)]
    write_table(tmp_path / "train.csv", "id,label", *rows)
    task = replace(ZOO, labels_file="train.csv", test_files="")
    seen: list[str] = []
    for fold in range(5):
        test = [name for part in images_to_predict(tmp_path, task, fold).parts for name in part.ids()]
        assert not set(test) & set(images_to_train(tmp_path, task, fold).labels.index)
        seen += test
    assert sorted(seen, key=int) == [str(number) for number in range(25)]


ORDER = [3, 0, 4, 1, 5, 2]  # of the rows: none is where its number says


@pytest.mark.parametrize(
    ("header", "row"),
    [
        (",image,label", "{row},{name}.png,{label}"),
        ("row,image,label", "{row},{name}.png,{label}"),
        ("id,file_name,label", "{row},000{name}.png,{label}"),
        (",image,label", "{row},{name},{label}"),
        ("image,label,index", "{name}.png,{label},{row}"),
    ],
)
def test_an_index_beside_the_ids_is_none(tmp_path: Path, header: str, row: str) -> None:
    for number in range(6):
        write_image(tmp_path / "train" / (f"000{number}.png" if "000" in row else f"{number}.png"), number)
    rows = [row.format(row=place, name=n, label=CLASSES[n % 3]) for place, n in enumerate(ORDER)]
    write_table(tmp_path / "train.csv", header, *rows)
    found = read_train(tmp_path, replace(ZOO, labels_file="train.csv"))
    assert sorted(found.values()) == [(number, CLASSES[number % 3]) for number in range(6)]


def test_columns_between_which_nothing_decides_are_an_error(tmp_path: Path) -> None:
    for number in range(6):
        write_image(tmp_path / "train" / f"{number}.png", number)
    rows = [f"{row},{number},{CLASSES[number % 3]}" for row, number in enumerate(ORDER)]
    write_table(tmp_path / "train.csv", "index,image,label", *rows)
    task = replace(ZOO, labels_file="train.csv")
    with pytest.raises(
        UserError, match=r"train\.csv: index, image could each hold the ids; id_column in the task says"
    ):
        read_train(tmp_path, task)
    assert len(read_train(tmp_path, replace(task, id_column="image"))) == 6


def test_one_repeated_or_empty_id_does_not_make_a_table_one_without_ids(tmp_path: Path) -> None:
    for number in range(12):
        write_image(tmp_path / "train" / f"{number}.png", number)
    rows = [f"{number}.png,{CLASSES[number % 3]}" for number in reversed(range(12))]
    task = replace(ZOO, labels_file="train.csv")
    for last, problem in (
        ("11.png,cat", "row 14: 11.png stands here for the second time"),
        (",cat", "row 14: image is"),
    ):
        write_table(tmp_path / "train.csv", "image,label", *rows, last)
        with pytest.raises(UserError, match=problem):
            read_train(tmp_path, task)
    write_table(tmp_path / "train.csv", "image,label", *rows, ",", ",")  # as a spreadsheet ends
    assert len(read_train(tmp_path, task)) == 12


@pytest.mark.parametrize("sample_ids", [[0, 1], [0, 1, 2, 3], ["a", "b", "c"], [1, 2, 4]])
def test_rows_without_ids_are_refused_where_their_numbers_would_be_a_guess(
    tmp_path: Path, sample_ids: list[object]
) -> None:
    write_pixels(tmp_path, "pixel0", None, [1, 2, 3])
    pd.DataFrame({"ImageId": sample_ids, "Label": 0}).to_csv(tmp_path / "sample.csv", index=False)
    with pytest.raises(UserError, match=r"test\.csv: its 3 rows have no ids and \d are wanted"):
        read_test(tmp_path, SMALL)


@pytest.mark.parametrize("first", [0, 1, 7])
def test_rows_without_ids_have_the_numbers_of_the_table_of_labels(tmp_path: Path, first: int) -> None:
    write_pixels(tmp_path, "pixel0", None, [1, 2, 3])
    pd.read_csv(tmp_path / "train.csv").drop(columns="label").to_csv(tmp_path / "train.csv", index=False)
    rows = [f"{number + first},{number % 3}" for number in range(6)]
    write_table(tmp_path / "labels.csv", "number,label", *rows)
    found = read_train(tmp_path, replace(SMALL, labels_file="labels.csv"))
    assert found == {str(number + first): (number, str(number % 3)) for number in range(6)}


def test_a_table_larger_than_its_reader_takes_at_once_is_read_whole(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3000, 784), np.uint8)
    table = pd.DataFrame(pixels, columns=[f"pixel{number}" for number in range(784)])
    table.insert(0, "label", np.arange(3000) % 10)
    table.to_csv(tmp_path / "train.csv", index=False)
    images = images_to_train(tmp_path, DIGITS)
    shard = read_shard(images.parts[0], DIGITS.image_shape, images.labels)
    assert np.array_equal(shard.images.reshape(3000, 784), pixels)
    assert shard.labels is not None
    assert np.array_equal(shard.labels["label"], np.arange(3000) % 10)


def test_of_many_images_those_of_a_sample_are_found_at_once(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    for number in range(20_000):
        (tmp_path / "test" / f"{number}.png").touch()
    write_table(tmp_path / "sample.csv", "id,label", *(f"{number},cat" for number in range(19_990)))
    started = time.process_time()
    assert len(images_to_predict(tmp_path, replace(ZOO, sample_submission="sample.csv")).without_row) == 10
    once = time.process_time() - started
    started = time.process_time()
    for _ in range(20):
        match([f"{number}" for number in range(19_990)], [f"test/{number}.png" for number in range(20_000)])
    assert (
        once < time.process_time() - started
    )  # each looked for in all of them, it takes longer than twenty times that


@pytest.mark.parametrize("packed", [".gz", ".zip"])
def test_tables_that_match_a_pattern_may_be_packed(tmp_path: Path, packed: str) -> None:
    for name in "ab":
        table = FORMS["pixel0"](range(3))
        table.insert(0, "id", [f"{name}{number}" for number in range(3)])
        table.insert(0, "label", [0, 1, 2])
        table.to_csv(tmp_path / f"train_{name}.csv{packed}", index=False)
    found = read_train(tmp_path, replace(SMALL, train_files="train_*.csv"))
    assert sorted(found) == ["a0", "a1", "a2", "b0", "b1", "b2"]


def test_a_class_after_an_open_part_of_the_name_is_the_longest_that_stands_there(tmp_path: Path) -> None:
    for number, name in enumerate(["img10", "img0", "img1"]):
        write_image(tmp_path / "train" / f"{name}.png", number)
    found = read_train(tmp_path, task_of("train/*{label}.png", label=list(range(12))))
    assert sorted(found.values()) == [(0, "10"), (1, "0"), (2, "1")]


def test_a_number_named_as_the_sample_s_ids_does_not_go_before_the_names_of_the_files(tmp_path: Path) -> None:
    for number in range(6):
        write_image(tmp_path / "train" / f"{number}.png", number)
        write_image(tmp_path / "test" / f"{number}.png", 100 + number)
    rows = [f"{row},{number}.png,{CLASSES[number % 3]}" for row, number in enumerate(ORDER)]
    write_table(tmp_path / "train.csv", "id,file,label", *rows)
    write_table(tmp_path / "sample.csv", "id,label", *(f"{number},cat" for number in range(6)))
    task = replace(ZOO, labels_file="train.csv", sample_submission="sample.csv")
    assert read_train(tmp_path, task) == {f"{number}.png": (number, CLASSES[number % 3]) for number in range(6)}
    (tmp_path / "train.csv").write_text((tmp_path / "train.csv").read_text().replace("5.png", "none.png"))
    assert len(read_train(tmp_path, task)) == 5


def test_ids_of_all_files_are_matched_together(tmp_path: Path) -> None:
    task = parquet_task(tmp_path, "text")
    write_parquet(tmp_path / "train_image_data_0.parquet", pa.array(["0007", "8"]), [1, 2])
    write_parquet(tmp_path / "train_image_data_1.parquet", pa.array(["7", "9"]), [3, 4])
    write_table(tmp_path / "train.csv", "image_id,label", "7,0", "8,1", "9,2")
    assert read_train(tmp_path, task) == {"8": (2, "1"), "7": (3, "0"), "9": (4, "2")}
    assert images_to_train(tmp_path, task).without_label == ["0007"]


def test_an_id_of_the_sample_that_could_be_two_files_costs_its_own_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a/1.png", "a/2.png", "b/2.png"):
        write_image(tmp_path / "test" / name, 1)
    write_table(tmp_path / "sample.csv", "id,label", "1,cat", "2,cat")
    task = replace(ZOO, test_files="test/*/*.png", sample_submission="sample.csv")
    assert read_test(tmp_path, task) == {"1": 1}
    assert images_to_predict(tmp_path, task).without_image == ["2"]
    assert "warning: sample.csv: 2 could be each of test/a/2.png, test/b/2.png" in capsys.readouterr().out


def test_a_test_file_that_is_damaged_costs_its_own_rows(tmp_path: Path) -> None:
    task = parquet_task(tmp_path, "text")
    (tmp_path / "test_image_data_1.parquet").write_bytes(b"PAR1")
    assert images_to_predict(tmp_path, task).without_image == []
    (tmp_path / "test_image_data_0.parquet").write_bytes(b"PAR1")
    assert images_to_predict(tmp_path, task).without_image == ["img_103", "img_101", "img_102"]


def test_a_column_that_repeats_or_lacks_a_value_does_not_keep_the_ids_from_being_found(tmp_path: Path) -> None:
    task = replace(parquet_task(tmp_path, "text"), id_column="")
    rows = [f"p{number % 5},,img_{number},{number % 3}" for number in range(6)]
    write_table(tmp_path / "train.csv", "patient,note,image,label", *rows)
    assert len(read_train(tmp_path, task)) == 6


def test_image_files_whose_paths_name_their_classes_are_read_without_polars(tmp_path: Path) -> None:
    write_image(tmp_path / "train" / "cat" / "1.png", 10)
    write_image(tmp_path / "train" / "dog" / "2.png", 20)
    program = f"""if True:
        import sys
        sys.modules["polars"] = None
        from dataclasses import replace
        from pathlib import Path
        from multihead.config.known_tasks import TASKS
        from multihead.data.datasets import images_to_train
        from multihead.data.shards import read_shard
        task = replace(TASKS["animals10"], train_files="train/*/*.png", test_files="test/*.png")
        images = images_to_train(Path({str(tmp_path)!r}), task)
        print(read_shard(images.parts[0], task.image_shape, images.labels).images.shape)
    """
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, cwd=HOUSE / "src"
    )
    assert done.stdout.split("\n")[0].startswith("(2, "), done.stderr
