"""A study through the built kernels: what it reaches on test images whose labels are known, and all that it costs.

    PYTHONPATH=src .venv/bin/python -m benchmarks.final DATA OUT --fonts FONT [FONT ...] [--recipe FILE ...]

Graphemes are rendered from DATA's tables. Each recipe has a first stage on them, by the train kernel, and ten folds
that start from its weights, by `multihead cross-validate`. The predict kernel answers the test images with all of them
and 8 test-time copies. The CPU-seconds are those of rendering and of all trainings.

OUT/NAME.log has what each step printed, OUT/NAME.json what it has cost over all tries. The same command skips what is
done. Of what was interrupted the study goes on and the other steps start again. With one more --recipe, its folds are
added to the study.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.costs import cost_of, interrupt_on_signals, run, run_once
from benchmarks.first_stage import render
from benchmarks.score import CODE, VERSION, deciding_settings
from bundler.errors import BundlerError
from bundler.kaggle.staging import stage, stage_study
from bundler.study.study import STUDY_FILE, read_study
from bundler.study.trial import of_files
from multihead.config.data_files import matching
from multihead.config.files import SUBMISSION_FILE, WEIGHTS_FILE, name_of_weights, named
from multihead.config.manifest import sha256_of
from multihead.config.settings import settings_dict
from multihead.config.settings_file import read_settings
from multihead.config.toml_text import settings_text
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
    """Do all of it, and yield what each part has cost, then what the answers to the test images reach."""
    rendered, study, weights, predicted = (out / name for name in ("rendered", "study", "weights", "predicted"))
    _check(recipes, study)
    task = read_settings(recipes[0]).task
    read_both(data / task.sample_submission, data, task)  # a truth that is not there is told before the trainings
    images = render(data, rendered, fonts)
    first_stages = {recipe: out / f"first-{recipe.stem}" for recipe in recipes}
    for recipe, first in first_stages.items():
        settings = deciding_settings(read_settings(recipe, FIRST_STAGE), 0)
        options = ["--kernel", "train", "--settings", str(recipe), *_options("--set", FIRST_STAGE)]
        run_once(_rehearsal(rendered, first, options), first, images | {"settings": settings, VERSION: CODE})
    cross_validate(data, study, first_stages)
    parts = [rendered, *first_stages.values(), study]
    for part in parts:
        yield f"{part.name}: {cost_of(part).cpu_seconds:,.0f} CPU-seconds"
    is_measured = all(cost_of(part).is_measured for part in parts)
    seconds = sum(cost_of(part).cpu_seconds for part in parts)
    yield f"together: {seconds:,.0f} CPU-seconds{'' if is_measured else ', and what was not measured'}"

    weights.mkdir(exist_ok=True)
    stage_study(study, weights)
    predicted.mkdir(exist_ok=True)
    options = ["--weights", str(weights), "--set", f"test_time_copies={COPIES}"]
    run(_rehearsal(data, predicted, options), predicted)
    graded = read_both(predicted / "working" / SUBMISSION_FILE, data, task)
    score = task_score(graded.truth, graded.answers, task)
    yield str(score)
    yield f"{score.present_total:.4f} ± {score.standard_error:.4f} over the classes present, one standard error"


def cross_validate(data: Path, study: Path, first_stages: Mapping[Path, Path]) -> None:
    """Train a study's folds by each recipe from its first stage, where that was not done yet."""
    task = read_settings(next(iter(first_stages))).task
    names = [name for pattern in task.files_to_train for name in matching(data, pattern)]
    made_of: dict[str, Any] = {"data": of_files(data, names, whole=task.labels_file)}
    copies = []
    for recipe, first in first_stages.items():
        copies.append(_from_first_stage(recipe, first, study.with_name("first-stages")))
        weights = sha256_of(first / "working" / WEIGHTS_FILE)
        made_of[recipe.stem] = deciding_settings(read_settings(recipe), THREADS) | {"first stage": weights}
    cost = cost_of(study)
    if cost.is_finished and cost.made_of == made_of:
        return
    command = [sys.executable, "-m", "multihead_study", "cross-validate", str(data), "--out", str(study)]
    command += ["--folds", str(FOLDS), "--workers", str(WORKERS), "--threads", str(THREADS)]
    run([*command, *_options("--recipe", copies)], study, made_of)


def _check(recipes: Sequence[Path], study: Path) -> None:
    """Raise UserError where recipes could not share an OUT, or the study has more of them."""
    for what, names in (
        ("file", [recipe.stem for recipe in recipes]),
        ("first stage", list(map(_pretrained, recipes))),
    ):
        if len(set(names)) < len(names):
            raise UserError(f"recipes: {', '.join(names)}; expected a {what} of its own for each")
    if (study / STUDY_FILE).is_file():
        more = set(read_study(study).recipes) - {recipe.stem for recipe in recipes}
        if more:
            raise UserError(f"{study}: has {', '.join(sorted(more))} as well; give each --recipe, or another OUT")


def _pretrained(recipe: Path) -> str:
    """Return what a recipe calls the weights that it starts from."""
    pretrained = read_settings(recipe).run.pretrained
    if not (name := name_of_weights(Path(pretrained).name)):
        raise UserError(f"{recipe}: pretrained = {pretrained!r}; expected {named(WEIGHTS_FILE, 'NAME')}")
    return name


def _from_first_stage(recipe: Path, first: Path, folder: Path) -> Path:
    """Put the weights of a first stage into a folder, and a copy of its recipe that has their path; return the copy."""
    folder.mkdir(exist_ok=True)
    name, settings = _pretrained(recipe), read_settings(recipe)
    stage(first / "working", folder, name)
    pretrained = {"pretrained": str(folder.resolve() / named(WEIGHTS_FILE, name))}
    copy = folder / recipe.name
    text = settings_text({"model": settings_dict(settings.model), "run": settings_dict(settings.run) | pretrained})
    copy.write_text(text, encoding="utf-8")
    return copy


def _rehearsal(data: Path, out: Path, options: Sequence[str]) -> list[str | Path]:
    return [sys.executable, HOUSE / "build_kernel.py", "rehearse", data, "--out", out, *options]


def _options(option: str, values: Iterable[str | Path]) -> list[str]:
    return [part for value in values for part in (option, str(value))]


if __name__ == "__main__":
    interrupt_on_signals()
    main()
