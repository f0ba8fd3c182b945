"""The final row of a recipe: through the built kernels, from rendered graphemes to the score of the test images."""

import json
import re
import shlex
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks import costs, final, first_stage, score
from multihead.config.files import ENSEMBLE_FILE
from multihead.config.settings_file import read_settings
from multihead.runtime.errors import UserError
from multihead_study.cli import main as multihead
from tests.conftest import HOUSE
from tests.test_render_graphemes import LETTERS, draw_font

RECIPE = """[model]
backbone = "narrow"
image_size = [32, 32]
[run]
pretrained = "first.model.weights.h5"
epochs = 1
batch_size = 32
mixup_share = 0.0
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    return path


def arguments(data: Path, out: Path, recipe: Path, *more: str | Path) -> list[str]:
    """Return the command line with DATA in place of fonts, which it does not come to."""
    return [str(part) for part in [data, out, "--fonts", data, "--recipe", recipe, *more]]


def test_test_images_without_truth_are_refused_before_anything_is_made(bengali: Path, recipe: Path) -> None:
    out = recipe.parent / "out"
    with pytest.raises(SystemExit, match=r"error: .*truth"):
        final.main(arguments(bengali, out, recipe))
    assert not out.exists()


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [("--set", "epocs=2", "error: .*epocs"), ("--first", "epocs=2", "error: .*epocs")],
)
def test_a_setting_that_cannot_be_is_refused_before_anything_is_made(
    drawn: Path, recipe: Path, option: str, value: str, problem: str
) -> None:
    out = recipe.parent / "out"
    with pytest.raises(SystemExit, match=problem):
        final.main(arguments(drawn, out, recipe, option, value))
    assert not out.exists()


def test_a_study_is_trained_until_it_is_finished_and_refused_when_what_decides_it_changes(
    drawn: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[list[str]] = []

    def run(command: list[str], out: Path, made_of: dict[str, object]) -> None:
        begun.append(command)
        (out / "trial").touch()
        ended(["test", "!", "-e", str(tmp_path / "FAILS")], out, made_of)

    ended = costs.run
    monkeypatch.setattr(costs, "run", run)

    def with_epochs(epochs: int) -> final.Recipe:
        return final.Recipe(recipe, [f"epochs={epochs}"], [])

    weights, study = tmp_path / first_stage.PRETRAINED, tmp_path / "study"
    weights.write_bytes(b"weights")
    (tmp_path / "FAILS").touch()
    with pytest.raises(UserError, match="exit code 1"):
        final.cross_validate(drawn, study, with_epochs(2), weights)
    (tmp_path / "FAILS").unlink()
    for _ in range(2):
        final.cross_validate(drawn, study, with_epochs(2), weights)
    recipe.write_text(f"# another comment\n{recipe.read_text()}")
    final.cross_validate(drawn, study, with_epochs(2), weights)
    assert len(begun) == 2
    assert begun[0] == begun[1]
    assert begun[0][-4:] == ["--set", "epochs=2", "--set", f"pretrained={weights.resolve()}"]
    with pytest.raises(UserError, match="study: made of other settings; delete it, or name another folder"):
        final.cross_validate(drawn, study, with_epochs(3), weights)
    weights.write_bytes(b"others")
    with pytest.raises(UserError, match="study: made of other first stage"):
        final.cross_validate(drawn, study, with_epochs(2), weights)
    assert len(begun) == 2


@pytest.mark.parametrize("page", ["recipe.md", "further-images.md"])
def test_the_pages_train_the_first_stage_as_the_final_row_does(page: str) -> None:
    commands = re.findall(r"rehearse data/rendered.*--kernel train.*", commands_of(page))
    assert commands
    for command in commands:
        words = shlex.split(command)
        assert [word for option, word in pairwise(words) if option == "--set"] == list(final.FIRST_STAGE)


def test_the_page_trains_the_folds_as_the_final_row_does() -> None:
    commands = re.findall(r"cross-validate .*settings-cpu\.toml.*", commands_of("recipe.md"))
    options = {
        "folds": final.FOLDS,
        "train-folds": final.TRAINED,
        "workers": final.WORKERS,
        "threads": final.THREADS,
    }
    found = [{name: int(value) for name, value in re.findall(r"--([\w-]+) (\d+)", command)} for command in commands]
    assert found == [options | {"train-folds": final.TRAINED + 1}, options]  # one fold more, and the row's


def commands_of(page: str) -> str:
    return (HOUSE / "docs" / page).read_text(encoding="utf-8").replace("\\\n", " ")


def test_the_recipe_of_a_cpu_differs_from_the_ruler_in_network_size_length_and_start_alone() -> None:
    ruler, recipe = map(read_settings, [score.RECIPE, final.RECIPE])
    settings = [asdict(one.model) | asdict(one.run) for one in (ruler, recipe)]
    changed = {key for key, value in settings[1].items() if value != settings[0][key]}
    assert changed == {"backbone", "epochs", "image_size", "pretrained"}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--folds", "3", "--train-folds", "4"], "--train-folds 4: expected 2 to 3"),
        (["--folds", "1"], "invalid choice: 1"),
    ],
)
def test_folds_that_cannot_be_are_refused_before_anything_is_made(
    drawn: Path, recipe: Path, capsys: pytest.CaptureFixture[str], options: list[str], problem: str
) -> None:
    out = recipe.parent / "out"
    with pytest.raises(SystemExit):
        final.main(arguments(drawn, out, recipe, *options))
    assert problem in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.slow
def test_a_small_study_is_scored_and_trained_once(
    drawn: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    font, out = draw_font(tmp_path / "boxes.ttf", LETTERS), tmp_path / "out"
    for module, name, value in [(first_stage, "IMAGES", 80), (final, "COPIES", 1)]:
        monkeypatch.setattr(module, name, value)
    command = [str(part) for part in [drawn, out, "--fonts", font, "--recipe", recipe, "--set", "dropout=0.125"]]
    command += ["--first", "epochs=3", "--folds", "3", "--train-folds", "2"]
    final.main(command)
    printed = capsys.readouterr().out
    assert [line.partition(":")[0] for line in printed.splitlines()[:4]] == [
        "rendered",
        "first",
        "study",
        "together",
    ]
    assert "not measured" not in printed
    multihead(["evaluate", str(out / "predicted" / "working" / "submission.csv"), str(drawn)])
    assert capsys.readouterr().out.splitlines()[0].split()[2] in printed
    logs = [path.read_text() for path in sorted((out / "study").glob("*/log.txt"))]
    assert len(logs) == 2
    assert all(re.search(r"starting from .*rendered\.model\.weights\.h5", log) for log in logs)
    trained = [path for part in ("first", "study") for path in (out / part).rglob("model.weights.h5")]
    manifests = [json.loads(path.with_name("manifest.json").read_text()) for path in trained]
    assert {manifest["model"]["dropout"] for manifest in manifests} == {0.125}
    histories = [path.with_name("history.csv").read_text().splitlines() for path in trained]
    assert sorted(len(history) - 1 for history in histories) == [1, 1, 3]  # of which each epoch has a line
    before = [path.stat().st_mtime_ns for path in trained]
    final.main(command)
    assert capsys.readouterr().out == printed
    assert len(before) == 3
    assert [path.stat().st_mtime_ns for path in trained] == before
    ensemble = out / "study" / ENSEMBLE_FILE
    ensemble.write_text(ensemble.read_text().replace("[members]\n", "[members]\nanother = 0.1\n"))
    with pytest.raises(SystemExit, match="study: has 3 trainings, of another command as well; expected 2"):
        final.main(command)
