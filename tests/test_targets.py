from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from multihead.config.known_tasks import task_from
from multihead.config.model_settings import ModelSettings
from multihead.config.scores import Kind
from multihead.config.settings import RunSettings
from multihead.config.task import Task
from multihead.data.labels import read_label_table
from multihead.data.split import choose_validation, study_folds
from multihead.data.targets import (
    counts_of,
    dense,
    is_known,
    priors_of,
    strata_of,
    targets_of,
    truth_of,
    units_of,
)
from multihead.runtime.errors import UserError
from multihead.training.images import TrainingImages


@pytest.mark.parametrize("kind", ["softmax", "ordinal"])
def test_a_class_stays_its_index_and_a_missing_one_is_told(kind: Kind) -> None:
    truth = dense(np.array([2, -1, 0]), 3, kind)
    assert truth.dtype == np.int64
    assert truth.tolist() == [2, -1, 0]
    assert is_known(truth).tolist() == [True, False, True]


def test_classes_of_an_image_are_a_row_of_ones_and_an_empty_set_is_known() -> None:
    column = np.empty(4, object)
    column[:] = [(0, 2), None, (), (1,)]
    truth = dense(column, 3, "sigmoid")
    assert truth.dtype == np.int8
    assert truth.tolist() == [[1, 0, 1], [-1, -1, -1], [0, 0, 0], [0, 1, 0]]
    assert is_known(truth).tolist() == [True, False, True, True]


def test_a_number_stays_one_and_is_missing_where_it_is_nan() -> None:
    truth = dense(np.array([1.5, np.nan, -3.0]), 1, "number")
    assert truth.dtype == np.float64
    assert is_known(truth).tolist() == [True, False, True]


def test_no_images_are_no_rows() -> None:
    assert dense(np.array([], object), 3, "sigmoid").shape == (0, 3)
    assert is_known(dense(np.array([], object), 3, "sigmoid")).shape == (0,)


def test_targets_are_what_a_network_is_to_say_and_nan_where_nothing_is_known() -> None:
    sets = np.empty(3, object)
    sets[:] = [(0, 2), None, ()]
    labels = {
        "one": np.array([2, -1, 0]),
        "grade": np.array([2, 0, -1]),
        "some": sets,
        "size": np.array([1.5, 2, np.nan]),
    }
    kinds: dict[str, Kind] = {"grade": "ordinal", "some": "sigmoid", "size": "number"}
    targets = targets_of(labels, {"one": 3, "grade": 4, "some": 3, "size": 1}, kinds)
    nan = np.nan
    expected = {
        "one": [[0, 0, 1], [nan] * 3, [1, 0, 0]],
        "grade": [[1, 1, 0], [0, 0, 0], [nan] * 3],
        "some": [[1, 0, 1], [nan] * 3, [0, 0, 0]],
        "size": [[1.5], [2], [nan]],
    }
    for head, rows in expected.items():
        assert targets[head].dtype == np.float32
        assert np.array_equal(targets[head], np.array(rows, np.float32), equal_nan=True), head


TASK = task_from(
    {
        "name": "kinds",
        "reader": "image files",
        "image_shape": [8, 8, 1],
        "train_files": "train/*.png",
        "labels_file": "labels.csv",
        "dataset": "somebody/kinds",
        "test_files": "test/*.png",
        "heads": {"size": {"kind": "number"}},
    },
    "test",
)
MARKS: dict[str, tuple[str, ...]] = {"marks": ("a", "b", "c")}
SETS = replace(TASK, heads=MARKS, kinds={"marks": "sigmoid"}, score="F1 macro", answer="labels")


SETS_AND_NUMBERS = replace(SETS, heads={**MARKS, "size": ()}, kinds={"marks": "sigmoid", "size": "number"})


def labels_in_file(path: Path, text: str, task: Task) -> list[Any]:
    (path / "labels.csv").write_text(text)
    return list(read_label_table(path / "labels.csv", task)[next(iter(task.heads))])


def test_numbers_are_read_and_what_is_none_is_named(tmp_path: Path) -> None:
    assert labels_in_file(tmp_path, "id,size\nx,1.5\ny,-2e3\n", TASK) == [1.5, -2000.0]
    for wrong in ("tall", "inf", "1,5,"):
        with pytest.raises(UserError, match=r"y: size is (tall|inf); expected a number|has more fields"):
            labels_in_file(tmp_path, f"id,size\nx,1.5\ny,{wrong}\n", TASK)


@pytest.mark.parametrize(
    "table",
    [
        "id,marks\nx,a c\ny,b\nz,\n",
        "id,marks\nx,c  a a\ny, b \nz,\n",
        "id,a,b,c\nx,1,0,1\ny,0,1.0,0\nz,,,\n",
        "id,c,b,a\nx,True,False,True\ny,no,yes,no\nz,,,\n",
    ],
)
def test_sets_are_read_from_one_column_or_one_for_each_class(tmp_path: Path, table: str) -> None:
    lines = table.splitlines()
    (tmp_path / "labels.csv").write_text("\n".join([f"{lines[0]},size", *(f"{line},1" for line in lines[1:])]) + "\n")
    labels = read_label_table(tmp_path / "labels.csv", SETS_AND_NUMBERS)
    assert labels["marks"].tolist() == [(0, 2), (1,), None]
    assert counts_of(labels, SETS_AND_NUMBERS) == {"marks": (1, 1, 1), "size": ()}
    assert priors_of(labels, SETS_AND_NUMBERS)["marks"] == (0.5, 0.5, 0.5)


def test_a_class_that_is_not_known_is_named_in_a_set_too(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"y: marks is d; expected one of a, b, c"):
        labels_in_file(tmp_path, "id,marks\nx,a c\ny,b d\n", SETS)
    with pytest.raises(UserError, match=r"row 3: 1, 2, 0 for a, b, c; expected 1 or 0 for each"):
        labels_in_file(tmp_path, "id,a,b,c\nx,1,0,1\ny,1,2,0\n", SETS)


def test_a_missing_label_leaves_its_image_to_the_other_heads(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = "".join(f"id{i},a,{i}\n" for i in range(40))
    (tmp_path / "labels.csv").write_text(f"id,marks,size\n{rows}x,,3\ny,b,\nz,,\n")
    labels = read_label_table(tmp_path / "labels.csv", SETS_AND_NUMBERS)
    assert labels.index.tolist()[-2:] == ["x", "y"]
    assert labels["marks"].tolist()[-2:] == [None, (1,)]
    assert np.isnan(labels["size"].iloc[-1])
    assert "1 of 43 rows have no label: z; they are left out" in caplog.text
    assert "1 of 43 rows have no marks; they teach it nothing" in caplog.text
    truth = truth_of(labels, SETS_AND_NUMBERS)
    assert truth["marks"][-2:].tolist() == [[-1, -1, -1], [0, 1, 0]]
    known = [*range(40), 3]
    assert list(units_of(labels, SETS_AND_NUMBERS)["size"]) == pytest.approx([np.mean(known), np.std(known), 0, 39])


def test_images_are_drawn_evenly_over_numbers_and_sets() -> None:
    rng = np.random.default_rng(0)
    labels = pd.DataFrame({"size": rng.exponential(1, 400)}, index=[f"i{i}" for i in range(400)])
    held_out = choose_validation(strata_of(labels, TASK), RunSettings(validation_share=0.25))
    tenths = pd.qcut(labels["size"], 10, labels=False)
    assert held_out[labels.index].groupby(tenths.to_numpy()).sum().between(9, 11).all()
    sets = pd.Series([[(0,), (0, 1), (), None][i % 4] for i in range(400)], labels.index, dtype=object)
    strata = strata_of(pd.DataFrame({"marks": sets}), SETS)
    assert strata["marks"].nunique() == 4
    assert (strata["marks"] >= 0).all()
    folds = study_folds(strata, 5, 0)
    assert folds[labels.index].groupby(np.arange(400) % 4).value_counts().eq(20).all()


@pytest.mark.parametrize(("few", "part"), [(0, "to train on"), (1, "held out")])
def test_a_head_without_labels_in_one_part_is_named_before_a_training_begins(
    tmp_path: Path, few: int, part: str
) -> None:
    """A label that one of forty images has is either to train on or held out."""
    (tmp_path / "train").mkdir()
    for number in range(40):
        cv2.imwrite(str(tmp_path / "train" / f"i{number}.png"), np.full((8, 8), number, np.uint8))
    rows = "".join(f"i{number},a,{1.5 if number < few else ''}\n" for number in range(40))
    (tmp_path / "labels.csv").write_text(f"id,marks,size\n{rows}")
    problem = rf"none of the \d+ images ({part}|to train on) has a label of size"
    model = ModelSettings(task="kinds", image_size=(32, 32))
    with pytest.raises(UserError, match=problem):
        TrainingImages(tmp_path, SETS_AND_NUMBERS, model, RunSettings(), tmp_path)


def test_which_images_are_held_out_does_not_depend_on_the_order_of_the_rows() -> None:
    rng = np.random.default_rng(0)
    sets = [tuple(sorted(set(rng.integers(0, 3, 2).tolist()))) if i % 9 else None for i in range(200)]
    labels = pd.DataFrame({"marks": pd.Series(sets, dtype=object)}).set_axis([f"i{i}" for i in range(200)])
    drawn = [
        choose_validation(strata_of(rows, SETS), RunSettings(validation_share=0.2))[labels.index]
        for rows in (labels, labels.sample(frac=1, random_state=1))
    ]
    assert drawn[0].equals(drawn[1])
