import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multihead.prediction.logit_adjustment import EXPONENTS, adjusted, choose_exponents

counts_of = st.lists(st.integers(0, 5000), min_size=2, max_size=8).filter(any)


def probabilities(classes: int, seed: int, images: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(classes), images).astype(np.float32)


@given(counts_of, st.integers(0, 99), st.sampled_from(EXPONENTS))
def test_adjusted_rows_are_probabilities_again(counts: list[int], seed: int, exponent: float) -> None:
    rows = adjusted(probabilities(len(counts), seed), counts, exponent)
    assert rows.dtype == np.float32
    assert np.allclose(rows.sum(axis=1), 1, atol=1e-5)
    assert (rows >= 0).all()
    assert exponent == 0 or not rows[:, np.array(counts) == 0].any()


@given(counts_of, st.integers(0, 99))
def test_an_exponent_of_0_changes_nothing(counts: list[int], seed: int) -> None:
    before = probabilities(len(counts), seed)
    assert np.allclose(adjusted(before, counts, 0.0), before, atol=1e-6)


def test_a_rare_class_wins_where_the_prior_alone_spoke_against_it() -> None:
    rows = adjusted(np.array([[0.8, 0.2]], np.float32), [900, 100], 1.0)
    assert rows[0] == pytest.approx([0.8 / 900, 0.2 / 100] / np.sum([0.8 / 900, 0.2 / 100]), rel=1e-5)


def test_the_chosen_exponent_takes_a_known_prior_out() -> None:
    rng = np.random.default_rng(0)
    counts = np.array([10_000, 1000, 100])
    truth = rng.choice(3, 30_000, p=counts / counts.sum())
    likelihood = np.exp(rng.normal(0, 1, (len(truth), 3)) + 1.5 * np.eye(3)[truth])
    posterior = likelihood**1.5 * counts  # the Bayes answer where unit noise separates the classes by 1.5
    posterior = (posterior / posterior.sum(axis=1, keepdims=True)).astype(np.float32)
    chosen = choose_exponents({"head": posterior}, {"head": truth}, {"head": counts.tolist()})
    assert chosen["head"] == pytest.approx(1.0, abs=0.2)


def test_of_exponents_that_change_nothing_the_smallest_is_chosen() -> None:
    certain = np.eye(3, dtype=np.float32)
    chosen = choose_exponents({"head": certain}, {"head": np.arange(3)}, {"head": [5, 50, 500]})
    assert chosen == {"head": 0.0}
