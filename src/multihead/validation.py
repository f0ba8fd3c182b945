"""Which train images are held out to validate with."""

import numpy as np
import pandas as pd

from multihead.errors import UserError
from multihead.generator import Draw, random_for
from multihead.settings import RunSettings


def choose_validation(labels: pd.DataFrame, run: RunSettings) -> "pd.Series[bool]":
    """Return True, by image id, for the share of the images that is held out.

    Drawn evenly over the label combinations: in an order sorted by the labels, shuffled within each
    combination, every (1 / validation_share)-th image from a random start is held out. The draw depends on
    ids and seed only, not on how the images are split into files. Raises UserError where none is left to
    train on or to validate with.
    """
    ordered = labels.sort_index()
    shuffled = random_for(run.seed, Draw.SPLIT).permutation(len(ordered))
    order = np.lexsort([shuffled, *(ordered[head].to_numpy() for head in reversed(ordered.columns))])
    start = random_for(run.seed, Draw.SPLIT, 1).random()
    marks = np.floor(np.arange(len(order) + 1) * run.validation_share + start)
    held_out = pd.Series(False, ordered.index)
    held_out.iloc[order] = np.diff(marks) > 0
    if not held_out.any() or held_out.all():
        raise UserError(
            f"validation_share = {run.validation_share}: {int(held_out.sum())} of {len(labels)} images would be "
            "held out; at least one must be, and at least one not"
        )
    return held_out
