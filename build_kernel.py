#!/usr/bin/env python3
"""Build what is pushed to Kaggle, rehearse it at home, and push it.

python build_kernel.py [--owner NAME]     build both kernels; write your Kaggle user name into the metadata
python build_kernel.py check              all that Kaggle would not take; every build does this first
python build_kernel.py fetch-weights noisy-student b0    put pretrained weights into dataset_meta/ (needs internet)
python build_kernel.py rehearse DATA      run a built kernel in a stand-in of Kaggle's machine; --rows 211042: as long
python build_kernel.py dry-run [DATA]     all of it: build, train, stage, predict, check the submission
python build_kernel.py refresh-image FREEZE    renew what Kaggle's image can import, from its package listing

The way to a score; each says what comes next:
python build_kernel.py push train         build both kernels, push one, which runs it
python build_kernel.py status train       how its run goes; --wait: until it is complete
python build_kernel.py pull train         its output, into trained/
python build_kernel.py stage trained      put a training's weights into dataset_meta/
python build_kernel.py push weights       dataset_meta/ as a dataset or its new version, until it can be mounted
python build_kernel.py push predict       as push train; then status predict
python build_kernel.py submit             the version that was pushed last; then status submission
python build_kernel.py pull predict       instead, where the data is no competition's: its predictions, into predicted/
"""

import argparse
import importlib.util
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

if importlib.util.find_spec("pydantic") is None:
    print("error: No module named 'pydantic'; .venv/bin/python has what it needs", file=sys.stderr)
    raise SystemExit(2)

from bundler.build.image import age_in_words, refresh_image
from bundler.build.package_files import data_files, left_out
from bundler.build.script import IMAGE_FILE, build_script
from bundler.check.metadata import check_owner, read_metadata, set_owner, without_version
from bundler.check.preflight import PUSHES, preflight, require_preflight
from bundler.errors import BundlerError, RehearsalError
from bundler.kaggle import client
from bundler.kaggle.pretrained import KINDS, fetch, published
from bundler.kaggle.staging import stage, verified
from bundler.rehearse.inputs import MOUNTS, Inputs, attached, refuse_to_empty
from bundler.rehearse.outputs import check_outputs, check_predictions, check_submission
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
from bundler.rehearse.rehearsal import MEMORY_GB, REPEATED, Rehearsed, claim, empty, refuse_foreign, rehearse
from bundler.tasks import (
    check_data,
    has_truth,
    image_bytes,
    predicted_task,
    source_of,
    submission_minutes,
    trained_task,
)
from multihead.config import UserError
from multihead.config.data_files import matching
from multihead.config.files import (
    CHECKPOINT_FILE,
    HISTORY_FILE,
    MANIFEST_FILE,
    PREDICTIONS_FILE,
    REPORT_FOLDER,
    SETTINGS_FILE,
    SUBMISSION_FILE,
    TASK_FILE,
    WEIGHTS_FILE,
)
from multihead.config.settings import read_settings
from multihead.config.task import Task, task_beside, task_text

HOUSE = Path(__file__).resolve().parent
PACKAGE = HOUSE / "src" / "multihead"
KERNELS = ("train", "predict")
DATASET = HOUSE / "dataset_meta"
DRY_RUN = HOUSE / "dry-run"
TRAINED, PREDICTED = HOUSE / "trained", HOUSE / "predicted"
# what a kernel may leave in its working folder
OUTPUTS = {
    "train": (WEIGHTS_FILE, MANIFEST_FILE, HISTORY_FILE, CHECKPOINT_FILE, REPORT_FOLDER),
    "predict": (SUBMISSION_FILE, PREDICTIONS_FILE),
}
AT_HOME = ("--set", "require_gpu=false", "--set", "mixed_precision=false")
# A CPU's pace says nothing of Kaggle's GPU: the predict kernel's budget is judged by what the rehearsal projects
NO_BUDGET = ("--set", "time_budget_minutes=0")
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
NEXT = {
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
REPEATED_TASK = "bengali"  # the task whose test files demo/repeat_test_files.py knows
HOURS = 13  # a kernel's run ends after 12; --wait gives it one in the queue


class Machine(NamedTuple):
    """How a rehearsal stands in for Kaggle's machine: its mounts' form, memory, number of test images, time limit."""

    mounts: str = "new"
    memory_gb: float = MEMORY_GB
    rows: int = 0  # as many as the competition folder has
    minutes: float = math.inf


class Given(NamedTuple):
    """What a rehearsal is given.

    data: a folder of the task's files. weights: what stands in for dataset_meta. mounts: folders by the source that
    they stand in for. sets: settings, as KEY=VALUE. settings: a file in place of the kernel's own.
    """

    data: Path
    weights: Path | None = None
    mounts: Mapping[str, Path] = {}
    sets: Sequence[str] = ()
    settings: Path | None = None


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return 0, 1 where a rehearsal or a check failed, or 2 after one line about a mistake."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.owner is not None and arguments.command:
        parser.error(f"--owner goes without a command, not with {arguments.command}")
    if arguments.command == "rehearse" and arguments.kernel == "train" and arguments.rows:
        parser.error("--rows repeats the test files, and --kernel train reads none")
    _end_as_by_ctrl_c()
    code = 0
    try:
        if arguments.command == "check":
            code = check()
        elif arguments.command in ("push", "pull", "stage", "status", "submit"):
            go_on(arguments)
        elif arguments.command == "fetch-weights":
            print(fetch_weights(arguments.kind, arguments.backbone))
        elif arguments.command == "refresh-image":
            told = refresh_image(arguments.freeze, IMAGE_FILE, arguments.date, arguments.python)
            print(f"{IMAGE_FILE.relative_to(HOUSE)}: {told}")
        elif arguments.command == "rehearse":
            print(rehearse_built(arguments))
        elif arguments.command == "dry-run":
            dry_run(arguments.data, _machine(arguments), arguments.task)
        else:
            build(arguments.owner)
        print(end="", flush=True)  # does nothing where the command was started without an output
    except BrokenPipeError:  # whoever reads the output wants no more, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python's end would try again to write
        return 141
    except (UserError, RehearsalError, OSError) as error:
        sys.stdout.flush()
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, RehearsalError) else 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return code


def _end_as_by_ctrl_c() -> None:
    """Let every signal that ends this process interrupt it, once: a kernel that is rehearsed has to be ended, too."""

    def interrupt(_number: int, _frame: object) -> None:
        for ending in ENDINGS:
            signal.signal(ending, signal.SIG_IGN)
        raise KeyboardInterrupt

    for ending in ENDINGS:
        if signal.getsignal(ending) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(ending, interrupt)


def build(owner: str | None = None) -> None:
    """Write kernel/<name>/<name>_kernel.py for both kernels."""
    if owner is not None:
        for path in set_owner(HOUSE, owner):
            print(f"{path.relative_to(HOUSE)}: owner {owner}")
    require_preflight(HOUSE)
    for name in KERNELS:
        script = build_script(PACKAGE, _settings(name), name)
        _script(name).write_bytes(script)
        print(f"{_script(name).relative_to(HOUSE)}: {len(script):,} bytes")
    _tell_what_travels()
    print(age_in_words(IMAGE_FILE, date.today()))


def _tell_what_travels() -> None:
    for name, size in data_files(PACKAGE).items():
        print(f"{name}: {size:,} bytes, travels in the scripts")
    for name in left_out(PACKAGE):
        print(f"{name}: left out of the scripts")


def check() -> int:
    """Print all that Kaggle would not take, or else what each push asks for on top; return 1 if a build is refused."""
    findings = preflight(HOUSE)
    for finding in findings:
        print(finding)
    if findings:
        return 1
    print("no findings")
    _tell_what_travels()
    for push in PUSHES:
        for finding in preflight(HOUSE, push):
            print(f"  before {push}: {'note: ' if finding.is_note else ''}{finding}")
    return 0


def go_on(arguments: argparse.Namespace) -> None:
    """Run one command of the way to a score, and say which one comes next."""
    command = arguments.command
    step = f"{command} {arguments.what}" if "what" in arguments else command
    following = NEXT.get(step)
    if command != "stage":
        check_owner(HOUSE)
    if command == "push":
        push(arguments.what, arguments.message)
    elif command == "pull":
        print(pull(arguments.what))
    elif command == "stage":
        own = task_beside(_settings("train"))
        print(f"dataset_meta: {stage(arguments.folder, DATASET, arguments.name, own)}")
        if arguments.name:
            print(f"next: put {arguments.name} into ensemble of kernel/predict/settings.toml")
    elif command == "submit":
        submit(arguments.version, arguments.message)
    elif not status(arguments.what, arguments.wait):
        following = f"{step} --wait"
    elif step == "status predict" and not _task("predict", [DATASET]).competition:
        following = "pull predict"
    if following:
        print(f"next: build_kernel.py {following}")


def push(what: str, message: str) -> None:
    """Build both kernels, then push one of them, or the weights."""
    build()
    require_preflight(HOUSE, f"push {what}")
    if what == "weights":
        client.push_dataset(DATASET, message)
    else:
        print(client.push_kernel(_script(what).parent))


def pull(what: str) -> str:
    """Download a kernel's output, and return what it is, in words."""
    if what == "train":
        client.pull_output(_id(what), TRAINED, [(WEIGHTS_FILE,), (MANIFEST_FILE,)])
        return f"{TRAINED.name}: {verified(TRAINED)}"
    came = client.pull_output(_id(what), PREDICTED, [OUTPUTS[what]])
    return f"{PREDICTED.name}: {', '.join(f.name for f in came)}"


def status(what: str, wait: bool) -> bool:
    """Print how a kernel's run, the dataset or the newest submission is doing; return whether it is done."""
    asks = {"weights": client.dataset_status, "submission": client.submission_status}
    name, ask = _id(what), asks.get(what, client.kernel_status)
    if wait:
        client.wait_for(name, lambda: ask(name), HOURS)
        return True
    now = ask(name)
    print(f"{name}: {now.words}")
    return now.done


def submit(version: int | None, message: str | None) -> None:
    """Submit a version of the predict kernel, the one that was pushed last if none is named."""
    kernel = _id("predict")
    version = version or client.pushed_version(_script("predict").parent)
    print(client.submit(kernel, version, _id("submission"), message or f"{kernel} version {version}"))


def fetch_weights(kind: str, backbone: str) -> str:
    """Put pretrained weights into dataset_meta, and return what makes the train kernel start from them."""
    file = published(kind, backbone)
    path = fetch(file, DATASET)
    dataset = read_metadata(HOUSE / "dataset_meta" / "dataset-metadata.json")["id"]
    return (
        f"{path.name}: {path.stat().st_size:,} bytes, in {path.parent.name}/\n"
        f'  kernel/train/settings.toml, [run]: pretrained = "{path.name}"\n'
        f'  kernel/train/kernel-metadata.json: "dataset_sources": ["{dataset}"], once that dataset is created'
    )


def check_weights(folders: Sequence[Path]) -> None:
    """Raise BundlerError where no folder holds any weights, before anything is laid out for them."""
    if not any(any(matching(folder, f"*{WEIGHTS_FILE}")) for folder in folders):
        where = ", ".join(map(str, folders)) or "what the kernel attaches"
        hint = "build_kernel.py stage FOLDER, --weights FOLDER or --mount SOURCE=FOLDER"
        raise BundlerError(f"{where}: no weights there; {hint}")


def rehearse_built(of: argparse.Namespace) -> str | Rehearsed:
    """Build both kernels, rehearse one, and return what came of it."""
    out = (of.out or DRY_RUN / f"rehearsal-{of.kernel}").resolve()
    given = Given(of.data, of.weights, dict(of.mount), of.set, of.settings)
    if len(given.mounts) < len(of.mount):
        raise BundlerError("--mount: a source is named twice")
    task, inputs, _ = _inputs(of.kernel, given)
    if of.weights and of.weights.resolve() not in inputs.folders[1:]:
        own = read_metadata(DATASET / client.DATASET_METADATA)["id"]
        raise BundlerError(
            f"--weights: the {of.kernel} kernel does not attach {own}, or --mount names another folder for it"
        )
    files = (
        {f"--settings {of.settings}": of.settings, TASK_FILE: of.settings.with_name(TASK_FILE)} if of.settings else {}
    )
    reads = {"DATA": of.data} | {f"the input {folder}": folder for folder in inputs.folders[1:]} | files
    refuse_to_empty(out, "--out", reads)
    refuse_foreign(out)
    inputs.mounts(of.mounts)
    check_data(task, of.data, of.kernel)
    build()
    if of.kernel == "predict":
        return rehearse_predict(given, out, _machine(of))
    return rehearse_kernel(of.kernel, given, out, _machine(of))


def rehearse_kernel(name: str, given: Given, out: Path, machine: Machine) -> Rehearsed:
    """Rehearse one built kernel on a folder of its task's files, with `out` as its /kaggle."""
    task, inputs, missing = _inputs(name, given)
    check_data(task, given.data, name)
    sets = [part for setting in given.sets for part in ("--set", setting)]
    arguments = [*AT_HOME, *(NO_BUDGET if name == "predict" else ()), *sets]
    print(f"{_script(name).relative_to(HOUSE)}, mounts in the {machine.mounts} form:", flush=True)
    if missing:
        print(f"  not mounted, though Kaggle would: {', '.join(missing)} (rehearse --mount SOURCE=FOLDER)", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        if given.settings:
            settings = _with_task(given.settings, task, Path(folder)) if name == "train" else given.settings
            arguments = ["--settings", str(settings.resolve()), *arguments]
        result = rehearse(_script(name), inputs, out, machine.mounts, arguments, machine.memory_gb, machine.minutes)
    check_outputs(result.working, OUTPUTS[name])
    return result


def _with_task(settings: Path, task: Task, folder: Path) -> Path:
    """Copy a settings file into a folder, and beside it the task, which a train script has beside its own."""
    (folder / TASK_FILE).write_text(task_text(task.name, settings), encoding="utf-8")
    return Path(shutil.copyfile(settings, folder / settings.name))


def _inputs(name: str, given: Given) -> tuple[Task, Inputs, list[str]]:
    """Return a kernel's task, what is mounted for it, and which of its sources are not."""
    metadata = _script(name).with_name(client.KERNEL_METADATA)
    own = read_metadata(DATASET / client.DATASET_METADATA)["id"]
    folders = attached(metadata, given.mounts, {own: given.weights or DATASET})
    for (_, source), folder in folders.items():
        if folder and not folder.is_dir():
            raise BundlerError(f"{folder}: not a folder to mount as {source}")
    task = _task(name, [folder for folder in folders.values() if folder], given.settings, given.sets)
    of_task = {
        source_of(task),
        source_of(_task("train", [])),
    }  # what the kernel attaches for its own task, DATA stands for
    others: dict[tuple[str, str], Path] = {}
    missing = []
    for (key, source), folder in folders.items():
        if source in of_task or without_version(source) in of_task:
            if folder and source_of(task) in (source, without_version(source)):
                raise BundlerError(f"--mount {source}: {given.data} is mounted there")
        elif folder:
            others[key, source] = folder.resolve()
        else:
            missing.append(source)
    return task, Inputs(source_of(task), given.data.resolve(), {}, others), missing


def rehearse_predict(given: Given, out: Path, machine: Machine) -> str:
    """Rehearse the predict kernel, print what it took and what the hidden test set would take, and check both.

    Returns where its submission is, once that has proved to match sample_submission.csv, where the task has one.
    """
    task, inputs, _ = _inputs("predict", given)
    check_data(task, given.data, "predict")
    check_weights(inputs.folders[1:])
    if machine.rows:
        if task.name != REPEATED_TASK:
            raise BundlerError(f"--rows: repeats the test files of {REPEATED_TASK}, not those of {task.name}")
        given = given._replace(data=_repeated_competition(given.data, out, machine.rows, image_bytes(task)))
    predicted = rehearse_kernel("predict", given, out, machine)
    submission = predicted.working / (SUBMISSION_FILE if task.sample_submission else PREDICTIONS_FILE)
    if not submission.is_file():
        raise RehearsalError(f"no {submission.name} in the working folder (all of it: {out / 'log.txt'})")
    stages = read_stages(predicted.log, _hidden_test(task))
    budget = _time_budget(given.sets, given.settings or _settings("predict"))
    growth = growth_per_file(predicted.ended.file_bytes, stages)
    told = [str(predicted)]
    if task.has_hidden_test:
        told += [growth_in_words(growth, stages.hidden), projection(stages, budget)]
    print("\n".join(told), flush=True)
    if task.sample_submission:
        rows = check_submission(submission, given.data / task.sample_submission)
    else:
        rows = check_predictions(submission)
    if task.has_hidden_test:
        check_time(stages, budget)
        check_growth(growth, stages)
    if machine.rows:
        shutil.rmtree(given.data)
    shown = submission.relative_to(HOUSE) if submission.is_relative_to(HOUSE) else submission
    return f"submission: {shown} ({rows} rows)"


def dry_run(data: Path | None, machine: Machine, name: str = "") -> None:
    """Go the whole way once on small shards, everything that it leaves in dry-run/.

    name: of the task; without one that of kernel/train/task.toml, or else the first that is built in.
    """
    dry_settings = HOUSE / "kernel" / "train" / "settings-dry.toml"
    task = trained_task(dry_settings, [f"task={name}"] if name else [])
    dataset = DRY_RUN / "dataset_meta"
    if data:
        for folder in (DRY_RUN / "train", DRY_RUN / "predict", dataset):
            refuse_to_empty(folder, "dry-run", {"DATA": data})
        check_data(task, data, "train")
        check_data(task, data, "predict")
    build()
    data = data.resolve() if data else _drawn_data(task)
    dataset.mkdir(parents=True, exist_ok=True)
    given = Given(data, dataset)
    chosen = Given(data, dataset, sets=[f"task={task.name}"], settings=dry_settings)
    trained = rehearse_kernel("train", chosen, DRY_RUN / "train", machine)
    print(trained)
    shutil.copyfile(DATASET / "dataset-metadata.json", dataset / "dataset-metadata.json")
    print(f"{dataset.relative_to(HOUSE)}: {stage(trained.working, dataset)}")
    _, inputs, missing = _inputs("predict", given)
    if dataset.resolve() not in inputs.folders and missing:  # the weights come from elsewhere than dataset_meta
        given = given._replace(mounts={missing[-1]: dataset})
    told = rehearse_predict(given, DRY_RUN / "predict", machine)
    if has_truth(data, task) and not machine.rows:
        answers = DRY_RUN / "predict" / "working" / (SUBMISSION_FILE if task.sample_submission else PREDICTIONS_FILE)
        own = task_beside(dry_settings)
        of_task = str(dry_settings.with_name(TASK_FILE)) if own and own.name == task.name else task.name
        _run_python(["-m", "multihead", "evaluate", str(answers), str(data), "--task", of_task])
    print(told)


def _drawn_data(task: Task) -> Path:
    folder = DRY_RUN / "competition"
    empty(folder)
    _run_python([str(HOUSE / "demo" / "sample_competition.py"), str(folder), "--task", task.name])
    return folder


def _task(kernel: str, inputs: Sequence[Path], settings: Path | None = None, overrides: Sequence[str] = ()) -> Task:
    """Return the task that a kernel is rehearsed on: that of the weights in its inputs, or of the training."""
    if kernel == "predict":
        with_weights = [folder for folder in inputs if any(matching(folder, f"*{WEIGHTS_FILE}"))]
        found = (predicted_task(folder) for folder in with_weights or inputs)
        return next(filter(None, found), None) or trained_task(_settings("train"))
    return trained_task(settings or _settings("train"), overrides)


def _hidden_test(task: Task) -> HiddenTest:
    """Return the hidden test of a task, with what the predict kernel's machine is allowed for it."""
    has_gpu = read_metadata(_script("predict").with_name(client.KERNEL_METADATA)).get("enable_gpu")
    enough = "--rows 16000 does" if task.reader == "wide parquet" else f"{LEAST_IMAGES_PER_FILE} do"
    minutes = submission_minutes(task, "GPU" if has_gpu else "CPU")
    return HiddenTest(task.hidden_images, image_bytes(task), minutes, enough)


def _repeated_competition(data: Path, out: Path, rows: int, image_bytes: int) -> Path:
    """Lay out so many test images in a folder of `out`, repeated from those of the data, where there is room."""
    claim(out)
    folder = out / REPEATED
    if folder.exists():
        shutil.rmtree(folder)
    needed, free = rows * image_bytes, shutil.disk_usage(out).free
    if needed > free:
        raise BundlerError(
            f"--rows {rows}: may take {needed / 1e9:.1f} GB in {out}, where {free / 1e9:.1f} GB are free"
        )
    _run_python([str(HOUSE / "demo" / "repeat_test_files.py"), str(data.resolve()), str(folder), "--rows", str(rows)])
    return folder


def _time_budget(overrides: Sequence[str], file: Path) -> float:
    """Return the predict kernel's time budget in minutes, 0 for none."""
    return read_settings(file, overrides).run.time_budget_minutes


def _machine(arguments: argparse.Namespace) -> Machine:
    return Machine(arguments.mounts, arguments.memory, arguments.rows, arguments.timeout)


def _run_python(arguments: Sequence[str]) -> None:
    sys.stdout.flush()
    code = subprocess.run([sys.executable, *arguments], cwd=HOUSE / "src", check=False).returncode
    if code:
        raise BundlerError(f"python {' '.join(arguments)} ended with exit code {code}")


def _id(what: str) -> str:
    """Return what Kaggle calls a kernel, the weights' dataset, or the competition that a submission goes to."""
    if what == "weights":
        return str(read_metadata(DATASET / client.DATASET_METADATA)["id"])
    if what != "submission":
        return str(read_metadata(_script(what).with_name(client.KERNEL_METADATA))["id"])
    task = _task("predict", [DATASET])
    if not task.competition:
        raise BundlerError(f"{task.name}: of no competition to submit to; build_kernel.py pull predict")
    return task.competition


def _settings(kernel: str) -> Path:
    return HOUSE / "kernel" / kernel / SETTINGS_FILE


def _script(name: str) -> Path:
    return HOUSE / "kernel" / name / f"{name}_kernel.py"


def _mount(text: str) -> tuple[str, Path]:
    source, equals, folder = text.partition("=")
    if not (source and equals and folder):
        raise argparse.ArgumentTypeError(f"{text}: expected SOURCE=FOLDER, the source as in kernel-metadata.json")
    return source, Path(folder)


def _over_0(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: expected a number over 0")
    return number


def _rows(text: str) -> int:
    number = int(text)
    if number < 4:
        raise argparse.ArgumentTypeError(f"{text}: expected a number of images, 4 or more")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--owner", help="your Kaggle user name")
    commands = parser.add_subparsers(dest="command")
    _add_way(commands)
    commands.add_parser("check", help="all that Kaggle would not take of kernels and dataset")
    fetching = commands.add_parser("fetch-weights", help="put pretrained weights into dataset_meta/; needs internet")
    fetching.add_argument("kind", choices=KINDS)
    fetching.add_argument("backbone", help="b0 to b7; with imagenet also vgg16 and the like")
    one = commands.add_parser("rehearse", help="run a built kernel in a stand-in of Kaggle's machine")
    one.add_argument("data", type=Path, help="a competition folder")
    one.add_argument("--kernel", choices=KERNELS, default="predict")
    one.add_argument("--weights", type=Path, help="mounted as the dataset of dataset_meta (default: dataset_meta)")
    one.add_argument(
        "--mount",
        type=_mount,
        action="append",
        default=[],
        metavar="SOURCE=FOLDER",
        help="a folder to mount as one of the sources in kernel-metadata.json; may be repeated",
    )
    one.add_argument("--out", type=Path, help="what serves as /kaggle; emptied first")
    one.add_argument("--settings", type=Path, help="a TOML file instead of the kernel's own settings")
    one.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override one setting")
    whole = commands.add_parser("dry-run", help="build, train, stage, predict, check")
    whole.add_argument("data", type=Path, nargs="?", help="a folder of the task's files (default: drawn)")
    whole.add_argument("--task", default="", help="of the images (default: that of kernel/train/task.toml, or bengali)")
    image = commands.add_parser("refresh-image", help="renew what Kaggle's image can import")
    image.add_argument("freeze", type=Path, help="its package listing, as pip freeze prints it")
    image.add_argument(
        "--date", type=date.fromisoformat, metavar="YYYY-MM-DD", help="of the listing (default: its file's)"
    )
    image.add_argument("--python", metavar="VERSION", help="of the image (default: as before)")
    for command in (one, whole):
        command.add_argument("--mounts", choices=MOUNTS, default="new", help="where inputs are mounted")
        command.add_argument(
            "--memory",
            type=_over_0,
            default=MEMORY_GB,
            metavar="GB",
            help="end the run above it (default: Kaggle's %(default)g)",
        )
        command.add_argument(
            "--timeout", type=_over_0, default=math.inf, metavar="MINUTES", help="end the run after it (default: none)"
        )
        command.add_argument(
            "--rows",
            type=_rows,
            default=0,
            metavar="N",
            help="repeat the test images up to so many; Bengali.AI's hidden test: 211042",
        )
    return parser


def _add_way(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    pushing = commands.add_parser("push", help="build, then push a kernel, which runs it, or the weights")
    pushing.add_argument("what", choices=("train", "weights", "predict"))
    pushing.add_argument("-m", "--message", default="new weights", help="what is new in this version of the weights")
    pulling = commands.add_parser("pull", help="a kernel's output, into trained/ or predicted/")
    pulling.add_argument("what", choices=KERNELS)
    staging = commands.add_parser("stage", help="put a training's weights into dataset_meta/")
    staging.add_argument("folder", type=Path, help="what pull train downloaded")
    staging.add_argument("--name", default="", help="of these weights in an ensemble")
    asking = commands.add_parser("status", help="how a kernel's run, the dataset or the newest submission is doing")
    asking.add_argument("what", choices=("train", "weights", "predict", "submission"))
    asking.add_argument("--wait", action="store_true", help="ask until it is done")
    submitting = commands.add_parser("submit", help="submit the version of the predict kernel that was pushed last")
    submitting.add_argument("--version", type=int, help="another version")
    submitting.add_argument("-m", "--message", help="what your submissions list shows")


if __name__ == "__main__":
    raise SystemExit(main())
