"""What decoding over train's label combinations does to images whose own combination train shows, and to others.

    PYTHONPATH=src .venv/bin/python -m benchmarks.combinations STUDY

prints, for each weight, what a study's answers out of fold gain over each head for itself (scoring/paired.py). The
exponents and temperatures are cross-fitted; the weight is the same for all folds. Folds that are drawn by combination
(--set group_column=grapheme) have only unseen images.
"""

import argparse
from pathlib import Path

import numpy as np

from multihead.prediction.combinations import WEIGHTS, mixed, over_combinations
from multihead.scoring.paired import paired_gain
from multihead_study.answers import joined_folds
from multihead_study.choices import mixture, shown_to
from multihead_study.folds import concatenated, read_folds, truth_of


def main() -> None:
    """Print a line for each weight, and each kind of images."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("study", type=Path)
    study = read_folds(parser.parse_args().study)
    if study.others:
        raise SystemExit("error: of a study with folds without trials; expected trials of all folds")
    task, folds, joined = study.task, study.folds, joined_folds(study)
    alone, together = [], []
    for fold, choice in zip(folds, joined.choices, strict=True):
        alone.append(choice.calibration.heads_alone(mixture(fold, choice.recipes), fold.counts))
        together.append(over_combinations(alone[-1], shown_to(fold, folds)))
    heads, combined, truth = concatenated(alone), concatenated(together), truth_of(folds)
    for words, rows in (("seen", joined.is_seen), ("unseen", ~joined.is_seen)):
        if rows.sum() < 100:
            continue
        print(f"{int(rows.sum()):,} {words} images")
        for weight in WEIGHTS:
            answers = {head: part.argmax(axis=1) for head, part in mixed(heads, combined, weight).items()}
            before = {head: part.argmax(axis=1) for head, part in heads.items()}
            of_rows = [{head: np.asarray(part[head][rows]) for head in task.heads} for part in (truth, before, answers)]
            gain, _ = paired_gain(of_rows[0], of_rows[1], of_rows[2], task)
            print(f"  weight {weight:g}: {gain.before:.4f} -> {gain.after:.4f}, {gain}")


if __name__ == "__main__":
    main()
