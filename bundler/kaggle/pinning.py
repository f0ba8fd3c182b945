"""The Docker image that a training ran in, pinned for predicting.

Kaggle changes its image every few weeks. A rerun of the predict kernel, months later, is to have the packages that the
weights were trained with.
"""

import json
import re
from dataclasses import replace

from bundler.errors import ClientError
from bundler.kaggle.kernels import Run, image_of, keep_pushed, last_pushed
from bundler.metadata import read_metadata
from bundler.repository import Repository
from bundler.text_files import text_of


def pin_image(repository: Repository, run: Run) -> None:
    """Write the image of a training's run into the predict kernel's metadata, and say so.

    It stays out where the two kernels do not run on the same kind of machine, which have an image each, or where
    docker_image_pinning_type asks for the latest one.
    """
    try:
        image = image_of(run)
    except ClientError as error:
        print(f"{run}: its image is not known ({error}); predicting is not pinned to it")
        return
    pushed = last_pushed(repository.kernel("train"))
    if pushed and pushed.version == run.version:
        keep_pushed(repository.kernel("train"), replace(pushed, image=image))
    train, predict = (read_metadata(repository.metadata(kernel)) for kernel in ("train", "predict"))
    path = repository.metadata("predict")
    if not image or predict.get("docker_image") == image:
        return
    reason = ""
    if bool(train.get("enable_gpu")) != bool(predict.get("enable_gpu")):
        reason = "enable_gpu differs from the train kernel's"
    elif predict.get("docker_image_pinning_type") == "latest":
        reason = "docker_image_pinning_type is latest"
    if reason:
        print(f"{repository.shown(path)}: not pinned to the image of the training; {reason}")
    else:
        path.write_text(_with_image(text_of(path), image), encoding="utf-8")
        print(f"{repository.shown(path)}: docker_image {image}, in which {run} trained")


def _with_image(text: str, image: str) -> str:
    """Return a metadata file's text with this docker_image, all else as it was written."""
    pair = f'"docker_image": {json.dumps(image)}'
    replaced, count = re.subn(r'"docker_image"\s*:\s*(null|"[^"]*")', lambda _: pair, text)
    return replaced if count else f"{text.rstrip().removesuffix('}').rstrip()},\n  {pair}\n}}\n"
