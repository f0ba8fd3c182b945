"""The paired bootstrap against what scikit-learn says of the drawn rows themselves."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, log_loss, recall_score, roc_auc_score

from multihead.config.scores import Kind
from multihead.config.task import Task
from multihead.scoring import paired
from multihead.scoring.metrics import task_score
from multihead.scoring.paired import gains, paired_gain
from tests.built_in import BENGALI, DIGITS
from tests.scored import EVERY, drawn_answers, drawn_truth, task_of, without_labels

ACCURACY = replace(DIGITS, score="accuracy")
MACRO = replace(DIGITS, score="macro recall")


def measured(task: Task, truth: NDArray[np.int64], answers: NDArray[np.int64]) -> float:
    """Return a head's score of some rows, over the classes that they show."""
    if task.score == "accuracy":
        return float(accuracy_score(truth, answers))
    return float(recall_score(truth, answers, labels=np.unique(truth), average="macro"))


@given(st.integers(1, 60), st.integers(0, 1000), st.sampled_from([BENGALI, MACRO, ACCURACY]))
@settings(max_examples=40, deadline=None)
def test_a_draw_gains_what_the_scores_of_its_rows_differ_by(images: int, seed: int, task: Task) -> None:
    rng = np.random.default_rng(seed)
    classes = {head: min(len(labels), 9) for head, labels in task.heads.items()}  # so that draws lack some
    truth, before, after = ({head: rng.integers(0, count, images) for head, count in classes.items()} for _ in "123")
    gained = {head: (after[head] == truth[head]) * 1 - (before[head] == truth[head]) for head in task.heads}
    rows = rng.integers(0, images, images)
    expected = [
        measured(task, truth[head][rows], after[head][rows]) - measured(task, truth[head][rows], before[head][rows])
        for head in task.heads
    ]
    assert gains(np.bincount(rows, minlength=images), truth, gained, task) == pytest.approx(expected)


@pytest.mark.parametrize("task", [BENGALI, MACRO, ACCURACY])
def test_the_interval_is_that_of_scores_of_drawn_rows(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired, "DRAWS", 50)
    rng = np.random.default_rng(1)
    truth = {head: rng.integers(0, len(labels), 200) for head, labels in task.heads.items()}
    before, after = (
        {head: np.where(rng.random(200) < wrong, 0, indices) for head, indices in truth.items()} for wrong in (0.3, 0.2)
    )
    draws, rng = [], np.random.default_rng(0)
    for _ in range(50):
        rows = rng.integers(0, 200, 200)
        scores = [
            task_score({h: truth[h][rows] for h in truth}, {h: answers[h][rows] for h in truth}, task).present_total
            for answers in (before, after)
        ]
        draws.append(scores[1] - scores[0])
    whole, heads = paired_gain(truth, before, after, task)
    assert [whole.low, whole.high] == pytest.approx(np.percentile(draws, [2.5, 97.5]).tolist())
    assert whole.after - whole.before == pytest.approx(
        task_score(truth, after, task).present_total - task_score(truth, before, task).present_total
    )
    assert list(heads) == list(task.heads)
    assert paired_gain(truth, before, after, task) == (whole, heads)  # the seed is fixed


def test_the_interval_of_an_accuracy_is_as_wide_as_its_standard_error_says() -> None:
    rng = np.random.default_rng(0)
    truth, before, after = ({"digit": rng.integers(0, 10, 2000)} for _ in range(3))
    task = replace(ACCURACY, heads={"digit": tuple(range(10))})
    gained = (after["digit"] == truth["digit"]) * 1.0 - (before["digit"] == truth["digit"])
    gain, _ = paired_gain(truth, before, after, task)
    assert (gain.high - gain.low) / (2 * 1.96) == pytest.approx(gained.std() / np.sqrt(2000), rel=0.1)


def test_the_same_answers_gain_nothing_and_an_interval_with_0_may_be_chance() -> None:
    truth = {"digit": np.array([0, 1, 2, 1])}
    task = replace(MACRO, heads={"digit": (0, 1, 2)})
    gain, _ = paired_gain(truth, truth, truth, task)
    assert (gain.low, gain.high, gain.may_be_chance) == (0, 0, True)
    assert str(gain._replace(before=0.5, after=0.6, low=0.05, high=0.151)) == "+0.1000 (+0.0500 to +0.1510)"
    assert not gain._replace(low=0.01, high=0.1).may_be_chance


@pytest.mark.parametrize(("score", "kind"), EVERY)
def test_better_answers_gain_in_each_score_and_a_loss_s_fall_is_a_gain(
    score: str, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paired, "MEASURED_DRAWS", 40)
    rng, task = np.random.default_rng(0), task_of(score, kind)
    truth = {"head": drawn_truth(rng, kind, 300)}
    poor, good = ({"head": drawn_answers(rng, task, truth["head"], noise)} for noise in (4.0, 1.0))
    gain, heads = paired_gain(truth, poor, good, task)
    assert 0 < gain.low < gain.improvement < gain.high
    assert not gain.may_be_chance
    assert (gain.after < gain.before) == gain.is_loss
    assert str(gain).startswith("+")
    assert str(heads["head"]) == str(gain)
    assert paired_gain(truth, good, poor, task)[0].high < 0


@pytest.mark.parametrize("score", ["ROC AUC", "log loss"])
def test_the_interval_of_probabilities_is_that_of_scores_of_drawn_rows(score: str) -> None:
    rng, task = np.random.default_rng(0), task_of(score, "sigmoid", 3)
    truth = drawn_truth(rng, "sigmoid", 100, 3)
    before, after = (drawn_answers(rng, task, truth, noise) for noise in (2.0, 1.0))
    draws, rng = [], np.random.default_rng(0)
    for _ in range(paired.MEASURED_DRAWS):
        rows = rng.integers(0, 100, 100)
        is_true, first, second = truth[rows], before[rows].astype(float), after[rows].astype(float)
        if score == "ROC AUC":
            draws.append(roc_auc_score(is_true, second) - roc_auc_score(is_true, first))
        else:
            draws.append(np.mean([log_loss(is_true[:, i], first[:, i]) for i in range(3)]))
            draws[-1] -= np.mean([log_loss(is_true[:, i], second[:, i]) for i in range(3)])
    gain, _ = paired_gain({"head": truth}, {"head": before}, {"head": after}, task)
    assert [gain.low, gain.high] == pytest.approx(np.percentile(draws, [2.5, 97.5]).tolist())


@pytest.mark.parametrize(("score", "kind"), EVERY)
def test_images_without_a_label_gain_nothing(score: str, kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired, "MEASURED_DRAWS", 20)
    rng, task = np.random.default_rng(0), task_of(score, kind)
    truth = drawn_truth(rng, kind, 60)
    lost = rng.random(60) < 0.5
    missing = {"head": without_labels(truth, lost)}
    before, after, other = (drawn_answers(rng, task, truth, noise) for noise in (3.0, 1.0, 3.0))
    changed = np.where(lost if other.ndim == 1 else lost[:, None], other, after)
    gain, _ = paired_gain(missing, {"head": before}, {"head": after}, task)
    assert paired_gain(missing, {"head": before}, {"head": changed}, task)[0] == gain
    only_one = {"head": without_labels(truth, np.arange(60) > 0)}
    assert np.isfinite(paired_gain(only_one, {"head": before}, {"head": after}, task)[0]).all()
