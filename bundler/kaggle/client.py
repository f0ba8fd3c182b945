"""The real kaggle client, its silent failures made errors.

The client ends with exit code 0 after many a refusal, goes on without a file that it could not upload, and saves the
page of an error under the name of the file. So a command has succeeded where something proves it, and fails with
Kaggle's own words where nothing does. Credentials are the client's business: nothing here reads them.
"""

import contextlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bundler.errors import BundlerError, ClientError, NoRoomError
from bundler.metadata import read_metadata, without_version
from bundler.repository import DATASET_METADATA, KERNEL_METADATA
from multihead.config.files import is_left_by_system

QUICK_SECONDS, TRANSFER_SECONDS = 180, 3600  # the client itself waits for an answer without end
PAUSE_SECONDS = 30.0  # between two questions
MAX_FAILURES = 10  # of questions, one after the other
PUSHED_FILE = "pushed.json"  # beside the kernel: Kaggle cannot be asked for its newest version
SOURCES = ("dataset_sources", "competition_sources", "kernel_sources", "model_sources")
FAILED = ("error", "cancel_requested", "cancel_acknowledged", "failed", "deleted")
NO_ROOM = re.compile(r"Maximum [^\n.]*(?:session|quota)(?:[^\n.]|\.\d)*", re.IGNORECASE)
UNKNOWN = re.compile("Cannot access kernel|not found", re.IGNORECASE)
NOISE = re.compile(r"^Warning: |\d%\||submissions remaining today")  # advice about the client, progress bars
HINTS = {
    "Authentication required to call the Kaggle API": "log in with .venv/bin/kaggle auth login",
    "400 Client Error": "the client hides Kaggle's reason; a script of a megabyte or more is one",
    "403 Client Error": "are the competition's rules accepted on its page, and are the credentials the owner's?",
}


class Status(NamedTuple):
    """How something at Kaggle is doing: whether it is done, and in words."""

    done: bool
    words: str


class Log(NamedTuple):
    """What a kernel printed, and how many seconds after its start it did so last; 0 where Kaggle does not tell."""

    text: str
    seconds: float


def run_client(arguments: Sequence[str], seconds: float = QUICK_SECONDS) -> str:
    """Run the kaggle command and return what it printed.

    Raises ClientError with Kaggle's own words where it fails, or does not end within so many seconds.
    """
    named = f"kaggle {' '.join(arguments[:2])}"
    try:
        done = subprocess.run(
            [_client(), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ClientError(f"{named}: no answer within {seconds:g} seconds") from error
    if done.returncode:
        printed = "\n".join([done.stdout, done.stderr])
        raise ClientError(f"{named}: {_words(printed)}")
    return done.stdout


def push_kernel(folder: Path) -> str:
    """Push a kernel, and return what it became, in words; its version is kept for `pushed_version`.

    Raises BundlerError where Kaggle refuses it, or takes it without one of its sources, and then keeps no version;
    NoRoomError where Kaggle would take it later.
    """
    metadata = read_metadata(folder / KERNEL_METADATA)
    try:
        printed = run_client(["kernels", "push", "-p", str(folder)])
    except ClientError as error:
        if full := NO_ROOM.search(str(error)):
            raise NoRoomError(full[0]) from error
        raise
    if full := NO_ROOM.search(printed):
        raise NoRoomError(full[0])
    version = int(_proof(r"Kernel version (\d+) successfully pushed", printed, "kernels push")[1])
    description = f"{metadata['id']}: version {version}"
    print(f"{description}: Kaggle runs it", flush=True)  # whatever becomes of the questions after it
    pushed = {"id": metadata["id"], "version": version}
    (folder / PUSHED_FILE).write_text(json.dumps(pushed) + "\n", encoding="utf-8")
    refused = re.search(r"The following are not valid \w+ sources.*", printed)
    missing = "" if refused else _missing_sources(metadata)
    if refused or missing:
        (folder / PUSHED_FILE).unlink()
        raise BundlerError(
            f"{description} was pushed, but {refused[0] if refused else f'Kaggle has it without {missing}'}"
        )
    return f"{description} pushed"


def pushed_version(folder: Path) -> int:
    """Return the version that a kernel's last push became; raises BundlerError where none is known."""
    kernel = read_metadata(folder / KERNEL_METADATA)["id"]
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        pushed = json.loads((folder / PUSHED_FILE).read_text(encoding="utf-8"))
        if pushed["id"] == kernel:
            return int(pushed["version"])
    raise BundlerError(f"{kernel}: not pushed from here; build_kernel.py push {folder.name}, or submit --version N")


def kernel_status(kernel: str) -> Status:
    """Return how a kernel's last run is doing; raises BundlerError where it failed."""
    printed = run_client(["kernels", "status", kernel])
    status = _proof(r'has status "(?:\w+\.)?(\w+)"', printed, "kernels status")[1].lower()
    if status in FAILED:
        why = re.search(r'Failure message: "(.*)"', printed, re.DOTALL)
        reason = f": {' '.join(why[1].split())}" if why else ""
        raise BundlerError(f"{kernel}: {status}{reason}; its log: .venv/bin/kaggle kernels logs {kernel}")
    return Status(status == "complete", status)


def is_known(kernel: str) -> bool:
    """Tell whether Kaggle has a kernel; ClientError where it cannot be asked."""
    try:
        run_client(["kernels", "status", kernel])
    except ClientError as error:
        if UNKNOWN.search(str(error)):
            return False
        raise
    return True


def kernel_log(kernel: str) -> Log:
    """Return what a kernel's last run printed; Kaggle keeps it as JSON, each piece with the time at which it came."""
    printed = run_client(["kernels", "logs", kernel])
    try:
        pieces = [(piece["data"], float(piece["time"])) for piece in _json(printed)]
        return Log("".join(text for text, _ in pieces), max((seconds for _, seconds in pieces), default=0))
    except (BundlerError, ValueError, KeyError, TypeError):
        return Log(printed, 0)


def quota() -> str:
    """Return how much of its hours of the week an account has used, and when it gets new ones."""
    rows = _json(run_client(["quota", "--format", "json"]))
    used = ", ".join(f"{row['resource']} {row['used']} of {row['total']}" for row in rows)
    return f"used: {used}; new hours at {rows[0]['refreshAt']}"


def pull_output(kernel: str, folder: Path, wanted: Sequence[Sequence[str]]) -> list[Path]:
    """Download what a kernel's last run left into a folder, and return the files that came.

    wanted: names of files; of each group, one must come, in the output itself or in a folder of one of several
    trainings. Raises BundlerError where the run is not complete, or left a wanted file out: one of an earlier run may
    lie there.
    """
    now = kernel_status(kernel)
    if not now.done:
        raise BundlerError(f"{kernel}: {now.words}; its output is there once it is complete")
    printed = run_client(["kernels", "output", kernel, "-p", str(folder), "-o"], TRANSFER_SECONDS)
    came = [Path(path) for path in re.findall(r"^Output file downloaded to (.+)$", printed, re.MULTILINE)]
    for names in wanted:
        if not any(path.name in names and folder in (path.parent, path.parent.parent) for path in came):
            left = ", ".join(path.name for path in came) or "nothing"
            raise BundlerError(f"{kernel}: its output holds no {' or '.join(names)}; it holds {left}")
    return came


def push_dataset(folder: Path, notes: str, hours: float = 1) -> None:
    """Make a folder's files a dataset, or its new version, and wait until Kaggle can mount it.

    notes: what is new in this version. Raises BundlerError where a file did not arrive or Kaggle refuses it.
    """
    dataset = read_metadata(folder / DATASET_METADATA)["id"]
    files = [f.name for f in sorted(folder.iterdir()) if f.is_file() and f.name != DATASET_METADATA]
    names = [name for name in files if not is_left_by_system(name)]
    if not names:
        commands = "stage, fetch-weights or fetch-wheels"
        raise BundlerError(f"{folder}: holds nothing to push; expected what build_kernel.py {commands} puts there")
    before = _dataset_version(dataset) if _exists(dataset) else None
    action = ["create"] if before is None else ["version", f"--message={notes}"]
    print(f"{dataset}: a new {'dataset' if before is None else 'version'} of {', '.join(names)}", flush=True)
    ignored = [f"--ignore-patterns={name}" for name in (".*", *(set(files) - set(names)))]
    printed = run_client(["datasets", *action, "-p", str(folder), *ignored], TRANSFER_SECONDS)
    _proof("is being created|not valid tags", printed, f"datasets {action[0]}")  # made, though without those tags
    lost = [name for name in names if f"Upload successful: {name} (" not in printed]
    if lost:
        raise BundlerError(f"{dataset}: Upload unsuccessful: {', '.join(lost)}; Kaggle may have a version without it")

    def ask() -> Status:
        now = dataset_status(dataset)
        if now.done and before is not None and _dataset_version(dataset) <= before:
            return Status(False, f"still version {before}")
        return now

    wait_for(dataset, ask, hours)


def dataset_status(dataset: str) -> Status:
    """Return how a dataset is doing, done once it can be mounted; raises BundlerError where it failed."""
    status = _words(run_client(["datasets", "status", dataset]))
    if status in FAILED:
        raise BundlerError(f"{dataset}: {status}; Kaggle could not process what was uploaded")
    return Status(status == "ready", status)


def submit(kernel: str, version: int, competition: str, message: str, file: str) -> tuple[str, str]:
    """Submit a file that a kernel's version leaves, and return what Kaggle says of it, and its ref.

    The ref is "" where it is not listed yet. Raises BundlerError where Kaggle neither says that it was submitted nor
    lists a new submission.
    """
    known = {submission["ref"] for submission in submissions(competition)}
    chosen = ["-k", kernel, "--version", str(version), "-f", file, f"--message={message}"]
    printed = run_client(["competitions", "submit", competition, *chosen])
    is_submitted = "Successfully submitted" in printed
    new: list[str] = []
    with contextlib.suppress(*[BundlerError] if is_submitted else []):
        new = [str(one["ref"]) for one in submissions(competition) if one["ref"] not in known]
    if not is_submitted and not new:
        raise BundlerError(f"kaggle competitions submit: {_words(printed)}; {competition} lists no new submission")
    return _words(printed), next(iter(new), "")


def submissions(competition: str) -> list[dict[str, Any]]:
    """Return what was submitted to a competition, the newest first."""
    printed = run_client(["competitions", "submissions", competition, "--format", "json"])
    listed: list[dict[str, Any]] = [] if "No submissions found" in printed else _json(printed)
    return listed


def submission_status(competition: str, listed: Sequence[dict[str, Any]]) -> Status:
    """Return how the newest of the submissions is doing, with its scores once it has them.

    listed: as `submissions` returns them. Raises BundlerError where there is none, or it failed.
    """
    newest = next(iter(listed), None)
    if newest is None:
        raise BundlerError(f"{competition}: No submissions found")
    status = _submission_status(newest)
    if status in FAILED:
        page = f"https://www.kaggle.com/competitions/{competition}/submissions"
        raise BundlerError(f"{_in_words(newest)}; why stands on {page}")
    return Status(status == "complete", _in_words(newest))


def wait_for(name: str, ask: Callable[[], Status], hours: float) -> None:
    """Ask until it is done, each new answer a line; raises BundlerError where it is not after so many hours.

    A question that fails after another had its answer is asked again: in hours, a connection fails now and then.
    """
    end = time.monotonic() + 3600 * hours
    shown, failures = "", 0
    while True:
        try:
            now, failures = ask(), 0
        except ClientError as error:
            failures += 1
            if not shown or failures == MAX_FAILURES:
                raise
            now = Status(False, str(error))
        if now.words != shown:
            print(f"{name}: {now.words}", flush=True)
        if now.done:
            return
        if time.monotonic() >= end:
            raise BundlerError(f"{name}: {now.words} after {hours:g} hours")
        shown = now.words
        time.sleep(PAUSE_SECONDS)


def _client() -> str:
    beside = Path(sys.executable).with_name("kaggle")
    found = str(beside) if beside.is_file() else shutil.which("kaggle")
    if not found:
        raise BundlerError(
            f"kaggle: not found beside {sys.executable} nor on PATH; .venv/bin/python has it, see README"
        )
    return found


def _words(printed: str) -> str:
    """Return the line that says what happened: the last one that means something, or one with a hint to it."""
    lines = [line.strip() for line in printed.splitlines() if line.strip() and not NOISE.search(line)]
    with_hints = (f"{line} ({hint})" for line in lines for sign, hint in HINTS.items() if sign in line)
    return next(with_hints, lines[-1] if lines else "it said nothing")


def _proof(pattern: str, printed: str, command: str) -> re.Match[str]:
    found = re.search(pattern, printed)
    if not found:
        raise BundlerError(f"kaggle {command}: {_words(printed)}")
    return found


def _json(printed: str) -> Any:
    """Return the JSON that a command printed, after whatever else it had to say."""
    start = re.search(r"^[\[{]", printed, re.MULTILINE)
    try:
        return json.loads(printed[start.start() :] if start else "")
    except ValueError as error:
        raise BundlerError(f"kaggle: {_words(printed)}; expected JSON") from error


def _missing_sources(metadata: dict[str, Any]) -> str:
    """Return which sources a pushed kernel lacks: of models that are not valid, the push says nothing at all.

    Asks again a few times, where one is missing: what Kaggle answers may be of the version before.
    """
    for question in range(3):
        if question:
            time.sleep(PAUSE_SECONDS)
        with tempfile.TemporaryDirectory() as folder:
            run_client(["kernels", "pull", metadata["id"], "-p", folder, "-m"])
            has = read_metadata(Path(folder) / KERNEL_METADATA)
        missing = [
            f"{key} {source}" for key in SOURCES for source in metadata.get(key, []) if not _has(has, key, source)
        ]
        if not missing:
            break
    return ", ".join(missing)


def _has(metadata: dict[str, Any], key: str, source: str) -> bool:
    """Tell whether a source is among those that Kaggle lists: some as code/OWNER/SLUG, some without their version."""
    wanted = source if key == "model_sources" else without_version(source)
    return any(f"/{wanted}/".lower() in f"/{listed}/".lower() for listed in metadata.get(key) or [])


def _exists(dataset: str) -> bool:
    """Return whether Kaggle knows a dataset; where it can't be asked, creating it fails with the reason."""
    try:
        run_client(["datasets", "status", dataset])
    except BundlerError:
        return False
    return True


def _dataset_version(dataset: str) -> int:
    answer = _json(run_client(["datasets", "status", dataset, "--format", "json(current_version_number)"]))
    return int(answer["current_version_number"] or 0)


def _in_words(submission: dict[str, Any]) -> str:
    scores = "".join(
        f", {key} {submission[f'{key}Score']}" for key in ("public", "private") if submission[f"{key}Score"]
    )
    return f"{submission['description']}: {_submission_status(submission)}{scores}"


def _submission_status(submission: dict[str, Any]) -> str:
    return str(submission["status"]).rsplit(".", 1)[-1].lower()
