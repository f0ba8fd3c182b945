import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from repeat_test_files import main

from multihead.data.readers.wide_parquet import WideParquet
from tests.built_in import BENGALI
from tests.reading import read_shard, shards_to_predict, submission_of_sample


@pytest.fixture(scope="module")
def repeated(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 12 drawn test images, 50 times in all."""
    folder = tmp_path_factory.mktemp("repeated") / "competition"
    assert main([str(drawn), str(folder), "--rows", "50"]) == 0
    return folder


def parquet_files(folder: Path) -> list[Path]:
    return [part.path for part in shards_to_predict(folder, BENGALI) if isinstance(part, WideParquet)]


def test_ids_count_through_four_files_of_about_the_same_size(repeated: Path) -> None:
    files = parquet_files(repeated)
    ids = [pq.read_table(file, columns=["image_id"])["image_id"].to_pylist() for file in files]
    assert [len(part) for part in ids] == [13, 13, 12, 12]
    assert [i for part in ids for i in part] == [f"Test_{i}" for i in range(50)]
    assert all(pq.ParquetFile(file).metadata.num_row_groups == 1 for file in files)


def test_every_image_is_one_of_the_competition_s_and_comes_about_as_often(repeated: Path, drawn: Path) -> None:
    originals, copies = (
        [image.tobytes() for file in parquet_files(folder) for image in read_shard(file, BENGALI).images]
        for folder in (drawn, repeated)
    )
    counts = [copies.count(image) for image in originals]
    assert sum(counts) == 50
    assert set(counts) <= {4, 5, 6}
    assert copies[:12] != copies[13:25]


def test_a_submission_of_all_images_matches_the_sample(repeated: Path, tmp_path: Path) -> None:
    sample = repeated / "sample_submission.csv"
    submission = submission_of_sample(tmp_path / "submission.csv", sample, BENGALI, dict.fromkeys(BENGALI.heads, 0))
    for file in parquet_files(repeated):
        ids = pd.Index(read_shard(file, BENGALI).ids)
        submission.add(pd.DataFrame(dict.fromkeys(BENGALI.heads, 1), index=ids))
    assert not submission.problems()
    submission.write()
    assert submission.rows == 150
    assert pd.read_csv(sample).row_id.tolist()[:3] == [
        "Test_0_consonant_diacritic",
        "Test_0_grapheme_root",
        "Test_0_vowel_diacritic",
    ]


def test_other_files_are_linked_but_for_the_truth(repeated: Path, drawn: Path) -> None:
    assert {f.name for f in drawn.iterdir()} - {f.name for f in repeated.iterdir()} == {"truth.csv"}
    assert (repeated / "train.csv").resolve() == (drawn / "train.csv").resolve()
    assert pd.read_csv(repeated / "test.csv").columns.tolist() == pd.read_csv(drawn / "test.csv").columns.tolist()


def test_hidden_files_are_not_linked(drawn: Path, tmp_path: Path) -> None:
    competition = tmp_path / "competition"
    shutil.copytree(drawn, competition)
    for name in (".DS_Store", "._test_image_data_0.parquet"):
        (competition / name).touch()
    assert main([str(competition), str(tmp_path / "new"), "--rows", "4"]) == 0
    assert not [entry for entry in (tmp_path / "new").iterdir() if entry.name.startswith(".")]


def test_a_competition_without_test_images_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no test images to repeat"):
        main([str(tmp_path), str(tmp_path / "new"), "--rows", "50"])
    assert not (tmp_path / "new").exists()
