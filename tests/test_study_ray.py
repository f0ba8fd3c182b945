"""Trials as Ray tasks, with programs in the place of trainings, on a Ray of this machine and on two nodes."""

import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from textwrap import indent

import pytest

from bundler.errors import BundlerError
from bundler.study.engines.ray import Ray
from bundler.study.run import Ended, what_is_missing
from bundler.study.trial import Trial
from multihead_study import cli
from tests.conftest import HOUSE, PYTHONPATH
from tests.test_study import SLEEP, TELL, is_running, make_trials, wait_for

NEEDED = "Ray is not installed; it comes with requirements-scale.txt"
INTERRUPTED = f"try:\n{indent(SLEEP, '    ')}except KeyboardInterrupt:\n    print('interrupted')\n"
WAIT = """
import os, pathlib, time
def is_running(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
beginnings = pathlib.Path("beginnings")
before = beginnings.read_text().split() if beginnings.exists() else []
if any(is_running(pid) for pid in before):
    raise SystemExit("beside one of " + str(before))
with beginnings.open("a") as file:
    file.write(str(os.getpid()) + chr(10))
while not os.path.exists("../go"):
    time.sleep(0.02)
"""
NODES = """
import sys
from ray.cluster_utils import Cluster
sizes = {"num_cpus": 2, "num_gpus": 0}
cluster = Cluster(initialize_head=True, head_node_args={**sizes, "include_dashboard": False})
print("address", cluster.address, flush=True)
for line in sys.stdin:
    if line == "add\\n":
        node = cluster.add_node(**sizes)
        cluster.wait_for_nodes()
    else:
        cluster.remove_node(node, allow_graceful=False)
    print("done", flush=True)
cluster.shutdown()
"""
ONE = """
import sys
from pathlib import Path
from bundler.study.engines.local import cores
from tests.test_study_ray import TELL, Ray, run_of, trials_of
engine = Ray(2)
(node,) = engine._ray.nodes()
assert node["Resources"]["CPU"] == cores()
assert engine.threads == max(1, cores() // 2)
assert run_of(engine, trials_of(Path(sys.argv[1]), TELL)) == [0]
"""


class Cluster:
    """A Ray cluster on this machine, of nodes with two CPUs, in a process of its own: Ray leaves much open."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", NODES]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.address = self._answer("address ")

    def ask(self, question: str) -> None:
        """Have a node added or removed."""
        assert self.process.stdin
        print(question, file=self.process.stdin, flush=True)
        self._answer("done")

    def _answer(self, beginning: str) -> str:
        assert self.process.stdout
        return next(line for line in self.process.stdout if line.startswith(beginning)).removeprefix(beginning).strip()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    pytest.importorskip("ray", reason=NEEDED)
    one = Cluster()
    yield one
    one.process.communicate(timeout=60)


def trials_of(folder: Path, program: str, number: int = 1, threads: int = 1) -> list[Trial]:
    folder.mkdir(exist_ok=True)
    return [replace(trial, threads=threads) for trial in make_trials(folder, program, number)]


def run_of(engine: Ray, trials: Sequence[Trial]) -> list[int]:
    with closing(engine.run(trials)) as ends:
        return [ended.code for ended in ends]


def run_all(cluster: Cluster, trials: Sequence[Trial]) -> dict[str, Ended]:
    with closing(Ray(address=cluster.address).run(trials)) as ends:
        return {ended.trial.name: ended for ended in ends}


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def beginnings(trial: Trial) -> list[int]:
    path = trial.folder / "beginnings"
    return [int(pid) for pid in path.read_text().split()] if path.exists() else []


def test_as_many_run_at_a_time_as_there_are_cpus_for_their_threads(cluster: Cluster, tmp_path: Path) -> None:
    trials = trials_of(tmp_path, TELL, 3)
    ends = run_all(cluster, trials)
    assert {name: (ended.code, ended.problem) for name, ended in ends.items()} == {t.name: (0, "") for t in trials}
    told = [json.loads((trial.folder / "told.json").read_text()) for trial in trials]
    for one in told:
        assert {one[name] for name in one if name.endswith("_THREADS")} == {"1"}
        assert sum(other["begun"] < one["begun"] < other["ended"] for other in told) <= 1
    assert [trial.log.read_text() for trial in trials] == [f"on node {platform.node()}\ndone\n"] * 3


def test_a_trial_whose_worker_is_killed_is_begun_again_once_its_process_is_gone(
    cluster: Cluster, tmp_path: Path
) -> None:
    (trial,) = trials_of(tmp_path, WAIT)

    def kill_then_go() -> None:
        wait_for(lambda: len(beginnings(trial)) == 1, 60)
        os.kill(parent_of(beginnings(trial)[0]), signal.SIGKILL)
        wait_for(lambda: len(beginnings(trial)) == 2, 60)
        (tmp_path / "go").touch()

    with ThreadPoolExecutor() as pool:
        killer = pool.submit(kill_then_go)
        (ended,) = run_all(cluster, [trial]).values()
        killer.result()
    assert (ended.code, ended.problem) == (0, ""), trial.log.read_text()


def test_a_trial_that_fails_is_not_begun_again_and_closing_ends_the_others(cluster: Cluster, tmp_path: Path) -> None:
    program = "import os\nif 'fold0' in os.getcwd():\n    raise SystemExit(3)\n" + INTERRUPTED
    trials = trials_of(tmp_path, program, 3)
    with closing(Ray(1, address=cluster.address).run(trials)) as ends:
        ended = next(ends)
    assert (ended.trial, ended.code, trials[0].log.read_text().count("on node")) == (trials[0], 3, 1)
    with closing(Ray(address=cluster.address).run([trials[0], *trials[1:]])) as ends:
        file = trials[1].folder / "pid"
        next(ends)
        wait_for(lambda: file.is_file() and bool(file.read_text()), 60)
    assert not is_running(int(file.read_text()))
    assert trials[1].log.read_text().endswith("interrupted\n")


def test_a_node_without_the_study_says_so_and_one_without_the_cpus_runs_nothing(
    cluster: Cluster, tmp_path: Path
) -> None:
    (trial,) = trials_of(tmp_path, TELL)
    lost = replace(trial, fold=9)
    (ended,) = run_all(cluster, [lost]).values()
    assert what_is_missing(ended) == (
        f"{lost.folder}: not on node {platform.node()}; expected a disk that all nodes share"
    )
    with pytest.raises(BundlerError, match="no node of Ray has 3 CPUs for the threads of some-fold0-seed7"):
        run_all(cluster, [replace(trial, threads=3)])


@pytest.mark.slow
def test_a_study_finishes_after_a_node_is_taken_away(cluster: Cluster, tmp_path: Path) -> None:
    cluster.ask("add")
    trials = trials_of(tmp_path, WAIT, 2, threads=2)

    def take_away() -> None:
        wait_for(lambda: all(len(beginnings(trial)) == 1 for trial in trials), 60)
        cluster.ask("remove")
        wait_for(lambda: not all(is_running(beginnings(trial)[0]) for trial in trials), 60)
        (tmp_path / "go").touch()

    with ThreadPoolExecutor() as pool:
        taker = pool.submit(take_away)
        ends = run_all(cluster, trials)
        taker.result()
    assert {(ended.code, ended.problem) for ended in ends.values()} == {(0, "")}
    assert sorted(len(beginnings(trial)) for trial in trials) == [1, 2]


def test_where_ray_is_missing_the_engine_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BundlerError, match=r"pip install -r requirements-scale\.txt"):
        Ray()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--address", "auto"], "--address auto: of a Ray cluster; expected --engine ray with it"),
        (
            ["--engine", "ray", "--address", "localhost"],
            "not of the form; expected HOST:PORT of a Ray",
        ),
        (
            ["--engine", "ray", "--address", "127.0.0.1:1"],
            "no Ray answers there (Connection refused)",
        ),
    ],
)
def test_an_address_is_that_of_a_cluster(
    arguments: list[str], message: str, tmp_path: Path, drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "ray" in arguments:
        pytest.importorskip("ray", reason=NEEDED)
    out = tmp_path / "out"
    assert cli.main(["cross-validate", str(drawn), "--folds", "2", "--out", str(out), *arguments]) == 2
    problem = capsys.readouterr().err
    assert message in problem
    assert problem.count("\n") == 1
    assert not out.exists()


@pytest.mark.slow
def test_a_ray_of_this_machine_has_its_cores_and_is_quiet(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason=NEEDED)
    path = os.pathsep.join([PYTHONPATH, str(HOUSE / "demo")])
    done = subprocess.run(
        [sys.executable, "-c", ONE, str(tmp_path)],
        cwd=HOUSE,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    log = tmp_path / "some-fold0-seed7" / "log.txt"
    assert done.stdout == f"some-fold0-seed7: handed to Ray; {log}\n"
