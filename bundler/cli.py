"""Build what is pushed to Kaggle, rehearse it at home, and push it.

python build_kernel.py [--owner NAME]     build both kernels; write your Kaggle user name into the metadata
python build_kernel.py check              all that Kaggle would not take; every build does this first
python build_kernel.py fetch-weights noisy-student b0    put pretrained weights into dataset_meta/ (needs internet)
python build_kernel.py fetch-wheels       put wheels that the settings name into dataset_meta/ (needs internet)
python build_kernel.py rehearse DATA      run a built kernel in a stand-in of Kaggle's machine; --rows 211042: as long
python build_kernel.py dry-run [DATA]     all of it: build, train, stage, predict, check the submission
python build_kernel.py refresh-image LISTING   renew what Kaggle's image can import; without LISTING: how to make one

The way to a score; each says what comes next:
python build_kernel.py push train         build both kernels, push one, which runs it
python build_kernel.py status train       how its run goes; --wait: until it is complete
python build_kernel.py pull train         what it left, into trained/; pins the predict kernel to its Docker image
python build_kernel.py stage trained      put a training's weights into dataset_meta/
python build_kernel.py push weights       dataset_meta/ as a dataset or its new version, until it can be mounted
python build_kernel.py push predict       as push train; then status predict
python build_kernel.py submit             the version that was pushed last; then status submission
python build_kernel.py pull predict       instead, where the data is no competition's: its predictions, into predicted/
"""

import argparse
import math
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from bundler.build.image import LINE, refresh_image
from bundler.build.parts import IMAGE_FILE
from bundler.commands import steps, weights
from bundler.commands.build import build, check
from bundler.commands.dry_run import dry_run
from bundler.commands.rehearse import Machine, Request, rehearse_built
from bundler.errors import BundlerError, RehearsalError
from bundler.kaggle.pretrained import KINDS
from bundler.rehearse.inputs import MOUNTS
from bundler.rehearse.rehearsal import MEMORY_GB
from bundler.repository import HERE, KERNELS, Repository
from multihead.config import UserError

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LEAST_ROWS = 4  # one in each of the test files


def main(argv: Sequence[str] | None = None, repository: Repository = HERE) -> int:
    """Run one command; return 0, 1 where a rehearsal or a check failed, or 2 after one line about a mistake."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.owner is not None and arguments.command:
        parser.error(f"--owner goes without a command, not with {arguments.command}")
    if arguments.command == "rehearse" and arguments.kernel == "train" and arguments.rows:
        parser.error("--rows repeats the test files, and --kernel train reads none")
    if arguments.command == "status" and arguments.what not in KERNELS and arguments.version:
        parser.error(f"--version is of a kernel, and {arguments.what} is none")
    if arguments.command == "push" and arguments.what == "weights" and arguments.no_run:
        parser.error("--no-run is for a kernel, and weights are a dataset")
    _end_as_by_ctrl_c()
    try:
        code = _run(repository, arguments)
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


def _run(repository: Repository, arguments: argparse.Namespace) -> int:
    match arguments.command:
        case None:
            build(repository, arguments.owner)
        case "check":
            return check(repository)
        case "rehearse":
            rehearse_built(repository, arguments.kernel, _request(arguments), arguments.out, _machine(arguments))
        case "dry-run":
            dry_run(repository, arguments.data, _machine(arguments), arguments.task)
        case "fetch-weights":
            weights.fetch_weights(repository, arguments.kind, arguments.backbone)
        case "fetch-wheels":
            weights.fetch_wheels(repository, arguments.recipe)
        case "push":
            steps.push(repository, arguments.what, arguments.message, runs=not arguments.no_run)
        case "status":
            steps.status(repository, arguments.what, arguments.version, wait=arguments.wait)
        case "pull":
            steps.pull(repository, arguments.what, arguments.version, with_checkpoint=arguments.checkpoint)
        case "stage":
            weights.stage_weights(repository, arguments.folder, arguments.name)
        case "submit":
            steps.submit(repository, arguments.version, arguments.message)
        case "refresh-image":
            _refresh_image(arguments.listing)
    return 0


def _refresh_image(listing: Path | None) -> None:
    """Renew the image file from a listing; without one, say how to get one."""
    if listing:
        print(f"{HERE.shown(IMAGE_FILE)}: {refresh_image(listing, IMAGE_FILE)}")
    else:
        print(
            f"{LINE}\n\nRun this line in a Kaggle notebook with a GPU, and give refresh-image a file of what it prints"
        )


def _end_as_by_ctrl_c() -> None:
    """Let every signal that ends this process interrupt it, once: a kernel that is rehearsed has to be ended, too."""

    def interrupt(_number: int, _frame: object) -> None:
        for ending in ENDINGS:
            signal.signal(ending, signal.SIG_IGN)
        raise KeyboardInterrupt

    for ending in ENDINGS:
        if signal.getsignal(ending) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(ending, interrupt)


def _request(arguments: argparse.Namespace) -> Request:
    mounts = dict(arguments.mount)
    if len(mounts) < len(arguments.mount):
        raise BundlerError("--mount: a source is named twice")
    return Request(arguments.data, arguments.weights, mounts, arguments.set, arguments.settings)


def _machine(arguments: argparse.Namespace) -> Machine:
    return Machine(arguments.mounts, arguments.memory, arguments.rows, arguments.timeout)


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


def _version(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a version of the kernel, 1 or more")
    return int(text)


def _rows(text: str) -> int:
    number = int(text)
    if number < LEAST_ROWS:
        raise argparse.ArgumentTypeError(f"{text}: expected a number of images, {LEAST_ROWS} or more")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--owner", help="your Kaggle user name")
    commands = parser.add_subparsers(dest="command")
    _add_steps(commands)
    commands.add_parser("check", help="all that Kaggle would not take of kernels and dataset")
    _add_rehearse(commands)
    whole = commands.add_parser("dry-run", help="build, train, stage, predict, check")
    whole.add_argument("data", type=Path, nargs="?", help="a folder of the task's files (default: drawn)")
    whole.add_argument("--task", default="", help="of the images (default: that of kernel/train/task.toml, or bengali)")
    _add_machine(whole)
    image = commands.add_parser("refresh-image", help="renew what Kaggle's image can import")
    image.add_argument("listing", type=Path, nargs="?", help="a file of what the line printed in a kernel")
    return parser


def _add_steps(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    push = commands.add_parser("push", help="build, then push a kernel, which runs it, or the weights")
    push.add_argument("what", choices=("train", "weights", "predict"))
    push.add_argument("-m", "--message", default="new weights", help="what is new in this version of the weights")
    push.add_argument("--no-run", action="store_true", help="save a kernel on Kaggle without running it, to share it")
    pull = commands.add_parser("pull", help="what a kernel's run left, into trained/ or predicted/")
    pull.add_argument("what", choices=KERNELS)
    pull.add_argument("--checkpoint", action="store_true", help="of a training also its checkpoint, to go on from")
    stage = commands.add_parser("stage", help="put a training's weights, or those of a study, into dataset_meta/")
    stage.add_argument("folder", type=Path, help="what pull train downloaded, or multihead cross-validate left")
    stage.add_argument("--name", default="", help="of these weights in an ensemble")
    status = commands.add_parser("status", help="how a kernel's run, the dataset or the last submission is doing")
    status.add_argument("what", choices=("train", "weights", "predict", "submission"))
    status.add_argument("--wait", action="store_true", help="ask until it is done")
    submit = commands.add_parser("submit", help="submit the version of the predict kernel that was pushed last")
    for command in (pull, status, submit):
        command.add_argument("--version", type=_version, help="of the kernel (default: that pushed last from here)")
    submit.add_argument("-m", "--message", help="what your submissions list shows")
    fetch = commands.add_parser("fetch-weights", help="put pretrained weights into dataset_meta/; needs internet")
    wheels = commands.add_parser(
        "fetch-wheels", help="put wheels that settings name into dataset_meta/; needs internet"
    )
    wheels.add_argument("recipe", type=Path, nargs="*", help="settings of a study, beside those of the kernels")
    fetch.add_argument("kind", choices=KINDS)
    fetch.add_argument("backbone", help="b0 to b7; with imagenet also vgg16 and the like")


def _add_rehearse(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    rehearse = commands.add_parser("rehearse", help="run a built kernel in a stand-in of Kaggle's machine")
    rehearse.add_argument("data", type=Path, help="a competition folder")
    rehearse.add_argument("--kernel", choices=KERNELS, default="predict")
    rehearse.add_argument("--weights", type=Path, help="mounted as the dataset of dataset_meta (default: dataset_meta)")
    rehearse.add_argument(
        "--mount",
        type=_mount,
        action="append",
        default=[],
        metavar="SOURCE=FOLDER",
        help="a folder to mount as one of the sources in kernel-metadata.json; may be repeated",
    )
    rehearse.add_argument("--out", type=Path, help="what serves as /kaggle; emptied first")
    rehearse.add_argument("--settings", type=Path, help="a TOML file instead of the kernel's own settings")
    rehearse.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override one setting")
    _add_machine(rehearse)


def _add_machine(command: argparse.ArgumentParser) -> None:
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
