"""Trials as kernels at Kaggle: each one pushed once Kaggle has room for it, its output pulled into the trial's folder.

A kernel runs on whatever becomes of the process that pushed it, so its folder tells how far it is: PUSHED_FILE lies
there from just before a push, with version 0 until Kaggle has said which one it is, and becomes ENDED_FILE once its run
has ended and what it left has come. PULLED_FILE lies there as soon as a checkpoint has.
"""

import json
import time
import zipfile
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from bundler.build.script import build_script
from bundler.errors import BundlerError, ClientError, NoRoomError
from bundler.kaggle import client, kernels
from bundler.kaggle.kernels import PUSHED_FILE, Pushed, Run
from bundler.kaggle.staging import verified
from bundler.metadata import SOURCES, read_metadata, slug_of, without_version
from bundler.repository import KERNEL_METADATA, OF_TRIAL, SESSION_MINUTES, Repository
from bundler.study.run import Ended
from bundler.study.trial import Trial
from multihead.config.files import CHECKPOINT_FILE, OUT_OF_FOLD_FILE, SETTINGS_FILE, WEIGHTS_FILE
from multihead.config.settings import Settings
from multihead.config.settings_file import read_settings

KERNEL_FOLDER, CODE_FILE = "kernel", "train_kernel.py"
ENDED_FILE, PULLED_FILE = "ended.json", "pulled"
MAX_SLUG = 50  # characters
DIGITS = 6  # of the fingerprint in a slug: kernels of other studies have the same recipe, fold and seed
RETRY_SECONDS = 600.0  # after a refusal, where none of the own kernels ends before


class Kaggle:
    """Runs trials as kernels of the owner of the train kernel, with its metadata.

    most: how many at a time; 0 for as many as Kaggle allows. Closing `run` ends no kernel: the client cannot.
    """

    threads = 4  # cores of a machine with a GPU; a kernel takes what it finds

    def __init__(self, repository: Repository, most: int = 0) -> None:
        self._repository, self._most = repository, most

    def run(self, trials: Sequence[Trial]) -> Generator[Ended, None, None]:
        written = self._written(trials)
        running = [kernel for kernel in written if kernel.was_pushed()]
        waiting = deque(kernel for kernel in written if kernel not in running)
        for kernel in running:
            print(f"{kernel.trial.name}: {kernel.id} was pushed before", flush=True)
        door = _Door(self._most)
        try:
            while waiting or running:
                looked_at = [*running]  # not those that are pushed now: Kaggle may not know them yet
                while waiting and door.is_open(len(running)):
                    try:
                        waiting[0].push()
                        running.append(waiting.popleft())
                    except NoRoomError as error:
                        door.close(str(error), len(waiting))
                        break
                    except BundlerError as error:
                        yield Ended(waiting.popleft().trial, 0, 0.0, str(error))
                for kernel in looked_at:
                    if ended := kernel.look():
                        running.remove(kernel)
                        door.open()
                        yield ended
                if waiting or running:
                    time.sleep(client.PAUSE_SECONDS)
        finally:
            if left := [kernel.id for kernel in written if kernel.is_pushed]:
                print(f"still at Kaggle: {', '.join(left)}; the same command pulls what they leave", flush=True)

    def _written(self, trials: Sequence[Trial]) -> list["Kernel"]:
        """Return the kernels of trials, all of them built before the first is pushed: the code may change meanwhile."""
        train = read_metadata(self._repository.metadata("train"))
        written = []
        for trial in trials:
            settings = trial.folder / SETTINGS_FILE
            _refuse(read_settings(settings), train, self._repository.dataset_id)
            written.append(Kernel(trial, train))
            script = build_script(self._repository.package, settings, "train", dataset=self._repository.dataset)
            written[-1].write(script, train)
        return written


class Kernel:
    """A trial's kernel, in a folder of the trial's. train: the metadata of the train kernel, whose owner it has."""

    def __init__(self, trial: Trial, train: Mapping[str, Any]) -> None:
        self.trial, self.folder = trial, trial.folder / KERNEL_FOLDER
        owner, slug = train["id"].split("/")
        self.id = f"{owner}/{slug_for(slug, trial)}"
        self._pushed, self._ended = self.folder / PUSHED_FILE, self.folder / ENDED_FILE
        self._pulled = self.folder / PULLED_FILE
        self._failures = 0

    @property
    def is_pushed(self) -> bool:
        """Whether Kaggle has it and its output has not come."""
        return self._run.version > 0

    @property
    def _run(self) -> Run:
        pushed = kernels.last_pushed(self.folder)
        return Run(self.id, pushed.version if pushed else 0)

    def write(self, script: bytes, train: Mapping[str, Any]) -> None:
        """Write what is pushed; where a checkpoint of it was pulled, it attaches its own output to go on from."""
        sources = [source for source in train.get("kernel_sources") or [] if without_version(source) != train["id"]]
        own = {
            "id": self.id,
            "title": self.id.partition("/")[2].replace("-", " "),
            "code_file": CODE_FILE,
            "kernel_type": "script",
            "enable_internet": False,
            "kernel_sources": [*sources, self.id] if self._pulled.exists() else sources,
        }
        metadata = {key: value for key, value in train.items() if key != "id_no"} | own
        self.folder.mkdir(exist_ok=True)
        (self.folder / CODE_FILE).write_bytes(script)
        (self.folder / KERNEL_METADATA).write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")

    def was_pushed(self) -> bool:
        """Return is_pushed; Kaggle is asked where a push was broken off, and ClientError raised where it can't be."""
        if not self.is_pushed and self._pushed.exists():
            ended = kernels.read_pushed(self._ended)
            run = Run(self.id, 1 + (ended.version if ended else 0))
            if kernels.is_known(run):
                kernels.keep_pushed(self.folder, Pushed(*run))
        return self.is_pushed

    def push(self) -> None:
        """Push it; NoRoomError where it is to be tried later, BundlerError where Kaggle refuses it for good."""
        kernels.push_kernel(self.folder)

    def look(self) -> Ended | None:
        """Return how it ended, once its output has been pulled or it has failed; None while it runs.

        A question that fails is asked again, MAX_FAILURES times; then the next command has to ask.
        """
        run, since = self._run, self._pushed.stat().st_mtime
        problem = ""
        try:
            if not kernels.kernel_status(run).done:
                self._failures = 0
                return None
            self._pull(run)
        except ClientError as error:
            self._failures += 1
            return Ended(self.trial, 0, 0.0, str(error)) if self._failures >= client.MAX_FAILURES else None
        except BundlerError as error:
            problem = str(error)
        self._pushed.replace(self._ended)
        return Ended(self.trial, 0, self._keep_log(run) or time.time() - since, problem)

    def _pull(self, run: Run) -> None:
        """Download its output; ClientError where a file did not arrive as it is at Kaggle."""
        folder = self.trial.folder
        files = kernels.pull_output(run, folder, OF_TRIAL, [(WEIGHTS_FILE, CHECKPOINT_FILE)])
        came = {path.name for path in files}
        (folder / f"{self.id.partition('/')[2]}.log").unlink(missing_ok=True)  # _keep_log has it readable
        try:
            if WEIGHTS_FILE in came:
                verified(folder)
        except BundlerError as error:
            raise ClientError(str(error)) from error
        for name in came & {CHECKPOINT_FILE, OUT_OF_FOLD_FILE}:
            if not zipfile.is_zipfile(folder / name):
                raise ClientError(f"{folder / name}: not the file that {self.id} left")
        if CHECKPOINT_FILE in came:
            self._pulled.touch()

    def _keep_log(self, run: Run) -> float:
        """Add its log to the trial's, and return how many seconds it ran; 0 where Kaggle does not tell."""
        try:
            log = kernels.kernel_log(run)
        except ClientError:
            return 0.0
        with self.trial.log.open("a", encoding="utf-8") as file:
            file.write(log.text)
        return log.seconds


class _Door:
    """Whether Kaggle may take another kernel, and which refusal was said last."""

    def __init__(self, most: int) -> None:
        self._most, self._closed_until, self._said = most, 0.0, ""

    def is_open(self, running: int) -> bool:
        return (not self._most or running < self._most) and time.monotonic() >= self._closed_until

    def open(self) -> None:
        self._closed_until = 0.0

    def close(self, refusal: str, waiting: int) -> None:
        """Wait before the next push, and say why where that is another refusal than the one before."""
        self._closed_until = time.monotonic() + RETRY_SECONDS
        if refusal == self._said:
            return
        self._said = refusal
        hours = ""
        if "quota" in refusal:
            with suppress(BundlerError):
                hours = f" ({kernels.gpu_quota()})"
        print(f"Kaggle: {refusal}{hours}; trials that wait for room: {waiting}", flush=True)


def slug_for(kernel: str, trial: Trial) -> str:
    """Return the slug of a trial's kernel: that of the train kernel, the trial's name, digits of its fingerprint."""
    end = f"-fold{trial.fold}-seed{trial.seed}-{trial.fingerprint[:DIGITS]}"
    return slug_of(f"{kernel}-{trial.recipe}")[: MAX_SLUG - len(end)].rstrip("-") + end


def _refuse(settings: Settings, train: Mapping[str, Any], dataset: str) -> None:
    """Raise BundlerError where Kaggle would end a trial before it does itself, or mounts nothing that it asks for.

    dataset: what Kaggle calls the dataset that holds wheels.
    """
    if not 0 < settings.run.time_budget_minutes < SESSION_MINUTES:
        rule = f"Kaggle ends a session after {SESSION_MINUTES}, and keeps nothing of it; expected fewer, such as 690"
        raise BundlerError(f"time_budget_minutes = {settings.run.time_budget_minutes:g}: {rule}")
    task, attached = settings.task, [source for key in SOURCES for source in train.get(key) or []]
    others = [source for source in attached if source not in (train.get("competition_sources") or [])]
    if not others and task.source.lower() not in map(str.lower, attached):
        raise BundlerError(f"kernel/train/{KERNEL_METADATA}: attaches no {task.source}, where {task.name} comes from")
    if settings.run.wheels and dataset.lower() not in map(str.lower, map(without_version, attached)):
        raise BundlerError(f"kernel/train/{KERNEL_METADATA}: attaches no {dataset}, which holds the wheels")
    if settings.run.further_images and not others:
        folder = settings.run.further_images[0].folder
        raise BundlerError(f"kernel/train/{KERNEL_METADATA}: attaches nothing that holds the further images {folder}")
    if settings.run.pretrained and not others:
        raise BundlerError(f"kernel/train/{KERNEL_METADATA}: attaches nothing that holds {settings.run.pretrained}")
