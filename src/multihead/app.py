"""The commands: train, predict, evaluate, report, inspect, settings."""

import argparse
import contextlib
import json
import math
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multihead.config.settings import ModelSettings, RunSettings, Settings, read_settings, settings_dict
from multihead.config.task import TASKS, Task, read_task, task_by_name, what_answers_depend_on
from multihead.data.locate import find_input, is_kernel, is_rerun, working_folder
from multihead.runtime.background import is_busy
from multihead.runtime.errors import UserError, first_line, listed
from multihead.runtime.log import say

if TYPE_CHECKING:  # pandas takes a second to import, and a mistake should not wait for it
    import pandas as pd

    from multihead.config.manifest import Manifest
    from multihead.prediction.predictor import Member, Predictor, Probabilities
    from multihead.prediction.submission import Submission

INTERRUPTED, CLOSED_PIPE = 130, 141  # exit codes: 128 and the number of SIGINT or SIGPIPE
SHEET_FILE = "inspect.png"
MAX_LOST_SHARE = 0.5  # of the rows that were attempted; with more of the most frequent class a score would mislead


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0, or 2 after one line about a mistake of the user's; 1 at Kaggle's.

    It is 130 after Ctrl-C, and 141 where the output's reader went away, as a shell has them.
    Where a thread still reads or hangs, the process ends here, after a traceback too: Python's own end would wait for
    libraries that do, or abort the process in the middle of one.
    """
    code = 1
    try:
        code = _run(_parser().parse_args(argv))
        print(end="", flush=True)  # does nothing where the process was started without an output
    except OSError as error:  # of the output: its reader wants no more, as head does, or its disk is full
        with contextlib.suppress(OSError):  # Python's end would try again to write
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = code or 2
        if isinstance(error, BrokenPipeError):
            code = CLOSED_PIPE
        else:
            print(f"error: the output could not be written: {error}", file=sys.stderr, flush=True)
    except Exception:
        if not is_busy():
            raise
        traceback.print_exc()
    if code and is_kernel():  # Kaggle knows only success and failure
        code = 1
    if is_busy() and "ipykernel" not in sys.modules:
        with contextlib.suppress(OSError, AttributeError):  # a log that takes no more, or none, is no reason to fail
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    return code


def _run(arguments: argparse.Namespace) -> int:
    try:
        if arguments.command == "evaluate":
            of = arguments
            evaluate(of.submission, of.truth, _task_named(of.task), of.train, of.classes)
        elif arguments.command == "report":
            report(arguments.run)
        elif arguments.command == "inspect":
            given = [f"data={arguments.data}"] if arguments.data else []
            inspect(read_settings(arguments.settings, [*arguments.set, *given]), arguments.out)
        else:
            command = {"train": train, "predict": predict, "settings": show_settings}[arguments.command]
            command(read_settings(arguments.settings, arguments.set))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    except KeyboardInterrupt as interruption:
        print(f"interrupted{''.join(f': {text}' for text in interruption.args)}", file=sys.stderr, flush=True)
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except OSError as error:  # a full disk, a file that went away: the machine's fault, and its words are enough
        lines = [frame for frame in traceback.extract_tb(error.__traceback__) if "/multihead/" in frame.filename]
        place = f" ({Path(lines[-1].filename).name}, line {lines[-1].lineno})" if lines else ""
        print(f"error: {type(error).__name__}: {error}{place}", file=sys.stderr, flush=True)
        return 2
    return 0


def train(settings: Settings) -> None:
    """Train on the competition's shards; leave weights, manifest, history, checkpoint and report behind."""
    from multihead.model.devices import prepare_devices

    model, run, task = settings.model, settings.run, settings.task
    _try_augmentation(settings)
    working = working_folder(run.working)
    data = find_input("competition", task.files_to_train, run.data, task.slug)
    say(f"train: {data}")
    prepare_devices(run, model.backbone)
    _check_sample(data, task, model.fold)
    from multihead.config.manifest import read_manifest
    from multihead.training.trainer import Trainer

    Trainer(task, model, run, data, working).train()
    manifest = read_manifest(working)
    score = "{name} {total:.4f}".format(**manifest.score) if manifest.score else "no score"
    say(f"weights: {working}, epoch {manifest.epoch}, validation: {score}")
    from multihead.report.page import write_report
    from multihead.training.record import no_harm

    with no_harm("report"):
        say(f"report: {write_report(working)}")


def _check_sample(data: Path, task: Task, fold: int) -> None:
    """Hold the sample against the test files, where they are there: predicting would find out only after the training.

    Raises UserError where it cannot be answered, or most of its images are not there.
    """
    from multihead.config.data_files import matching
    from multihead.data.datasets import images_to_predict

    if not task.sample_submission or not all(any(True for _ in matching(data, n)) for n in task.files_to_predict):
        return
    images = images_to_predict(data, replace(task, bits=16), fold)  # how many are in use, the training finds out
    missing = images.without_image
    if missing:
        every = len(images.form.every_image) if images.form else 0
        which = f"{len(missing):,} of {every:,} images of {task.sample_submission}"
        problem = f"{which} are in no test file: {listed(missing)}"
        if len(missing) > MAX_LOST_SHARE * every:
            raise UserError(problem)
        say(f"warning: {problem}")


def predict(settings: Settings) -> None:
    """Predict the competition's test files with trained weights; leave submission.csv in the working folder.

    Against the hidden test set a fault costs its own rows only: they get the most frequent class. Before, it is an
    error, so that it is seen before it costs a submission. A task without a hidden test has nothing but these files.
    """
    from multihead.model.devices import prepare_devices

    run = settings.run
    working = working_folder(run.working)
    prepare_devices(run)
    from multihead.config.files import MANIFEST_FILE, PREDICTIONS_FILE, SUBMISSION_FILE, WEIGHTS_FILE, named
    from multihead.config.manifest import read_manifest
    from multihead.data.answers import form_of_images
    from multihead.data.datasets import images_to_predict
    from multihead.prediction.predictor import Predictor
    from multihead.prediction.submission import Submission

    weights = [
        (find_input(_weights_of(name), [named(MANIFEST_FILE, name), named(WEIGHTS_FILE, name)], run.weights), name)
        for name in run.ensemble or [""]
    ]
    manifests = [read_manifest(folder, name) for folder, name in weights]
    manifest = manifests[0]
    for of in manifests:
        _refuse_other_model(settings, of.model)
    _refuse_other_images(run.ensemble, manifests)
    task = manifest.task
    data = find_input("competition", task.files_to_predict, run.data, task.slug)
    largest = max((of.model.as_read(task) for of in manifests), key=lambda of: math.prod(of.image_shape))
    images = images_to_predict(data, largest, manifest.model.fold)
    told = ", ".join(
        f"{folder / name}, epoch {of.epoch}" for (folder, name), of in zip(weights, manifests, strict=True)
    )
    say(f"predict: {data} with {told}")
    members = [_member(folder, of, name) for (folder, name), of in zip(weights, manifests, strict=True)]
    if run.test_time_copies and not all(member.augment for member in members):
        say("warning: no test-time copies, as some weights were trained without an affine or flip step")
    path = working / (SUBMISSION_FILE if images.form else PREDICTIONS_FILE)
    form = images.form or form_of_images([image for part in images.parts for image in part.ids()], task)
    submission = Submission(path, form, manifest.prior, task.sample_submission or "the test files")
    if is_rerun():
        submission.write()
    on_problem = _warn if is_rerun() or not task.has_hidden_test else _refuse
    predictor = Predictor(members, task, run, total_images=submission.images, on_problem=on_problem)
    tables = predictor.predict_files(images.parts)
    rows = _fill(submission, predictor, tables, run, on_problem)
    without_row = [*images.without_row, *predictor.passed_over]
    if without_row:
        which = f"{len(without_row):,} images have no row in {task.sample_submission}"
        say(f"warning: {which}, and are passed over: {listed(without_row)}")
    say(f"stages: {predictor.stages}{_trained_speed(manifests)}")
    say(f"submission: {path} ({rows} rows)")


def _weights_of(name: str) -> str:
    return f"weights {name} (build_kernel.py stage FOLDER --name {name})" if name else "weights"


def _trained_speed(manifests: "Sequence[Manifest]") -> str:
    """Return how fast the networks together were where they were trained, or nothing where that is not known."""
    seconds = [1 / of.images_per_second for of in manifests if of.images_per_second]
    devices = {of.device for of in manifests}
    if len(seconds) < len(manifests) or len(devices) > 1:
        return ""
    return f"; trained on {devices.pop()}, where it answers {1 / sum(seconds):.0f} images a second"


def _member(folder: Path, manifest: "Manifest", name: str) -> "Member":
    from multihead.data.augment import copy_jitter
    from multihead.model.weights import load_model
    from multihead.prediction.logit_adjustment import adjusted_heads
    from multihead.prediction.predictor import Member

    def adjust(probabilities: "Probabilities") -> "Probabilities":
        return adjusted_heads(probabilities, manifest.train_counts, manifest.prior_exponents)

    augment = copy_jitter(manifest.augmentation, dark_ink=manifest.task.dark_ink)
    return Member(load_model(folder, manifest, name), manifest.model, adjust, augment)


def _fill(
    submission: "Submission",
    predictor: "Predictor",
    tables: "Iterator[pd.DataFrame]",
    run: RunSettings,
    on_problem: Callable[[str, Exception | None], None],
) -> int:
    """Put predictions into the submission as they come, and it into the working folder; return its rows."""
    share_on_disk = 0.0
    for table in tables:
        try:
            submission.add(table)
            if is_rerun():
                submission.write()
                share_on_disk = submission.answered_share
        except Exception as error:  # what was written before is still there
            on_problem(first_line(error), error)
    if predictor.is_late:
        on_problem(f"time budget of {run.time_budget_minutes:g} minutes: the rest is not predicted", None)
    for problem in submission.problems():
        on_problem(problem, None)
    attempted = predictor.images_attempted / max(1, submission.images)
    needed = attempted * (1 - MAX_LOST_SHARE)
    if submission.answered_share < needed:
        lost = 1 - submission.answered_share / attempted
        raise UserError(f"{lost:.0%} of the rows that were attempted have no prediction; their score would say nothing")
    try:
        submission.write()
    except OSError as error:
        if not share_on_disk or share_on_disk < needed:
            raise
        on_problem(f"{error}; {share_on_disk:.0%} of the rows in the file are predicted", error)
    return submission.rows


def _refuse(problem: str, cause: Exception | None) -> None:
    if cause and not isinstance(cause, UserError):
        raise cause
    raise UserError(problem)


def _warn(problem: str, cause: Exception | None) -> None:
    kind = f"{type(cause).__name__}: " if cause and not isinstance(cause, UserError) else ""
    say(f"warning: {kind}{problem}")


def show_settings(settings: Settings) -> None:
    """Print every setting as a run with these would have it, as TOML."""
    _try_augmentation(settings)
    for table, values in (("model", settings.model), ("run", settings.run)):
        print(f"[{table}]")
        for key, value in settings_dict(values).items():
            print(f"{key} = {_toml(value)}")


def _toml(value: Any) -> str:
    """Return plain values as TOML; a table on one line."""
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_toml_key(key)} = {_toml(of)}' for key, of in value.items())} }}"
    return json.dumps(value)


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[\w-]+", key, re.ASCII) else json.dumps(key)


def _try_augmentation(settings: Settings) -> None:
    from multihead.data.augment import try_steps

    try_steps(settings.run.augmentation, (*settings.model.image_size, settings.task.image_shape[2]))


def evaluate(submission: Path, truth: Path, task: Task, train: Path | None, classes: Path | None) -> None:
    """Print the score of a submission, what each head reaches, and the worst classes."""
    from multihead.scoring.evaluation import classes_table, read_both, read_train_labels, score_lines

    if classes:
        _refuse_overwriting(classes, submission, truth, *([train] if train else []))
    told, true = read_both(submission, truth, task)
    table = classes_table(told, true, task)
    for line in score_lines(told, true, task, read_train_labels(train, task) if train else None, table):
        print(line)
    if classes:
        table.to_csv(classes, index=False, lineterminator="\n")
        print(f"recall per class: {classes}")


def _refuse_overwriting(out: Path, *inputs: Path) -> None:
    """Raise UserError for an output that would take the place of an input, or of a file in one but an older sheet."""
    for path in inputs:
        if out.exists() and out.name != SHEET_FILE and out.resolve().is_relative_to(path.resolve()):
            raise UserError(f"{out}: would be written over, but it is among what is read; name another file")


def _task_named(name: str) -> Task:
    return read_task(Path(name)) if name.endswith(".toml") else task_by_name(name)


def report(run: Path) -> None:
    """Draw what a training left in a folder: pictures and one page, in its folder report."""
    from multihead.report.page import write_report

    print(f"report: {write_report(run)}")


def inspect(settings: Settings, picture: Path) -> None:
    """Print what the train files hold and what is wrong with them; write a sheet of samples."""
    from multihead.report.inspection import inspect as lines_of

    task = settings.task
    data = find_input("competition", task.files_to_train, settings.run.data, task.slug)
    _refuse_overwriting(picture, data)
    for line in lines_of(data, task, picture, settings.model.fold):
        print(line, flush=True)


def _refuse_other_images(names: Sequence[str], manifests: "Sequence[Manifest]") -> None:
    first = manifests[0]
    for name, of in zip(names, manifests, strict=False):
        tasks = what_answers_depend_on(of.task), what_answers_depend_on(first.task)
        if tasks[0] != tasks[1] or of.model.fold != first.model.fold:
            raise UserError(f"ensemble: {name} has another task or fold than {names[0]}")


def _refuse_other_model(settings: Settings, of_weights: ModelSettings) -> None:
    for key in sorted(settings.given_model_keys):
        given, trained = getattr(settings.model, key), getattr(of_weights, key)
        if given != trained:
            raise UserError(
                f"{key} = {given!r}, but the weights were trained with {trained!r}; leave it out to predict"
            )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="multihead", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in (("train", train), ("predict", predict), ("settings", show_settings)):
        run = commands.add_parser(name, help=command.__doc__)
        _add_settings(run)
    drawing = commands.add_parser("report", help=report.__doc__)
    drawing.add_argument("run", type=Path, help="the working folder of a training, or what was pulled of it")
    looking = commands.add_parser("inspect", help=inspect.__doc__)
    looking.add_argument("data", nargs="?", help="a competition folder (default: the setting data)")
    looking.add_argument("--out", type=Path, default=Path(SHEET_FILE), help="the sheet (default: %(default)s)")
    _add_settings(looking)
    score = commands.add_parser("evaluate", help=evaluate.__doc__)
    score.add_argument("submission", type=Path)
    score.add_argument(
        "truth", type=Path, help="a file in the submission's form, labelled test images, or their folder"
    )
    score.add_argument("--train", type=Path, help="the table of train labels, to score seen and unseen apart")
    score.add_argument("--classes", type=Path, help="a CSV file to write, with the recall of each class")
    score.add_argument("--task", default="bengali", help=f"one of {', '.join(TASKS)}, or a task.toml")
    return parser


def _add_settings(command: argparse.ArgumentParser) -> None:
    command.add_argument("--settings", type=Path, help="a TOML file with the tables [model] and [run]")
    command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override one setting")


if __name__ == "__main__":
    raise SystemExit(main())
