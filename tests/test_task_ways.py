"""The sixteen competitions of tests/tasks the whole way: trained, predicted, and scored as their graders do."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from bundler.build.script import build_script
from bundler.commands.rehearse import AT_HOME
from bundler.kaggle.staging import stage
from bundler.kernel_task import predicted_task
from bundler.rehearse.inputs import Inputs
from bundler.rehearse.outputs import check_outputs, check_submission
from bundler.rehearse.rehearsal import rehearse
from bundler.repository import OUTPUTS, Repository
from multihead import commands
from multihead.config.scores import LABELS
from multihead.config.settings_file import read_settings
from multihead.scoring.evaluation import read_both
from tests.drawn_tasks import SAMPLE, SLUGS, SOLUTION, TASKS, Drawn, draw
from tests.test_task_forms import graded

HOUSE = Path(__file__).resolve().parent.parent
BY_KERNELS = {  # one of each kind of answer
    "aptos2019-blindness-detection": "ordinal classes, cut",
    "leaf-classification": "a probability per class",
    "plant-pathology-2021-fgvc8": "sets of classes",
    "humpback-whale-identification": "rankings",
    "petfinder-pawpularity-score": "numbers",
}
EPOCHS = {"imet-2020-fgvc7": 12, "ranzcr-clip-catheter-line-classification": 12}  # of sets one epoch learns nothing
SETTINGS = """
[model]
task = "{slug}"
backbone = "stack"
image_size = [{height}, {width}]
stack_layers = ["conv 8", "pool 2", "conv 16", "pool 2", "dense 32"]
[run]
epochs = {epochs}
batch_size = 16
learning_rate = 0.004
warmup_epochs = 0
ema_decay = 0
validation_share = 0.2
mixup_share = 0
cutmix_share = 0
require_gpu = false
time_budget_minutes = 60
"""


def lay_out(folder: Path, one: Drawn, epochs: int) -> Path:
    """Write a task beside settings that train it for some epochs, and return these."""
    height, width, _ = one.task.image_shape
    shutil.copy(TASKS / one.task.name / "task.toml", folder)
    path = folder / "settings.toml"
    path.write_text(SETTINGS.format(slug=one.task.name, height=min(height, 32), width=min(width, 32), epochs=epochs))
    return path


def assert_scored_as_its_grader_does(submission: Path, one: Drawn, solution: Path) -> None:
    """Hold the score of a submission against the grader's, and both against that of the sample."""
    assert check_submission(submission, one.data / SAMPLE, may_be_empty=one.task.answer == LABELS) == len(one.solution)
    score = read_both(submission, solution, one.task).score(one.task)
    reached = graded(one.task.name, pd.read_csv(submission), one.solution)
    assert score.total == pytest.approx(reached, abs=1e-6)
    constant = graded(one.task.name, one.sample, one.solution)
    assert (reached < constant) if score.is_loss else (reached > constant)


@pytest.mark.slow
@pytest.mark.parametrize("slug", [slug for slug in SLUGS if slug not in BY_KERNELS])
def test_a_task_is_trained_predicted_and_scored_in_one_process(
    tmp_path: Path, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_ROOT", str(tmp_path / "kaggle"))
    one = draw(slug, tmp_path, 192)
    (tmp_path / "working").mkdir()
    settings = lay_out(tmp_path, one, EPOCHS.get(slug, 1))
    places = [f"data={one.data}", f"working={tmp_path / 'working'}", f"weights={tmp_path / 'working'}"]
    commands.train(read_settings(settings, places))
    commands.predict(read_settings(settings, [places[0], places[2], f"working={tmp_path / 'working'}"]))
    assert (tmp_path / "working" / "report" / "index.html").is_file()
    assert_scored_as_its_grader_does(tmp_path / "working" / one.task.submission_file, one, tmp_path / SOLUTION)


@pytest.mark.slow
@pytest.mark.parametrize("slug", BY_KERNELS)
def test_an_answer_of_each_kind_goes_through_the_built_kernels(tmp_path: Path, slug: str) -> None:
    one = draw(slug, tmp_path, 192)
    kernels, dataset = tmp_path / "kernels", tmp_path / "dataset"
    kernels.mkdir()
    dataset.mkdir()
    settings = lay_out(kernels, one, epochs=3)
    package = Repository(HOUSE).package
    (kernels / "train_kernel.py").write_bytes(build_script(package, settings, "train"))
    predict_settings = HOUSE / "kernel" / "predict" / "settings.toml"
    (kernels / "predict_kernel.py").write_bytes(build_script(package, predict_settings, "predict"))
    inputs = Inputs(slug, one.data, {})
    trained = rehearse(kernels / "train_kernel.py", inputs, tmp_path / "1", "new", AT_HOME)
    check_outputs(trained.working, OUTPUTS["train"])
    stage(trained.working, dataset)
    assert predicted_task(dataset) == one.task
    inputs = Inputs(slug, one.data, {"somebody/multihead-weights": dataset})
    predicted = rehearse(kernels / "predict_kernel.py", inputs, tmp_path / "2", "old", AT_HOME)
    assert_scored_as_its_grader_does(predicted.working / one.task.submission_file, one, tmp_path / SOLUTION)
