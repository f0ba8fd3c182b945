from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multihead.prediction.submission import Submission
from multihead.runtime.errors import UserError
from tests.built_in import BENGALI
from tests.reading import submission_of_sample

PRIOR = {"grapheme_root": 72, "vowel_diacritic": 9, "consonant_diacritic": 6}
ORDER = ("consonant_diacritic", "grapheme_root", "vowel_diacritic")


def predicted(count: int) -> pd.DataFrame:
    """Every image's labels differ from the next one's in each head."""
    rows = {head: np.arange(count) % len(classes) for head, classes in BENGALI.heads.items()}
    return pd.DataFrame(rows, index=[f"Test_{i}" for i in range(count)])


def sample(folder: Path, count: int) -> Path:
    path = folder / "sample_submission.csv"
    lines = [f"Test_{i}_{head},0" for i in range(count) for head in ORDER]
    path.write_text("\n".join(["row_id,target", *lines]) + "\n")
    return path


def write(folder: Path, images: int, tables: list[pd.DataFrame], name: str = "submission.csv") -> Submission:
    submission = submission_of_sample(folder / name, sample(folder, images), BENGALI, PRIOR)
    for table in tables:
        submission.add(table)
    submission.write()
    assert submission.rows == 3 * images
    return submission


def test_rows_are_those_of_the_sample_in_its_order(tmp_path: Path) -> None:
    assert write(tmp_path, 3, [predicted(3)]).problems() == []
    expected = [f"Test_{i}_{head},{i}" for i in range(3) for head in ORDER]
    assert (tmp_path / "submission.csv").read_text().splitlines() == ["row_id,target", *expected]
    assert not list(tmp_path.glob("new-*"))


@given(st.permutations(range(12)), st.lists(st.integers(0, 12), max_size=4))
@settings(max_examples=40)
def test_any_order_and_split_of_the_images_gives_the_same_file(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], cuts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("order")
    write(folder, 12, [predicted(12)], "a.csv")
    edges = [0, *sorted(cuts), 12]
    shuffled = predicted(12).iloc[order]
    write(folder, 12, [shuffled.iloc[a:b] for a, b in pairwise(edges)], "b.csv")
    assert (folder / "a.csv").read_bytes() == (folder / "b.csv").read_bytes()


def test_rows_without_a_prediction_have_the_prior(tmp_path: Path) -> None:
    submission = write(tmp_path, 4, [predicted(3)])
    assert submission.problems() == [
        "3 rows of sample_submission.csv have no prediction: Test_3_consonant_diacritic, ..."
    ]
    assert submission.answered_share == 0.75
    last = (tmp_path / "submission.csv").read_text().splitlines()[-3:]
    assert last == [f"Test_3_{head},{PRIOR[head]}" for head in ORDER]


def test_predictions_without_a_row_are_left_out(tmp_path: Path) -> None:
    assert write(tmp_path, 3, [predicted(4)]).problems() == []
    assert len((tmp_path / "submission.csv").read_text().splitlines()) == 10


@pytest.mark.parametrize("in_one_table", [True, False])
def test_of_an_image_that_comes_twice_the_first_counts(tmp_path: Path, in_one_table: bool) -> None:
    again = predicted(3).iloc[[1]] + 1
    tables = [pd.concat([predicted(3), again])] if in_one_table else [predicted(3), again]
    submission = write(tmp_path, 3, tables)
    assert submission.problems() == ["3 predictions are for a row that already had one: Test_1_grapheme_root, ..."]
    write(tmp_path, 3, [predicted(3)], "plain.csv")
    assert (tmp_path / "plain.csv").read_bytes() == (tmp_path / "submission.csv").read_bytes()


def test_columns_stand_as_in_the_sample(tmp_path: Path) -> None:
    path = tmp_path / "sample_submission.csv"
    path.write_text(",".join(["image_id", *ORDER]) + "\nTest_1,0,0,0\n")
    submission = submission_of_sample(tmp_path / "submission.csv", path, BENGALI, PRIOR)
    submission.add(predicted(2).iloc[1:].add([5, 3, 1]))
    submission.write()
    text = (tmp_path / "submission.csv").read_text()
    assert text == ",".join(["image_id", *ORDER]) + "\nTest_1,2,6,4\n"


def test_a_head_that_the_sample_does_not_ask_for_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "sample_submission.csv"
    path.write_text("row_id,target\nTest_1_grapheme_root,0\nTest_1_vowel_diacritic,0\n")
    submission = submission_of_sample(tmp_path / "submission.csv", path, BENGALI, PRIOR)
    submission.add(predicted(2).iloc[1:])
    assert submission.problems() == []
    submission.write()
    assert (tmp_path / "submission.csv").read_text() == path.read_text().replace(",0", ",1")


def test_a_sample_of_another_task_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sample_submission.csv"
    path.write_text("row_id,target\nTest_0_grapheme_root,0\nTest_0_letter,0\n")
    with pytest.raises(UserError, match="Test_0_letter ends in none of grapheme_root"):
        submission_of_sample(tmp_path / "submission.csv", path, BENGALI, PRIOR)
