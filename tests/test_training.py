import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multihead.config.files import MANIFEST_FILE, OUT_OF_FOLD_FILE, REPORT_FOLDER, WEIGHTS_FILE
from multihead.config.manifest import read_manifest
from multihead.config.model_settings import ModelSettings
from multihead.config.settings import RunSettings
from multihead.config.task import Task
from multihead.data.split import choose_validation
from multihead.model.backbones import build_backbone
from multihead.model.devices import device_name, prepare_devices
from multihead.model.weights import load_model
from multihead.runtime.errors import UserError
from multihead.scoring.metrics import Score, is_seen
from multihead.training.record import HeldOut
from multihead.training.schedule import TrainingState
from multihead.training.trainer import Trainer
from multihead.training.validate import Validator
from tests.built_in import BENGALI

NARROW = ModelSettings(backbone="narrow", image_size=(32, 32))


def labels_of(combinations: list[tuple[int, int]]) -> pd.DataFrame:
    table = pd.DataFrame(combinations, columns=["root", "mark"])
    table.index = pd.Index([f"Train_{i}" for i in range(len(table))])
    return table


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=40, max_size=200),
    st.sampled_from([0.08, 0.2, 0.5]),
    st.integers(0, 5),
)
@settings(max_examples=60)
def test_validation_is_an_even_share_of_every_combination(
    combinations: list[tuple[int, int]], share: float, seed: int
) -> None:
    labels = labels_of(combinations)
    run = RunSettings(validation_share=share, seed=seed)
    held_out = choose_validation(labels, run)
    assert abs(held_out.sum() - share * len(labels)) < 1
    for _, group in labels.groupby(["root", "mark"]):
        assert abs(held_out[group.index].sum() - share * len(group)) < 1
    other_order = choose_validation(labels.sample(frac=1, random_state=seed), run)
    assert held_out.equals(other_order)


def test_another_seed_holds_out_others() -> None:
    labels = labels_of([(0, 0)] * 500)
    held_out = [choose_validation(labels, RunSettings(seed=seed)) for seed in range(2)]
    assert (held_out[0] & held_out[1]).sum() < 0.5 * held_out[0].sum()


def test_too_few_images_to_hold_any_out_is_an_error() -> None:
    with pytest.raises(UserError, match=r"validation_share = 0.001: 0 of 1 images would be held out"):
        choose_validation(labels_of([(0, 0)]), RunSettings(validation_share=0.001))


def score_of(total: float, standard_error: float = 0.0) -> Score:
    return Score("R", total, {"root": total}, total, {"root": total}, {"root": ()}, standard_error)


def end_epoch(state: TrainingState, score: Score, run: RunSettings) -> None:
    state.end_epoch(score, run, is_saved=state.is_to_save(score, run))


def test_the_learning_rate_falls_on_a_plateau_down_to_its_floor() -> None:
    run = RunSettings(
        schedule="plateau", learning_rate=1.0, plateau_patience=2, plateau_factor=0.5, min_learning_rate=0.3
    )
    state = TrainingState()
    rates = []
    for score in [0.1, 0.2, 0.2, 0.1, 0.3, 0.1, 0.1, 0.1, 0.1]:
        end_epoch(state, score_of(score), run)
        rates.append(state.learning_rate(run, 5.0))
    assert rates == [1, 1, 1, 0.5, 0.5, 0.5, 0.3, 0.3, 0.3]
    assert (state.saved_epoch, state.best_score, state.epochs_since_best) == (5, 0.3, 4)


@pytest.mark.parametrize(("schedule", "saved"), [("plateau", (3, 0.7)), ("cosine", (5, 0.6))])
def test_the_last_epoch_that_is_not_clearly_below_the_best_is_saved(
    schedule: Literal["plateau", "cosine"], saved: tuple[int, float]
) -> None:
    run = RunSettings(schedule=schedule, plateau_patience=10)
    state = TrainingState()
    for score in [0.5, 0.7, 0.7, 0.55, 0.6, 0.55]:
        end_epoch(state, score_of(score, standard_error=0.04), run)
    assert (state.saved_epoch, state.saved_score) == saved
    assert (state.best_score, state.epochs_since_best) == (0.7, 4)


@given(st.floats(1e-6, 1), st.floats(1e-9, 1e-3), st.integers(1, 60), st.floats(0, 2))
def test_the_learning_rate_rises_once_and_falls_to_its_floor_at_the_end(
    rate: float, floor: float, epochs: int, warmup: float
) -> None:
    run = RunSettings(learning_rate=rate, min_learning_rate=floor, epochs=epochs, warmup_epochs=warmup)
    places = np.linspace(0, epochs, 200)[1:]
    rates = np.array([TrainingState().learning_rate(run, place) for place in places])
    highest = min(warmup, epochs / 2)
    assert (np.diff(rates[places < highest]) > 0).all()
    assert (np.diff(rates[places >= highest]) <= 0).all()
    assert rates.max() <= rate
    assert rates[-1] == pytest.approx(min(rate, floor), rel=1e-6)


@given(st.lists(st.floats(0, 1), max_size=12), st.floats(0, 6), st.integers(1, 4), st.floats(0, 12))
def test_a_cosine_does_not_depend_on_the_scores(
    scores: list[float], warmup: float, patience: int, place: float
) -> None:
    run = RunSettings(epochs=12, warmup_epochs=warmup, plateau_patience=patience)
    state = TrainingState()
    for score in scores:
        end_epoch(state, score_of(score), run)
    assert state.learning_rate(run, place) == TrainingState().learning_rate(run, place)


def test_a_training_that_goes_on_with_a_plateau_starts_at_the_first_rate() -> None:
    state = TrainingState()
    for _ in range(9):
        end_epoch(state, score_of(0.5), RunSettings(epochs=12, schedule="cosine"))
    plateau = RunSettings(epochs=12, schedule="plateau", learning_rate=1.0)
    end_epoch(state, score_of(0.5), plateau)
    assert state.learning_rate(plateau, 10.0) == 1.0


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=60, max_size=200),
    st.sampled_from([0.1, 0.2, 0.4]),
    st.integers(0, 5),
)
@settings(max_examples=60)
def test_unseen_validation_holds_out_whole_combinations_and_keeps_every_class(
    combinations: list[tuple[int, int]], share: float, seed: int
) -> None:
    labels = labels_of(combinations)
    held_out = choose_validation(labels, RunSettings(validation="unseen", validation_share=share, seed=seed))
    assert abs(held_out.sum() - share * len(labels)) < 1
    train = labels.loc[held_out.index[~held_out]]
    for head in labels:
        pairs = labels.groupby(list(labels)).filter(lambda rows: len(rows) > 1)
        assert set(pairs[head]) <= set(train[head])


def test_unseen_validation_holds_out_combinations_where_there_are_enough() -> None:
    labels = labels_of([(root, mark) for root in range(6) for mark in range(3)] * 10)
    held_out = choose_validation(labels, RunSettings(validation="unseen", validation_share=0.2))
    assert (
        ~is_seen(labels.loc[held_out.index[held_out]], labels.loc[held_out.index[~held_out]])
    ).sum() == 10  # one whole combination of ten images, of the 18 that half would be
    assert set(labels.loc[held_out.index[~held_out], "root"]) == set(range(6))


def run_of(**changes: object) -> RunSettings:
    values = {"epochs": 2, "batch_size": 16, "validation_share": 0.2, "learning_rate": 3e-3} | changes
    return RunSettings(**values)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_training_leaves_weights_manifest_and_history(drawn: Path, tmp_path: Path) -> None:
    state = Trainer(BENGALI, NARROW, run_of(), drawn, tmp_path).train()
    left = ["checkpoint.npz", "history.csv", MANIFEST_FILE, WEIGHTS_FILE, OUT_OF_FOLD_FILE, REPORT_FOLDER]
    assert sorted(f.name for f in tmp_path.iterdir()) == left
    with (tmp_path / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    assert [row["epoch"] for row in history] == ["1", "2"]
    assert float(history[1]["loss"]) < float(history[0]["loss"])
    for row in history:
        weighted = [w * float(row[f"{head}_loss"]) for head, w in BENGALI.score_weights.items()]
        assert float(row["loss"]) == pytest.approx(sum(weighted) * 3 / 4, rel=1e-3)
        assert 0.1 < float(row["memory_gb"]) < 100
    assert [float(row["learning_rate"]) for row in history] == pytest.approx([3e-3, 1e-5], rel=1e-3)
    manifest = read_manifest(tmp_path)
    assert manifest.model == NARROW
    assert manifest.score is not None
    assert manifest.device == device_name()
    assert manifest.images_per_second
    assert manifest.images_per_second > 100
    assert manifest.score["total"] == float(history[manifest.epoch - 1]["score"])
    assert manifest.score["present_total"] == state.saved_score
    assert state.best_score == max(float(row.get("score_present") or row["score"]) for row in history)
    train = pd.read_csv(drawn / "train.csv")
    for head, counts in manifest.train_counts.items():
        everywhere = np.bincount(train[head], minlength=len(counts))
        assert (np.array(counts) <= everywhere).all()
        assert sum(counts) == len(train) - round(0.2 * len(train))


@pytest.mark.slow
def test_training_ends_where_the_score_stays(drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(epochs=50, schedule="plateau", stop_patience=2, learning_rate=1e-8, min_learning_rate=0)
    Trainer(BENGALI, NARROW, run, drawn, tmp_path).train()
    assert "no better score for 2 epochs" in capsys.readouterr().out


def test_the_training_step_is_traced_once(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    traced, step = [], keras.Model.train_step

    def traced_step(network: keras.Model, data: object) -> object:
        traced.append(network)
        return step(network, data)

    monkeypatch.setattr(keras.Model, "train_step", traced_step)
    model = ModelSettings(backbone="stack", image_size=(8, 8), stack_layers=("conv 2",))
    Trainer(BENGALI, model, run_of(epochs=1), drawn, tmp_path).train()
    assert len(traced) == 1


def test_of_an_accuracy_the_prior_stays_and_classes_in_another_order_are_another_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"pixel{i}" for i in range(64)]
    pixels = pd.DataFrame(np.random.default_rng(0).integers(0, 256, (60, 64)), columns=names)
    pixels.assign(size=["small"] * 50 + ["large"] * 10).to_csv(tmp_path / "train.csv", index=False)
    (tmp_path / "working").mkdir()
    for classes in (("small", "large"), ("large", "small")):
        task = Task("sizes", "pixel csv", (8, 8, 1), {"size": classes}, "train.csv", "", "some/sizes", "test.csv")
        model = ModelSettings("sizes", backbone="stack", image_size=(8, 8), crop="none", stack_layers=("conv 2",))
        Trainer(task, model, run_of(epochs=1), tmp_path, tmp_path / "working").train()
        assert read_manifest(tmp_path / "working").prior_exponents == {"size": 0.0}
    assert "not used, it is of a training with another task" in capsys.readouterr().out


@pytest.mark.slow
def test_the_optimizer_learns_at_the_schedule_s_rate(drawn: Path, tmp_path: Path) -> None:
    run = run_of(schedule="plateau", warmup_epochs=0.0, plateau_patience=1, plateau_factor=0.5, optimizer="rmsprop")
    trainer = Trainer(BENGALI, NARROW, run, drawn, tmp_path)
    trainer.state.best_score = 1.0  # no epoch is better, so each one halves the rate
    trainer.train()
    rates = [row["learning_rate"] for row in trainer.state.history]
    assert rates == pytest.approx([3e-3, 1.5e-3])
    assert float(trainer.network.optimizer.learning_rate) == pytest.approx(1.5e-3)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_training_in_16_bits_leaves_float32_weights(precision: str, drawn: Path, tmp_path: Path) -> None:
    run = prepare_devices(run_of(epochs=1, precision=precision), ["narrow"])
    Trainer(BENGALI, NARROW, run, drawn, tmp_path).train()
    network = load_model(tmp_path, read_manifest(tmp_path))
    assert {str(v.dtype) for v in network.weights} == {"float32"}
    assert all(np.isfinite(np.asarray(v)).all() for v in network.weights)


@pytest.mark.slow
def test_a_training_starts_from_pretrained_weights_and_leaves_the_frozen_ones(drawn: Path, tmp_path: Path) -> None:
    keras.utils.set_random_seed(5)
    pretrained = build_backbone(NARROW)
    pretrained.save(tmp_path / "narrow.h5")
    run = run_of(epochs=1, pretrained="narrow.h5", frozen_up_to="stem_bn", seed=1)
    Trainer(BENGALI, NARROW, run, drawn, tmp_path).train()
    trained = load_model(tmp_path, read_manifest(tmp_path)).get_layer("narrow")
    for name, is_frozen in (("stem_conv", True), ("top_conv", False)):
        kernels = [np.asarray(network.get_layer(name).weights[0]) for network in (trained, pretrained)]
        assert np.array_equal(kernels[0], kernels[1]) == is_frozen
        assert np.allclose(kernels[0], kernels[1], atol=0.1)  # some steps away from where it started


def test_pretrained_weights_that_are_in_no_input_are_named(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_ROOT", str(tmp_path))
    with pytest.raises(UserError, match=r"pretrained = 'b0\.h5': in no input; is its dataset among dataset_sources"):
        Trainer(BENGALI, NARROW, run_of(pretrained="b0.h5"), drawn, tmp_path).train()


@pytest.mark.slow
def test_the_score_of_unseen_combinations_is_told_apart(drawn: Path, tmp_path: Path) -> None:
    run = run_of(epochs=1, validation="unseen", validation_share=0.3)
    trainer = Trainer(BENGALI, NARROW, run, drawn, tmp_path)
    trainer.train()
    row = trainer.state.history[0]
    assert 0 <= row["score_unseen"] <= 1
    assert set(read_manifest(tmp_path).prior_exponents) == set(BENGALI.heads)


def test_a_training_out_of_time_keeps_its_weights_where_no_label_of_a_head_was_read_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = SimpleNamespace(task=BENGALI, train_counts={}, is_held_out=lambda ids: np.ones(len(ids), np.bool_))
    store = SimpleNamespace(numbers=lambda: [0], load=lambda _: SimpleNamespace(ids=["Train_0"]))
    validator = Validator(images, 8)  # type: ignore[arg-type]
    truth = {head: np.array([-1 if head == "vowel_diacritic" else 0]) for head in BENGALI.heads}
    said = {head: np.full((1, len(classes)), 0.1, np.float32) for head, classes in BENGALI.heads.items()}
    held_out = HeldOut(["Train_0"], truth, said, lambda _: np.zeros((1, 1, 1), np.uint8), BENGALI, {})
    monkeypatch.setattr(validator, "_answer", lambda *_: held_out)
    assert validator.validate_so_far(None, store, 1) is None  # type: ignore[arg-type]
    with pytest.raises(UserError, match="none of the 1 held-out images that were read has a label of vowel_diacritic"):
        validator.validate(None, store, 1)  # type: ignore[arg-type]
