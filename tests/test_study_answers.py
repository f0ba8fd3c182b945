"""Answers out of fold: joined, chosen on cross-fitted, compared, listed."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from bundler.study.study import STUDY_FILE
from bundler.study.trial import TRIAL_FILE
from multihead.config.files import HISTORY_FILE, MANIFEST_FILE, OUT_OF_FOLD_FILE, WEIGHTS_FILE
from multihead.config.manifest import Manifest, manifest_text, sha256_of
from multihead.config.settings import ModelSettings
from multihead.config.task import Task
from multihead.prediction.logit_adjustment import choose_exponents
from multihead.runtime.errors import UserError
from multihead.scoring.metrics import task_score
from multihead.scoring.out_of_fold import OutOfFold, read_out_of_fold, write_out_of_fold
from multihead.scoring.paired import Gain
from multihead_study import cli
from multihead_study.answers import ANSWERS_FILE, CHOICES_FILE, CLASSES_FILE, Fold, join, joined_folds, read_folds
from multihead_study.combinations import ROWS, combinations_of, mixed, over_combinations
from multihead_study.compare import compare
from tests.built_in import BENGALI

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
        {head: likely(truth[head], len(classes), rng, noise) for head, classes in task.heads.items()},
        {head: [60, 40, 20, 10][: len(classes)] for head, classes in task.heads.items()},
        1,
    )


def likely(truth: NDArray[np.int64], classes: int, rng: np.random.Generator, noise: float) -> NDArray[np.float32]:
    logits = rng.normal(0, noise, (len(truth), classes))
    logits[np.arange(len(truth)), truth] += 1
    shares = np.exp(logits)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), np.float32)


def test_what_is_used_on_a_fold_was_chosen_without_it() -> None:
    folds = [random_fold(number) for number in range(3)]
    rng = np.random.default_rng(0)
    other = folds[1]._replace(
        truth={head: rng.permutation(indices) for head, indices in folds[1].truth.items()},
        probabilities={head: rng.permutation(rows) for head, rows in folds[1].probabilities.items()},
    )
    before, after = joined_folds(TASK, folds), joined_folds(TASK, [folds[0], other, folds[2]])
    assert before.choices[1].exponents == after.choices[1].exponents
    chosen = choose_exponents(
        {head: np.concatenate([folds[0].probabilities[head], folds[2].probabilities[head]]) for head in TASK.heads},
        {head: np.concatenate([folds[0].truth[head], folds[2].truth[head]]) for head in TASK.heads},
        folds[1].counts,
    )
    assert before.choices[1].exponents == chosen
    assert before.choices[0].exponents != after.choices[0].exponents


def test_the_score_is_that_of_all_images_with_what_was_chosen() -> None:
    joined = joined_folds(TASK, [random_fold(number) for number in range(4)])
    answers = {head: rows.argmax(axis=1) for head, rows in joined.answers.probabilities.items()}
    assert joined.score == task_score(joined.answers.truth, answers, TASK)
    assert joined.answers.ids[:2] == ["Train_0_0", "Train_0_1"]
    assert joined.score.standard_error > 0
    assert joined.score.total > joined.with_prior.total
    text = "\n".join(joined.lines())
    assert f"R {joined.score.total:.4f} ± {joined.score.standard_error:.4f}" in text
    assert "480 images out of fold" in text


def test_combinations_that_train_shows_help_heads_that_go_together() -> None:
    joined = joined_folds(TASK, [random_fold(number, 400) for number in range(3)])
    assert joined.to_predict_with.combinations > 0
    assert joined.score.total > joined.heads_alone.total


def test_of_one_head_there_are_no_combinations_and_of_accuracy_no_exponents() -> None:
    fold = random_fold(0)
    one = replace(TASK, heads={"root": TASK.heads["root"]}, score="accuracy", score_weights={})
    folds = [f._replace(truth={"root": f.truth["root"]}, probabilities={"root": f.probabilities["root"]},
                        counts={"root": f.counts["root"]}) for f in (fold, random_fold(1))]  # fmt: skip
    joined = joined_folds(one, folds)
    assert {(choice.exponents["root"], choice.combinations) for choice in joined.choices} == {(0.0, 0.0)}
    assert joined.score.total == joined.with_prior.total
    assert joined.score.name == "accuracy"


def test_what_the_heads_say_together_is_the_product_over_the_combinations() -> None:
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


def leave_trial(study: Path, fold: int, seed: int, answers: Fold, task: Task = TASK, **header: Any) -> Path:
    """Leave what a trial does: weights (of no network), manifest, state, history and answers."""
    folder = study / f"small-fold{fold}-seed{seed}"
    folder.mkdir(parents=True)
    (folder / WEIGHTS_FILE).write_text(f"{fold} {seed}")
    sha256 = sha256_of(folder / WEIGHTS_FILE)
    manifest = Manifest(
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
    (folder / MANIFEST_FILE).write_text(manifest_text(manifest))
    (folder / HISTORY_FILE).write_text("epoch,images_per_second\n1,100.0\n2,300.0\n3,200.0\n")
    state = {"recipe": "small", "fold": fold, "seed": seed, "fingerprint": "", "parts": {}, "seconds": 90.0}
    (folder / TRIAL_FILE).write_text(json.dumps(state | {"is_finished": True} | header))
    write_out_of_fold(folder / OUT_OF_FOLD_FILE, OutOfFold(sha256, answers.ids, answers.truth, answers.probabilities))
    return folder


def leave_study(folder: Path, folds: Sequence[Fold], task: Task = TASK) -> Path:
    for number, fold in enumerate(folds):
        leave_trial(folder, number, 0, fold, task)
    study = {"task": task.name, "recipe": "small", "folds": len(folds), "threads": 1}
    (folder / STUDY_FILE).write_text(json.dumps(study))
    return folder


def turned(fold: Fold) -> Fold:
    """Return the same images in the opposite order."""
    turn: Mapping[str, Any] = {
        name: {head: rows[::-1] for head, rows in getattr(fold, name).items()} for name in ("truth", "probabilities")
    }
    return fold._replace(ids=fold.ids[::-1], **turn)


def test_a_fold_is_the_mean_over_its_seeds_whatever_order_their_images_have(tmp_path: Path) -> None:
    first, second = random_fold(0), random_fold(1)
    study = leave_study(tmp_path / "study", [first, second])
    other = first._replace(probabilities={head: 1 - rows for head, rows in first.probabilities.items()})
    leave_trial(study, 0, 1, turned(other))
    task, folds = read_folds(study)
    assert task == TASK
    assert (folds[0].seeds, folds[1].seeds) == (2, 1)
    assert all(rows == pytest.approx(0.5) for rows in folds[0].probabilities.values())
    rows = [folds[1].ids.index(name) for name in second.ids]
    assert np.array_equal(folds[1].probabilities["root"][rows], second.probabilities["root"])
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
    assert set(choices["to_predict_with"]) == {"exponents", "combinations"}
    lines = (study / CLASSES_FILE).read_text().splitlines()
    assert lines[0] == "head,class,images,recall,standard_error"
    assert len(lines) == 1 + 4 + 3


def test_a_study_that_lacks_a_fold_or_has_answers_of_others_is_refused(tmp_path: Path) -> None:
    study = leave_study(tmp_path / "study", [random_fold(0), random_fold(1)])
    trial = study / "small-fold1-seed0"
    state = (trial / TRIAL_FILE).read_text()
    (trial / TRIAL_FILE).write_text(state.replace("true", "false"))
    with pytest.raises(UserError, match="no finished trial of fold 1"):
        join(study)
    (trial / TRIAL_FILE).write_text(state)
    leave_trial(study, 1, 1, random_fold(2))
    with pytest.raises(UserError, match="is of other images than that of"):
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
        probabilities={head: rows[:50] for head, rows in fold.probabilities.items()},
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
