"""Processes that work for this one: what they are given, what becomes of their lines, and how they end."""

import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from multihead.cli import main
from multihead.runtime import children
from multihead.runtime.children import Child, Place, places, run_all
from multihead.runtime.log import STARTED, elapsed
from tests.conftest import HOUSE, PYTHONPATH

FAKE = (sys.executable, str(Path(__file__).with_name("fake_child.py")))


@pytest.fixture(autouse=True)
def fake_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "COMMAND", FAKE)


def place(name: str, does: str) -> Place:
    return Place(name, {"DOES": does})


def test_each_place_has_one_of_the_gpus_or_its_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "cores", lambda: 5)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert [one.name for one in places(0)] == ["worker 0"]
    assert [one.environment["OMP_NUM_THREADS"] for one in places(2)] == ["2", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert places(0) == [Place(f"GPU {gpu}", {"CUDA_VISIBLE_DEVICES": gpu}) for gpu in "25"]
    assert [one.name for one in places(1)] == ["GPU 2"]
    assert [one.name for one in places(3)] == ["GPU 2", "GPU 5"]  # a network takes all memory of one


def test_a_child_has_its_parent_s_clock_and_its_lines_come_behind_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    child = Child("GPU 1", place("GPU 1", "train"), {"a": 1}, tmp_path / "log.txt")
    assert child.wait() == ""
    child.end()
    own = [f"begun by {os.getpid()} at {STARTED!r}", "trained {'a': 1}"]
    assert capsys.readouterr().out.splitlines()[1:] == [f"GPU 1: {line}" for line in own]
    assert (tmp_path / "log.txt").read_text().splitlines() == own


def test_one_that_fails_stops_no_other_and_the_rest_begin_as_places_come_free(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["one", "other", "third"]
    where = [place("here", "fails"), place("there", "train")]
    copies = {name: tmp_path / name for name in names}
    failed = run_all(dict.fromkeys(names, 0), where, copies, math.inf, math.inf)
    assert failed["one"] == "exit code 1: error: no such thing"
    assert "other" not in failed
    printed = capsys.readouterr().out
    assert "other: trained 0" in printed
    assert "one: exit code 1: error: no such thing" in printed
    first_end = min(map(printed.index, ("one: exit code", "other: done")))
    assert first_end < printed.index("third: process ")


def test_none_is_begun_after_the_deadline_and_one_that_still_runs_at_the_end_is_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "SECONDS_TO_END", 1)
    os.mkfifo(tmp_path / "pipe")
    works, copies = dict.fromkeys(["one", "other"], 0), {name: tmp_path / name for name in ("one", "other")}
    assert run_all(works, [place("here", "train")], copies, 0.0, math.inf) == {}
    assert "the time budget is over; left for the next session: one, other" in capsys.readouterr().out
    where = [place("here", f"waits {tmp_path / 'pipe'}")]
    failed = run_all({"one": 0}, where, copies, math.inf, elapsed() + 0.2)
    assert failed == {"one": "still ran when the time budget was over"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what ends with its parent does so on Linux")
def test_a_child_ends_with_its_parent_even_where_that_is_killed(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    program = (
        "import signal; from multihead.runtime import children; "
        f"children.COMMAND = {FAKE!r}; "
        f"child = children.Child('a', children.Place('a', {{'DOES': 'outlives {pipe}'}}), 0); signal.pause()"
    )
    environment = os.environ | {"PYTHONPATH": PYTHONPATH}
    parent = subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.DEVNULL)
    with pipe.open() as of_child:
        assert of_child.readline() == "begun\n"
        parent.send_signal(signal.SIGKILL)
        assert of_child.read() == ""  # its other end is closed
    parent.wait()


def test_a_person_who_starts_a_child_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["child"]) == 2
    assert capsys.readouterr().err == "error: child: is started by train and predict only\n"


def test_the_parent_needs_no_network_s_library() -> None:
    program = (
        "import sys; from multihead import commands; from multihead.data import answers, datasets; "
        "from multihead.data.readers import pixel_csv, wide_parquet; "
        "from multihead.prediction import submission, workers; "
        "assert not {'keras', 'tensorflow', 'jax', 'efficientnet'} & set(sys.modules)"
    )
    environment = {"PYTHONPATH": str(HOUSE / "src")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
