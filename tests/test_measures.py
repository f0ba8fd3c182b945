"""Each measure against scikit-learn, and against the graders of mle-bench by their formulas."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from multihead.config.scores import SCORES, Kind, score_kind
from multihead.scoring.measures import measured, per_class, present_of_draw
from multihead.scoring.metrics import task_score
from tests.conftest import HOUSE
from tests.scored import EVERY, drawn_answers, drawn_truth, task_of, without_labels

CLASSES = 6
drawn = given(st.integers(1, 60), st.integers(0, 10_000))
quick = settings(max_examples=40, deadline=None)


def pair(score: str, kind: Kind, images: int, seed: int, classes: int = CLASSES) -> tuple[NDArray[Any], NDArray[Any]]:
    rng, task = np.random.default_rng(seed), task_of(score, kind, classes)
    truth = drawn_truth(rng, kind, images, classes)
    return truth, drawn_answers(rng, task, truth)


def whole(score: str, truth: NDArray[Any], answers: NDArray[Any], classes: int = CLASSES) -> float:
    return measured(score, truth, answers, classes).whole


@drawn
@quick
def test_label_scores_are_scikit_learn_s(images: int, seed: int) -> None:
    truth, answers = pair("balanced accuracy", "softmax", images, seed)
    shown = np.unique(truth)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("warnings.warn", lambda *_, **__: None)  # of classes that the truth lacks
        balanced = oracle.balanced_accuracy_score(truth, answers)
    assert whole("balanced accuracy", truth, answers) == pytest.approx(balanced)
    macro = measured("F1 macro", truth, answers, CLASSES)
    assert macro.whole == pytest.approx(oracle.f1_score(truth, answers, average="macro", zero_division=0))
    assert macro.present == pytest.approx(
        oracle.f1_score(truth, answers, labels=shown, average="macro", zero_division=0)
    )
    assert macro.absent == tuple(sorted(set(range(CLASSES)) - set(shown.tolist())))


@drawn
@quick
def test_set_scores_are_scikit_learn_s(images: int, seed: int) -> None:
    truth, answers = pair("F1 macro", "sigmoid", images, seed)
    for average in ("macro", "micro", "samples"):
        expected = oracle.f1_score(truth, answers, average=average, zero_division=0)
        assert whole(f"F1 {average}", truth, answers) == pytest.approx(expected)
    of_classes = per_class("F1 macro", truth, answers, CLASSES)
    assert of_classes.images.tolist() == truth.sum(axis=0).tolist()
    for column in range(CLASSES):
        alone = oracle.f1_score(truth[:, column], answers[:, column], zero_division=0)
        assert of_classes.values[column] == pytest.approx(alone if truth[:, column].any() else np.nan, nan_ok=True)


def test_one_class_that_an_image_has_or_has_not_is_one_class() -> None:
    truth, answers = np.array([[1], [1], [0], [0]], np.int8), np.array([[True], [False], [True], [False]])
    for average in ("macro", "micro"):
        assert whole(f"F1 {average}", truth, answers, 1) == 0.5
    assert per_class("F1 macro", truth, answers, 1).values.tolist() == [0.5]


@drawn
@quick
def test_the_log_loss_is_the_grader_s_of_dog_breeds(images: int, seed: int) -> None:
    truth, rows = pair("log loss", "softmax", images, seed)
    rows = rows.astype(np.float64) / rows.astype(np.float64).sum(axis=1, keepdims=True)
    one_hot = np.eye(CLASSES, dtype=int)[truth]
    assert whole("log loss", truth, rows) == pytest.approx(oracle.log_loss(one_hot, rows))
    assert whole("log loss", truth, rows * 3) == pytest.approx(oracle.log_loss(one_hot, rows))


@drawn
@quick
def test_the_log_loss_of_two_classes_is_the_grader_s_of_dogs_and_cats(images: int, seed: int) -> None:
    truth, rows = pair("log loss", "softmax", images, seed, 2)
    of_last = rows.astype(np.float64)[:, 1] / rows.astype(np.float64).sum(axis=1)
    assert whole("log loss", truth, rows, 2) == pytest.approx(oracle.log_loss(truth, of_last, labels=[0, 1]))


@drawn
@quick
def test_the_log_loss_of_sets_is_the_mean_over_their_columns(images: int, seed: int) -> None:
    truth, rows = pair("log loss", "sigmoid", images, seed)
    columns = [oracle.log_loss(truth[:, i], rows[:, i].astype(float), labels=[0, 1]) for i in range(CLASSES)]
    assert whole("log loss", truth, rows) == pytest.approx(np.mean(columns))


def test_a_log_loss_is_clipped_as_a_grader_s_and_a_row_of_zeros_says_nothing() -> None:
    sure = np.array([[1, 0], [1, 0]], np.float32)
    expected = oracle.log_loss([0, 1], sure.astype(np.float64))
    assert whole("log loss", np.array([0, 1]), sure, 2) == pytest.approx(expected)
    assert whole("log loss", np.array([1]), np.zeros((1, 2), np.float32), 2) == pytest.approx(np.log(2))
    assert whole("log loss", np.array([0]), np.ones((1, 1), np.float32), 1) == 0


@given(st.integers(2, 60), st.integers(0, 10_000), st.sampled_from(["softmax", "sigmoid"]))
@quick
def test_areas_are_the_mean_over_the_columns_that_have_one(images: int, seed: int, kind: Kind) -> None:
    """As the graders of ranzcr-clip-catheter-line-classification and plant-pathology-2020 take it of all."""
    truth, rows = pair("ROC AUC", kind, images, seed)
    hot = truth[:, None] == np.arange(CLASSES) if kind == "softmax" else truth > 0
    shown = [column for column in range(CLASSES) if 0 < hot[:, column].sum() < images]
    areas = [oracle.roc_auc_score(hot[:, column], rows[:, column]) for column in shown]
    precisions = [oracle.average_precision_score(hot[:, column], rows[:, column]) for column in shown]
    found = measured("ROC AUC", truth, rows, CLASSES)
    assert found.whole == found.present == pytest.approx(np.mean(areas) if shown else 0.5)
    assert found.absent == tuple(column for column in range(CLASSES) if column not in shown)
    assert whole("average precision", truth, rows) == pytest.approx(np.mean(precisions) if shown else 0)
    weighted = np.average(areas, weights=hot[:, shown].sum(axis=0)) if shown else 0.5
    assert whole("ROC AUC weighted", truth, rows) == pytest.approx(weighted)
    values = per_class("ROC AUC", truth, rows, CLASSES).values
    assert values[shown] == pytest.approx(areas)
    assert np.isnan(np.delete(values, shown)).all()
    assert per_class("average precision", truth, rows, CLASSES).values[shown] == pytest.approx(precisions)


@given(st.integers(40, 90), st.integers(0, 10_000))
@quick
def test_where_each_class_is_shown_the_areas_are_scikit_learn_s_own_means(images: int, seed: int) -> None:
    truth, rows = pair("ROC AUC", "softmax", images, seed, 3)
    rows = rows.astype(np.float64) / rows.astype(np.float64).sum(axis=1, keepdims=True)
    for score, average in (("ROC AUC", "macro"), ("ROC AUC weighted", "weighted")):
        expected = oracle.roc_auc_score(truth, rows, multi_class="ovr", average=average)
        assert whole(score, truth, rows, 3) == pytest.approx(expected)


@given(st.integers(10, 60), st.integers(0, 10_000))
@quick
def test_of_two_classes_the_area_is_that_of_the_last_as_in_siim_isic_melanoma(images: int, seed: int) -> None:
    truth, rows = pair("ROC AUC", "softmax", images, seed, 2)
    truth[:2] = 0, 1
    assert whole("ROC AUC", truth, rows, 2) == pytest.approx(oracle.roc_auc_score(truth, rows[:, 1]))
    precision = oracle.average_precision_score(truth, rows[:, 1])
    assert whole("average precision", truth, rows, 2) == pytest.approx(precision)


@given(st.integers(12, 60), st.integers(0, 10_000))
@quick
def test_the_kappa_is_the_grader_s_of_aptos_where_each_class_is_shown(images: int, seed: int) -> None:
    truth, answers = pair("quadratic kappa", "ordinal", images, seed)
    truth[:CLASSES] = range(CLASSES)
    expected = oracle.cohen_kappa_score(answers, truth, weights="quadratic")
    assert whole("quadratic kappa", truth, answers) == pytest.approx(expected)


def test_in_a_kappa_classes_are_as_far_apart_as_their_indices() -> None:
    truth, near, far = np.array([0, 0, 3, 3]), np.array([0, 0, 3, 2]), np.array([0, 0, 3, 0])
    assert whole("quadratic kappa", truth, near, 4) > whole("quadratic kappa", truth, far, 4)
    assert whole("quadratic kappa", np.zeros(3, int), np.zeros(3, int), 4) == 1
    assert whole("quadratic kappa", np.zeros(3, int), np.array([0, 0, 1]), 4) == 0


def precision_at(actual: set[int], predicted: Sequence[int], k: int) -> float:
    """Return average_precision_at_k of mlebench/metrics.py, by which whales and hotels are graded."""
    hits, total = 0, 0.0
    for place, answered in enumerate(predicted[:k]):
        if answered in actual and answered not in predicted[:place]:
            hits += 1
            total += hits / (place + 1)
    return total / min(len(actual), k) if actual else 0.0


@given(st.integers(1, 30), st.integers(1, 6), st.integers(0, 10_000), st.sampled_from(["softmax", "sigmoid"]))
@quick
def test_map_at_k_is_the_grader_s_of_whales_with_repeated_and_missing_answers_too(
    images: int, k: int, seed: int, kind: Kind
) -> None:
    rng = np.random.default_rng(seed)
    truth, answers = drawn_truth(rng, kind, images), rng.integers(-1, CLASSES, (images, k))
    actual = [{int(row)} if kind == "softmax" else set(np.flatnonzero(row).tolist()) for row in truth]
    graded = [precision_at(of_image, row, k) for of_image, row in zip(actual, answers.tolist(), strict=True)]
    assert whole(f"MAP@{k}", truth, answers) == pytest.approx(np.mean(graded))
    of_classes = per_class(f"MAP@{k}", truth, answers, CLASSES)
    for label in range(CLASSES):
        found = [label in row for of_image, row in zip(actual, answers.tolist(), strict=True) if label in of_image]
        assert of_classes.values[label] == pytest.approx(np.mean(found) if found else np.nan, nan_ok=True)


@given(st.integers(2, 60), st.integers(0, 10_000))
@quick
def test_scores_of_numbers_are_scikit_learn_s(images: int, seed: int) -> None:
    """The first is the grader's of petfinder-pawpularity-score."""
    truth, answers = pair("RMSE", "number", images, seed)
    assert whole("RMSE", truth, answers, 0) == pytest.approx(oracle.root_mean_squared_error(truth, answers))
    assert whole("MAE", truth, answers, 0) == pytest.approx(oracle.mean_absolute_error(truth, answers))
    assert whole("R2", truth, answers, 0) == pytest.approx(oracle.r2_score(truth, answers))
    assert len(per_class("RMSE", truth, answers, 0).values) == 0


@given(st.integers(1, 60), st.integers(0, 10_000), st.sampled_from(EVERY), st.integers(1, 2), st.integers(1, CLASSES))
@settings(max_examples=300, deadline=None)
def test_a_draw_is_measured_as_the_whole_is(
    images: int, seed: int, scored: tuple[str, Kind], decimals: int, classes: int
) -> None:
    """Rounded answers tie."""
    score, kind = scored
    if score == "MAP@5":
        classes = CLASSES
    truth, answers = pair(score, kind, images, seed, classes)
    if answers.dtype.kind == "f":
        answers = answers.round(decimals)
    expected = measured(score, truth, answers, classes).present
    assert present_of_draw(score, truth, answers, classes) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("score", "kind"), EVERY)
def test_one_image_has_a_finite_score(score: str, kind: Kind) -> None:
    truth, answers = pair(score, kind, 1, 0)
    found = task_score({"head": truth}, {"head": answers}, task_of(score, kind))
    assert np.isfinite([found.total, found.present_total, found.standard_error]).all()


@pytest.mark.parametrize(("score", "kind"), EVERY)
def test_right_answers_get_the_best_score_and_worse_ones_a_worse_one(score: str, kind: Kind) -> None:
    rng, task = np.random.default_rng(0), task_of(score, kind)
    truth = drawn_truth(rng, kind, 300)
    if kind == "sigmoid":
        truth[:, 0] = 1 - truth[:, 1:].any(axis=1)  # an image without a class counts as 0, whatever is answered
    right, near, far = (
        task_score({"head": truth}, {"head": drawn_answers(rng, task, truth, noise)}, task).to_maximise
        for noise in (0.0, 1.5, 5.0)
    )
    assert right > near > far
    if not score_kind(score).is_loss:
        assert right == pytest.approx(1)


@pytest.mark.parametrize(("score", "kind"), EVERY)
def test_images_without_a_label_do_not_count(score: str, kind: Kind) -> None:
    truth, answers = pair(score, kind, 80, 3)
    lost = np.random.default_rng(1).random(80) < 0.4
    task = task_of(score, kind)
    partly = task_score({"head": without_labels(truth, lost)}, {"head": answers}, task)
    rest = task_score({"head": truth[~lost]}, {"head": answers[~lost]}, task)
    assert (partly.total, partly.present_total, partly.absent) == (rest.total, rest.present_total, rest.absent)
    with pytest.raises(ValueError, match="head: no images to score"):
        task_score({"head": without_labels(truth, np.ones(80, bool))}, {"head": answers}, task)


@pytest.mark.parametrize("score", ["MAE", "log loss", "ROC AUC", "F1 samples", "quadratic kappa"])
def test_a_jackknife_s_error_is_the_spread_of_scores_over_draws_of_the_images(score: str) -> None:
    kind = next(kind for of_score, kind in EVERY if of_score == score)
    task = task_of(score, kind, 4)
    scores = []
    for seed in range(40):
        truth, answers = pair(score, kind, 200, seed, 4)
        scores.append(task_score({"head": truth}, {"head": answers}, task))
    spread = np.std([found.total for found in scores])
    assert np.mean([found.standard_error for found in scores]) == pytest.approx(spread, rel=0.35)


def test_heads_count_by_their_weights_in_a_loss_too() -> None:
    one = task_of("RMSE", "number")
    task = replace(one, heads={"a": (), "b": ()}, kinds={"a": "number", "b": "number"}, score_weights={"a": 3})
    truth = {"a": np.zeros(4), "b": np.zeros(4)}
    score = task_score(truth, {"a": np.ones(4), "b": np.full(4, 3.0)}, task)
    assert (score.name, score.total, score.to_maximise, score.is_loss) == ("RMSE", 1.5, -1.5, True)


def test_only_the_scores_that_need_scikit_learn_import_it() -> None:
    program = (
        "import sys, numpy as np; from dataclasses import replace; import multihead.prediction.tuning; "
        "from multihead.config.known_tasks import TASKS; "
        "from multihead.scoring.metrics import task_score; t = {'head': np.arange(10)}; "
        "task_score(t, t, replace(TASKS['digit-recognizer'], heads={'head': tuple(range(10))})); "
        "assert 'sklearn' not in sys.modules and 'scipy' not in sys.modules"
    )
    environment = {"PYTHONPATH": str(HOUSE / "src")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_each_score_has_a_measure() -> None:
    assert {score for score, _ in EVERY} == set(SCORES)
