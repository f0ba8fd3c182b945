"""A study from its settings to finished trials."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

from bundler.build.attached_wheels import all_fetched
from bundler.build.parts import read_importable
from bundler.build.script import build_script
from bundler.errors import BundlerError
from bundler.kaggle.staging import NAME
from bundler.rehearse.data import check_data
from bundler.repository import MAX_FILES, Repository
from bundler.study.engines import Engine
from bundler.study.inputs import find_inputs, link_inputs
from bundler.study.lock import LOCK_FILE, locked
from bundler.study.run import what_is_missing
from bundler.study.trial import State, Trial, of_files, sha256, state_of, write_state
from multihead.config import listed, whole_file
from multihead.config.data_files import matching
from multihead.config.further_images import KEY as FURTHER_IMAGES
from multihead.config.known_tasks import task_text
from multihead.config.settings import WITHOUT_EFFECT, Settings, settings_dict
from multihead.config.settings_file import read_settings
from multihead.config.toml_text import settings_text

STUDY_FILE = "study.json"
OF_THE_PLACE = {"data", "weights", "working", "workers", "trials"}  # settings that say nothing of a trial itself
SHARED = ("study_seed", "group_column")  # settings that the recipes of a study have in common


class Request(NamedTuple):
    """A study as the command line asks for it.

    data: folder of the task's files. out: the study's folder. seeds: how many, from the settings' seed on. recipes:
    settings files in place of the train kernel's; sets: settings of all of them, as KEY=VALUE. threads: of each trial,
    0 for those of the study as it was begun, or else the engine's. is_data_here: whether the trials read the files in
    data; if others elsewhere, some or all may be missing. trained: how many of the folds, the first ones, are trained;
    0 for as many as the study has, in a new one for all.
    """

    data: Path
    out: Path
    folds: int
    seeds: int = 1
    recipes: Sequence[Path] = ()
    sets: Sequence[str] = ()
    threads: int = 0
    is_data_here: bool = True
    trained: int = 0


@dataclass(frozen=True)
class Study:
    """What all trials of a study share, and the names of its recipes: what STUDY_FILE holds.

    study_seed, group_column: by which the folds are drawn. trained: how many of them, the first ones, have trials.
    """

    task: str
    folds: int
    study_seed: int
    group_column: str
    threads: int
    recipes: tuple[str, ...]
    trained: int

    @property
    def in_words(self) -> str:
        drawn = f"study_seed {self.study_seed}" + (f" and group_column {self.group_column}" * bool(self.group_column))
        return f"{self.folds} folds of {self.task}, drawn with {drawn}, {self.threads} threads a trial"


def run_study(repository: Repository, request: Request, begin: Callable[[], Engine]) -> None:
    """Run what a study lacks, and leave every trial finished. begin: returns the engine, once the request holds.

    Finished trials are skipped, broken ones go on where they were. Raises BundlerError for a mistake in the request, a
    folder at which another command works or that is no study, a trial begun with something else, and after all others
    have ended for trials that failed.
    """
    if request.trained and not is_share(request.trained, request.folds):
        raise BundlerError(f"--train-folds {request.trained}: of {request.folds}; expected 2 to {request.folds}")
    recipes = _read_recipes(repository, request)
    for settings in recipes.values():
        check_data(settings.task, request.data, "train", is_whole=request.is_data_here)
        _check_group_column(settings, request.data)
    engine = begin()
    claim(request.out)
    with locked(request.out):
        study = _study(request, list(recipes.items()), engine.threads)
        inputs = {
            path: find_inputs(repository, settings, is_here=request.is_data_here) for path, settings in recipes.items()
        }
        of_code = _sha256_of_code(repository)
        scripts = {
            path: build_script(repository.package, path, "train", dataset=repository.dataset) for path in recipes
        }
        trials = {
            path: _trials(request, settings, path, inputs[path].sha256, of_code, study)
            for path, settings in recipes.items()
        }
        every = sorted((trial for of_recipe in trials.values() for trial in of_recipe), key=lambda trial: trial.seed)
        states = {trial: state_of(trial) for trial in every}
        if 2 * len(every) + 1 > MAX_FILES:
            fit = MAX_FILES // 2 - 1
            print(f"{len(every)} trials; a dataset takes the weights of {fit}, as Kaggle allows {MAX_FILES} files")
        if old := [name for name in study.recipes if name not in [path.stem for path in recipes]]:
            print(f"{request.out}: has {', '.join(old)} as well", flush=True)
        _write(request.out / STUDY_FILE, (json.dumps(asdict(study), indent=1) + "\n").encode())
        for path, of_recipe in trials.items():
            _write(of_recipe[0].script, scripts[path])
            link_inputs(inputs[path].paths, of_recipe)
        run_trials(engine, states)


def run_trials(engine: Engine, states: Mapping[Trial, State]) -> None:
    """Run those of the trials that are not finished, and say of each how it ended.

    Raises BundlerError once all have ended, where some are not finished.
    """
    left = [trial for trial, state in states.items() if not state.is_finished]
    if done := len(states) - len(left):
        print(f"{done} of {len(states)} trials are finished", flush=True)
    for trial in left:
        write_state(trial, states[trial])
    failed = 0
    with closing(engine.run(left)) as ends:
        for ended in ends:
            problem = what_is_missing(ended)
            state = states[ended.trial]
            state.seconds += ended.seconds
            state.is_finished = not problem
            write_state(ended.trial, state)
            failed += bool(problem)
            print(f"{ended.trial.name}: {problem or 'finished'} after {ended.seconds / 60:.1f} minutes", flush=True)
    if failed:
        raise BundlerError(f"{failed} of {len(states)} trials are not finished; the same command goes on with them")


def claim(out: Path) -> None:
    """Make the folder of a study; BundlerError for one that holds something else."""
    others = {path.name for path in out.iterdir()} - {LOCK_FILE} if out.is_dir() else set()
    if others and STUDY_FILE not in others:
        raise BundlerError(f"--out {out}: holds files, but no study; name a new folder")
    out.mkdir(parents=True, exist_ok=True)


def read_study(folder: Path) -> Study:
    """Return what a study's folder tells of it; BundlerError where it is none.

    A file of before there was a choice of folds is one of all.
    """
    path = folder / STUDY_FILE
    try:
        values = json.loads(path.read_bytes())
        study = Study(**{"trained": values["folds"]} | values | {"recipes": tuple(values["recipes"])})
        if type(study.trained) is not int or not is_share(study.trained, study.folds):
            raise ValueError(f"trained: {study.trained} of {study.folds} folds")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BundlerError(f"{path}: not what a study leaves ({error})") from error
    return study


def is_share(trained: int, folds: int) -> bool:
    """Tell whether some folds of so many can be joined: each is answered with what is chosen on the others."""
    return 2 <= trained <= folds


def _read_recipes(repository: Repository, request: Request) -> dict[Path, Settings]:
    """Return the settings of each recipe by its file; BundlerError where they could not be trials of one study."""
    recipes = {
        path: read_settings(path, [*request.sets, f"study_folds={request.folds}"])
        for path in request.recipes or [repository.settings("train")]
    }
    first = next(iter(recipes))
    names: dict[str, Path] = {}
    for path, settings in recipes.items():
        if not re.fullmatch(NAME, path.stem):
            rule = "its name becomes that of weights; expected letters, digits, dashes and underscores"
            raise BundlerError(f"{path}: {rule}")
        if settings.run.trials:
            raise BundlerError(f"{path}: trials are those of one kernel; leave them out, a study makes its own")
        if path.stem in names:
            raise BundlerError(f"{path}: called {path.stem}, as is {names[path.stem]}; give recipes names of their own")
        names[path.stem] = path
        for key, values in (
            ("task", [recipes[first].task.name, settings.task.name]),
            *((key, [getattr(of.run, key) for of in (recipes[first], settings)]) for key in SHARED),
        ):
            if values[0] != values[1]:
                raise BundlerError(f"{path}: {key} = {values[1]!r}, in {first} {values[0]!r}; a study has one for all")
    return recipes


def _check_group_column(settings: Settings, data: Path) -> None:
    """Raise BundlerError where the table of labels, if it is a CSV file here, has no such column: each trial would."""
    column, table = settings.run.group_column, data / settings.task.labels_file
    if not column or not settings.task.labels_file.lower().endswith(".csv") or not table.is_file():
        return
    with table.open(encoding="utf-8-sig", errors="replace") as file:
        names = [name.strip().strip('"') for name in re.split("[,;\t]", file.readline())]
    if column.lower() not in map(str.lower, names):
        raise BundlerError(f"group_column = {column!r}: no column of {table}; it has {listed(names)}")


def _study(request: Request, recipes: Sequence[tuple[Path, Settings]], threads: int) -> Study:
    """Return the study, with the recipes and folds that it had before; BundlerError where the folder has another."""
    settings = recipes[0][1]
    before = read_study(request.out) if (request.out / STUDY_FILE).is_file() else None
    names = [*(before.recipes if before else ()), *(path.stem for path, _ in recipes)]
    study = Study(
        settings.task.name,
        request.folds,
        settings.run.study_seed,
        settings.run.group_column,
        request.threads or (before.threads if before else threads),
        tuple(dict.fromkeys(names)),
        request.trained or (before.trained if before else request.folds),
    )
    if before and replace(before, recipes=(), trained=0) != replace(study, recipes=(), trained=0):
        raise BundlerError(f"--out {request.out}: has {before.in_words}; not {study.in_words}; name another folder")
    return study


def _trials(
    request: Request, settings: Settings, path: Path, inputs: dict[str, str], of_code: str, study: Study
) -> list[Trial]:
    """Return the trials of a recipe, its folds with the first seed first.

    inputs: what else decides what becomes of them, each with its SHA-256.
    """
    task = task_text(settings.task.name, path)
    names = [name for pattern in settings.task.files_to_train for name in matching(request.data, pattern)]
    of_data = of_files(request.data, names, whole=settings.task.labels_file)
    model = settings_dict(settings.model)
    run = {key: value for key, value in settings_dict(settings.run).items() if key not in OF_THE_PLACE}
    run["pretrained"] = Path(run["pretrained"]).name
    run[FURTHER_IMAGES] = [source | {"folder": Path(source["folder"]).name} for source in run[FURTHER_IMAGES]]
    decisive = {key: value for key, value in run.items() if key not in WITHOUT_EFFECT}
    data = request.data.resolve()
    trials = []
    for seed in range(settings.run.seed, settings.run.seed + request.seeds):
        for fold in range(study.trained):
            own = {"seed": seed, "study_fold": fold}
            text = settings_text({"model": model, "run": run | own})
            deciding = settings_text({"model": model, "run": decisive | own})
            of_settings = sha256(f"{deciding}\n{task}\nthreads = {study.threads}\n".encode())
            parts = {"code": of_code, "settings": of_settings, "data": of_data} | inputs
            script = request.out.resolve() / f"{path.stem}.py"
            trials.append(Trial(path.stem, fold, seed, script.parent, script, text, task, data, study.threads, parts))
    return trials


def _sha256_of_code(repository: Repository) -> str:
    """Return a SHA-256 of all that a script of the package has but its settings."""
    files, wheels = read_importable(repository.package, attached=all_fetched(repository.dataset))
    return sha256("\n".join(f"{name} {sha256(data)}" for name, data in sorted((files | wheels).items())).encode())


def _write(path: Path, content: bytes) -> None:
    with whole_file(path) as new:
        new.write_bytes(content)
