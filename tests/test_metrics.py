import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multihead.metrics import recall_per_class, task_score
from multihead.tasks import BENGALI

labels = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60)


@given(labels)
def test_recall_of_a_class_is_its_share_of_hits(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = np.array(pairs).T
    recall = recall_per_class(truth, predicted, 5)
    for label in range(5):
        of_class = [told for true, told in pairs if true == label]
        expected = of_class.count(label) / len(of_class) if of_class else np.nan
        assert recall[label] == pytest.approx(expected, nan_ok=True)


def test_the_all_zeros_answer_scores_0_0614() -> None:
    """As it does in the competition, whose test set has every class."""
    truth = {head: np.arange(len(classes) * 20) % len(classes) for head, classes in BENGALI.heads.items()}
    zeros = {head: np.zeros_like(of) for head, of in truth.items()}
    assert round(task_score(truth, zeros, BENGALI).total, 4) == 0.0614


def test_the_root_counts_twice() -> None:
    truth = {head: np.arange(len(classes)) for head, classes in BENGALI.heads.items()}
    told = truth | {"grapheme_root": np.roll(truth["grapheme_root"], 1)}
    score = task_score(truth, told, BENGALI)
    assert score.total == 0.5
    assert score.heads == {"grapheme_root": 0.0, "vowel_diacritic": 1.0, "consonant_diacritic": 1.0}


def test_recall_is_averaged_over_the_classes_present_and_the_others_listed() -> None:
    truth = {head: np.array([0, 0, 1]) for head in BENGALI.heads}
    told = {head: np.array([0, 1, 1]) for head in BENGALI.heads}
    score = task_score(truth, told, BENGALI)
    assert score.total == pytest.approx(0.75)
    assert score.absent["consonant_diacritic"] == (2, 3, 4, 5, 6)


def test_no_images_cannot_be_scored() -> None:
    nothing = {head: np.array([], np.int64) for head in BENGALI.heads}
    with pytest.raises(ValueError, match="no images"):
        task_score(nothing, nothing, BENGALI)


def test_classes_of_one_image_each_have_a_standard_error_too() -> None:
    task = replace(BENGALI, heads={"root": tuple(range(16))}, score="accuracy", score_weights={})
    truth = np.arange(16)
    for right in (8, 12, 15):
        told = np.where(truth < right, truth, (truth + 1) % 16)
        binomial = math.sqrt(right / 16 * (1 - right / 16) / 16)
        error = task_score({"root": truth}, {"root": told}, task).standard_error
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
