"""Answers out of fold: joined, chosen on cross-fitted, compared, listed."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from numpy.typing import NDArray

from bundler.study.study import STUDY_FILE, Study
from bundler.study.trial import TRIAL_FILE
from multihead.config.ensemble import check_heads, read_ensemble, write_ensemble
from multihead.config.files import ENSEMBLE_FILE, HISTORY_FILE, MANIFEST_FILE, OUT_OF_FOLD_FILE, WEIGHTS_FILE
from multihead.config.manifest import Manifest, manifest_text, sha256_of
from multihead.config.model_settings import ModelSettings
from multihead.config.scores import Kind, score_kind
from multihead.config.task import Task
from multihead.data.answers import cells_of
from multihead.prediction import combinations
from multihead.prediction.calibration import TEMPERATURES, Calibration, choose_temperature, log_loss, tempered
from multihead.prediction.combinations import combinations_of, mixed, over_combinations
from multihead.prediction.exponents import choose_exponent
from multihead.prediction.trained import Trained, Weights, finish_of
from multihead.runtime.errors import UserError
from multihead.scoring.metrics import task_score
from multihead.scoring.out_of_fold import OutOfFold, read_out_of_fold, write_out_of_fold
from multihead.scoring.paired import Gain
from multihead_study import answers, cli
from multihead_study.answers import (
    ANSWERS_FILE,
    CHOICES_FILE,
    CLASSES_FILE,
    Joined,
    ensemble_of,
    join,
    joined_folds,
)
from multihead_study.choices import choose, choose_recipes, mixture
from multihead_study.compare import compare
from multihead_study.folds import Fold, Folds, concatenated, read_folds, truth_of
from tests.built_in import BENGALI
from tests.scored import EVERY, drawn_truth, task_of

TASK = replace(
    BENGALI,
    name="pairs",
    heads={"root": (0, 1, 2, 3), "mark": (0, 1, 2)},
    score_weights={"root": 2},
)
COMBINATIONS = [(0, 0), (1, 1), (2, 2), (3, 0)]  # of twelve


def random_fold(number: int, images: int = 120, task: Task = TASK, noise: float = 1.0) -> Fold:
    """Return a fold with images of the COMBINATIONS, the later ones rarer, and answers that are often right."""
    rng = np.random.default_rng(number)
    rows = rng.choice(len(COMBINATIONS), images, p=[0.5, 0.3, 0.15, 0.05])
    truth = {head: np.array([COMBINATIONS[row][place] for row in rows]) for place, head in enumerate(task.heads)}
    return Fold(
        [f"Train_{number}_{row}" for row in range(images)],
        truth,
        {"small": {head: likely(truth[head], len(classes), rng, noise) for head, classes in task.heads.items()}},
        {head: [60, 40, 20, 10][: len(classes)] for head, classes in task.heads.items()},
        {"small": [f"small-fold{number}-seed0"]},
    )


def likely(truth: NDArray[np.int64], classes: int, rng: np.random.Generator, noise: float) -> NDArray[np.float32]:
    logits = rng.normal(0, noise, (len(truth), classes))
    logits[np.arange(len(truth)), truth] += 1
    shares = np.exp(logits)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), np.float32)


def with_prior(fold: Fold) -> Fold:
    """Return a fold whose answers are multiplied by the counts of the classes."""
    rows = {
        head: of_head * np.asarray(fold.counts[head], np.float32) for head, of_head in fold.recipes["small"].items()
    }
    return fold._replace(
        recipes={"small": {head: of_head / of_head.sum(axis=1, keepdims=True) for head, of_head in rows.items()}}
    )


def joined_of(task: Task, folds: Sequence[Fold]) -> Joined:
    return joined_folds(Folds(task, folds))


def test_what_is_used_on_a_fold_was_chosen_without_it() -> None:
    folds = [two_recipes(number) for number in range(4)]
    rng = np.random.default_rng(0)
    other = folds[1]._replace(
        truth={head: rng.permutation(indices) for head, indices in folds[1].truth.items()},
        recipes={
            name: {head: rng.permutation(rows) for head, rows in recipe.items()}
            for name, recipe in folds[1].recipes.items()
        },
    )
    before, after = (
        answers._joined(Folds(TASK, every), with_combinations=True) for every in (folds, [folds[0], other, *folds[2:]])
    )
    assert before.choices[1] == after.choices[1]
    assert before.choices[0] != after.choices[0]
    assert before.choices[1].calibration.combinations_weight > 0
    others = [folds[0], *folds[2:]]
    truth, found = truth_of(others), concatenated([mixture(fold, before.choices[1].recipes) for fold in others])
    temperatures = {head: choose_temperature(found[head], truth[head]) for head in TASK.heads}
    calibration = before.choices[1].calibration
    assert calibration.temperatures == temperatures
    assert calibration.exponents == {
        head: choose_exponent(found[head], truth[head], folds[1].counts[head], TASK.score) for head in TASK.heads
    }


def test_exponents_divide_by_what_each_fold_was_trained_on() -> None:
    folds = [with_prior(random_fold(number, 400)) for number in range(2)]
    larger_ones = {head: [10 * count for count in counts] for head, counts in folds[0].counts.items()}
    flatter = {head: [round(count**0.5) for count in counts] for head, counts in folds[0].counts.items()}
    for score in ("macro recall", "F1 macro"):
        task = replace(TASK, score=score)
        chosen, larger, other = (
            choose(task, [folds[0]._replace(counts=counts), folds[1]], with_combinations=False)
            for counts in (folds[0].counts, larger_ones, flatter)
        )
        assert larger == chosen != other  # only proportions count


def test_the_score_is_that_of_all_images_with_what_was_chosen() -> None:
    joined = joined_of(TASK, [random_fold(number) for number in range(4)])
    answers = {head: rows.argmax(axis=1) for head, rows in joined.answers.probabilities.items()}
    assert joined.score == task_score(joined.answers.truth, answers, TASK)
    assert joined.answers.ids[:2] == ["Train_0_0", "Train_0_1"]
    assert joined.score.standard_error > 0
    assert joined.score.total > joined.with_prior.total
    text = "\n".join(joined.lines())
    assert f"R {joined.score.total:.4f} ± {joined.score.standard_error:.4f}" in text
    assert "480 images out of fold" in text


def test_combinations_that_train_shows_help_heads_that_go_together() -> None:
    joined = joined_of(TASK, [random_fold(number, 400) for number in range(3)])
    assert joined.to_predict_with.calibration.combinations_weight > 0
    assert joined.score.total > joined.heads_alone.total


@pytest.mark.parametrize("score", ["macro recall", "log loss"])
def test_combinations_are_used_only_where_the_interval_of_their_gain_is_above_0(
    monkeypatch: pytest.MonkeyPatch, score: str
) -> None:
    task = replace(TASK, score=score, answer=score_kind(score).answers["softmax"])
    folds = [random_fold(number, 100) for number in range(3)]
    used = joined_of(task, folds)
    assert used.of_combinations
    assert used.of_combinations.low > 0
    for gain in (Gain(0.5, 0.6, -0.01, 0.2), Gain(0.5, 0.4, -0.2, -0.05)):
        monkeypatch.setattr(answers, "paired_gain", lambda *_, gain=gain: (gain, {}))
        left = joined_of(task, folds)
        weights = [choice.calibration.combinations_weight for choice in [left.to_predict_with, *left.choices]]
        assert set(weights) == {0}
        assert left.score == left.heads_alone == used.heads_alone != used.score
        assert f"train's combinations gain {gain}" in "\n".join(left.lines())


def test_of_one_head_there_are_no_combinations_and_of_accuracy_no_exponents() -> None:
    fold = random_fold(0)
    one = replace(TASK, heads={"root": TASK.heads["root"]}, score="accuracy", score_weights={})
    folds = [f._replace(truth={"root": f.truth["root"]}, recipes={"small": {"root": f.recipes["small"]["root"]}},
                        counts={"root": f.counts["root"]}) for f in (fold, random_fold(1))]  # fmt: skip
    joined = joined_of(one, folds)
    calibrations = [choice.calibration for choice in joined.choices]
    assert {(one.exponents["root"], one.combinations_weight) for one in calibrations} == {(0.0, 0.0)}
    assert joined.score.total == joined.with_prior.total
    assert joined.score.name == "accuracy"


ROWS = 20  # at a time


def test_what_the_heads_say_together_is_the_product_over_the_combinations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(combinations, "SHARES", 4 * ROWS)
    rng = np.random.default_rng(3)
    truth = np.zeros(ROWS + 3, np.int64)
    alone = {"root": likely(truth, 4, rng, 2), "mark": likely(truth, 3, rng, 2)}
    alone["root"][-1] = (0, 0, 0, 1)
    alone["mark"][-1] = (0, 0, 1)  # (3, 2) is none of the combinations
    seen = np.array(COMBINATIONS)
    together = over_combinations(alone, seen)
    for row in (0, 5, ROWS, ROWS + 1):
        shares = {pair: alone["root"][row, pair[0]] * alone["mark"][row, pair[1]] for pair in COMBINATIONS}
        for place, head in enumerate(alone):
            for label in range(alone[head].shape[1]):
                expected = sum(share for pair, share in shares.items() if pair[place] == label) / sum(shares.values())
                assert together[head][row, label] == pytest.approx(expected, abs=1e-6)
    assert np.array_equal(together["root"][-1], alone["root"][-1])
    assert together["root"].dtype == np.float32
    half = mixed(alone, together, 0.5)
    assert half["mark"][0] == pytest.approx((alone["mark"][0] + together["mark"][0]) / 2)
    assert combinations_of({"root": np.array([3, 0, 3]), "mark": np.array([0, 0, 0])}).tolist() == [[0, 0], [3, 0]]


def test_a_temperature_is_that_of_the_softmax_and_the_one_with_the_least_log_loss_is_chosen() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (4000, 5))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.array([rng.choice(5, p=row) for row in shares])
    too_sure = (np.exp(2 * logits) / np.exp(2 * logits).sum(axis=1, keepdims=True)).astype(np.float32)
    assert tempered(too_sure, 2) == pytest.approx(shares, abs=1e-5)
    assert tempered(too_sure * np.float32(0.2), 2) == pytest.approx(shares, abs=1e-5)
    assert choose_temperature(too_sure, truth) == pytest.approx(2, rel=0.11)
    assert choose_temperature(np.asarray(shares, np.float32), truth) == pytest.approx(1, rel=0.11)
    assert 1.0 in TEMPERATURES
    oracle = sklearn.metrics.log_loss(truth, shares)
    assert log_loss(np.asarray(shares, np.float32), truth) == pytest.approx(oracle, rel=1e-5)


def two_recipes(number: int) -> Fold:
    """Return a fold that a recipe answers well and another by chance."""
    fold, other = random_fold(number), random_fold(number, noise=3)
    return fold._replace(
        recipes={"small": fold.recipes["small"], "poor": other.recipes["small"]},
        trials={name: [f"{name}-fold{number}-seed{seed}" for seed in seeds] for name, seeds in SEEDS.items()},
    )


SEEDS = {"small": (0, 1), "poor": (0,)}


def test_the_recipe_that_answers_better_counts_more_and_no_less_than_alone() -> None:
    folds = [two_recipes(number) for number in range(3)]
    joined = joined_of(TASK, folds)
    shares = joined.to_predict_with.recipes
    assert shares["small"] > 0.5
    assert sum(shares.values()) == pytest.approx(1)
    assert list(joined.recipes) == ["small", "poor"]
    assert joined.recipes["small"].total > joined.recipes["poor"].total
    assert joined.recipes["small"] == joined_of(TASK, [fold.only("small") for fold in folds]).score
    twins = [fold._replace(recipes={"small": fold.recipes["small"], "twin": fold.recipes["small"]}) for fold in folds]
    assert choose_recipes(TASK, twins, truth_of(folds)) == {"small": 1.0}


def test_the_greedy_selection_finds_the_mixture_of_least_log_loss() -> None:
    folds = [two_recipes(number) for number in range(3)]
    truth = truth_of(folds)

    def loss(share: float) -> float:
        mixtures = concatenated([mixture(fold, {"small": share, "poor": 1 - share}) for fold in folds])
        losses = {head: log_loss(mixtures[head], truth[head]) for head in TASK.heads}
        return (2 * losses["root"] + losses["mark"]) / 3

    best = min(np.linspace(0, 1, 21), key=loss)
    assert choose_recipes(TASK, folds, truth)["small"] == pytest.approx(best, abs=0.051)


def test_the_ensemble_of_a_study_has_the_shares_of_its_trials_and_is_read_as_it_was_written(tmp_path: Path) -> None:
    joined = joined_of(TASK, [two_recipes(number) for number in range(3)])
    ensemble = ensemble_of(joined)
    share = joined.to_predict_with.recipes["small"]
    assert ensemble.members["small-fold2-seed1"] == pytest.approx(share / 6, abs=1e-6)
    assert sum(ensemble.members.values()) == pytest.approx(1, abs=1e-4)
    assert set(ensemble.combinations.labels) == set(COMBINATIONS)
    write_ensemble(tmp_path, ensemble, ["of a test"])
    assert read_ensemble(tmp_path) == ensemble
    check_heads(ensemble, TASK, "here")
    text = (tmp_path / ENSEMBLE_FILE).read_text()
    assert text.startswith("# of a test\n[members]\nsmall-fold0-seed0 = ")
    for before, after, problem in (
        ("temperatures", "temperature", "temperature is not known; did you mean temperatures?"),
        ("weight = ", "weight = 1", "expected at most 1"),
        ("small-fold0-seed0 = ", "small-fold0-seed0 = -", "members: small-fold0-seed0 = -"),
        (
            "[prior_exponents]\nroot",
            "[prior_exponents]\nroots",
            "prior_exponents are not of each of the heads root, mark",
        ),
        ("[0, 0]", "[0, 9]", "combinations: 9 is no class of mark"),
        ("[0, 0]", "[0]", r"combinations: \[0\] is not a label for each of root, mark"),
    ):
        assert before in text
        (tmp_path / ENSEMBLE_FILE).write_text(text.replace(before, after, 1))
        with pytest.raises(UserError, match=problem):
            check_heads(read_ensemble(tmp_path), TASK, "here")


def test_what_predicting_does_to_the_sum_of_its_members_is_what_a_study_scored(tmp_path: Path) -> None:
    fold = random_fold(0)
    joined = joined_of(TASK, [fold, random_fold(1)])
    manifests = [Trained(tmp_path, name, manifest_of(fold, TASK)) for name in ("a", "b")]
    calibration = joined.to_predict_with.calibration
    weights = Weights(manifests, ensemble_of(joined))
    halves = {head: rows * np.float32(0.5) for head, rows in fold.recipes["small"].items()}
    finished = finish_of(weights)(dict(fold.recipes["small"]))
    expected = calibration.answers(fold.recipes["small"], fold.counts, np.array(COMBINATIONS))
    for head, rows in expected.items():
        assert finished[head].tolist() == [TASK.heads[head][index] for index in rows.argmax(axis=1)]
    unchanged = finish_of(Weights(manifests))(halves)
    assert unchanged["root"].tolist() == fold.recipes["small"]["root"].argmax(axis=1).tolist()
    assert unchanged["root"].tolist() != finished["root"].tolist()


def manifest_of(answers: Fold, task: Task, sha256: str = "") -> Manifest:
    return Manifest(
        model=ModelSettings(task=task.name, image_size=(32, 32), crop="ink"),
        task=task,
        train_counts={head: tuple(counts) for head, counts in answers.counts.items()},
        prior_exponents=dict.fromkeys(task.heads, 0.0),
        score={"name": "R", "total": 0.5, "heads": {}, "present_total": 0.51, "standard_error": 0.01},
        epoch=2,
        device="CPU",
        augmentation=(),
        versions={"python": "3.12", "keras": "3.13"},
        probe={head: ((1.0,) * len(classes),) * 2 for head, classes in task.heads.items()},
        sha256=sha256,
    )


def leave_trial(study: Path, fold: int, seed: int, answers: Fold, task: Task = TASK, recipe: str = "small") -> Path:
    """Leave what a trial does: weights (of no network), manifest, state, history and answers."""
    folder = study / f"{recipe}-fold{fold}-seed{seed}"
    folder.mkdir(parents=True)
    (folder / WEIGHTS_FILE).write_text(f"{recipe} {fold} {seed}")
    sha256 = sha256_of(folder / WEIGHTS_FILE)
    manifest = manifest_of(answers, task, sha256)
    (folder / MANIFEST_FILE).write_text(manifest_text(manifest))
    (folder / HISTORY_FILE).write_text("epoch,images_per_second\n1,100.0\n2,300.0\n3,200.0\n")
    state = {"recipe": recipe, "fold": fold, "seed": seed, "fingerprint": "", "parts": {}, "seconds": 90.0}
    (folder / TRIAL_FILE).write_text(json.dumps(state | {"is_finished": True}))
    write_out_of_fold(folder / OUT_OF_FOLD_FILE, OutOfFold(sha256, answers.ids, answers.truth, answers.recipes[recipe]))
    return folder


def leave_study(folder: Path, folds: Sequence[Fold], task: Task = TASK, of: int = 0, trained: int = 0) -> Path:
    """Leave a study of these folds, or of more of which these have trials."""
    for number, fold in enumerate(folds):
        for recipe in fold.recipes:
            leave_trial(folder, number, 0, fold, task, recipe)
    study = Study(task.name, of or len(folds), 0, "", 1, tuple(folds[0].recipes), trained or len(folds))
    (folder / STUDY_FILE).write_text(json.dumps(asdict(study)))
    return folder


def turned(fold: Fold) -> Fold:
    """Return the same images in the opposite order."""
    return fold._replace(
        ids=fold.ids[::-1],
        truth={head: rows[::-1] for head, rows in fold.truth.items()},
        recipes={name: {head: rows[::-1] for head, rows in heads.items()} for name, heads in fold.recipes.items()},
    )


def test_a_fold_is_the_mean_over_its_seeds_whatever_order_their_images_have(tmp_path: Path) -> None:
    first, second = random_fold(0), random_fold(1)
    study = leave_study(tmp_path / "study", [first, second])
    other = first._replace(recipes={"small": {head: 1 - rows for head, rows in first.recipes["small"].items()}})
    leave_trial(study, 0, 1, turned(other))
    task, folds, *_ = read_folds(study)
    assert task == TASK
    assert folds[0].trials == {"small": ["small-fold0-seed0", "small-fold0-seed1"]}
    assert all(rows == pytest.approx(0.5) for rows in folds[0].recipes["small"].values())
    rows = [folds[1].ids.index(name) for name in second.ids]
    assert np.array_equal(folds[1].recipes["small"]["root"][rows], second.recipes["small"]["root"])
    assert np.array_equal(folds[1].truth["mark"][rows], second.truth["mark"])


def test_joining_leaves_answers_choices_and_classes_in_the_folder(tmp_path: Path) -> None:
    study = leave_study(tmp_path / "study", [random_fold(number) for number in range(3)])
    joined = join(study)
    answers = read_out_of_fold(study / ANSWERS_FILE)
    assert answers.ids == joined.answers.ids
    assert np.array_equal(answers.probabilities["root"], joined.answers.probabilities["root"])
    choices = json.loads((study / CHOICES_FILE).read_text())
    assert choices["score"]["total"] == joined.score.total
    assert len(choices["folds"]) == 3
    assert set(choices["to_predict_with"]) == {"recipes", *Calibration._fields}
    lines = (study / CLASSES_FILE).read_text().splitlines()
    assert lines[0] == "head,class,images,recall,standard_error"
    assert len(lines) == 1 + 4 + 3


def test_a_study_of_some_folds_is_scored_on_their_images_and_trusts_no_combinations(tmp_path: Path) -> None:
    folds = [random_fold(number, 400) for number in range(4)]
    whole, some = leave_study(tmp_path / "whole", folds), leave_study(tmp_path / "some", folds, of=7)
    assert join(whole).to_predict_with.calibration.combinations_weight > 0
    joined = join(some)
    assert len(joined.answers.ids) == 1600
    assert joined.score == joined.heads_alone
    lines = list(joined.lines())
    assert lines[0] == "pairs: 4 of 7 folds, 4 trials, 1,600 images out of fold"
    assert [line for line in lines if "combinations" in line] == [
        "  train's combinations are not used: those of folds without trials are not known"
    ]
    assert not read_ensemble(some).combinations.labels
    leave_study(tmp_path / "lacks", folds[:3], of=7, trained=4)
    with pytest.raises(UserError, match="no finished trial of small for fold 3"):
        read_folds(tmp_path / "lacks")


def test_comparing_says_which_study_has_some_folds_only(tmp_path: Path) -> None:
    folds = [random_fold(number, 400) for number in range(4)]
    whole, some = leave_study(tmp_path / "whole", folds), leave_study(tmp_path / "some", folds[:3], of=4)
    for study in (whole, some):
        join(study)
    notes = compare(whole, some).notes
    assert [note.startswith(f"{some}: 3 of 4 folds; all was chosen on the images of these") for note in notes] == [True]
    assert not compare(whole, whole).notes
    (some / CHOICES_FILE).write_text("{}")
    with pytest.raises(UserError, match=r"answers\.json: missing or damaged .*; the same cross-validate joins it anew"):
        compare(whole, some)


def test_a_study_that_lacks_a_fold_or_has_answers_of_others_is_refused(tmp_path: Path) -> None:
    study = leave_study(tmp_path / "study", [random_fold(0), random_fold(1)])
    trial = study / "small-fold1-seed0"
    state = (trial / TRIAL_FILE).read_text()
    (trial / TRIAL_FILE).write_text(state.replace("true", "false"))
    with pytest.raises(UserError, match="no finished trial of small for fold 1"):
        join(study)
    (trial / TRIAL_FILE).write_text(state)
    leave_trial(study, 1, 1, random_fold(2))
    with pytest.raises(UserError, match="is of other images than the other trials"):
        join(study)
    (trial / OUT_OF_FOLD_FILE).write_bytes((study / "small-fold0-seed0" / OUT_OF_FOLD_FILE).read_bytes())
    with pytest.raises(UserError, match="is not of the weights beside it"):
        join(study)


def test_two_studies_are_compared_on_the_images_that_both_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = leave_study(tmp_path / "before", [random_fold(number, noise=2) for number in range(3)])
    after = leave_study(tmp_path / "after", [random_fold(number, noise=0.1) for number in (0, 1, 7)])
    join(before)
    join(after)
    changed = tmp_path / "changed.csv"
    assert cli.main(["compare", str(before), str(after), "--changed", str(changed)]) == 0
    out = capsys.readouterr().out
    assert "on 240 images that both answered" in out
    compared = compare(before, after)
    assert 0 < compared.gain.low < compared.gain.after - compared.gain.before < compared.gain.high
    assert compared.gain.after == 1.0
    assert f"gain {compared.gain.after - compared.gain.before:+.4f} (95 % interval +" in out
    assert "more than chance; the second is better" in out
    assert list(compared.heads) == ["root", "mark"]
    assert re.search(r"  mark: 0\.\d{4} -> 1\.0000, gain \+.*; \d+ answers changed, \d+ to right, 0 to wrong", out)
    assert "the first is better" in "\n".join(compare(after, before).lines())
    assert "gain +0.0000 (95 % interval +0.0000 to +0.0000): the answers are the same" in "\n".join(
        compare(after, after).lines()
    )
    rows = changed.read_text().splitlines()
    assert rows[0] == "id,head,truth,before,after"
    assert len(rows) == 1 + len(compared.changes)
    assert all(change.is_gain and not change.is_loss for change in compared.changes)


def test_a_gain_that_may_be_chance_is_said_to_be(tmp_path: Path) -> None:
    for name, shift in (("before", 0), ("after", 50)):
        fold = random_fold(shift)
        leave_trial(tmp_path / name, 0, 0, fold._replace(ids=random_fold(0).ids, truth=random_fold(0).truth))
    compared = compare(tmp_path / "before" / "small-fold0-seed0", tmp_path / "after" / "small-fold0-seed0")
    near = compared._replace(gain=Gain(0.5, 0.51, -0.01, 0.03))
    assert "gain +0.0100 (95 % interval -0.0100 to +0.0300): it may be chance" in "\n".join(near.lines())


def test_a_plain_training_is_compared_on_what_it_held_out_and_what_flatters_it_is_said(tmp_path: Path) -> None:
    study = leave_study(tmp_path / "study", [random_fold(0), random_fold(1)])
    join(study)
    fold = random_fold(0)
    some = fold._replace(
        ids=fold.ids[:50],
        truth={head: rows[:50] for head, rows in fold.truth.items()},
        recipes={"small": {head: rows[:50] for head, rows in fold.recipes["small"].items()}},
    )
    folder = leave_trial(tmp_path / "plain", 0, 0, some)
    (folder / TRIAL_FILE).unlink()
    manifest = json.loads((folder / MANIFEST_FILE).read_text()) | {"prior_exponents": {"root": 0.5, "mark": 0.0}}
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
    text = "\n".join(compare(study, folder).lines())
    assert "on 50 images that both answered" in text
    assert f"{folder}: its epoch and prior exponents were chosen on the images that it held out" in text
    assert f"{study}:" not in text
    (folder / WEIGHTS_FILE).write_text("of a later epoch")
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest | {"sha256": sha256_of(folder / WEIGHTS_FILE)}))
    with pytest.raises(UserError, match="is not of the weights beside it"):
        compare(study, folder)


def test_submissions_whose_truth_is_known_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"Test_{image}_{head}" for image in range(100) for head in BENGALI.heads]
    right = pd.DataFrame({"row_id": rows, "target": np.arange(300) // 3 % 7})
    right.to_csv(tmp_path / "truth.csv", index=False)
    right.sample(frac=1, random_state=0).to_csv(tmp_path / "after.csv", index=False)
    right.assign(target=0).to_csv(tmp_path / "before.csv", index=False)
    before, after = str(tmp_path / "before.csv"), str(tmp_path / "after.csv")
    assert cli.main(["compare", before, after, "--truth", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("R 0.1429 -> 1.0000 on 100 images that both answered\ngain +0.8571 (95 % interval +0.8")
    content = (tmp_path / "before.csv").read_text()
    assert cli.main(["compare", before, after, "--truth", str(tmp_path), "--changed", before]) == 2
    assert (tmp_path / "before.csv").read_text() == content
    assert "before.csv: would be written over, but it is among what is read" in capsys.readouterr().err
    assert cli.main(["compare", before, str(tmp_path / "none.csv"), "--truth", str(tmp_path)]) == 2
    assert cli.main(["compare", before, after]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert "none.csv" in errors[0]
    assert "before.csv: a file; of a submission --truth is needed" in errors[1]


def test_a_trial_is_compared_with_its_study_and_another_task_is_refused(tmp_path: Path) -> None:
    study = leave_study(tmp_path / "study", [random_fold(0), random_fold(1)])
    with pytest.raises(UserError, match=r"no answers\.npz of a finished study and no out_of_fold\.npz"):
        compare(study, study)
    join(study)
    assert compare(study / "small-fold0-seed0", study).images == 120
    with pytest.raises(UserError, match="answers none of the images"):
        compare(study / "small-fold0-seed0", study / "small-fold1-seed0")
    other = replace(TASK, heads={"root": (1, 0, 2, 3), "mark": (0, 1, 2)})
    trial = leave_trial(tmp_path / "other", 0, 0, random_fold(0), other)
    with pytest.raises(UserError, match="is of another task"):
        compare(study, trial)
    fold = random_fold(0)
    wrong = fold._replace(truth={head: rows[::-1] for head, rows in fold.truth.items()})
    with pytest.raises(UserError, match="has other root labels of the same images"):
        compare(study, leave_trial(tmp_path / "wrong", 0, 0, wrong))


@pytest.mark.parametrize(("score", "kind"), EVERY)
def test_what_a_study_chooses_for_any_score_is_what_predicting_does(tmp_path: Path, score: str, kind: Kind) -> None:
    task = task_of(score, kind, 4)
    folds = []
    for number in range(3):
        rng = np.random.default_rng(number)
        truth = drawn_truth(rng, kind, 60, 4)
        if kind == "number":
            rows = (truth + rng.normal(0, 1, 60))[:, None]
        else:
            is_true = truth[:, None] == np.arange(4) if truth.ndim == 1 else truth > 0
            rows = np.where(is_true, 0.6, 0.4) + rng.uniform(-0.3, 0.3, (60, 4))
            rows = rows / rows.sum(axis=1, keepdims=True) if truth.ndim == 1 else rows
        said = {"small": {"head": rows.astype(np.float32)}}
        counts = {"head": [30, 20, 10, 5] if kind != "number" else []}
        ids = [f"{number}_{row}" for row in range(60)]
        folds.append(Fold(ids, {"head": truth}, said, counts, {"small": [f"small-fold{number}-seed0"]}))
    joined = joined_of(task, folds)
    assert joined.score == task_score(joined.answers.truth, joined.answers.answers, task)
    assert "\n".join(joined.lines())
    write_ensemble(tmp_path, ensemble_of(joined), [])
    ensemble = read_ensemble(tmp_path)
    check_heads(ensemble, task, "here")
    trained = Trained(tmp_path, "a", manifest_of(folds[0], task))
    finished = finish_of(Weights([trained], ensemble))(dict(folds[0].recipes["small"]))
    calibration = joined.to_predict_with.calibration
    alone = calibration.heads_alone(folds[0].recipes["small"], folds[0].counts, task.kinds)
    expected = cells_of(calibration.decided(alone, task), task)
    assert {key: column.tolist() for key, column in finished.items()} == {k: c.tolist() for k, c in expected.items()}
