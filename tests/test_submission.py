from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multihead.errors import UserError
from multihead.submission import score_submission, write_submission
from multihead.tasks import BENGALI

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


def test_rows_are_those_of_the_sample_in_its_order(tmp_path: Path) -> None:
    out = tmp_path / "submission.csv"
    assert write_submission(out, sample(tmp_path, 3), predicted(3), BENGALI) == 9
    expected = [f"Test_{i}_{head},{i}" for i in range(3) for head in ORDER]
    assert out.read_text().splitlines() == ["row_id,target", *expected]
    assert not list(tmp_path.glob("new-*"))


@given(st.permutations(range(12)))
@settings(max_examples=30, deadline=None)
def test_any_order_of_the_images_gives_the_same_file(
    tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("order")
    table = sample(folder, 12)
    write_submission(folder / "a.csv", table, predicted(12), BENGALI)
    write_submission(folder / "b.csv", table, predicted(12).iloc[order], BENGALI)
    assert (folder / "a.csv").read_bytes() == (folder / "b.csv").read_bytes()


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (2, "3 rows without a prediction, 0 predictions without a row; Test_2_consonant_diacritic is not in the test"),
        (4, "0 rows without a prediction, 3 predictions without a row; Test_3_.* is not in sample_submission.csv"),
    ],
)
def test_rows_that_do_not_match_the_sample_are_refused_and_nothing_is_written(
    tmp_path: Path, images: int, told: str
) -> None:
    with pytest.raises(UserError, match=told):
        write_submission(tmp_path / "submission.csv", sample(tmp_path, 3), predicted(images), BENGALI)
    assert not (tmp_path / "submission.csv").exists()


def test_an_image_that_comes_twice_is_named(tmp_path: Path) -> None:
    twice = predicted(3).iloc[[0, 1, 2, 1]]
    with pytest.raises(UserError, match="Test_1 is in them 2 times"):
        write_submission(tmp_path / "submission.csv", sample(tmp_path, 3), twice, BENGALI)


def test_a_submission_is_scored_whatever_the_order_of_its_rows(tmp_path: Path) -> None:
    write_submission(tmp_path / "truth.csv", sample(tmp_path, 168), predicted(168), BENGALI)
    told = pd.read_csv(tmp_path / "truth.csv")
    is_root = told.row_id.str.endswith("_grapheme_root")
    told.loc[is_root & (told.target >= 84), "target"] = 0
    told.sample(frac=1, random_state=0).to_csv(tmp_path / "submission.csv", index=False)
    score = score_submission(tmp_path / "submission.csv", tmp_path / "truth.csv", BENGALI)
    assert score.recall == {"grapheme_root": 0.5, "vowel_diacritic": 1.0, "consonant_diacritic": 1.0}
    assert score.total == 0.75


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.iloc[1:], "its 8 rows are not the 9 rows of"),
        (lambda t: t.assign(row_id=t.row_id.str.replace("Test_2", "Test_3")), "its 9 rows are not the 9 rows"),
        (lambda t: t.assign(target=200), "target is 200; expected 0 to 167"),
        (lambda t: t.rename(columns={"target": "label"}), "no column target; it has row_id, label"),
        (lambda t: t.iloc[[0, *range(8)]], "stands in it more than once"),
    ],
)
def test_a_submission_that_is_not_one_is_refused(tmp_path: Path, change, told: str) -> None:  # type: ignore[no-untyped-def]
    write_submission(tmp_path / "truth.csv", sample(tmp_path, 3), predicted(3), BENGALI)
    change(pd.read_csv(tmp_path / "truth.csv")).to_csv(tmp_path / "submission.csv", index=False)
    with pytest.raises(UserError, match=told):
        score_submission(tmp_path / "submission.csv", tmp_path / "truth.csv", BENGALI)


def test_a_truth_of_another_task_is_refused(tmp_path: Path) -> None:
    for name in ("truth.csv", "submission.csv"):
        (tmp_path / name).write_text("row_id,target\nTest_0_letter,3\n")
    with pytest.raises(UserError, match="row ids are not <image>_<head>"):
        score_submission(tmp_path / "submission.csv", tmp_path / "truth.csv", BENGALI)
