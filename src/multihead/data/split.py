"""Which train images are held out to validate with, and which are a fold of a task without test files."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.config.settings import RunSettings
from multihead.config.task import FOLDS
from multihead.data.draws import Draw, random_for
from multihead.runtime.errors import UserError


def choose_validation(
    labels: pd.DataFrame, run: RunSettings, groups: "pd.Series[str] | None" = None
) -> "pd.Series[bool]":
    """Return True, by image id, for the images that are held out: a share of them, or in a study those of a fold.

    labels: a column of class indices per head, index image id. groups: as study_folds takes them. With validation =
    "unseen", at most half of the share are whole label combinations that the network is never trained on, and the rest
    is drawn as without. The draw depends on ids and seed only, not on how the images are split into files. Raises
    UserError where none is left to train on or to validate with.
    """
    if run.study_folds:
        return study_folds(labels, run.study_folds, run.study_seed, groups) == run.study_fold
    ordered = labels.sort_index()
    held_out = pd.Series(False, ordered.index)
    wanted = run.validation_share * len(ordered)
    if run.validation == "unseen":
        held_out[:] = _whole_combinations(ordered, wanted / 2, run.seed)
    rest = ~held_out.to_numpy()
    share = (wanted - int(held_out.sum())) / max(1, int(rest.sum()))
    held_out[rest] = _even_share(ordered[rest], share, run.seed)
    if not held_out.any() or held_out.all():
        raise UserError(
            f"validation_share = {run.validation_share}: {int(held_out.sum())} of {len(labels)} images would be "
            "held out; at least one must be, and at least one not"
        )
    return held_out


def study_folds(
    labels: pd.DataFrame, folds: int, seed: int, groups: "pd.Series[str] | None" = None
) -> "pd.Series[int]":
    """Return the fold of each image, 0 to folds - 1, by image id: stratified k-fold over the label combinations.

    labels: a column of class indices per head, index image id. groups: a value for each of these ids; images with the
    same value get the same fold. Without groups no fold has over one image more of a combination than another. The
    draw depends on ids and seed only. Raises UserError where there are fewer images or groups than folds.
    """
    ordered = labels.sort_index()
    units = len(ordered) if groups is None else groups[ordered.index].nunique()
    if units < folds:
        raise UserError(f"study_folds = {folds}, but there are {units} {'images' if groups is None else 'groups'}")
    tally = _Tally(ordered, folds, random_for(seed, Draw.FOLDS))
    if groups is None:
        tally.deal_combinations()
    else:
        tally.deal_groups(groups[ordered.index])
    return pd.Series(tally.fold, ordered.index)


class _Tally:
    """Deals images to folds, each to that which has the smallest share of its classes so far; of equal ones to any.

    fold: int64 (n,), the folds of the images, in the order of their ids.
    """

    def __init__(self, ordered: pd.DataFrame, folds: int, rng: np.random.Generator) -> None:
        self.fold = np.full(len(ordered), -1, np.int64)
        self._ordered, self._rng = ordered, rng
        classes = ordered.to_numpy()
        starts = np.cumsum([0, *(classes.max(axis=0) + 1)])
        # of each image, the places of its classes among those of all heads, and one place that all images share
        self._places = np.column_stack([classes + starts[:-1], np.full(len(classes), starts[-1])])
        self._images = np.bincount(self._places.ravel(), minlength=starts[-1] + 1)
        self._shares = np.zeros((folds, len(self._images)))

    def deal_combinations(self) -> None:
        """Deal each label combination round by round; the last round goes where its classes are rarest."""
        folds = len(self._shares)
        combinations = list(self._ordered.groupby(list(self._ordered.columns)).indices.values())
        for number in self._rng.permutation(len(combinations)).tolist():
            rows = self._rng.permutation(combinations[number])
            left = len(rows) % folds
            self.fold[rows[left:]] = np.arange(len(rows) - left) % folds
            self._place(rows[:left], self._emptiest(self._images_of(rows[:1]))[:left])

    def deal_groups(self, groups: "pd.Series[str]") -> None:
        """Deal whole groups, the largest first."""
        rows_of = [
            np.asarray(rows) for rows in groups.reset_index(drop=True).groupby(groups.to_numpy()).indices.values()
        ]
        sizes = np.array([len(rows) for rows in rows_of])
        for number in np.lexsort([self._rng.random(len(sizes)), -sizes]).tolist():
            rows = rows_of[number]
            fold = self._emptiest(self._images_of(rows))[0]
            self._place(rows, np.full(len(rows), fold))

    def _images_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return of each place how many of these images have it."""
        return np.bincount(self._places[rows].ravel(), minlength=len(self._images))

    def _emptiest(self, images: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the folds by how little the shares of these images' classes would become uneven there."""
        return np.lexsort([self._rng.random(len(self._shares)), (self._shares @ images).round(9)])

    def _place(self, rows: NDArray[np.int64], folds: NDArray[np.int64]) -> None:
        self.fold[rows] = folds
        places = self._places[rows]
        np.add.at(self._shares, (folds[:, None], places), 1 / self._images[places])


def fold_of(groups: pd.Index) -> NDArray[np.int64]:
    """Return which of FOLDS folds each image is in, int64 (n,), drawn evenly over its groups; always the same."""
    folds = np.empty(len(groups), np.int64)
    for number, rows in enumerate(pd.Series(range(len(groups))).groupby(groups, sort=True).indices.values()):
        folds[np.random.default_rng([0, number]).permutation(rows)] = (np.arange(len(rows)) + number) % FOLDS
    return folds


def groups_by_labels(labels: pd.DataFrame) -> pd.Index:
    """Return a number for the labels of each image, all heads together.

    labels: class indices, a row per image. The numbers are in no order: in that of the classes, of combinations with
    one image each every fifth may be of the same class, and would be in the same fold.
    """
    numbers = labels.groupby(list(labels.columns), dropna=False).ngroup().to_numpy()
    return pd.Index(np.random.default_rng(0).permutation(numbers.max() + 1)[numbers])


def _even_share(ordered: pd.DataFrame, share: float, seed: int) -> NDArray[np.bool_]:
    """Mark a share of the rows, drawn evenly over the label combinations.

    In an order sorted by the labels, shuffled within each combination, every (1 / share)-th row from a random start.
    """
    shuffled = random_for(seed, Draw.SPLIT).permutation(len(ordered))
    order = np.lexsort([shuffled, *(ordered[head].to_numpy() for head in reversed(ordered.columns))])
    start = random_for(seed, Draw.SPLIT, 1).random()
    held_out = np.zeros(len(order), np.bool_)
    held_out[order] = np.diff(np.floor(np.arange(len(order) + 1) * share + start)) > 0
    return held_out


def _whole_combinations(ordered: pd.DataFrame, most: float, seed: int) -> NDArray[np.bool_]:
    """Mark all rows of randomly drawn label combinations, at most so many; every class keeps some of its."""
    rows_of = [np.asarray(rows) for rows in ordered.groupby(list(ordered.columns)).indices.values()]
    combinations = ordered.to_numpy()[[rows[0] for rows in rows_of]]
    is_repeated = np.array([len(rows) > 1 for rows in rows_of])  # of two rows or more, an even share leaves one
    left = [np.bincount(classes[is_repeated], minlength=classes.max() + 1) for classes in combinations.T]
    held_out = np.zeros(len(ordered), np.bool_)
    for number in random_for(seed, Draw.SPLIT, 2).permutation(len(rows_of)).tolist():
        remaining = [images[c] - is_repeated[number] for images, c in zip(left, combinations[number], strict=True)]
        if held_out.sum() + len(rows_of[number]) <= most and min(remaining) >= 1:
            held_out[rows_of[number]] = True
            for images, c, kept in zip(left, combinations[number], remaining, strict=True):
                images[c] = kept
    return held_out
