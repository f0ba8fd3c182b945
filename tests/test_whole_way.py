"""The built kernels, from a competition's files to its submission, each in its rehearsal."""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from sample_images import draw_shape

from bundler.build.script import build_script
from bundler.commands.rehearse import AT_HOME
from bundler.errors import RehearsalError
from bundler.kaggle.staging import stage
from bundler.kernel_task import predicted_task
from bundler.rehearse.data import has_truth
from bundler.rehearse.inputs import Inputs
from bundler.rehearse.outputs import check_outputs, check_submission, check_trials
from bundler.rehearse.projection import read_stages
from bundler.rehearse.rehearsal import rehearse
from bundler.repository import HERE, OF_TRIAL, OUTPUTS
from multihead.config.ensemble import Ensemble, write_ensemble
from multihead.config.files import OUT_OF_FOLD_FILE
from multihead.config.known_tasks import read_task
from multihead.config.task import Task
from multihead.scoring.evaluation import read_both
from multihead.scoring.out_of_fold import read_out_of_fold
from tests.conftest import HOUSE, clone
from tests.test_projection import HIDDEN

pytestmark = pytest.mark.slow

COMPETITION = "bengaliai-cv19"
SMALL = ("backbone=narrow", "image_size=[32, 32]", "epochs=1", "batch_size=16", "validation_share=0.2")
SETTINGS = [*AT_HOME, *(part for setting in SMALL for part in ("--set", setting))]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both kernels as they would be built now."""
    folder = tmp_path_factory.mktemp("kernels")
    built = {name: folder / f"{name}_kernel.py" for name in ("train", "predict")}
    for name, path in built.items():
        path.write_bytes(build_script(HERE.package, HOUSE / "kernel" / name / "settings.toml", name))
    return built


@pytest.fixture(scope="module")
def weights(scripts: dict[str, Path], drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the built train kernel after one epoch on a drawn competition."""
    root = tmp_path_factory.mktemp("train")
    return rehearse(scripts["train"], Inputs(COMPETITION, drawn, {}), root, "old", SETTINGS).working


@pytest.fixture(scope="module")
def predicted(scripts: dict[str, Path], drawn: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The /kaggle that the built predict kernel leaves."""
    root = tmp_path_factory.mktemp("predict")
    inputs = Inputs(COMPETITION, drawn, {"somebody/multihead-weights": weights})
    rehearse(scripts["predict"], inputs, root, "new", AT_HOME)
    return root


def test_training_leaves_weights_manifest_history_checkpoint_answers_and_report_only(weights: Path) -> None:
    assert sorted(f.name for f in weights.iterdir()) == [
        "checkpoint.npz",
        "history.csv",
        "manifest.json",
        "model.weights.h5",
        "out_of_fold.npz",
        "report",
    ]
    assert (weights / "report" / "index.html").stat().st_size > 100_000


def test_the_submission_has_the_sample_s_rows(predicted: Path, drawn: Path) -> None:
    assert check_submission(predicted / "working" / "submission.csv", drawn / "sample_submission.csv") == 36
    assert [f.name for f in (predicted / "working").iterdir()] == ["submission.csv"]
    stages = read_stages(predicted / "events.jsonl", HIDDEN)
    assert (stages.read_images, stages.files, stages.network_images, stages.device) == (12, 4, 12, "CPU")


def test_the_bundle_predicts_the_same_bytes_as_the_package_in_place(predicted: Path, tmp_path: Path) -> None:
    shutil.copytree(predicted / "input", tmp_path / "input", symlinks=True)
    (tmp_path / "working").mkdir()
    settings = HOUSE / "kernel" / "predict" / "settings.toml"
    command = [sys.executable, "-m", "multihead", "predict", "--settings", str(settings), *AT_HOME]
    environment = os.environ | {"KAGGLE_ROOT": str(tmp_path), "PYTHONPATH": str(HOUSE / "src")}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    in_place, bundled = (root / "working" / "submission.csv" for root in (tmp_path, predicted))
    assert in_place.read_bytes() == bundled.read_bytes()


def test_an_ensemble_of_the_same_weights_twice_answers_as_they_do(
    scripts: dict[str, Path], predicted: Path, drawn: Path, weights: Path, tmp_path: Path
) -> None:
    dataset = tmp_path / "dataset"
    dataset.mkdir()
    for name in ("one", "other"):
        stage(weights, dataset, name)
    inputs = Inputs(COMPETITION, drawn, {"somebody/multihead-weights": dataset})
    together = [*AT_HOME, "--set", 'ensemble=["one", "other"]']
    result = rehearse(scripts["predict"], inputs, tmp_path / "root", "new", [*together, "--set", "workers=2"])
    assert (result.working / "submission.csv").read_bytes() == (predicted / "working" / "submission.csv").read_bytes()
    assert "3 of 3 images predicted 2 times" in (tmp_path / "root" / "log.txt").read_text()
    stages = read_stages(tmp_path / "root" / "events.jsonl", HIDDEN)
    assert (stages.workers, stages.read_images, stages.files, stages.network_images) == (2, 12, 4, 24)
    manifest = json.loads((dataset / "other.manifest.json").read_text())
    ones = dict.fromkeys(manifest["prior_exponents"], 1.0)
    write_ensemble(dataset, Ensemble({"one": 0.75, "other": 0.25}, ones, manifest["prior_exponents"]), [])
    result = rehearse(scripts["predict"], inputs, tmp_path / "root", "new", AT_HOME)
    assert (result.working / "submission.csv").read_bytes() == (predicted / "working" / "submission.csv").read_bytes()
    assert "other, epoch" in (tmp_path / "root" / "log.txt").read_text()
    manifest["model"]["fold"] = 1
    (dataset / "other.manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RehearsalError, match="ensemble: other has another task or fold than one"):
        rehearse(scripts["predict"], inputs, tmp_path / "root", "new", together)
    with pytest.raises(RehearsalError, match=r"stage FOLDER --name third\): no folder with third\.manifest\.json"):
        rehearse(scripts["predict"], inputs, tmp_path / "root", "new", [*AT_HOME, "--set", 'ensemble=["third"]'])


def test_a_killed_one_of_two_workers_leaves_its_files_to_the_other(predicted: Path, tmp_path: Path) -> None:
    shutil.copytree(predicted / "input", tmp_path / "input", symlinks=True)
    (tmp_path / "working").mkdir()
    command = [sys.executable, "-m", "multihead", "predict", "--set", "workers=2"]
    environment = os.environ | {
        "KAGGLE_ROOT": str(tmp_path),
        "KAGGLE_IS_COMPETITION_RERUN": "1",
        "PYTHONPATH": str(HOUSE / "src"),
    }
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        lines, processes = [], {}
        assert process.stdout
        for line in process.stdout:
            lines.append(line)
            if begun := re.search(r"\] (worker \d): process (\d+)", line):
                processes[begun[1]] = int(begun[2])
            read = re.match(r"(worker \d): .* images read and cropped", line)
            if read and len(processes) == 2:  # it reads the next file by now
                os.kill(processes.pop(read[1]), signal.SIGKILL)
    assert process.returncode == 0
    assert sum("ended (signal 9" in line for line in lines) == 1
    expected, found = (root / "working" / "submission.csv" for root in (predicted, tmp_path))
    assert found.read_bytes() == expected.read_bytes()
    assert [f.name for f in (tmp_path / "working").iterdir()] == ["submission.csv"]


def test_trials_of_one_train_kernel_leave_what_a_training_does_each_in_a_folder_of_its_own(
    scripts: dict[str, Path], drawn: Path, tmp_path: Path
) -> None:
    small = ("backbone=stack", 'stack_layers=["conv 4", "pool 4"]', "image_size=[8, 8]", "epochs=1", "study_folds=2")
    trials = "trials=[{study_fold=0}, {study_fold=1}]"
    sets = [part for setting in (*small, trials, "workers=2") for part in ("--set", setting)]
    root = tmp_path / "root"
    result = rehearse(scripts["train"], Inputs(COMPETITION, drawn, {}), root, "new", [*AT_HOME, *sets])
    check_trials(result.working, ["study_fold-0", "study_fold-1"], OF_TRIAL)
    held_out = []
    for fold in (0, 1):
        folder = result.working / f"study_fold-{fold}"
        stage(folder, tmp_path, f"fold{fold}")
        assert all((folder / name).exists() for name in OF_TRIAL)
        held_out.append(set(read_out_of_fold(folder / OUT_OF_FOLD_FILE).ids))
        assert f"study_fold-{fold}: {(folder / 'log.txt').read_text().splitlines()[-1]}" in result.ended.log
    assert not held_out[0] & held_out[1]


def test_the_competition_s_own_test_images_give_its_36_rows(
    scripts: dict[str, Path], bengali: Path, weights: Path, tmp_path: Path
) -> None:
    inputs = Inputs(COMPETITION, bengali, {"somebody/multihead-weights": weights})
    result = rehearse(scripts["predict"], inputs, tmp_path, "old", AT_HOME)
    assert check_submission(result.working / "submission.csv", bengali / "sample_submission.csv") == 36


def test_with_the_wheel_left_out_the_rehearsal_names_efficientnet(
    scripts: dict[str, Path], drawn: Path, weights: Path, tmp_path: Path
) -> None:
    whole = scripts["predict"].read_text()
    without = tmp_path / "predict_kernel.py"
    text, removed = re.subn(r"\nWHEELS\['efficientnet[^\n]*\n[^']*?\"\"\"\n", "\n", whole)
    assert removed == 1
    without.write_text(text)
    inputs = Inputs(COMPETITION, drawn, {"somebody/multihead-weights": weights})
    with pytest.raises(RehearsalError, match="exit code 1: ModuleNotFoundError: No module named 'efficientnet'"):
        rehearse(without, inputs, tmp_path / "root", "new", AT_HOME)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--set", "backbone=efficientnet-b0"],
            "backbone = 'efficientnet-b0', but the weights were",
        ),
        (["--set", "require_gpu=true"], "require_gpu = true, but no GPU is visible"),
        (["--set", "weights=/nowhere"], "weights: /nowhere is not there, or no folder"),
    ],
)
def test_a_mistake_in_the_settings_is_one_line(
    scripts: dict[str, Path], drawn: Path, weights: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    inputs = Inputs(COMPETITION, drawn, {"somebody/multihead-weights": weights})
    with pytest.raises(RehearsalError, match=f"exit code 1: error: {re.escape(message)}"):
        rehearse(scripts["predict"], inputs, tmp_path / "root", "new", [*AT_HOME, *arguments])
    assert not list((tmp_path / "root" / "working").iterdir())
    assert "Traceback" not in (tmp_path / "root" / "log.txt").read_text()


def test_the_readme_s_second_session_is_rehearsed_with_the_output_of_the_first(drawn: Path, tmp_path: Path) -> None:
    house = clone(tmp_path / "house")
    metadata = house / "kernel" / "train" / "kernel-metadata.json"
    metadata.write_text(
        metadata.read_text().replace('"kernel_sources": []', '"kernel_sources": ["OWNER/multihead-train"]')
    )

    def rehearse_training(epochs: int, *arguments: str) -> str:
        settings = [part for setting in (*SMALL, f"epochs={epochs}") for part in ("--set", setting)]
        command = [sys.executable, str(house / "build_kernel.py"), "rehearse", str(drawn), "--kernel", "train"]
        done = subprocess.run([*command, *settings, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    printed = rehearse_training(1)
    assert "  not mounted, though Kaggle would: OWNER/multihead-train (rehearse --mount SOURCE=FOLDER)" in printed
    shutil.copytree(house / "dry-run" / "rehearsal-train" / "working", house / "trained")
    printed = rehearse_training(2, "--mount", f"OWNER/multihead-train={house / 'trained'}")
    mounted = "input/notebooks/OWNER/multihead-train/checkpoint.npz: 1 epochs and 0 shards of the next are done"
    assert re.search(rf"going on from .*/{re.escape(mounted)}", printed)
    assert "epoch 2/2: loss" in printed


LEAVES_SETTINGS = """
[model]
backbone = "stack"
image_size = [16, 16]
stack_layers = ["conv 4", "pool 2", "dense 8"]
[run]
epochs = 2
batch_size = 16
validation_share = 0.25
"""


def draw_leaves(folder: Path, task: Task) -> None:
    """Draw photographs for the README's task, 8 of each pair of classes and 2 to predict, in its competition's form."""
    rng = np.random.default_rng(0)
    pairs = list(itertools.product(*map(enumerate, task.heads.values())))
    for part, count in (("train", 8), ("test", 2)):
        (folder / part).mkdir(parents=True)
        rows = []
        for number, ((shape, species), (colour, is_ill)) in enumerate(pairs * count):
            drawn = draw_shape(shape, (40 + number, 60), rng)
            name = f"{part}{number}.jpg"
            cv2.imwrite(str(folder / part / name), drawn[:, :, None] * np.eye(3, dtype=np.uint8)[colour])
            rows.append({"file": name, "species": species, "is_ill": is_ill})
        table = pd.DataFrame(rows)
        table.to_csv(folder / ("train.csv" if part == "train" else "truth.csv"), index=False)
    table.assign(is_ill=0, species="oak").to_csv(folder / "sample_submission.csv", index=False)


def test_the_task_of_one_s_own_in_the_docs_goes_the_whole_way(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(name = .*?)```", (HOUSE / "docs" / "tasks.md").read_text(), re.DOTALL)
    kernels, data, dataset = (tmp_path / name for name in ("kernels", "data", "dataset"))
    kernels.mkdir()
    dataset.mkdir()
    (kernels / "task.toml").write_text(example)
    (kernels / "train.toml").write_text(LEAVES_SETTINGS)
    (kernels / "predict_kernel.py").write_bytes(
        build_script(HERE.package, HOUSE / "kernel" / "predict" / "settings.toml", "predict")
    )
    (kernels / "train_kernel.py").write_bytes(build_script(HERE.package, kernels / "train.toml", "train"))
    task = read_task(kernels / "task.toml")
    draw_leaves(data, task)
    trained = rehearse(kernels / "train_kernel.py", Inputs("leaf-health", data, {}), tmp_path / "1", "new", AT_HOME)
    check_outputs(trained.working, OUTPUTS["train"])
    stage(trained.working, dataset)
    assert predicted_task(dataset) == task
    assert has_truth(data, task)
    inputs = Inputs(task.competition, data, {"somebody/multihead-weights": dataset})
    photograph = (data / "test" / "test0.jpg").read_bytes()
    (data / "test" / "test0.jpg").write_bytes(b"no photograph")
    with pytest.raises(RehearsalError, match=r"have no prediction: test0\.jpg"):
        rehearse(kernels / "predict_kernel.py", inputs, tmp_path / "2", "old", AT_HOME)
    log = (tmp_path / "2" / "log.txt").read_text()
    assert "warning: 1 of 12 image files cannot be read: test/test0.jpg" in log
    (data / "test" / "test0.jpg").write_bytes(photograph)
    predicted = rehearse(kernels / "predict_kernel.py", inputs, tmp_path / "2", "old", AT_HOME)
    submission = predicted.working / "submission.csv"
    assert check_submission(submission, data / task.sample_submission) == 12
    assert len(read_both(submission, data, task).ids) == 12
