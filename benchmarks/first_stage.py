"""A first stage of a row of the ruler (score.py): a training on graphemes that are rendered in fonts."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.costs import cost_of, run
from bundler.kaggle.staging import stage
from multihead.config.files import WEIGHTS_FILE, named
from multihead.runtime.errors import UserError

HOUSE = Path(__file__).resolve().parent.parent
IMAGES = 36_000
NAME = "rendered"
PRETRAINED = named(WEIGHTS_FILE, NAME)


class Weights(NamedTuple):
    """The weights that a row's trainings start from, and the CPU-seconds of rendering and training."""

    path: Path
    cpu_seconds: float
    is_measured: bool


def first_stage(
    row: str, recipe: Path, changes: Mapping[str, str], data: Path, studies: Path, fonts: Sequence[Path]
) -> Weights:
    """Return the weights of a row's first stage, rendered and trained as far as they are not there yet.

    row: what its files are called. recipe, changes: its settings. data: the competition's folder, read for its tables.
    fonts: as demo/render_graphemes.py takes them. Raises UserError where there are none to render with.
    """
    rendered, trained, staged = studies / ".rendered", studies / f"{row}-first", studies / f"{row}-first-staged"
    if not (rendered / "train_image_data_3.parquet").is_file():
        if not fonts:
            raise UserError(f"{row}: starts from rendered graphemes; name fonts with --fonts (docs/further-images.md)")
        program = HOUSE / "demo" / "render_graphemes.py"
        run([sys.executable, program, data, rendered, *fonts, "--images", str(IMAGES)], rendered)
    path = staged / PRETRAINED
    if not path.is_file():
        trained.mkdir(exist_ok=True)
        places = {"data": rendered.resolve(), "working": trained.resolve()}
        sets = [part for key, value in {**changes, **places}.items() for part in ("--set", f"{key}={value}")]
        run([sys.executable, "-m", "multihead", "train", "--settings", recipe, *sets], trained)
        staged.mkdir(exist_ok=True)
        stage(trained, staged, NAME)
    costs = [cost_of(rendered), cost_of(trained)]
    return Weights(path, sum(cost.cpu_seconds for cost in costs), all(cost.is_measured for cost in costs))
