"""The final row of a recipe: through the built kernels, from rendered graphemes to the score of the test images."""

from pathlib import Path

import pytest

from benchmarks import costs, final, first_stage
from multihead.runtime.errors import UserError
from tests.test_render_graphemes import draw_font

RECIPE = """[model]
backbone = "narrow"
image_size = [32, 32]
[run]
pretrained = "NAME"  # of a first stage
epochs = 1
batch_size = 32
mixup_share = 0.0
"""


def recipe(folder: Path, name: str, pretrained: str = "first.model.weights.h5") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(RECIPE.replace("NAME", pretrained))
    return path


@pytest.mark.parametrize(
    ("pretrained", "error"),
    [
        (
            ["backbone.h5", "first.model.weights.h5"],
            r"a.toml: pretrained = 'backbone.h5'; expected NAME.model.weights.h5",
        ),
        (["first.model.weights.h5"] * 2, "the recipes begin with first, first; expected a first stage for each"),
    ],
)
def test_recipes_without_a_first_stage_of_their_own_are_refused_before_anything_is_made(
    tmp_path: Path, pretrained: list[str], error: str
) -> None:
    options = [
        part for name, of in zip("ab", pretrained, strict=True) for part in ("--recipe", recipe(tmp_path, name, of))
    ]
    with pytest.raises(SystemExit, match=error):
        final.main([str(part) for part in [tmp_path / "data", tmp_path / "out", "--fonts", tmp_path, *options]])
    assert not (tmp_path / "out").exists()


def test_a_study_is_gone_on_with_where_it_was_broken_off_or_has_another_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, one, two = tmp_path / "study", recipe(tmp_path, "one"), recipe(tmp_path, "two", "other.model.weights.h5")
    begun: list[list[str]] = []

    def run(command: list[object], out: Path, made_of: dict[str, str]) -> None:
        begun.append([str(part) for part in command])
        costs.run(["true"] if len(begun) > 1 else ["false"], out, made_of)

    monkeypatch.setattr(final, "run", run)
    study.mkdir()
    (study / "trial").touch()
    with pytest.raises(UserError, match="exit code 1"):
        final.cross_validate(tmp_path, study, [one])
    for recipes in ([one], [one], [one, two], [one, two]):
        final.cross_validate(tmp_path, study, recipes)
    assert [command.count("--recipe") for command in begun] == [1, 1, 2]


@pytest.mark.slow
def test_a_small_study_is_scored_and_done_once(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    font = draw_font(tmp_path / "boxes.ttf", ["\u0995", "\u0996"])
    for module, name, value in [(first_stage, "IMAGES", 80), (final, "FOLDS", 2), (final, "COPIES", 1)]:
        monkeypatch.setattr(module, name, value)
    command = [str(part) for part in [drawn, tmp_path / "out", "--fonts", font, "--recipe", recipe(tmp_path, "small")]]
    final.main(command)
    printed = capsys.readouterr().out
    parts = [line.partition(":")[0] for line in printed.splitlines()]
    assert parts[:-1] == ["rendered", "first-small", "study", "together"]
    assert "not measured" not in printed
    assert printed.splitlines()[-1].startswith("R 0.")
    logs = [path.read_text() for path in sorted((tmp_path / "out" / "study").glob("*/log.txt"))]
    assert len(logs) == 2
    assert all("starting from" in log for log in logs)
    weights = [path for path in (tmp_path / "out").rglob("model.weights.h5") if path.parent.name != "weights"]
    made = {path: path.stat().st_mtime_ns for path in weights}
    final.main(command)
    assert capsys.readouterr().out == printed
    assert {path: path.stat().st_mtime_ns for path in weights} == made
