"""A first stage of a row of the ruler (score.py): a training on graphemes that are rendered in fonts."""

import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.costs import cost_of, run_once, set_options
from bundler.kaggle.staging import stage
from multihead.config.files import WEIGHTS_FILE, named
from multihead.runtime.errors import UserError

HOUSE = Path(__file__).resolve().parent.parent
IMAGES = 36_000
NAME = "rendered"
PRETRAINED = named(WEIGHTS_FILE, NAME)
TABLES = ("class_map.csv", "train.csv")


class FirstStage:
    """The first stage of a row, in a folder of studies.

    row: what its files are called. made_of: all that decides its weights but the images, as JSON has it.
    """

    def __init__(self, studies: Path, row: str, made_of: Mapping[str, Any]) -> None:
        self._rendered, self._trained = studies / ".rendered", studies / f"{row}-first"
        self._staged, self._row, self._made_of = studies / f"{row}-first-staged", row, made_of

    @property
    def cpu_seconds(self) -> float:
        """Of rendering and training."""
        return cost_of(self._rendered).cpu_seconds + cost_of(self._trained).cpu_seconds

    @property
    def is_measured(self) -> bool:
        return cost_of(self._rendered).is_measured and cost_of(self._trained).is_measured

    def weights(self, recipe: Path, changes: Mapping[str, str], data: Path, fonts: Sequence[Path]) -> Path:
        """Return the file of its weights, rendered and trained as far as that was not done yet.

        recipe, changes: its settings. data: the competition's folder, read for its tables. Raises UserError where there
        are no fonts to render with, or what is there is made of something else.
        """
        if not fonts:
            raise UserError(f"{self._row}: from rendered graphemes; name fonts with --fonts (docs/further-images.md)")
        of_images = render(data, self._rendered, fonts)
        train(recipe, self._rendered, self._trained, [f"{key}={value}" for key, value in changes.items()],
              {**self._made_of, **of_images})  # fmt: skip
        self._staged.mkdir(exist_ok=True)
        stage(self._trained, self._staged, NAME)
        return self._staged / PRETRAINED


def render(tables: Path, out: Path, fonts: Sequence[Path]) -> dict[str, Any]:
    """Render graphemes of a competition's tables where that was not done yet, and return what they are made of."""
    digest = hashlib.sha256(b"".join((tables / name).read_bytes() for name in TABLES)).hexdigest()
    made_of = {"tables": digest, "fonts": [str(font) for font in fonts], "images": IMAGES}
    program = HOUSE / "demo" / "render_graphemes.py"
    run_once([sys.executable, program, tables, out, *fonts, "--images", str(IMAGES)], out, made_of)
    return made_of


def train(recipe: Path, data: Path, out: Path, overrides: Sequence[str], made_of: Mapping[str, Any]) -> None:
    """Train where that was not done yet. made_of: all that decides the weights, as JSON has it."""
    sets = set_options([*overrides, f"data={data.resolve()}", f"working={out.resolve()}"])
    run_once([sys.executable, "-m", "multihead", "train", "--settings", recipe, *sets], out, made_of)
