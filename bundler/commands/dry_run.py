"""The whole way once on small shards: build, train, stage, predict, check, and score where labels are known."""

import shutil
from pathlib import Path

from bundler.build.attached_wheels import copy_fetched, fetched_for, installed
from bundler.commands.build import build
from bundler.commands.rehearse import Machine, Request, rehearse_kernel, rehearse_predict, run_python, unmounted
from bundler.errors import BundlerError
from bundler.kaggle.staging import stage
from bundler.rehearse.data import check_data, has_truth
from bundler.rehearse.inputs import refuse_to_empty
from bundler.rehearse.rehearsal import empty
from bundler.repository import DATASET_METADATA, Repository, answers_file
from multihead.config.files import TASK_FILE
from multihead.config.known_tasks import task_beside
from multihead.config.settings_file import read_settings
from multihead.config.task import Task


def dry_run(repository: Repository, data: Path | None, machine: Machine, name: str = "") -> None:
    """Go the whole way once, everything that it leaves in dry-run/.

    data: a folder of the task's files; drawn where there is none. name: of the task; without one that of
    kernel/train/task.toml, or else the first that is built in.
    """
    settings = repository.kernel("train") / "settings-dry.toml"
    chosen = read_settings(settings, [f"task={name}"] if name else [])
    if chosen.run.trials:
        raise BundlerError(
            f"{settings}: trials leave several weights, and the dry run predicts with one; leave them out"
        )
    task = chosen.task
    train, predict, dataset = (repository.dry_run / folder for folder in ("train", "predict", "dataset_meta"))
    if data:
        for folder in (train, predict, dataset):
            refuse_to_empty(folder, "dry-run", {"DATA": data})
        check_data(task, data, "train")
        check_data(task, data, "predict")
    build(repository)
    data = data.resolve() if data else _drawn_data(repository, task)
    dataset.mkdir(parents=True, exist_ok=True)
    copy_fetched(repository.dataset, dataset)
    request = Request(data, dataset)
    with_settings = request._replace(sets=[f"task={task.name}"], settings=settings)
    trained = rehearse_kernel(repository, "train", with_settings, train, machine)
    print(trained)
    shutil.copyfile(repository.dataset / DATASET_METADATA, dataset / DATASET_METADATA)
    print(f"{repository.shown(dataset)}: {stage(trained.working, dataset)}")
    if source := unmounted(repository, request):  # the weights come from elsewhere than dataset_meta
        request = request._replace(mounts={source: dataset})
    submission = rehearse_predict(repository, request, predict, machine)
    if has_truth(data, task) and not machine.rows:
        _evaluate(repository, predict / "working", data, task, settings)
    print(submission)


def _drawn_data(repository: Repository, task: Task) -> Path:
    folder = repository.dry_run / "competition"
    empty(folder)
    run_python(repository, [str(repository.root / "demo" / "sample_competition.py"), str(folder), "--task", task.name])
    return folder


def _evaluate(repository: Repository, working: Path, data: Path, task: Task, settings: Path) -> None:
    answers = working / answers_file(task)
    own = task_beside(settings)
    name = str(settings.with_name(TASK_FILE)) if own and own.name == task.name else task.name
    requirements = read_settings(repository.settings("predict")).run.wheels
    wheels = [repository.dataset / name for name in fetched_for(repository.dataset, requirements)]
    with installed(wheels) as environment:
        run_python(repository, ["-m", "multihead", "evaluate", str(answers), str(data), "--task", name], environment)
