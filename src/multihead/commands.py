"""The commands as plain functions: train, predict, label, evaluate, report, inspect, settings, schema.

Each imports arrays and networks itself: that takes seconds, and a mistake should not wait for them.
"""

import json
import math
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multihead.config.files import (
    PREDICTIONS_FILE,
    SOFT_LABELS_FILE,
    TRIAL_LOG_FILE,
    WEIGHTS_FILE,
    glob_of,
)
from multihead.config.manifest import read_manifest
from multihead.config.schema import DIALECT, settings_schema, task_schema
from multihead.config.settings import RunSettings, Settings, settings_dict
from multihead.config.settings_file import trials_of
from multihead.config.task import Task
from multihead.config.toml_text import settings_text
from multihead.data.locate import find_input, is_rerun, working_folder
from multihead.runtime.children import Place, channel, places, run_all
from multihead.runtime.errors import UserError, first_line, listed
from multihead.runtime.events import STAGES, tell
from multihead.runtime.log import log
from multihead.runtime.whole_files import whole_file

if TYPE_CHECKING:
    import pandas as pd

    from multihead.prediction.predictor import Predictor, Probabilities
    from multihead.prediction.stages import Stages
    from multihead.prediction.submission import Submission
    from multihead.prediction.trained import Weights
    from multihead.prediction.workers import Workers

SAMPLES_FILE = "inspect.html"
# Polars' allocator keeps what the footers of some sixteen files took, tens of thousands of columns each. With this it
# gives memory back after half a second, which makes reading some 9 % slower.
ALLOCATOR = ("_RJEM_MALLOC_CONF", "dirty_decay_ms:500,muzzy_decay_ms:0")
MAX_LOST_SHARE = 0.5  # of the rows that were attempted; with more of the prior's answer a score would mislead

OnProblem = Callable[[str, Exception | None], None]


def train(settings: Settings, varied: Collection[str] = ()) -> None:
    """Train on the competition's shards; leave weights, manifest, history, checkpoint and report behind.

    With trials, each does so in a process of its own. varied: in such a process, the settings in which trials differ.
    """
    if settings.run.trials:
        _train_trials(settings)
        return
    from multihead.model.devices import prepare_devices

    model, run, task = settings.model, settings.run, settings.task
    _try_augmentation(settings)
    working = working_folder(run.working)
    data = find_input("competition", task.files_to_train, run.data, task.slug)
    log.info(f"train: {data}")
    run = prepare_devices(run, [model.backbone])
    _check_sample(data, task, model.fold)
    from multihead.training.trainer import Trainer

    Trainer(task, model, run, data, working, varied).train()
    manifest = read_manifest(working)
    score = "{name} {total:.4f}".format(**manifest.score) if manifest.score else "no score"
    log.info(f"weights: {working}, epoch {manifest.epoch}, validation: {score}")
    from multihead.report.page import write_report
    from multihead.training.record import no_harm

    with no_harm("report"):
        log.info(f"report: {write_report(working)}")


def _train_trials(settings: Settings) -> None:
    """Run each trial in a process of its own, as many at a time as there are workers, in a folder of its name.

    One that fails is a warning: the output of a kernel that fails cannot be counted on. Raises UserError where none
    left weights.
    """
    run, working = settings.run, working_folder(settings.run.working)
    find_input("competition", settings.task.files_to_train, run.data, settings.task.slug)
    varied = frozenset(key for changed in run.trials for key in changed)
    chosen, trials = trials_of(settings), {}
    for trial in chosen.values():  # all of them before a folder is made
        _try_augmentation(trial)
    for name, trial in chosen.items():
        folder = working / name
        folder.mkdir(exist_ok=True)
        own = replace(trial.run, working=str(folder), trials=(), workers=1)
        trials[name] = (trial._replace(run=own), varied)
    where = places(run.workers)
    log.info(f"{len(trials)} trials, {min(len(trials), len(where))} at a time: {', '.join(trials)}")
    logs = {name: working / name / TRIAL_LOG_FILE for name in trials}
    failed = run_all(trials, where, logs, run.deadline(), run.time_budget_minutes * 60 or math.inf)
    if failed:
        reasons = "; ".join(f"{name}: {why}" for name, why in failed.items())
        problem = f"{len(failed)} of {len(trials)} trials failed: {reasons}"
        if not any((working / name / WEIGHTS_FILE).is_file() for name in trials):
            raise UserError(problem)
        log.warning(problem)


def child() -> None:
    """Do what a process with several GPUs has its children do: a trial, or to predict some of the test files."""
    connection = channel()
    from multihead.prediction.work import Work

    work = connection.recv()
    match work:
        case (Settings() as settings, varied):
            train(settings, varied)
        case Work():
            work = work._replace(run=_prepared(work.run, work.weights))  # before Keras is loaded
            from multihead.prediction.worker import answer_parent

            answer_parent(connection, work)


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
        log.warning(problem)


def predict(settings: Settings) -> None:
    """Predict the competition's test files with trained weights; leave submission.csv in the working folder.

    Against the hidden test set a fault costs its own rows only: they get the prior's answer. Before, it is an
    error, so that it is seen before it costs a submission. A task without a hidden test has nothing but these files.
    """
    os.environ.setdefault(*ALLOCATOR)  # before polars is loaded, here and in children
    from multihead.data.answers import form_of_images
    from multihead.data.datasets import images_to_predict
    from multihead.prediction.submission import Submission
    from multihead.prediction.trained import find_weights, prior_of

    run = settings.run
    working = working_folder(run.working)
    weights = find_weights(settings)
    where = places(run.workers)
    if len(where) == 1:
        run = _prepared(run, weights)
    first, task = weights.trained[0].manifest, weights.task
    data = find_input("competition", task.files_to_predict, run.data, task.slug)
    images = images_to_predict(data, _read_by_all(weights), first.model.fold)
    log.info(f"predict: {data} with {weights}")
    path = working / (task.submission_file if images.form else PREDICTIONS_FILE)
    form = images.form or form_of_images([image for part in images.parts for image in part.ids()], task)
    submission = Submission(path, form, prior_of(weights), task.sample_submission or "the test files")
    on_problem = _warn if is_rerun() or not task.has_hidden_test else _refuse
    predictor = _predictor(where, weights, run, submission.images, on_problem)
    if is_rerun():  # it is there already, with the prior's answers, whatever becomes of this run
        submission.write()
    _fill(submission, predictor, predictor.predict_files(images.parts), run, on_problem)
    without_row = [*images.without_row, *predictor.passed_over]
    if without_row:
        which = f"{len(without_row):,} images have no row in {task.sample_submission}"
        log.warning(f"{which}, and are passed over: {listed(without_row)}")
    _say_stages(predictor.stages, weights, min(len(where), len(images.parts)))
    log.info(f"submission: {path} ({submission.rows} rows)")


def label(settings: Settings, folder: Path, files: str) -> None:
    """Predict all images in a folder, and leave each one's probabilities there, as SOFT_LABELS_FILE, to train on.

    files: their pattern; "" for the task's test files, or its train files where it has none. The probabilities are the
    average of the members' own, with the prior left in: what a training expects of labels.
    """
    import numpy as np

    from multihead.data.datasets import all_to_read, images_to_predict
    from multihead.prediction.members import load_members
    from multihead.prediction.predictor import Predictor
    from multihead.prediction.trained import find_weights
    from multihead.scoring.out_of_fold import OutOfFold, write_out_of_fold

    weights = find_weights(settings)
    run, task = _prepared(settings.run, weights), weights.task
    pattern = files or task.test_files or task.train_files
    images = images_to_predict(
        find_input("images", [glob_of(pattern)], str(folder)), all_to_read(_read_by_all(weights), pattern)
    )
    log.info(f"label: {folder} with {weights}")
    members = [member._replace(adjust=dict) for member in load_members(weights, run)]
    total = sum(len(part.ids()) for part in images.parts)
    predictor = Predictor(members, task, run, total_images=total, on_problem=_warn, finish=_by_head_and_class)
    tables = list(predictor.predict_files(images.parts))
    ids = [name for table in tables for name in table.index]
    if not ids:
        raise UserError(f"{folder}: no image could be labelled")
    probabilities = {
        head: np.concatenate([table[head].to_numpy(np.float32) for table in tables]) for head in task.heads
    }
    write_out_of_fold(folder / SOFT_LABELS_FILE, OutOfFold("", ids, {}, probabilities))
    log.info(f"soft labels: {folder / SOFT_LABELS_FILE} ({len(ids):,} of {total:,} images)")


def _by_head_and_class(probabilities: "Probabilities") -> dict[Any, Any]:
    return {(head, place): column for head, rows in probabilities.items() for place, column in enumerate(rows.T)}


def _read_by_all(weights: "Weights") -> Task:
    """Return the task with images as large as the member needs them that sees most: all others' can be made of them."""
    as_read = [trained.manifest.model.as_read(weights.task) for trained in weights.trained]
    return max(as_read, key=lambda read: math.prod(read.image_shape))


def _prepared(run: RunSettings, weights: "Weights") -> RunSettings:
    from multihead.model.devices import prepare_devices

    return prepare_devices(run, [trained.manifest.model.backbone for trained in weights.trained])


def _predictor(
    where: Sequence[Place], weights: "Weights", run: RunSettings, images: int, on_problem: OnProblem
) -> "Predictor | Workers":
    """Return what predicts so many images: in this process, its devices prepared, or in one at each of several places.

    This one never loads a network in the second case.
    """
    if len(where) > 1:
        from multihead.prediction.workers import Workers

        return Workers(where, weights, run, total_images=images, on_problem=on_problem)
    from multihead.prediction.members import load_members
    from multihead.prediction.predictor import Predictor
    from multihead.prediction.trained import finish_of

    members, finish = load_members(weights, run), finish_of(weights)
    return Predictor(members, weights.task, run, total_images=images, on_problem=on_problem, finish=finish)


def _fill(
    submission: "Submission",
    predictor: "Predictor | Workers",
    tables: "Iterator[pd.DataFrame]",
    run: RunSettings,
    on_problem: OnProblem,
) -> None:
    """Put predictions into the submission as they come, and it into the working folder."""
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


def _refuse(problem: str, cause: Exception | None) -> None:
    if cause and not isinstance(cause, UserError):
        raise cause
    raise UserError(problem)


def _warn(problem: str, cause: Exception | None) -> None:
    kind = f"{type(cause).__name__}: " if cause and not isinstance(cause, UserError) else ""
    log.warning(f"{kind}{problem}")


def _say_stages(stages: "Stages", weights: "Weights", workers: int) -> None:
    """Say what each stage took, and how fast the networks together were where they were trained, if that is known.

    workers: how many processes went through the stages beside each other.
    """
    manifests = [trained.manifest for trained in weights.trained]
    seconds = [1 / manifest.images_per_second for manifest in manifests if manifest.images_per_second]
    devices = {manifest.device for manifest in manifests}
    is_known = len(seconds) == len(manifests) and len(devices) == 1
    device, speed = (devices.pop(), 1 / sum(seconds)) if is_known else ("", 0.0)
    trained = f"; trained on {device}, where it answers {speed:.0f} images a second" if is_known else ""
    each = f" on average in each of {workers} processes" if workers > 1 else ""
    log.info(f"stages: {stages}{each}{trained}")
    tell(STAGES, **stages._asdict(), device=device, images_per_second=workers * speed, workers=workers)


def evaluate(submission: Path, truth: Path, task: Task, train: Path | None, classes: Path | None) -> None:
    """Print the score of a submission, what each head reaches, and the worst classes."""
    from multihead.scoring.evaluation import classes_table, read_both, read_train_labels, score_lines

    if classes:
        refuse_overwriting(classes, submission, truth, *([train] if train else []))
    graded = read_both(submission, truth, task)
    table = classes_table(graded, task)
    for line in score_lines(graded, task, read_train_labels(train, task) if train else None, table):
        print(line)
    if classes:
        table.to_csv(classes, index=False, lineterminator="\n")
        print(f"each class: {classes}")


def report(run: Path) -> None:
    """Draw what a training left in a folder: pictures and one page, in its folder report."""
    from multihead.report.page import write_report

    print(f"report: {write_report(run)}")


def inspect(settings: Settings, out: Path) -> None:
    """Print what the train files hold and what is wrong with them; write a page of samples."""
    from multihead.report.inspection import inspect as lines_of

    task = settings.task
    data = find_input("competition", task.files_to_train, settings.run.data, task.slug)
    refuse_overwriting(out, data)
    for line in lines_of(data, task, out, settings.model.fold):
        print(line, flush=True)


def refuse_overwriting(out: Path, *inputs: Path) -> None:
    """Raise UserError for an output that would take the place of an input, or of a file in one but an older page."""
    for path in inputs:
        if out.exists() and out.name != SAMPLES_FILE and out.resolve().is_relative_to(path.resolve()):
            raise UserError(f"{out}: would be written over, but it is among what is read; name another file")


def settings(settings: Settings) -> None:
    """Print every setting as a run with these would have it, as TOML."""
    _try_augmentation(settings)
    print(settings_text({"model": settings_dict(settings.model), "run": settings_dict(settings.run)}), end="")


def _try_augmentation(settings: Settings) -> None:
    from multihead.data.augment import try_steps

    try_steps(settings.run.augmentation, (*settings.model.image_size, settings.task.image_shape[2]))


def schema(folder: Path | None) -> None:
    """Write the JSON schemas of settings.toml and task.toml into a folder, as settings.json and task.json.

    Without a folder they are printed, as one object. Raises UserError for a file there that is no schema.
    """
    schemas = {"settings": settings_schema(), "task": task_schema()}
    if not folder:
        print(_json(schemas))
        return
    paths = {name: folder / f"{name}.json" for name in schemas}
    for path in paths.values():
        if path.exists() and f'"$schema": "{DIALECT}"' not in path.read_text(encoding="utf-8", errors="replace"):
            raise UserError(f"{path}: would be written over, but it is no JSON schema; name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in paths.items():
        with whole_file(path) as new:
            new.write_text(f"{_json(schemas[name])}\n", encoding="utf-8", newline="\n")
        print(f"schema: {path}")


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
