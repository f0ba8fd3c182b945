"""The check of the settings' folders and weights, against what the kernels attach and the dataset folder holds."""

import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from bundler.check.project import DATASET_FOLDER, KERNEL_FILES, Finding, Project, settings_file, shown
from bundler.kaggle.pretrained import KERAS_FILES
from bundler.metadata import DATASET_FILE, without_version
from bundler.rehearse.inputs import KINDS, MOUNTS, mount_point
from multihead.config import read_toml
from multihead.config.checking import nearest
from multihead.config.files import MANIFEST_FILE, WEIGHTS_FILE, name_of_weights, named

OF_ONE_SLUG = {"dataset_sources": "d", "model_sources": "m"}  # the folder of those whose slug another source has
INPUT, WORKING = "/kaggle/input", "/kaggle/working"  # a kernel is started in the second
EMPTY_AT_FIRST = (WORKING, "/kaggle/temp", "/tmp")
LEFT_OUT = dict.fromkeys(("data", "weights"), "leave it out, and it is found where Kaggle mounts it") | {
    "working": f"leave it out, and it is {WORKING}"
}


def folders(project: Project) -> Iterator[Finding]:
    """Yield settings that name a folder which is not there on Kaggle, or does not do for what it is meant."""
    for kernel, file, run in project.kernels_with_settings():
        for key, instead in LEFT_OUT.items():
            if run[key] and (fault := _fault_of_folder(project, kernel, key, run[key])):
                yield Finding(file, key, shown(run[key]), f"{fault}; {instead}")


def _fault_of_folder(project: Project, kernel: str, key: str, folder: str) -> str:
    """Return why a folder that is named in the settings cannot be right, "" where it may be."""
    path = posixpath.normpath("/" + posixpath.join(WORKING, folder).lstrip("/"))
    if folder.startswith("~") or re.search(r"\\|^[A-Za-z]:", folder):
        return "no folder of Kaggle's"
    if key == "working":
        return _fault_of_working(path)
    if _is_in(path, INPUT):
        return _fault_of_input(project, kernel, key, path)
    if any(_is_in(path, folder) for folder in EMPTY_AT_FIRST):
        return f"{path} on Kaggle, where nothing is when a kernel starts"
    return "no folder of Kaggle's"


def _fault_of_working(path: str) -> str:
    """Return what speaks against a working folder: only WORKING is kept, and no folder in it is there at first."""
    if path == WORKING:
        return ""
    if _is_in(path, INPUT):
        return "read-only on Kaggle"
    if _is_in(path, WORKING):
        return f"{path} on Kaggle, which is not there when a kernel starts"
    return f"Kaggle keeps only what is in {WORKING}"


def _fault_of_input(project: Project, kernel: str, key: str, path: str) -> str:
    """Return "" for a folder in or above which something that the kernel attaches is mounted, in any form.

    Weights lie in a mounted folder itself; data may be named by the one above, where the task's names begin with it.
    """
    file = KERNEL_FILES[kernel]
    points = _mount_points(project, file, [kind for kind in KINDS if key == "data" or kind != "competition_sources"])
    if points is None or any(_is_in(path.lower(), point.lower()) for point in points):
        return ""
    if key == "data" and any(_is_in(point.lower(), path.lower()) for point in points):
        return ""
    near = nearest(path, points)
    return f"nothing that {file} attaches is mounted there" + (f", but at {near}" if near else "")


def _mount_points(project: Project, file: str, kinds: list[str]) -> list[str] | None:
    """Return where Kaggle may mount a kernel's sources of some kinds; None where that is not known."""
    found = []
    for key in kinds:
        sources = project.sources(file, key)
        if sources is None:
            return None
        for source in sources:
            found += [f"{INPUT}/{mount_point(key, source, form)}" for form in MOUNTS]
            if key in OF_ONE_SLUG:
                found.append(f"{INPUT}/{OF_ONE_SLUG[key]}/{without_version(source)}")
    return found


def _is_in(path: str, folder: str) -> bool:
    return f"{path}/".startswith(f"{folder}/")


def model(project: Project) -> Iterator[Finding]:
    """Yield model settings of the predict kernel that its weights, or else the train kernel's settings, contradict."""
    if "predict" not in project.settings:
        return
    written = read_toml(project.repository.settings("predict")).get("model", {})
    for source, trained in _models_to_predict_with(project).items():
        for key in written:
            value = project.settings["predict"]["model"][key]
            is_left_to_task = (key, written[key]) == ("crop", "task")  # as where it is not written
            if key in trained and trained[key] != value and not is_left_to_task:
                rule = f"{source} has {shown(trained[key])}; leave it out, predicting takes it from the weights"
                yield Finding(settings_file("predict"), key, shown(value), rule)


def _models_to_predict_with(project: Project) -> dict[str, Mapping[str, Any]]:
    """Return {where it stands: model settings} of the weights in the dataset, or of what the train kernel will make."""
    files = [named(MANIFEST_FILE, name) for name in project.members()]
    models = {f"{DATASET_FOLDER}/{file}": project.manifest(file).get("model") for file in files}
    known: dict[str, Mapping[str, Any]] = {
        file: settings for file, settings in models.items() if isinstance(settings, dict)
    }
    if not known and "train" in project.settings:
        known[settings_file("train")] = project.settings["train"]["model"]
    return known


def pretrained(project: Project) -> Iterator[Finding]:
    """Yield pretrained weights that no input can hold, or that are of another network."""
    if "train" not in project.settings:
        return
    name = posixpath.basename(project.settings["train"]["run"]["pretrained"])
    backbone = project.settings["train"]["model"]["backbone"]
    published_for = _backbone_of(name)
    if published_for and published_for != backbone:
        rule = f"the weights of {published_for}; backbone is {shown(backbone)}"
        yield Finding(settings_file("train"), "pretrained", shown(name), rule)
    elif name:
        of_ours = name_of_weights(name)
        command = "fetch-weights" if of_ours is None else f"stage FOLDER --name {of_ours}"
        needed = [name] if of_ours is None else [name, named(MANIFEST_FILE, of_ours)]
        yield from _not_attached(project, "train", "pretrained", name, needed, command)


def further_images(project: Project) -> Iterator[Finding]:
    """Yield further images that no input of the train kernel can hold."""
    sources = project.settings["train"]["run"]["further_images"] if "train" in project.settings else []
    if sources and project.holders("train") == set():
        rule = f"{KERNEL_FILES['train']} attaches no dataset that could hold it"
        yield Finding(settings_file("train"), "further_images", shown(sources[0]["folder"]), rule)


def _backbone_of(file: str) -> str:
    """Return the network that a published file of weights belongs to, "" where its name is none of those."""
    found = re.match(r"(efficientnet-b\d)_(noisy-student|weights_tf_dim_ordering)", file)
    names = {path.rpartition("/")[2]: backbone for backbone, (path, _) in KERAS_FILES.items()}
    return found[1] if found else names.get(file, "")


def resume(project: Project) -> Iterator[Finding]:
    """Yield a training that has to go on from a checkpoint, and attaches nothing that could hold one."""
    is_required = "train" in project.settings and project.settings["train"]["run"]["resume"] == "required"
    if is_required and project.holders("train") == set():
        rule = f"{KERNEL_FILES['train']} attaches nothing that could hold a checkpoint"
        yield Finding(settings_file("train"), "resume", '"required"', rule)


def ensemble(project: Project) -> Iterator[Finding]:
    """Yield members of the ensemble that are no names, are there twice, are in no input, or are of another task."""
    file, counts = settings_file("predict"), Counter(project.named_members())
    if len(set(counts.values())) == 1:  # else it is a weighted average, if at some cost
        for name in (name for name in counts if counts[name] > 1):
            rule = f"named {counts[name]} times: the same answer in {counts[name]} times the time"
            yield Finding(file, "ensemble", shown(name), rule)
    for name in counts:
        meant = _name_meant(name)
        if meant is not None:
            cure = f"put {shown(meant)}" if meant else "leave ensemble out, for weights without a name"
            yield Finding(file, "ensemble", shown(name), f"a file's name, not that of weights; {cure}")
        else:
            needed = [named(MANIFEST_FILE, name), named(WEIGHTS_FILE, name)]
            yield from _not_attached(project, "predict", "ensemble", name, needed, f"stage FOLDER --name {name}")
    tasks = {name: task for name in counts if (task := project.task_of_weights(named(MANIFEST_FILE, name)).get("name"))}
    if len(set(map(str, tasks.values()))) > 1:
        rule = f"weights of several tasks: {', '.join(f'{name} of {task}' for name, task in tasks.items())}"
        yield Finding(file, "ensemble", shown(list(counts)), rule)


def weighted_members(project: Project) -> Iterator[Finding]:
    """Yield the note that some members count more than others, being named more than once."""
    counts = Counter(project.named_members())
    if len(set(counts.values())) > 1:
        for name in (name for name in counts if counts[name] > 1):
            rule = f"named {counts[name]} times: it counts, and takes, {counts[name]} times as much"
            yield Finding(settings_file("predict"), "ensemble", shown(name), rule, is_note=True)


def _name_meant(name: str) -> str | None:
    """Return the weights' name where their file is named instead, "" where they have none; None for no file's name."""
    for file in (WEIGHTS_FILE, MANIFEST_FILE):
        if name == file or name.endswith(f".{file}"):
            return name.removesuffix(file).removesuffix(".")
    return re.sub(r"\.(h5|json)$", "", name) if name.endswith((".h5", ".json")) else None


def _not_attached(
    project: Project, kernel: str, key: str, name: str, files: list[str], command: str
) -> Iterator[Finding]:
    metadata, holders = KERNEL_FILES[kernel], project.holders(kernel)
    missing = [file for file in files if not (project.repository.dataset / file).is_file()]
    if holders == set():
        yield Finding(settings_file(kernel), key, shown(name), f"{metadata} attaches no dataset that could hold it")
    elif missing and holders == {project.address(DATASET_FILE)}:
        where = f"in {DATASET_FOLDER}, the only dataset attached"
        rule = f"no {' and no '.join(missing)} {where}; build_kernel.py {command}"
        yield Finding(settings_file(kernel), key, shown(name), rule)
