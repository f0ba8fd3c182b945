"""What inspect says of a competition's train files before any training."""

import dataclasses
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multihead.cli import main
from multihead.config import known_tasks as tasks
from multihead.config.known_tasks import task_from
from multihead.report.inspection import inspect
from tests.built_in import ANIMALS, BENGALI

TASK = dataclasses.replace(BENGALI, image_shape=(20, 30, 1), heads={"letter": (0, 1, 2, 3), "accent": (0, 1)})
LETTERS, ACCENTS = (0, 1, 1, 2, 0, 0, 1, 2), (0, 1, 0, 1, 0, 1, 0, 1)
IDS = [f"Train_{i}" for i in range(8)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two shards of four images: one is blank, two pairs are the same, one id has no label, one label no image."""
    images = np.full((8, 20, 30), 200, np.uint8)
    images[:, 5:15, 10:20] = np.arange(8)[:, None, None]  # a sixth of the pixels is ink
    images[2] = 255
    images[4] = images[0]
    images[5] = images[1]
    for number in range(2):
        columns = images.reshape(8, -1)[number * 4 : number * 4 + 4].T
        table = {"image_id": pa.array(IDS[number * 4 : number * 4 + 4])}
        table |= {str(i): pa.array(column) for i, column in enumerate(columns)}
        pq.write_table(pa.table(table), tmp_path / f"train_image_data_{number}.parquet")
    labels = pd.DataFrame({"image_id": IDS, "letter": LETTERS, "accent": ACCENTS})
    labels.loc[7, "image_id"] = "Train_99"
    labels.to_csv(tmp_path / "train.csv", index=False)
    return tmp_path


def test_each_class_s_images_are_counted_in_all_and_in_each_shard(data: Path, tmp_path: Path) -> None:
    lines = list(inspect(data, TASK, tmp_path / "inspect.html"))
    for head, counts in (
        ("letter", "0: 3 (1+2)  1: 3 (2+1)  2: 1 (1+0)  3: 0 (0+0)"),
        ("accent", "0: 4 (2+2)  1: 3 (2+1)"),
    ):
        place = next(i for i, line in enumerate(lines) if line.startswith(f"{head}: "))
        assert lines[place + 1].strip() == counts


def inspected(data: Path, picture: Path, task: Any = TASK) -> dict[str, str]:
    """The lines, by what stands before their first colon."""
    lines = [line.partition(": ") for line in inspect(data, task, picture)]
    return {name.strip(): rest for name, _, rest in lines}


def test_counts_statistics_and_all_that_is_wrong_are_told(data: Path, tmp_path: Path) -> None:
    lines = inspected(data, tmp_path / "inspect.html")
    pixels = np.array([200.0] * 500 + [0] * 100)
    assert lines["train_image_data_0.parquet"].startswith("4 images, mean ")
    mean, deviation = (float(word.split()[1]) for word in lines["train_image_data_1.parquet"].split(", ")[1:3])
    assert mean == pytest.approx(pixels.mean(), abs=1)
    assert deviation == pytest.approx(pixels.std(), abs=2)
    assert lines["ink of an image"] == "0.0% to 16.7%"
    assert lines["letter"].startswith("4 classes of 0 to 3 images")
    assert lines["classes of letter without an image"] == "1: 3"
    assert lines["classes of accent without an image"] == "0"
    assert lines["blank images"] == "1: Train_2"
    assert lines["groups of images with the same pixels and equal labels"] == "1: Train_0 = Train_4"
    assert lines["groups of images with the same pixels and different labels"] == "1: Train_1 = Train_5"
    assert lines["images without a label"] == "1: Train_7"
    assert lines["labels without an image"] == "1: Train_99"


def test_heads_may_have_any_name(data: Path, tmp_path: Path) -> None:
    lines = inspected(data, tmp_path / "inspect.html")
    labels = pd.read_csv(data / "train.csv").rename(columns={"letter": "shard", "accent": "hash"})
    labels.to_csv(data / "train.csv", index=False)
    renamed = inspected(
        data, tmp_path / "inspect.html", dataclasses.replace(TASK, heads={"shard": (0, 1, 2, 3), "hash": (0, 1)})
    )
    assert [renamed["shard"], renamed["hash"]] == [lines["letter"], lines["accent"]]
    assert [text for name, text in renamed.items() if "image" in name] == [
        text for name, text in lines.items() if "image" in name
    ]


def test_a_file_that_is_no_image_is_no_blank_one(tmp_path: Path) -> None:
    heads = {"label": ("cat", "dog")}
    task = dataclasses.replace(ANIMALS, heads=heads, class_folders={}, train_files="*/*", test_files="none")
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(3):
            image = np.random.default_rng(number).integers(0, 256, (20, 20, 3), np.uint8)
            cv2.imwrite(str(tmp_path / name / f"{number}.png"), image)
    cv2.imwrite(str(tmp_path / "cat" / "0.png"), np.zeros((20, 20, 3), np.uint8))
    (tmp_path / "dog" / "1.png").write_bytes(b"no image")
    lines = inspected(tmp_path, tmp_path / "inspect.html", task)
    assert lines["image files that cannot be read"] == "1: dog/1.png"
    assert lines["blank images"] == "1: cat/0.png"
    assert lines["labels without an image"] == "0"
    assert lines["label"].startswith("2 classes of 2 to 3 images")


def test_the_page_shows_each_class(data: Path, tmp_path: Path) -> None:
    inspected(data, tmp_path / "inspect.html")
    page = (tmp_path / "inspect.html").read_text(encoding="utf-8")
    classes = re.findall(r"<h4>(\d): (\d) images</h4>\n(.*?)</div>", page, re.DOTALL)
    pictures = [(name, int(images), content.count("<img ")) for name, images, content in classes]
    assert all(images == shown for _, images, shown in pictures)
    assert [name for name, *_ in pictures] == [*"0123", *"01"]
    assert sum(images for _, images, _ in pictures) == 2 * 7


def test_images_in_colour_have_no_ink(data: Path, tmp_path: Path) -> None:
    lines = inspected(data, tmp_path / "inspect.html", dataclasses.replace(TASK, image_shape=(20, 10, 3)))
    assert "ink" not in lines["all"]
    assert lines["blank images"] == "1: Train_2"


def test_the_command_takes_the_data_as_argument_or_as_setting(
    data: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setitem(tasks.TASKS, "bengali", TASK)
    here = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(here)
    assert main(["inspect", str(data)]) == 0
    first = capsys.readouterr().out
    assert "all: 7 images of 20 x 30 x 1" in first
    assert main(["inspect", "--set", f"data={data}", "--out", "other.html"]) == 0
    assert capsys.readouterr().out == first.replace("inspect.html", "other.html")
    assert (here / "inspect.html").read_bytes() == (here / "other.html").read_bytes()


def test_the_page_is_never_written_over_what_is_read(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(tasks.TASKS, "bengali", TASK)
    out = data / "train.csv"
    before = out.read_bytes()
    assert main(["inspect", str(data), "--out", str(out)]) == 2
    assert f"{out}: would be written over" in capsys.readouterr().err
    assert out.read_bytes() == before


def test_a_folder_without_train_files_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tmp_path)]) == 2
    assert "error: competition: no train_image_data_*.parquet, no train.csv in" in capsys.readouterr().err


def task_of(folder: Path, rows: str, sample: str, heads: dict[str, Any], **values: Any) -> Any:
    """Lay out images of a table of labels, and two to predict; return the task."""
    for part, names in (("train", [line.partition(",")[0] for line in rows.split("\n")[1:]]), ("test", ["t0", "t1"])):
        (folder / part).mkdir()
        for number, name in enumerate(names):
            image = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
            cv2.imwrite(str(folder / part / f"{name}.png"), image)
    (folder / "train.csv").write_text(rows + "\n")
    (folder / "sample_submission.csv").write_text(sample + "\n")
    files = {"train_files": "train/*", "labels_file": "train.csv", "test_files": "test/*"}
    of_all = {"name": "own", "dataset": "a/b", "reader": "image files", "image_shape": [8, 8, 3]}
    own = {"sample_submission": "sample_submission.csv", "heads": heads}
    return task_from(of_all | files | own | values, "task.toml")


def beginning(lines: list[str]) -> list[str]:
    """What is said of the answer, and the rows of a submission."""
    place = next(i for i, line in enumerate(lines) if line.startswith("answer: "))
    return [line.strip() for line in lines[place : next(i for i in range(place + 2, 99) if lines[i][0] != " ")]]


def test_sets_of_classes_are_counted_and_a_submission_has_the_likeliest(tmp_path: Path) -> None:
    rows = "id,labels\na,rust scab\nb,scab\nc,rust scab\ne,mildew scab"
    heads = {"labels": {"kind": "sigmoid", "classes": ["scab", "rust", "mildew"]}}
    task = task_of(tmp_path, rows, "id,labels\nt0,scab\nt1,scab", heads, answer="labels")
    shutil.copyfile(tmp_path / "train" / "b.png", tmp_path / "train" / "c.png")
    shutil.copyfile(tmp_path / "train" / "a.png", tmp_path / "train" / "e.png")
    shutil.copyfile(tmp_path / "train" / "a.png", tmp_path / "train" / "d.png")
    lines = list(inspect(tmp_path, task, tmp_path / "inspect.html"))
    text = "\n".join(lines)
    assert "labels: column labels; any of 3 classes, scab, rust, mildew" in text
    assert "scab: 4 (4)  rust: 2 (2)  mildew: 1 (1)" in text
    assert "classes of labels an image: 1 to 2, mean 1.75; 0 images have none" in text
    assert "groups of images with the same pixels and different labels: 2: a = e, b = c" in text
    assert "images without a label: 1: train/d.png" in text
    assert beginning(lines) == [
        "answer: labels parted by spaces, one column, labels; score F1 samples",
        *("submission.csv would begin:", "id,labels", "t0,scab", "t1,scab"),
    ]
    page = (tmp_path / "inspect.html").read_text(encoding="utf-8")
    assert re.findall(r"<h4>(.*?)</h4>", page) == [
        *("scab: 4 images", "rust: 2 images", "mildew: 1 images", "none of the classes: 0 images")
    ]


def test_images_that_have_none_of_the_classes_and_classes_in_columns_of_their_own(tmp_path: Path) -> None:
    rows = "id,scab,rust\na,1,1\nb,0,0\nc,0,1\nd,0,0"
    heads = {"labels": {"kind": "sigmoid", "classes": ["scab", "rust"]}}
    task = task_of(tmp_path, rows, "id,scab,rust\nt0,0,0\nt1,0,0", heads, answer="probability", score="ROC AUC")
    lines = list(inspect(tmp_path, task, tmp_path / "inspect.html"))
    assert "labels: column scab, rust; any of 2 classes, scab, rust" in "\n".join(lines)
    assert "classes of labels an image: 0 to 2, mean 0.75; 2 images have none" in lines
    assert beginning(lines) == [
        "answer: probability, a column per class; score ROC AUC",
        *("submission.csv would begin:", "id,scab,rust", "t0,0.25,0.5", "t1,0.25,0.5"),
    ]
    page = (tmp_path / "inspect.html").read_text(encoding="utf-8")
    assert "none of the classes: 2 images" in page
    assert page.count("<img ") == 1 + 2 + 2


def test_of_numbers_the_quartiles_and_images_of_ranges_are_shown(tmp_path: Path) -> None:
    numbers = [1, 2, 3, 4, 5, 6, 7, 8, 9, 20]
    rows = "Id,Pawpularity,kind\n" + "\n".join(f"i{i},{number},cat" for i, number in enumerate(numbers))
    task = task_of(
        tmp_path,
        rows,
        "Id,Pawpularity\nt0,1\nt1,1",
        {"score_of_it": {"kind": "number", "column": "Pawpularity"}},
        answer="number",
        submission_file="submission.csv.zip",
    )
    lines = list(inspect(tmp_path, task, tmp_path / "inspect.html"))
    text = "\n".join(lines)
    assert "score_of_it: column Pawpularity; a number" in text
    assert "score_of_it: 1 to 20, quartiles 3.25, 5.5, 7.75" in lines
    assert beginning(lines) == [
        "answer: number, one column, Pawpularity; score RMSE, less is better",
        *("submission.csv.zip would begin:", "Id,Pawpularity", "t0,5.5", "t1,5.5"),
    ]
    page = (tmp_path / "inspect.html").read_text(encoding="utf-8")
    ranges = re.findall(r"<h4>(\S+) to (\S+): (\d+) images</h4>", page)
    assert [int(images) for *_, images in ranges] == [2, 2, 2, 2, 2]
    assert (ranges[0][0], ranges[-1][1]) == ("1", "20")
    assert page.count("<img ") == 10


def test_missing_labels_of_each_head_are_counted_and_equal_each_other(tmp_path: Path) -> None:
    rows = "id,grade,age,marks\na,2,,x y\nb,2,,x y\nc,,7,\nd,,8,\ne,0,5,y\nf,1,5,y"
    heads: dict[str, Any] = {
        "grade": {"kind": "ordinal", "classes": 3},
        "age": {"kind": "number"},
        "marks": {"kind": "sigmoid", "classes": ["x", "y"]},
    }
    task = task_of(tmp_path, rows, "id,marks\nt0,x\nt1,x", {"marks": heads["marks"]}, answer="labels")
    task = dataclasses.replace(
        task,
        heads={"grade": (0, 1, 2), "age": (), "marks": ("x", "y")},
        kinds={head: of_head["kind"] for head, of_head in heads.items()},
        test_files="none",
        sample_submission="",
    )
    for same, other in (("a", "b"), ("c", "d"), ("e", "f")):
        shutil.copyfile(tmp_path / "train" / f"{same}.png", tmp_path / "train" / f"{other}.png")
    lines = inspected(tmp_path, tmp_path / "inspect.html", task)
    assert [lines[f"images without {head}"] for head in heads] == ["2: c, d", "2: a, b", "2: c, d"]
    assert lines["groups of images with the same pixels and equal labels"] == "1: a = b"
    assert lines["groups of images with the same pixels and different labels"] == "2: c = d, e = f"
    assert lines["age"] == "5 to 8, quartiles 5, 6, 7.25"
    assert lines["classes of marks an image"] == "1 to 2, mean 1.50; 0 images have none"
    assert lines["grade"].startswith("3 classes of 1 to 2 images")


@pytest.mark.parametrize(
    ("heads", "answer", "sample", "said", "written"),
    [
        (
            {"ill": {"kind": "softmax", "classes": [0, 1]}},
            "probability",
            "id,ill\nt0,0.5\nt1,0.5",
            "probability, one column, ill, of the last of two classes, 1",
            ["id,ill", "t0,0.25", "t1,0.25"],
        ),
        (
            {"ill": {"kind": "softmax", "classes": [0, 1]}},
            "probability",
            "id,p\nt0_0,0.5\nt0_1,0.5\nt1_0,0.5\nt1_1,0.5",
            "probability, a row per image and class",
            ["id,p", "t0_0,0.75", "t0_1,0.25", "t1_0,0.75"],
        ),
        (
            {"ill": {"kind": "softmax", "classes": [0, 1]}},
            "ranking 2",
            "id,ill\nt0,0 1\nt1,0 1",
            "the 2 likeliest labels parted by spaces, the likeliest first, one column, ill",
            ["id,ill", "t0,0 1", "t1,0 1"],
        ),
        (
            {"ill": {"kind": "ordinal", "classes": [0, 1]}},
            "label",
            "id,ill\nt0,0\nt1,0",
            "label, one column, ill",
            ["id,ill", "t0,0", "t1,0"],
        ),
        (
            {"ill": {"kind": "softmax", "classes": [0, 1]}, "wet": {"kind": "softmax", "classes": [0, 1]}},
            "probability",
            "id,ill,wet\nt0,0.5,0.5\nt1,0.5,0.5",
            "probability, a column per head, of the last of two classes, ill of 1, wet of 1",
            ["id,ill,wet", "t0,0.25,0.75", "t1,0.25,0.75"],
        ),
        (
            {"ill": {"kind": "softmax", "classes": [0, 1]}, "wet": {"kind": "softmax", "classes": [0, 1]}},
            "label",
            "row,target\nt0_ill,0\nt0_wet,0\nt1_ill,0\nt1_wet,0",
            "label, a row per image and head",
            ["row,target", "t0_ill,0", "t0_wet,1", "t1_ill,0"],
        ),
    ],
)
def test_the_form_of_the_answers_is_told_and_shown(
    tmp_path: Path, heads: Any, answer: str, sample: str, said: str, written: list[str]
) -> None:
    rows = "id,ill,wet\na,1,1\nb,0,1\nc,0,1\nd,0,0"
    task = task_of(tmp_path, rows, sample, heads, answer=answer)
    lines = beginning(list(inspect(tmp_path, task, tmp_path / "inspect.html")))
    assert lines[0].startswith(f"answer: {said}; score ")
    assert lines[2:] == written
