import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multihead.data.labels import read_label_table
from multihead.runtime.errors import UserError
from tests.built_in import BENGALI
from tests.reading import part_ids, read_labels, read_shard, shards_to_predict

PIXELS = 137 * 236


def write_shard(path: Path, pixels: np.ndarray, names: list[str] | None = None, **extra: object) -> Path:
    """Write a wide parquet file of pixels (n, 32332), columns in any order, with extra columns."""
    columns = {"image_id": pa.array([f"Test_{i}" for i in range(len(pixels))])}
    columns |= {name: pa.array(value) for name, value in extra.items()}
    columns |= {name: pa.array(pixels[:, int(name)]) for name in names or [str(i) for i in range(PIXELS)]}
    pq.write_table(pa.table(columns), path)
    return path


def random_pixels(rows: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (rows, PIXELS), np.uint8)


def test_pixels_come_out_row_by_row(tmp_path: Path) -> None:
    pixels = random_pixels(3)
    shard = read_shard(write_shard(tmp_path / "a.parquet", pixels), BENGALI)
    assert shard.ids == ["Test_0", "Test_1", "Test_2"]
    assert shard.images.dtype == np.uint8
    assert np.array_equal(shard.images, pixels.reshape(3, 137, 236, 1))
    assert shard.labels is None


@pytest.mark.parametrize("rows", [0, 1])
def test_a_shard_of_one_row_and_of_none(tmp_path: Path, rows: int) -> None:
    path = write_shard(tmp_path / "a.parquet", random_pixels(rows))
    assert len(part_ids(path, BENGALI)) == rows
    assert np.array_equal(read_shard(path, BENGALI).images, random_pixels(rows).reshape(rows, 137, 236, 1))


def test_columns_are_taken_by_name(tmp_path: Path) -> None:
    pixels = random_pixels(2)
    names = [str(i) for i in reversed(range(PIXELS))]
    path = write_shard(tmp_path / "a.parquet", pixels, names, index=[7, 8])
    assert np.array_equal(read_shard(path, BENGALI).images, pixels.reshape(2, 137, 236, 1))


def test_a_missing_pixel_column_is_named(tmp_path: Path) -> None:
    names = [str(i) for i in range(PIXELS) if i != 17]
    with pytest.raises(UserError, match=r"a\.parquet: no column '17'"):
        read_shard(write_shard(tmp_path / "a.parquet", random_pixels(1), names), BENGALI)


def test_pixels_of_a_larger_image_are_refused(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.parquet", random_pixels(1), None, **{str(PIXELS): pa.array([0], pa.uint8())})
    with pytest.raises(UserError, match="has a column '32332'"):
        read_shard(path, BENGALI)


@pytest.mark.parametrize("kind", [np.float32, np.int64])
def test_pixels_of_another_type_are_read_where_nothing_is_lost(tmp_path: Path, kind: type) -> None:
    pixels = random_pixels(2)
    shard = read_shard(write_shard(tmp_path / "a.parquet", pixels.astype(kind)), BENGALI)
    assert shard.images.dtype == np.uint8
    assert np.array_equal(shard.images, pixels.reshape(2, 137, 236, 1))


@pytest.mark.parametrize("value", [0.5, 256.0, -1.0, np.nan])
def test_pixels_that_are_no_whole_numbers_from_0_to_255_are_refused(tmp_path: Path, value: float) -> None:
    pixels = random_pixels(2).astype(np.float32)
    pixels[1, 7] = value
    with pytest.raises(UserError, match=r"a\.parquet: column '7' holds (0\.5|256|-1|nan).*; expected whole"):
        read_shard(write_shard(tmp_path / "a.parquet", pixels), BENGALI)


def test_pixels_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    names = [str(i) for i in range(PIXELS) if i != 5]
    path = write_shard(tmp_path / "a.parquet", random_pixels(1), names, **{"5": pa.array(["x"])})
    with pytest.raises(UserError, match="column '5' is String; expected UInt8"):
        read_shard(path, BENGALI)


def test_missing_values_are_refused(tmp_path: Path) -> None:
    names = [str(i) for i in range(PIXELS) if i != 5]
    path = write_shard(tmp_path / "a.parquet", random_pixels(1), names, **{"5": pa.array([None], pa.uint8())})
    with pytest.raises(UserError, match="column '5' has 1 missing values"):
        read_shard(path, BENGALI)


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_named(tmp_path: Path, drawn: Path, share: float) -> None:
    whole = (drawn / "test_image_data_0.parquet").read_bytes()
    path = tmp_path / "cut.parquet"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UserError, match=r"cut\.parquet: not a readable parquet file"):
        read_shard(path, BENGALI)


def test_damage_inside_a_file_is_named(tmp_path: Path, drawn: Path) -> None:
    raw = bytearray((drawn / "test_image_data_0.parquet").read_bytes())
    raw[2000:40000] = bytes(38000)
    path = tmp_path / "hurt.parquet"
    path.write_bytes(raw)
    with pytest.raises(UserError, match=r"hurt\.parquet: damaged: "):
        read_shard(path, BENGALI)


SMALL = dataclasses.replace(BENGALI, image_shape=(20, 30, 1))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 40 small images, to be damaged in a copy."""
    path = tmp_path_factory.mktemp("shard") / "whole.parquet"
    columns = {"image_id": [f"Test_{i}" for i in range(40)]} | {str(i): random_pixels(1)[0, :40] for i in range(600)}
    pq.write_table(pa.table(columns), path)
    return path


@given(st.data())
@settings(max_examples=150)
def test_whatever_is_damaged_the_file_is_read_or_named(whole: Path, data: st.DataObject) -> None:
    raw, hurt = bytearray(whole.read_bytes()), whole.with_name("hurt.parquet")
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(raw) - 1))
        raw[start : start + 8] = data.draw(st.binary(min_size=1, max_size=8))
    hurt.write_bytes(raw)
    message = ""
    try:
        shard = read_shard(hurt, SMALL)
    except UserError as error:
        message = str(error)
    else:
        assert shard.images.shape == (len(shard.ids), 20, 30, 1)
    assert not message or ("hurt.parquet: " in message and "\n" not in message)


def test_labels_follow_the_ids(drawn: Path) -> None:
    labels = read_labels(drawn, BENGALI)
    shard = read_shard(drawn / "train_image_data_1.parquet", BENGALI, labels.sample(frac=1, random_state=0))
    table = pd.read_csv(drawn / "train.csv").set_index("image_id").loc[list(shard.ids)]
    assert shard.labels is not None
    assert list(shard.labels) == list(BENGALI.heads)
    for head, indices in shard.labels.items():
        assert np.array_equal(np.asarray(BENGALI.heads[head])[indices], table[head])


def test_an_image_without_labels_is_named(drawn: Path) -> None:
    labels = read_labels(drawn, BENGALI).drop("Train_0")
    with pytest.raises(UserError, match="Train_0 has no labels"):
        read_shard(drawn / "train_image_data_0.parquet", BENGALI, labels)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("b,168,0,0", "b: grapheme_root is 168; expected 0 to 167"),
        ("b,1,-1,0", "b: vowel_diacritic is -1; expected 0 to 10"),
        ("b,,,", "1 of 2 rows have no label: b"),
        ("b,1,x,0", "b: vowel_diacritic is x; expected 0 to 10"),
        ("a,1,0,0", "a stands here for the second time"),
    ],
)
def test_a_wrong_label_is_named(tmp_path: Path, row: str, message: str) -> None:
    path = tmp_path / "train.csv"
    path.write_text(f"image_id,grapheme_root,vowel_diacritic,consonant_diacritic\na,0,0,0\n{row}\n")
    with pytest.raises(UserError, match=message):
        read_label_table(path, BENGALI)


def test_a_missing_label_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("image_id,grapheme_root\na,0\n")
    with pytest.raises(UserError, match="no column vowel_diacritic, consonant_diacritic; it has image_id"):
        read_label_table(path, BENGALI)


def test_shards_are_in_the_order_of_their_numbers(tmp_path: Path, drawn: Path) -> None:
    shutil.copy(drawn / "sample_submission.csv", tmp_path)
    for number in (10, 2, 0):
        (tmp_path / f"test_image_data_{number}.parquet").touch()
    files = shards_to_predict(tmp_path, BENGALI)
    assert [Path(f.name).stem[-2:] for f in files] == ["_0", "_2", "10"]
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    with pytest.raises(UserError, match=r"no test_image_data_\*\.parquet in"):
        shards_to_predict(tmp_path, BENGALI)
