"""Run a built script in a stand-in of Kaggle's machine.

The script gets a process of its own that can import only what Kaggle's image has and what it carries,
no network, nothing of the person's home, an empty working folder, its inputs under $KAGGLE_ROOT/input in the
old or the new mount form, Kaggle's environment variables, and so much memory. Afterwards its exit code, what
it left, and what it touched are checked.
"""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from bundler import sandbox, watched_run
from bundler.bundle import IMAGE_FILE
from bundler.data_files import read_rows
from bundler.errors import BundlerError, RehearsalError
from bundler.inputs import Inputs, ends_of_links, few_to_mount, refuse_to_empty, state_of
from bundler.tasks import TASK_FILE, TRUTH_FILE
from bundler.text_files import read_toml

MEMORY_GB = 29.0  # that Kaggle's machine has
HOUSE = Path(__file__).resolve().parent.parent
MARKER = ".rehearsal"  # in a folder that a rehearsal made, and may empty
REPEATED = "repeated"  # in it: a test set of so many rows, which is its own
NEVER_LINKED = (TRUTH_FILE, MARKER)
KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ", "TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND")


@dataclass(frozen=True)
class Rehearsed:
    """A run that went well: its working folder, how it ended, its log, and how it was kept offline."""

    working: Path
    ended: watched_run.Ended
    log: str
    offline: str

    def __str__(self) -> str:
        left = ", ".join(f"{f.name} {_size(f):,} bytes" for f in sorted(self.working.iterdir()))
        return "\n".join(
            [
                f"  wall time       {self.ended.seconds:.0f} s",
                f"  peak memory     {self.ended.peak_bytes / 1e9:.2f} GB ({self.ended.measured})",
                f"  internet        {self.offline}",
                f"  left behind     {left or 'nothing'}",
            ]
        )


def rehearse(
    script: Path,
    inputs: Inputs,
    root: Path,
    mounts: str = "new",
    arguments: Sequence[str] = (),
    memory_gb: float = MEMORY_GB,
) -> Rehearsed:
    """Run the script with `root` as Kaggle's /kaggle, its output passed on line by line and kept in root/log.txt.

    root is emptied first, if a rehearsal made it and no input lies in it, but for its own repeated test set. arguments:
    handed to the script. memory_gb: above it the run is ended, in 1e9 bytes. Raises RehearsalError where Kaggle would
    have failed the run, or where it did what the run on Kaggle could not: reached for the network or for a path of
    home, changed its inputs.
    """
    _refuse_paths_of_home(script)
    _lay_out(script, inputs, root, mounts)
    folders = [root / "input", *inputs.folders]
    before, linked = state_of(folders), ends_of_links(folders)
    refused, log = root / "refused.txt", root / "log.txt"
    offline, wrapper = _isolation(root, [*folders, *few_to_mount(linked)])
    command = [*wrapper, sys.executable, "-u", str(root / "src" / "script.py"), *arguments]
    environment = _environment(root, [*map(str, inputs.folders), *linked], arguments, refused, bool(wrapper))
    try:
        ended = watched_run.run(command, environment, root / "working", log, memory_gb * 1e9)
    except RehearsalError as error:
        raise RehearsalError(f"{script.name} had {error}") from error
    changed = {path for path, _ in before.items() ^ state_of(folders).items()}
    if changed:
        raise RehearsalError(
            f"{script.name} changed its inputs ({min(changed)}), or something else did meanwhile; "
            "Kaggle mounts them read-only"
        )
    if refused.exists():
        raise RehearsalError(f"{script.name} {refused.read_text(encoding='utf-8').splitlines()[0]}")
    if ended.code:
        raise RehearsalError(f"{script.name} {_told_end(ended, log)}")
    shutil.rmtree(root / "tmp")
    return Rehearsed(root / "working", ended, log.read_text(encoding="utf-8", errors="replace"), offline)


def check_outputs(working: Path, expected: Collection[str]) -> None:
    """Raise RehearsalError for whatever a kernel left in its working folder beside the files that it should leave."""
    more = sorted(entry.name for entry in working.iterdir() if entry.name not in expected)
    if more:
        raise RehearsalError(
            f"{', '.join(more)} in the working folder, where everything left becomes the kernel's output; "
            f"expected only {', '.join(sorted(expected))}"
        )


def check_predictions(predictions: Path) -> int:
    """Return the number of rows of predictions that no sample asks for; RehearsalError where they are none."""
    if not predictions.is_file():
        raise RehearsalError(f"no {predictions.name} in the working folder")
    told = _rows(predictions)
    for line, row in enumerate(told[1:], 2):
        if len(row) != len(told[0]) or not all(row):
            raise RehearsalError(f"{predictions}, line {line}: {','.join(row)}; expected {','.join(told[0])}")
    if len(told) < 2:
        raise RehearsalError(f"{predictions}: no rows")
    return len(told) - 1


def check_submission(submission: Path, sample: Path) -> int:
    """Return the number of rows of a submission that has sample_submission's ids, order and columns.

    It may lack columns that are neither ids nor answers (Usage). The ids are in the column that differs from row to row
    and is the most the same in both. sample: it may lie there compressed. Raises RehearsalError, naming the first line
    that differs or lacks an answer.
    """
    if not submission.is_file():
        raise RehearsalError(f"no {submission.name} in the working folder; Kaggle would say: Submission CSV Not Found")
    told, wanted = _rows(submission), list(read_rows(sample))
    if not wanted:
        raise BundlerError(f"{sample}: is empty")
    if len(told) != len(wanted):
        raise RehearsalError(f"{submission}: {len(told) - 1} rows; {sample.name} has {len(wanted) - 1}")
    header = told[0]
    if header != [name for name in wanted[0] if name in header]:
        raise RehearsalError(f"{submission}: header {','.join(header)}; {sample.name} has {','.join(wanted[0])}")
    columns = {name: (header.index(name), wanted[0].index(name)) for name in header}
    found = {
        name: (
            len({row[there] for row in wanted}) == len(wanted),
            sum(row[here : here + 1] == line[there : there + 1] for row, line in zip(told, wanted, strict=True)),
        )
        for name, (here, there) in columns.items()
    }
    ids = max(header, key=lambda name: found[name])
    place, sample_place = columns[ids]
    for line, (row, sample_row) in enumerate(zip(told[1:], wanted[1:], strict=True), 2):
        if len(row) != len(header) or not all(row) or row[place] != sample_row[sample_place]:
            expected = ",".join(sample_row[sample_place] if name == ids else "<class>" for name in header)
            raise RehearsalError(f"{submission}, line {line}: {','.join(row)}; expected {expected}")
    return len(told) - 1


def empty(root: Path, but: Path | None = None) -> None:
    """Make a folder, or empty one that an earlier rehearsal made; BundlerError for any other. but: what stays in it."""
    claim(root)
    for entry in root.iterdir():
        if entry.name != MARKER and not (but and but.is_relative_to(entry)):
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


def refuse_foreign(root: Path) -> None:
    """Raise BundlerError for a folder with files that no rehearsal made."""
    if root.exists() and any(root.iterdir()) and not (root / MARKER).exists():
        raise BundlerError(f"{root}: holds files that no rehearsal made; move them away, or name a folder to empty")


def claim(root: Path) -> None:
    """Make a folder, or take one that an earlier rehearsal made, to be emptied; BundlerError for any other."""
    refuse_foreign(root)
    root.mkdir(parents=True, exist_ok=True)
    (root / MARKER).touch()


def _lay_out(script: Path, inputs: Inputs, root: Path, mounts: str) -> None:
    mounted = inputs.mounts(mounts)
    reads = {str(folder): folder for folder in inputs.folders if folder != root / REPEATED}
    refuse_to_empty(root, "out", reads)
    empty(root, but=inputs.data)
    for name in ("input", "working", "src", "tmp", "home", "site"):
        (root / name).mkdir(parents=True)
    shutil.copyfile(script, root / "src" / "script.py")
    shutil.copyfile(sandbox.__file__, root / "site" / "sitecustomize.py")
    for place, folder in mounted.items():
        _link(folder, root / "input" / place)


def _link(folder: Path, mount: Path) -> None:
    """Link a folder's files into a mount, without what only home has."""
    mount.mkdir(parents=True)
    for entry in sorted(folder.iterdir()):
        if entry.name not in NEVER_LINKED:
            (mount / entry.name).symlink_to(os.path.realpath(entry))  # which a circle of links does not stop


def _refuse_paths_of_home(script: Path) -> None:
    """Raise RehearsalError for a script that names a folder of this machine, as settings or sources may."""
    named = "|".join(re.escape(home) for home in _homes())
    for number, line in enumerate(script.read_text(encoding="utf-8").splitlines(), 1):
        found = re.search(rf"(?<![\w.~/-])(?:{named})(?![\w.-])", line) if named else None
        if found:
            raise RehearsalError(
                f"{script.name}, line {number}: names {found[0]}, a folder of this machine only ({line.strip()[:100]})"
            )


def _homes() -> list[str]:
    """Return the person's home folder and the repository's."""
    try:
        home = Path.home()
    except RuntimeError:  # nobody's
        return [str(HOUSE)]
    return [str(folder) for folder in (home, HOUSE) if folder != Path(folder.anchor)]


def _environment(
    root: Path, inputs: Sequence[str], arguments: Sequence[str], refused: Path, own_network: bool
) -> dict[str, str]:
    is_open = root / "open.json"  # of very many links more than a variable takes
    is_open.write_text(json.dumps([str(root), *inputs, *_settings_files(arguments)]), encoding="utf-8")
    return {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ} | {
        "KAGGLE_ROOT": str(root),
        "KAGGLE_KERNEL_RUN_TYPE": "Batch",
        "HOME": str(root / "home"),
        "TMPDIR": str(root / "tmp"),
        "PYTHONPATH": str(root / "site"),
        "PYTHONNOUSERSITE": "1",
        sandbox.ALLOWED_VARIABLE: json.dumps(_image_imports()),
        sandbox.HOMES_VARIABLE: json.dumps(_homes()),
        sandbox.OPEN_VARIABLE: str(is_open),
        sandbox.REFUSED_VARIABLE: str(refused),
        sandbox.LOOPBACK_VARIABLE: "1" if own_network else "",
    }


def _settings_files(arguments: Sequence[str]) -> list[str]:
    """Return the settings file that the script is given instead of its own, and where a task beside it would be."""
    given = [Path(of) for of in arguments if Path(of).is_absolute()]
    return [str(path) for of in given for path in (of, of.with_name(TASK_FILE))]


# Bind the first folder over itself, then the other folders and files read-only, in which it may lie and stays writable.
# Then become the command, whose working folder is the mounted one.
_READ_ONLY = """
root=$1
mount --bind "$root" "$root" || exit 125
shift
while [ "$1" != -- ]; do
    mount --rbind "$1" "$1" || exit 125
    # its own file system, and each that is mounted in it
    cut -d ' ' -f 5 /proc/self/mountinfo | while IFS= read -r point; do
        point=$(printf '%b' "$point")
        case "$point/" in
            "$root"/*) ;;
            "${1%/}"/*) mount -o remount,bind,ro "$point" || exit 125 ;;
        esac
    done || exit 125
    shift
done
shift
cd "$root/working" || exit 125
exec "$@"
"""


def _isolation(root: Path, inputs: Sequence[Path]) -> tuple[str, list[str]]:
    """Return how the run is kept offline and off its inputs, in words and as the command that does it."""
    own_network = ["unshare", "--user", "--map-root-user", "--net"]
    paths = [str(path) for path in sorted({path.resolve() for path in inputs})]  # each before what is in it
    own_mounts = [*own_network, "--mount", "sh", "-c", _READ_ONLY, "sh", str(root.resolve()), *paths, "--"]
    if _works([*own_mounts, "true"]):
        return "none: a network namespace with loopback only; inputs mounted read-only", own_mounts
    if _works([*own_network, "true"]):
        return "none: a network namespace with loopback only; inputs compared afterwards", own_network
    return "none: connections refused in Python, for want of network namespaces; inputs compared afterwards", []


def _size(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    return sum(f.stat().st_size for f in (path, *path.rglob("*")) if f.is_file())


def _works(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _told_end(ended: watched_run.Ended, log: Path) -> str:
    """Return how a run failed, in words."""
    if ended.code == -signal.SIGKILL:
        why = "this machine's memory was full" if ended.was_oom else "as the OOM killer of a full machine does"
        return f"was killed (SIGKILL, {why}) {ended.end}; its peak was {ended.peak_bytes / 1e9:.2f} GB"
    return f"ended with exit code {ended.code}: {_last_words(log)}"


def _last_words(log: Path) -> str:
    """Return the last line of a log, and what helps with it."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    last = lines[-1].strip() if lines else "it said nothing"
    missing = re.search(r"No module named '(\w+)", last)
    if missing and missing[1] in _image_imports():
        is_set_up = Path(sys.prefix).name == ".venv"  # what is still missing is of no use to all
        last += f"; it is not installed for {sys.executable}" + ("" if is_set_up else ", .venv/bin/python has it")
    elif missing:
        last += "; what Kaggle's image has stands in bundler/kaggle_image.toml"
    return f"{last} (all of it: {log})"


def _image_imports() -> list[str]:
    return sorted(read_toml(IMAGE_FILE)["imports"])


def _rows(path: Path) -> list[list[str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RehearsalError(f"{path}: cannot be read as CSV ({error})") from error
