"""Several trainings of one kernel: their settings, their names, their checkpoints, what they may leave."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from bundler.errors import RehearsalError
from bundler.rehearse.outputs import check_trials
from multihead import commands
from multihead.config.files import CHECKPOINT_FILE, TRIAL_LOG_FILE, WEIGHTS_FILE
from multihead.config.settings import RunSettings, Settings
from multihead.config.settings_file import read_settings, trials_of
from multihead.runtime.children import Place
from multihead.runtime.errors import UserError
from multihead.training.checkpoint import Checkpoint
from multihead.training.resume import checkpoints_to_go_on_from, identity_of
from multihead.training.schedule import TrainingState
from tests.built_in import BENGALI
from tests.test_resume import TINY


def trials(text: str, *sets: str) -> dict[str, Settings]:
    return trials_of(read_settings(None, [f"trials={text}", *sets]))


def test_a_trial_has_the_settings_of_all_but_those_in_which_it_differs() -> None:
    found = trials("[{study_fold = 1}, {seed = 3, backbone = 'stack', stack_layers = ['dense 4']}]", "study_folds=4")
    assert list(found) == ["study_fold-1", "seed-3-backbone-stack-stack_layers-dense-4"]
    first, second = found.values()
    assert (first.run.study_fold, first.run.study_folds, first.run.seed) == (1, 4, 0)
    assert (second.run.study_fold, second.run.seed, second.model.stack_layers) == (0, 3, ("dense 4",))
    assert second.model.crop == "ink"  # as the task has it


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3", "trials = 3; expected a list of tables"),
        ("[3]", "trials = [3]; expected a list of tables"),
        ("[{}]", "trials 1 is empty; expected settings in which it differs, such as { seed = 1 }"),
        ("[{seed = 1}, {epohcs = 2}]", "trials 2: epohcs is not known; did you mean epochs?"),
        ("[{working = 'x'}]", "trials 1: working is of the run, and cannot differ from trial to trial"),
        ("[{task = 'mnist'}]", "trials 1: task is of the run, and cannot differ from trial to trial"),
        ("[{seed = 1}, {seed = 1}]", "trials 2: called seed-1, as trials 1 is; expected another"),
        ("[{seed = -1}]", "trials 1: seed = -1; expected at least 0"),
        ("[{image_size = [1, 64]}]", "trials 1: image_size = 1; expected at least 8"),
        ("[{study_fold = 1}]", "trials 1: study_fold without study_folds; expected the number of folds"),
        ("[{fold = 1}]", "trials 1: fold = 1, but bengali has test files, so that nothing is left out"),
    ],
)
def test_a_mistake_in_a_trial_is_found_where_the_settings_are_read(text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        read_settings(None, [f"trials={text}"])
    assert str(error.value).endswith(f": {message}")


def test_each_trial_is_trained_in_a_folder_of_its_name_and_those_that_fail_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_all(works: dict[str, Any], where: list[Place], copies: dict[str, Path], *limits: float) -> dict[str, str]:
        assert limits == (math.inf, math.inf)
        assert len(where) == 2
        assert copies == {name: tmp_path / name / TRIAL_LOG_FILE for name in works}
        for name, (settings, varied) in works.items():
            assert settings.run.working == str(tmp_path / name)
            assert not settings.run.trials
            assert varied == {"seed", "epochs"}
            assert (tmp_path / name).is_dir()
        return {"epochs-2": "exit code 1"}

    monkeypatch.setattr(commands, "run_all", run_all)
    monkeypatch.setattr(commands, "find_input", lambda *_: tmp_path)
    sets = ["trials=[{seed = 1}, {epochs = 2}, {seed = 2}]", f"working={tmp_path}", "workers=2"]
    with pytest.raises(UserError, match=r"^1 of 3 trials failed: epochs-2: exit code 1$"):
        commands.train(read_settings(None, sets))
    (tmp_path / "seed-1" / WEIGHTS_FILE).touch()  # which would be lost with a kernel that fails
    commands.train(read_settings(None, sets))
    assert "warning: 1 of 3 trials failed: epochs-2: exit code 1" in capsys.readouterr().out


def test_a_mistake_leaves_no_folder_of_a_trial(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="competition: "):
        commands.train(read_settings(None, ["trials=[{seed = 1}]", f"working={tmp_path}", f"data={tmp_path}"]))
    assert not list(tmp_path.iterdir())


def test_another_trial_s_checkpoint_is_passed_over_in_whatever_it_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without trials another learning rate is an error, and another batch size is gone on with."""
    own = identity_of(BENGALI, TINY, RunSettings(), ["a"], 8)
    other = json.loads(json.dumps(own)) | {"learning_rate": 0.1, "batch_size": 4}
    found = Checkpoint(tmp_path / CHECKPOINT_FILE, other, TrainingState(), {}, None)
    monkeypatch.setattr("multihead.training.resume.find_everywhere", lambda *_: [found.path])
    monkeypatch.setattr("multihead.training.resume.read_checkpoint", lambda _: found)
    with pytest.raises(UserError, match="of this training with another learning_rate"):
        checkpoints_to_go_on_from(own, "auto", tmp_path)
    assert checkpoints_to_go_on_from(own, "auto", tmp_path, {"learning_rate"}) == []
    other["learning_rate"] = own["learning_rate"]
    assert checkpoints_to_go_on_from(own, "auto", tmp_path, {"batch_size"}) == []
    assert checkpoints_to_go_on_from(own, "auto", tmp_path, {"seed"}) == [found]


def test_what_a_trial_may_leave_lies_in_its_folder(tmp_path: Path) -> None:
    for name in ("seed-0", "seed-1"):
        with pytest.raises(RehearsalError, match=f"no folder {name} of that trial"):
            check_trials(tmp_path, ["seed-0", "seed-1"], ["log.txt"])
        (tmp_path / name).mkdir()
        (tmp_path / name / "log.txt").touch()
    check_trials(tmp_path, ["seed-0", "seed-1"], ["log.txt"])
    (tmp_path / "seed-1" / "more").touch()
    with pytest.raises(RehearsalError, match=r"^more in seed-1 of the working folder, where everything left becomes"):
        check_trials(tmp_path, ["seed-0", "seed-1"], ["log.txt"])
    (tmp_path / "model.weights.h5").touch()
    with pytest.raises(RehearsalError, match=r"^model\.weights\.h5 in the working folder"):
        check_trials(tmp_path, ["seed-0", "seed-1"], ["log.txt"])
