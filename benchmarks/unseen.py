"""What a first stage on rendered graphemes does to images whose label combination nothing has shown the network.

    PYTHONPATH=src .venv/bin/python -m benchmarks.unseen DATA OUT FONT [FONT ...]

A training by ruler.toml holds out whole label combinations. Graphemes are rendered from tables without the held-out
images', then a training begins from the weights of one on these. R is over the classes present, on the images whose
combination is neither among those trained on nor among those rendered, of which some come by chance where diacritics
are drawn anew; each side by its own epoch and exponents, chosen on all of its held-out images. The first stage costs
extra.
"""

import argparse
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.costs import cost_of
from benchmarks.first_stage import NAME, PRETRAINED, TABLES, render, train
from benchmarks.programs import interrupt_on_signals, printed
from benchmarks.score import RECIPE
from bundler.kaggle.staging import stage
from bundler.study.lock import locked
from multihead.config.files import OUT_OF_FOLD_FILE
from multihead.config.manifest import read_manifest
from multihead.prediction.trained import own_calibration
from multihead.runtime.errors import UserError
from multihead.scoring.out_of_fold import read_out_of_fold
from multihead.scoring.paired import Answers, paired_gain

HELD_OUT = ("validation=unseen", "validation_share=0.2")
EPOCHS, FIRST_EPOCHS, EPOCHS_AFTER_FIRST = 10, 5, 6


def main(argv: Sequence[str] | None = None) -> None:
    """Do what the command line asks for; a mistake in it is one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path, help="a folder; what is there is not made again")
    parser.add_argument("fonts", type=Path, nargs="+", metavar="FONT")
    arguments = parser.parse_args(argv)
    printed(unseen(arguments.data, arguments.out, arguments.fonts))


def unseen(data: Path, out: Path, fonts: Sequence[Path]) -> Iterator[str]:
    """Train both ways, and yield the gain and what each part has cost."""
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        yield from _compared(data, out, fonts)


def _compared(data: Path, out: Path, fonts: Sequence[Path]) -> Iterator[str]:
    before, rendered, first, after = (out / name for name in ("before", "rendered", "first", "after"))
    of_data = {"data": str(data.resolve())}
    train(RECIPE, data, before, [*HELD_OUT, f"epochs={EPOCHS}"], of_data)
    held_out = read_out_of_fold(before / OUT_OF_FOLD_FILE)
    _write_tables(data, held_out.ids, out / "tables")
    of_rendered = render(out / "tables", rendered, fonts)
    train(RECIPE, rendered, first, [f"epochs={FIRST_EPOCHS}"], of_rendered)
    stage(first, out, NAME)
    changes = [*HELD_OUT, f"epochs={EPOCHS_AFTER_FIRST}", f"pretrained={(out / PRETRAINED).resolve()}"]
    train(RECIPE, data, after, changes, of_data)
    shown = pd.concat([pd.read_csv(folder / "train.csv") for folder in (data, rendered)])
    is_shown = _combinations(shown[~shown["image_id"].isin(held_out.ids)], list(held_out.truth))
    is_unseen = ~pd.MultiIndex.from_arrays(list(held_out.truth.values())).isin(is_shown)
    truth = {head: labels[is_unseen] for head, labels in held_out.truth.items()}
    of_before, of_after = (_answers(run, held_out.ids, is_unseen) for run in (before, after))
    gain, _ = paired_gain(truth, of_before, of_after, read_manifest(before).task)
    yield f"{int(is_unseen.sum()):,} images: {gain.before:.4f} -> {gain.after:.4f}, {gain}"
    seconds = " + ".join(f"{cost_of(part).cpu_seconds:.0f}" for part in (rendered, first, after))
    yield f"CPU-seconds: {cost_of(before).cpu_seconds:.0f}; {seconds}"


def _write_tables(data: Path, held_out: Sequence[str], folder: Path) -> None:
    """Write the competition's tables without the label combinations of some images."""
    folder.mkdir(exist_ok=True)
    for name in TABLES:
        shutil.copy(data / name, folder)
    labels = pd.read_csv(data / "train.csv", dtype=str)
    combinations = _combinations(labels, [str(name) for name in labels if name not in ("image_id", "grapheme")])
    of_held_out = combinations[labels["image_id"].isin(held_out)]
    labels[~combinations.isin(of_held_out)].to_csv(folder / "train.csv", index=False)


def _combinations(labels: pd.DataFrame, heads: Sequence[str]) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(labels[list(heads)])


def _answers(run: Path, ids: Sequence[str], rows: NDArray[np.bool_]) -> Answers:
    """Return what a training answers some of its held-out images, by its own exponents."""
    manifest, said = read_manifest(run), read_out_of_fold(run / OUT_OF_FOLD_FILE)
    if list(said.ids) != list(ids):
        raise UserError(f"{run}: held other images out")
    alone = own_calibration(manifest).heads_alone(said.probabilities, manifest.train_counts)
    return {head: probabilities[rows].argmax(axis=1) for head, probabilities in alone.items()}


if __name__ == "__main__":
    interrupt_on_signals()
    main()
