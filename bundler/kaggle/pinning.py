"""The Docker image that a training ran in, pinned for predicting.

Kaggle changes its image every few weeks. A rerun of the predict kernel, months later, is to have the packages that the
weights were trained with.
"""

import json
import re
from dataclasses import replace
from pathlib import Path

from bundler.errors import ClientError
from bundler.kaggle.kernels import Run, keep_pushed, last_pushed, machine_of
from bundler.metadata import read_metadata
from bundler.repository import Repository
from multihead.config import whole_file


def pin_image(repository: Repository, run: Run) -> None:
    """Write the image of a training's run into the predict kernel's metadata, and say so.

    It stays out where the two kernels do not run on the same kind of machine, as Kaggle has an image for each, or where
    docker_image_pinning_type asks for the latest one.
    """
    try:
        machine = machine_of(run)
    except ClientError as error:
        print(f"{run}: its image is not known ({error}); predicting is not pinned to it")
        return
    pushed = last_pushed(repository.kernel("train"))
    if pushed and pushed.version == run.version:
        keep_pushed(repository.kernel("train"), replace(pushed, image=machine.image))
    path = repository.metadata("predict")
    predict = read_metadata(path)
    if not machine.image or predict.get("docker_image") == machine.image:
        return
    reason = ""
    if machine.has_gpu != bool(predict.get("enable_gpu")):
        reason = f"it has {'a' if machine.has_gpu else 'no'} GPU, and enable_gpu says otherwise here"
    elif predict.get("docker_image_pinning_type") == "latest":
        reason = "docker_image_pinning_type is latest"
    elif not _write_image(path, machine.image):
        reason = f'put in "docker_image": "{machine.image}" by hand'
    if reason:
        print(f"{repository.shown(path)}: not pinned to the image of {run}; {reason}")
    else:
        print(f"{repository.shown(path)}: docker_image {machine.image}, in which {run} trained")


def _write_image(path: Path, image: str) -> bool:
    """Write docker_image into a metadata file, all else as it stands; return False where its form does not allow it."""
    text, pair = path.read_bytes().decode("utf-8"), f'"docker_image": {json.dumps(image)}'
    new, count = re.subn(r'"docker_image"\s*:\s*(null|"[^"]*")', lambda _: pair, text)
    if not count:
        new = f"{text.rstrip().removesuffix('}').rstrip()},\n  {pair}\n}}\n"
    try:
        is_meant = json.loads(new) == json.loads(text) | {"docker_image": image} and new.count('"docker_image"') == 1
    except ValueError:
        is_meant = False
    if is_meant:
        with whole_file(path) as file:
            file.write_bytes(new.encode("utf-8"))
    return is_meant
