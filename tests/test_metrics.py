import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import recall_score

from multihead.scoring.measures import recall_per_class
from multihead.scoring.metrics import task_score
from tests.built_in import BENGALI

ONE_HEAD = replace(BENGALI, heads={"root": tuple(range(5))}, score_weights={})
labels = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60)


@given(labels)
def test_recall_of_a_class_is_its_share_of_hits(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = np.array(pairs).T
    recall = recall_per_class(truth, predicted, 5)
    for label in range(5):
        of_class = [answer for true, answer in pairs if true == label]
        expected = of_class.count(label) / len(of_class) if of_class else np.nan
        assert recall[label] == pytest.approx(expected, nan_ok=True)


def test_the_all_zeros_answer_scores_0_0614() -> None:
    """As it does in the competition, whose test set has every class."""
    truth = {head: np.arange(len(classes) * 20) % len(classes) for head, classes in BENGALI.heads.items()}
    zeros = {head: np.zeros_like(indices) for head, indices in truth.items()}
    assert round(task_score(truth, zeros, BENGALI).total, 4) == 0.0614


def test_the_root_counts_twice() -> None:
    truth = {head: np.arange(len(classes)) for head, classes in BENGALI.heads.items()}
    answers = truth | {"grapheme_root": np.roll(truth["grapheme_root"], 1)}
    score = task_score(truth, answers, BENGALI)
    assert score.total == 0.5
    assert score.heads == {"grapheme_root": 0.0, "vowel_diacritic": 1.0, "consonant_diacritic": 1.0}


@given(labels)
def test_a_macro_recall_is_scikit_learn_s(pairs: list[tuple[int, int]]) -> None:
    """Of the drawn answers many are of classes that the truth lacks."""
    truth, predicted = np.array(pairs).T
    score = task_score({"root": truth}, {"root": predicted}, ONE_HEAD)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        expected = recall_score(truth, predicted, average="macro")
        present = recall_score(truth, predicted, average="macro", labels=np.unique(truth))
    assert score.total == score.heads["root"] == pytest.approx(expected, abs=1e-12)
    assert score.present_total == score.present_heads["root"] == pytest.approx(present, abs=1e-12)
    assert score.absent["root"] == tuple(sorted(set(range(5)) - set(truth.tolist())))


def test_both_means_stand_in_the_words_only_where_they_differ() -> None:
    truth = np.array([0, 0, 1])
    right, absent = ({"root": np.array(answer)} for answer in ([0, 1, 1], [0, 2, 1]))
    assert str(task_score({"root": truth}, right, ONE_HEAD)) == "R 0.7500"
    assert str(task_score({"root": truth}, absent, ONE_HEAD)) == "R 0.5000, 0.7500 over the classes present"


def test_no_images_cannot_be_scored() -> None:
    nothing = {head: np.array([], np.int64) for head in BENGALI.heads}
    with pytest.raises(ValueError, match="no images"):
        task_score(nothing, nothing, BENGALI)


def test_classes_of_one_image_each_have_a_standard_error_too() -> None:
    task = replace(BENGALI, heads={"root": tuple(range(16))}, score="accuracy", score_weights={})
    truth = np.arange(16)
    for right in (8, 12, 15):
        answers = np.where(truth < right, truth, (truth + 1) % 16)
        binomial = math.sqrt(right / 16 * (1 - right / 16) / 16)
        error = task_score({"root": truth}, {"root": answers}, task).standard_error
        assert error == pytest.approx(binomial, rel=0.35)
    assert task_score({"root": truth}, {"root": truth}, task).standard_error > 0


def test_the_standard_error_is_the_spread_of_scores_over_draws_of_the_images() -> None:
    rng = np.random.default_rng(0)
    images, recall = np.array([400, 100, 20]), np.array([0.9, 0.7, 0.4])
    truth = np.repeat(np.arange(3), images)
    for how in ("macro recall", "accuracy"):
        task = replace(BENGALI, heads={"root": (0, 1, 2)}, score=how, score_weights={})
        scores = [
            task_score(
                {"root": truth}, {"root": np.where(rng.random(520) < recall[truth], truth, (truth + 1) % 3)}, task
            )
            for _ in range(400)
        ]
        spread = np.std([score.total for score in scores])
        assert np.mean([score.standard_error for score in scores]) == pytest.approx(spread, rel=0.1)
