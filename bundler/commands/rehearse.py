"""Rehearse a built kernel: lay out what it attaches, run it, and check what it left and what it would take."""

import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bundler.check.kernels import submission_minutes
from bundler.commands.build import build
from bundler.errors import BundlerError, RehearsalError
from bundler.kernel_task import has_weights, task_of_kernel
from bundler.metadata import read_metadata, without_version
from bundler.rehearse.data import check_data
from bundler.rehearse.inputs import Inputs, attached, refuse_to_empty
from bundler.rehearse.outputs import check_outputs, check_predictions, check_submission, check_trials
from bundler.rehearse.projection import (
    LEAST_IMAGES_PER_FILE,
    HiddenTest,
    check_growth,
    check_time,
    growth_in_words,
    growth_per_file,
    projection,
    read_stages,
)
from bundler.rehearse.rehearsal import MEMORY_GB, REPEATED, Rehearsed, claim, refuse_foreign, rehearse
from bundler.repository import OF_TRIAL, OUTPUTS, Repository, answers_file
from multihead.config.files import TASK_FILE
from multihead.config.known_tasks import task_text
from multihead.config.scores import LABELS
from multihead.config.settings_file import read_settings, trials_of
from multihead.config.task import Task

AT_HOME = ("--set", "require_gpu=false", "--set", "precision=auto", "--set", "xla=auto")  # of no use to a CPU
# A CPU's pace says nothing of Kaggle's GPU: the predict kernel's budget is judged by what the rehearsal projects
NO_BUDGET = ("--set", "time_budget_minutes=0")
REPEATED_TASK = "bengali"  # the task whose test files demo/repeat_test_files.py knows


class Machine(NamedTuple):
    """How a rehearsal stands in for Kaggle's machine: its mounts' form, memory, number of test images, time limit."""

    mounts: str = "new"
    memory_gb: float = MEMORY_GB
    rows: int = 0  # as many as the competition folder has
    minutes: float = math.inf


class Request(NamedTuple):
    """What is rehearsed with what.

    data: a folder of the task's files. weights: what stands in for dataset_meta. mounts: folders by the source that
    they stand in for. sets: settings, as KEY=VALUE. settings: a file in place of the kernel's own.
    """

    data: Path
    weights: Path | None = None
    mounts: Mapping[str, Path] = {}
    sets: Sequence[str] = ()
    settings: Path | None = None


def rehearse_built(repository: Repository, kernel: str, request: Request, out: Path | None, machine: Machine) -> None:
    """Build both kernels, rehearse one, and say what came of it. out: what serves as /kaggle."""
    root = (out or repository.dry_run / f"rehearsal-{kernel}").resolve()
    task, inputs, _ = _inputs(repository, kernel, request)
    if request.weights and request.weights.resolve() not in inputs.folders[1:]:
        raise BundlerError(
            f"--weights: the {kernel} kernel does not attach {repository.dataset_id}, or --mount names another folder "
            "for it"
        )
    reads = {"DATA": request.data} | {f"the input {folder}": folder for folder in inputs.folders[1:]}
    if request.settings:
        reads |= {f"--settings {request.settings}": request.settings, TASK_FILE: request.settings.with_name(TASK_FILE)}
    refuse_to_empty(root, "--out", reads)
    refuse_foreign(root)
    inputs.mounts(machine.mounts)
    check_data(task, request.data, kernel)
    build(repository)
    if kernel == "predict":
        print(rehearse_predict(repository, request, root, machine))
    else:
        print(rehearse_kernel(repository, kernel, request, root, machine))


def rehearse_kernel(repository: Repository, kernel: str, request: Request, root: Path, machine: Machine) -> Rehearsed:
    """Rehearse one built kernel on a folder of its task's files, with `root` as its /kaggle."""
    task, inputs, missing = _inputs(repository, kernel, request)
    check_data(task, request.data, kernel)
    script = repository.built(kernel)
    arguments = [*AT_HOME, *(NO_BUDGET if kernel == "predict" else ())]
    arguments += [part for setting in request.sets for part in ("--set", setting)]
    print(f"{repository.shown(script)}, mounts in the {machine.mounts} form:", flush=True)
    if missing:
        print(f"  not mounted, though Kaggle would: {', '.join(missing)} (rehearse --mount SOURCE=FOLDER)", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        settings = request.settings
        if kernel == "train" and (settings or request.sets):  # one of which may name another task than the script's own
            settings = _with_task(settings or repository.settings(kernel), task, Path(folder))
        if settings:
            arguments = ["--settings", str(settings.resolve()), *arguments]
        result = rehearse(script, inputs, root, machine.mounts, arguments, machine.memory_gb, machine.minutes)
    chosen = read_settings(request.settings or repository.settings(kernel), request.sets)
    if kernel == "train" and chosen.run.trials:
        check_trials(result.working, list(trials_of(chosen)), OF_TRIAL)
    else:
        check_outputs(result.working, {*OUTPUTS[kernel], *([answers_file(task)] if kernel == "predict" else [])})
    return result


def rehearse_predict(repository: Repository, request: Request, root: Path, machine: Machine) -> str:
    """Rehearse the predict kernel, print what it took and what the hidden test set would take, and check both.

    Returns where its submission is, once that has proved to match sample_submission.csv, where the task has one.
    """
    task, inputs, _ = _inputs(repository, "predict", request)
    if not any(map(has_weights, inputs.folders[1:])):  # before anything is laid out for them
        where = ", ".join(map(str, inputs.folders[1:])) or "what the kernel attaches"
        hint = "build_kernel.py stage FOLDER, --weights FOLDER or --mount SOURCE=FOLDER"
        raise BundlerError(f"{where}: no weights there; {hint}")
    if machine.rows:
        request = request._replace(data=_repeated_data(repository, request.data, root, machine.rows, task))
    predicted = rehearse_kernel(repository, "predict", request, root, machine)
    submission = predicted.working / answers_file(task)
    if not submission.is_file():
        raise RehearsalError(f"no {submission.name} in the working folder (all of it: {root / 'log.txt'})")
    stages = read_stages(predicted.events, _hidden_test(repository, task))
    run = read_settings(request.settings or repository.settings("predict"), request.sets).run
    growth = growth_per_file(predicted.ended.file_bytes, stages)
    print(predicted, flush=True)
    if task.has_hidden_test:
        print(growth_in_words(growth, stages.hidden), projection(stages, run.time_budget_minutes), sep="\n", flush=True)
    sample = request.data / task.sample_submission
    may_be_empty = task.answer == LABELS
    if task.sample_submission:
        rows = check_submission(submission, sample, may_be_empty=may_be_empty)
    else:
        rows = check_predictions(submission, may_be_empty=may_be_empty)
    if task.has_hidden_test:
        check_time(stages, run.time_budget_minutes)
        check_growth(growth, stages)
    if machine.rows:
        shutil.rmtree(request.data)
    return f"submission: {repository.shown(submission)} ({rows} rows)"


def unmounted(repository: Repository, request: Request) -> str:
    """Return the last source of the predict kernel for which there is no folder, where its weights are not mounted."""
    _, inputs, missing = _inputs(repository, "predict", request)
    is_mounted = request.weights and request.weights.resolve() in inputs.folders
    return "" if is_mounted or not missing else missing[-1]


def run_python(repository: Repository, arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> None:
    """Run this Python on a program of the repository; BundlerError where it fails."""
    sys.stdout.flush()
    command, folder = [sys.executable, *arguments], repository.package.parent
    code = subprocess.run(command, cwd=folder, env=environment, check=False).returncode
    if code:
        raise BundlerError(f"python {' '.join(arguments)} ended with exit code {code}")


def _inputs(repository: Repository, kernel: str, request: Request) -> tuple[Task, Inputs, list[str]]:
    """Return a kernel's task, what is mounted for it, and which of its sources are not."""
    folders = attached(
        repository.metadata(kernel), request.mounts, {repository.dataset_id: request.weights or repository.dataset}
    )
    for (_, source), folder in folders.items():
        if folder and not folder.is_dir():
            raise BundlerError(f"{folder}: not a folder to mount as {source}")
    task = task_of_kernel(
        repository, kernel, [folder for folder in folders.values() if folder], request.settings, request.sets
    )
    # what the kernel attaches for its own task, DATA stands for
    sources_of_data = {task.source, task_of_kernel(repository, "train", []).source}
    others: dict[tuple[str, str], Path] = {}
    missing = []
    for (key, source), folder in folders.items():
        if source in sources_of_data or without_version(source) in sources_of_data:
            if folder and task.source in (source, without_version(source)):
                raise BundlerError(f"--mount {source}: {request.data} is mounted there")
        elif folder:
            others[key, source] = folder.resolve()
        else:
            missing.append(source)
    return task, Inputs(task.source, request.data.resolve(), {}, others), missing


def _with_task(settings: Path, task: Task, folder: Path) -> Path:
    """Copy a settings file into a folder, and beside it the task, which a train script has beside its own."""
    (folder / TASK_FILE).write_text(task_text(task.name, settings), encoding="utf-8")
    return Path(shutil.copyfile(settings, folder / settings.name))


def _hidden_test(repository: Repository, task: Task) -> HiddenTest:
    """Return the hidden test of a task, with what the predict kernel's machine is allowed for it."""
    has_gpu = read_metadata(repository.metadata("predict")).get("enable_gpu", False)
    enough = "--rows 16000 does" if task.reader == "wide parquet" else f"{LEAST_IMAGES_PER_FILE} do"
    return HiddenTest(
        task.hidden_images, math.prod(task.image_shape), submission_minutes(task, has_gpu=has_gpu), enough
    )


def _repeated_data(repository: Repository, data: Path, root: Path, rows: int, task: Task) -> Path:
    """Lay out so many test images in a folder of `root`, repeated from those of the data, where there is room."""
    if task.name != REPEATED_TASK:
        raise BundlerError(f"--rows: repeats the test files of {REPEATED_TASK}, not those of {task.name}")
    claim(root)
    folder = root / REPEATED
    if folder.exists():
        shutil.rmtree(folder)
    needed, free = rows * math.prod(task.image_shape), shutil.disk_usage(root).free
    if needed > free:
        raise BundlerError(
            f"--rows {rows}: may take {needed / 1e9:.1f} GB in {root}, where {free / 1e9:.1f} GB are free"
        )
    program = repository.root / "demo" / "repeat_test_files.py"
    run_python(repository, [str(program), str(data.resolve()), str(folder), "--rows", str(rows)])
    return folder
