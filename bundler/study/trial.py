"""One training of a study: what it is made of, and what its folder tells of it."""

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bundler.errors import BundlerError
from multihead.config import UserError, listed, read_toml, whole_file
from multihead.config.files import MANIFEST_FILE, OUT_OF_FOLD_FILE, SETTINGS_FILE, TASK_FILE, WEIGHTS_FILE
from multihead.config.manifest import sha256_of
from multihead.config.settings import WITHOUT_EFFECT

TRIAL_FILE, LOG_FILE = "trial.json", "log.txt"
LEFT_BY_TRIAL = (WEIGHTS_FILE, MANIFEST_FILE, OUT_OF_FOLD_FILE)


@dataclass(frozen=True)
class Trial:
    """One recipe, one fold, one seed.

    recipe: the name of its settings file. study: the folder in which the trial has one of its own. script: the built
    train kernel. settings, task: the texts of its settings.toml and task.toml, with its fold and seed. data: folder of
    the files to train on. threads: that it computes with. parts: what decides its weights, each as a SHA-256.
    """

    recipe: str
    fold: int
    seed: int
    study: Path
    script: Path
    settings: str
    task: str
    data: Path
    threads: int
    parts: Mapping[str, str] = field(hash=False)

    @property
    def name(self) -> str:
        return f"{self.recipe}-fold{self.fold}-seed{self.seed}"

    @property
    def folder(self) -> Path:
        """Where it runs and what it leaves lies."""
        return self.study / self.name

    @property
    def log(self) -> Path:
        return self.folder / LOG_FILE

    @property
    def fingerprint(self) -> str:
        """One SHA-256 of all its parts."""
        return sha256(json.dumps(dict(self.parts), sort_keys=True).encode())


@dataclass
class State:
    """What a trial's folder tells of it, in TRIAL_FILE: seconds that its processes ran, and whether it is finished."""

    recipe: str
    fold: int
    seed: int
    fingerprint: str
    parts: Mapping[str, str]
    seconds: float = 0.0
    is_finished: bool = False


def sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def of_files(folder: Path, names: Iterable[str], whole: str = "") -> str:
    """Return a SHA-256 of the names and sizes of files in a folder; those in an archive there stand for themselves.

    whole: one of which the content counts as well, if it is there.
    """
    lines = sorted(f"{name} {path.stat().st_size if (path := folder / name).is_file() else ''}" for name in names)
    content = sha256_of(folder / whole) if whole and (folder / whole).is_file() else ""
    return sha256("\n".join([*lines, content]).encode())


def state_of(trial: Trial) -> State:
    """Return how far a trial is, as its folder tells; a new State where there is none.

    One that was finished and has lost its weights or answers is not.

    Raises BundlerError where the folder is of a trial with another script, other settings or other data: its weights
    are nothing to go on from, and nothing to write over.
    """
    path = trial.folder / TRIAL_FILE
    if not path.exists():
        return State(trial.recipe, trial.fold, trial.seed, trial.fingerprint, trial.parts)
    state = read_state(path)
    if state.fingerprint != trial.fingerprint:
        every = dict.fromkeys([*trial.parts, *state.parts])
        other = [name for name in every if state.parts.get(name) != trial.parts.get(name)]
        problem = f"{trial.folder}: was begun with other {' and '.join(other)}{_settings_before(trial)}"
        raise BundlerError(f"{problem}; give it as it was to go on, or name another folder with --out")
    state.is_finished = state.is_finished and all((trial.folder / name).is_file() for name in LEFT_BY_TRIAL)
    return state


def _settings_before(trial: Trial) -> str:
    """Return in words which settings a trial was begun with that it has otherwise now."""
    try:
        before = read_toml(trial.folder / SETTINGS_FILE)
    except UserError:
        return ""
    now = tomllib.loads(trial.settings)
    changed = [
        f"{key} = {json.dumps(before.get(table, {}).get(key))}, here {json.dumps(value)}"
        for table, values in now.items()
        for key, value in values.items()
        if key not in WITHOUT_EFFECT and before.get(table, {}).get(key) != value
    ]
    return f" ({listed(changed)})" if changed else ""


def read_state(path: Path) -> State:
    """Return what a TRIAL_FILE tells; BundlerError for a damaged one, with what is to be done."""
    try:
        values: dict[str, Any] = json.loads(path.read_bytes())
        state = State(**values)
        kinds = {type(state.recipe), type(state.fold), type(state.seed), type(state.parts), type(state.is_finished)}
        if kinds != {str, int, dict, bool} or not isinstance(state.seconds, int | float):
            raise ValueError("a value is of another kind")
    except OSError as error:
        raise BundlerError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, TypeError) as error:
        what_to_do = "without it, the trial goes on from its checkpoint"
        raise BundlerError(f"{path}: not what a trial leaves ({error}); {what_to_do}") from error
    return state


def write_state(trial: Trial, state: State) -> None:
    """Write a trial's state into its folder, and before that what it needs to start."""
    trial.folder.mkdir(exist_ok=True)
    for name, text in ((SETTINGS_FILE, trial.settings), (TASK_FILE, trial.task)):
        with whole_file(trial.folder / name) as new:
            new.write_text(text, encoding="utf-8", newline="\n")
    with whole_file(trial.folder / TRIAL_FILE) as new:
        new.write_text(json.dumps(asdict(state), indent=1) + "\n", encoding="utf-8")
