"""The folds of a study, and what a training in one leaves."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multihead.config.settings import RunSettings
from multihead.config.settings_file import read_settings
from multihead.data.groups import groups_of
from multihead.data.split import choose_validation, study_folds
from multihead.runtime.errors import UserError
from multihead.scoring.out_of_fold import OutOfFold, is_of_weights, read_out_of_fold, write_out_of_fold
from multihead.training.resume import ANOTHER_TRAINING
from multihead.training.schedule import TrainingState
from tests.built_in import ANIMALS, BENGALI
from tests.test_training import labels_of, score_of

COMBINATIONS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=20, max_size=200)


def spread(labels: "pd.Series[int]", fold: "pd.Series[int]", folds: int) -> int:
    """Return by how many images of one class two folds differ at most."""
    counts = pd.crosstab(labels, fold[labels.index]).reindex(columns=range(folds), fill_value=0)
    return int((counts.max(axis=1) - counts.min(axis=1)).max())


@given(COMBINATIONS, st.integers(2, 20), st.integers(0, 5))
@settings(max_examples=60)
def test_folds_share_every_combination_and_every_class_evenly(
    combinations: list[tuple[int, int]], folds: int, seed: int
) -> None:
    labels = labels_of(combinations)
    fold = study_folds(labels, folds, seed)
    assert set(fold) <= set(range(folds))
    of_both = labels["root"] * 10 + labels["mark"]
    assert spread(of_both, fold, folds) <= 1
    assert all(spread(labels[head], fold, folds) <= 3 for head in labels)
    assert spread(of_both * 0, fold, folds) <= 3
    assert fold.equals(study_folds(labels.sample(frac=1, random_state=seed), folds, seed))


@given(COMBINATIONS, st.integers(2, 5), st.integers(0, 5))
@settings(max_examples=60)
def test_a_group_lies_in_one_fold(combinations: list[tuple[int, int]], folds: int, seed: int) -> None:
    labels = labels_of(combinations)
    groups = pd.Series([f"writer {number // 4}" for number in range(len(labels))], labels.index)
    fold = study_folds(labels, folds, seed, groups)
    assert (fold.groupby(groups[fold.index]).nunique() == 1).all()
    assert set(fold) == set(range(folds))
    assert spread(labels["root"] * 0, fold, folds) <= 8


def test_trials_of_any_seed_share_the_folds_and_each_image_is_held_out_once() -> None:
    labels = labels_of([(root, mark) for root in range(6) for mark in range(4)] * 3)
    held_out = [choose_validation(labels, RunSettings(study_folds=4, study_fold=fold, seed=fold)) for fold in range(4)]
    assert (np.sum([of_fold.to_numpy() for of_fold in held_out], axis=0) == 1).all()
    other = choose_validation(labels, RunSettings(study_folds=4, study_seed=1))
    assert not other.equals(held_out[0])


def test_more_folds_than_images_or_groups_are_an_error() -> None:
    labels = labels_of([(0, 0)] * 3)
    with pytest.raises(UserError, match=r"study_folds = 4, but there are 3 images"):
        study_folds(labels, 4, 0)
    with pytest.raises(UserError, match=r"study_folds = 2, but there are 1 groups"):
        study_folds(labels, 2, 0, pd.Series("one", labels.index))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["study_folds=1"], "study_folds = 1; expected 2 to 20, or 0 for no study"),
        (["study_folds=21"], "study_folds = 21; expected 2 to 20, or 0 for no study"),
        (["study_folds=5", "study_fold=5"], "study_fold = 5; expected at most 4"),
        (["study_fold=1"], "study_fold without study_folds; expected the number of folds"),
        (["group_column=writer"], "group_column without study_folds; expected the number of folds"),
        (["study_folds=5", "schedule=plateau"], 'schedule = "plateau" chooses by the held-out images'),
        (["study_folds=5", "validation=unseen"], 'validation = "unseen" in a study; expected group_column'),
    ],
)
def test_settings_of_a_study_that_contradict_each_other_are_refused(values: list[str], message: str) -> None:
    with pytest.raises(UserError) as refused:
        read_settings(None, values)
    assert message in str(refused.value)


def test_groups_are_those_of_a_column_of_the_table_of_labels(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("image_id,Writer\nTrain_0,a\nTrain_1,b\nTrain_2,a\nTrain_3,\n")
    ids = pd.Index(["Train_2", "Train_0", "Train_1"], name="image_id")
    assert groups_of(tmp_path, BENGALI, "writer", ids).to_dict() == {"Train_2": "a", "Train_0": "a", "Train_1": "b"}
    path = tmp_path / "train.csv"
    for task, column, wanted, message in (
        (BENGALI, "patient", ids, f"group_column = 'patient': no column of {path}; it has image_id, Writer"),
        (BENGALI, "Writer", pd.Index(["Train_3"], name="image_id"), f"'Writer': Train_3 have none in {path}"),
        (BENGALI, "Writer", pd.Index(["1"]), f"the rows of {path} have no ids"),
        (ANIMALS, "Writer", ids, "animals10 has no labels_file"),
    ):
        with pytest.raises(UserError) as refused:
            groups_of(tmp_path, task, column, wanted)
        assert message in str(refused.value)


def test_in_a_study_every_epoch_takes_the_place_of_the_one_before() -> None:
    state = TrainingState(best_score=0.9)
    assert not state.is_to_save(score_of(0.1), RunSettings())
    assert state.is_to_save(score_of(0.1), RunSettings(study_folds=5))


def test_another_fold_is_another_training() -> None:
    assert {"study_folds", "study_fold", "study_seed", "group_column"} <= ANOTHER_TRAINING


def test_answers_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "out_of_fold.npz"
    probabilities = np.array([[0.25, 0.75], [1, 0]], np.float32)
    answers = OutOfFold("abc", ["Train_1", "Träin_2"], {"root": np.array([1, 0])}, {"root": probabilities})
    write_out_of_fold(path, answers)
    read = read_out_of_fold(path)
    assert (read.sha256, read.ids) == ("abc", ["Train_1", "Träin_2"])
    assert np.array_equal(read.truth["root"], [1, 0])
    assert read.probabilities["root"].dtype == np.float32
    assert np.array_equal(read.probabilities["root"], probabilities)
    assert is_of_weights(path, "abc")
    assert not is_of_weights(path, "def")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match="not readable answers"):
        read_out_of_fold(path)
    with pytest.raises(UserError, match=r"a training that holds images out leaves out_of_fold\.npz"):
        read_out_of_fold(tmp_path / "other.npz")
