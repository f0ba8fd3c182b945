"""Trials, their engine and their study, with programs in the place of trainings; one study that trains for real."""

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bundler.errors import BundlerError
from bundler.kaggle.staging import stage_study
from bundler.rehearse.outputs import check_submission
from bundler.repository import HERE, Repository
from bundler.study import study
from bundler.study.engines import local
from bundler.study.engines.local import Local
from bundler.study.inputs import find_pretrained, link_inputs
from bundler.study.lock import LOCK_FILE, locked
from bundler.study.run import Ended, start, what_is_missing
from bundler.study.study import Request, claim, read_study, run_study, run_trials
from bundler.study.trial import LEFT_BY_TRIAL, TRIAL_FILE, State, Trial, read_state, state_of, write_state
from multihead.config import visible_gpus
from multihead.config.files import CHECKPOINT_FILE, MANIFEST_FILE, OUT_OF_FOLD_FILE, WEIGHTS_FILE
from multihead.config.known_tasks import task_text
from multihead.config.settings_file import read_settings
from multihead.scoring.out_of_fold import read_out_of_fold
from multihead_study import cli
from tests.conftest import HOUSE, PYTHONPATH
from tests.training_process import SETTINGS

TELL = """
import json, os, sys, time
folder = dict(part.split("=", 1) for part in sys.argv if "=" in part)["working"]
begun = time.monotonic()
time.sleep(0.3)
names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "CUDA_VISIBLE_DEVICES")
told = {name: os.environ.get(name) for name in names} | {"begun": begun, "ended": time.monotonic(), "argv": sys.argv}
open(folder + "/told.json", "w").write(json.dumps(told))
print("done")
"""
TASK = task_text("bengali")
SLEEP = "import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(600)\n"


def make_trials(folder: Path, program: str, number: int = 1) -> list[Trial]:
    """Return trials that run a program, in folders of their own."""
    script = folder / "script.py"
    script.write_text(program)
    parts = {"code": "a", "settings": "b", "data": "c"}
    trials = [Trial("some", fold, 7, folder, script, "", TASK, folder, 3, parts) for fold in range(number)]
    for trial in trials:
        write_state(trial, state_of(trial))
    return trials


def run_all(engine: Local, trials: Sequence[Trial]) -> dict[str, Ended]:
    with closing(engine.run(trials)) as ends:
        return {ended.trial.name: ended for ended in ends}


def wait_for(is_so: Callable[[], bool], seconds: float = 20) -> None:
    latest = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < latest
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_trials_run_so_many_at_a_time_each_with_its_threads_its_gpu_and_its_log(tmp_path: Path) -> None:
    trials = make_trials(tmp_path, TELL, 4)
    ends = run_all(Local(2, ["0", "1"]), trials)
    assert {name: ended.code for name, ended in ends.items()} == dict.fromkeys([t.name for t in trials], 0)
    told = [json.loads((trial.folder / "told.json").read_text()) for trial in trials]
    for one in told:
        assert {one[name] for name in one if name.endswith("_THREADS")} == {"3"}
        others = sum(other["begun"] < one["begun"] < other["ended"] for other in told)
        assert others <= 1
    assert [one["CUDA_VISIBLE_DEVICES"] for one in told[:2]] == ["0", "1"]
    assert {one["CUDA_VISIBLE_DEVICES"] for one in told[2:]} <= {"0", "1"}
    assert all(trial.log.read_text() == "done\n" for trial in trials)


def test_one_worker_runs_them_in_order_with_what_this_process_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    trials = make_trials(tmp_path, TELL, 2)
    run_all(Local(1), trials)
    first, second = (json.loads((trial.folder / "told.json").read_text()) for trial in trials)
    assert first["ended"] <= second["begun"]
    assert first["CUDA_VISIBLE_DEVICES"] == ""


def test_what_runs_is_ended_when_no_more_ends_are_wanted(tmp_path: Path) -> None:
    trials = make_trials(tmp_path, "import os\nif 'fold0' in os.getcwd():\n    raise SystemExit(3)\n" + SLEEP, 3)
    with closing(Local(2).run(trials)) as ends:
        ended = next(ends)
        file = trials[1].folder / "pid"
        wait_for(lambda: file.is_file() and bool(file.read_text()))
    assert (ended.trial, ended.code) == (trials[0], 3)
    assert not is_running(int(file.read_text()))
    assert not (trials[2].folder / "pid").exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux ends a process with its parent")
def test_a_trial_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    program = "\n".join(
        [
            "from tests.test_study import SLEEP, Local, Path, make_trials, run_all",
            f"run_all(Local(1), make_trials(Path({str(tmp_path)!r}), SLEEP))",
        ]
    )
    path = os.pathsep.join([PYTHONPATH, str(HOUSE / "demo")])
    parent = subprocess.Popen([sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": path}, cwd=HOUSE)
    file = tmp_path / "some-fold0-seed7" / "pid"
    wait_for(lambda: file.is_file() and bool(file.read_text()), 60)
    pid = int(file.read_text())
    assert is_running(pid)
    parent.kill()
    parent.wait()
    wait_for(lambda: not is_running(pid))


def test_visible_gpus_are_those_that_the_environment_names_or_the_driver_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for named, expected in {"1,3": ["1", "3"], "": [], "-1": [], "0,-1,2": ["0"]}.items():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
        assert visible_gpus() == expected
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus() == []
    (tmp_path / "nvidia-smi").write_text(
        "#!/bin/sh\necho 'GPU 0: Tesla T4 (UUID: GPU-1)'\necho 'GPU 1: Tesla T4 (UUID: GPU-2)'\n"
    )
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert visible_gpus() == ["0", "1"]


def test_a_folder_has_one_command_at_a_time(tmp_path: Path) -> None:
    with (
        locked(tmp_path),
        pytest.raises(BundlerError, match=rf"process {os.getpid()} on .+ is at work in it"),
        locked(tmp_path),
    ):
        pass
    with locked(tmp_path):
        pass


def test_a_folder_that_takes_no_lock_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(number: int) -> None:
        def flock(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", flock)

    refuse(errno.EAGAIN)  # held by a process that has not written its number yet
    with pytest.raises(BundlerError, match="another process is at work in it"), locked(tmp_path):
        pass
    refuse(errno.ENOLCK)
    with pytest.raises(BundlerError, match="its file system has no locks"), locked(tmp_path):
        pass
    (tmp_path / LOCK_FILE).unlink()
    (tmp_path / LOCK_FILE).mkdir()
    with pytest.raises(BundlerError, match=r"here it cannot \(Is a directory\)"), locked(tmp_path):
        pass


def test_a_trials_process_keeps_others_out_of_its_folder_as_long_as_it_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (trial,) = make_trials(tmp_path, SLEEP)
    first = start(trial)
    with pytest.raises(BundlerError, match=f"{trial.name}: process .* is at work in it"):
        start(trial, seconds=0)
    monkeypatch.setattr(local, "SECONDS_TO_BE_ALONE", 0)
    other = make_trials(tmp_path, SLEEP, 2)[1]
    with closing(Local(2).run([trial, other])) as ends:
        ended = next(ends)  # it stops no other
        assert (ended.trial, "is at work in it" in ended.problem) == (trial, True)
    first.kill()
    first.wait()
    second = start(trial)
    second.kill()
    second.wait()


def test_a_trial_that_was_begun_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (trial,) = make_trials(tmp_path, TELL)
    assert state_of(trial) == State("some", 0, 7, trial.fingerprint, trial.parts)
    other = replace(trial, parts={**trial.parts, "settings": "x", "data": "y"})
    assert other.fingerprint != trial.fingerprint
    with pytest.raises(BundlerError, match="was begun with other settings and data; give it as it was to go on"):
        state_of(other)
    whole = json.loads((trial.folder / TRIAL_FILE).read_text())
    for damaged in ("{", "[]", "{}", *(json.dumps(whole | {key: None}) for key in ("parts", "seconds", "fold"))):
        (trial.folder / TRIAL_FILE).write_text(damaged)
        with pytest.raises(BundlerError, match=r"not what a trial leaves .*; without it, the trial goes on from"):
            state_of(trial)
    (trial.folder / TRIAL_FILE).unlink()
    (trial.folder / TRIAL_FILE).mkdir()
    with pytest.raises(BundlerError, match=r"cannot be read \(Is a directory\)"):
        state_of(trial)


class Fake:
    """An engine that ends each trial at once with the code of its fold, and keeps which it was given."""

    def __init__(self, codes: Sequence[int]) -> None:
        self.codes, self.given, self.threads = codes, list[int](), 1

    def run(self, trials: Sequence[Trial]) -> Generator[Ended, None, None]:
        for trial in trials:
            self.given.append(trial.fold)
            yield Ended(trial, self.codes[trial.fold], 60.0)


def test_finished_trials_are_skipped_and_failed_ones_are_told_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(study, "what_is_missing", lambda ended: "broken" if ended.code else "")
    trials = make_trials(tmp_path, "", 3)
    for trial in trials:
        leave_files(trial)
    engine = Fake([0, 1, 0])
    with pytest.raises(BundlerError, match="1 of 3 trials are not finished; the same command goes on with them"):
        run_trials(engine, {trial: state_of(trial) for trial in trials})
    assert engine.given == [0, 1, 2]
    assert "some-fold1-seed7: broken after 1.0 minutes" in capsys.readouterr().out
    again = Fake([0, 0, 0])
    run_trials(again, {trial: state_of(trial) for trial in trials})
    assert again.given == [1]
    assert [read_state(trial.folder / TRIAL_FILE).seconds for trial in trials] == [60, 120, 60]
    assert "2 of 3 trials are finished" in capsys.readouterr().out
    (trials[2].folder / WEIGHTS_FILE).unlink()
    assert [state_of(trial).is_finished for trial in trials] == [True, True, False]


def leave_files(trial: Trial) -> None:
    for name in LEFT_BY_TRIAL:
        (trial.folder / name).touch()


def test_a_failed_trial_is_told_by_the_last_line_of_its_log(tmp_path: Path) -> None:
    (trial,) = make_trials(tmp_path, "print('first')\nraise SystemExit('error: the disk is full')")
    (ended,) = run_all(Local(1), [trial]).values()
    assert what_is_missing(ended) == "exit code 1: error: the disk is full"
    assert what_is_missing(Ended(trial, -9, 1)) == "signal 9: error: the disk is full"
    assert MANIFEST_FILE in what_is_missing(Ended(trial, 0, 1))


def test_a_folder_that_holds_something_else_becomes_no_study(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years")
    with pytest.raises(BundlerError, match="holds files, but no study"):
        claim(tmp_path)
    claim(tmp_path / "new" / "study")
    assert (tmp_path / "new" / "study").is_dir()


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SETTINGS)
    return path


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[Trial]:
    """The trials of a study that runs none."""
    trials: list[Trial] = []

    def keep(_engine: object, states: dict[Trial, State]) -> None:
        trials[:] = states
        for trial, state in states.items():
            write_state(trial, state)

    monkeypatch.setattr(study, "run_trials", keep)
    return trials


def test_the_trials_are_all_folds_of_each_seed_and_their_settings_say_so(
    tmp_path: Path, drawn: Path, recipe: Path, planned: list[Trial]
) -> None:
    request = Request(drawn, tmp_path / "out", 3, 2, [recipe], ["seed=4", "epochs=2"], threads=1)
    run_study(HERE, request, Local)
    assert [trial.name for trial in planned] == [f"small-fold{k}-seed{s}" for s in (4, 5) for k in range(3)]
    runs = [read_settings(trial.folder / "settings.toml").run for trial in planned]
    assert [(run.seed, run.study_fold, run.study_folds, run.epochs) for run in runs] == [
        (s, k, 3, 2) for s in (4, 5) for k in range(3)
    ]
    assert len({trial.fingerprint for trial in planned}) == 6
    assert len({trial.parts["code"] for trial in planned}) == len({trial.parts["data"] for trial in planned}) == 1
    with pytest.raises(BundlerError, match="has 3 folds of bengali, drawn with study_seed 0"):
        run_study(HERE, request._replace(folds=4), Local)
    with pytest.raises(BundlerError, match=r"was begun with other settings \(epochs = 2, here 3\); give it"):
        run_study(HERE, request._replace(sets=["seed=4", "epochs=3"]), Local)
    run_study(HERE, request._replace(seeds=3, threads=0), Local)  # the threads are those of the study
    assert len(planned) == 9


def test_the_first_folds_alone_are_trained_and_more_of_them_later(
    tmp_path: Path, drawn: Path, recipe: Path, planned: list[Trial]
) -> None:
    out = tmp_path / "out"
    request = Request(drawn, out, 4, 2, [recipe], threads=1, trained=2)
    run_study(HERE, request, Local)
    assert [trial.name for trial in planned] == [f"small-fold{k}-seed{s}" for s in (0, 1) for k in range(2)]
    assert {read_settings(trial.folder / "settings.toml").run.study_folds for trial in planned} == {4}
    run_study(HERE, request._replace(trained=3), Local)
    assert len(planned) == 6
    run_study(HERE, request._replace(trained=0), Local)  # as many as it has
    assert len(planned) == 6
    assert read_study(out).trained == 3
    run_study(HERE, request, Local)  # joined without the third, which stays where it is
    assert read_study(out).trained == 2
    assert (out / "small-fold2-seed0").is_dir()


def test_more_folds_than_there_are_cannot_be_trained(
    tmp_path: Path, drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert cli.main(["cross-validate", str(drawn), "--folds", "3", "--train-folds", "4", "--out", str(out)]) == 2
    assert capsys.readouterr().err == "error: --train-folds 4: of 3; expected 2 to 3\n"
    with pytest.raises(BundlerError, match="--train-folds 1: of 3; expected 2 to 3"):
        run_study(HERE, Request(drawn, out, 3, trained=1), Local)
    assert not out.exists()


@pytest.mark.parametrize("trained", [1, 4, -2, 2.5, "2", None])
def test_a_study_of_folds_that_there_are_not_is_damaged(tmp_path: Path, trained: object) -> None:
    values = {"task": "bengali", "folds": 3, "study_seed": 0, "group_column": "", "threads": 1, "recipes": ["a"]}
    (tmp_path / study.STUDY_FILE).write_text(json.dumps(values | {"trained": 2}))
    assert read_study(tmp_path).trained == 2
    (tmp_path / study.STUDY_FILE).write_text(json.dumps(values | {"trained": trained}))
    with pytest.raises(BundlerError, match=r"study\.json: not what a study leaves"):
        read_study(tmp_path)


def test_a_recipe_that_is_added_has_the_folds_of_the_study_and_one_with_more_makes_it_larger(
    tmp_path: Path, drawn: Path, recipe: Path, planned: list[Trial]
) -> None:
    other = recipe.with_name("other.toml")
    other.write_text(recipe.read_text())
    first = Request(drawn, tmp_path / "out", 4, recipes=[recipe], threads=1)
    second = first._replace(recipes=[other])
    run_study(HERE, first._replace(trained=2), Local)
    run_study(HERE, second, Local)
    assert [trial.name for trial in planned] == ["other-fold0-seed0", "other-fold1-seed0"]
    run_study(HERE, second._replace(trained=3), Local)
    assert read_study(first.out).trained == 3  # joining leaves the first out, which has no trial of the third fold
    run_study(HERE, first, Local)
    assert [trial.name for trial in planned] == ["small-fold0-seed0", "small-fold1-seed0", "small-fold2-seed0"]


def test_a_study_of_before_there_was_a_choice_has_all_folds(
    tmp_path: Path, drawn: Path, recipe: Path, planned: list[Trial]
) -> None:
    request = Request(drawn, tmp_path / "out", 3, recipes=[recipe], threads=1)
    run_study(HERE, request, Local)
    file = tmp_path / "out" / study.STUDY_FILE
    values = json.loads(file.read_text())
    del values["trained"]
    file.write_text(json.dumps(values))
    run_study(HERE, request, Local)
    assert read_study(tmp_path / "out").trained == 3


def linked(folder: Path, new: Path) -> Path:
    """Return a new folder with links to the files of another one."""
    new.mkdir()
    for path in folder.iterdir():
        (new / path.name).symlink_to(path)
    return new


def test_the_fingerprint_follows_the_files_to_train_on_and_no_others(
    tmp_path: Path, drawn: Path, recipe: Path, planned: list[Trial]
) -> None:
    data = linked(drawn, tmp_path / "data")
    request = Request(data, tmp_path / "out", 2, recipes=[recipe], threads=1)
    run_study(HERE, request, Local)
    (data / "notes.txt").write_text("of a person")
    run_study(HERE, request, Local)
    (data / "train.csv").unlink()
    (data / "train.csv").write_text((drawn / "train.csv").read_text() + "\n")
    with pytest.raises(BundlerError, match="was begun with other data"):
        run_study(HERE, request, Local)


def test_a_study_that_was_moved_goes_on_where_it_is(
    tmp_path: Path, drawn: Path, recipe: Path, planned: list[Trial]
) -> None:
    request = Request(drawn, tmp_path / "out", 2, recipes=[recipe], threads=1)
    run_study(HERE, request, Local)
    write_state(planned[0], replace(state_of(planned[0]), is_finished=True))
    leave_files(planned[0])
    (tmp_path / "out").rename(tmp_path / "moved")
    run_study(HERE, request._replace(out=tmp_path / "moved"), Local)
    assert [state_of(trial).is_finished for trial in planned] == [True, False]
    assert planned[0].folder == tmp_path / "moved" / "small-fold0-seed0"
    texts = [path.read_text() for path in (tmp_path / "moved").glob("*/*") if path.is_file()]
    assert not any(str(tmp_path) in text for text in texts)


def test_pretrained_weights_are_found_where_the_repository_is_now(tmp_path: Path) -> None:
    (trial,) = make_trials(tmp_path, TELL)
    settings = read_settings(None, ["pretrained=some.h5"])
    with pytest.raises(BundlerError, match=r"pretrained = 'some\.h5': no some\.h5 in dataset_meta/; .*fetch-weights"):
        find_pretrained(Repository(tmp_path), settings)
    for place in ("before", "now"):
        dataset = tmp_path / place / "dataset_meta"
        dataset.mkdir(parents=True)
        (dataset / "some.h5").write_text(place)
        pretrained = find_pretrained(Repository(tmp_path / place), settings)
        link_inputs(pretrained, [trial])
        assert (trial.folder / "some.h5").read_text() == place
        (dataset / "some.h5").unlink()


def test_weights_of_an_earlier_training_come_to_each_trial_with_their_manifest(tmp_path: Path) -> None:
    (trial,) = make_trials(tmp_path, TELL)
    dataset = tmp_path / "dataset_meta"
    dataset.mkdir()
    (dataset / "first.model.weights.h5").write_text("weights")
    settings = read_settings(None, ["pretrained=first.model.weights.h5"])
    with pytest.raises(BundlerError, match=r"no first\.manifest\.json in dataset_meta/; .*stage FOLDER --name first"):
        find_pretrained(Repository(tmp_path), settings)
    (dataset / "first.manifest.json").write_text("{}")
    link_inputs(find_pretrained(Repository(tmp_path), settings), [trial])
    assert (trial.folder / "first.manifest.json").read_text() == "{}"


def test_trials_are_given_further_images_and_known_by_them(
    tmp_path: Path, drawn: Path, recipe: Path, planned: list[Trial]
) -> None:
    more = tmp_path / "somewhere" / "more"
    shutil.copytree(drawn, more)
    source = f'further_images=[{{folder="{more}", origin="drawn", licence="CC0"}}]'
    request = Request(drawn, tmp_path / "out", 2, recipes=[recipe], threads=1, sets=[source])
    run_study(HERE, request, Local)
    (first, _) = planned
    assert (first.folder / "more").resolve() == more
    assert tomllib.loads(first.settings)["run"]["further_images"][0]["folder"] == "more"
    table = more / "train.csv"
    table.write_text(table.read_text().replace("1,1", "1,2", 1))
    with pytest.raises(BundlerError, match="was begun with other further images"):
        run_study(HERE, request, Local)
    with pytest.raises(BundlerError, match="was begun with other further images"):
        run_study(HERE, request._replace(is_data_here=False), Local)
    shutil.rmtree(more)
    with pytest.raises(BundlerError, match=f"further_images: {more}: no such folder"):
        run_study(HERE, request, Local)
    more = more.with_name("report")
    more.mkdir()
    taken = f'further_images=[{{folder="{more}", origin="drawn", licence="CC0"}}]'
    with pytest.raises(BundlerError, match="report: called as a training's report; expected another name"):
        run_study(HERE, request._replace(sets=[taken]), Local)


def test_a_recipe_has_a_name_that_its_weights_can_have_and_no_trials_of_its_own(
    tmp_path: Path, drawn: Path, recipe: Path
) -> None:
    odd = tmp_path / "b0.v2.toml"
    odd.write_text(recipe.read_text())
    other = tmp_path / "other" / recipe.name
    other.parent.mkdir()
    other.write_text(recipe.read_text())
    unlike = tmp_path / "unlike.toml"
    unlike.write_text(recipe.read_text() + "study_seed = 3\n")
    for recipes, sets, message in (
        ([odd], [], "its name becomes that of weights"),
        ([recipe], ["trials=[{seed = 1}]"], "trials are those of one kernel"),
        ([recipe, other], [], f"called {recipe.stem}, as is"),
        ([recipe, unlike], [], "study_seed = 3, in .* 0; a study has one for all"),
    ):
        with pytest.raises(BundlerError, match=message):
            run_study(HERE, Request(drawn, tmp_path / "out", 2, recipes=recipes, sets=sets), Local)
    assert not (tmp_path / "out").exists()


def test_a_column_of_groups_that_is_not_there_is_said_before_any_training(
    tmp_path: Path, drawn: Path, recipe: Path
) -> None:
    request = Request(drawn, tmp_path / "out", 2, recipes=[recipe], sets=["group_column=patient"])
    with pytest.raises(BundlerError, match=r"group_column = 'patient': no column of .*train\.csv; it has image_id"):
        run_study(HERE, request, Local)
    assert not (tmp_path / "out").exists()


def test_what_decides_nothing_may_change_and_a_label_may_not(
    tmp_path: Path, drawn: Path, recipe: Path, planned: list[Trial]
) -> None:
    data = linked(drawn, tmp_path / "data")
    request = Request(data, tmp_path / "out", 2, recipes=[recipe], threads=1)
    run_study(HERE, request, Local)
    run_study(HERE, request._replace(sets=["time_budget_minutes=600", "workers=2"]), Local)
    assert "time_budget_minutes = 600" in (planned[0].folder / "settings.toml").read_text()
    labels = (drawn / "train.csv").read_text()
    (data / "train.csv").unlink()
    (data / "train.csv").write_text(labels[:-2] + ("8" if labels[-2] != "8" else "7") + labels[-1])  # as long
    with pytest.raises(BundlerError, match="was begun with other data"):
        run_study(HERE, request, Local)


def test_what_cannot_be_is_refused_before_a_folder_is_made(tmp_path: Path, drawn: Path, recipe: Path) -> None:
    for request, message in (
        (Request(tmp_path, tmp_path / "out", 2, recipes=[recipe]), "not the files of bengali"),
        (Request(drawn, tmp_path / "out", 2, recipes=[recipe], sets=["schedule=plateau"]), "in a study expected"),
    ):
        with pytest.raises(Exception, match=message):
            run_study(HERE, request, Local)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_study_with_a_trial_killed_in_the_middle_ends_with_the_bits_of_an_unbroken_one(
    tmp_path: Path, drawn: Path, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"

    def arguments(out: Path) -> list[str]:
        return [
            "cross-validate",
            str(drawn),
            "--folds",
            "2",
            "--out",
            str(out),
            "--settings",
            str(recipe),
            "--threads",
            "1",
        ]

    assert cli.main(arguments(whole)) == 0
    printed = capsys.readouterr().out
    assert "192 images out of fold" in printed
    process = subprocess.Popen(
        [sys.executable, "-m", "multihead_study", *arguments(broken)],
        env=os.environ | {"PYTHONPATH": str(HOUSE / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    first = broken / "small-fold0-seed0"
    wait_for((first / CHECKPOINT_FILE).is_file, 120)
    kill_what_works_in(first)
    out, problem = process.communicate(timeout=200)
    assert "small-fold0-seed0: signal 9" in out
    assert (process.returncode, problem) == (
        2,
        "error: 1 of 2 trials are not finished; the same command goes on with them\n",
    )
    assert cli.main(arguments(broken)) == 0
    again = capsys.readouterr().out
    assert "1 of 2 trials are finished" in again
    assert "going on from" in (first / "log.txt").read_text()
    for name in ("small-fold0-seed0", "small-fold1-seed0"):
        for file in (WEIGHTS_FILE, OUT_OF_FOLD_FILE):
            assert (whole / name / file).read_bytes() == (broken / name / file).read_bytes()
    assert again.partition("bengali:")[2] == printed.partition("bengali:")[2].replace(str(whole), str(broken))
    predicted = predict_with(whole, drawn, tmp_path)
    assert check_submission(predicted, drawn / "sample_submission.csv") == 36
    (whole / "small-fold1-seed0" / OUT_OF_FOLD_FILE).unlink()  # the package makes it anew from its checkpoint
    state = whole / "small-fold1-seed0" / TRIAL_FILE
    state.write_text(state.read_text().replace("true", "false"))
    assert cli.main(arguments(whole)) == 0
    anew, before = (read_out_of_fold(study / "small-fold1-seed0" / OUT_OF_FOLD_FILE) for study in (whole, broken))
    for head, rows in before.probabilities.items():
        assert np.array_equal(anew.probabilities[head], rows)


def predict_with(study: Path, data: Path, folder: Path) -> Path:
    """Return the submission of a study's ensemble, once it is staged."""
    for name in ("dataset", "working"):
        (folder / name).mkdir()
    stage_study(study, folder / "dataset")
    places = {"data": data, "weights": folder / "dataset", "working": folder / "working"}
    command = [sys.executable, "-m", "multihead", "predict"]
    for key, value in places.items():
        command += ["--set", f"{key}={value}"]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": PYTHONPATH}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "small-fold0-seed0, epoch 3" in done.stdout + done.stderr
    return folder / "working" / "submission.csv"


def kill_what_works_in(folder: Path) -> None:
    """Kill the process whose working folder this is."""
    for path in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if path.readlink() == folder:
                os.kill(int(path.parent.name), signal.SIGKILL)
        except OSError:
            continue
