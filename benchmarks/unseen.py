"""What a first stage on rendered graphemes does to images whose label combination no train image has.

    PYTHONPATH=src .venv/bin/python -m benchmarks.unseen DATA OUT FONT [FONT ...]

A training by ruler.toml holds out whole combinations, some fifth of DATA's train images. Graphemes are rendered as
docs/further-images.md has it, but from tables without these combinations; a few come by chance, where diacritics are
drawn anew. A first stage on them, and a training from its weights, take about as long as the training without. The
gain is that of `multihead compare`: paired, on the images held out, by exponents that were chosen on the same ones.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.costs import cost_of, run
from benchmarks.first_stage import HOUSE, IMAGES, NAME, PRETRAINED
from benchmarks.score import RECIPE
from bundler.kaggle.staging import stage
from multihead.config.files import OUT_OF_FOLD_FILE
from multihead.scoring.out_of_fold import read_out_of_fold
from multihead_study.compare import compare

HELD_OUT = ("validation=unseen", "validation_share=0.2")
EPOCHS, FIRST_EPOCHS, EPOCHS_AFTER_FIRST = 10, 5, 6


def main(argv: Sequence[str] | None = None) -> None:
    """Train both ways and print the gain."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path, help="a folder; what is there is not trained again")
    parser.add_argument("fonts", type=Path, nargs="+", metavar="FONT")
    arguments = parser.parse_args(argv)
    data, out = arguments.data.resolve(), arguments.out.resolve()
    out.mkdir(exist_ok=True)
    before = _train(data, out / "before", [*HELD_OUT, f"epochs={EPOCHS}"])
    rendered, table = out / "rendered", out / "tables"
    if not (rendered / "train_image_data_3.parquet").is_file():
        _write_tables(data, read_out_of_fold(before / OUT_OF_FOLD_FILE).ids, table)
        program = HOUSE / "demo" / "render_graphemes.py"
        run([sys.executable, program, table, rendered, *arguments.fonts, "--images", str(IMAGES)], rendered)
    first = _train(rendered, out / "first", [f"epochs={FIRST_EPOCHS}"])
    stage(first, out, NAME)
    after = _train(data, out / "after", [*HELD_OUT, f"epochs={EPOCHS_AFTER_FIRST}", f"pretrained={out / PRETRAINED}"])
    print("\n".join(compare(before, after).lines()))
    print(f"CPU-seconds: {cost_of(before).cpu_seconds:.0f}; ", end="")
    print(" + ".join(f"{cost_of(part).cpu_seconds:.0f}" for part in (rendered, first, after)))


def _train(data: Path, working: Path, changes: Sequence[str]) -> Path:
    """Train by the ruler's settings where that was not done yet, and return the working folder."""
    if not (working / OUT_OF_FOLD_FILE).is_file():
        working.mkdir(exist_ok=True)
        sets = [part for change in (*changes, f"data={data}", f"working={working}") for part in ("--set", change)]
        run([sys.executable, "-m", "multihead", "train", "--settings", RECIPE, *sets], working)
    return working


def _write_tables(data: Path, held_out: Sequence[str], folder: Path) -> None:
    """Write the competition's tables without the label combinations of some images."""
    folder.mkdir(exist_ok=True)
    shutil.copy(data / "class_map.csv", folder)
    labels = pd.read_csv(data / "train.csv", dtype=str).set_index("image_id")
    heads = [name for name in labels if name != "grapheme"]
    combinations = pd.MultiIndex.from_frame(labels[heads])
    of_held_out = combinations[labels.index.isin(held_out)]
    labels[~combinations.isin(of_held_out)].to_csv(folder / "train.csv")


if __name__ == "__main__":
    main()
