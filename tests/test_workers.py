"""Files shared among several processes, with children that have no network: who gets what, and what a loss costs."""

import os
from collections.abc import Iterator, Sequence
from multiprocessing import Pipe
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from multihead.config.settings import RunSettings
from multihead.prediction import worker
from multihead.prediction import workers as module
from multihead.prediction.stages import Stages, beside_each_other
from multihead.prediction.trained import Trained, Weights
from multihead.prediction.work import Assigned, Done, Wanted, Work
from multihead.prediction.worker import answer_parent
from multihead.prediction.workers import Workers
from multihead.runtime import children
from multihead.runtime.errors import UserError
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
    assert dict(given)["Test_0"] == 6  # of one file, and of two of the three others
    assert not problems
    both = workers.stages
    assert (both.read_images, both.files, both.network_images) == (8, 4, 8)


def test_the_files_of_one_that_is_killed_go_to_the_other_behind_all_else(
    pipe: Path,
) -> None:
    problems: list[tuple[str, str]] = []
    workers, given = predict([f"dies {pipe}", f"waits {pipe}"], problems)
    assert [image for image, _ in given] == ["Test_1", "Test_2", "Test_3", "Test_0"]
    assert (workers.images_attempted, workers.is_late) == (8, False)
    ((text, _),) = problems  # in a public run an error, in a rerun a warning
    assert text.startswith("GPU 0 ended (signal 9: begun by ")
    assert text.endswith("; 1 of its files go to the others")


def test_where_all_end_that_is_a_problem_with_its_reason() -> None:
    problems: list[tuple[str, str]] = []
    workers, given = predict(["fails", "fails"], problems)
    assert given == []
    (first, _), (text, cause) = problems
    assert "; 0 of its files go to the others" in first
    assert text.startswith("no process is left to predict 4 files; GPU ")
    assert text.endswith(" ended (exit code 1: error: no such thing)")
    assert cause == "NoneType"
    assert workers.images_attempted == 8


class Failing:
    """A predictor whose network answers nothing."""

    has_failed, is_late, files_done, images_attempted_so_far = True, False, 1, 2
    stages, passed_over = Stages(), ()

    def __init__(self, *_: object, **__: object) -> None:
        self.images_left = 2

    def predict_some(self, files: Iterator[int], _in_all: int, _numbers: list[int]) -> Iterator[pd.DataFrame]:
        next(files)
        yield pd.DataFrame()


@pytest.mark.parametrize("is_alone", [True, False])
def test_a_worker_whose_network_fails_leaves_its_file_to_another_if_there_is_one(
    is_alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("load_members", "finish_of"):
        monkeypatch.setattr(worker, name, lambda *_: None)
    monkeypatch.setattr(worker, "Predictor", Failing)
    parent, child = Pipe()
    manifest = SimpleNamespace(task=None)
    weights: Any = Weights([Trained(Path(), "", manifest)])  # type: ignore[arg-type]
    parent.send(Assigned(0, 2, is_alone))
    work = Work(weights, RunSettings(), [0], 2)  # type: ignore[list-item]
    if not is_alone:
        with pytest.raises(UserError, match="the network fails here"):
            answer_parent(child, work)
        assert isinstance(parent.recv(), Wanted)
        assert not parent.poll()
        return
    thread = Thread(target=answer_parent, args=(child, work))
    thread.start()
    assert isinstance(parent.recv(), Wanted)
    assert isinstance(parent.recv(), Done)
    parent.close()  # by which it ends
    thread.join(10)
    assert not thread.is_alive()


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
