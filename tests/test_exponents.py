"""The prior exponent that is chosen: near what theory says for macro recall, from few images as from many."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from multihead.prediction.calibration import choose_temperature
from multihead.prediction.exponents import best_exponent, choose_exponent, smoothed_best
from multihead.prediction.logit_adjustment import adjusted
from multihead.scoring.measures import present_macro_recall

COUNTS = np.round(np.geomspace(2000, 20, 30)).astype(int)
RECALL = "macro recall"


def drawn(
    seed: int, images: int, *, sureness: float = 1.0, of_prior: float | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return what Bayes says of classes as frequent as COUNTS in normal noise, to a power, and the classes.

    of_prior: the power of the prior, where it is another one.
    """
    rng, prior = np.random.default_rng(seed), COUNTS / COUNTS.sum()
    truth = rng.choice(len(prior), images, p=prior)
    seen = 2 * (rng.normal(0, 1, (images, len(prior))) + 2 * np.eye(len(prior))[truth])
    logits = sureness * seen + (sureness if of_prior is None else of_prior) * np.log(prior)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32), truth


def recall_of(exponent: float, rows: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    return present_macro_recall(truth, adjusted(rows, COUNTS.tolist(), exponent).argmax(axis=1), len(COUNTS))


@pytest.mark.parametrize("sureness", [0.4, 0.7, 1.0])
def test_the_exponent_of_an_unsure_bayes_answer_is_how_sure_it_is(sureness: float) -> None:
    rows, truth = drawn(0, 20_000, sureness=sureness)
    assert choose_exponent(rows, truth, COUNTS.tolist(), RECALL) == pytest.approx(sureness, rel=0.3)


@pytest.mark.parametrize("sureness", [0.6, 2.0, 3.0])
def test_a_network_that_is_otherwise_sure_of_what_it_sees_than_of_the_prior_gets_nearly_the_best(
    sureness: float,
) -> None:
    shown, others = (drawn(seed, 12_000, sureness=sureness, of_prior=1) for seed in (0, 1))
    chosen = recall_of(choose_exponent(*shown, COUNTS.tolist(), RECALL), *others)
    assert chosen > max(recall_of(exponent, *others) for exponent in np.linspace(0, 3, 31)) - 0.01


@pytest.mark.parametrize("images", [100, 300])
def test_few_images_choose_an_exponent_that_gains_on_others(images: int) -> None:
    others = drawn(99, 20_000, sureness=0.6)
    best = max(recall_of(exponent, *others) for exponent in np.linspace(0, 1.5, 16))
    reached = [
        recall_of(choose_exponent(*drawn(seed, images, sureness=0.6), COUNTS.tolist(), RECALL), *others)
        for seed in range(10)
    ]
    assert min(reached) > best - 0.02
    assert recall_of(0, *others) < best - 0.05


@given(st.integers(1, 60), st.integers(2, 6), st.integers(0, 10_000), st.sampled_from([0.05, 1.0, 20.0]))
@settings(max_examples=60, deadline=None)
def test_few_images_of_chance_answers_choose_none_far_from_the_temperature(
    images: int, classes: int, seed: int, evenness: float
) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.dirichlet(np.full(classes, evenness), images).astype(np.float32)
    truth, counts = rng.integers(0, classes, images), rng.integers(0, 1000, classes).tolist()
    temperature = min(choose_temperature(rows, truth), 1.0)
    assert temperature - 0.001 <= choose_exponent(rows, truth, counts, RECALL) <= 1.6 * temperature + 0.001


def test_of_exponents_that_change_nothing_the_smallest_is_chosen() -> None:
    certain, truth, counts = np.eye(3, dtype=np.float32), np.arange(3), [5, 50, 500]
    assert choose_exponent(certain, truth, counts, "F1 macro") == 0
    assert choose_exponent(certain, truth, counts, RECALL) == choose_temperature(certain, truth) < 1
    assert choose_exponent(np.ones((3, 1), np.float32), np.zeros(3, np.int64), [5], RECALL) == 0


def test_an_image_without_a_label_chooses_nothing() -> None:
    rows, truth = drawn(0, 400)
    some = np.where(np.arange(400) < 100, truth, -1)
    assert choose_exponent(rows, some, COUNTS.tolist(), RECALL) == choose_exponent(
        rows[:100], truth[:100], COUNTS.tolist(), RECALL
    )

    def never(_: float) -> Any:
        raise AssertionError("asked")

    assert best_exponent(never, np.full(400, -1), len(COUNTS), RECALL, 1.0) == 0


def test_of_equal_scores_the_first_or_the_nearest_is_the_best() -> None:
    assert smoothed_best([0, 1, 1, 1, 1, 1, 0]) == 2
    assert smoothed_best([1, 1, 1, 1, 1], 3) == 3
    assert smoothed_best([0, 0, 5, 0, 3, 3, 3], 0) == 5
