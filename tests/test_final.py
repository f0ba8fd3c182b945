"""The final row of a recipe: through the built kernels, from rendered graphemes to the score of the test images."""

import re
from pathlib import Path

import pytest

from benchmarks import costs, final, first_stage, score
from multihead.config.files import WEIGHTS_FILE
from multihead.config.settings_file import read_settings
from multihead.runtime.errors import UserError
from multihead_study.cli import main as multihead
from tests.conftest import HOUSE
from tests.test_render_graphemes import draw_font

RECIPE = """[model]
backbone = "narrow"
image_size = [32, 32]
[run]
pretrained="NAME"  # of a first stage
epochs = 1
batch_size = 32
mixup_share = 0.0
"""


def recipe(folder: Path, name: str, pretrained: str = "first.model.weights.h5") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.toml"
    path.write_text(RECIPE.replace("NAME", pretrained))
    return path


def arguments(data: Path, out: Path, *recipes: Path) -> list[str]:
    """Return the command line with DATA in place of fonts, which it does not come to."""
    return [str(part) for part in [data, out, "--fonts", data, *final._options("--recipe", recipes)]]


def test_recipes_that_could_not_share_a_folder_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    out, one = tmp_path / "out", recipe(tmp_path, "one")
    others = {
        "pretrained = 'backbone.h5'; expected NAME.model.weights.h5": recipe(tmp_path, "published", "backbone.h5"),
        "recipes: first, first; expected a first stage of its own for each": recipe(tmp_path, "two"),
        "recipes: one, one; expected a file of its own for each": recipe(tmp_path / "b", "one", "b.model.weights.h5"),
    }
    for error, other in others.items():
        with pytest.raises(SystemExit, match=error):
            final.main(arguments(tmp_path, out, one, other))
    assert not out.exists()


def test_test_images_without_truth_are_refused_before_anything_is_made(bengali: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(SystemExit, match=r"error: .*truth"):
        final.main(arguments(bengali, out, recipe(tmp_path, "one")))
    assert not out.exists()


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study's folder, of which no training is real: it fails where a file FAILS lies beside it."""

    def run(command: list[str], out: Path, made_of: dict[str, object]) -> None:
        out.mkdir(exist_ok=True)
        (out / "trial").touch()
        with (tmp_path / "begun").open("a") as file:
            file.write(f"{command.count('--recipe')}\n")
        costs.run(["test", "!", "-e", str(tmp_path / "FAILS")], out, made_of)

    monkeypatch.setattr(final, "run", run)
    monkeypatch.setattr(final, "stage", lambda *_: None)
    return tmp_path / "study"


def test_a_study_is_trained_until_it_is_finished_and_again_when_what_decides_it_changes(
    drawn: Path, study: Path, tmp_path: Path
) -> None:
    one, two = (recipe(tmp_path, name, f"{name}.model.weights.h5") for name in ("one", "two"))
    first_stages = {path: tmp_path / f"first-{path.stem}" for path in (one, two)}
    for first in first_stages.values():
        (first / "working").mkdir(parents=True)
        (first / "working" / WEIGHTS_FILE).write_bytes(b"weights")
    (tmp_path / "FAILS").touch()
    with pytest.raises(UserError, match="exit code 1"):
        final.cross_validate(drawn, study, {one: first_stages[one]})
    (tmp_path / "FAILS").unlink()
    for _ in range(2):
        final.cross_validate(drawn, study, {one: first_stages[one]})
    for _ in range(2):
        final.cross_validate(drawn, study, first_stages)
    one.write_text(f"# another comment\n{one.read_text()}")
    final.cross_validate(drawn, study, first_stages)
    assert (tmp_path / "begun").read_text().split() == ["1", "1", "2"]
    (first_stages[two] / "working" / WEIGHTS_FILE).write_bytes(b"others")
    final.cross_validate(drawn, study, first_stages)
    assert (tmp_path / "begun").read_text().split() == ["1", "1", "2", "2"]


def test_a_recipe_starts_from_its_first_stage_however_its_file_is_written(
    drawn: Path, study: Path, tmp_path: Path
) -> None:
    path, first = recipe(tmp_path, "one"), tmp_path / "first-one"
    (first / "working").mkdir(parents=True)
    (first / "working" / WEIGHTS_FILE).touch()
    final.cross_validate(drawn, study, {path: first})
    run, copied = read_settings(path).run, read_settings(tmp_path / "first-stages" / "one.toml").run
    assert Path(copied.pretrained) == tmp_path.resolve() / "first-stages" / "first.model.weights.h5"
    assert {key for key, value in vars(copied).items() if value != getattr(run, key)} == {"pretrained"}


def test_a_study_of_more_recipes_than_were_asked_for_is_refused(tmp_path: Path) -> None:
    study, one = tmp_path / "study", recipe(tmp_path, "one")
    study.mkdir()
    (study / "study.json").write_text(
        '{"task": "bengali", "folds": 2, "study_seed": 0, "group_column": "", "threads": 1, "recipes": ["one", "two"]}'
    )
    with pytest.raises(SystemExit, match="study: has two as well; give each --recipe, or another OUT"):
        final.main(arguments(tmp_path, tmp_path, one))


@pytest.mark.parametrize("page", ["recipe.md", "further-images.md"])
def test_the_pages_train_the_first_stage_as_the_final_row_does(page: str) -> None:
    text = (HOUSE / "docs" / page).read_text(encoding="utf-8").replace("\\\n", " ")
    commands = re.findall(r"rehearse data/rendered.*--kernel train.*", text)
    assert commands
    assert all(re.findall(r"--set (\S+)", command) == list(final.FIRST_STAGE) for command in commands)


def test_the_recipes_of_a_cpu_differ_from_the_ruler_in_size_network_epochs_and_start_alone() -> None:
    ruler, *recipes = map(read_settings, [score.RECIPE, *(HOUSE / "kernel" / "train").glob("settings-cpu*.toml")])
    assert len(recipes) == 2
    for other in recipes:
        changed = {key for key, value in vars(other.run).items() if value != getattr(ruler.run, key)}
        assert changed <= {"epochs", "pretrained"}


@pytest.mark.slow
def test_a_small_study_is_scored_and_trained_once(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    font, out = draw_font(tmp_path / "boxes.ttf", ["\u0995", "\u0996"]), tmp_path / "out"
    for module, name, value in [(first_stage, "IMAGES", 80), (final, "FOLDS", 2), (final, "COPIES", 1)]:
        monkeypatch.setattr(module, name, value)
    command = [str(part) for part in [drawn, out, "--fonts", font, "--recipe", recipe(tmp_path, "small")]]
    final.main(command)
    printed = capsys.readouterr().out
    assert [line.partition(":")[0] for line in printed.splitlines()[:4]] == [
        "rendered",
        "first-small",
        "study",
        "together",
    ]
    assert "not measured" not in printed
    multihead(["evaluate", str(out / "predicted" / "working" / "submission.csv"), str(drawn)])
    assert capsys.readouterr().out.splitlines()[0].split()[2] in printed
    logs = [path.read_text() for path in sorted((out / "study").glob("*/log.txt"))]
    assert len(logs) == 2
    assert all(re.search(r"starting from .*first\.model\.weights\.h5", log) for log in logs)
    trained = [path for part in ("first-small", "study") for path in (out / part).rglob("model.weights.h5")]
    before = [path.stat().st_mtime_ns for path in trained]
    final.main(command)
    assert capsys.readouterr().out == printed
    assert len(before) == 3
    assert [path.stat().st_mtime_ns for path in trained] == before
