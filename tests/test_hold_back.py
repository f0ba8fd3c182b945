"""Train images that are held back as test images, in the competition's files."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hold_back import choose, main
from hypothesis import given
from hypothesis import strategies as st

from multihead.data.shards import Part
from multihead_study.cli import main as multihead
from tests.built_in import BENGALI
from tests.reading import read_labels, read_shard, shards_to_predict, shards_to_train

HEADS = list(BENGALI.heads)


@pytest.fixture(scope="module")
def held_back(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the 192 drawn train images 110 to test with and 80 to train on."""
    folder = tmp_path_factory.mktemp("held") / "back"
    assert main([str(drawn), str(folder), "--test", "110", "--train", "80"]) == 0
    return folder


def images_of(parts: Sequence[Part]) -> dict[bytes, str]:
    """Return the ids by the images' pixels."""
    return {
        image.tobytes(): str(name)
        for shard in (read_shard(part, BENGALI) for part in parts)
        for name, image in zip(shard.ids, shard.images, strict=True)
    }


def test_every_image_is_one_of_the_train_images_with_its_own_labels(held_back: Path, drawn: Path) -> None:
    before, labels = images_of(shards_to_train(drawn, BENGALI)), read_labels(drawn, BENGALI)
    train, test = images_of(shards_to_train(held_back, BENGALI)), images_of(shards_to_predict(held_back, BENGALI))
    assert (len(train), len(test)) == (80, 110)
    assert not train.keys() & test.keys()
    assert all(before[image] == name for image, name in train.items())
    pd.testing.assert_frame_equal(read_labels(held_back, BENGALI)[HEADS], labels.loc[list(train.values()), HEADS])
    truth = pd.read_csv(held_back / "truth.csv").set_index("row_id")["target"]
    known = labels[HEADS].to_dict("index")
    for image, name in test.items():
        assert {head: truth[f"{name}_{head}"] for head in HEADS} == known[before[image]]


def test_the_test_files_are_as_the_competition_s_and_its_grader_takes_them(
    held_back: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = sorted(held_back.glob("test_image_data_*.parquet"))
    ids = [pq.read_table(file, columns=["image_id"])["image_id"].to_pylist() for file in files]
    assert [len(part) for part in ids] == [28, 28, 27, 27]
    assert [name for part in ids for name in part] == [f"Test_{number}" for number in range(110)]
    assert pd.read_csv(held_back / "test.csv")["row_id"][0] == "Test_0_consonant_diacritic"
    multihead(["evaluate", str(held_back / "truth.csv"), str(held_back / "truth.csv")])
    assert "R = 1.0000" in capsys.readouterr().out


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=16, max_size=40), st.integers(0, 5))
def test_each_class_with_two_images_is_in_the_test_and_the_same_seed_draws_the_same(
    rows: list[tuple[int, int, int]], seed: int
) -> None:
    labels = pd.DataFrame(rows, columns=HEADS, index=[f"Train_{number}" for number in range(len(rows))])
    test, train = choose(labels, 12, None, seed)
    assert sorted([*test.index, *train.index]) == sorted(labels.index)
    assert len(test) == 12
    for head in HEADS:
        counts = labels[head].value_counts()
        assert set(counts[counts > 1].index) <= set(test[head])
    again, rest = choose(labels, 12, 2, seed)
    assert (list(again.index), list(rest.index)) == (list(test.index), list(train.index[:2]))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--test", "150", "--train", "50"], "192 images are less than 150 to test with and 50 to train on"),
        (["--test", "192"], "192 images are less than 192 to test with and 1 to train on"),
        (["--test", "20"], r"20 test images are too few for one of each class, of which there are \d+"),
    ],
)
def test_too_few_images_are_an_error_and_leave_no_folder(
    drawn: Path, tmp_path: Path, options: list[str], problem: str
) -> None:
    with pytest.raises(SystemExit, match=f"error: {problem}"):
        main([str(drawn), str(tmp_path / "out"), *options])
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_there_and_one_without_the_competition_s_files_are_refused(
    drawn: Path, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match="is there already; name a new folder"):
        main([str(drawn), str(tmp_path)])
    with pytest.raises(SystemExit, match=r"error: no class_map\.csv in"):
        main([str(tmp_path), str(tmp_path / "out")])
    for name in ("class_map.csv", "train.csv"):
        (tmp_path / name).touch()
    with pytest.raises(SystemExit, match=r"error: no train_image_data_\*\.parquet in"):
        main([str(tmp_path), str(tmp_path / "out")])
