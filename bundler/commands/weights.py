"""What the dataset's folder is filled with: published weights, wheels, the weights of a training or a study."""

from collections.abc import Sequence
from pathlib import Path

from bundler.build.attached_wheels import attached_wheels
from bundler.build.parts import IMAGE_FILE
from bundler.commands.steps import say_next
from bundler.errors import BundlerError
from bundler.kaggle import wheels
from bundler.kaggle.pretrained import fetch, published
from bundler.kaggle.staging import stage, stage_study
from bundler.repository import KERNELS, Repository
from bundler.study.study import STUDY_FILE
from multihead.config.files import ENSEMBLE_FILE, WEIGHTS_FILE, named
from multihead.config.known_tasks import task_beside
from multihead.config.settings_file import read_settings


def fetch_weights(repository: Repository, kind: str, backbone: str) -> None:
    """Put pretrained weights into the dataset's folder, and say what makes the train kernel start from them."""
    path = fetch(published(kind, backbone), repository.dataset)
    print(f"{path.name}: {path.stat().st_size:,} bytes, in {path.parent.name}/")
    _say_how_to_start_from(path.name, repository)


def fetch_wheels(repository: Repository, recipes: Sequence[Path] = ()) -> None:
    """Put the wheels that the kernels' settings ask for into the dataset's folder, and say which kernel needs them.

    recipes: more settings, of studies.
    """
    of_kernels = {kernel: read_settings(repository.settings(kernel)).run.wheels for kernel in KERNELS}
    of_recipes = {str(recipe): read_settings(recipe).run.wheels for recipe in recipes}
    fetched = wheels.fetch([*of_kernels.values(), *of_recipes.values()], repository.dataset, IMAGE_FILE)
    for kernel, requirements in (of_kernels | of_recipes).items():
        found = wheels.in_image(requirements, IMAGE_FILE)
        for requirement, version in found.met.items():
            print(f"{kernel}: {requirement}: Kaggle's image has {version}")
        for requirement, version in found.replaced.items():
            print(f"{kernel}: {requirement}: in the place of {version} in Kaggle's image")
    for name in fetched.files:
        print(f"{repository.dataset.name}/{name}: {(repository.dataset / name).stat().st_size:,} bytes")
    for name in fetched.removed:
        print(f"{repository.dataset.name}/{name}: removed, nothing asks for it")
    if not any((of_kernels | of_recipes).values()):
        print("no wheels in these settings" if recipes else "no wheels in the settings of a kernel")
    for kernel, requirements in of_kernels.items():
        if attached_wheels(repository.dataset, requirements, IMAGE_FILE):
            file, sources = repository.shown(repository.metadata(kernel)), f'["{repository.dataset_id}"]'
            print(f'  {file}: "dataset_sources": {sources}, once that dataset is pushed')
    if fetched.files:
        say_next("fetch-wheels")


def stage_weights(repository: Repository, trained: Path, name: str) -> None:
    """Put a training's weights into the dataset's folder, under a name where they are one of an ensemble.

    Of a study, put in those that its ensemble has, with how much each counts.
    """
    own = task_beside(repository.settings("train"))
    if (trained / STUDY_FILE).is_file() and not (trained / ENSEMBLE_FILE).is_file():
        raise BundlerError(f"{trained}: a study that is not finished; multihead cross-validate goes on with it")
    if (trained / ENSEMBLE_FILE).is_file():
        if name:
            raise BundlerError(f"--name {name}: {trained} is a study, whose weights have the names of its trials")
        print(f"dataset_meta: {ENSEMBLE_FILE} and\n{stage_study(trained, repository.dataset, own)}")
    else:
        print(f"dataset_meta: {stage(trained, repository.dataset, name, own)}")
    if name:
        print(f"next: put {name} into ensemble of kernel/predict/settings.toml")
        print("  or start trainings from it:")
        _say_how_to_start_from(named(WEIGHTS_FILE, name), repository)
    say_next("stage")


def _say_how_to_start_from(file: str, repository: Repository) -> None:
    print(f'  kernel/train/settings.toml, [run]: pretrained = "{file}"')
    sources = f'"dataset_sources": ["{repository.dataset_id}"]'
    print(f"  kernel/train/kernel-metadata.json: {sources}, once that dataset is created")
