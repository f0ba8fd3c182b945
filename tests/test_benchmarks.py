import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import accuracy, combinations, exponents
from multihead.config.settings_file import read_settings
from multihead.config.task import Task
from multihead.data.augment import try_steps
from multihead.prediction.exponents import best_exponent
from multihead_study.choices import Choice, choose
from multihead_study.folds import Fold, read_folds
from tests.conftest import HOUSE
from tests.test_study_answers import TASK, leave_study, leave_trial, random_fold


@pytest.mark.slow
def test_a_small_run_of_the_benchmarks_leaves_a_table(drawn: Path, tmp_path: Path) -> None:
    rows = ["shard", "crop", "batches", "start"]
    command = [sys.executable, "-m", "benchmarks.bench", "--data", str(drawn), "--rows", "40", "--out", "table.md"]
    only = [part for row in rows for part in ("--only", row)]
    paths = f"{HOUSE}:{HOUSE / 'src'}:{HOUSE / 'demo'}"
    subprocess.run([*command, *only], check=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": paths}, timeout=300)
    lines = [line for line in (tmp_path / "table.md").read_text().splitlines() if line.startswith("| ")]
    assert [line.count("|") for line in lines] == [6] * len(lines)
    assert len(lines) == 1 + 4 + 1 + 2 + 1


@pytest.mark.parametrize("task", accuracy.ROWS)
def test_the_settings_of_every_training_of_a_row_are_known(task: str) -> None:
    row = accuracy.ROWS[task]
    for training in row.trainings.values():
        for repeat in row.repeats:
            settings = read_settings(HOUSE / "kernel" / "train" / f"settings-{task}.toml", [repeat, *training])
            assert settings.task.name == task
            try_steps(settings.run.augmentation, (*settings.model.image_size, settings.task.image_shape[2]))


def test_the_choice_of_exponents_is_held_against_a_plainer_one_for_each_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(exponents, "DRAWS", 3)
    study = leave_study(tmp_path / "study", [random_fold(number, 200) for number in range(2)])
    monkeypatch.setattr(sys, "argv", ["exponents", str(study)])
    exponents.main()
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == f"{study}: 400 images"
    for share, line in zip((8, 33, 75), lines, strict=True):
        assert re.fullmatch(rf"  {share}% choose: 0\.\d{{4}}, [+-]0\.\d{{4}} \(.* to .*\)", line)
    monkeypatch.setattr(exponents, "plainly", best_exponent)
    exponents.main()
    assert capsys.readouterr().out.count(", +0.0000 (+0.0000 to +0.0000)") == 3


def test_exponents_chosen_on_means_are_held_against_those_of_single_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folds = [random_fold(number, 400) for number in range(2)]
    study = leave_study(tmp_path / "study", folds)
    assert not list(exponents.of_means(study))
    for number, fold in enumerate(folds):
        leave_trial(study, number, 1, fold)
    (same,) = exponents.of_means(study)
    assert same.startswith("  chosen on means of 2 networks, over single ones: ")
    assert same.endswith(", +0.0000 (+0.0000 to +0.0000)")
    for number, fold in enumerate(folds):
        other = random_fold(number, 400, noise=2)
        leave_trial(study, number, 2, other._replace(truth=fold.truth))
        shutil.rmtree(study / f"small-fold{number}-seed1")
        read = exponents.of_seed(study, TASK, read_folds(study).folds[number], 1)
        assert np.array_equal(read.recipes["small"]["root"][0], other.recipes["small"]["root"][0])
    given: list[int] = []

    def noted(task: Task, some: Sequence[Fold], *, with_combinations: bool) -> Choice:
        given.append(len(some))
        return choose(task, some, with_combinations=with_combinations)

    monkeypatch.setattr(exponents, "choose", noted)
    assert len(list(exponents.of_means(study))) == 1
    assert given == [2, 2, 1, 1]  # both networks of the other fold, or their mean


def test_a_score_without_exponents_has_nothing_to_compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = replace(TASK, score="accuracy")
    study = leave_study(tmp_path / "study", [random_fold(number, task=task) for number in range(2)], task)
    monkeypatch.setattr(sys, "argv", ["exponents", str(study)])
    with pytest.raises(SystemExit, match="its score is accuracy; expected macro recall or balanced accuracy"):
        exponents.main()


def test_combinations_of_some_folds_only_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = leave_study(tmp_path / "study", [random_fold(number) for number in range(2)], of=5)
    monkeypatch.setattr(sys, "argv", ["combinations", str(study)])
    with pytest.raises(SystemExit, match="error: of a study with folds without trials; expected trials of all folds"):
        combinations.main()
