"""A trial as a process: the built script with its settings, threads that no engine changes, and its log in its folder.

On Linux it ends with the process that started it, even where that is killed (rehearse/isolated.py). As long as it lives
it holds the lock of its folder, so that no other begins there before it is gone.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bundler.rehearse import isolated
from bundler.study.lock import locked
from bundler.study.trial import Trial
from multihead.config import UserError, with_threads
from multihead.config.files import OUT_OF_FOLD_FILE, SETTINGS_FILE
from multihead.config.manifest import read_manifest
from multihead.config.settings_file import read_settings

SPEC_FILE = ".process.json"
SECONDS_TO_BE_ALONE = 120  # an NFS server keeps the lock of a machine that is lost for some 90 s
SECONDS_TO_END = 30  # that interrupted trials have; what a kill costs is at most a shard


class Ended(NamedTuple):
    """How a trial's process ended: its exit code, below 0 the signal that ended it, and how long it ran.

    problem: why it is not finished, where the engine knows better than the exit code and the log.
    """

    trial: Trial
    code: int
    seconds: float
    problem: str = ""


def start(trial: Trial, gpu: str | None = None, seconds: float = SECONDS_TO_BE_ALONE) -> "subprocess.Popen[bytes]":
    """Start a trial's process in a session of its own. gpu: the one that it sees; None for what this process sees.

    seconds: to wait for another process that is at work in the trial's folder, before the BundlerError that it is.
    """
    command = [sys.executable, "-P", str(trial.script), "--settings", str(trial.folder / SETTINGS_FILE)]
    for key, folder in (("data", trial.data), ("working", trial.folder)):
        command += ["--set", f"{key}={folder}"]
    with locked(trial.folder, seconds) as lock, trial.log.open("ab") as log:
        return subprocess.Popen(
            [*_ends_with_this_process(trial.folder), *command],
            cwd=trial.folder,
            env=os.environ | _environment(trial.threads, gpu),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[lock.fileno()],
        )


def end(processes: Sequence["subprocess.Popen[bytes]"]) -> None:
    """Interrupt the processes of trials, and kill those that do not end."""
    for process in processes:
        process.send_signal(signal.SIGINT)
    latest = time.monotonic() + SECONDS_TO_END
    for process in processes:
        try:
            process.wait(max(0, latest - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def what_is_missing(ended: Ended) -> str:
    """Return why a trial is not finished, "" where its process left weights of the last epoch and their answers."""
    trial = ended.trial
    if ended.problem:
        return ended.problem
    if ended.code:
        lines = trial.log.read_text(encoding="utf-8", errors="replace").splitlines()
        how = f"signal {-ended.code}" if ended.code < 0 else f"exit code {ended.code}"
        return f"{how}: {lines[-1] if lines else 'its log is empty'}"
    epochs = read_settings(trial.folder / SETTINGS_FILE).run.epochs
    try:
        epoch = read_manifest(trial.folder).epoch
    except UserError as error:
        return str(error)
    if epoch < epochs:
        return f"stopped after epoch {epoch} of {epochs}"
    return "" if (trial.folder / OUT_OF_FOLD_FILE).is_file() else f"left no {OUT_OF_FOLD_FILE}"


def _environment(threads: int, gpu: str | None) -> Mapping[str, str]:
    return with_threads(threads) | ({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})


def _ends_with_this_process(folder: Path) -> list[str]:
    if not sys.platform.startswith("linux"):
        return []
    spec = isolated.Spec(False, False, False, str(folder), str(folder), parent=os.getpid())
    (folder / SPEC_FILE).write_text(json.dumps(spec._asdict()), encoding="utf-8")
    return [sys.executable, "-I", "-S", isolated.__file__, str(folder / SPEC_FILE)]
