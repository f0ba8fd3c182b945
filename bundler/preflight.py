"""What Kaggle would refuse, ignore or punish, found before the push.

The rules of single keys stand in metadata.py; here are those of what several files say together, and of the dataset
folder. Nothing doubtful is a finding: each would fail on Kaggle, or be passed over in silence.
"""

import difflib
import hashlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bundler.bundle import build_script
from bundler.data_files import is_left_by_a_system
from bundler.errors import BundlerError
from bundler.metadata import (
    DATASET_FILE,
    DATASET_KEYS,
    KERNEL_KEYS,
    METADATA_FILES,
    PLACEHOLDER,
    PREDICT_FILE,
    TRAIN_FILE,
    Key,
    read_object,
    without_version,
)
from bundler.staging import MANIFEST_FILE, WEIGHTS_FILE
from bundler.tasks import TaskFacts, task_named
from bundler.text_files import has_byte_order_mark, read_toml, text_of

PUSHES = {"push train": TRAIN_FILE, "push weights": DATASET_FILE, "push predict": PREDICT_FILE}  # what each sends
KERNEL_FILES = {"train": TRAIN_FILE, "predict": PREDICT_FILE}
DATASET_FOLDER = DATASET_FILE.split("/", maxsplit=1)[0]

SESSION_MINUTES = {"GPU": 12 * 60, "CPU": 12 * 60, "TPU": 9 * 60}
MAX_FILES = 50
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".7z")
MISSING = "(missing)"
PLAIN_TITLE = "[A-Za-z0-9 ._-]+"  # of other characters Kaggle makes what only its own tables know


@dataclass(frozen=True)
class Finding:
    """One thing that Kaggle would not take: the file below the repository, key and value in it, and the rule.

    Without a key, the rule is another tool's message that says all of it.
    """

    file: str
    key: str
    value: str
    rule: str

    def __str__(self) -> str:
        if not self.key:
            return f"{self.file}: {self.rule}"
        return f"{self.file}: {self.key} = {self.value}: {self.rule}"


class Project(NamedTuple):
    """What the rules look at: metadata by file and settings by kernel, as far as they could be read."""

    repository: Path
    action: str
    metadata: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Mapping[str, Mapping[str, Any]]]

    def value(self, file: str, key: str, default: Any = None) -> Any:
        return self.metadata.get(file, {}).get(key, default)

    def kernels_with_settings(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        """Yield name, settings file and [run] settings of each kernel whose settings could be read."""
        for name, settings in self.settings.items():
            yield name, _settings_file(name), settings["run"]


def preflight(repository: Path, action: str = "build") -> list[Finding]:
    """Return what Kaggle would not take of the kernels and the dataset in a repository folder.

    action: what is about to be done, one of RULES. A build is held to what always holds; a push, which comes after a
    build, only to what it asks for on top: an owner, and weights that arrive and are found.
    """
    if action not in RULES:
        raise ValueError(f"action {action!r}; one of {', '.join(RULES)}")
    findings: list[Finding] = []
    metadata = {file: _read_metadata(repository, file, findings) for file in METADATA_FILES}
    names = KERNEL_FILES if action == "build" else ("predict",)
    settings = {name: _read_settings(repository, name, findings) for name in names}
    known = {name: values for name, values in settings.items() if values}
    project = Project(repository, action, metadata, known)
    for rule in RULES[action]:
        findings += rule(project)
    return list(dict.fromkeys(findings))


def require_preflight(repository: Path, action: str = "build") -> None:
    """Raise BundlerError, with all findings of the preflight for an action, where there is one."""
    findings = preflight(repository, action)
    if len(findings) == 1:
        raise BundlerError(str(findings[0]))
    if findings:
        raise BundlerError("\n  ".join([f"{len(findings)} things that Kaggle would not take:", *map(str, findings)]))


def slug_of(title: str) -> str:
    """Return the slug that Kaggle makes of a title, which must be like PLAIN_TITLE."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def key_findings(file: str, metadata: Mapping[str, Any]) -> list[Finding]:
    """Return what is wrong with single keys of one of METADATA_FILES: unknown, missing, of a wrong type or value."""
    keys = DATASET_KEYS if file == DATASET_FILE else KERNEL_KEYS
    faults = [fault for key in keys if key in metadata for fault in _faults(file, key, metadata[key], keys[key])]
    return [*_unknown_keys(file, metadata, keys), *_missing_keys(file, metadata, keys), *faults]


def _read_metadata(repository: Path, file: str, findings: list[Finding]) -> dict[str, Any]:
    """Return what a metadata file says, without the keys that are findings."""
    try:
        metadata = read_object(repository / file)
    except BundlerError as error:
        findings.append(_told(repository, file, error))
        return {}
    if has_byte_order_mark(repository / file):
        rule = "begins with a byte order mark, which the kaggle client does not read; "
        findings.append(Finding(file, "", "", f"{rule}build_kernel.py --owner NAME removes it"))
    found = key_findings(file, metadata)
    findings += found
    return {key: value for key, value in metadata.items() if key not in {finding.key for finding in found}}


def _unknown_keys(file: str, metadata: Mapping[str, Any], keys: Mapping[str, Key]) -> Iterator[Finding]:
    for key, value in metadata.items():
        if key not in keys:
            near = difflib.get_close_matches(key, keys, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            yield Finding(file, _one_line(key), _shown(value), f"no key of this file, silently ignored{hint}")


def _missing_keys(file: str, metadata: Mapping[str, Any], keys: Mapping[str, Key]) -> Iterator[Finding]:
    for key, of in keys.items():
        if of.is_needed and key not in metadata:
            yield Finding(file, key, MISSING, (of.rules or (of.kind,))[0].text)


def _faults(file: str, key: str, value: Any, of: Key) -> Iterator[Finding]:
    """Yield what is wrong with one value: its type, or else the first rule that it breaks, or that each item breaks."""
    if not of.kind.holds(value):
        yield Finding(file, key, _shown(value), of.kind.text)
        return
    checks = [(value, of.rules), *((item, of.item_rules) for item in (value if of.item_rules else []))]
    for part, rules in checks:
        broken = next((rule for rule in rules if not rule.holds(part)), None)
        if broken:
            yield Finding(file, key, _shown(part), broken.text)


def _read_settings(repository: Path, kernel: str, findings: list[Finding]) -> dict[str, dict[str, Any]] | None:
    """Return all [model] and [run] settings of a kernel, defaults included; None where the package refuses them."""
    path = repository / _settings_file(kernel)
    command = [sys.executable, "-B", "-m", "multihead.app", "settings", "--settings", str(path.resolve())]
    told = subprocess.run(command, cwd=repository / "src", capture_output=True, text=True, check=False)
    if told.returncode == 0:
        return tomllib.loads(told.stdout)
    last = (told.stderr.strip().splitlines() or [f"exit code {told.returncode}"])[-1]
    file = _settings_file(kernel) if last.startswith("error: ") else "src/multihead"  # which does not even start
    rule = last.removeprefix("error: ").removeprefix(f"{path.name}: ").removeprefix(f"{path.resolve()}: ")
    findings.append(Finding(file, "", "", rule))
    return None


def _settings_file(kernel: str) -> str:
    return f"kernel/{kernel}/settings.toml"


def _build_in_memory(project: Project) -> Iterator[Finding]:
    """Yield why a script could not be built: an import that Kaggle lacks, a damaged wheel, a size over the limit."""
    told = set()
    for kernel in KERNEL_FILES:
        settings = project.repository / _settings_file(kernel)
        if not settings.is_file():
            continue
        try:
            build_script(project.repository / "src" / "multihead", settings, kernel)
        except BundlerError as error:
            if str(error) not in told:
                yield _told(project.repository, f"kernel/{kernel}/{kernel}_kernel.py", error)
            told.add(str(error))


def _title_and_slug(project: Project) -> Iterator[Finding]:
    for file in KERNEL_FILES.values():
        title, reference = project.value(file, "title"), project.value(file, "id")
        if not title or not reference or not re.fullmatch(PLAIN_TITLE, title):
            continue
        if slug_of(title) != reference.split("/")[1].lower():
            yield Finding(file, "title", _shown(title), f"Kaggle makes {slug_of(title)} of it, which is not id's slug")


def _code_file(project: Project) -> Iterator[Finding]:
    for kernel, file in KERNEL_FILES.items():
        code_file, expected = project.value(file, "code_file"), f"{kernel}_kernel.py"
        if code_file not in (None, expected):
            yield Finding(file, "code_file", _shown(code_file), f"expected {expected}, which is what is built")


def _owners(project: Project) -> Iterator[Finding]:
    ids = {file: project.value(file, "id") for file in METADATA_FILES if project.value(file, "id")}
    if not ids:
        return
    first = next(iter(ids))
    for file, reference in ids.items():
        if reference.split("/")[0] != ids[first].split("/")[0]:
            yield Finding(
                file, "id", _shown(reference), f"another owner than in {first}; build_kernel.py --owner NAME writes one"
            )


def _same_id(project: Project) -> Iterator[Finding]:
    train = project.value(TRAIN_FILE, "id")
    if train and project.value(PREDICT_FILE, "id") == train:
        yield Finding(
            PREDICT_FILE, "id", _shown(train), f"the id in {TRAIN_FILE} too: one push would replace the other"
        )


def _placeholder(project: Project) -> Iterator[Finding]:
    file = PUSHES.get(project.action, "")
    reference = project.value(file, "id", "")
    if reference.startswith(f"{PLACEHOLDER}/"):
        yield Finding(file, "id", _shown(reference), "no owner yet; build_kernel.py --owner NAME writes it")


def _task(project: Project) -> TaskFacts:
    """Return the task of the train kernel's settings, which could be read."""
    settings = project.repository / _settings_file("train")
    return task_named(project.repository / "src" / "multihead", settings, project.settings["train"]["model"]["task"])


def _competition(project: Project) -> Iterator[Finding]:
    if "train" not in project.settings:
        return
    task = _task(project)
    key = "competition_sources" if task.competition else "dataset_sources"
    for file in KERNEL_FILES.values():
        sources = project.value(file, key)
        if sources is not None and task.source not in map(without_version, sources):
            rule = f"expected {task.source} among them, where task {task.name} comes from"
            yield Finding(file, key, _shown(sources), rule)


def _dataset_attached(project: Project) -> Iterator[Finding]:
    """Yield that the predict kernel attaches nothing at all that could hold weights: no dataset, kernel or model."""
    if _sources(project, PREDICT_FILE) == set():
        rule = f"nothing attached that could hold weights; put in the id in {DATASET_FILE}"
        yield Finding(PREDICT_FILE, "dataset_sources", "[]", rule)


def _machine(project: Project) -> Iterator[Finding]:
    for file in KERNEL_FILES.values():
        gpu, tpu = project.value(file, "enable_gpu"), project.value(file, "enable_tpu", False)
        machine = project.value(file, "machine_shape", "")
        if gpu and tpu:
            yield Finding(file, "enable_tpu", "true", "enable_gpu is true as well; a session has one of them")
        elif machine.startswith("Nvidia") and gpu is False:
            yield Finding(file, "machine_shape", _shown(machine), "a GPU, but enable_gpu is false")
        elif machine.startswith("Tpu") and not tpu:
            yield Finding(file, "machine_shape", _shown(machine), "a TPU, but enable_tpu is not true")


def _required_gpu(project: Project) -> Iterator[Finding]:
    for kernel, file, run in project.kernels_with_settings():
        if run["require_gpu"] and project.value(KERNEL_FILES[kernel], "enable_gpu") is False:
            yield Finding(file, "require_gpu", "true", f"enable_gpu is false in {KERNEL_FILES[kernel]}")


def _time_budget(project: Project) -> Iterator[Finding]:
    for kernel, file, run in project.kernels_with_settings():
        device = _device(project, KERNEL_FILES[kernel])
        limit, what = float(SESSION_MINUTES[device]), "session"
        if kernel == "predict" and "train" in project.settings:
            submission = _task(project).submission_minutes(device)
            limit, what = (submission, "submission") if submission < limit else (limit, what)
        if run["time_budget_minutes"] > limit:
            value = f"{run['time_budget_minutes']:g}"
            yield Finding(file, "time_budget_minutes", value, f"Kaggle ends a {device} {what} after {limit:g} minutes")


def _device(project: Project, file: str) -> str:
    if project.value(file, "enable_gpu"):
        return "GPU"
    return "TPU" if project.value(file, "enable_tpu") else "CPU"


def _paths_of_home(project: Project) -> Iterator[Finding]:
    for _, file, run in project.kernels_with_settings():
        for key in ("data", "weights", "working"):
            if run[key].startswith(("/", "~")) and not run[key].startswith("/kaggle/"):
                rule = "no folder of Kaggle's; leave it out, and it is found where Kaggle mounts it"
                yield Finding(file, key, _shown(run[key]), rule)


def _model(project: Project) -> Iterator[Finding]:
    """Yield model settings of the predict kernel that its weights, or else the train kernel's settings, contradict."""
    file = project.repository / _settings_file("predict")
    if "predict" not in project.settings:
        return
    given = read_toml(file).get("model", {})
    for source, model in _models_to_predict_with(project).items():
        for key in given:
            if (key, given[key]) == ("crop", "task"):  # left to the task, as where it is not given
                continue
            value = project.settings["predict"]["model"][key]
            if key in model and model[key] != value:
                rule = f"{source} has {_shown(model[key])}; leave it out, predicting takes it from the weights"
                yield Finding(_settings_file("predict"), key, _shown(value), rule)


def _models_to_predict_with(project: Project) -> dict[str, Mapping[str, Any]]:
    """Return {where it stands: model settings} of the weights in the dataset, or of what the train kernel will make."""
    folder = project.repository / DATASET_FOLDER
    manifests = {name: _manifest(folder / _named(MANIFEST_FILE, name)) for name in _members(project)}
    models = {
        f"{DATASET_FOLDER}/{_named(MANIFEST_FILE, name)}": manifest["model"]
        for name, manifest in manifests.items()
        if isinstance(manifest.get("model"), dict)
    }
    if not models and "train" in project.settings:
        models[_settings_file("train")] = project.settings["train"]["model"]
    return models


def _members(project: Project) -> list[str]:
    """Return the names of the weights that the predict kernel looks for; "" is the one without a name."""
    return project.settings["predict"]["run"]["ensemble"] or [""]


def _files_named_in_settings(project: Project) -> Iterator[Finding]:
    """Yield weights that the settings name and that no input of their kernel can hold."""
    if "train" in project.settings and (name := project.settings["train"]["run"]["pretrained"]):
        yield from _not_attached(project, "train", "pretrained", name, [name], "fetch-weights")
    if "predict" in project.settings:
        for name in project.settings["predict"]["run"]["ensemble"]:
            files = [_named(MANIFEST_FILE, name), _named(WEIGHTS_FILE, name)]
            yield from _not_attached(project, "predict", "ensemble", name, files, f"stage FOLDER --name {name}")


def _not_attached(
    project: Project, kernel: str, key: str, name: str, files: list[str], command: str
) -> Iterator[Finding]:
    file, metadata = _settings_file(kernel), KERNEL_FILES[kernel]
    sources = _sources(project, metadata)
    if sources is None:
        return
    missing = [of for of in files if not (project.repository / DATASET_FOLDER / of).is_file()]
    if not sources:
        yield Finding(file, key, _shown(name), f"{metadata} attaches no dataset that could hold it")
    elif missing and sources == {project.value(DATASET_FILE, "id")}:
        rule = (
            f"no {' and no '.join(missing)} in {DATASET_FOLDER}, the only dataset attached; build_kernel.py {command}"
        )
        yield Finding(file, key, _shown(name), rule)


def _sources(project: Project, file: str) -> set[str] | None:
    """Return what a kernel attaches beside competitions and its task's data, without versions.

    None where what it says is a finding.
    """
    if project.value(file, "dataset_sources") is None:
        return None
    kinds = ("dataset_sources", "kernel_sources", "model_sources")
    data = {_task(project).source} if "train" in project.settings else set()
    return {without_version(source) for kind in kinds for source in project.value(file, kind, [])} - data


def _entries(project: Project) -> list[Path]:
    """Return what lies in the dataset folder beside its metadata."""
    folder = project.repository / DATASET_FOLDER
    return sorted(f for f in folder.iterdir() if f.name != Path(DATASET_FILE).name) if folder.is_dir() else []


def _files(project: Project) -> list[Path]:
    """Return the dataset's own files; a folder, a broken link, what a system left is none, and binds only its push."""
    return [entry for entry in _entries(project) if entry.is_file() and not is_left_by_a_system(entry.name)]


def _files_to_upload(project: Project) -> Iterator[Finding]:
    files = _files(project)
    if len(files) > MAX_FILES:
        yield Finding(DATASET_FOLDER, "files", str(len(files)), f"Kaggle takes at most {MAX_FILES}")
    for file in files:
        if file.suffix.lower() in ARCHIVES:
            rule = "Kaggle unpacks archives; put in what it holds"
            yield Finding(f"{DATASET_FOLDER}/{file.name}", "bytes", f"{file.stat().st_size:,}", rule)


def _stray_entries(project: Project) -> Iterator[Finding]:
    for entry in _entries(project):
        file = f"{DATASET_FOLDER}/{entry.name}"
        if not entry.is_file():
            kind = "folder" if entry.is_dir() else "broken link"
            yield Finding(file, "kind", kind, "not uploaded; the client takes only the files beside its metadata")
        elif is_left_by_a_system(entry.name):
            rule = "no part of the weights, and plain kaggle uploads it; remove it"
            yield Finding(file, "bytes", f"{entry.stat().st_size:,}", rule)


def _pairs(project: Project) -> Iterator[Finding]:
    """Yield weights and manifests without each other, pairs that do not belong together, and those of an old format."""
    folder, files = project.repository / DATASET_FOLDER, [f.name for f in _files(project)]
    names = {f.removesuffix(of) for of in (MANIFEST_FILE, WEIGHTS_FILE) for f in files if f.endswith(of)}
    readable = manifest_format(project.repository / "src" / "multihead" / "weights.py")
    for name in sorted(names):
        manifest, weights = folder / f"{name}{MANIFEST_FILE}", folder / f"{name}{WEIGHTS_FILE}"
        missing = [f for f in (manifest, weights) if not f.is_file()]
        if missing:
            there = weights if missing[0] == manifest else manifest
            yield Finding(f"{DATASET_FOLDER}/{missing[0].name}", "file", MISSING, f"{there.name} is nothing without it")
            continue
        told = _manifest(manifest)
        with weights.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
        if found != told.get("sha256"):
            rule = f"not the file that {manifest.name} tells of; stage both again"
            yield Finding(f"{DATASET_FOLDER}/{weights.name}", "SHA-256", f"{found[:16]}...", rule)
        elif told.get("format") != readable:
            value = _shown(told["format"]) if "format" in told else MISSING
            rule = f"this version reads {readable}; train again"
            yield Finding(f"{DATASET_FOLDER}/{manifest.name}", "format", value, rule)


def manifest_format(weights: Path) -> int:
    """Return the manifests' format that the package's weights.py reads, itself read as text."""
    found = re.search(r"^FORMAT = (\d+)$", text_of(weights), re.MULTILINE)
    if not found:
        raise BundlerError(f"{weights}: expected a line FORMAT = NUMBER")
    return int(found[1])


def _nothing_to_push(project: Project) -> Iterator[Finding]:
    if not _files(project):
        rule = "nothing to push; build_kernel.py stage or fetch-weights puts it there"
        yield Finding(DATASET_FOLDER, "files", MISSING, rule)


def _weights_of_another_name(project: Project) -> Iterator[Finding]:
    """Yield that the dataset, all that the predict kernel attaches, holds weights but not those that it looks for."""
    if "predict" not in project.settings or _sources(project, PREDICT_FILE) != {project.value(DATASET_FILE, "id")}:
        return
    there = [f.name for f in _files(project) if f.name.endswith(WEIGHTS_FILE)]
    missing = [of for name in _members(project) if (of := _named(WEIGHTS_FILE, name)) not in there]
    if there and missing:
        ensemble = f"ensemble of {_settings_file('predict')}"
        rule = f"predicting looks for {', '.join(missing)}; name in {ensemble} what is there, or stage it again"
        yield Finding(DATASET_FOLDER, "weights", ", ".join(there), rule)


def _manifest(path: Path) -> Mapping[str, Any]:
    """Return what a manifest says, or nothing where it says nothing that could be read."""
    try:
        return read_object(path)
    except BundlerError:
        return {}


# What each action is held to, in the order in which it is told. A push comes after a build, whose rules have held.
RULES: Mapping[str, tuple[Callable[[Project], Iterable[Finding]], ...]] = {
    "build": (
        _build_in_memory,
        _owners,
        _same_id,
        _title_and_slug,
        _code_file,
        _competition,
        _dataset_attached,
        _machine,
        _required_gpu,
        _time_budget,
        _paths_of_home,
        _model,
        _files_named_in_settings,
        _files_to_upload,
        _pairs,
    ),
    "push train": (_placeholder,),
    "push weights": (_placeholder, _stray_entries, _nothing_to_push, _weights_of_another_name),
    "push predict": (_placeholder, _weights_of_another_name),
}


def _told(repository: Path, file: str, error: BundlerError) -> Finding:
    return Finding(file, "", "", str(error).removeprefix(f"{repository / file}: "))


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _one_line(key: str) -> str:
    return key if re.fullmatch(r"[\w.-]+", key) else json.dumps(key)


def _named(file: str, name: str) -> str:
    return f"{name}.{file}" if name else file
