"""Run a built script in a stand-in of Kaggle's machine.

The script gets a process of its own that can import only what Kaggle's image has and what it carries,
no network, an empty working folder, its inputs under $KAGGLE_ROOT/input in the old or the new mount form,
and Kaggle's environment variables. Afterwards its exit code, what it left, and what it touched are checked.
"""

import contextlib
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bundler import sandbox
from bundler.bundle import IMAGE_FILE
from bundler.errors import BundlerError, RehearsalError

MOUNTS = ("old", "new")
NEVER_LINKED = ("truth.csv",)
MARKER = ".rehearsal"  # in a folder that a rehearsal made, and may empty
KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ", "TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND")


@dataclass(frozen=True)
class Inputs:
    """What Kaggle would mount: a competition's files, and datasets by "owner/slug"."""

    competition: str
    data: Path
    datasets: dict[str, Path]


@dataclass(frozen=True)
class Rehearsed:
    """A run that went well: its working folder, seconds, peak memory in bytes, and how it was kept offline."""

    working: Path
    seconds: float
    peak_bytes: int
    network: str

    def __str__(self) -> str:
        left = ", ".join(f"{f.name} {f.stat().st_size:,} bytes" for f in sorted(self.working.iterdir()))
        return "\n".join(
            [
                f"  wall time     {self.seconds:.0f} s",
                f"  peak memory   {self.peak_bytes / 2**30:.2f} GiB (largest process)",
                f"  network       {self.network}",
                f"  left behind   {left or 'nothing'}",
            ]
        )


def rehearse(script: Path, inputs: Inputs, root: Path, mounts: str = "new", arguments: Sequence[str] = ()) -> Rehearsed:
    """Run the script with `root` as Kaggle's /kaggle, its output passed on line by line and kept in root/log.txt.

    root is emptied first, if a rehearsal made it. arguments: handed to the script. Raises RehearsalError where
    Kaggle would have failed the run, or where it did what the run on Kaggle could not: reached for the network,
    changed its inputs.
    """
    _lay_out(script, inputs, root, mounts)
    before = _state_of(inputs, root)
    attempts = root / "network-attempts"
    network, wrapper = _isolation([root / "input", inputs.data, *inputs.datasets.values()])
    command = [*wrapper, sys.executable, "-u", str(root / "src" / "script.py"), *arguments]
    started = time.monotonic()
    code, peak_bytes = _run(command, _environment(root, attempts, bool(wrapper)), root)
    seconds = time.monotonic() - started
    if attempts.exists():
        first = attempts.read_text(encoding="utf-8").splitlines()[0]
        raise RehearsalError(f"{script.name} reached for the network ({first}); Kaggle's kernels have none")
    if code:
        raise RehearsalError(f"{script.name} ended with exit code {code}: {_last_words(root / 'log.txt')}")
    if _state_of(inputs, root) != before:
        raise RehearsalError(f"{script.name} changed its inputs; Kaggle mounts them read-only")
    shutil.rmtree(root / "tmp")
    return Rehearsed(root / "working", seconds, peak_bytes, network)


def check_submission(submission: Path, sample: Path) -> int:
    """Return the number of rows of a submission that has sample_submission's header, rows and order.

    Raises RehearsalError, naming the first line that differs or holds no whole number.
    """
    if not submission.is_file():
        raise RehearsalError(f"no {submission.name} in the working folder; Kaggle would say: Submission CSV Not Found")
    told, wanted = _rows(submission), _rows(sample)
    if not wanted:
        raise BundlerError(f"{sample}: is empty")
    if len(told) != len(wanted):
        raise RehearsalError(f"{submission}: {len(told) - 1} rows; {sample.name} has {len(wanted) - 1}")
    if told[0] != wanted[0]:
        raise RehearsalError(f"{submission}: header {','.join(told[0])}; {sample.name} has {','.join(wanted[0])}")
    for line, (row, sample_row) in enumerate(zip(told[1:], wanted[1:], strict=True), 2):
        if row[:1] != sample_row[:1] or len(row) != 2 or not row[1].isdecimal():
            raise RehearsalError(f"{submission}, line {line}: {','.join(row)}; expected {sample_row[0]},<class>")
    return len(told) - 1


def _lay_out(script: Path, inputs: Inputs, root: Path, mounts: str) -> None:
    if mounts not in MOUNTS:
        raise BundlerError(f"mounts: {mounts!r} is not known; one of {', '.join(MOUNTS)}")
    if not inputs.data.is_dir():
        raise BundlerError(f"{inputs.data}: not a folder with a competition's files")
    for name, folder in inputs.datasets.items():
        if not folder.is_dir():
            raise BundlerError(f"{folder}: not a folder to mount as {name}")
    if root.exists() and any(root.iterdir()) and not (root / MARKER).exists():
        raise BundlerError(f"{root}: holds files that no rehearsal made; name a folder that may be emptied")
    if root.exists():
        shutil.rmtree(root)
    root.mkdir(parents=True)
    (root / MARKER).touch()
    for name in ("input", "working", "src", "tmp", "home", "site"):
        (root / name).mkdir(parents=True)
    shutil.copyfile(script, root / "src" / "script.py")
    shutil.copyfile(sandbox.__file__, root / "site" / "sitecustomize.py")
    prefix = {"old": ("", ""), "new": ("competitions/", "datasets/")}[mounts]
    _link(inputs.data, root / "input" / (prefix[0] + inputs.competition))
    for name, folder in inputs.datasets.items():
        _link(folder, root / "input" / (prefix[1] + (name if mounts == "new" else name.split("/")[1])))


def _link(folder: Path, mount: Path) -> None:
    """Link a folder's files into a mount, without what only home has."""
    mount.mkdir(parents=True)
    for entry in sorted(folder.iterdir()):
        if entry.name not in NEVER_LINKED:
            (mount / entry.name).symlink_to(entry.resolve())


def _state_of(inputs: Inputs, root: Path) -> list[tuple[str, int, int]]:
    folders = [root / "input", inputs.data, *inputs.datasets.values()]
    files = [f for folder in folders for f in sorted(folder.rglob("*")) if f.is_file()]
    return [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files]


def _environment(root: Path, attempts: Path, own_network: bool) -> dict[str, str]:
    return {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ} | {
        "KAGGLE_ROOT": str(root),
        "KAGGLE_KERNEL_RUN_TYPE": "Batch",
        "HOME": str(root / "home"),
        "TMPDIR": str(root / "tmp"),
        "PYTHONPATH": str(root / "site"),
        "PYTHONNOUSERSITE": "1",
        sandbox.ALLOWED_VARIABLE: json.dumps(_image_imports()),
        sandbox.ATTEMPTS_VARIABLE: str(attempts),
        sandbox.LOOPBACK_VARIABLE: "1" if own_network else "",
    }


# Bind each folder over itself read-only, then become the command.
_READ_ONLY = """
while [ "$1" != -- ]; do
    mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" || exit 125
    shift
done
shift
exec "$@"
"""


def _isolation(inputs: Sequence[Path]) -> tuple[str, list[str]]:
    """Return how the run is kept offline and off its inputs, in words and as the command that does it."""
    own_network = ["unshare", "--user", "--map-root-user", "--net"]
    folders = [str(folder.resolve()) for folder in inputs]
    own_mounts = [*own_network, "--mount", "sh", "-c", _READ_ONLY, "sh", *folders, "--"]
    if _works([*own_mounts, "true"]):
        return "none: a network namespace with loopback only; inputs mounted read-only", own_mounts
    if _works([*own_network, "true"]):
        return "none: a network namespace with loopback only; inputs compared afterwards", own_network
    return "none: connections refused in Python, for want of network namespaces; inputs compared afterwards", []


def _works(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _run(command: Sequence[str], environment: dict[str, str], root: Path) -> tuple[int, int]:
    """Run a command in the working folder, its output into the log and from there to the terminal.

    Returns its exit code (below 0: the signal that ended it) and the peak memory of its largest process in bytes.
    Whatever it started and left running is ended with it.
    """
    path = root / "log.txt"
    with path.open("wb") as log, path.open(encoding="utf-8", errors="replace") as shown:
        process = subprocess.Popen(
            command,
            cwd=root / "working",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while True:
                ended, status, usage = os.wait4(process.pid, os.WNOHANG)
                for line in shown:
                    sys.stdout.write("  " + line)
                sys.stdout.flush()
                if ended:
                    break
                time.sleep(0.1)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _last_words(log: Path) -> str:
    """Return the last line of a log, and what helps with it."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    last = lines[-1].strip() if lines else "it said nothing"
    missing = re.search(r"No module named '(\w+)", last)
    if missing and missing[1] in _image_imports():
        last += f"; it is not installed for {sys.executable}, .venv/bin/python has it"
    elif missing:
        last += "; what Kaggle's image has stands in bundler/kaggle_image.toml"
    return f"{last} (all of it: {log})"


def _image_imports() -> list[str]:
    return sorted(tomllib.loads(IMAGE_FILE.read_text(encoding="utf-8"))["imports"])


def _rows(path: Path) -> list[list[str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RehearsalError(f"{path}: cannot be read as CSV ({error})") from error
