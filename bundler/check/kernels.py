"""The check of what the kernels' metadata files say together, with each other and with the settings."""

import math
import posixpath
import re
from collections.abc import Iterator

from bundler.build.attached_wheels import fetched_for
from bundler.check.keys import is_tpu
from bundler.check.project import KERNEL_FILES, Finding, Project, address, settings_file, shown
from bundler.metadata import (
    DATASET_FILE,
    METADATA_FILES,
    PLACEHOLDER,
    PLAIN_TITLE,
    PREDICT_FILE,
    SUFFIXES,
    TRAIN_FILE,
    slug_of,
)
from bundler.repository import SESSION_MINUTES, built_name
from multihead.config import read_toml
from multihead.config.task import Task

PUSHES = {"push train": TRAIN_FILE, "push weights": DATASET_FILE, "push predict": PREDICT_FILE}  # what each sends


def submission_minutes(task: Task, *, has_gpu: bool) -> float:
    """Return how long Kaggle lets a submission run; without a competition there is none."""
    if not task.competition:
        return math.inf
    return task.gpu_minutes if has_gpu else task.cpu_minutes


def owners(project: Project) -> Iterator[Finding]:
    """Yield ids of another owner than the first file's."""
    ids = {file: project.value(file, "id") for file in METADATA_FILES if project.value(file, "id")}
    first = next(iter(ids), "")
    for file, reference in ids.items():
        if _owner(reference) != _owner(ids[first]):
            yield Finding(
                file, "id", shown(reference), f"another owner than in {first}; build_kernel.py --owner NAME writes one"
            )


def same_id(project: Project) -> Iterator[Finding]:
    """Yield an id that both kernels have."""
    train = project.address(TRAIN_FILE)
    if train and project.address(PREDICT_FILE) == train:
        value = shown(project.value(PREDICT_FILE, "id"))
        yield Finding(PREDICT_FILE, "id", value, f"the id in {TRAIN_FILE} too: one push would replace the other")


def title_and_slug(project: Project) -> Iterator[Finding]:
    """Yield titles of which Kaggle makes another slug than the id's."""
    for file in KERNEL_FILES.values():
        title, slug = project.value(file, "title", ""), project.value(file, "id", "").partition("/")[2]
        if slug and re.fullmatch(PLAIN_TITLE, title) and slug_of(title) != slug.lower():
            rule = f"Kaggle makes {slug_of(title)} of it, which is not id's slug, {slug}; change one of them"
            yield Finding(file, "title", shown(title), rule)


def code_file(project: Project) -> Iterator[Finding]:
    """Yield a code_file that is not what is built, such as that of the other form of a kernel."""
    for kernel, file in KERNEL_FILES.items():
        name, form = project.value(file, "code_file"), project.value(file, "kernel_type")
        if name is None or form is None or posixpath.normpath(name) == built_name(kernel, form):
            continue
        others = [other for other in SUFFIXES if posixpath.normpath(name) == built_name(kernel, other)]
        hint = f" of kernel_type {form}; the other is kernel_type {others[0]}" if others else ""
        yield Finding(
            file, "code_file", shown(name), f"expected {built_name(kernel, form)}, which is what is built{hint}"
        )


def competition(project: Project) -> Iterator[Finding]:
    """Yield a kernel that attaches neither the files of the task that is trained, nor others that could be a copy."""
    task = project.task()
    if task is None:
        return
    key = "competition_sources" if task.competition else "dataset_sources"
    for file in KERNEL_FILES.values():
        sources = project.sources(file, key)
        is_attached = sources is None or address(task.source) in map(address, sources)
        if not is_attached and not _could_hold_data(project, file):
            rule = f"expected {task.source} among them, where task {task.name} comes from"
            yield Finding(file, key, shown(sources), rule)


def dataset_of_wheels(project: Project) -> Iterator[Finding]:
    """Yield a kernel that is pushed, whose settings name wheels that lie in the dataset, which it does not attach."""
    own = project.address(DATASET_FILE)
    for kernel, settings, run in project.kernels_with_settings():
        file, sources = KERNEL_FILES[kernel], project.sources(KERNEL_FILES[kernel], "dataset_sources")
        if PUSHES[project.action] == file and own and sources is not None and own not in map(address, sources):
            needed = fetched_for(project.repository.dataset, run["wheels"])
            if needed:
                rule = f'put in "{project.value(DATASET_FILE, "id")}", which holds the wheels of {settings}'
                yield Finding(file, "dataset_sources", shown(sources), rule)


def holder_of_weights(project: Project) -> Iterator[Finding]:
    """Yield that the predict kernel attaches itself, or nothing at all that could hold weights."""
    own, sources = project.address(PREDICT_FILE), project.sources(PREDICT_FILE, "kernel_sources") or []
    if own and own in map(address, sources):
        yield Finding(PREDICT_FILE, "kernel_sources", shown(sources), "its own output holds no weights; leave it out")
    elif project.holders("predict") == set():
        rule = f"nothing attached that could hold weights; put in the id in {DATASET_FILE}"
        yield Finding(PREDICT_FILE, "dataset_sources", "[]", rule)


def tpu(project: Project) -> Iterator[Finding]:
    """Yield a kernel that asks for a TPU. Nothing else is said of its machine, GPU and time then."""
    for file in KERNEL_FILES.values():
        if _asks_for_tpu(project, file):
            key = "enable_tpu" if project.value(file, "enable_tpu") else "machine_shape"
            yield Finding(
                file,
                key,
                shown(project.value(file, key)),
                "the package knows GPU and CPU only, and Kaggle starts what is pushed without a TPU's libraries; "
                "ask for a GPU",
            )


def machine(project: Project) -> Iterator[Finding]:
    """Yield a machine with a GPU that is not enabled, or else settings that require one."""
    for kernel, file in KERNEL_FILES.items():
        if project.value(file, "enable_gpu") is not False or _asks_for_tpu(project, file):
            continue
        shape = project.value(file, "machine_shape") or ""
        if shape.startswith("Nvidia"):
            yield Finding(file, "machine_shape", shown(shape), "a GPU, but enable_gpu is false")
        elif kernel in project.settings and project.settings[kernel]["run"]["require_gpu"]:
            yield Finding(settings_file(kernel), "require_gpu", "true", f"enable_gpu is false in {file}")


def time_budget(project: Project) -> Iterator[Finding]:
    """Yield a time budget beyond what Kaggle gives a session, or a submission to the task's competition."""
    task = project.task()
    for kernel, file, run in project.kernels_with_settings():
        has_gpu = project.value(KERNEL_FILES[kernel], "enable_gpu")
        if has_gpu is None or _asks_for_tpu(project, KERNEL_FILES[kernel]):
            continue
        submission = submission_minutes(task, has_gpu=has_gpu) if task and kernel == "predict" else SESSION_MINUTES
        limit, what = (submission, "submission") if submission < SESSION_MINUTES else (SESSION_MINUTES, "session")
        if run["time_budget_minutes"] > limit:
            rule = f"Kaggle ends a {'GPU' if has_gpu else 'CPU'} {what} after {limit:g} minutes"
            yield Finding(file, "time_budget_minutes", f"{run['time_budget_minutes']:g}", rule)


def placeholder(project: Project) -> Iterator[Finding]:
    """Yield that what is pushed has no owner yet."""
    file = PUSHES[project.action]
    reference = project.value(file, "id", "")
    if reference.startswith(f"{PLACEHOLDER}/"):
        yield Finding(file, "id", shown(reference), "no owner yet; build_kernel.py --owner NAME writes it")


def no_time_budget(project: Project) -> Iterator[Finding]:
    """Yield the note that predicting a hidden test has no time budget."""
    task = project.task()
    has_budget = "predict" not in project.settings or project.settings["predict"]["run"]["time_budget_minutes"]
    if task and task.competition and task.has_hidden_test and not has_budget:
        limit = min(submission_minutes(task, has_gpu=project.value(PREDICT_FILE, "enable_gpu")), SESSION_MINUTES)
        rule = f"no budget; a submission that takes longer than {limit:g} minutes is lost"
        yield Finding(settings_file("predict"), "time_budget_minutes", "0", rule, is_note=True)


def resumed_from_another(project: Project) -> Iterator[Finding]:
    """Yield the note that the train kernel attaches outputs of its owner's kernels, but not its own."""
    own, sources = project.address(TRAIN_FILE), project.sources(TRAIN_FILE, "kernel_sources") or []
    others = [source for source in sources if _owner(source) == _owner(own)]
    run = read_toml(project.repository.settings("train")).get("run", {})  # a build has read it
    looks = run.get("resume") != "off" and not run.get("data")
    if own and others and looks and own not in map(address, sources):
        rule = f"{project.value(TRAIN_FILE, 'id')} is not among them; a training would go on from what they left"
        yield Finding(TRAIN_FILE, "kernel_sources", shown(sources), rule, is_note=True)


def sources_of_another_kind(project: Project) -> Iterator[Finding]:
    """Yield the note that a kernel of this project stands among the datasets, or its dataset among the kernels."""
    kernels = {project.address(file) for file in KERNEL_FILES.values()}
    dataset = {project.address(DATASET_FILE)}
    file = PUSHES[project.action]
    for key, wrong, right in (
        ("dataset_sources", kernels - dataset, "kernel_sources"),
        ("kernel_sources", dataset - kernels, "dataset_sources"),
    ):
        for source in project.sources(file, key) or []:
            if address(source) in wrong:
                yield Finding(file, key, shown(source), f"this project's own; put it into {right}", is_note=True)


def _could_hold_data(project: Project, file: str) -> bool:
    """Tell whether a kernel attaches a dataset or an output that is not this project's own, or that is not known."""
    own = {project.address(name) for name in (*KERNEL_FILES.values(), DATASET_FILE)}
    kinds = [project.sources(file, key) for key in ("dataset_sources", "kernel_sources")]
    return any(sources is None or not own.issuperset(map(address, sources)) for sources in kinds)


def _asks_for_tpu(project: Project, file: str) -> bool:
    return bool(project.value(file, "enable_tpu")) or is_tpu(project.value(file, "machine_shape") or "")


def _owner(reference: str) -> str:
    return reference.split("/", maxsplit=1)[0].lower()
