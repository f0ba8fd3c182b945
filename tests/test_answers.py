"""Every form of a submission, written and read back."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from numpy.typing import NDArray

from multihead.config.known_tasks import task_from
from multihead.config.task import Task
from multihead.data.answers import answers_in, cells_of, form_of_images, key_of, read_answers, read_form, truth_in
from multihead.prediction.submission import Submission
from multihead.runtime.errors import UserError
from multihead.scoring.evaluation import read_both
from multihead.scoring.metrics import task_score
from tests.scored import EVERY, drawn_answers, drawn_truth, task_of

IDS = ["b_1", "a", "c_a", "d"]
OF_IMAGES = {
    "name": "answers",
    "reader": "image files",
    "image_shape": [8, 8, 1],
    "train_files": "train/*/*.png",
    "dataset": "somebody/answers",
    "test_files": "test/*.png",
    "sample_submission": "sample.csv",
}


def task_with(heads: dict[str, Any], **keys: str) -> Task:
    more = {"labels_file": "labels.csv", "train_files": "train/*.png"}
    return task_from(OF_IMAGES | more | {"heads": heads} | keys, "test")


def written(folder: Path, sample: str, task: Task, answers: dict[str, NDArray[Any]], ids: list[str] = IDS) -> Path:
    """Fill a sample's rows with answers to images, in another order, and return the submission."""
    (folder / "sample.csv").write_text(sample)
    path = folder / task.submission_file
    cells = pd.DataFrame(cells_of(answers, task), index=ids)
    nothing = {str(key): column.iloc[0] for key, column in cells.items()}
    submission = Submission(path, read_form(folder / "sample.csv", task, ids), nothing, "sample.csv")
    submission.add(cells.iloc[::-1])
    assert submission.problems() == []
    submission.write()
    return path


SHARES = np.array([[0.1, 0.2, 0.7], [1, 0, 0], [0.25, 0.25, 0.5], [1 / 3, 1 / 3, 1 / 3]])
PER_CLASS = "id,{}\n" + "".join(f"{name},0,0,0\n" for name in IDS)
ROWS = "row_id,p\n" + "".join(f"{name}_{label},0\n" for name in IDS for label in ("a", "b", "a_b"))


@pytest.mark.parametrize("file", ["submission.csv", "submission.parquet", "submission.csv.zip", "submission.zip"])
@pytest.mark.parametrize("sample", [PER_CLASS.format("a,b,a_b"), PER_CLASS.format("a_b,a,b"), ROWS])
def test_probabilities_go_into_columns_or_rows_of_their_classes(tmp_path: Path, sample: str, file: str) -> None:
    task = task_with({"kind": ["a", "b", "a_b"]}, score="log loss", submission_file=file)
    path = written(tmp_path, sample, task, {"kind": SHARES.astype(np.float32)})
    cells = read_answers(path, task, IDS)
    found = answers_in(cells, task, path)["kind"]
    assert found[[cells.index.tolist().index(name) for name in IDS]] == pytest.approx(SHARES, abs=1e-6)
    header = sample.splitlines()[0].split(",")
    table = {".parquet": pd.read_parquet}.get(path.suffix, pd.read_csv)(path)
    assert list(table.columns) == header
    assert table[header[0]].tolist() == [line.split(",")[0] for line in sample.splitlines()[1:]]


def test_of_several_heads_rows_and_columns_bear_the_head_s_name_too(tmp_path: Path) -> None:
    task = task_with({"kind": ["a", "b"], "size": ["a", "b"]}, score="log loss")
    answers = {"kind": SHARES[:, :2].astype(np.float32), "size": SHARES[:, 1:].astype(np.float32)}
    names = ["kind_a", "kind_b", "size_a", "size_b"]
    rows = "row_id,p\n" + "".join(f"{image}_{name},0\n" for image in IDS for name in names)
    columns = f"id,{','.join(names)}\n" + "".join(f"{image},0,0,0,0\n" for image in IDS)
    for sample in (rows, columns):
        path = written(tmp_path, sample, task, answers)
        cells = read_answers(path, task)
        for head, expected in answers.items():
            assert answers_in(cells.loc[IDS], task, path)[head] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("heads", [{"label": [0, 1]}, {"label": {"kind": "sigmoid", "classes": ["yes"]}}])
def test_one_column_is_of_the_last_of_two_classes_or_the_only_one(tmp_path: Path, heads: dict[str, Any]) -> None:
    task = task_with(heads, score="ROC AUC")
    last = np.array([0.25, 1, 0, 0.5], np.float32)[:, None]
    shares = np.concatenate([1 - last, last], axis=1)[:, -len(task.heads["label"]) :]
    path = written(tmp_path, "id,target\n" + "".join(f"{name},0.5\n" for name in IDS), task, {"label": shares})
    assert path.read_text() == "id,target\nb_1,0.25\na,1.0\nc_a,0.0\nd,0.5\n"
    assert answers_in(read_answers(path, task), task, path)["label"] == pytest.approx(shares)


def test_rankings_and_sets_are_parted_by_spaces(tmp_path: Path) -> None:
    sample = "Image,Id\n" + "".join(f"{name},new\n" for name in IDS)
    task = task_with({"Id": ["new", "w1", "w2"]}, answer="ranking 2")
    answers = {"Id": np.array([[0, 1], [2, 1], [1, -1], [-1, -1]])}
    path = written(tmp_path, sample, task, answers)
    assert path.read_text() == "Image,Id\nb_1,new w1\na,w2 w1\nc_a,w1\nd,\n"
    assert answers_in(read_answers(path, task), task, path)["Id"].tolist() == answers["Id"].tolist()
    path.write_text(path.read_text().replace("w2 w1", "w2 w1 new"))
    with pytest.raises(UserError, match="a: Id has more than 2 classes"):
        answers_in(read_answers(path, task), task, path)
    sets = task_with({"Id": {"kind": "sigmoid", "classes": ["new", "w1", "w2"]}}, answer="labels")
    chosen = {"Id": np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 1]], np.bool_)}
    path = written(tmp_path, sample, sets, chosen)
    assert path.read_text() == "Image,Id\nb_1,new w2\na,w1\nc_a,\nd,new w1 w2\n"
    assert answers_in(read_answers(path, sets), sets, path)["Id"].tolist() == chosen["Id"].tolist()


def test_numbers_stand_as_they_are_and_what_is_none_is_named(tmp_path: Path) -> None:
    task = task_with({"height": {"kind": "number"}}, score="MAE")
    numbers = {"height": np.array([1.5, -2, 1e-7, 1e9])}
    path = written(tmp_path, "id,height\n" + "".join(f"{name},0\n" for name in IDS), task, numbers)
    assert answers_in(read_answers(path, task), task, path)["height"].tolist() == numbers["height"].tolist()
    for wrong in ("tall", "nan", ""):
        path.write_text(f"id,height\nx,{wrong}\ny,2\n")
        found = wrong or "empty"
        with pytest.raises(UserError, match=rf"submission\.csv, x: height is {found}; expected a number"):
            answers_in(read_answers(path, task), task, path)


@pytest.mark.parametrize(
    ("sample", "problem"),
    [
        ("id,a,b\nx,0,0\n", r"no column c; it has id, a, b"),
        ("id,p\nx,0\n", r"one column, p, for 3 classes of kind; expected a column or a row for each: a, b, c"),
        ("id,p\nx_a,0\nx_b,0\nx_d,0\n", r"x_d ends in none of a, b, c; expected a row per image and class"),
        ("id,p,q\nx,0,0\n", r"columns id, p, q; expected an id and a, b, c"),
    ],
)
def test_a_sample_that_has_no_place_for_a_class_is_named(tmp_path: Path, sample: str, problem: str) -> None:
    (tmp_path / "sample.csv").write_text(sample)
    with pytest.raises(UserError, match=problem):
        read_form(tmp_path / "sample.csv", task_with({"kind": ["a", "b", "c"]}, score="log loss"))


def test_an_image_that_lacks_a_class_s_row_is_named(tmp_path: Path) -> None:
    (tmp_path / "submission.csv").write_text("id,p\nx_a,0\nx_b,0\ny_a,0\n")
    with pytest.raises(UserError, match=r"row ids are not <image>_<class> with the classes a, b"):
        read_answers(tmp_path / "submission.csv", task_with({"kind": ["a", "b"]}, score="log loss"))


@pytest.mark.parametrize(("score", "kind"), EVERY)
def test_without_a_sample_every_answer_comes_back_as_it_was(tmp_path: Path, score: str, kind: Any) -> None:
    task = replace(task_of(score, kind), sample_submission="")
    rng = np.random.default_rng(0)
    answers = {"head": drawn_answers(rng, task, drawn_truth(rng, kind, 30))}
    ids = [f"image_{i}" for i in range(30)]
    cells = pd.DataFrame(cells_of(answers, task), index=ids)
    path = tmp_path / "predictions.csv"
    submission = Submission(
        path, form_of_images(ids, task), {str(key): cells[key].iloc[0] for key in cells}, "the test files"
    )
    submission.add(cells)
    submission.write()
    found = answers_in(read_answers(path, task), task, path)["head"]
    assert found == pytest.approx(answers["head"], abs=1e-6)


def test_a_truth_in_the_form_of_answers_is_one_of_labels() -> None:
    shares = np.array([[1, 0, 0], [0, 0, 1]])
    assert truth_in({"kind": shares}, task_with({"kind": ["a", "b", "c"]}, score="log loss"))["kind"].tolist() == [0, 2]
    some = task_with({"kind": {"kind": "sigmoid", "classes": ["a", "b", "c"]}}, score="log loss")
    assert truth_in({"kind": np.array([[1, 0, 1]])}, some)["kind"].tolist() == [[1, 0, 1]]
    ranked = task_with({"kind": ["a", "b", "c"]}, answer="ranking 2")
    assert truth_in({"kind": np.array([[2, -1], [0, -1]])}, ranked)["kind"].tolist() == [2, 0]


def test_a_key_is_no_head_s_name() -> None:
    assert key_of("kind", 3) == "kind: 3"


@pytest.mark.parametrize("name", ["submission.txt", "..", "manifest.json", ".csv", "more/submission.csv", "csv"])
def test_a_submission_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"expected a name that ends in \.csv, \.parquet or \.zip"):
        task_with({"kind": ["a", "b"]}, submission_file=name)


def test_what_stands_between_spaces_has_none_in_its_name() -> None:
    for heads, keys in (
        ({"kind": ["golden retriever", "pug"]}, {"answer": "ranking 2"}),
        ({"kind": {"kind": "sigmoid", "classes": ["golden retriever", "pug"]}}, {"score": "F1 micro"}),
    ):
        with pytest.raises(UserError, match=r"heads\.kind: labels are parted by spaces, so none may hold one"):
            task_with(heads, **keys)
    assert task_with({"kind": ["golden retriever", "pug"]}, score="log loss").answer == "probability"


def test_whole_ids_are_numbers_in_parquet_wherever_they_stand(tmp_path: Path) -> None:
    task = task_with({"height": {"kind": "number"}}, submission_file="submission.parquet")
    for ids, kind in ((["7", "10"], "i"), (["07", "10"], "O")):
        for header in ("id,height", "height,id"):
            rows = "".join(f"{name},0\n" if header.startswith("id") else f"0,{name}\n" for name in ids)
            path = written(tmp_path, f"{header}\n{rows}", task, {"height": np.array([1.5, 2.5])}, ids)
            assert pd.read_parquet(path)["id"].dtype.kind == kind


def test_what_is_not_quite_sure_is_not_written_as_1(tmp_path: Path) -> None:
    """In single precision 1 - 1e-9 is 1, and where it is wrong a grader's log loss would be endless."""
    task = task_with({"label": ["cat", "dog"]}, score="log loss")
    rows = np.array([[1e-9, 1], [1, 1e-9], [0.25, 0.75], [0.5, 0.5]], np.float32)
    path = written(tmp_path, "id,p\n" + "".join(f"{name},0.5\n" for name in IDS), task, {"label": rows})
    said = pd.read_csv(path)["p"].to_numpy()
    truth = np.array([0, 1, 0, 1])
    ours = task_score({"label": truth}, {"label": rows}, task).total
    assert sklearn.metrics.log_loss(truth, said) == pytest.approx(ours, rel=1e-6)
    assert said[2:].tolist() == [0.75, 0.5]


@pytest.mark.parametrize("column", ["malignant", "target"])
def test_one_column_may_bear_the_name_of_its_class(tmp_path: Path, column: str) -> None:
    (tmp_path / "sample.csv").write_text(f"id,{column}\nx,0\n")
    form = read_form(tmp_path / "sample.csv", task_with({"label": ["benign", "malignant"]}, score="ROC AUC"))
    assert form.columns == {"label: malignant": column}


@pytest.mark.parametrize("there", [["a_0", "b_1", "c_1"], ["test/a_0.png", "test/b_1.png", "test/c_1.png"]])
def test_ids_of_images_that_end_like_a_class_are_whole(tmp_path: Path, there: list[str]) -> None:
    (tmp_path / "sample.csv").write_text("id,p\na_0,0\nb_1,0\nc_1,0\n")
    form = read_form(tmp_path / "sample.csv", task_with({"label": [0, 1]}, score="ROC AUC"), there)
    assert form.every_image.tolist() == ["a_0", "b_1", "c_1"]


def test_classes_in_an_order_are_two_or_more() -> None:
    with pytest.raises(UserError, match=r"heads\.grade: classes in an order are two or more"):
        task_with({"grade": {"kind": "ordinal", "classes": 1}})


def test_an_empty_cell_of_a_truth_in_the_form_of_sets_is_an_empty_set(tmp_path: Path) -> None:
    task = task_with({"marks": {"kind": "sigmoid", "classes": ["a", "b"]}}, score="F1 micro")
    for name in ("submission.csv", "truth.csv"):
        (tmp_path / name).write_text("id,marks\nx,a b\ny,\nz,b\n")
    graded = read_both(tmp_path / "submission.csv", tmp_path / "truth.csv", task)
    assert graded.truth["marks"].tolist() == [[1, 1], [0, 0], [0, 1]]
    assert graded.score(task).total == 1
