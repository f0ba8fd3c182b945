"""What is chosen on held-out answers is worth it on others, and never breaks them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score

from multihead.config.scores import Kind
from multihead.config.task import Task
from multihead.prediction.calibration import Calibration, choose_temperature, tempered_logits
from multihead.prediction.deciding import decided, expected_class, labels, ranking, sets
from multihead.prediction.logit_adjustment import adjusted, adjusted_heads
from multihead.prediction.tuning import (
    choose,
    choose_cut_points,
    choose_thresholds,
    kappa_of,
)
from multihead.scoring.metrics import task_score
from tests.scored import EVERY, drawn_truth, task_of, without_labels

Drawn = tuple[NDArray[np.float32], NDArray[np.int64]]
IDENTITY = Calibration({"head": 1.0}, {"head": 0.0}, 0.0)
COUNTS = {"head": [600, 250, 100, 40, 10]}


def one_of(seed: int, images: int, *, sureness: float = 1.0) -> Drawn:
    """Return what Bayes says of classes as frequent as COUNTS in normal noise, and the classes; sureness: 1 / T."""
    rng, prior = np.random.default_rng(seed), np.array(COUNTS["head"]) / 1000
    truth = rng.choice(5, images, p=prior)
    logits = 1.5 * (rng.normal(0, 1, (images, 5)) + 1.5 * np.eye(5)[truth]) + np.log(prior)
    powers = np.exp(sureness * logits)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32), truth


def in_order(seed: int, images: int) -> Drawn:
    """Return what Bayes says of grades as frequent as those of aptos2019, each one apart in noise of 0.8."""
    rng, prior = np.random.default_rng(seed), np.array([0.49, 0.10, 0.27, 0.08, 0.06])
    truth = rng.choice(5, images, p=prior)
    seen = truth + rng.normal(0, 0.8, images)
    powers = np.exp(-0.5 * ((seen[:, None] - np.arange(5)) / 0.8) ** 2) * prior
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32), truth


def several(seed: int, images: int, *, sureness: float = 1.0) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Return what Bayes says of 12 classes, of which 1 % to 30 % of the images have each, and which have them."""
    rng, prior = np.random.default_rng(seed), np.geomspace(0.3, 0.01, 12)
    truth = rng.random((images, 12)) < prior
    logits = 2 * (rng.normal(0, 1, truth.shape) + 2 * truth) - 2 + np.log(prior / (1 - prior))
    return np.asarray(1 / (1 + np.exp(-sureness * logits)), np.float32), truth.astype(np.int8)


def score(calibration: Calibration, task: Task, rows: NDArray[np.float32], truth: NDArray[np.generic]) -> float:
    probabilities = calibration.heads_alone({"head": rows}, COUNTS, task.kinds)
    return task_score({"head": truth}, calibration.decided(probabilities, task), task).to_maximise


@pytest.mark.parametrize("name", ["macro recall", "balanced accuracy", "F1 macro"])
def test_exponents_gain_on_other_images(name: str) -> None:
    task = task_of(name, "softmax", 5)
    (rows, truth), others = one_of(0, 2000), one_of(1, 20_000)
    chosen = choose(task, {"head": rows}, {"head": truth}, COUNTS)
    assert chosen == IDENTITY._replace(exponents=chosen.exponents)
    assert chosen.exponents["head"] > 0
    assert score(chosen, task, *others) > score(IDENTITY, task, *others) + 0.01


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_a_temperature_is_found_again_and_gains_on_other_images(kind: Kind) -> None:
    classes, draw = (5, one_of) if kind == "softmax" else (12, several)
    task = task_of("log loss", kind, classes)
    (rows, truth), others = draw(0, 1000, sureness=2), draw(1, 10_000, sureness=2)
    chosen = choose(task, {"head": rows}, {"head": truth}, COUNTS)
    assert chosen == IDENTITY._replace(temperatures=chosen.temperatures)
    assert chosen.temperatures["head"] == pytest.approx(2, rel=0.2)
    assert score(chosen, task, *others) > score(IDENTITY, task, *others) + 0.01


def test_a_temperature_of_a_sigmoid_divides_its_logits() -> None:
    rows, _ = several(0, 50)
    sure, _ = several(0, 50, sureness=2)
    assert tempered_logits(sure, 2) == pytest.approx(rows, abs=1e-5)
    assert tempered_logits(rows, 1) is rows
    ends = tempered_logits(np.array([[0, 1, 0.5]], np.float32), 0.5)
    assert ends[0].tolist() == pytest.approx([0, 1, 0.5])


def test_one_sure_mistake_makes_no_temperature_infinite() -> None:
    rows, truth = np.array([[1, 0], [0, 1]], np.float32), np.array([[1, 1], [0, 1]], np.int8)
    assert choose_temperature(rows, truth) > 1


@pytest.mark.parametrize("name", ["F1 macro", "F1 micro", "F1 samples"])
@pytest.mark.parametrize(("images", "least"), [(200, 0.0), (2000, 0.005)])
def test_thresholds_gain_on_other_images(name: str, images: int, least: float) -> None:
    task, others = task_of(name, "sigmoid", 12), several(99, 5000)
    gains = []
    for seed in range(4):
        rows, truth = several(seed, images)
        chosen = choose(task, {"head": rows}, {"head": truth}, COUNTS)
        assert len(chosen.thresholds["head"]) == (12 if name == "F1 macro" else 1)
        gains.append(score(chosen, task, *others) - score(IDENTITY, task, *others))
    assert np.mean(gains) > least
    assert min(gains) > least - 0.005


def test_a_class_with_one_image_gets_about_the_threshold_of_all() -> None:
    rows, truth = several(0, 3000)
    rows, truth = np.hstack([rows, rows[:, :1] / 30]), np.hstack([truth, truth[:, :1] * 0])
    rows[0, 12], truth[0, 12] = 0.05, 1  # alone, what parts it from the others
    *_, alone = choose_thresholds("F1 macro", rows[:, 12:], truth[:, 12:])
    *_, together = choose_thresholds("F1 macro", rows, truth)
    (of_all,) = choose_thresholds("F1 micro", rows, truth)
    assert alone < 0.05
    assert together == pytest.approx(of_all, abs=0.1)


@pytest.mark.parametrize("name", ["F1 macro", "F1 micro", "F1 samples"])
def test_thresholds_stay_amid_where_all_are_as_good(name: str) -> None:
    truth = np.array([[1, 0], [0, 1], [1, 1]], np.int8)
    assert set(choose_thresholds(name, truth.astype(np.float32), truth)) == {0.5}
    assert set(choose_thresholds(name, np.zeros((2, 2), np.float32), np.zeros((2, 2), np.int8))) == {0.5}


@pytest.mark.parametrize("images", [200, 2000])
def test_cut_points_gain_on_other_images(images: int) -> None:
    task, others = task_of("quadratic kappa", "ordinal", 5), in_order(99, 20_000)
    for seed in range(5):
        rows, truth = in_order(seed, images)
        chosen = choose(task, {"head": rows}, {"head": truth}, COUNTS)
        assert score(chosen, task, *others) > score(IDENTITY, task, *others) + 0.005


@given(st.integers(1, 40), st.integers(2, 6), st.integers(0, 10_000), st.sampled_from([0.05, 1.0, 20.0]))
@settings(max_examples=60, deadline=None)
def test_cut_points_are_no_worse_than_the_start_and_the_likeliest_class(
    images: int, classes: int, seed: int, evenness: float
) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.dirichlet(np.full(classes, evenness), images).astype(np.float32)
    truth = rng.integers(0, classes, images)
    cut_points = choose_cut_points(rows, truth)
    assert len(cut_points) in (0, classes - 1)
    assert list(cut_points) == sorted(cut_points)
    reached = kappa_of(truth, labels(rows, cut_points))
    assert reached >= kappa_of(truth, labels(rows))
    assert reached >= kappa_of(truth, labels(rows, [k + 0.5 for k in range(classes - 1)])) - 1e-12
    assert choose_cut_points(rows, truth) == cut_points


def test_ties_and_one_class_choose_no_cut_points() -> None:
    sure = np.eye(4, dtype=np.float32)
    assert choose_cut_points(sure, np.arange(4)) == ()
    assert choose_cut_points(np.full((8, 4), 0.25, np.float32), np.arange(8) % 4) == ()
    assert choose_cut_points(np.ones((3, 1), np.float32), np.zeros(3, np.int64)) == ()


@given(st.integers(2, 40), st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_the_kappa_of_sums_is_scikit_learn_s(images: int, seed: int) -> None:
    truth, answers = np.random.default_rng(seed).integers(0, 5, (2, images))
    if len({*truth.tolist(), *answers.tolist()}) > 1:
        expected = cohen_kappa_score(truth, answers, weights="quadratic", labels=range(5))
        assert kappa_of(truth, answers) == pytest.approx(expected)


@pytest.mark.parametrize(("name", "kind"), EVERY)
@pytest.mark.parametrize("images", [0, 1, 2, 30])
def test_few_images_and_missing_labels_break_nothing_and_choose_nothing(name: str, kind: Kind, images: int) -> None:
    """What the images with labels choose alone is what they choose among others."""
    rng, task = np.random.default_rng(0), task_of(name, kind)
    truth = drawn_truth(rng, kind, 60)
    lost = np.arange(60) >= images
    width = task.width("head")
    rows = rng.random((60, width)).astype(np.float32)
    if kind in ("softmax", "ordinal"):
        rows /= rows.sum(axis=1, keepdims=True)
    counts = {"head": [10] * width}
    chosen = choose(task, {"head": rows}, {"head": without_labels(truth, lost)}, counts)
    assert chosen == choose(task, {"head": rows[:images]}, {"head": truth[:images]}, counts)
    assert np.isfinite([*chosen.temperatures.values(), *chosen.exponents.values()]).all()
    if not images or name in ("accuracy", "ROC AUC", "average precision", "RMSE", "R2", "MAP@5"):
        assert chosen == IDENTITY
    answers = chosen.decided(chosen.heads_alone({"head": rows}, counts, task.kinds), task)
    task_score({"head": truth}, answers, task)


def test_heads_without_a_prior_stay_as_they_are() -> None:
    rows = {"grade": np.array([[0.2, 0.4]], np.float32), "marks": np.array([[0.9, 0.8]], np.float32)}
    rows |= {"weight": np.array([[72.5]], np.float32)}
    kinds: dict[str, Kind] = {"grade": "ordinal", "marks": "sigmoid", "weight": "number"}
    counts = {"grade": [1, 3], "marks": [5, 2], "weight": []}
    found = adjusted_heads(rows, counts, dict.fromkeys(rows, 1.0), kinds)
    assert np.array_equal(found["grade"], adjusted(rows["grade"], [1, 3], 1.0))
    assert found["marks"] is rows["marks"]
    assert found["weight"] is rows["weight"]
    calibration = Calibration(dict.fromkeys(rows, 2.0), dict.fromkeys(rows, 1.0), 0.0)
    tempered = calibration.heads_alone(rows, counts, kinds)
    assert tempered["weight"].tolist() == [[72.5]]
    assert tempered["marks"] == pytest.approx(np.array([[3, 2]]) / np.array([[4, 3]]))  # odds 9 and 4 to the root


def test_each_answer_has_its_form() -> None:
    rows = np.array([[0.1, 0.7, 0.2], [0.4, 0.2, 0.4]], np.float32)
    by_answer = {
        task.answer: decided({"head": rows}, task, {}, {})["head"]
        for task in (task_of(name, kind, 3) for name, kind in EVERY if kind != "number")
        if task.answer != "ranking 5"
    }
    assert by_answer["label"].dtype == np.int64
    assert by_answer["label"].tolist() == [1, 0]
    assert np.array_equal(by_answer["probability"], rows)
    assert by_answer["labels"].dtype == bool
    ranked = replace(task_of("MAP@5", "softmax", 3), answer="ranking 2")
    assert decided({"head": rows}, ranked, {}, {})["head"].tolist() == [[1, 2], [0, 2]]
    number = decided({"head": np.array([[1.5]], np.float32)}, task_of("MAE", "number"), {}, {})["head"]
    assert (number.dtype.name, number.tolist()) == ("float64", [1.5])


def test_a_set_is_empty_only_where_the_score_allows_it() -> None:
    rows = {"head": np.array([[0.1, 0.3], [0.6, 0.7]], np.float32)}
    thresholds = {"head": (0.65, 0.65)}
    micro, samples = (task_of(name, "sigmoid", 2) for name in ("F1 micro", "F1 samples"))
    assert decided(rows, micro, thresholds, {})["head"].tolist() == [[False, False], [False, True]]
    assert decided(rows, samples, thresholds, {})["head"].tolist() == [[False, True], [False, True]]
    assert sets(rows["head"], (0.2,)).tolist() == [[False, True], [True, True]]
    assert sets(rows["head"], (0.05, 0.9)).tolist() == [[True, False], [True, False]]


def test_a_class_begins_at_its_cut_point() -> None:
    rows = np.array([[0.5, 0.5, 0], [0.5, 0.25, 0.25], [0, 0, 1]], np.float32)
    assert expected_class(rows).tolist() == [0.5, 0.75, 2]
    assert labels(rows, (0.5, 0.75)).tolist() == [1, 2, 2]
    assert labels(rows, (0.6, 2)).tolist() == [0, 1, 2]
    assert labels(rows, (0.6, 2.1)).tolist() == [0, 1, 1]
    assert ranking(rows, 1).ravel().tolist() == labels(rows).tolist()
