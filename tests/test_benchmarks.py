import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import accuracy, score
from benchmarks.score import Rung
from multihead.config.settings_file import read_settings
from multihead.data.augment import try_steps
from tests.built_in import BENGALI
from tests.conftest import HOUSE


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


@pytest.mark.slow
def test_a_small_ladder_has_a_row_per_rung_and_trains_no_rung_twice(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"backbone": "narrow", "image_size": "[32, 32]", "epochs": "1", "validation_share": "0.2"}
    monkeypatch.setattr(score, "RUNGS", {"a": Rung("", small, has_prior=True), "b": Rung("a", {})})
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", ["score", str(drawn), str(tmp_path)])
        score.main()
        rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
        assert [row.split(" | ")[0] for row in rows[1:]] == ["| a", "| b"]
        monkeypatch.setattr(score, "_train", None)
    settings = tmp_path / "settings.toml"
    settings.write_text('[model]\nbackbone = "narrow"\nimage_size = [32, 32]\n[run]\nvalidation_share = 0.2\n')
    monkeypatch.setattr(
        sys, "argv", ["score", str(drawn), str(tmp_path / "a" / "working"), "--same-weights", str(settings)]
    )
    score.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows[1:]][-2:] == [
        "| average and prior",
        "| average and prior, 4 test-time copies",
    ]
    assert len(rows) == 1 + 6


def leave_answers(folder: Path, truth_shift: int = 0, is_sure: slice = slice(None), count: int = 1) -> None:
    """Answers to 20 images: right and sure of some, wrong and less sure of the others; so many train images a class."""
    folder.mkdir(exist_ok=True)
    heads = {head: len(classes) for head, classes in BENGALI.heads.items()}
    counts = {head: [count] * classes for head, classes in heads.items()}
    (folder / "told.json").write_text(json.dumps({"cpu_seconds": 2, "images": 300, "counts": counts}))
    stored: dict[str, Any] = {}
    for head, classes in heads.items():
        right = np.arange(20) % classes
        answers = 0.6 * np.eye(classes)[(right + 1) % classes] + 0.4 * np.eye(classes)[right]
        answers[is_sure] = np.eye(classes)[right[is_sure]]
        stored |= {f"true_{head}": (right + truth_shift) % classes, head: answers.astype(np.float32)}
    np.savez(folder / "answers.npz", **stored)


def test_a_gain_over_answers_to_other_images_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "RUNGS", {"a": Rung("", {"seed": "1"}), "b": Rung("a", {"seed": "2"})})
    leave_answers(tmp_path / "a")
    leave_answers(tmp_path / "b")
    assert score._row("b", tmp_path).startswith("| b | 1.0000 | +0.0000 (")
    leave_answers(tmp_path / "b", truth_shift=1)
    with pytest.raises(SystemExit, match="'b' and 'a' hold other images out"):
        score._row("b", tmp_path)


AVERAGED = {"a": Rung("", {"seed": "1"}), "b": Rung("a", {"seed": "2"}), "both": Rung("b", {}, averaged=("a",))}


def test_answers_of_rungs_are_averaged_and_their_costs_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "RUNGS", AVERAGED)
    leave_answers(tmp_path / "a", is_sure=slice(0, 10))
    leave_answers(tmp_path / "b", is_sure=slice(10, 20))
    assert not score._row("b", tmp_path).startswith("| b | 1.0000 |")
    cells = score._row("both", tmp_path).split(" | ")
    assert cells[1] == "1.0000"
    assert cells[3:] == ["b", "4", "600 |"]
    leave_answers(tmp_path / "a", truth_shift=1)
    with pytest.raises(SystemExit, match="'both' and 'a' hold other images out"):
        score._row("both", tmp_path)


def test_each_of_the_averaged_has_its_own_prior_divided_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "RUNGS", AVERAGED)
    leave_answers(tmp_path / "a", count=2)
    leave_answers(tmp_path / "b", count=3)
    counts_used = []

    def adjusted(answers: Any, counts: Any, exponents: Any) -> Any:
        counts_used.append(counts["grapheme_root"][0])
        return answers

    monkeypatch.setattr(score, "adjusted_heads", adjusted)
    score.read_answers("both", tmp_path)
    assert counts_used == [3, 2]


def test_what_is_averaged_is_trained_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rungs = AVERAGED | {"both": Rung("a", {}, averaged=("b",))}
    monkeypatch.setattr(score, "RUNGS", rungs)
    monkeypatch.setattr(score, "_is_done", lambda _name, _data, folder: folder.exists())
    monkeypatch.setattr(score, "_train", lambda _name, _data, folder: leave_answers(folder))
    monkeypatch.setattr(sys, "argv", ["score", str(tmp_path), str(tmp_path), "--only", "both"])
    score.main()
    assert "| both | 1.0000 |" in capsys.readouterr().out


@pytest.mark.parametrize("task", accuracy.ROWS)
def test_the_settings_of_every_training_of_a_row_are_known(task: str) -> None:
    row = accuracy.ROWS[task]
    for training in row.trainings.values():
        for repeat in row.repeats:
            settings = read_settings(HOUSE / "kernel" / "train" / f"settings-{task}.toml", [repeat, *training])
            assert settings.task.name == task
            try_steps(settings.run.augmentation, (*settings.model.image_size, settings.task.image_shape[2]))
