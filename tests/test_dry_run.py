"""The dry run of tasks other than the first, in copies of the repository: from their files to a score."""

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from sample_images import draw_animals

from tests.built_in import ANIMALS
from tests.conftest import SHARED, clone

pytestmark = pytest.mark.slow

SHORT = """
[model]
backbone = "stack"
image_size = [28, 28]
stack_layers = ["conv 8", "pool 2", "conv 16", "pool 2", "dense 32"]
[run]
epochs = 4
batch_size = 32
learning_rate = 5e-3
augmentation = []
mixup_share = 0.0
cutmix_share = 0.0
"""


def dry_run(house: Path, *arguments: str) -> str:
    """Return what a dry run with a small network says."""
    (house / "kernel" / "train" / "settings-dry.toml").write_text(SHORT)
    return run(house, *arguments)


def run(house: Path, *arguments: str) -> str:
    command = [sys.executable, str(house / "build_kernel.py"), "dry-run", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def scores(printed: str) -> tuple[float, float]:
    """Return the accuracy that was printed, and a constant answer's."""
    (found,) = re.findall(r"^accuracy = (\S+)\n  label +\S+ \(a constant answer: ([\d.]+)", printed, re.MULTILINE)
    return float(found[0]), float(found[1])


def heads_of(printed: str) -> dict[str, tuple[float, float]]:
    """Return what each head reached as it was printed, and a constant answer's."""
    lines = re.findall(r"^  (\w+) +([\d.]+) \(a constant answer: ([\d.]+)", printed, re.MULTILINE)
    return {head: (float(reached), float(constant)) for head, reached, constant in lines}


def without_limit(house: Path) -> Path:
    """Shorten the training that the dry run ships by its epochs, not by time: a busy machine would train fewer."""
    settings = house / "kernel" / "train" / "settings-dry.toml"
    text = re.sub(r"time_budget_minutes = .*\n", "", settings.read_text())
    settings.write_text(text.replace("epochs = 14\n", "epochs = 7\n"))
    return house


def test_the_drawn_competition_is_learned(tmp_path: Path) -> None:
    (score,) = re.findall(r"^R = ([\d.]+)", run(without_limit(clone(tmp_path / "house"))), re.MULTILINE)
    assert float(score) > 0.6


@pytest.mark.skipif(not SHARED.is_file(), reason="the competition's images are not on this machine")
def test_the_competition_s_own_images_are_learned(tmp_path: Path) -> None:
    data = tmp_path / "bengali"
    lay_out = [sys.executable, str(SHARED), "bengali", str(data), "--rows-per-shard", "800", "--test-rows", "400"]
    subprocess.run(lay_out, check=True, stdout=subprocess.DEVNULL)
    heads = heads_of(run(without_limit(clone(tmp_path / "house")), str(data)))
    assert list(heads) == ["grapheme_root", "vowel_diacritic", "consonant_diacritic"]
    for least, (reached, constant) in zip((3, 1.5, 1.5), heads.values(), strict=True):
        assert reached > least * constant


def test_digits_go_the_whole_way_as_they_are_drawn(tmp_path: Path) -> None:
    house = clone(tmp_path / "house")
    printed = dry_run(house, "--task", "digit-recognizer")
    reached, constant = scores(printed)
    assert constant == 0.1
    assert reached > 0.5
    assert printed.endswith("\nsubmission: dry-run/predict/working/submission.csv (400 rows)\n")
    answers = pd.read_csv(house / "dry-run" / "predict" / "working" / "submission.csv")
    assert answers.columns.tolist() == ["ImageId", "Label"]
    assert answers.ImageId.tolist() == list(range(1, 401))
    truth = pd.read_csv(house / "dry-run" / "competition" / "truth.csv")
    assert (answers.Label == truth.Label).mean() == pytest.approx(reached, abs=1e-4)


def test_animals_go_the_whole_way_to_predictions_of_a_fifth(tmp_path: Path) -> None:
    house, data = clone(tmp_path / "house"), tmp_path / "animals"
    draw_animals(data, 400, 100, seed=0)
    printed = dry_run(house, "--task", "animals10", str(data))
    reached, constant = scores(printed)
    assert constant == 0.1
    assert reached > 0.5
    assert printed.endswith("\nsubmission: dry-run/predict/working/predictions.csv (100 rows)\n")
    answers = pd.read_csv(house / "dry-run" / "predict" / "working" / "predictions.csv")
    assert answers.columns.tolist() == ["id", "label"]
    assert answers.id.is_unique
    true = [ANIMALS.class_folders[(data / name).parent.name] for name in answers.id if (data / name).is_file()]
    assert len(true) == 100
    assert (answers.label == true).mean() == pytest.approx(reached, abs=1e-4)
