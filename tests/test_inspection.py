"""What inspect says of a competition's train files before any training."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multihead.cli import main
from multihead.config import task as tasks
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
