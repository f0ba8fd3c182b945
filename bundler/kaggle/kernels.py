"""Kernels at Kaggle: pushed, asked for, pulled.

A run is one version of a kernel. What the last push became stands in PUSHED_FILE beside the kernel, so that what is
asked afterwards is asked of that version and not of whichever ran last.
"""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from bundler.errors import BundlerError, ClientError, NoRoomError
from bundler.kaggle import client
from bundler.kaggle.client import Status
from bundler.metadata import read_metadata, with_flags
from bundler.repository import KERNEL_METADATA
from multihead.config import whole_file

PUSHED_FILE = "pushed.json"
NO_ROOM = re.compile(r"Maximum [^\n.]*(?:session|quota)(?:[^\n.]|\.\d)*", re.IGNORECASE)
SHOWN_LINES = 20  # of the log of a run that failed


class Run(NamedTuple):
    """A version of a kernel; version 0 stands for the newest one."""

    kernel: str
    version: int = 0

    @property
    def address(self) -> str:
        """What Kaggle's API calls it."""
        return f"{self.kernel}/{self.version}" if self.version else self.kernel

    @property
    def page(self) -> str:
        """The kernel's page."""
        return f"https://www.kaggle.com/code/{self.kernel}"

    def __str__(self) -> str:
        return f"{self.kernel} version {self.version}" if self.version else f"{self.kernel}, its newest version"


class RunFailedError(BundlerError):
    """A run failed on Kaggle."""

    def __init__(self, run: Run, words: str) -> None:
        super().__init__(f"{run}: {words}")
        self.run = run


@dataclass
class Pushed:
    """What a kernel's last push became.

    version: 0 until Kaggle has told it. image: the Docker image that it ran in, "" until that is known.
    """

    id: str
    version: int
    image: str = ""


class Log(NamedTuple):
    """What a run printed, and how many seconds after its start it did so last; 0 where Kaggle does not tell."""

    text: str
    seconds: float


class Machine(NamedTuple):
    """What a run has: a Docker image, "" where Kaggle does not tell, and a GPU or none."""

    image: str
    has_gpu: bool


class Quota(NamedTuple):
    """The GPU hours of an account's week: those left of all, and when new ones come, in words."""

    left: float
    total: float
    refresh: str

    def __str__(self) -> str:
        return f"{self.left:.1f} of {self.total:.1f} GPU hours left, new ones at {self.refresh or 'an unknown time'}"


def push_kernel(folder: Path, *, runs: bool = True) -> Run:
    """Push a kernel, which Kaggle runs, and keep its version in PUSHED_FILE; without a run, only save it there.

    Raises BundlerError where Kaggle refuses it, or takes it without one of its sources, NoRoomError where it would take
    it later. A version of which no answer came is kept as 0: nothing may be asked of the one before in its place.
    """
    kernel = str(read_metadata(folder / KERNEL_METADATA)["id"])
    before = last_pushed(folder)
    if runs:
        keep_pushed(folder, Pushed(kernel, 0))
    try:
        saved = client.ask("push", folder=str(folder), no_run=not runs)
    except BundlerError as error:
        if runs and _is_refusal(error):
            _restore(folder, before)
        if full := NO_ROOM.search(str(error)):
            raise NoRoomError(full[0]) from error
        raise
    run = Run(kernel, saved["version"])
    missing = [f"{key} {source}" for key, sources in saved["missing"].items() for source in sources]
    if missing:
        if runs:
            _restore(folder, None)
        how = "was pushed and runs" if runs else "was saved"
        cure = f"correct it, push again, and cancel this run on {run.page}" if runs else "correct it, and push again"
        lost = f"but Kaggle has it without {', '.join(missing)}: not known there, or not yours to use"
        raise BundlerError(f"{run} {how}, {lost}; {cure}")
    if runs:
        keep_pushed(folder, Pushed(*run))
    return run


def _is_refusal(error: BundlerError) -> bool:
    """Tell whether Kaggle answered no; where it did not answer, it may have done what it was asked for."""
    return not isinstance(error, ClientError) or 400 <= error.code < 500


def _restore(folder: Path, pushed: Pushed | None) -> None:
    if pushed:
        keep_pushed(folder, pushed)
    else:
        (folder / PUSHED_FILE).unlink(missing_ok=True)


def keep_pushed(folder: Path, pushed: Pushed) -> None:
    """Write PUSHED_FILE."""
    with whole_file(folder / PUSHED_FILE) as new:
        new.write_text(json.dumps(asdict(pushed)) + "\n", encoding="utf-8")


def last_pushed(folder: Path) -> Pushed | None:
    """Return what PUSHED_FILE holds of the kernel in a folder; None where it was not pushed from here."""
    pushed = read_pushed(folder / PUSHED_FILE)
    return pushed if pushed and pushed.id == read_metadata(folder / KERNEL_METADATA)["id"] else None


def read_pushed(path: Path) -> Pushed | None:
    """Return what a file like PUSHED_FILE holds; None without one, and for a damaged one."""
    with suppress(OSError, ValueError, TypeError):
        return Pushed(**json.loads(path.read_text(encoding="utf-8")))
    return None


def kernel_status(run: Run) -> Status:
    """Return how a run is doing; raises RunFailedError where it failed."""
    now = client.ask("status", kernel=run.address)
    if now["status"] in client.FAILED:
        raise RunFailedError(run, ": ".join(filter(None, [now["status"], " ".join(now["failure"].split())])))
    return Status(now["status"] == "complete", now["status"])


def is_known(run: Run) -> bool:
    """Tell whether Kaggle has a version of a kernel; ClientError where it cannot be asked."""
    return client.knows("status", kernel=run.address)


def kernel_log(run: Run) -> Log:
    """Return what a run printed; Kaggle keeps it as JSON, each piece with the time at which it came."""
    printed = client.ask("log", kernel=run.address)
    try:
        pieces = [(piece["data"], float(piece["time"])) for piece in json.loads(printed)]
        return Log("".join(text for text, _ in pieces), max((seconds for _, seconds in pieces), default=0))
    except (ValueError, KeyError, TypeError):
        return Log(printed, 0)


def end_of_log(run: Run) -> str:
    """Return the last SHOWN_LINES that a run printed, or why Kaggle does not tell them."""
    try:
        lines = kernel_log(run).text.splitlines()
    except ClientError as error:
        return str(error)
    return "\n".join(lines[-SHOWN_LINES:])


def machine_of(run: Run) -> Machine:
    """Return the machine that Kaggle has for a version of a kernel."""
    metadata = with_flags(client.ask("metadata", kernel=run.address))
    return Machine(metadata.get("docker_image") or "", bool(metadata.get("enable_gpu")))


def gpu_quota() -> Quota:
    """Return what is left of the account's GPU hours of this week."""
    return Quota(**client.ask("quota"))


def pull_output(run: Run, folder: Path, names: Sequence[str], needed: Sequence[Sequence[str]]) -> list[Path]:
    """Download what a run left into a folder, and return the files that came.

    names: of the files and folders that are wanted, in the output itself or in a folder of one of several trainings.
    needed: names of files; of each group one must come. Raises BundlerError where the run is not complete, or left a
    needed file out: one of an earlier run may lie there.
    """
    now = kernel_status(run)
    if not now.done:
        raise BundlerError(f"{run}: {now.words}; its output is there once it is complete")
    pattern = re.compile(rf"^([^/]+/)?({'|'.join(map(re.escape, names))})(/|$)")
    seconds, arguments = client.TRANSFER_SECONDS, {"folder": str(folder), "pattern": pattern.pattern}
    paths = [Path(path) for path in client.ask("output", seconds, kernel=run.address, **arguments)]
    came = [path for path in paths if pattern.search(path.relative_to(folder).as_posix())]  # not its log
    for group in needed:
        if not any(path.name in group and folder in (path.parent, path.parent.parent) for path in came):
            others = ", ".join(path.name for path in came) or "nothing"
            raise BundlerError(f"{run}: its output holds no {' or '.join(group)}; of what is wanted it holds {others}")
    return came
