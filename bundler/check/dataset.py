"""The check of the dataset folder: files that would not arrive as meant, and weights that predicting would not find."""

from collections.abc import Iterator

from bundler.build.attached_wheels import LOCK_FILE
from bundler.check.project import (
    DATASET_FOLDER,
    MISSING,
    Finding,
    Project,
    address,
    finding_of,
    settings_file,
    shown,
)
from bundler.errors import BundlerError
from bundler.kaggle.staging import members_of_study
from bundler.metadata import DATASET_FILE, PREDICT_FILE, TRAIN_FILE, read_object
from bundler.repository import MAX_FILES
from multihead.config import UserError
from multihead.config.ensemble import read_ensemble
from multihead.config.files import ENSEMBLE_FILE, MANIFEST_FILE, WEIGHTS_FILE, is_left_by_system, named
from multihead.config.known_tasks import TASKS
from multihead.config.manifest import FORMAT, sha256_of

ARCHIVES = {  # by their suffix; of the others it is not known that Kaggle unpacks them
    **dict.fromkeys((".zip", ".tar", ".tgz", ".gz", ".bz2", ".7z"), "Kaggle unpacks archives; put in what it holds"),
    **dict.fromkeys(
        (".rar", ".xz", ".txz", ".tbz", ".tbz2", ".lzma", ".zst", ".lz4"),
        "an archive that no kernel unpacks; put in what it holds",
    ),
}
OF_THE_CLIENT = ("datapackage.json", "kernel-metadata.json", "model-metadata.json", "model-instance-metadata.json")


def files_to_upload(project: Project) -> Iterator[Finding]:
    """Yield more files than Kaggle takes, and archives."""
    files = project.files()
    if len(files) > MAX_FILES:
        yield Finding(DATASET_FOLDER, "files", str(len(files)), f"Kaggle takes at most {MAX_FILES}")
    for file in files:
        if rule := ARCHIVES.get(file.suffix.lower()):
            yield Finding(f"{DATASET_FOLDER}/{file.name}", "bytes", f"{file.stat().st_size:,}", rule)


def pairs(project: Project) -> Iterator[Finding]:
    """Yield weights and manifests without each other, pairs that do not belong together, and those of an old format."""
    files = [file.name for file in project.files()]
    ends = (MANIFEST_FILE, WEIGHTS_FILE)
    names = {file.removesuffix(end) for end in ends for file in files if file == end or file.endswith(f".{end}")}
    for name in sorted(names):
        manifest, weights = f"{name}{MANIFEST_FILE}", f"{name}{WEIGHTS_FILE}"
        if manifest not in files:
            yield Finding(f"{DATASET_FOLDER}/{manifest}", "file", MISSING, f"{weights} is nothing without it")
        elif weights not in files:
            yield Finding(f"{DATASET_FOLDER}/{weights}", "file", MISSING, f"{manifest} is nothing without it")
        else:
            yield from _pair(project, manifest, weights)


def _pair(project: Project, manifest: str, weights: str) -> Iterator[Finding]:
    """Yield the first thing that is wrong with weights and the manifest beside them."""
    try:
        says = read_object(project.repository.dataset / manifest)
    except BundlerError as error:
        found = finding_of(project.repository.root, f"{DATASET_FOLDER}/{manifest}", error)
        yield Finding(found.file, "", "", f"{found.rule}; stage the weights again")
        return
    file = f"{DATASET_FOLDER}/{weights}"
    if "sha256" not in says:
        yield Finding(f"{DATASET_FOLDER}/{manifest}", "sha256", MISSING, "no manifest of weights; stage them again")
    elif not (project.repository.dataset / weights).stat().st_size:
        yield Finding(file, "bytes", "0", "no weights; stage them again")
    elif (sha256 := sha256_of(project.repository.dataset / weights)) != says["sha256"]:
        yield Finding(file, "SHA-256", f"{sha256[:16]}...", f"not the file that {manifest} tells of; stage both again")
    elif says.get("format") != FORMAT:
        value = shown(says["format"]) if "format" in says else MISSING
        yield Finding(f"{DATASET_FOLDER}/{manifest}", "format", value, f"this version reads {FORMAT}; train again")


def ensemble_of_study(project: Project) -> Iterator[Finding]:
    """Yield a study's ensemble that cannot be read, and members of it that are not there."""
    dataset, file = project.repository.dataset, f"{DATASET_FOLDER}/{ENSEMBLE_FILE}"
    if not (dataset / ENSEMBLE_FILE).is_file():
        return
    try:
        members = read_ensemble(dataset).members
    except UserError as error:
        yield finding_of(project.repository.root, file, error)
        return
    for name in members:
        if not (dataset / named(WEIGHTS_FILE, name)).is_file():
            rule = f"no {named(WEIGHTS_FILE, name)} beside it; build_kernel.py stage STUDY"
            yield Finding(file, "members", shown(name), rule)


def ensemble_not_followed(project: Project) -> Iterator[Finding]:
    """Yield the note that predicting follows the names in its settings, and not the study's ensemble beside it."""
    if project.named_members() and members_of_study(project.repository.dataset):
        rule = f"{DATASET_FOLDER}/{ENSEMBLE_FILE} has no effect; leave it out to predict as the study chose"
        key = shown(project.named_members())
        yield Finding(settings_file("predict"), "ensemble", key, rule, is_note=True)


def stray_entries(project: Project) -> Iterator[Finding]:
    """Yield what lies in the folder and would not be uploaded, or not be meant to be."""
    for entry in project.entries():
        file = f"{DATASET_FOLDER}/{entry.name}"
        if not entry.is_file():
            kind = "folder" if entry.is_dir() else "broken link"
            yield Finding(file, "kind", kind, "not uploaded; the client takes only the files beside its metadata")
        elif is_left_by_system(entry.name):
            rule = "no part of the weights, and plain kaggle uploads it; remove it"
            yield Finding(file, "bytes", f"{entry.stat().st_size:,}", rule)
        elif entry.name in OF_THE_CLIENT:
            rule = "not uploaded; the client takes a file of that name for its own; remove it"
            yield Finding(file, "bytes", f"{entry.stat().st_size:,}", rule)


def nothing_to_push(project: Project) -> Iterator[Finding]:
    """Yield that the folder holds no file beside its metadata."""
    if not project.files():
        yield Finding(
            DATASET_FOLDER,
            "files",
            MISSING,
            "nothing to push; build_kernel.py stage, fetch-weights or fetch-wheels puts it there",
        )


def resources(project: Project) -> Iterator[Finding]:
    """Yield described files that are not there, for which the client refuses to push the others."""
    for item in project.value(DATASET_FILE, "resources") or []:
        if not (project.repository.dataset / item["path"]).is_file():
            rule = f"not in {DATASET_FOLDER}; the client pushes nothing then"
            yield Finding(DATASET_FILE, "resources", shown(item["path"]), rule)


def weights_of_another_name(project: Project) -> Iterator[Finding]:
    """Yield that the dataset, all that the predict kernel attaches, holds weights but not those that it looks for."""
    there = _staged(project)
    missing = [file for name in _members_of_dataset(project) if (file := named(WEIGHTS_FILE, name)) not in there]
    if there and missing:
        key = f"ensemble of {settings_file('predict')}"
        rule = f"predicting looks for {', '.join(missing)}; name in {key} what is there, or stage it again"
        yield Finding(DATASET_FOLDER, "weights", ", ".join(there), rule)


def weights_of_another_task(project: Project) -> Iterator[Finding]:
    """Yield weights, all that the predict kernel can find, of a task whose files it does not attach."""
    for manifest in (named(MANIFEST_FILE, name) for name in _members_of_dataset(project)):
        task = project.task_of_weights(manifest)
        known = TASKS.get(str(task.get("name")))  # the manifest may be older
        competition = known.competition if known else task.get("competition")
        source = known.source if known else competition or task.get("dataset")
        sources = project.sources(PREDICT_FILE, "competition_sources" if competition else "dataset_sources")
        if isinstance(source, str) and sources is not None and address(source) not in map(address, sources):
            rule = f"{PREDICT_FILE} does not attach {source}, where its files come from"
            yield Finding(f"{DATASET_FOLDER}/{manifest}", "task", shown(task.get("name")), rule)


def weights_not_attached(project: Project) -> Iterator[Finding]:
    """Yield the note that predicting does not take the weights that are pushed, or made by this project.

    It may be meant so: the weights of somebody else, or of an older dataset. It may be an id that was renamed.
    """
    dataset, train = project.address(DATASET_FILE), project.address(TRAIN_FILE)
    holders = project.holders("predict")
    if not holders or not dataset or dataset in holders:
        return
    if project.action == "push weights":
        if not _staged(project) and dataset in (project.holders("train") or ()):  # pretrained, for the training
            return
        rule = f"{dataset} is not among them; predicting does not take what is pushed"
    else:
        is_own = any(holder.split("/")[0] == dataset.split("/")[0] for holder in holders)
        if train in holders or not (_staged(project) or is_own):
            return
        rule = f"neither {dataset} nor {train} is among them; predicting takes no weights of this project"
    yield Finding(PREDICT_FILE, "sources", ", ".join(sorted(holders)), rule, is_note=True)


def wheels_alone(project: Project) -> Iterator[Finding]:
    """Yield the note that the dataset, all that the predict kernel attaches, holds wheels and nothing else."""
    files = [file.name for file in project.files()]
    are_wheels = bool(files) and all(name == LOCK_FILE or name.endswith(".whl") for name in files)
    if are_wheels and project.holders("predict") == {project.address(DATASET_FILE)}:
        rule = "no weights among them; predicting finds none"
        yield Finding(DATASET_FOLDER, "files", ", ".join(files), rule, is_note=True)


def _staged(project: Project) -> list[str]:
    return [file.name for file in project.files() if f".{file.name}".endswith(f".{WEIGHTS_FILE}")]


def _members_of_dataset(project: Project) -> list[str]:
    """Return the names of the weights that predicting looks for, where it can find them in the dataset only."""
    return project.members() if project.holders("predict") == {project.address(DATASET_FILE)} else []
