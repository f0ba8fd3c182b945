"""The command `multihead` at home: the package's commands, and those for many trainings, which travel in no script."""

import argparse
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from bundler.check.preflight import require_preflight
from bundler.errors import BundlerError
from bundler.kaggle.submissions import Submission, read_kept
from bundler.metadata import check_owner
from bundler.repository import HERE
from bundler.study.engines import Engine
from bundler.study.engines.kaggle import Kaggle
from bundler.study.engines.local import Local
from bundler.study.engines.ray import Ray
from bundler.study.study import Request, run_study
from multihead import cli
from multihead.commands import refuse_overwriting
from multihead.config import UserError, visible_gpus
from multihead.config.settings import MAX_STUDY_FOLDS

ENGINES: Mapping[str, Callable[[argparse.Namespace], Engine]] = {
    "local": lambda arguments: Local(arguments.workers, visible_gpus()),
    "ray": lambda arguments: Ray(arguments.workers, visible_gpus(), arguments.address),
    "kaggle": lambda arguments: _kaggle(arguments.workers),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code, as multihead.cli.main does."""
    return cli.main(argv, parser(), run_command)


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    whole, add = cli.parser_and_add()
    _add_cross_validate(add)
    runs = add("runs", "print every training and study below a folder, and leave the same there as runs.html")
    runs.add_argument("folder", nargs="?", type=Path, default=Path(), help="(default: the current one)")
    runs.add_argument("--best", action="store_true", help="the best score of each task first, not the newest")
    _add_compare(add("compare", "print what one study, training or submission gains over another on the same images"))
    return whole


def run_command(arguments: argparse.Namespace) -> None:
    """Run the command of the arguments."""
    match arguments.command:
        case "cross-validate":
            _cross_validate(arguments)
        case "runs":
            _runs(arguments.folder, is_best_first=arguments.best)
        case "compare":
            _compare(arguments)
        case _:
            cli.run_command(arguments)


def _cross_validate(arguments: argparse.Namespace) -> None:
    if arguments.address and arguments.engine != "ray":
        raise UserError(f"--address {arguments.address}: of a Ray cluster; expected --engine ray with it")
    request = Request(
        arguments.data,
        arguments.out,
        arguments.folds,
        arguments.seeds,
        arguments.recipes,
        arguments.set,
        arguments.threads,
        is_data_here=arguments.engine != "kaggle",
        trained=arguments.train_folds,
    )
    try:
        run_study(HERE, request, lambda: ENGINES[arguments.engine](arguments))
    except KeyboardInterrupt:
        print("the same command goes on with it", flush=True)
        raise
    from multihead_study.answers import join

    _print(join(arguments.out).lines())
    print(f"next: build_kernel.py stage {arguments.out}", flush=True)


def _kaggle(workers: int) -> Engine:
    """Return what runs trials at Kaggle, once all holds that a push of the train kernel is held to."""
    check_owner(HERE.root)
    for action in ("build", "push train"):
        require_preflight(HERE.root, action)
    return Kaggle(HERE, workers)


def _runs(folder: Path, *, is_best_first: bool) -> None:
    from multihead_study.ledger import best_first, find_runs
    from multihead_study.run_table import NARROWEST, PAGE_FILE, table, write_page

    submissions: Sequence[Submission] = ()
    try:
        submissions = read_kept(HERE).submissions
    except BundlerError as error:
        print(f"without the leaderboard's scores: {error}")
    runs = find_runs(folder, submissions)
    if is_best_first:
        runs = best_first(runs)
    _print(table(runs, max(NARROWEST, shutil.get_terminal_size((120, 0)).columns)))
    try:
        print(write_page(folder, runs))
    except OSError as error:
        print(f"{folder / PAGE_FILE}: not written ({error.strerror})")


def _compare(arguments: argparse.Namespace) -> None:
    from multihead_study.compare import Truth, compare

    truth = Truth(arguments.truth, cli.task_named(arguments.task)) if arguments.truth else None
    inputs = [path for path in (arguments.before, arguments.after, arguments.truth) if path]
    if arguments.changed:
        refuse_overwriting(arguments.changed, *inputs)
    _print(compare(arguments.before, arguments.after, arguments.changed, truth).lines())


def _add_compare(command: argparse.ArgumentParser) -> None:
    command.add_argument("before", type=Path, help="the folder of a study or a training, or a submission")
    command.add_argument("after", type=Path, help="the same of what may be better")
    command.add_argument("--changed", type=Path, metavar="FILE", help="a CSV file to write: each answer that changed")
    command.add_argument("--truth", type=Path, help="of submissions: what is right, as multihead evaluate takes it")
    command.add_argument("--task", default="bengali", help="of submissions, as above (default: %(default)s)")


def _add_cross_validate(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    command = add("cross-validate", "train a recipe on folds of its images, and score it on those that each held out")
    command.add_argument("data", type=Path, help="the folder of the competition's files")
    command.add_argument(
        "--folds", type=_from(2, MAX_STUDY_FOLDS), required=True, metavar="N", help=f"how many, 2 to {MAX_STUDY_FOLDS}"
    )
    command.add_argument(
        "--train-folds",
        type=_from(2),
        default=0,
        metavar="N",
        help="how many of them to train, the first ones; a larger number later adds trainings (default: as many as the "
        "study has, in a new one all)",
    )
    command.add_argument(
        "--out", type=Path, required=True, metavar="STUDY", help="the study's folder; the same command goes on there"
    )
    command.add_argument(
        "--seeds",
        type=_from(1),
        default=1,
        metavar="N",
        help="trainings of each fold, from the settings' seed on; their probabilities are averaged (default: 1)",
    )
    command.add_argument(
        "--settings",
        "--recipe",
        dest="recipes",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a settings file to train by; several of them train each, and the study finds how much each counts in the "
        "ensemble (default: kernel/train/settings.toml)",
    )
    cli.add_set(command)
    command.add_argument("--engine", choices=ENGINES, default="local", help="what runs the trainings (default: local)")
    command.add_argument(
        "--address",
        default="",
        metavar="HOST:PORT",
        help="the Ray cluster to which this machine belongs, or auto (default: a Ray of this machine alone)",
    )
    command.add_argument(
        "--workers",
        type=_from(1),
        default=0,
        metavar="N",
        help="trainings at a time (default: one per visible GPU, without any one; at Kaggle as many as it allows)",
    )
    command.add_argument(
        "--threads",
        type=_from(1),
        default=0,
        metavar="N",
        help="threads of each training, the same as long as the study lasts (default: this machine's by its workers)",
    )


def _from(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return what reads a whole number of at least and at most so much."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least or (most and int(text) > most):
            expected = f"{least} to {most}" if most else f"{least} or more"
            raise argparse.ArgumentTypeError(f"{text}: expected a whole number, {expected}")
        return int(text)

    return number


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)
