from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from multihead import cli
from multihead.config.known_tasks import task_from
from multihead.config.task import task_dict
from multihead.data.targets import truth_of
from multihead.runtime.errors import UserError
from multihead.scoring.evaluation import Graded, classes_table, read_both
from tests.built_in import ANIMALS, BENGALI, DIGITS
from tests.reading import part_ids, read_labels, shards_to_predict
from tests.test_tasks import write_leaves


def labels_of(count: int) -> pd.DataFrame:
    """Every image's labels differ from the next one's in each head."""
    rows = {head: np.arange(count) % len(classes) for head, classes in BENGALI.heads.items()}
    return pd.DataFrame(rows, index=[f"Test_{i}" for i in range(count)])


def write(path: Path, labels: pd.DataFrame) -> Path:
    rows = [f"{image}_{head},{label}" for image, row in labels.iterrows() for head, label in row.items()]
    path.write_text("\n".join(["row_id,target", *rows]) + "\n")
    return path


def test_a_submission_is_scored_whatever_the_order_of_its_rows(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth.csv", labels_of(168))
    answers = pd.read_csv(truth)
    is_root = answers.row_id.str.endswith("_grapheme_root")
    answers.loc[is_root & (answers.target >= 84), "target"] = 0
    answers.sample(frac=1, random_state=0).to_csv(tmp_path / "submission.csv", index=False)
    found = read_both(tmp_path / "submission.csv", truth, BENGALI).score(BENGALI)
    assert found.heads == {"grapheme_root": 0.5, "vowel_diacritic": 1.0, "consonant_diacritic": 1.0}
    assert found.total == 0.75


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.iloc[:0], "its 0 images are not the 3 images of"),
        (lambda t: t.iloc[1:], "row ids are not <image>_<head>"),
        (lambda t: t.assign(row_id=t.row_id.str.replace("Test_2", "Test_3")), "its 3 images are not the 3 images"),
        (lambda t: t.assign(target=200), "is 200; expected 0 to 167"),
        (lambda t: t.iloc[[0, *range(8)]], "stands in it more than once"),
    ],
)
def test_a_submission_that_is_not_one_is_refused(tmp_path: Path, change, message: str) -> None:  # type: ignore[no-untyped-def]
    truth = write(tmp_path / "truth.csv", labels_of(3))
    change(pd.read_csv(truth)).to_csv(tmp_path / "submission.csv", index=False)
    with pytest.raises(UserError, match=message):
        read_both(tmp_path / "submission.csv", truth, BENGALI)


def test_a_truth_without_rows_is_named(tmp_path: Path) -> None:
    for name in ("truth.csv", "submission.csv"):
        (tmp_path / name).write_text("row_id,target\n")
    with pytest.raises(UserError, match=r"truth\.csv: no rows"):
        read_both(tmp_path / "submission.csv", tmp_path / "truth.csv", BENGALI)


@pytest.mark.parametrize(
    "rows",
    ["Test_0_letter,3", "Test_0_grapheme_root,3\nTest_1_vowel_diacritic,3\nTest_0_consonant_diacritic,3"],
)
def test_a_truth_of_another_task_is_refused(tmp_path: Path, rows: str) -> None:
    for name in ("truth.csv", "submission.csv"):
        (tmp_path / name).write_text(f"row_id,target\n{rows}\n")
    with pytest.raises(UserError, match=r"row ids are not <image>_<head>|Test_0_letter ends in none of"):
        read_both(tmp_path / "submission.csv", tmp_path / "truth.csv", BENGALI)


def test_the_worst_classes_stand_first_and_absent_ones_not_at_all() -> None:
    true = labels_of(20)
    answers = true.copy()
    answers.loc["Test_4", "grapheme_root"] = 7
    answers.loc["Test_6", "consonant_diacritic"] = 0
    graded = Graded(true.index.tolist(), truth_of(answers, BENGALI), truth_of(true, BENGALI))
    table = classes_table(graded, BENGALI)
    assert table.iloc[0].tolist() == ["grapheme_root", 4, 1, 0.0]
    assert table.iloc[1].tolist() == ["consonant_diacritic", 6, 2, 0.5]
    assert (table.recall[2:] == 1).all()
    assert len(table) == 20 + 11 + 7


def test_evaluate_tells_seen_from_unseen_and_writes_every_class(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    true = labels_of(168)
    answers = true.copy()
    answers.iloc[:100] = answers.iloc[:100].assign(grapheme_root=0)
    submission, truth = write(tmp_path / "submission.csv", answers), write(tmp_path / "truth.csv", true)
    train = true.iloc[100:].rename_axis("image_id")
    train.to_csv(tmp_path / "train.csv")
    classes = tmp_path / "classes.csv"
    arguments = ["evaluate", submission, truth, "--train", tmp_path / "train.csv", "--classes", classes]
    assert cli.main([str(argument) for argument in arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "R = 0.7054"
    assert "seen label combinations: 68 images, R = 1.0000, over the classes that these show" in lines
    assert "unseen label combinations: 100 images, R = 0.5050, over the classes that these show" in lines
    assert lines[lines.index("the 10 classes with the least recall:") + 1].split() == [
        "grapheme_root",
        "1:",
        "0.0000",
        "of",
        "1",
        "images",
    ]
    assert len(pd.read_csv(classes)) == 168 + 11 + 7


@pytest.mark.parametrize("out", ["submission.csv", "truth.csv", "train.csv"])
def test_what_is_read_is_never_written_over(tmp_path: Path, out: str, capsys: pytest.CaptureFixture[str]) -> None:
    submission, truth = (write(tmp_path / name, labels_of(3)) for name in ("submission.csv", "truth.csv"))
    labels_of(3).rename_axis("image_id").to_csv(tmp_path / "train.csv")
    before = (tmp_path / out).read_bytes()
    arguments = ["evaluate", submission, truth, "--train", tmp_path / "train.csv", "--classes", tmp_path / out]
    assert cli.main([str(argument) for argument in arguments]) == 2
    assert f"{out}: would be written over" in capsys.readouterr().err
    assert (tmp_path / out).read_bytes() == before


def test_a_folder_without_labels_of_its_test_images_is_named(tmp_path: Path) -> None:
    task = write_leaves(tmp_path)
    of_one_head = task_from(task_dict(ANIMALS) | {"name": "own", "test_files": "more/*"}, "test")
    of_pixels = task_from(task_dict(DIGITS) | {"name": "own", "image_shape": [1, 2, 1]}, "test")
    (tmp_path / "test.csv").write_text("pixel0,pixel1\n1,2\n")
    for own_task, answers, why in (
        (task, "id,species,is_ill\nmore0.png,oak,1\n", r"no truth\.csv, and labels\.csv is of the train images"),
        (of_one_head, "id,label\nmore/more0.png,cat\n", r"the paths more/\* name no classes"),
        (of_pixels, "id,label\n1,1\n", "no column label; it has pixel0"),
    ):
        (tmp_path / "predictions.csv").write_text(answers)
        message = rf"^{tmp_path}: holds no labels of its test images \(.*{why}.*\)$"
        with pytest.raises(UserError, match=message):
            read_both(tmp_path / "predictions.csv", tmp_path, own_task)


def test_a_test_image_of_a_train_image_s_name_has_not_its_labels(tmp_path: Path) -> None:
    task = write_leaves(tmp_path)
    for i in range(3):
        (tmp_path / "more" / f"more{i}.png").rename(tmp_path / "more" / f"photos{i}.png")
    (tmp_path / "predictions.csv").write_text(
        "id,species,is_ill\nphotos0.png,oak,0\nphotos1.png,elm,1\nphotos2.png,ash,0\n"
    )
    with pytest.raises(UserError, match=r"holds no labels of its test images \(no truth\.csv"):
        read_both(tmp_path / "predictions.csv", tmp_path, task)


def test_a_fifth_left_out_of_labelled_photographs_is_scored_with_their_table(tmp_path: Path) -> None:
    task = replace(write_leaves(tmp_path), test_files="")
    labels = read_labels(tmp_path, task)
    ids = [image for part in shards_to_predict(tmp_path, task, 3) for image in part_ids(part, task)]
    right = [f"{image},{task.heads['species'][labels.species[image]]},{labels.is_ill[image]}" for image in ids]
    (tmp_path / "predictions.csv").write_text("\n".join(["id,species,is_ill", *right]) + "\n")
    graded = read_both(tmp_path / "predictions.csv", tmp_path, task)
    assert sorted(graded.ids) == sorted(ids)
    assert graded.score(task).total == 1
