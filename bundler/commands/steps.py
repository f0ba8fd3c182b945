"""The way to a score, step by step; each command says which one comes next."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bundler.build.attached_wheels import attached_wheels
from bundler.build.script import IMAGE_FILE
from bundler.check.preflight import require_preflight
from bundler.commands.build import build
from bundler.errors import BundlerError
from bundler.kaggle import client, submissions
from bundler.kaggle.pretrained import fetch, published
from bundler.kaggle.staging import members_of_study, stage, stage_study, verified
from bundler.kaggle.wheels import fetch as fetch_all
from bundler.kaggle.wheels import in_image
from bundler.kernel_task import task_of_kernel
from bundler.metadata import check_owner
from bundler.repository import KERNELS, OUTPUTS, Repository, answers_file
from bundler.study.study import STUDY_FILE
from multihead.config.files import ENSEMBLE_FILE, MANIFEST_FILE, WEIGHTS_FILE
from multihead.config.known_tasks import task_beside
from multihead.config.settings_file import read_settings

NEXT = {
    "fetch-wheels": "push weights",
    "push train": "status train --wait",
    "status train": "pull train",
    "pull train": "stage trained",
    "stage": "rehearse DATA; then push weights",
    "push weights": "push predict",
    "status weights": "push predict",
    "push predict": "status predict --wait",
    "status predict": "submit",
    "submit": "status submission --wait",
}
HOURS = 13  # a kernel's run ends after 12; --wait gives it one in the queue


def fetch_weights(repository: Repository, kind: str, backbone: str) -> None:
    """Put pretrained weights into the dataset's folder, and say what makes the train kernel start from them."""
    path = fetch(published(kind, backbone), repository.dataset)
    print(f"{path.name}: {path.stat().st_size:,} bytes, in {path.parent.name}/")
    print(f'  kernel/train/settings.toml, [run]: pretrained = "{path.name}"')
    sources = f'"dataset_sources": ["{repository.dataset_id}"]'
    print(f"  kernel/train/kernel-metadata.json: {sources}, once that dataset is created")


def fetch_wheels(repository: Repository) -> None:
    """Put the wheels that the kernels' settings ask for into the dataset's folder, and say which kernel needs them."""
    asked = {kernel: read_settings(repository.settings(kernel)).run.wheels for kernel in KERNELS}
    fetched = fetch_all(asked.values(), repository.dataset, IMAGE_FILE)
    for kernel, requirements in asked.items():
        for requirement, found in in_image(requirements, IMAGE_FILE).items():
            print(f"{kernel}: {requirement}: Kaggle's image has {found}")
    for name in fetched.files:
        print(f"{repository.dataset.name}/{name}: {(repository.dataset / name).stat().st_size:,} bytes")
    for name in fetched.removed:
        print(f"{repository.dataset.name}/{name}: removed, nothing asks for it")
    if not any(asked.values()):
        print("no wheels in the settings of a kernel")
    for kernel, requirements in asked.items():
        if attached_wheels(repository.dataset, requirements, IMAGE_FILE):
            file, sources = repository.shown(repository.metadata(kernel)), f'["{repository.dataset_id}"]'
            print(f'  {file}: "dataset_sources": {sources}, once that dataset is pushed')
    if fetched.files:
        _say_next("fetch-wheels")


def push(repository: Repository, what: str, message: str) -> None:
    """Build both kernels, then push one of them, or the weights."""
    check_owner(repository.root)
    build(repository)
    require_preflight(repository.root, f"push {what}")
    if what == "weights":
        weights, members = submissions.weights_in(repository.dataset), members_of_study(repository.dataset)
        submissions.keep_uploaded(repository, {})  # until it is known what Kaggle has
        client.push_dataset(repository.dataset, message)
        submissions.keep_uploaded(repository, weights, members)
    else:
        print(client.push_kernel(repository.kernel(what)))
        if what == "predict":
            submissions.keep_version(repository, client.pushed_version(repository.kernel(what)))
    _say_next(f"push {what}")


def status(repository: Repository, what: str, *, wait: bool) -> None:
    """Say how a kernel's run, the dataset or the newest submission is doing, or wait until it is done."""
    check_owner(repository.root)
    name = _id_of(repository, what)
    asks: dict[str, Callable[[str], client.Status]] = {
        "weights": client.dataset_status,
        "submission": partial(_submission_status, repository),
    }
    ask = asks.get(what, client.kernel_status)
    if wait:
        client.wait_for(name, lambda: ask(name), HOURS)
    else:
        now = ask(name)
        print(f"{name}: {now.words}")
        if not now.done:
            print(f"next: build_kernel.py status {what} --wait")
            return
    if what == "predict" and not task_of_kernel(repository, "predict", [repository.dataset]).has_hidden_test:
        print("next: build_kernel.py pull predict")
    else:
        _say_next(f"status {what}")


def pull(repository: Repository, kernel: str) -> None:
    """Download a kernel's output, and say what it is: of a training, or of each of several trials."""
    check_owner(repository.root)
    folder = repository.pulled(kernel)
    wanted: list[Sequence[str]] = [(WEIGHTS_FILE,), (MANIFEST_FILE,)]
    if kernel == "predict":
        task = task_of_kernel(repository, kernel, [repository.dataset])
        wanted = [list(dict.fromkeys([*OUTPUTS[kernel], answers_file(task)]))]
    files = client.pull_output(repository.kernel_id(kernel), folder, wanted)
    if kernel != "train":
        print(f"{folder.name}: {', '.join(file.name for file in files)}")
        return
    trained = sorted(file.parent for file in files if file.name == WEIGHTS_FILE)
    for one in trained:
        print(f"{repository.shown(one)}: {verified(one)}")
    if trained == [folder]:
        _say_next(f"pull {kernel}")
    for one in trained if trained != [folder] else ():
        print(f"next: build_kernel.py stage {repository.shown(one)} --name {one.name}")


def stage_weights(repository: Repository, trained: Path, name: str) -> None:
    """Put a training's weights into the dataset's folder, under a name where they are one of an ensemble.

    Of a study, put in those that its ensemble has, with how much each counts.
    """
    own = task_beside(repository.settings("train"))
    if (trained / STUDY_FILE).is_file() and not (trained / ENSEMBLE_FILE).is_file():
        raise BundlerError(f"{trained}: a study that is not finished; multihead cross-validate goes on with it")
    if (trained / ENSEMBLE_FILE).is_file():
        if name:
            raise BundlerError(f"--name {name}: {trained} is a study, whose weights have the names of its trials")
        print(f"dataset_meta: {ENSEMBLE_FILE} and\n{stage_study(trained, repository.dataset, own)}")
    else:
        print(f"dataset_meta: {stage(trained, repository.dataset, name, own)}")
    if name:
        print(f"next: put {name} into ensemble of kernel/predict/settings.toml")
    _say_next("stage")


def submit(repository: Repository, version: int | None, message: str | None) -> None:
    """Submit a version of the predict kernel, the one that was pushed last if none is named."""
    check_owner(repository.root)
    kernel = repository.kernel_id("predict")
    version = version or client.pushed_version(repository.kernel("predict"))
    competition, message = _id_of(repository, "submission"), message or f"{kernel} version {version}"
    file = task_of_kernel(repository, "predict", [repository.dataset]).submission_file
    words, ref = client.submit(kernel, version, competition, message, file)
    print(words)
    submissions.keep_submission(repository, competition, version, message, ref)
    _say_next("submit")


def _submission_status(repository: Repository, competition: str) -> client.Status:
    """Return how the newest submission is doing, and keep what Kaggle says of all."""
    listed = client.submissions(competition)
    submissions.keep_scores(repository, competition, listed)
    return client.submission_status(competition, listed)


def _id_of(repository: Repository, what: str) -> str:
    """Return what Kaggle calls a kernel, the weights' dataset, or the competition that a submission goes to."""
    if what == "weights":
        return repository.dataset_id
    if what != "submission":
        return repository.kernel_id(what)
    task = task_of_kernel(repository, "predict", [repository.dataset])
    if not task.competition:
        raise BundlerError(f"{task.name}: of no competition to submit to; build_kernel.py pull predict")
    return task.competition


def _say_next(step: str) -> None:
    if step in NEXT:
        print(f"next: build_kernel.py {NEXT[step]}")
