"""What Kaggle would refuse, ignore or punish, found before the push.

The rules of single keys stand in keys.py; those of what several files say together in kernels.py,
settings.py and dataset.py. Nothing doubtful is a finding: each would fail on Kaggle, or be passed over in
silence. What may be meant as it stands is a note before a push.
"""

import hashlib
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bundler.build.attached_wheels import all_fetched, fetched_for, installed
from bundler.build.kernel import build_kernel
from bundler.build.package_files import read_package
from bundler.build.parts import read_importable
from bundler.check import dataset as check_dataset
from bundler.check import kernels as check_kernels
from bundler.check import settings as check_settings
from bundler.check.kernels import PUSHES
from bundler.check.keys import key_findings, read_checked
from bundler.check.project import KERNEL_FILES, Finding, Project, finding_of, settings_file
from bundler.errors import BundlerError
from bundler.metadata import METADATA_FILES, SCRIPT
from bundler.repository import Repository, built_name
from multihead.config import UserError
from multihead.config.files import TASK_FILE
from multihead.config.settings import settings_dict
from multihead.config.settings_file import read_settings
from multihead.config.steps import BUILT_IN_STEPS

SECONDS_TO_START = 60

__all__ = ["PUSHES", "RULES", "Finding", "key_findings", "preflight", "require_preflight"]


def preflight(repository: Path, action: str = "build") -> list[Finding]:
    """Return what Kaggle would not take of the kernels and the dataset in a repository folder.

    action: what is about to be done, one of RULES. A build is held to what always holds; a push, which comes after a
    build, only to what it asks for on top: an owner, and weights that arrive and are found. Notes are among them.
    """
    if action not in RULES:
        raise ValueError(f"action {action!r}; one of {', '.join(RULES)}")
    findings: list[Finding] = []
    read = {file: read_checked(repository, file, findings) for file in METADATA_FILES}
    metadata = {file: values for file, values in read.items() if values is not None}
    refused = frozenset((finding.file, finding.key) for finding in findings)
    kernels = ("train",) if action == "push train" else KERNEL_FILES
    settings = {name: values for name in kernels if (values := _read_settings(repository, name, findings))}
    project = Project(Repository(repository), action, metadata, refused, settings)
    for rule in RULES[action]:
        findings += rule(project)
    return list(dict.fromkeys(findings))


def require_preflight(repository: Path, action: str = "build") -> None:
    """Print the notes for an action; raise BundlerError, with all other findings, where there is one."""
    found = preflight(repository, action)
    for note in (finding for finding in found if finding.is_note):
        print(f"note: {note}", flush=True)
    findings = [str(finding) for finding in found if not finding.is_note]
    if findings:
        heading = [f"{len(findings)} things that Kaggle would not take:"] if len(findings) > 1 else []
        raise BundlerError("\n  ".join([*heading, *findings]))


def _read_settings(repository: Path, kernel: str, findings: list[Finding]) -> dict[str, dict[str, Any]] | None:
    """Return all [model] and [run] settings of a kernel, defaults included; None where they are refused."""
    path = repository / settings_file(kernel)
    try:
        settings = read_settings(path)
    except UserError as error:
        findings.append(_of_settings(repository, path, str(error)))
        return None
    is_foreign = any(step["name"] not in BUILT_IN_STEPS for step in settings.run.augmentation)
    wheels = _wheels(Repository(repository), settings.run.wheels) if is_foreign else []
    if is_foreign and (fault := _fault_of_start(repository / "src", path.resolve(), wheels)):
        message = fault.removeprefix("error: ")
        is_of_settings = message != fault
        findings.append(_of_settings(repository, path, message) if is_of_settings else _of_package(fault))
        return None
    return {"model": settings_dict(settings.model), "run": settings_dict(settings.run)}


def _wheels(repository: Repository, requirements: Sequence[str]) -> list[Path]:
    """Return the wheels in the dataset's folder that were fetched for a list of requirements."""
    return [repository.dataset / name for name in sorted(fetched_for(repository.dataset, requirements))]


def _fault_of_start(source: Path, settings: Path | None = None, wheels: Sequence[Path] = ()) -> str:
    """Return what is wrong with a package that does not even start, or refuses these settings; "" for nothing.

    It imports albumentations for them. source: the folder of the package. wheels: what a kernel installs before; where
    they are for Kaggle's Python only, this one cannot tell.
    """
    command = [sys.executable, "-B", "-m", "multihead", "settings"]
    command += ["--settings", str(settings)] if settings else []
    try:
        with installed(wheels) as environment:
            ended = subprocess.run(
                command,
                cwd=source,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=SECONDS_TO_START,
            )
        if ended.returncode == 0:
            tomllib.loads(ended.stdout)
            return ""
    except BundlerError:
        return ""
    except subprocess.TimeoutExpired:
        return f"takes over {SECONDS_TO_START} seconds to start"
    except tomllib.TOMLDecodeError:
        first = ended.stdout.partition("\n")[0][:80]
        return f"prints while it is imported ({first}); leave that to main"
    return (ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"])[-1]


def _of_package(fault: str) -> Finding:
    return Finding("src/multihead", "", "", fault)


def _of_settings(repository: Path, path: Path, message: str) -> Finding:
    """Return what is wrong with a settings file, or with the task beside it, without the file's name."""
    for source in (path.with_name(TASK_FILE), path):
        for name in (source.name, source, source.resolve()):
            if message.startswith(f"{name}: "):
                return Finding(source.relative_to(repository).as_posix(), "", "", message.removeprefix(f"{name}: "))
    return Finding(path.relative_to(repository).as_posix(), "", "", message)


def _build_in_memory(project: Project) -> Iterator[Finding]:
    """Yield why a kernel could not be built: an import that Kaggle lacks, a damaged wheel, a size over the limit.

    Of what can be built, the package is started, once for each state of its files.
    """
    repository, messages = project.repository, set()
    for kernel, file in KERNEL_FILES.items():
        form = project.value(file, "kernel_type", SCRIPT)  # one that is refused is not there
        try:
            if kernel in project.settings:
                build_kernel(form, repository.package, repository.settings(kernel), kernel, repository.dataset)
            else:
                read_importable(repository.package, attached=all_fetched(repository.dataset))
        except UserError as error:
            for message in str(error).splitlines():
                if message not in messages:
                    yield finding_of(
                        repository.root, f"kernel/{kernel}/{built_name(kernel, form)}", BundlerError(message)
                    )
                messages.add(message)
    if not messages:
        lists = {tuple(_wheels(repository, settings["run"]["wheels"])) for settings in project.settings.values()}
        for wheels in sorted(lists or {()}):
            digest = hashlib.sha256(repr((read_package(repository.package), wheels)).encode()).hexdigest()
            if digest not in _starts:
                _starts[digest] = _fault_of_start(repository.package.parent, wheels=wheels)
            if _starts[digest]:
                yield _of_package(_starts[digest])
                return


_starts: dict[str, str] = {}  # by the digest of a package's files and its wheels: what is wrong with its start


# What each action is held to, in the order in which it is said. A push comes after a build, whose rules have held.
RULES: Mapping[str, tuple[Callable[[Project], Iterable[Finding]], ...]] = {
    "build": (
        _build_in_memory,
        check_kernels.owners,
        check_kernels.same_id,
        check_kernels.title_and_slug,
        check_kernels.code_file,
        check_kernels.competition,
        check_kernels.holder_of_weights,
        check_kernels.tpu,
        check_kernels.machine,
        check_kernels.time_budget,
        check_settings.folders,
        check_settings.model,
        check_settings.pretrained,
        check_settings.further_images,
        check_settings.resume,
        check_settings.ensemble,
        check_dataset.files_to_upload,
        check_dataset.pairs,
        check_dataset.ensemble_of_study,
    ),
    "push train": (
        check_kernels.placeholder,
        check_kernels.dataset_of_wheels,
        check_kernels.resumed_from_another,
        check_kernels.sources_of_another_kind,
    ),
    "push weights": (
        check_kernels.placeholder,
        check_dataset.stray_entries,
        check_dataset.nothing_to_push,
        check_dataset.resources,
        check_dataset.weights_of_another_name,
        check_dataset.weights_of_another_task,
        check_dataset.weights_not_attached,
        check_dataset.ensemble_not_followed,
    ),
    "push predict": (
        check_kernels.placeholder,
        check_kernels.dataset_of_wheels,
        check_dataset.wheels_alone,
        check_dataset.weights_of_another_name,
        check_dataset.weights_of_another_task,
        check_dataset.weights_not_attached,
        check_kernels.sources_of_another_kind,
        check_settings.weighted_members,
        check_dataset.ensemble_not_followed,
        check_kernels.no_time_budget,
    ),
}
