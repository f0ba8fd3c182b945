"""A first stage of a row of the ruler (score.py): a training on graphemes that are rendered in fonts."""

import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.costs import CODE, VERSION, cost_of, deciding_settings, run_once, set_options
from bundler.kaggle.staging import stage
from multihead.config.files import WEIGHTS_FILE, named
from multihead.config.manifest import sha256_of
from multihead.config.settings_file import read_settings
from multihead.runtime.errors import UserError

HOUSE = Path(__file__).resolve().parent.parent
IMAGES = 36_000
NAME = "rendered"
PRETRAINED = named(WEIGHTS_FILE, NAME)
TABLES = ("class_map.csv", "train.csv")


class FirstStage:
    """The first stage of a row, in a folder of studies.

    row: what its files are called. recipe, changes: its settings.
    """

    def __init__(self, studies: Path, row: str, recipe: Path, changes: Mapping[str, str]) -> None:
        self._rendered, self._trained = studies / ".rendered", studies / f"{row}-first"
        self._staged, self._row, self._recipe = studies / f"{row}-first-staged", row, recipe
        self._overrides = [f"{key}={value}" for key, value in changes.items()]

    @property
    def cpu_seconds(self) -> float:
        """Of rendering and training."""
        return cost_of(self._rendered).cpu_seconds + cost_of(self._trained).cpu_seconds

    @property
    def is_measured(self) -> bool:
        return cost_of(self._rendered).is_measured and cost_of(self._trained).is_measured

    def weights(self, data: Path, fonts: Sequence[Path]) -> Path:
        """Return the file of its weights, rendered and trained as far as that was not done yet.

        data: the competition's folder, read for its tables. Raises UserError where there are no fonts to render with,
        or what is there is made of something else.
        """
        if not fonts:
            raise UserError(f"{self._row}: from rendered graphemes; name fonts with --fonts (docs/further-images.md)")
        made_of = render(data, self._rendered, fonts)
        train(self._recipe, self._rendered, self._trained, self._overrides, made_of)
        self._staged.mkdir(exist_ok=True)
        stage(self._trained, self._staged, NAME)
        return self._staged / PRETRAINED


def render(tables: Path, out: Path, fonts: Sequence[Path]) -> dict[str, Any]:
    """Render graphemes of a competition's tables where that was not done yet, and return what they are made of."""
    if missing := [name for name in TABLES if not (tables / name).is_file()]:
        raise UserError(f"no {' and no '.join(missing)} in {tables}")
    made_of = {"tables": _digest(tables / name for name in TABLES), "fonts": _digest(_files(fonts)), "images": IMAGES}
    program = HOUSE / "demo" / "render_graphemes.py"
    run_once([sys.executable, program, tables, out, *fonts, "--images", str(IMAGES)], out, made_of)
    return made_of


def train(recipe: Path, data: Path, out: Path, overrides: Sequence[str], images: Mapping[str, Any]) -> None:
    """Train where that was not done yet. images: what those in `data` are made of, as JSON has it."""
    settings = read_settings(recipe, overrides)
    made_of = {**images, "settings": deciding_settings(settings), VERSION: CODE}
    if settings.run.pretrained:
        made_of["weights"] = _digest([Path(settings.run.pretrained)])
    sets = set_options([*overrides, f"data={data.resolve()}", f"working={out.resolve()}"])
    run_once([sys.executable, "-m", "multihead", "train", "--settings", recipe, *sets], out, made_of)


def _files(places: Iterable[Path]) -> Iterator[Path]:
    """Yield the files that are named, and those in folders that are, in order."""
    for place in places:
        yield from sorted(file for file in place.rglob("*") if file.is_file()) if place.is_dir() else [place]


def _digest(files: Iterable[Path]) -> str:
    """Return one SHA-256 of files' contents; UserError where one cannot be read."""
    digest = hashlib.sha256()
    for file in files:
        try:
            digest.update(sha256_of(file).encode())
        except OSError as error:
            raise UserError(f"{file}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()
