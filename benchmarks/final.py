"""A study through the built kernels: what it reaches on test images with known labels, and what its training costs.

    PYTHONPATH=src .venv/bin/python -m benchmarks.final DATA OUT --fonts FONT ... [--recipe FILE] [--set KEY=VALUE ...]

Graphemes are rendered from DATA's tables. The recipe has a first stage on them, by the train kernel, and seven folds
that start from its weights, by `multihead cross-validate`. The predict kernel answers the test images with all of them
and 8 test-time copies. The CPU-seconds are those of rendering and of all trainings, not of predicting.

--set changes a setting of the recipe. In the first stage it has no effect on epochs and image_size.

OUT/NAME.log has what each step printed, OUT/NAME.json what it has cost over all tries. The same command skips what is
done, by whatever code: after a change of it name another OUT. Of what was interrupted the study goes on and the other
steps start again.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.costs import cost_of, interrupt_on_signals, run, run_once, set_options
from benchmarks.first_stage import NAME, PRETRAINED, render
from benchmarks.score import CODE, VERSION, deciding_settings
from bundler.errors import BundlerError
from bundler.kaggle.staging import stage, stage_study
from bundler.study.trial import of_files
from multihead.config.data_files import matching
from multihead.config.files import SUBMISSION_FILE
from multihead.config.manifest import sha256_of
from multihead.config.settings_file import read_settings
from multihead.runtime.errors import UserError
from multihead.scoring.evaluation import read_both
from multihead.scoring.metrics import task_score

HOUSE = Path(__file__).resolve().parent.parent
RECIPE = HOUSE / "kernel" / "train" / "settings-cpu.toml"
FIRST_STAGE = ("pretrained=", "epochs=10", "image_size=[64,64]")
FOLDS, WORKERS, THREADS, COPIES = 7, 2, 1, 8


def main(argv: Sequence[str] | None = None) -> None:
    """Do what the command line asks for; a mistake in it is one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a competition's folder, with the truth of its test images")
    parser.add_argument("out", type=Path, help="a folder")
    parser.add_argument("--fonts", type=Path, nargs="+", required=True, help="as docs/further-images.md has them")
    parser.add_argument("--recipe", type=Path, default=RECIPE, help=f"a settings file (default: {RECIPE.name})")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, as above")
    arguments = parser.parse_args(argv)
    try:
        for line in final(arguments.data, arguments.out, arguments.fonts, arguments.recipe, arguments.set):
            print(line, flush=True)
    except (UserError, BundlerError) as error:
        raise SystemExit(f"error: {error}") from error
    except KeyboardInterrupt as error:
        raise SystemExit("interrupted; the same command goes on") from error


def final(data: Path, out: Path, fonts: Sequence[Path], recipe: Path, overrides: Sequence[str]) -> Iterator[str]:
    """Do all of it, and yield what each part has cost, then what the answers to the test images reach."""
    rendered, first, staged, study, weights, predicted = (
        out / name for name in ("rendered", "first", "first-staged", "study", "weights", "predicted")
    )
    task = read_settings(recipe, overrides).task
    read_both(data / task.sample_submission, data, task)  # a truth that is not there is told before the trainings
    images = render(data, rendered, fonts)
    sets = [*overrides, *FIRST_STAGE]
    of_first = images | {"settings": deciding_settings(read_settings(recipe, sets), 0), VERSION: CODE}
    run_once(_rehearsal(rendered, first, ["--kernel", "train", "--settings", recipe], sets), first, of_first)
    staged.mkdir(exist_ok=True)
    stage(first / "working", staged, NAME)
    cross_validate(data, study, recipe, overrides, staged / PRETRAINED)
    parts = [rendered, first, study]
    for part in parts:
        yield f"{part.name}: {cost_of(part).cpu_seconds:,.0f} CPU-seconds"
    is_measured = all(cost_of(part).is_measured for part in parts)
    seconds = sum(cost_of(part).cpu_seconds for part in parts)
    yield f"together: {seconds:,.0f} CPU-seconds{'' if is_measured else ', and what was not measured'}"

    weights.mkdir(exist_ok=True)
    stage_study(study, weights)
    predicted.mkdir(exist_ok=True)
    run(_rehearsal(data, predicted, ["--weights", weights], [f"test_time_copies={COPIES}"]), predicted)
    graded = read_both(predicted / "working" / SUBMISSION_FILE, data, task)
    score = task_score(graded.truth, graded.answers, task)
    yield str(score)
    yield f"{score.present_total:.4f} ± {score.standard_error:.4f} over the classes present, one standard error"


def cross_validate(data: Path, study: Path, recipe: Path, overrides: Sequence[str], weights: Path) -> None:
    """Train a study's folds by a recipe, each from the weights of a first stage, where that was not done yet."""
    settings = read_settings(recipe, overrides)
    names = [name for pattern in settings.task.files_to_train for name in matching(data, pattern)]
    made_of: dict[str, Any] = {
        "images": of_files(data, names, whole=settings.task.labels_file),
        "settings": deciding_settings(settings, THREADS),
        "first stage": sha256_of(weights),
        "folds": FOLDS,
        VERSION: CODE,
    }
    command = [sys.executable, "-m", "multihead_study", "cross-validate", data, "--out", study, "--settings", recipe]
    command += ["--folds", str(FOLDS), "--workers", str(WORKERS), "--threads", str(THREADS)]
    sets = set_options([*overrides, f"pretrained={weights.resolve()}"])
    run_once([*map(str, command), *sets], study, made_of)


def _rehearsal(data: Path, out: Path, options: Sequence[str | Path], overrides: Sequence[str]) -> list[str | Path]:
    program = HOUSE / "build_kernel.py"
    return [sys.executable, program, "rehearse", data, "--out", out, *options, *set_options(overrides)]


if __name__ == "__main__":
    interrupt_on_signals()
    main()
