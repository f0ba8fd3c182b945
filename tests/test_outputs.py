"""What a submission and other predictions are held to."""

import gzip
from pathlib import Path

import pytest

from bundler.errors import BundlerError, RehearsalError
from bundler.rehearse.outputs import check_predictions, check_submission


@pytest.mark.parametrize(
    ("sample", "submission"),
    [
        ("id,label\na,0\nb,0\n", "id,label\na,1\nb,1\n"),
        ("label,id\n0,a\n0,b\n", "label,id\n1,a\n1,b\n"),
        ("label,id\n0,a\n1,b\n", "label,id\n1,a\n1,b\n"),
        ("sep=;\nid;label\na;0\nb;0\n;\n", "id,label\na,1\nb,1\n"),
        ("id,label,Usage\na,0,Public\nb,0,Public\n", "id,label\na,1\nb,1\n"),
        ("id;label\na;0\n\nb;0\n", "id,label\na,1\nb,1\n"),
        ("id, label\na, 0,\nb, 0,\n", "id,label\na,1\nb,1\n"),
    ],
)
def test_a_submission_is_held_against_a_sample_of_any_export(tmp_path: Path, sample: str, submission: str) -> None:
    (tmp_path / "sample.csv").write_text(sample)
    (tmp_path / "submission.csv").write_text(submission)
    assert check_submission(tmp_path / "submission.csv", tmp_path / "sample.csv") == 2
    (tmp_path / "submission.csv").write_text(submission.replace("b,", "c,").replace(",b", ",c"))
    with pytest.raises(RehearsalError, match="submission"):
        check_submission(tmp_path / "submission.csv", tmp_path / "sample.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "Submission CSV Not Found"),
        ("row_id,target\na,1\n", "1 rows; sample_submission.csv has 2"),
        ("id,target\na,1\nb,2\n", "header id,target; sample_submission.csv has row_id,target"),
        ("row_id,target\nb,1\na,2\n", r"line 2: b,1; expected a,<class>"),
        ("row_id,target\na,1\nb,\n", r"line 3: b,; expected b,<class>"),
        ("row_id,target\na,1\nb\n", "line 3: b; expected b,<class>"),
        ("row_id,target\na,1,2\nb,1\n", r"line 2: a,1,2; expected a,<class>"),
        ("row_id,target\na, \nb,1\n", r"line 2: a, ; expected a,<class>"),
        ("row_id\na\nb\n", "header row_id; sample_submission.csv has row_id,target"),
        ("", r"submission\.csv: is empty$"),
        ("\n\n", r"submission\.csv: is empty$"),
    ],
)
def test_a_submission_that_kaggle_would_refuse_is_named(tmp_path: Path, text: str | None, message: str) -> None:
    sample = tmp_path / "sample_submission.csv"
    sample.write_text("row_id,target\na,0\nb,0\n")
    if text is not None:
        (tmp_path / "submission.csv").write_text(text)
    with pytest.raises(RehearsalError, match=message):
        check_submission(tmp_path / "submission.csv", sample)


@pytest.mark.parametrize("end", ["", "\n", "\n\n\r\n"])
def test_a_good_submission_is_counted(tmp_path: Path, end: str) -> None:
    sample = tmp_path / "sample_submission.csv"
    sample.write_text("row_id,target\na,0\nb,0\n")
    (tmp_path / "submission.csv").write_text(f"row_id,target\na,7\nb,12{end}")
    assert check_submission(tmp_path / "submission.csv", sample) == 2


def test_a_byte_order_mark_in_the_sample_is_no_part_of_its_header(tmp_path: Path) -> None:
    (tmp_path / "sample_submission.csv").write_text("row_id,target\na,0\n", encoding="utf-8-sig")
    (tmp_path / "submission.csv").write_text("row_id,target\na,7\n")
    assert check_submission(tmp_path / "submission.csv", tmp_path / "sample_submission.csv") == 1


def test_a_sample_that_lies_there_compressed_is_read(tmp_path: Path) -> None:
    (tmp_path / "submission.csv").write_text("row_id,target\na,7\n")
    (tmp_path / "sample_submission.csv.gz").write_bytes(gzip.compress(b"row_id,target\na,0\n"))
    assert check_submission(tmp_path / "submission.csv", tmp_path / "sample_submission.csv") == 1


def test_a_sample_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "submission.csv").write_text("row_id,target\na,7\n")
    (tmp_path / "sample_submission.csv").write_bytes(b"row_id,caf\xe9\n")
    with pytest.raises(BundlerError, match=r"sample_submission\.csv: cannot be read as CSV \("):
        check_submission(tmp_path / "submission.csv", tmp_path / "sample_submission.csv")


def test_an_answer_need_not_be_of_the_placeholder_s_kind(tmp_path: Path) -> None:
    (tmp_path / "sample_submission.csv").write_text("file,species,level\na,0,0\n")
    (tmp_path / "submission.csv").write_text("file,species,level\na,oak,-1\n")
    assert check_submission(tmp_path / "submission.csv", tmp_path / "sample_submission.csv") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"^no predictions\.csv in the working folder$"),
        ("", r"predictions\.csv: no rows"),
        ("id,label\n", r"predictions\.csv: no rows"),
        ("id,label\na,1\nb,\n", r"predictions\.csv, line 3: b,; expected id,label"),
        ("id,label\na\n", r"predictions\.csv, line 2: a; expected id,label"),
    ],
)
def test_predictions_that_are_none_are_named(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "predictions.csv").write_text(text)
    with pytest.raises(RehearsalError, match=message):
        check_predictions(tmp_path / "predictions.csv")


def test_good_predictions_are_counted(tmp_path: Path) -> None:
    (tmp_path / "predictions.csv").write_text("id,label\na,oak\nb,elm\n")
    assert check_predictions(tmp_path / "predictions.csv") == 2
