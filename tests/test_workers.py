"""Files shared among several processes, with children that have no network: who gets what, and what a loss costs."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from multihead.config.settings import RunSettings
from multihead.prediction import workers as module
from multihead.prediction.stages import Stages, beside_each_other
from multihead.prediction.trained import Weights
from multihead.prediction.workers import Workers
from multihead.runtime import children
from tests.test_children import FAKE, place

FILES = 4  # of two images each


@pytest.fixture(autouse=True)
def fake_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "COMMAND", FAKE)


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def predict(
    does: Sequence[str], problems: list[tuple[str, str]], minutes: float = 0.0
) -> tuple[Workers, list[tuple[str, int]]]:
    """Predict with children that do so; return what they were given: image, and how many were said to be left."""

    def on_problem(text: str, cause: Exception | None) -> None:
        problems.append((text, type(cause).__name__))

    where = [place(f"GPU {number}", one) for number, one in enumerate(does)]
    run = RunSettings(time_budget_minutes=minutes)
    workers = Workers(where, Weights(()), run, total_images=2 * FILES, on_problem=on_problem)
    parts: Any = range(FILES)
    return workers, [(str(table.index[0]), int(table["left"].iloc[0])) for table in workers.predict_files(parts)]


def test_one_alone_is_told_of_all_images_that_are_left_to_it() -> None:
    problems: list[tuple[str, str]] = []
    workers, given = predict(["good"], problems)
    assert given == [("Test_0", 8), ("Test_1", 6), ("Test_2", 4), ("Test_3", 2)]
    assert not problems
    assert not workers.is_late
    assert workers.images_attempted == 8


def test_two_share_the_files_and_the_time_of_both_counts_once() -> None:
    problems: list[tuple[str, str]] = []
    workers, given = predict(["good", "good"], problems)
    assert sorted(image for image, _ in given) == [f"Test_{number}" for number in range(FILES)]
    assert given[0][1] == 6  # of one file, and of two of the three others
    assert not problems
    both = workers.stages
    assert (both.read_images, both.files, both.network_images) == (8, 4, 8)


def test_the_files_of_one_that_is_killed_go_to_the_other_behind_all_else(
    pipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    problems: list[tuple[str, str]] = []
    workers, given = predict([f"dies {pipe}", f"waits {pipe}"], problems)
    assert [image for image, _ in given] == ["Test_1", "Test_2", "Test_3", "Test_0"]
    assert not problems
    assert (workers.images_attempted, workers.is_late) == (8, False)
    assert "warning: GPU 0 ended (signal 9: begun by " in capsys.readouterr().out


def test_where_all_end_that_is_a_problem_with_its_reason() -> None:
    problems: list[tuple[str, str]] = []
    workers, given = predict(["fails", "fails"], problems)
    assert given == []
    ((text, cause),) = problems
    assert text.startswith("no process is left to predict 4 files; GPU ")
    assert text.endswith(" ended (exit code 1: error: no such thing)")
    assert cause == "NoneType"
    assert workers.images_attempted == 8


def test_what_the_time_budget_left_out_is_not_attempted() -> None:
    problems: list[tuple[str, str]] = []
    workers, given = predict(["late"], problems, minutes=100)
    assert len(given) == 1
    assert not problems
    assert (workers.is_late, workers.images_attempted) == (True, 2)


def test_one_that_hangs_is_ended_once_the_budget_is_over(pipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "elapsed", lambda: 59.9 * 60)
    problems: list[tuple[str, str]] = []
    workers, given = predict([f"waits {pipe}"], problems, minutes=60)
    assert given == []
    assert (workers.is_late, workers.images_attempted) == (True, 0)


@pytest.mark.parametrize("kind", ["UserError", "OddError"])
def test_a_child_s_problem_is_told_with_the_kind_of_its_cause(kind: str) -> None:
    problems: list[tuple[str, str]] = []
    predict([f"tells {kind}"], problems)
    assert problems == [("odd", kind)] * FILES


def test_stages_beside_each_other_take_the_time_of_one() -> None:
    both = beside_each_other([Stages(10, 1, 4.0, 20, 1.0), Stages(30, 2, 8.0, 30, 3.0)])
    assert both == Stages(40, 3, 6.0, 50, 2.0)
    assert beside_each_other([]) == Stages()
