"""The command `multihead` at home: the package's commands, and those for many trainings, which travel in no script."""

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bundler.repository import HERE
from bundler.study.engines import Local
from bundler.study.study import Request, run_study
from multihead import cli
from multihead.config import visible_gpus
from multihead.config.settings import MAX_STUDY_FOLDS

ENGINES = {"local": lambda arguments: Local(arguments.workers, visible_gpus())}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code, as multihead.cli.main does."""
    return cli.main(argv, parser(), run_command)


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    whole, add = cli.parser_and_add()
    _add_cross_validate(add)
    runs = add("runs", "print every training and study below a folder, and leave the same there as runs.html")
    runs.add_argument("folder", nargs="?", type=Path, default=Path(), help="(default: the current one)")
    compare = add("compare", "print the paired gain of one study or trial over another, and the images that changed")
    compare.add_argument("before", type=Path, help="the folder of a study or of one of its trials")
    compare.add_argument("after", type=Path, help="the same of what may be better")
    compare.add_argument("--changed", type=Path, metavar="FILE", help="a CSV file to write: each answer that changed")
    return whole


def run_command(arguments: argparse.Namespace) -> None:
    """Run the command of the arguments."""
    match arguments.command:
        case "cross-validate":
            _cross_validate(arguments)
        case "runs":
            _runs(arguments.folder)
        case "compare":
            from multihead_study.compare import compare

            _print(compare(arguments.before, arguments.after, arguments.changed).lines())
        case _:
            cli.run_command(arguments)


def _cross_validate(arguments: argparse.Namespace) -> None:
    request = Request(
        arguments.data,
        arguments.out,
        arguments.folds,
        arguments.seeds,
        arguments.settings,
        arguments.set,
        arguments.threads,
    )
    run_study(HERE, request, ENGINES[arguments.engine](arguments))
    from multihead_study.answers import join

    _print(join(arguments.out).lines())


def _runs(folder: Path) -> None:
    from multihead_study.ledger import find_runs, table, write_page

    runs = find_runs(folder)
    _print(table(runs))
    print(write_page(folder, runs))


def _add_cross_validate(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    command = add("cross-validate", "train a recipe on every fold of its images, and score it on all of them")
    command.add_argument("data", type=Path, help="the folder of the competition's files")
    command.add_argument(
        "--folds", type=_from(2, MAX_STUDY_FOLDS), required=True, metavar="N", help=f"how many, 2 to {MAX_STUDY_FOLDS}"
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
    cli.add_settings(command, default="kernel/train/settings.toml")
    command.add_argument("--engine", choices=ENGINES, default="local", help="what runs the trainings (default: local)")
    command.add_argument(
        "--workers",
        type=_from(1),
        default=0,
        metavar="N",
        help="trainings at a time (default: one per visible GPU, without any one)",
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
