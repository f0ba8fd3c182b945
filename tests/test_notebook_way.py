"""Kernels as notebooks, all the way: to a submission in a rehearsal, and to a score through the client."""

import json
from pathlib import Path

import pytest

from bundler.build.kernel import build_kernel
from bundler.cli import main
from bundler.commands.rehearse import AT_HOME
from bundler.kaggle.submissions import read_kept
from bundler.metadata import NOTEBOOK, PREDICT_FILE, SCRIPT, SUFFIXES, TRAIN_FILE
from bundler.rehearse.inputs import Inputs
from bundler.rehearse.projection import read_stages
from bundler.rehearse.rehearsal import rehearse
from bundler.repository import HERE, Repository
from tests.at_kaggle import COMPETITION, OUTPUT, PREDICT
from tests.conftest import HOUSE, clone
from tests.kaggle_standin import Kaggle
from tests.project_copy import change
from tests.test_projection import HIDDEN
from tests.test_steps import WAY
from tests.test_whole_way import SETTINGS


def as_notebooks(house: Path) -> None:
    for name, file in {"train": TRAIN_FILE, "predict": PREDICT_FILE}.items():
        change(house, file, kernel_type=NOTEBOOK, code_file=f"{name}_kernel.ipynb")


def test_the_whole_way_to_a_score(owned_clone: Path, kaggle: Kaggle, capsys: pytest.CaptureFixture[str]) -> None:
    as_notebooks(owned_clone)
    kaggle.output = OUTPUT
    command, walked, printed = "push train", [], ""
    while command:
        assert main(command.split(), Repository(owned_clone)) == 0
        walked.append(command)
        printed = capsys.readouterr().out
        command = printed.partition("next: build_kernel.py ")[2].strip().rpartition("then ")[2]
    assert walked == WAY
    assert printed.splitlines()[-1].startswith(
        f"{COMPETITION}: {PREDICT} version 1 (submission 1): complete, public 0.93"
    )
    assert read_kept(Repository(owned_clone)).submissions[0].public == 0.937
    for name, saved in zip(("train", "predict"), kaggle.sent("SaveKernel"), strict=True):
        built = json.loads((owned_clone / "kernel" / name / f"{name}_kernel.ipynb").read_bytes())
        assert (saved["kernelType"], json.loads(saved["text"])) == ("notebook", built)


def test_what_was_built_of_the_other_form_is_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    house = clone(tmp_path / "house")
    repository = Repository(house)
    assert main([], repository) == 0
    capsys.readouterr()
    as_notebooks(house)
    assert main([], repository) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in ("train", "predict"):
        notebook = house / "kernel" / name / f"{name}_kernel.ipynb"
        assert f"kernel/{name}/{name}_kernel.ipynb: {notebook.stat().st_size:,} bytes" in lines
        assert f"kernel/{name}/{name}_kernel.py: removed, the kernel is a notebook now" in lines
        assert [path.name for path in notebook.parent.glob("*_kernel.*")] == [notebook.name]


@pytest.mark.slow
def test_notebooks_train_and_predict_the_same_bytes_as_the_scripts(drawn: Path, tmp_path: Path) -> None:
    submissions, weights = {}, {}
    for form in (SCRIPT, NOTEBOOK):
        built = {name: tmp_path / f"{name}_kernel{SUFFIXES[form]}" for name in ("train", "predict")}
        for name, path in built.items():
            path.write_bytes(build_kernel(form, HERE.package, HOUSE / "kernel" / name / "settings.toml", name))
        settings = [*SETTINGS, "--set", "deterministic=true"]
        roots = {name: tmp_path / f"{form}-{name}" for name in built}
        trained = rehearse(built["train"], Inputs(COMPETITION, drawn, {}), roots["train"], "new", settings).working
        inputs = Inputs(COMPETITION, drawn, {"somebody/multihead-weights": trained})
        predicted = rehearse(built["predict"], inputs, roots["predict"], "new", AT_HOME)
        assert read_stages(predicted.events, HIDDEN).files == 4
        assert [path.name for path in predicted.working.iterdir()] == ["submission.csv"]
        submissions[form] = (predicted.working / "submission.csv").read_bytes()
        weights[form] = json.loads((trained / "manifest.json").read_bytes())["sha256"]
        left = {path.name for path in trained.iterdir()}
        assert left == {path.name for path in (tmp_path / "script-train" / "working").iterdir()}
    assert weights[SCRIPT] == weights[NOTEBOOK]
    assert submissions[SCRIPT] == submissions[NOTEBOOK]
