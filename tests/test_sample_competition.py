from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from sample_competition import CLASSES, draw, draw_labels, main

from tests.built_in import BENGALI

FILES = [
    "class_map.csv",
    "sample_submission.csv",
    "test.csv",
    *(f"test_image_data_{i}.parquet" for i in range(4)),
    "train.csv",
    *(f"train_image_data_{i}.parquet" for i in range(4)),
    "truth.csv",
]


def test_the_files_are_those_of_the_competition(drawn: Path) -> None:
    assert sorted(f.name for f in drawn.iterdir()) == FILES
    assert pd.read_csv(drawn / "test.csv").columns.tolist() == ["row_id", "image_id", "component"]
    first = pd.read_csv(drawn / "sample_submission.csv").row_id[:3].tolist()
    assert first == ["Test_0_consonant_diacritic", "Test_0_grapheme_root", "Test_0_vowel_diacritic"]
    file = pq.ParquetFile(drawn / "train_image_data_0.parquet")
    assert file.schema_arrow.names == ["image_id", *map(str, range(137 * 236))]
    assert file.metadata.num_row_groups == 1


def test_they_are_laid_out_as_the_real_ones(drawn: Path, bengali: Path) -> None:
    for name in FILES[:-1]:
        real, ours = bengali / name, drawn / name
        if name.endswith(".csv"):
            assert pd.read_csv(ours, nrows=0).columns.tolist() == pd.read_csv(real, nrows=0).columns.tolist()
        else:
            schemas = [pq.read_schema(path).remove_metadata() for path in (ours, real)]
            assert schemas[0] == schemas[1]


def test_each_class_has_a_component_of_its_own(drawn: Path) -> None:
    table = pd.read_csv(drawn / "class_map.csv", dtype={"component": str})
    assert table.groupby("component_type").size().to_dict() == dict(CLASSES)
    assert not table.duplicated(["component_type", "component"]).any()


def test_every_class_comes_equally_often() -> None:
    labels = draw_labels(168 * 11 * 7, np.random.default_rng(0))
    for head, classes in CLASSES.items():
        assert labels[head].value_counts().tolist() == [168 * 11 * 7 // classes] * classes
    assert dict(CLASSES) == {head: len(classes) for head, classes in BENGALI.heads.items()}


def test_images_of_one_class_differ_and_the_same_seed_draws_the_same() -> None:
    first, again, other = (draw((17, 3, 2), np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_each_mark_of_each_head_changes_the_image() -> None:
    plain = draw((17, 3, 2), np.random.default_rng(0)).astype(int)
    for labels in ((18, 3, 2), (17, 4, 2), (17, 3, 3), (17, 0, 2), (17, 3, 0)):
        assert np.abs(draw(labels, np.random.default_rng(0)) - plain).max() > 100


def test_an_existing_folder_is_drawn_into_again(tmp_path: Path) -> None:
    for _ in range(2):
        assert main([str(tmp_path), "--task", "sign-mnist", "--rows", "1", "--test-rows", "1"]) == 0
    assert sorted(f.name for f in tmp_path.iterdir()) == ["sign_mnist_test.csv", "sign_mnist_train.csv"]
