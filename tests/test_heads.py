"""What heads of each kind say, and what it costs them."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from multihead.config.scores import KINDS, Kind
from multihead.model.heads import head_layer, probabilities_of, set_units
from multihead.training.losses import loss_of

OUTPUTS = {"softmax": 4, "sigmoid": 4, "ordinal": 3, "number": 1}


def logits_of(kind: Kind, rows: int = 6, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 3, (rows, OUTPUTS[kind])).astype(np.float32)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["softmax", "ordinal"]))
def test_of_one_class_an_image_probabilities_sum_up_to_one(seed: int, kind: Kind) -> None:
    rows = probabilities_of({"head": logits_of(kind, seed=seed)}, {"head": kind})["head"]
    assert rows.shape == (6, 4)
    assert (rows >= 0).all()
    assert rows.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_a_class_is_as_likely_as_the_thresholds_beside_it_say() -> None:
    above = np.array([[0.9, 0.6, 0.1]])
    logits = np.log(above / (1 - above))
    found = probabilities_of({"head": logits}, {"head": "ordinal"})["head"]
    assert found[0] == pytest.approx([0.1, 0.3, 0.5, 0.1], abs=1e-6)


def test_probabilities_of_several_classes_are_sigmoids_and_a_number_stays_one() -> None:
    logits = logits_of("sigmoid")
    found = probabilities_of({"some": logits, "size": logits[:, :1]}, {"some": "sigmoid", "size": "number"})
    assert found["some"] == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-6)
    assert np.array_equal(found["size"], logits[:, :1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_no_number_stays_none(kind: Kind, wrong: float) -> None:
    logits = logits_of(kind)
    logits[2, 0] = wrong
    rows = probabilities_of({"head": logits}, {"head": kind})["head"]
    is_finite = np.isfinite(rows).all(axis=1)
    assert is_finite.tolist() == [True, True, False, True, True, True]


def targets_of_kind(kind: Kind) -> NDArray[np.float32]:
    if kind == "number":
        return np.arange(6, dtype=np.float32)[:, None]
    if kind == "ordinal":
        return (np.arange(6)[:, None] % 4 > np.arange(3)).astype(np.float32)
    return np.eye(4, dtype=np.float32)[np.arange(6) % 4]


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_without_a_label_costs_nothing_and_teaches_nothing(kind: Kind) -> None:
    logits, targets = logits_of(kind), targets_of_kind(kind)
    loss = loss_of(kind, 0.1, scale=2.0)
    whole = float(loss(targets, logits))
    missing = targets.copy()
    missing[3:] = np.nan
    known = float(loss(targets[:3], logits[:3]))
    assert float(loss(missing, logits)) == pytest.approx(known / 2, rel=1e-5)  # of six images, the mean
    changed = logits.copy()
    changed[3:, 0] += 5
    assert float(loss(missing, changed)) == float(loss(missing, logits))
    assert float(loss(targets, changed)) != pytest.approx(whole)
    none = np.full_like(targets, np.nan)
    assert float(loss(none, logits)) == 0


def test_losses_are_those_of_keras() -> None:
    for kind, oracle in (
        ("softmax", keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)),
        ("sigmoid", keras.losses.BinaryCrossentropy(from_logits=True)),
        ("ordinal", keras.losses.BinaryCrossentropy(from_logits=True)),
    ):
        logits, targets = logits_of(kind), targets_of_kind(kind)  # type: ignore[arg-type]
        found = float(loss_of(kind, 0.1)(targets, logits))  # type: ignore[arg-type]
        assert found == pytest.approx(float(oracle(targets, logits)), rel=1e-6)
    numbers, targets = logits_of("number"), targets_of_kind("number")
    expected = float(keras.losses.Huber()(targets / 4, numbers / 4))
    assert float(loss_of("number", 0.0, scale=4.0)(targets, numbers)) == pytest.approx(expected, rel=1e-6)


def test_a_number_is_said_in_its_own_unit_and_its_weights_tell_which() -> None:
    inputs = keras.Input((5,))
    network = keras.Model(inputs, {"size": head_layer("number", 0, "size")(inputs)})
    features = np.random.default_rng(0).normal(0, 1, (3, 5)).astype(np.float32)
    before = np.asarray(network(features)["size"])
    set_units(network, {"size": (100.0, 7.0, -1e9, 1e9)})
    assert np.asarray(network(features)["size"]) == pytest.approx(100 + 7 * before, rel=1e-5)
    assert len(network.trainable_weights) == 2
    assert len(network.weights) == 6
    middle = float(np.median(100 + 7 * before))
    set_units(network, {"size": (100.0, 7.0, middle, 1e9)})
    assert np.asarray(network(features)["size"]).min() == pytest.approx(middle)
    assert np.asarray(network(features, training=True)["size"]) == pytest.approx(100 + 7 * before, rel=1e-5)


def test_the_thresholds_of_an_untrained_head_share_the_images_evenly() -> None:
    inputs = keras.Input((5,))
    network = keras.Model(inputs, {"grade": head_layer("ordinal", 5, "grade")(inputs)})
    found = probabilities_of({"grade": np.asarray(network(np.zeros((1, 5)))["grade"])}, {"grade": "ordinal"})
    assert found["grade"][0] == pytest.approx(0.2, abs=1e-6)
