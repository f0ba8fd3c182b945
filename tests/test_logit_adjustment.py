import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multihead.prediction.logit_adjustment import adjusted

counts_of = st.lists(st.integers(0, 5000), min_size=2, max_size=8).filter(any)


def probabilities(classes: int, seed: int, images: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(classes), images).astype(np.float32)


@given(counts_of, st.integers(0, 99), st.floats(0, 3))
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
