"""A study through the built kernels: what it reaches on test images with known labels, and what its training costs.

    PYTHONPATH=src .venv/bin/python -m benchmarks.final DATA OUT --fonts FONT ... [--recipe FILE] [--folds N]
        [--train-folds N] [--seeds N] [--set KEY=VALUE]... [--first KEY=VALUE]...

Graphemes are rendered from DATA's tables. The recipe has a first stage on them, by the train kernel, and folds that
start from its weights, by `multihead cross-validate`: the first four of twelve, or as --folds, --train-folds and
--seeds say. The predict kernel answers the test images with all of them and 8 test-time copies. The CPU-seconds are
those of rendering and of all trainings, not of predicting.

--set changes a setting of the recipe. The first stage has its own epochs and image_size, which --first changes.

OUT/NAME.log has what each step printed, OUT/NAME.json what it has cost over all tries. The same command skips the steps
that are finished, also where another code did them: after a change of the code name another OUT. An interrupted study
goes on, any other interrupted step starts again.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.costs import CODE, VERSION, cost_of, deciding_settings, run, run_once, set_options
from benchmarks.first_stage import NAME, PRETRAINED, render
from benchmarks.programs import interrupt_on_signals, printed
from bundler.kaggle.staging import stage, stage_study
from bundler.study.lock import locked
from bundler.study.study import is_share
from bundler.study.trial import of_files
from multihead.config.data_files import matching
from multihead.config.ensemble import read_ensemble
from multihead.config.files import SUBMISSION_FILE
from multihead.config.manifest import sha256_of
from multihead.config.settings import MAX_STUDY_FOLDS, Settings
from multihead.config.settings_file import read_settings
from multihead.config.task import Task
from multihead.runtime.errors import UserError
from multihead.scoring.evaluation import read_both
from multihead.scoring.metrics import task_score
from multihead.scoring.paired import paired_gain

HOUSE = Path(__file__).resolve().parent.parent
RECIPE = HOUSE / "kernel" / "train" / "settings-cpu.toml"
FIRST_STAGE = ("pretrained=", "epochs=10", "image_size=[64,64]")
FOLDS, TRAINED = 12, 4
WORKERS, THREADS, COPIES = 2, 1, 8
STUDY = "study"


class Recipe(NamedTuple):
    """A settings file, what is set in it for the folds and the first stage, as --set takes it, and how many folds.

    trained: how many of the folds, the first ones. seeds: how often each.
    """

    file: Path
    sets: Sequence[str]
    sets_of_first_stage: Sequence[str]
    folds: int = FOLDS
    trained: int = TRAINED
    seeds: int = 1

    def settings(self) -> Settings:
        """Return the settings of the folds; UserError if they are none."""
        return read_settings(self.file, self.sets)

    def settings_of_first_stage(self) -> Settings:
        """Return the settings of the first stage; UserError if they are none."""
        return read_settings(self.file, self.sets_of_first_stage)


def main(argv: Sequence[str] | None = None) -> None:
    """Do what the command line asks for; a mistake in it is one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a competition's folder, with the truth of its test images")
    parser.add_argument("out", type=Path, help="a folder")
    parser.add_argument("--fonts", type=Path, nargs="+", required=True, help="as docs/further-images.md has them")
    parser.add_argument("--recipe", type=Path, default=RECIPE, help=f"a settings file (default: {RECIPE.name})")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, as above")
    parser.add_argument("--folds", type=int, choices=range(2, MAX_STUDY_FOLDS + 1), metavar="N")
    parser.add_argument(
        "--train-folds", type=int, metavar="N", help="how many of them (default: four, with --folds all)"
    )
    parser.add_argument("--seeds", type=int, choices=range(1, 11), default=1, metavar="N", help="of each (default: 1)")
    parser.add_argument("--first", action="append", default=[], metavar="KEY=VALUE", help="one of the first stage")
    arguments = parser.parse_args(argv)
    sets_of_first_stage = [*arguments.set, *FIRST_STAGE, *arguments.first]
    folds = arguments.folds or FOLDS
    trained = (folds if arguments.folds else TRAINED) if arguments.train_folds is None else arguments.train_folds
    if not is_share(trained, folds):
        parser.error(f"--train-folds {trained}: expected 2 to {folds}")
    recipe = Recipe(arguments.recipe, arguments.set, sets_of_first_stage, folds, trained, arguments.seeds)
    printed(final(arguments.data, arguments.out, arguments.fonts, recipe))


def final(data: Path, out: Path, fonts: Sequence[Path], recipe: Recipe) -> Iterator[str]:
    """Do all of it, and yield what each part has cost, then what the answers to the test images reach."""
    task = recipe.settings().task  # mistakes in them are told before the trainings
    of_first_stage = recipe.settings_of_first_stage()
    read_both(data / task.sample_submission, data, task)  # and so is a truth that is not there
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        yield from _trained(data, out, fonts, recipe, of_first_stage)
        yield from _graded(data, out, task)


def _trained(data: Path, out: Path, fonts: Sequence[Path], recipe: Recipe, of_first_stage: Settings) -> Iterator[str]:
    rendered, first, staged, study = (out / name for name in ("rendered", "first", "first-staged", STUDY))
    made_of = render(data, rendered, fonts) | {"settings": deciding_settings(of_first_stage), VERSION: CODE}
    options: list[str | Path] = ["--kernel", "train", "--settings", recipe.file]
    run_once(_rehearsal(rendered, first, options, recipe.sets_of_first_stage), first, made_of)
    staged.mkdir(exist_ok=True)
    stage(first / "working", staged, NAME)
    cross_validate(data, study, recipe, staged / PRETRAINED)
    expected, found = recipe.trained * recipe.seeds, len(read_ensemble(study).members)
    if found != expected:
        raise UserError(f"{study}: has {found} trainings, of another command as well; expected {expected}")
    parts = [rendered, first, study]
    for part in parts:
        yield f"{part.name}: {cost_of(part).cpu_seconds:,.0f} CPU-seconds"
    is_measured = all(cost_of(part).is_measured for part in parts)
    seconds = sum(cost_of(part).cpu_seconds for part in parts)
    yield f"together: {seconds:,.0f} CPU-seconds{'' if is_measured else ', and what was not measured'}"


def _graded(data: Path, out: Path, task: Task) -> Iterator[str]:
    weights, predicted = out / "weights", out / "predicted"
    weights.mkdir(exist_ok=True)
    stage_study(out / STUDY, weights)
    predicted.mkdir(exist_ok=True)
    run(_rehearsal(data, predicted, ["--weights", weights], [f"test_time_copies={COPIES}"]), predicted)
    graded = read_both(predicted / "working" / SUBMISSION_FILE, data, task)
    score = task_score(graded.truth, graded.answers, task)
    yield str(score)
    wrong = {head: (classes + 1) % len(task.heads[head]) for head, classes in graded.truth.items()}
    gain, _ = paired_gain(graded.truth, wrong, graded.answers, task)  # over R = 0, so that its interval is R's
    yield (
        f"over the classes present: {score.present_total:.4f} ± {score.standard_error:.4f}, one standard error; "
        f"95 % interval by bootstrap {gain.low:.4f} to {gain.high:.4f}"
    )


def cross_validate(data: Path, study: Path, recipe: Recipe, weights: Path) -> None:
    """Train a study's folds by a recipe, each from the weights of a first stage, where that was not done yet."""
    settings = recipe.settings()
    names = [name for pattern in settings.task.files_to_train for name in matching(data, pattern)]
    made_of: dict[str, Any] = {
        "images": of_files(data, names, whole=settings.task.labels_file),
        "settings": deciding_settings(settings, THREADS),
        "first stage": sha256_of(weights),
        "folds": [recipe.folds, recipe.trained, *([recipe.seeds] if recipe.seeds > 1 else [])],
        VERSION: CODE,
    }
    command = [sys.executable, "-m", "multihead_study", "cross-validate", data, "--out", study]
    command += [
        "--settings",
        recipe.file,
        "--folds",
        recipe.folds,
        "--train-folds",
        recipe.trained,
        "--seeds",
        recipe.seeds,
    ]
    command += ["--workers", WORKERS, "--threads", THREADS]
    sets = set_options([*recipe.sets, f"pretrained={weights.resolve()}"])
    run_once([*map(str, command), *sets], study, made_of)


def _rehearsal(data: Path, out: Path, options: Sequence[str | Path], overrides: Sequence[str]) -> list[str | Path]:
    program = HOUSE / "build_kernel.py"
    return [sys.executable, program, "rehearse", data, "--out", out, *options, *set_options(overrides)]


if __name__ == "__main__":
    interrupt_on_signals()
    main()
