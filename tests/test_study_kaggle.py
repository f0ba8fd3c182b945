"""Trials as kernels: the real kaggle client against a stand-in of Kaggle, and kernels that left what others trained."""

import ast
import io
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from slugify import slugify

from bundler.check.preflight import preflight
from bundler.errors import BundlerError, ClientError
from bundler.kaggle import client, kernels, request
from bundler.kaggle.staging import stage_study
from bundler.metadata import NOTEBOOK, TRAIN_FILE, read_metadata, set_owner
from bundler.repository import KERNEL_METADATA, Repository
from bundler.study.engines import kaggle as engine
from bundler.study.engines.kaggle import KERNEL_FOLDER, MAX_SLUG, PULLED_FILE, Kaggle, slug_for
from bundler.study.run import Ended, what_is_missing
from bundler.study.trial import TRIAL_FILE, Trial, read_state, state_of, write_state
from multihead.config.ensemble import read_ensemble
from multihead.config.files import CHECKPOINT_FILE, MANIFEST_FILE, OUT_OF_FOLD_FILE, WEIGHTS_FILE
from multihead.config.known_tasks import task_text
from multihead.config.settings_file import read_settings
from multihead_study import cli
from tests import kaggle_standin
from tests.conftest import clone
from tests.kaggle_standin import USER
from tests.project_copy import change
from tests.test_study_answers import leave_trial, random_fold
from tests.training_process import SETTINGS

SESSIONS = "Maximum batch GPU session count of 2 reached"
QUOTA = "Maximum weekly GPU quota of 30.00 hours reached"
LOG = [{"stream_name": "stdout", "time": 2.5, "data": "epoch 1\n"}, {"time": 90.0, "data": "epoch 2\n"}]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A fresh clone with an owner, which the command works in."""
    folder = clone(tmp_path / "house")
    set_owner(folder, USER)
    monkeypatch.setattr(cli, "HERE", Repository(folder))
    return Repository(folder)


@pytest.fixture
def quick(kaggle: kaggle_standin.Kaggle, monkeypatch: pytest.MonkeyPatch) -> kaggle_standin.Kaggle:
    """The same Kaggle, with the client in this process: a process of its own takes it 0.3 s to start."""

    def run(command: Sequence[str], *, input: str, **_: Any) -> "subprocess.CompletedProcess[str]":  # noqa: A002 - its name
        return subprocess.CompletedProcess(command, 0, json.dumps(request.answer_to(json.loads(input))), "")

    parts = SimpleNamespace(run=run, TimeoutExpired=subprocess.TimeoutExpired)
    monkeypatch.setattr(client, "subprocess", parts)
    return kaggle


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "require_preflight", lambda *_: None)


def left_by(folder: Path, fold: int, epoch: int = 2) -> dict[str, bytes]:
    """Return the files that a training of a fold leaves."""
    trial = leave_trial(folder / f"epoch{epoch}", fold, 0, random_fold(fold))
    (trial / TRIAL_FILE).unlink()
    manifest = json.loads((trial / MANIFEST_FILE).read_text()) | {"epoch": epoch}
    (trial / MANIFEST_FILE).write_text(json.dumps(manifest))
    checkpoint = io.BytesIO()
    with zipfile.ZipFile(checkpoint, "w") as file:
        file.writestr("epoch", str(epoch))
    files = {path.name: path.read_bytes() for path in trial.iterdir()}
    return files | {CHECKPOINT_FILE: checkpoint.getvalue(), "report/index.html": b"<!doctype html>"}


def arguments(folder: Path, folds: int) -> list[str]:
    """Return the command of a study whose data at home is a table and no images."""
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / "train.csv").write_text("image_id\n")
    (folder / "small.toml").write_text(SETTINGS + "time_budget_minutes = 600\n")
    command = ["cross-validate", str(folder / "data"), "--folds", str(folds), "--out", str(folder / "study")]
    return [*command, "--settings", str(folder / "small.toml"), "--set", "epochs=2", "--engine", "kaggle"]


def settings_in(script: str) -> dict[str, dict[str, object]]:
    """Return the settings that a built script carries."""
    assigned = {node.targets[0].id: node.value for node in ast.parse(script).body if isinstance(node, ast.Assign)
                and isinstance(node.targets[0], ast.Name)}  # fmt: skip
    return tomllib.loads(ast.literal_eval(assigned["SETTINGS"]))


@pytest.mark.slow
def test_five_kernels_two_at_a_time_one_of_them_refused_for_quota_are_pulled_and_joined(
    tmp_path: Path,
    house: Repository,
    kaggle: kaggle_standin.Kaggle,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kaggle.kernel_states, kaggle.room, kaggle.log = ["RUNNING", "COMPLETE"], 2, json.dumps(LOG)
    kaggle.refusals = {"fold3": f"{QUOTA}."}
    kaggle.quota = {
        "quotaRefreshTime": "2026-12-05T00:00:00Z",
        "gpuQuota": {"timeUsed": "108000s", "timeReserved": "0s", "totalTimeAllowed": "108000s"},
    }
    kaggle.outputs = {f"fold{fold}": left_by(tmp_path / "left", fold) for fold in range(5)}
    assert cli.main(arguments(tmp_path, 5)) == 0
    printed = capsys.readouterr().out
    assert "5 folds, 5 trials, 600 images out of fold" in printed
    assert f"Kaggle: {SESSIONS}; trials that wait for room: 3\n" in printed
    said = [line for line in printed.splitlines() if QUOTA in line]
    assert said == [
        f"Kaggle: {QUOTA} (0.0 of 30.0 GPU hours left, new ones at 2026-12-05 00:00 UTC); trials that wait for room: 2"
    ]
    assert "small-fold4-seed0: finished after 1.5 minutes" in printed
    assert printed.endswith(f"\nnext: build_kernel.py stage {tmp_path / 'study'}\n")

    assert [len(versions) for versions in kaggle.kernels.values()] == [1] * 5
    for fold, (kernel, (saved,)) in enumerate(kaggle.kernels.items()):
        trial = tmp_path / "study" / f"small-fold{fold}-seed0"
        assert re.fullmatch(rf"{USER}/multihead-train-small-fold{fold}-seed0-[0-9a-f]{{6}}", kernel)
        assert slugify(saved["newTitle"]) == kernel.partition("/")[2]
        assert (saved["enableGpu"], saved["enableInternet"]) == (True, False)
        assert (saved["competitionDataSources"], saved["kernelDataSources"]) == (["bengaliai-cv19"], [])
        run = settings_in(saved["text"])["run"]
        assert (run["study_fold"], run["study_folds"], run["epochs"]) == (fold, 5, 2)
        assert {run.get(key, "") for key in ("data", "weights", "working")} == {""}
        for name, content in kaggle.outputs[f"fold{fold}"].items():
            assert (trial / name).read_bytes() == content
        assert (trial / "log.txt").read_text() == "epoch 1\nepoch 2\n"
        assert not list(trial.glob("*.log"))
        assert read_state(trial / TRIAL_FILE).is_finished
    assert cli.main(arguments(tmp_path, 5)) == 0
    assert "5 of 5 trials are finished" in capsys.readouterr().out
    assert [len(versions) for versions in kaggle.kernels.values()] == [1] * 5
    stage_study(tmp_path / "study", house.dataset)
    assert list(read_ensemble(house.dataset).members) == [f"small-fold{fold}-seed0" for fold in range(5)]


def test_a_command_that_is_killed_in_the_middle_of_a_push_leaves_nothing_to_push_twice(
    tmp_path: Path,
    house: Repository,
    unchecked: None,
    kaggle: kaggle_standin.Kaggle,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kaggle.kernel_states = ["RUNNING"]
    kaggle.outputs = {f"fold{fold}": left_by(tmp_path / "left", fold) for fold in range(2)}
    program = (
        "import sys; from multihead_study import cli; cli.require_preflight = lambda *_: None; cli.main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", program, *arguments(tmp_path, 2)]
    process = subprocess.Popen(command, cwd=house.root, env=os.environ | {"PYTHONPATH": "src"})

    def kill_at_the_second(kernel: str) -> None:
        if "fold1" in kernel:
            process.kill()
            process.wait()

    kaggle.on_push = kill_at_the_second
    assert process.wait(120) == -signal.SIGKILL
    assert [len(versions) for versions in kaggle.kernels.values()] == [1, 1]
    kaggle.kernel_states = ["COMPLETE"]
    for kernel in kaggle.kernels:
        kaggle.ahead[kernel] = ["RUNNING", "COMPLETE"]
    assert cli.main(arguments(tmp_path, 2)) == 0
    assert [len(versions) for versions in kaggle.kernels.values()] == [1, 1]
    assert len(kaggle.sent("SaveKernel")) == 2
    printed = capsys.readouterr().out
    for fold, kernel in enumerate(kaggle.kernels):
        assert f"small-fold{fold}-seed0: {kernel} was pushed before\n" in printed
    assert "2 folds, 2 trials, 240 images out of fold" in printed


def make_trials(folder: Path, number: int = 1) -> list[Trial]:
    """Return trials of two epochs as a study begins them, without one."""
    settings, parts = (
        SETTINGS.replace("epochs = 3", "epochs = 2\ntime_budget_minutes = 600"),
        {"code": "a", "settings": "b", "data": "c"},
    )
    rest = (settings, task_text("bengali"), folder, 1, parts)
    trials = [Trial("small", fold, 0, folder, folder / "small.py", *rest) for fold in range(number)]
    for trial in trials:
        write_state(trial, state_of(trial))
    return trials


def run_all(house: Repository, trials: Sequence[Trial]) -> list[Ended]:
    with closing(Kaggle(house).run(trials)) as ends:
        return list(ends)


def test_a_refusal_and_a_run_that_fails_are_told_and_the_next_command_tries_again(
    tmp_path: Path, house: Repository, quick: kaggle_standin.Kaggle
) -> None:
    quick.kernel_states, quick.failure_message = ["ERROR"], "Your notebook tried to allocate more memory."
    quick.refusals = {"fold0": "You have to verify your phone number"}
    quick.output = left_by(tmp_path / "left", 0)
    first, second = make_trials(tmp_path, 2)
    refused, failed = run_all(house, [first, second])
    assert what_is_missing(refused) == "kaggle push: You have to verify your phone number"
    assert re.search(r" version 1: error: Your notebook tried to allocate more memory\.$", what_is_missing(failed))
    assert second.log.read_text().strip().endswith("what it printed")
    quick.kernel_states = ["COMPLETE"]
    assert [ended.problem for ended in run_all(house, [second])] == [""]
    assert [[saved["kernelDataSources"] for saved in versions] for versions in quick.kernels.values()] == [[[], []]]


def test_a_training_that_its_time_budget_ended_goes_on_from_its_own_output(
    tmp_path: Path, house: Repository, quick: kaggle_standin.Kaggle
) -> None:
    (trial,) = make_trials(tmp_path)
    quick.kernel_states, quick.output = ["COMPLETE"], left_by(tmp_path / "left", 0, epoch=1)
    assert [what_is_missing(ended) for ended in run_all(house, [trial])] == ["stopped after epoch 1 of 2"]
    quick.output = left_by(tmp_path / "left", 0)
    assert [what_is_missing(ended) for ended in run_all(house, [trial])] == [""]
    ((kernel, versions),) = quick.kernels.items()
    assert [saved["kernelDataSources"] for saved in versions] == [[], [kernel]]
    house.metadata("train").write_bytes((trial.folder / KERNEL_FOLDER / KERNEL_METADATA).read_bytes())
    assert preflight(house.root, "push train") == []


def test_closing_the_engine_ends_no_kernel_and_says_which_are_still_there(
    tmp_path: Path, house: Repository, quick: kaggle_standin.Kaggle, capsys: pytest.CaptureFixture[str]
) -> None:
    quick.output = left_by(tmp_path / "left", 0)
    quick.kernel_states = ["RUNNING"]
    quick.on_push = lambda kernel: quick.ahead.update({kernel: ["COMPLETE"]}) if "fold0" in kernel else None
    trials = make_trials(tmp_path, 3)
    with closing(Kaggle(house, most=2).run(trials)) as ends:
        assert next(ends).trial == trials[0]
    first, second = quick.kernels
    assert capsys.readouterr().out.endswith(f"still at Kaggle: {second}; the same command pulls what they leave\n")
    assert (trials[0].folder / KERNEL_FOLDER / PULLED_FILE).is_file()
    assert quick.running == [second]
    assert first != second


def test_quota_is_asked_for_again_until_there_is_room(
    tmp_path: Path,
    house: Repository,
    quick: kaggle_standin.Kaggle,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "RETRY_SECONDS", 0)
    quick.output, quick.kernel_states = left_by(tmp_path / "left", 0), ["COMPLETE"]
    quick.refusals = {"fold0": f"{QUOTA}.", "-train-": f"{QUOTA}."}  # twice
    assert [ended.problem for ended in run_all(house, make_trials(tmp_path))] == [""]
    assert len(quick.sent("SaveKernel")) == 3
    printed = capsys.readouterr().out
    assert printed.count(QUOTA) == 1
    assert f"Kaggle: {QUOTA}; trials that wait" in printed  # it does not say how many hours there are


def test_a_trial_is_pushed_as_a_script_though_the_train_kernel_is_a_notebook(
    tmp_path: Path, house: Repository, quick: kaggle_standin.Kaggle
) -> None:
    quick.output, quick.kernel_states = left_by(tmp_path / "left", 0), ["COMPLETE"]
    change(house.root, TRAIN_FILE, kernel_type=NOTEBOOK, code_file="train_kernel.ipynb")
    assert [ended.problem for ended in run_all(house, make_trials(tmp_path))] == [""]
    (sent,) = quick.sent("SaveKernel")
    assert sent["kernelType"] == "script"
    ast.parse(sent["text"])


@pytest.mark.parametrize("damaged", [WEIGHTS_FILE, OUT_OF_FOLD_FILE])
def test_a_download_that_is_damaged_is_pulled_again_by_the_next_command(
    tmp_path: Path, house: Repository, quick: kaggle_standin.Kaggle, monkeypatch: pytest.MonkeyPatch, damaged: str
) -> None:
    monkeypatch.setattr(client, "MAX_FAILURES", 1)
    (trial,) = make_trials(tmp_path)
    whole, quick.kernel_states = left_by(tmp_path / "left", 0), ["COMPLETE"]
    quick.output = whole | {damaged: b"<html>"}
    assert [damaged in what_is_missing(ended) for ended in run_all(house, [trial])] == [True]
    quick.output = whole
    assert [ended.problem for ended in run_all(house, [trial])] == [""]
    assert len(quick.sent("SaveKernel")) == 1


def test_a_connection_that_is_lost_now_and_then_costs_nothing(
    tmp_path: Path, house: Repository, quick: kaggle_standin.Kaggle, monkeypatch: pytest.MonkeyPatch
) -> None:
    (trial,) = make_trials(tmp_path)
    quick.output, quick.kernel_states = left_by(tmp_path / "left", 0), ["COMPLETE"]
    real, failures = kernels.kernel_status, [ClientError("no connection")] * (client.MAX_FAILURES - 1)

    def status(run: kernels.Run) -> client.Status:
        if failures:
            raise failures.pop()
        return real(run)

    monkeypatch.setattr(kernels, "kernel_status", status)
    assert [ended.problem for ended in run_all(house, [trial])] == [""]


@pytest.mark.parametrize("recipe", ["b0", "a.Very_long recipe" * 5, "größer", "--"])
def test_a_slug_is_one_that_kaggle_takes_and_of_no_other_trial(tmp_path: Path, recipe: str) -> None:
    def trial(fold: int, code: str) -> Trial:
        return Trial(recipe, fold, 11, tmp_path, tmp_path, "", "", tmp_path, 1, {"code": code})

    slugs = {slug_for("multihead-train", trial(fold, code)) for fold in (1, 19) for code in "ab"}
    assert len(slugs) == 4
    for slug in slugs:
        assert len(slug) <= MAX_SLUG
        assert slugify(slug.replace("-", " ")) == slug


def test_data_that_nothing_attached_could_hold_is_missed_before_a_push(
    tmp_path: Path, house: Repository, unchecked: None, capsys: pytest.CaptureFixture[str]
) -> None:
    metadata = house.metadata("train")
    metadata.write_text(metadata.read_text().replace("bengaliai-cv19", "titanic"))
    assert cli.main(arguments(tmp_path, 2)) == 2
    assert "kernel-metadata.json: attaches no bengaliai-cv19, where bengali comes from" in capsys.readouterr().err


@pytest.mark.parametrize("minutes", [0, 720])
def test_a_training_that_kaggle_would_end_before_its_budget_does_is_not_pushed(
    tmp_path: Path, house: Repository, quick: kaggle_standin.Kaggle, minutes: int
) -> None:
    (trial,) = make_trials(tmp_path)
    write_state(replace(trial, settings=trial.settings.replace("= 600", f"= {minutes}")), state_of(trial))
    with pytest.raises(BundlerError, match=f"time_budget_minutes = {minutes}: Kaggle ends a session after 720"):
        run_all(house, [trial])
    assert not quick.kernels


def test_a_second_session_that_is_refused_is_pushed_again_by_the_next_command(
    tmp_path: Path, house: Repository, quick: kaggle_standin.Kaggle
) -> None:
    (trial,) = make_trials(tmp_path)
    quick.kernel_states, quick.output = ["COMPLETE"], left_by(tmp_path / "left", 0, epoch=1)
    run_all(house, [trial])
    quick.answers["SaveKernel"] = kaggle_standin.refusal(400, "too large")
    assert [ended.problem for ended in run_all(house, [trial])] == ["kaggle push: too large"]
    quick.answers.clear()
    quick.output = left_by(tmp_path / "left", 0)
    assert [what_is_missing(ended) for ended in run_all(house, [trial])] == [""]
    assert [len(versions) for versions in quick.kernels.values()] == [2]


def test_a_second_session_that_brings_the_same_checkpoint_is_pulled_once_and_pushed_again(
    tmp_path: Path, house: Repository, quick: kaggle_standin.Kaggle
) -> None:
    (trial,) = make_trials(tmp_path)
    quick.kernel_states, quick.output = ["COMPLETE"], left_by(tmp_path / "left", 0, epoch=1)
    for _ in range(2):
        assert [what_is_missing(ended) for ended in run_all(house, [trial])] == ["stopped after epoch 1 of 2"]
    downloads = [sent["versionLabel"] for sent in quick.sent("ListKernelSessionOutput")]
    assert downloads == ["v1", "v1", "v2", "v2"]  # its files, then its log


@pytest.mark.parametrize("has_arrived", [False, True])
def test_after_a_run_that_failed_a_push_without_an_answer_is_asked_for_as_the_next_version(
    tmp_path: Path, house: Repository, quick: kaggle_standin.Kaggle, has_arrived: bool
) -> None:
    (trial,) = make_trials(tmp_path)
    quick.kernel_states, quick.output = ["ERROR"], left_by(tmp_path / "left", 0)
    run_all(house, [trial])
    quick.answers["SaveKernel"] = kaggle_standin.refusal(502, "Bad gateway")
    assert [ended.problem for ended in run_all(house, [trial])] == ["kaggle push: Bad gateway"]
    quick.answers.clear()
    ((kernel, versions),) = quick.kernels.items()
    if has_arrived:
        versions.append(versions[0])
        quick.ahead[kernel] = ["COMPLETE"]
    quick.kernel_states = ["COMPLETE"]
    assert [ended.problem for ended in run_all(house, [trial])] == [""]
    assert len(versions) == 2
    assert {sent.get("versionLabel") for sent in quick.sent("ListKernelSessionOutput")} == {"v1", "v2"}


def test_trials_whose_wheels_lie_in_a_dataset_that_no_kernel_attaches_are_not_pushed(
    house: Repository,
) -> None:
    settings = read_settings(None, ['wheels=["plain"]', "time_budget_minutes=600"])
    train = read_metadata(house.metadata("train"))
    with pytest.raises(BundlerError, match=f"attaches no {USER}/multihead-weights, which holds the wheels$"):
        engine._refuse(settings, train, house.dataset_id)
    engine._refuse(settings, train | {"dataset_sources": [f"{USER}/Multihead-weights/2"]}, house.dataset_id)
