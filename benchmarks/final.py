"""A study through the built kernels: what it reaches on test images whose labels are known, and all that it costs.

    PYTHONPATH=src .venv/bin/python -m benchmarks.final DATA OUT --fonts FONT [FONT ...] [--recipe FILE ...]

Graphemes are rendered from DATA's tables. Each recipe has a first stage on them, by the train kernel, and ten folds
that begin with its weights, by `multihead cross-validate`. The predict kernel answers the test images with all of them
and 8 test-time copies. The CPU-seconds are those of rendering and of all trainings.

OUT/NAME.log has what each step printed, OUT/NAME.json what it has cost. The same command skips what is done and goes on
with what was broken off; another recipe is added to the study.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.costs import cost_of, run, run_once
from benchmarks.first_stage import render
from bundler.errors import BundlerError
from bundler.kaggle.staging import stage, stage_study
from multihead.config.ensemble import read_ensemble
from multihead.config.files import SUBMISSION_FILE, WEIGHTS_FILE, name_of_weights, named
from multihead.config.settings_file import read_settings
from multihead.runtime.errors import UserError
from multihead.scoring.evaluation import read_both
from multihead.scoring.metrics import task_score

HOUSE = Path(__file__).resolve().parent.parent
RECIPE = HOUSE / "kernel" / "train" / "settings-cpu.toml"
FIRST_STAGE = ("pretrained=", "epochs=10", "image_size=[64,64]")
FOLDS, WORKERS, THREADS, COPIES = 10, 2, 1, 8


def main(argv: Sequence[str] | None = None) -> None:
    """Do what the command line asks for; a mistake in it is one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a competition's folder, with the truth of its test images")
    parser.add_argument("out", type=Path, help="a folder")
    parser.add_argument("--fonts", type=Path, nargs="+", required=True, help="as docs/further-images.md has them")
    parser.add_argument("--recipe", type=Path, action="append", help=f"a settings file (default: {RECIPE.name})")
    arguments = parser.parse_args(argv)
    try:
        for line in final(arguments.data, arguments.out, arguments.fonts, arguments.recipe or [RECIPE]):
            print(line, flush=True)
    except (UserError, BundlerError) as error:
        raise SystemExit(f"error: {error}") from error
    except KeyboardInterrupt as error:
        raise SystemExit("interrupted; the same command goes on") from error


def final(data: Path, out: Path, fonts: Sequence[Path], recipes: Sequence[Path]) -> Iterator[str]:
    """Do all of it, and yield what each part has cost, then what the test images' answers reach."""
    names = [_first_stage_of(recipe) for recipe in recipes]
    if len(set(names)) < len(names):
        raise UserError(f"the recipes begin with {', '.join(names)}; expected a first stage for each")
    rendered, study, weights = out / "rendered", out / "study", out / "weights"
    images = render(data, rendered, fonts)
    firsts = {recipe: out / f"first-{recipe.stem}" for recipe in recipes}
    for recipe, first in firsts.items():
        settings = {"settings": recipe.read_text(encoding="utf-8"), "sets": list(FIRST_STAGE)}
        options = ["--kernel", "train", "--settings", str(recipe), *_options("--set", FIRST_STAGE)]
        rehearse(rendered, first, options, images | settings)
    cross_validate(data, study, [_from_first(recipe, first, out) for recipe, first in firsts.items()])
    parts = [rendered, *firsts.values(), study]
    for part in parts:
        yield f"{part.name}: {cost_of(part).cpu_seconds:,.0f} CPU-seconds"
    is_measured = all(cost_of(part).is_measured for part in parts)
    seconds = sum(cost_of(part).cpu_seconds for part in parts)
    yield f"together: {seconds:,.0f} CPU-seconds{'' if is_measured else ', and what was not measured'}"

    weights.mkdir(exist_ok=True)
    stage_study(study, weights)
    predicted = out / f"predicted-{'-'.join(recipe.stem for recipe in recipes)}"
    options = ["--weights", str(weights), "--set", f"test_time_copies={COPIES}"]
    rehearse(data, predicted, options, {"members": dict(read_ensemble(study).members)})
    task = read_settings(recipes[0]).task
    graded = read_both(predicted / "working" / SUBMISSION_FILE, data, task)
    score = task_score(graded.truth, graded.answers, task)
    yield f"{score}; standard error {score.standard_error:.4f}"


def rehearse(data: Path, out: Path, options: Sequence[str], made_of: Mapping[str, Any]) -> None:
    """Rehearse a kernel where that was not done yet. made_of: what decides the result, as JSON has it."""
    run_once([sys.executable, HOUSE / "build_kernel.py", "rehearse", data, "--out", out, *options], out, made_of)


def cross_validate(data: Path, study: Path, recipes: Sequence[Path]) -> None:
    """Train a study's folds by each recipe where that was not done yet."""
    made_of = {recipe.stem: recipe.read_text(encoding="utf-8") for recipe in recipes}
    cost = cost_of(study)
    if cost.is_finished and cost.made_of == made_of:
        return
    command = [sys.executable, "-m", "multihead_study", "cross-validate", str(data), "--out", str(study)]
    command += ["--folds", str(FOLDS), "--workers", str(WORKERS), "--threads", str(THREADS)]
    run([*command, *_options("--recipe", recipes)], study, made_of)


def _first_stage_of(recipe: Path) -> str:
    """Return what a recipe calls the weights that it begins with."""
    pretrained = read_settings(recipe).run.pretrained
    if not (name := name_of_weights(Path(pretrained).name)):
        raise UserError(f"{recipe}: pretrained = {pretrained!r}; expected {named(WEIGHTS_FILE, 'NAME')}")
    return name


def _from_first(recipe: Path, first: Path, out: Path) -> Path:
    """Return a copy of a recipe that has the path of its first stage's weights."""
    folder, name = out.resolve() / "first-stages", _first_stage_of(recipe)
    folder.mkdir(exist_ok=True)
    stage(first / "working", folder, name)
    pretrained = f'pretrained = "{(folder / named(WEIGHTS_FILE, name)).as_posix()}"'
    text = re.sub(r"(?m)^pretrained = .*$", lambda _: pretrained, recipe.read_text(encoding="utf-8"))
    (folder / recipe.name).write_text(text, encoding="utf-8")
    return folder / recipe.name


def _options(option: str, values: Iterable[str | Path]) -> list[str]:
    return [part for value in values for part in (option, str(value))]


if __name__ == "__main__":
    main()
