"""The way to a score, step by step; each command says which one comes next."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bundler.check.preflight import require_preflight
from bundler.commands.build import build
from bundler.errors import BundlerError
from bundler.kaggle import client, competitions, kernels, submissions
from bundler.kaggle.client import Status
from bundler.kaggle.datasets import dataset_status, push_dataset
from bundler.kaggle.kernels import Run
from bundler.kaggle.pinning import pin_image
from bundler.kaggle.staging import members_of_study, verified
from bundler.kernel_task import task_of_kernel
from bundler.metadata import check_owner, read_metadata
from bundler.repository import KERNELS, OUTPUTS, SESSION_MINUTES, Repository, answers_file
from multihead.config.files import CHECKPOINT_FILE, MANIFEST_FILE, TRIAL_LOG_FILE, WEIGHTS_FILE
from multihead.config.settings_file import read_settings

NEXT = {
    "fetch-wheels": "push weights",
    "push train": "status train --wait",
    "status train": "pull train",
    "pull train": "stage trained",
    "stage": "rehearse DATA; then push weights",
    "push weights": "push predict",
    "push wheels": "push train",  # or pretrained weights, for the training
    "status weights": "push predict",
    "push predict": "status predict --wait",
    "status predict": "submit",
    "submit": "status submission --wait",
}
HOURS = 13  # a kernel's run ends after 12; --wait gives it one in the queue


def push(repository: Repository, what: str, message: str, *, runs: bool = True) -> None:
    """Build both kernels, then push one of them, or the weights; runs: whether Kaggle runs the kernel at once."""
    check_owner(repository.root)
    build(repository)
    require_preflight(repository.root, f"push {what}")
    if what == "weights":
        weights, members = submissions.weights_in(repository.dataset), members_of_study(repository.dataset)
        submissions.keep_uploaded(repository, {})  # until it is known what Kaggle has
        push_dataset(repository.dataset, message)
        submissions.keep_uploaded(repository, weights, members)
        if not weights:
            say_next("push wheels")
            return
    elif not runs:
        run = kernels.push_kernel(repository.kernel(what), runs=False)
        print(f"{run} saved, not run; private or public, as is_private says: {run.page}")
        return
    else:
        _say_hours(repository, what)
        run = kernels.push_kernel(repository.kernel(what))
        print(f"{run} pushed")
        if what == "predict":
            submissions.keep_version(repository, run.version)
    say_next(f"push {what}")


def status(repository: Repository, what: str, version: int | None, *, wait: bool) -> None:
    """Say how a kernel's run, the dataset or a submission is doing, or wait until it is done.

    version: of the kernel; the one that was pushed last where it is None. Of a run that failed, the end of its log is
    printed before the error.
    """
    check_owner(repository.root)
    name, question = _question(repository, what, version)
    with _log_of_failure():
        if wait:
            client.wait_for(name, question, HOURS)
        else:
            now = question()
            print(f"{name}: {now.words}")
            if not now.done:
                print(f"next: build_kernel.py status {what} --wait")
                return
    if what == "predict" and not task_of_kernel(repository, "predict", [repository.dataset]).has_hidden_test:
        print("next: build_kernel.py pull predict")
    else:
        say_next(f"status {what}")


def pull(repository: Repository, kernel: str, version: int | None, *, with_checkpoint: bool = False) -> None:
    """Download what a run left that the next step needs, and say what it is: of a training, or of each of several.

    with_checkpoint: also that of a training, to go on from at home.
    """
    check_owner(repository.root)
    run, folder = _run_of(repository, kernel, version), repository.pulled(kernel)
    wanted, needed = list(OUTPUTS[kernel]), [[WEIGHTS_FILE], [MANIFEST_FILE]]
    if kernel == "predict":
        wanted = list(dict.fromkeys([*wanted, answers_file(task_of_kernel(repository, kernel, [repository.dataset]))]))
        needed = [wanted]
    elif not with_checkpoint:
        wanted.remove(CHECKPOINT_FILE)
    with _log_of_failure():
        files = kernels.pull_output(run, folder, [*wanted, TRIAL_LOG_FILE], needed)
    if kernel != "train":
        print(f"{run}: {', '.join(repository.shown(file) for file in files)}")
        return
    print(f"{run}: {len(files)} files into {folder.name}/")
    trained = sorted(file.parent for file in files if file.name == WEIGHTS_FILE)
    for one in trained:
        print(f"{repository.shown(one)}: {verified(one)}")
    pin_image(repository, run)
    if trained == [folder]:
        say_next(f"pull {kernel}")
    for one in trained if trained != [folder] else ():
        print(f"next: build_kernel.py stage {repository.shown(one)} --name {one.name}")


def submit(repository: Repository, version: int | None, message: str | None) -> None:
    """Submit a version of the predict kernel, the one that was pushed last if none is named."""
    check_owner(repository.root)
    run = _run_of(repository, "predict", version)
    if not run.version:
        rule = "its last push has no known version; build_kernel.py push predict, or submit --version N"
        raise BundlerError(f"{run.kernel}: {rule}")
    competition, message = _id_of(repository, "submission"), message or str(run)
    file = task_of_kernel(repository, "predict", [repository.dataset]).submission_file
    words, ref = competitions.submit(run, competition, message, file)
    print(f"{run}, {file}: {words}")
    submissions.keep_submission(repository, competition, run.version, message, ref)
    say_next("submit")


def _question(repository: Repository, what: str, version: int | None) -> tuple[str, Callable[[], Status]]:
    """Return whose status is asked for, and the function that asks."""
    if what in KERNELS:
        run = _run_of(repository, what, version)
        return str(run), lambda: kernels.kernel_status(run)
    name = _id_of(repository, what)
    return name, lambda: dataset_status(name) if what == "weights" else _submission_status(repository, name)


def _submission_status(repository: Repository, competition: str) -> Status:
    """Return how the last submission from here is doing, or else the newest one, and keep what Kaggle says of all."""
    listed = competitions.submissions(competition)
    submissions.keep_scores(repository, competition, listed)
    return competitions.submission_status(competition, listed, submissions.last_ref(repository, competition))


def _run_of(repository: Repository, kernel: str, version: int | None) -> Run:
    """Return a version of a kernel: the one that is named, or was pushed last; else the newest that Kaggle has."""
    pushed = kernels.last_pushed(repository.kernel(kernel))
    return Run(repository.kernel_id(kernel), version or (pushed.version if pushed else 0))


@contextmanager
def _log_of_failure() -> Iterator[None]:
    """Print the end of a run's log where the block finds that it failed."""
    try:
        yield
    except kernels.RunFailedError as error:
        print(f"{error.run}: the end of its log\n{kernels.end_of_log(error.run)}")
        raise


def _say_hours(repository: Repository, kernel: str) -> None:
    """Say what is left of the account's GPU hours of the week, and how many this kernel's run may use."""
    if not read_metadata(repository.metadata(kernel)).get("enable_gpu"):
        return
    budget = (read_settings(repository.settings(kernel)).run.time_budget_minutes or SESSION_MINUTES) / 60
    try:
        quota = kernels.gpu_quota()
    except BundlerError as error:
        print(f"the week's GPU hours are not known ({error}); this run may use {budget:.1f}")
        return
    print(f"{quota}; this run may use {budget:.1f}" + (": more than are left" if budget > quota.left else ""))


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


def say_next(step: str) -> None:
    """Print which command comes after a step."""
    if step in NEXT:
        print(f"next: build_kernel.py {NEXT[step]}")
